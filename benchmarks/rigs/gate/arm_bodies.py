# SPDX-License-Identifier: Apache-2.0
"""Arms drawn by seed: Panda, KUKA iiwa and xArm with limits, levels and surroundings of their own, where they stand."""

from __future__ import annotations

import math
import random
from typing import Any

import numpy as np

from benchmarks.rigs.gate.arm_truth import Truth
from benchmarks.rigs.gate.arms import FINGER, PANDA_ENDS, PANDA_HOME, PANDA_JOINTS, TWIST
from jepa_ros.contract import RobotContract

KUKA = tuple(f"lbr_iiwa_joint_{k}" for k in range(1, 8))
XARM = tuple(f"joint{k}" for k in range(1, 7))
_KUKA_ENDS = dict(zip(KUKA, ((-2.96, 2.96), (-2.09, 2.09), (-2.96, 2.96), (-2.09, 2.09), (-2.96, 2.96), (-2.09, 2.09),
                             (-3.05, 3.05))))  # fmt: skip
_XARM_ENDS = dict(zip(XARM, ((-3.1, 3.1), (-2.05, 2.09), (-3.9, 0.19), (-3.1, 3.1), (-1.69, 3.14), (-3.1, 3.1))))
_HAND = {"joint": FINGER, "unit": "m", "mimics": {"panda_finger_joint2": 1.0}}
#: Name: kinematics of a contract, ends of the joints.
ARMS: dict[str, tuple[dict[str, Any], dict[str, tuple[float, float]]]] = {
    "panda": ({"urdf": "pybullet_data:franka_panda/panda.urdf", "base_frame": "panda_link0",
               "tip_frame": "panda_grasptarget", "joints": list(PANDA_JOINTS), "home": list(PANDA_HOME),
               "gripper": _HAND}, PANDA_ENDS),
    "loaded": ({"urdf": "pybullet_data:franka_panda/panda.urdf", "base_frame": "panda_link0",
                "tip_frame": "panda_grasptarget", "joints": list(PANDA_JOINTS), "home": list(PANDA_HOME),
                "gripper": _HAND, "payload": {"start": [0.0, 0.0, 0.0], "end": [0.0, 0.0, 0.12], "radius": 0.03}},
               PANDA_ENDS),
    "kuka": ({"urdf": "pybullet_data:kuka_iiwa/model.urdf", "base_frame": "lbr_iiwa_link_0",
              "tip_frame": "lbr_iiwa_link_7", "joints": list(KUKA), "home": [0.0, 0.5, 0.0, -1.5, 0.0, 1.0, 0.0]},
             _KUKA_ENDS),
    "xarm": ({"urdf": "pybullet_data:xarm/xarm6_robot.urdf", "base_frame": "link_base", "tip_frame": "link6",
              "joints": list(XARM), "home": [0.0, -0.5, -1.2, 0.0, 1.0, 0.0]}, _XARM_ENDS),
}  # fmt: skip
#: Tries until a posture is clear of itself.
TRIES = 30


def arm(rng: random.Random, common: dict[str, Any], period: float) -> dict[str, Any]:
    """A contract of kind ``arm`` without guardrails; ``common`` is what it shares with bases and joints."""
    name = rng.choice(("panda", "panda", "loaded", "kuka", "xarm"))
    kinematics, ends = ARMS[name]
    values = rng.choice(("position", "position", "velocity"))
    limits: dict[str, dict[str, Any]] = {"velocity": {}, "acceleration": {}, "braking": {}, "position": {}, "jerk": {}}
    quick = 10.0 ** rng.uniform(-0.5, 0.5)
    for axis, (low, high) in ends.items():
        v = quick * rng.choice((1.0, rng.uniform(0.4, 1.0))) * (0.05 if axis == FINGER else 1.0)
        up = v / (rng.uniform(2.0, 25.0) * period)
        limits["velocity"][axis], limits["acceleration"][axis] = v, up
        limits["braking"][axis] = up * rng.choice((1.0, 10.0 ** rng.uniform(-0.6, 0.6)))
        limits["position"][axis] = [low, high]
        limits["jerk"][axis] = up / (rng.uniform(1.0, 8.0) * period)
    more: dict[str, Any] = {}
    if rng.random() < 0.7:
        del limits["jerk"]
    if rng.random() < 0.4:
        more["tip_speed"] = quick * rng.uniform(0.05, 0.6)
    state: dict[str, Any] = {"joint_states": {"timeout": period * rng.uniform(8.0, 20.0)}}
    if rng.random() < 0.4:
        state["people"] = {"timeout": period * rng.uniform(12.0, 30.0), "required": rng.random() < 0.5}
    if rng.random() < 0.2:
        state["contact"] = {"timeout": period * rng.uniform(12.0, 30.0), "required": rng.random() < 0.5}
    if rng.random() < 0.2:
        state["wrench"] = {"timeout": period * rng.uniform(12.0, 30.0), "required": False, "slow": 8.0, "stop": 20.0}
    base = kinematics["base_frame"]
    home = dict(zip(kinematics["joints"], kinematics["home"], strict=True))
    return {
        **common, "contract": 2, "frames": {"map": base, "odom": base, "base": base},
        "kinematics": {"kind": "arm", **kinematics, "home": home,
                       "workspace": {"low": [-1.5, -1.5, -1.0], "high": [1.5, 1.5, 2.0]}},
        "action": [{"name": f"tip.{n}", "unit": "m/s", "low": -0.2, "high": 0.2} for n in TWIST],
        "limits": {**limits, **more}, "state": state,
        "command": {"kind": rng.choice(("joint_trajectory", "float64_multiarray")), "topic": "arm/command",
                    "values": values},
    }  # fmt: skip


