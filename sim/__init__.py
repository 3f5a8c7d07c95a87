# SPDX-License-Identifier: Apache-2.0
"""jepa_ros_sim: the simulated worlds, a folder each, in PyBullet. No ROS, no torch."""
