# SPDX-License-Identifier: Apache-2.0
"""Which guardrails the gate can keep for which body: the ONE answer for the gate, ``jepa-ros check robot`` and the
table in ``docs/safety.md``. What it cannot keep it refuses by name, before anything moves.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from jepa_ros.safety.arm import BOXES
from jepa_ros.safety.guardrails import FROM_PLANNER, KINDS, PLACES


class Facts(NamedTuple):
    """What the answer depends on.

    Attributes:
        joints: it moves joints, and no base. planar: it drives along linear.x or linear.y. leaves_plane: it has
            linear.z, angular.x or angular.y. pose, scan: its contract declares that state. arm: it is an arm, whose
            links are known. at_map: the arm stands in the origin of the map.
    """

    joints: bool
    planar: bool
    leaves_plane: bool
    pose: bool
    scan: bool
    arm: bool = False
    at_map: bool = False

    @staticmethod
    def of(cfg: Any) -> Facts:
        """Of a GateConfig."""
        return Facts(
            bool(cfg.joints), cfg.forward is not None or cfg.sideways is not None, cfg.up is not None or cfg.tilts,
            "pose" in cfg.states, "scan" in cfg.states, cfg.arm is not None,
            cfg.arm is not None and cfg.arm.arm.base_frame == cfg.map_frame,
        )  # fmt: skip


def refusal(kind: str, body: Facts, spatial: bool = False) -> str | None:
    """Why the gate cannot keep a guardrail of this kind for a body, or None where it can. ``spatial``: it is a box in
    space."""
    if kind in FROM_PLANNER:
        return None
    if kind == "joint_limits":
        return None if body.joints else "limits joints, and the robot is a base: leave it out"
    if body.arm:
        return _of_arm(kind, body, spatial)
    if spatial:
        return "is a box in space, for the links of an arm: give center and size, or low and high, two numbers"
    if body.joints:
        return "is about where a base drives; the gate does not know where the links are: leave it out"
    if kind in PLACES and not body.pose:
        return "needs the robot's pose, and the contract declares no state topic 'pose': add it, or leave it out"
    if kind != "obstacle_distance":
        return None
    if not body.scan:
        return "is kept on the lidar's scan, and the contract declares no state topic 'scan': add it, or leave it out"
    if not body.planar or body.leaves_plane:
        return "is kept in the plane of the scan, and the robot moves out of that plane: leave it out"
    return None


def _of_arm(kind: str, body: Facts, spatial: bool) -> str | None:
    if kind in BOXES:
        if spatial:
            return None
        box = "low: [x, y, z], high: [x, y, z]" if kind == "workspace" else "box: {center: [x, y, z], size: [x, y, z]}"
        return f"is kept by every link of an arm, as a box in space alone: give {box}"
    if kind == "near_person":
        if body.at_map:
            return None
        return "needs people in the arm's own frame: frames.map has to be kinematics.base_frame"
    return "is about where a base drives: leave it out"


#: Bodies of the table: a name for people, and the facts.
BODIES = {
    "base in the plane": Facts(False, True, False, True, True),
    "base that only turns": Facts(False, False, False, True, True),
    "base with linear.z, angular.x or angular.y": Facts(False, True, True, True, True),
    "base without `pose`": Facts(False, True, False, False, True),
    "base without `scan`": Facts(False, True, False, True, False),
    "joints, by rate or by position": Facts(True, False, False, True, True),
    "arm": Facts(True, False, False, True, True, True, True),
}


def table() -> str:
    """Kind of guardrail by body, as Markdown."""
    rows = ["| kind | " + " | ".join(BODIES) + " |", "|---" * (len(BODIES) + 1) + "|"]
    for kind in KINDS:
        word = "by the planner" if kind in FROM_PLANNER else "guarded"
        cells = ["refused" if refusal(kind, facts, facts.arm) else word for facts in BODIES.values()]
        rows.append(f"| `{kind}` | " + " | ".join(cells) + " |")
    return "\n".join(rows)