def settings(rng: random.Random) -> dict[str, Any]:
    """Levels of the gate: those that it has, and others."""
    found: dict[str, Any] = {"auto_enable": True}
    if rng.random() < 0.4:
        found["singularity"] = rng.choice((None, None, (12.0, 20.0), (20.0, 60.0)))
    if rng.random() < 0.1:
        found["self_collision"] = False
    if rng.random() < 0.2:
        found["first_command"] = rng.uniform(0.05, 0.4)
    return found


def start(rng: random.Random, contract: RobotContract, truth: Truth) -> list[float]:
    """A posture that is clear of itself: near home, or anywhere."""
    said = contract.kinematics.arm
    low, high = contract.limits.position_low, contract.limits.position_high
    assert said is not None and low is not None and high is not None
    home = np.append(np.array(said.home), 0.02 * np.ones(len(low) - len(said.home)))
    wide = rng.choice((0.1, 0.5, 0.5, 3.0))
    tries = [home] + [
        np.array([min(b - 0.05 * (b - a), max(a + 0.05 * (b - a), h + rng.uniform(-wide, wide) * min(1.0, b - a)))
                  for h, a, b in zip(home, low, high)])
        for _ in range(TRIES)
    ]  # fmt: skip
    for posture in tries[1:] if rng.random() < 0.25 else ():  # some joints near their ends
        for k in range(len(said.joints)):
            if rng.random() < 0.3:
                away = rng.uniform(0.12, 0.4)
                posture[k] = low[k] + away if posture[k] - low[k] < high[k] - posture[k] else high[k] - away
    near = truth.selves(truth.ends(np.array(tries)), steps=8).min(1)
    clear = [k for k in range(1, len(tries)) if near[k] > 0.015]
    folded = rng.random() < 0.35 and clear
    return [float(v) for v in tries[min(clear, key=lambda k: near[k]) if folded else clear[0] if clear else 0]]


def guardrails(rng: random.Random, contract: RobotContract, truth: Truth, q: list[float]) -> list[dict[str, Any]]:
    """Boxes about an arm that stands at ``q``, some so near that it has to stop before them; and people."""
    found: list[dict[str, Any]] = []
    ends = truth.ends(np.array([q]))
    if rng.random() < 0.3:
        low, high = ends[0][truth.free].min((0, 1)), ends[0][truth.free].max((0, 1))
        room = float(truth.radius.max()) + 0.02
        low = [float(v) - room - rng.uniform(0.0, 0.5) for v in low]
        high = [float(v) + room + rng.uniform(0.0, 0.5) for v in high]
        if rng.random() < 0.5:
            found.append({"name": "cell", "kind": "workspace", "unit": "m", "low": low, "high": high})
        else:
            box = {"center": [0.5 * (a + b) for a, b in zip(low, high)], "size": [b - a for a, b in zip(low, high)]}
            found.append({"name": "cell", "kind": "keep_in", "unit": "m", "box": box})
    for k in range(rng.choice((0, 1, 1, 2, 4))):
        item = box_beside(rng, truth, ends, f"out{k}", rng.uniform(0.0, 0.3))
        if item is not None:
            found.append(item)
    if rng.random() < 0.25:
        limit = float(contract.limits.velocity.max()) * rng.uniform(0.03, 0.3)
        found.append({"name": "people", "kind": "near_person", "unit": "m/s", "distance": rng.uniform(0.1, 0.6),
                      "max_speed": limit, "frame": contract.frames.map})  # fmt: skip
    return found


def box_beside(
    rng: random.Random, truth: Truth, ends: np.ndarray, name: str, away: float, near: int | None = None
) -> dict[str, Any] | None:
    """A box about ``away`` m from a moving link; None where it would stand in the arm and should not."""
    links = [k for k in range(len(truth.free)) if truth.free[k]]
    link = rng.choice(links) if near is None else near
    place = ends[0, link, rng.randrange(2)]
    for _ in range(6):
        size = [rng.uniform(0.02, 0.6) for _ in range(3)]
        direction = np.array([rng.gauss(0.0, 1.0) for _ in range(3)])
        direction /= np.linalg.norm(direction)
        reach = float(truth.radius[link]) + away + 0.5 * max(size) * rng.uniform(0.6, 1.3)
        center = [float(v) for v in place + reach * direction]
        box = {"center": center, "size": size, "yaw": rng.choice((0.0, rng.uniform(-math.pi, math.pi)))}
        gap = float(truth.outside(ends, box)[0])
        if gap > 0.012 or (near is not None and gap > -0.05):
            return {"name": name, "kind": "keep_out", "unit": "m", "box": box, "margin": rng.choice((0.0, 0.0, 0.01))}
    return None
