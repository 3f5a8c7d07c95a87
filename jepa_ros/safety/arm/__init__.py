# SPDX-License-Identifier: Apache-2.0
"""Rows of the gate that only arms have, and the ONE way by which they come by the arm's links.

Imports run from ``arm`` to ``safety``: a base's gate must start without Pinocchio, and with nothing of an arm in it. So
the geometry is not imported here: :func:`shapes` loads ``jepa_ros.arm.postures`` by its name, once a contract's
kinematics is an arm and one of its rows needs the links. Nothing in it needs torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jepa_ros.contract import RobotContract
    from jepa_ros.contract.parts import Arm

#: Kinds of guardrail that hold for every link of an arm.
BOXES = ("keep_out", "keep_in", "workspace")
#: What the rows of an arm compute with.
PACKAGES = ("pinocchio", "coal")


@dataclass(frozen=True)
class ArmFacts:
    """What an arm's gate knows besides its joints.

    Attributes:
        arm: kinematics of the contract. folder: from which the paths in it count.
        jerk: limit of each axis (A,), None without one. tip_speed: [m/s], None without a limit.
    """

    arm: Arm
    folder: Path | None
    jerk: tuple[float, ...] | None
    tip_speed: float | None

    @staticmethod
    def of(contract: RobotContract) -> ArmFacts | None:
        """Of a contract; None where it is no arm's."""
        arm, limits = contract.kinematics.arm, contract.limits
        if arm is None:
            return None
        jerk = None if limits.jerk is None else tuple(limits.jerk.tolist())
        return ArmFacts(arm, contract.folder, jerk, limits.tip_speed)


def needing_links(cfg: Any) -> list[str]:
    """The rows of a GateConfig that cannot be kept without the geometry of the links."""
    rails = cfg.guardrails
    asked = {
        "link_region": bool(rails.of(*BOXES)),
        "self_collision": cfg.self_collision,
        "singularity": cfg.singularity is not None,
        "tip_speed": cfg.arm.tip_speed is not None,
        "tip_near_person": bool(rails.of("near_person")),
    }
    return [name for name, wanted in asked.items() if wanted]


def refusal(cfg: Any) -> str | None:
    """Why the rows of an arm cannot be kept on this machine, or None."""
    missing = [name for name in PACKAGES if find_spec(name) is None]
    rows = needing_links(cfg) if missing else []
    if not rows:
        return None
    return (
        f"the rows {', '.join(rows)} of '{cfg.name}' need the links of the arm, and {' and '.join(missing)} cannot be "
        "imported: pip install 'jepa_ros[arm]', or do without them (settings self_collision: false, singularity: null; "
        "no boxes, no near_person, no limits.tip_speed)"
    )


def shapes(facts: ArmFacts) -> Any:
    """The links of the arm (:class:`jepa_ros.arm.postures.ArmShapes`)."""
    return import_module("jepa_ros.arm.postures").shapes_of(facts.arm, facts.folder)
