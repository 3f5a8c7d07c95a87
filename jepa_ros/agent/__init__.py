# SPDX-License-Identifier: Apache-2.0
"""The agent of one robot, without ROS: step clock, planner's part, gate's part, and the loop that runs them."""
