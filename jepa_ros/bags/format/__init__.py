# SPDX-License-Identifier: Apache-2.0
"""The format: files, metadata and message definitions of rosbag2, read, written and mended. No ROS in here."""
