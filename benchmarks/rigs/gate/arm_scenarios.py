# SPDX-License-Identifier: Apache-2.0
"""One scenario for each row that only arms have (see :mod:`benchmarks.rigs.gate.scenarios`). The arm is a Panda."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.rigs.gate.arms import OPENING, PANDA_HOME, panda
from benchmarks.rigs.gate.rig import Rig
from jepa_ros.contract import RobotContract
from jepa_ros.safety import GateOutput, Mode

Make = Callable[..., Rig]
ARM_SCENARIOS: dict[str, Callable[[Make], None]] = {}
HOME = (*PANDA_HOME, OPENING)
#: A box that the hand meets where joint 1 turns left.
POST = {"name": "post", "kind": "keep_out", "unit": "m", "box": {"center": [0.35, 0.4, 0.3], "size": [0.3, 0.1, 0.6]}}


def scenario(function: Callable[[Make], None]) -> Callable[[Make], None]:
    """Register a scenario under the name of its row."""
    ARM_SCENARIOS[function.__name__] = function
    return function


def posture(**joints: float) -> list[float]:
    """Home with some joints (``j1`` .. ``j7``) elsewhere."""
    at = list(HOME)
    for name, value in joints.items():
        at[int(name[1:]) - 1] = value
    return at


def standing(make: Make, at: list[float], rates: bool = False, **more: Any) -> Rig:
    """An arm that stands at a posture, and is armed."""
    settings = more.pop("settings", {})
    contract = RobotContract.from_dict(panda(values="velocity" if rates else "position", **more), "bench")
    rig = make(contract=contract, **settings)
    rig.robot.q = list(at)
    out = rig.arm([0.0] * 8 if rates else list(at))
    assert out.mode in (Mode.ACTIVE, Mode.LIMITED), f"it does not arm: {out.sentence}"
    return rig


def ask(rig: Rig, goal: list[float], seconds: float, lead: float = 0.3) -> list[GateOutput]:
    """A stream of set-points to a goal, each at most ``lead`` rad ahead of where the arm is."""
    outs = []
    for _ in range(round(seconds / rig.cfg.period)):
        at = np.array(rig.robot.q)
        rig.command = (at + np.clip(np.array(goal) - at, -lead, lead)).tolist()
        outs.append(rig.tick())
    return outs


def reasons(outs: list[GateOutput]) -> set[str]:
    """All rows that were met."""
    return {name for out in outs for name in out.reasons}


@scenario
def first_command(make: Make) -> None:
    rig = standing(make, posture())
    rig.ask(enable=False)
    rig.run(0.3)
    rig.command = posture(j1=0.5)
    rig.ask(enable=True)
    out = rig.run(1.0)[-1]
    assert out.mode is Mode.STOPPED and out.reason == "first_command", out.sentence
    assert out.values.tolist() == posture(), f"went to {out.values}"
    rig.command = posture(j1=0.1)
    assert rig.run(1.0)[-1].values[0] == 0.1, "a stream that begins where the arm is is not followed"
    rig.command = posture(j1=0.6)
    assert abs(rig.run(1.5)[-1].values[0] - 0.6) < 1e-9, "a stream that has begun is refused"


@scenario
def link_region(make: Make) -> None:
    free = standing(make, posture())
    ask(free, posture(j1=1.2), 4.0)
    assert free.robot.q[0] > 1.1, "without a box the arm does not turn"
    for rates in (False, True):
        rig = standing(make, posture(), rates, guardrails=[POST])
        if rates:
            rig.command = [0.5] + [0.0] * 7
            outs = rig.run(4.0)
        else:
            outs = ask(rig, posture(j1=1.2), 4.0)
        assert 0.3 < rig.robot.q[0] < 0.75, f"turned to {rig.robot.q[0]:.2f} rad with a box in the way"
        assert outs[-1].mode is Mode.LIMITED and outs[-1].reason == "link_region", outs[-1].sentence
        if rates:
            rig.command = [-0.5] + [0.0] * 7
            rig.run(2.0)
        else:
            ask(rig, posture(), 2.0)
        assert rig.robot.q[0] < 0.2, "the way back is not free"
    cell = {"name": "cell", "kind": "workspace", "unit": "m", "low": [-0.5, -0.6, -0.3], "high": [0.7, 0.6, 0.8]}
    rig = standing(make, posture(), guardrails=[cell])
    ask(rig, posture(j2=-1.0), 3.0)  # the elbow goes up
    assert -0.85 < rig.robot.q[1] < -0.5, f"the elbow left the cell, at {rig.robot.q[1]:.2f} rad"


@scenario
def self_collision(make: Make) -> None:
    rig = standing(make, posture(j4=-2.9), settings={"singularity": None})
    outs = ask(rig, posture(j4=-2.9, j6=1.0), 4.0)
    assert 1.4 < rig.robot.q[5] < 1.8, f"the finger came into the first link, at {rig.robot.q[5]:.2f} rad"
    assert outs[-1].reason == "self_collision" and "panda_link1" in outs[-1].sentence, outs[-1].sentence
    ask(rig, posture(j4=-2.9), 2.0)
    assert rig.robot.q[5] > 2.2, "the way back is not free"


@scenario
def singularity(make: Make) -> None:
    rig = standing(make, posture(j4=-1.4))
    outs = ask(rig, posture(j4=-0.5), 4.0)
    assert -1.0 < rig.robot.q[3] < -0.85, f"went to {rig.robot.q[3]:.2f} rad"
    assert outs[-1].reason == "singularity", outs[-1].sentence
    slow = [abs(b.values[3] - a.values[3]) / rig.cfg.period for a, b in itertools.pairwise(outs) if a.values[3] > -1.2]
    assert max(slow) <= rig.cfg.slow_scale * 1.5 + 1e-6, f"not slow near a singularity: {max(slow):.2f} rad/s"
    back = ask(rig, posture(j4=-1.4), 1.5)[15:]
    assert "singularity" not in reasons(back) and rig.robot.q[3] < -1.3, "the way away from it is not free"


@scenario
def joint_margin(make: Make) -> None:
    rig = standing(make, posture(j1=2.5))
    outs = ask(rig, posture(j1=2.89), 3.0)
    ahead = [b.values[0] - a.values[0] for a, b in itertools.pairwise(outs) if a.values[0] > 2.8973 - 0.05]
    assert ahead and max(ahead) <= rig.cfg.slow_scale * 1.5 * rig.cfg.period + 1e-9, "not slow near the end of a joint"
    assert "joint_margin" in reasons(outs)
    assert "joint_margin" not in reasons(ask(rig, posture(j1=2.5), 1.0)[15:]), "slow on the way from the end"


@scenario
def tip_speed(make: Make) -> None:
    for rates in (False, True):
        rig = standing(make, posture(), rates, limits={"tip_speed": 0.1})
        if rates:
            rig.command = [0.8] + [0.0] * 7
            outs = rig.run(1.5)
        else:
            outs = ask(rig, posture(j1=1.5), 1.5)
        speed = 0.48 * max(abs(rig.robot.v[0]), 1e-9)  # the tip is 0.48 m from the axis of joint 1
        assert 0.08 < speed <= 0.1, f"the tip goes at {speed:.3f} m/s"
        assert outs[-1].reason == "tip_speed", outs[-1].sentence


@scenario
def tip_near_person(make: Make) -> None:
    near = {"name": "people", "kind": "near_person", "unit": "m/s", "distance": 0.5, "max_speed": 0.1,
            "frame": "panda_link0"}  # fmt: skip
    state = {"joint_states": {"timeout": 0.3}, "people": {"timeout": 0.3, "required": False}}

    def turning(people: list[tuple[float, float]] | None) -> tuple[float, GateOutput]:
        rig = standing(make, posture(), guardrails=[near], state=state)
        rig.people = people
        rig.run(0.3)
        out = ask(rig, posture(j1=2.0), 1.0)[-1]
        return 0.48 * rig.robot.v[0], out

    speed, _ = turning([(3.0, 0.0)])
    assert speed > 0.3, f"slow although nobody is near: {speed:.2f} m/s"
    for people in ([(0.6, 0.6)], None):
        speed, out = turning(people)
        assert 0.08 < speed <= 0.1, f"the tip goes at {speed:.3f} m/s"
        assert out.reason == "tip_near_person", out.sentence


@scenario
def jerk_limit(make: Make) -> None:
    axes = dict.fromkeys(panda()["limits"]["velocity"], 20.0)
    for rates in (False, True):
        rig = standing(make, posture(), rates, limits={"jerk": axes})
        if rates:
            rig.command = [1.5] + [0.0] * 7
            outs = rig.run(0.5)
            v = [out.values[0] for out in outs]
        else:
            outs = ask(rig, posture(j1=1.5), 0.5, lead=1.0)
            v = [(b.values[0] - a.values[0]) / rig.cfg.period for a, b in itertools.pairwise(outs)]
        grown = np.diff(v, 2) / rig.cfg.period**2
        assert max(v) > 0.5, "it does not speed up"
        assert grown.max() <= 20.0 * 1.001, f"the acceleration grows by {grown.max():.0f} rad/s3"
        assert "jerk_limit" in reasons(outs)
