# SPDX-License-Identifier: Apache-2.0
"""What a simulator's sensors say, as the gate and the agent hear it: the ONE table of them, for every world."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from jepa_ros.contract.parts import Frames
from jepa_ros.safety.inputs import ContactIn, JointsIn, OdomIn, PeopleIn, PoseIn, ScanIn, WrenchIn


def odom(sim: Any, now: float, frames: Frames) -> OdomIn:
    """Wheel odometry."""
    x, y, yaw, v, w = sim.odom()
    return OdomIn(now, now, x, y, yaw, (v, w), frames.odom)


def pose(sim: Any, now: float, frames: Frames) -> PoseIn:
    """A localisation."""
    x, y, yaw, covariance = sim.pose()
    return PoseIn(now, now, x, y, yaw, covariance, frames.map)


def joint_states(sim: Any, now: float, frames: Frames) -> JointsIn:
    """The encoders."""
    names, positions, velocities = sim.joint_states()
    return JointsIn(now, now, names, np.asarray(positions).tolist(), np.asarray(velocities).tolist())


def scan(sim: Any, now: float, frames: Frames) -> ScanIn:
    """The lidar, in the middle of the base."""
    s = sim.scan()
    return ScanIn(now, now, s.angle_min, s.angle_increment, s.ranges, s.range_min, s.range_max, frames.base)


def contact(sim: Any, now: float, frames: Frames) -> ContactIn:
    """The collision switch."""
    return ContactIn(now, now, sim.contact())


def people(sim: Any, now: float, frames: Frames) -> PeopleIn:
    """A tracker of people."""
    return PeopleIn(now, now, sim.people(), frames.map)


def wrench(sim: Any, now: float, frames: Frames) -> WrenchIn:
    """The force at the wrist."""
    return WrenchIn(now, now, sim.wrench()[:3].tolist())


#: Name of a state of the contract -> its reading, given the simulator, the time [s] and the contract's frames.
READINGS: dict[str, Callable[[Any, float, Frames], Any]] = {
    reading.__name__: reading for reading in (odom, pose, joint_states, scan, contact, people, wrench)
}
