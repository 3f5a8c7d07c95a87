# SPDX-License-Identifier: Apache-2.0
"""A client of navigate_to_pose, as a process: `navigate_client.py X Y YAW FRAME [cancel]` prints what it is told."""

import math
import sys

from jepa_ros.ros_env import ready_for_ros

ready_for_ros()
import rclpy  # noqa: E402
from nav2_msgs.action import NavigateToPose  # noqa: E402
from rclpy.action import ActionClient  # noqa: E402
from rclpy.utilities import remove_ros_args  # noqa: E402

rclpy.init(args=sys.argv)
words = remove_ros_args(sys.argv)
x, y, yaw = map(float, words[1:4])
frame, cancel = words[4], words[5:] == ["cancel"]
node = rclpy.create_node("client")
client = ActionClient(node, NavigateToPose, "navigate_to_pose")
assert client.wait_for_server(30.0), "no server"
goal = NavigateToPose.Goal()
goal.pose.header.frame_id = frame
goal.pose.pose.position.x, goal.pose.pose.position.y = x, y
goal.pose.pose.orientation.z, goal.pose.pose.orientation.w = math.sin(yaw / 2), math.cos(yaw / 2)
feedback = []
asked = client.send_goal_async(goal, feedback_callback=lambda m: feedback.append(m.feedback))
rclpy.spin_until_future_complete(node, asked, timeout_sec=20.0)
handle = asked.result()
if not handle.accepted:
    print("rejected", flush=True)
    sys.exit(0)
result = handle.get_result_async()
while not result.done():
    rclpy.spin_once(node, timeout_sec=0.1)
    if cancel and len(feedback) > 2:
        cancel = False
        handle.cancel_goal_async()
answer = result.result()
distances = [round(f.distance_remaining, 3) for f in feedback]
print("status", answer.status, "code", answer.result.error_code, answer.result.error_msg, flush=True)
print("feedback", len(feedback), "from", distances[:1], "to", distances[-1:], flush=True)
