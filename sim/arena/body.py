# SPDX-License-Identifier: Apache-2.0
"""The arena's robot: the numbers of its URDF, and what an episode draws of it."""

from __future__ import annotations

from ..common.base import Body, Motors, WheeledBase
from .camera import ASSETS
from .scene import Draw

BODY_MASS = 1.3  # kg, of base_link, as in the URDF
ROBOT = WheeledBase("the arena's robot", ASSETS / "arena_robot.urdf", 0.03, 0.14, 0.035, 30.0)


def make_body(client: int, floor: int, start: tuple[float, float, float], draw: Draw) -> Body:
    """One robot with this episode's friction, torque, mass and wheel gains, see :class:`..common.base.Body`."""
    return Body(ROBOT, client, floor, start, Motors(draw.friction, draw.torque, draw.wheel_gain, BODY_MASS * draw.mass))
