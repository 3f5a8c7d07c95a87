# SPDX-License-Identifier: Apache-2.0
"""A client of follow_joint_trajectory: `follow_client.py JOINT TO SECONDS [cancel]` prints what it is told."""

import sys

from jepa_ros.ros_env import ready_for_ros

ready_for_ros()
import rclpy  # noqa: E402
from control_msgs.action import FollowJointTrajectory  # noqa: E402
from rclpy.action import ActionClient  # noqa: E402
from rclpy.utilities import remove_ros_args  # noqa: E402
from trajectory_msgs.msg import JointTrajectoryPoint  # noqa: E402

rclpy.init(args=sys.argv)
words = remove_ros_args(sys.argv)
joint, to, seconds, cancel = words[1], float(words[2]), float(words[3]), words[4:] == ["cancel"]
node = rclpy.create_node("client")
client = ActionClient(node, FollowJointTrajectory, "follow_joint_trajectory")
assert client.wait_for_server(60.0), "no server"
goal = FollowJointTrajectory.Goal()
point = JointTrajectoryPoint(positions=[to])
point.time_from_start.sec, point.time_from_start.nanosec = int(seconds), int(seconds % 1.0 * 1e9)
goal.trajectory.joint_names, goal.trajectory.points = [joint], [point]
feedback = []
asked = client.send_goal_async(goal, feedback_callback=lambda m: feedback.append(m.feedback))
rclpy.spin_until_future_complete(node, asked, timeout_sec=30.0)
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
print("status", answer.status, "code", answer.result.error_code, answer.result.error_string, flush=True)
last = feedback[-1] if feedback else None
at = None if last is None else dict(zip(last.joint_names, last.actual.positions, strict=True))[joint]
print("feedback", len(feedback), "last", at, flush=True)
