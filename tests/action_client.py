# SPDX-License-Identifier: Apache-2.0
"""What the tests' action clients share: a goal is sent, cancelled on its way where it is to be, and awaited."""

import sys

import rclpy
from rclpy.action import ActionClient
from rclpy.utilities import remove_ros_args

#: Feedbacks after which a goal that is to be cancelled is on its way.
ON_THE_WAY = 2


def words() -> list[str]:
    """Start rclpy; the command line's words that are not ROS's."""
    rclpy.init(args=sys.argv)
    return remove_ros_args(sys.argv)[1:]


def answer(action, name: str, goal, cancel: bool):
    """(what the server answered, its feedback); the process ends here where the goal is rejected."""
    node = rclpy.create_node("client")
    client = ActionClient(node, action, name)
    assert client.wait_for_server(60.0), "no server"
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
        if cancel and len(feedback) > ON_THE_WAY:
            cancel = False
            handle.cancel_goal_async()
    return result.result(), feedback
