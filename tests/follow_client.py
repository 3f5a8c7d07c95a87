# SPDX-License-Identifier: Apache-2.0
"""A client of follow_joint_trajectory: `follow_client.py JOINT TO SECONDS [cancel]` prints what it is told."""

from jepa_ros.ros_env import ready_for_ros

ready_for_ros()
from action_client import answer, words  # noqa: E402
from control_msgs.action import FollowJointTrajectory  # noqa: E402
from trajectory_msgs.msg import JointTrajectoryPoint  # noqa: E402

joint, to, seconds, *how = words()
goal = FollowJointTrajectory.Goal()
point = JointTrajectoryPoint(positions=[float(to)])
point.time_from_start.sec, point.time_from_start.nanosec = int(float(seconds)), int(float(seconds) % 1.0 * 1e9)
goal.trajectory.joint_names, goal.trajectory.points = [joint], [point]
told, feedback = answer(FollowJointTrajectory, "follow_joint_trajectory", goal, how == ["cancel"])
print("status", told.status, "code", told.result.error_code, told.result.error_string, flush=True)
last = feedback[-1] if feedback else None
at = None if last is None else dict(zip(last.joint_names, last.actual.positions, strict=True))[joint]
print("feedback", len(feedback), "last", at, flush=True)
