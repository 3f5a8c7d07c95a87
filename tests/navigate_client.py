# SPDX-License-Identifier: Apache-2.0
"""A client of navigate_to_pose, as a process: `navigate_client.py X Y YAW FRAME [cancel]` prints what it is told."""

import math

from jepa_ros.ros_env import ready_for_ros

ready_for_ros()
from action_client import answer, words  # noqa: E402
from nav2_msgs.action import NavigateToPose  # noqa: E402

x, y, yaw, frame, *how = words()
x, y, yaw = map(float, (x, y, yaw))
goal = NavigateToPose.Goal()
goal.pose.header.frame_id = frame
goal.pose.pose.position.x, goal.pose.pose.position.y = x, y
goal.pose.pose.orientation.z, goal.pose.pose.orientation.w = math.sin(yaw / 2), math.cos(yaw / 2)
told, feedback = answer(NavigateToPose, "navigate_to_pose", goal, how == ["cancel"])
distances = [round(f.distance_remaining, 3) for f in feedback]
print("status", told.status, "code", told.result.error_code, told.result.error_msg, flush=True)
print("feedback", len(feedback), "from", distances[:1], "to", distances[-1:], flush=True)
