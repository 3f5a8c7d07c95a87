# SPDX-License-Identifier: Apache-2.0
"""jepa_ros: objective-driven robot control by search in a learned world model, on ROS 2."""

__version__ = "0.2.0"
