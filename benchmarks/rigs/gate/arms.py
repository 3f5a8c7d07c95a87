# SPDX-License-Identifier: Apache-2.0
"""Contracts of arms for the gate's bench, as plain data. The URDFs are those of pybullet_data."""

from __future__ import annotations

from typing import Any

CAMERA = {"name": "image", "width": 64, "height": 64, "rate": 10.0, "size": 64}
PANDA_JOINTS = tuple(f"panda_joint{k}" for k in range(1, 8))
FINGER = "panda_finger_joint1"
#: Hand down, 0.22 m above the base's ground, the gripper half open.
PANDA_HOME = (0.0, -0.0486, 0.0, -2.4275, 0.0, 2.3789, 0.7854)
OPENING = 0.02
PANDA_ENDS = {
    **dict(zip(PANDA_JOINTS, ((-2.8973, 2.8973), (-1.7628, 1.7628), (-2.8973, 2.8973), (-3.0718, -0.0698),
                              (-2.8973, 2.8973), (-0.0175, 3.7525), (-2.8973, 2.8973)))),
    FINGER: (0.0, 0.04),
}  # fmt: skip
TWIST = ("linear.x", "linear.y", "linear.z")


def arm(
    name: str, urdf: str, joints: tuple[str, ...], home: tuple[float, ...], base: str, tip: str,
    ends: dict[str, tuple[float, float]], gripper: dict[str, Any] | None = None, *, values: str = "position",
    velocity: float = 1.5, acceleration: float = 6.0, braking: float = 6.0, **more: Any,
) -> dict[str, Any]:  # fmt: skip
    """A contract of kind ``arm`` with the same limits for all joints that turn. ``limits`` and ``kinematics`` among
    ``more`` add keys there."""
    axes = [*joints, *([gripper["joint"]] if gripper else [])]
    hand = {gripper["joint"]: 0.1} if gripper else {}
    kinds = {"velocity": velocity, "acceleration": acceleration, "braking": braking}
    limits: dict[str, Any] = {
        kind: {n: value if n not in hand else hand[n] * (1.0 if kind == "velocity" else 10.0) for n in axes}
        for kind, value in kinds.items()
    }
    limits["position"] = {n: list(ends[n]) for n in axes}
    kinematics = {
        "kind": "arm", "urdf": urdf, "base_frame": base, "tip_frame": tip, "joints": list(joints),
        "home": dict(zip(joints, home)), "workspace": {"low": [-1.0, -1.0, -0.5], "high": [1.0, 1.0, 1.5]},
        **({"gripper": gripper} if gripper else {}), **more.pop("kinematics", {}),
    }  # fmt: skip
    watchdog = {"rearm_time": 0.1, "exit_duration": 0.5, "bad_command_latch": 1000, "resume_latch_count": 1000}
    return {
        "contract": 2, "name": name, "rate": 5.0, "gate_rate": 50.0, "actuation_latency": 0.06, "cameras": [CAMERA],
        "frames": {"map": base, "odom": base, "base": base}, "kinematics": kinematics,
        "action": [{"name": f"tip.{n}", "unit": "m/s", "low": -0.2, "high": 0.2} for n in TWIST],
        "command": {"kind": "joint_trajectory", "topic": "arm/joint_trajectory", "values": values},
        "state": {"joint_states": {"timeout": 0.3}}, "limits": {**limits, **more.pop("limits", {})},
        "watchdog": watchdog, "stop": "ramp", **more,
    }  # fmt: skip


def panda(**more: Any) -> dict[str, Any]:
    """A Panda with its hand."""
    hand = {"joint": FINGER, "unit": "m", "mimics": {"panda_finger_joint2": 1.0}}
    return arm("bench_panda", "pybullet_data:franka_panda/panda.urdf", PANDA_JOINTS, PANDA_HOME, "panda_link0",
               "panda_grasptarget", PANDA_ENDS, hand, **more)  # fmt: skip
