# SPDX-License-Identifier: Apache-2.0
"""The named bodies of the campaign, as plain data: what is searched, timed and driven past regions.

It imports nothing of the project, so that another version of it can be timed with the very same bodies.
"""

from __future__ import annotations

from typing import Any

CAMERA = {"name": "image", "width": 64, "height": 64, "rate": 10.0, "size": 64}
WATCHDOG = {"rearm_time": 0.1, "exit_duration": 0.5}
SENSES = {"odom": {"timeout": 0.3}, "pose": {"timeout": 0.5}}
#: A room with a table and a pillar, for bodies of 0.25 m. (The others' is scaled by their size.)
PLACES = (
    {"name": "room", "kind": "keep_in", "unit": "m", "box": {"center": [0.0, 0.0], "size": [6.0, 6.0]}},
    {"name": "table", "kind": "keep_out", "unit": "m",
     "polygon": [[0.9, 0.6], [2.2, 0.6], [2.2, 2.0], [0.9, 2.0]]},
    {"name": "pillar", "kind": "keep_out", "unit": "m", "circle": {"center": [-1.2, 0.2], "radius": 0.3}},
)  # fmt: skip


def _limits(axes: dict[str, tuple[float, float, float]]) -> dict[str, dict[str, float]]:
    keys = ("velocity", "acceleration", "braking")
    return {key: {name: axis[k] for name, axis in axes.items()} for k, key in enumerate(keys)}


def _base(name: str, axes: dict[str, tuple[float, float, float]], radius: float, **more: Any) -> dict[str, Any]:
    """A base by its axes {name: (velocity, acceleration, braking)}."""
    kinematics: dict[str, Any] = {"kind": "holonomic"}
    if list(axes) == ["linear.x", "angular.z"]:
        kinematics = {"kind": "diff_drive", "wheel_radius": 0.05, "wheel_separation": 0.3}
    return {
        "contract": 1, "name": name, "rate": 5.0, "gate_rate": 50.0, "actuation_latency": 0.06, "cameras": [CAMERA],
        "footprint": {"kind": "circle", "radius": radius}, "kinematics": kinematics,
        "action": [
            {"name": n, "unit": "m/s" if n.startswith("linear") else "rad/s", "low": -v[0], "high": v[0]}
            for n, v in axes.items()
        ],
        "command": {"kind": "twist_stamped", "topic": "cmd_vel"}, "state": dict(SENSES), "limits": _limits(axes),
        "watchdog": dict(WATCHDOG), "stop": "ramp", **more,
    }  # fmt: skip


def _joints(name: str, count: int, position: bool) -> dict[str, Any]:
    names = [f"joint{k}" for k in range(count)]
    velocity = 1.5
    limits: dict[str, Any] = _limits(dict.fromkeys(names, (velocity, 5.0, 4.0)))
    limits["position"] = {n: [-2.5, 2.5] for n in names}
    one = (
        {"unit": "rad", "low": -2.5, "high": 2.5} if position else {"unit": "rad/s", "low": -velocity, "high": velocity}
    )
    return {
        "contract": 1, "name": name, "rate": 10.0, "gate_rate": 50.0, "actuation_latency": 0.06, "cameras": [CAMERA],
        "footprint": {"kind": "circle", "radius": 0.1}, "kinematics": {"kind": "joints"},
        "action": [{"name": n, **one} for n in names], "limits": limits,
        "command": {"kind": "joint_trajectory", "topic": "arm/joint_trajectory", "joints": names},
        "state": {"joint_states": {"timeout": 0.3}}, "watchdog": dict(WATCHDOG), "stop": "ramp",
    }  # fmt: skip


_SCAN = {**SENSES, "scan": {"timeout": 0.5}}
_DRONE = {
    "angular.z": (1.0, 4.0, 3.0), "linear.z": (1.0, 3.0, 2.0), "linear.y": (1.5, 3.0, 2.0),
    "angular.x": (0.5, 4.0, 4.0), "angular.y": (0.5, 4.0, 4.0), "linear.x": (2.0, 4.0, 3.0),
}  # fmt: skip
BODIES: dict[str, dict[str, Any]] = {
    "arena": _base("arena", {"linear.x": (0.4, 3.0, 2.0), "angular.z": (2.5, 20.0, 12.0)}, 0.09, state=_SCAN),
    "diff_slick": _base("diff_slick", {"linear.x": (1.0, 2.0, 0.8), "angular.z": (2.0, 6.0, 1.5)}, 0.25, state=_SCAN),
    "diff_lag": _base("diff_lag", {"linear.x": (1.0, 8.0, 8.0), "angular.z": (3.0, 20.0, 20.0)}, 0.25,
                      actuation_latency=0.2),
    "holonomic_lag": _base("holonomic_lag", {"linear.x": (1.0, 6.0, 6.0), "linear.y": (1.0, 6.0, 6.0),
                                             "angular.z": (5.0, 20.0, 20.0)}, 0.25, actuation_latency=0.2),
    "holonomic": _base("holonomic", {"linear.x": (1.0, 0.6, 0.6), "linear.y": (1.0, 0.6, 0.6),
                                     "angular.z": (1.5, 1.5, 1.5)}, 0.25, state=_SCAN),
    "holonomic_slick": _base("holonomic_slick", {"linear.x": (1.0, 3.0, 0.6), "linear.y": (1.0, 3.0, 0.6),
                                                 "angular.z": (1.5, 6.0, 1.5)}, 0.25, state=_SCAN),
    "drone": _base("drone", _DRONE, 0.25, gate_rate=200.0, actuation_latency=0.02, rate=20.0),
    "arm_positions": _joints("arm_positions", 7, True),
    "arm_rates": _joints("arm_rates", 7, False),
    "joints_14": _joints("joints_14", 14, True),
}  # fmt: skip
#: Those that move in the plane among regions.
DRIVING = ("arena", "diff_slick", "holonomic", "holonomic_slick", "drone")


def places(scale: float) -> list[dict[str, Any]]:
    """The regions of PLACES, with all lengths times ``scale``."""

    def grown(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: v if k == "yaw" else grown(v) for k, v in value.items()}
        if isinstance(value, (list, tuple)):
            return [grown(v) for v in value]
        return value * scale if isinstance(value, float) else value

    return [grown(g) for g in PLACES]


def size_of(name: str) -> float:
    """How large a body is, beside one of 0.25 m."""
    return float(BODIES[name]["footprint"]["radius"]) / 0.25
