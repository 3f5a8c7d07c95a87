# SPDX-License-Identifier: Apache-2.0
"""A localisation that speaks only when the robot has moved (AMCL) is believed while odometry tells where it is."""

from __future__ import annotations

import dataclasses
import math
import random

import pytest

from benchmarks.rigs.gate.rig import Rig
from benchmarks.rigs.gate.scenarios import change, driving, drop
from jepa_ros.safety import Mode, parse_guardrails
from jepa_ros.safety.inputs import PoseIn

FENCE = parse_guardrails("[{name: room, kind: keep_in, unit: m, box: {center: [0, 0], size: [4.0, 4.0]}}]")
MOVING = (Mode.ACTIVE, Mode.LIMITED)


class Amcl:
    """Keeps its last pose for whoever comes later, and gives another after 0.25 m or 0.2 rad."""

    def __init__(self) -> None:
        self.said, self.dead, self.count = None, False, 0

    def __call__(self, m: PoseIn) -> PoseIn | None:
        last = self.said
        still = last is not None and math.hypot(m.x - last.x, m.y - last.y) < 0.25 and abs(m.yaw - last.yaw) < 0.2
        if still or self.dead:
            return None
        self.count += 1
        self.said = dataclasses.replace(m, latched=True)
        return self.said


def rig_with(amcl: Amcl, **settings) -> Rig:
    rig = Rig(guardrails=FENCE, **settings)
    rig.spoil["pose"] = amcl
    return rig


def test_it_arms_and_stays_armed_at_rest_and_drives_on_between_poses():
    amcl = Amcl()
    rig = rig_with(amcl)
    rig.command = [0.0, 0.0]
    assert rig.run(8.0)[-1].mode is Mode.ACTIVE, rig.outputs[-1].sentence
    assert amcl.count == 1
    rig.command = [0.1, 0.3]  # 0.2 m of it between two poses
    assert all(o.mode in MOVING for o in rig.run(20.0)), rig.outputs[-1].sentence
    assert amcl.count > 10


def test_when_it_dies_the_robot_stops_soon_after_another_pose_is_due():
    amcl = Amcl()
    rig = driving(rig_with(amcl), [0.2, 0.0])
    amcl.dead = True
    start = rig.robot.x
    rig.run(6.0)
    assert rig.outputs[-1].reason == "pose_lost" and not any(rig.outputs[-1].values)
    assert "not renewed although the robot went" in rig.outputs[-1].sentence
    assert rig.robot.x - start < 0.25 + 0.2 * 0.5 + 0.1  # due, the topic's time-out, the stop


def test_a_pose_of_long_before_the_start_is_believed_with_room_for_what_nobody_measured():
    rig = Rig(guardrails=FENCE)
    rig.spoil["pose"] = lambda m: dataclasses.replace(m, stamp=m.stamp - 3600.0, latched=True)
    rig.command = [0.3, 0.0]
    rig.tick()
    rig.run(0.1)
    rig.spoil["pose"] = drop
    assert rig.run(1.0)[-1].mode in MOVING, rig.outputs[-1].sentence


@pytest.mark.parametrize(("slip", "late"), [(1.0, False), (0.96, False), (1.0, True)])
def test_a_fence_is_kept_between_poses(slip, late):
    """Straight at it; odometry that tells too little of the way; a first pose that was not where it said."""
    amcl = Amcl()
    rig = rig_with(amcl)
    rig.spoil["odom"] = lambda m: dataclasses.replace(m, v=[v * slip for v in m.v])
    if late:
        rig.robot.x = 1.6
        rig.spoil["pose"] = lambda m: dataclasses.replace(m, stamp=m.stamp - 3600.0, x=m.x - 0.24, latched=True)
        rig.tick()
        rig.run(0.1)
        rig.spoil["pose"] = drop
    rig.command = [0.5, 0.0]
    rig.run(12.0)
    assert rig.robot.x <= 1.9, f"left the fence by {rig.robot.x - 1.9:.3f} m"
    assert late or rig.robot.x > 1.7, "stopped long before it"


def test_without_odometry_silence_is_silence():
    rig = driving(rig_with(Amcl()), [0.05, 0.0])
    rig.spoil["odom"] = drop
    assert {"state_stale", "pose_lost"} <= set(rig.run(1.0)[-1].reasons)


def test_a_pose_that_is_not_latched_has_to_come_in_time():
    rig = driving(Rig(guardrails=FENCE))
    rig.command, rig.spoil["pose"] = [0.0, 0.0], drop
    rig.run(1.0)
    assert rig.outputs[-1].reason == "pose_lost" and "silent for" in rig.outputs[-1].sentence


def test_a_latched_pose_of_the_future_or_without_a_number_is_none():
    for stamp in (math.nan, 1e9):
        rig = driving(Rig(guardrails=FENCE))
        rig.spoil["pose"] = lambda m, stamp=stamp: dataclasses.replace(m, stamp=stamp, latched=True)
        rig.run(0.5)
        assert rig.outputs[-1].reason == "pose_lost", stamp


def test_noise_of_odometry_at_rest_adds_up_to_no_way():
    rig = rig_with(Amcl())
    rig.command = [0.0, 0.0]
    noise = random.Random(0)
    rig.spoil["odom"] = lambda m: dataclasses.replace(m, v=[noise.gauss(0.0, 0.01), noise.gauss(0.0, 0.03)])
    assert rig.run(60.0)[-1].mode is Mode.ACTIVE, rig.outputs[-1].sentence


def test_a_message_without_a_stamp_is_called_that():
    for name in ("odom", "pose", "scan"):
        rig = driving(Rig())
        rig.spoil[name] = change(stamp=0.0)
        rig.run(0.3)
        assert f"{name} has no stamp" in rig.outputs[-1].sentence, rig.outputs[-1].sentence
    rig = driving(Rig())
    rig.spoil["command"] = change(stamp=0.0)
    rig.run(1.0)
    assert "refused: has no stamp" in rig.outputs[-1].sentence, rig.outputs[-1].sentence


def test_a_latch_for_bad_commands_tells_what_was_bad():
    rig = driving(Rig())
    rig.spoil["command"] = change(frame_id="teleop_twist_joy")
    rig.run(3.0)
    out = rig.outputs[-1]
    assert out.reason == "bad_commands" and "frame 'teleop_twist_joy', expected 'base_link' or none" in out.sentence


@pytest.mark.parametrize("frame", ["", "base_link", "/base_link", "base_footprint"])
def test_names_of_the_body_are_taken_as_the_frame_of_a_command(frame):
    rig = driving(Rig())
    rig.spoil["command"] = change(frame_id=frame)
    assert all(o.mode is Mode.ACTIVE for o in rig.run(1.0)), rig.outputs[-1].sentence
