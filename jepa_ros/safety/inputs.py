# SPDX-License-Identifier: Apache-2.0
"""What the gate sees at one tick: the newest of each input, with the time it was stamped and the time it came in.

Receipt times are data, so that a step of the gate can be repeated from a recording. ``stamp`` is ROS time [s], as the
sender wrote it; ``received`` is steady (monotonic) time [s], as the receiver's own clock had it. Nothing here is
checked: the gate checks, and a sender can put anything into these fields.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class CommandIn:
    """A command of the planner or of teleoperation.

    Attributes:
        values: (A,) in the order and the units of the contract's action.
        stamp: of the image that the command came from (teleoperation: of the message) [ROS s].
        received: [steady s].
        seq: counts the messages received; two with the same number and receipt time are one message.
        frame_id: the base frame, or empty. names: joint names, or None for a base.
        fault: what is wrong with the message's shape, as its reader found; empty where nothing is.
        still: it says "stand still", whatever that is for the robot; the values are not looked at.
    """

    values: Sequence[float]
    stamp: float
    received: float
    seq: int = 0
    frame_id: str = ""
    names: tuple[str, ...] | None = None
    fault: str = ""
    still: bool = False


@dataclass(slots=True)
class ImageIn:
    """Header and checksum of an image; ``checksum`` is None where nobody computed one."""

    stamp: float
    received: float
    checksum: int | None = None


@dataclass(slots=True)
class OdomIn:
    """Odometry: pose in the odometry frame [m, rad]; measured velocity ``v`` (A,) in the action's order and units.

    ``fault``: what its reader found wrong with the message (a quaternion that is no rotation); empty: nothing.
    """

    stamp: float
    received: float
    x: float
    y: float
    yaw: float
    v: Sequence[float]
    frame_id: str = ""
    fault: str = ""


@dataclass(slots=True)
class PoseIn:
    """Localisation in the frame of the regions [m, rad]; ``cov`` is the 3 x 3 covariance of (x, y, yaw).

    ``fault``: as of :class:`OdomIn`. ``latched``: its publisher keeps it for whoever comes later (transient local): it
    holds until the next one.
    """

    stamp: float
    received: float
    x: float
    y: float
    yaw: float
    cov: Any
    frame_id: str = ""
    fault: str = ""
    latched: bool = False


@dataclass(slots=True)
class JointsIn:
    """Measured joint positions [rad or m] and velocities, by name; ``velocity`` may be empty."""

    stamp: float
    received: float
    names: Sequence[str]
    position: Sequence[float]
    velocity: Sequence[float] = ()


@dataclass(slots=True)
class ScanIn:
    """One turn of a lidar (``sensor_msgs/LaserScan``, REP-117): ``ranges`` (n,) [m], +inf is no return."""

    stamp: float
    received: float
    angle_min: float
    angle_increment: float
    ranges: Any
    range_min: float
    range_max: float
    frame_id: str = ""


@dataclass(slots=True)
class ContactIn:
    """A bumper."""

    stamp: float
    received: float
    value: bool


@dataclass(slots=True)
class WrenchIn:
    """The force (x, y, z) [N] that a sensor at the wrist measures, without the weight of the hand."""

    stamp: float
    received: float
    force: Sequence[float]


@dataclass(slots=True)
class EstopIn:
    """The emergency stop: anything but False stops."""

    received: float
    value: bool


@dataclass(slots=True)
class SignalsIn:
    """What the planner says about its own plan.

    Attributes:
        values: ``surprise``, ``novelty``, and ``guardrail/NAME`` (cost of the plan against that guardrail).
        guardrail_hash, model_id: identity of the guardrail set and of the model that it planned with; None unknown.
    """

    stamp: float
    received: float
    values: Mapping[str, float]
    guardrail_hash: str | None = None
    model_id: str | None = None


@dataclass(slots=True)
class PeopleIn:
    """People near the robot, in the frame of the regions: (x, y) [m] each; empty means that nobody is seen."""

    stamp: float
    received: float
    positions: Sequence[tuple[float, float]]
    frame_id: str = ""


@dataclass(slots=True)
class Requests:
    """What was asked of the gate since the last tick.

    Attributes:
        enable: True enables, False disables, None: nobody asked.
        reset: clear a latch. estop: latch one now (wins over ``reset``). shutdown: the process is about to end.
    """

    enable: bool | None = None
    reset: bool = False
    estop: bool = False
    shutdown: bool = False


@dataclass(slots=True)
class GateInputs:
    """The newest of each input; None where none was ever received.

    Attributes:
        earlier_commands, earlier_teleop: commands that came in since the last tick before ``command`` (``teleop``),
            oldest first; a bad one among them is not hidden by a good one that followed it.
        heartbeats: {component: received [steady s]}.
        identities: {"model/WHO": id, "guardrails/WHO": hash} of perception and planner.
        output_publishers: publishers on the gate's output topic, the gate's own included; None unknown.
        errors: faults that the node itself found on an input (an incompatible QoS, a message that cannot be read).
    """

    command: CommandIn | None = None
    teleop: CommandIn | None = None
    image: ImageIn | None = None
    odom: OdomIn | None = None
    pose: PoseIn | None = None
    joint_states: JointsIn | None = None
    scan: ScanIn | None = None
    contact: ContactIn | None = None
    estop: EstopIn | None = None
    signals: SignalsIn | None = None
    people: PeopleIn | None = None
    wrench: WrenchIn | None = None
    earlier_commands: tuple[CommandIn, ...] = ()
    earlier_teleop: tuple[CommandIn, ...] = ()
    heartbeats: Mapping[str, float] = field(default_factory=dict)
    identities: Mapping[str, str] = field(default_factory=dict)
    requests: Requests = field(default_factory=Requests)
    output_publishers: int | None = None
    errors: tuple[str, ...] = ()
