# SPDX-License-Identifier: Apache-2.0
"""What a message says, whichever library took it apart: rclpy or rosbags. No ROS is needed."""
