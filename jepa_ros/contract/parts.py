# SPDX-License-Identifier: Apache-2.0
"""The sections of a robot contract as the rest of the code sees them: plain, frozen, validated."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

#: Units of a joint that is commanded by position.
POSITION_UNITS = ("rad", "m")


@dataclass(frozen=True)
class Frames:
    """Names of the coordinate frames (REP-105)."""

    map: str
    odom: str
    base: str


@dataclass(frozen=True)
class Footprint:
    """The outline of the robot on the ground. ``radius`` [m] always circumscribes it; ``points`` [m] is a polygon's.

    Of the kind ``none``, with radius 0, where the robot does not drive and the contract gives no outline.
    """

    kind: str
    radius: float
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Gripper:
    """The joint that opens the gripper, its unit (``m`` or ``rad``), and joints that follow it by a factor."""

    joint: str
    unit: str
    mimics: dict[str, float]


@dataclass(frozen=True)
class Payload:
    """What the hand carries: the points within ``radius`` [m] of the segment between two points (x, y, z) [m] in the
    frame of the tip. It changes the shape of the hand and nothing else."""

    start: tuple[float, float, float]
    end: tuple[float, float, float]
    radius: float


@dataclass(frozen=True)
class Arm:
    """A serial arm between two frames of a URDF.

    Attributes:
        urdf: the file, as :mod:`jepa_ros.arm.urdf` finds it. srdf: a MoveIt description whose disabled pairs of links
            are not watched for self collision, or None.
        base_frame, tip_frame: links of the URDF.
        joints: those between them, in the order of every joint vector. home: a posture of them [rad].
        workspace: lowest and highest corner (x, y, z) [m] in the base frame of where the tip may be asked to go.
        gripper: None where the arm has none. payload: what the hand carries, or None.
    """

    urdf: str
    srdf: str | None
    base_frame: str
    tip_frame: str
    joints: tuple[str, ...]
    home: tuple[float, ...]
    workspace: tuple[tuple[float, float, float], tuple[float, float, float]]
    gripper: Gripper | None
    payload: Payload | None = None


@dataclass(frozen=True)
class Kinematics:
    """How the robot moves; the wheel sizes [m] are given for ``diff_drive`` alone, ``arm`` for that kind alone."""

    kind: str
    wheel_radius: float | None = None
    wheel_separation: float | None = None
    arm: Arm | None = None


@dataclass(frozen=True)
class Camera:
    """One camera, as its images are delivered, and what the model makes of them.

    Attributes:
        name: the first camera is ``image``.
        width, height: pixels, as delivered.
        rate: frames a second.
        crop: (x, y, width, height) in pixels, or None for the whole picture.
        size: (width, height) of the model's input in pixels, after crop and area resampling.
        model: the model sees this camera.
        frame, position, orientation: mounting: parent frame, xyz [m] and roll-pitch-yaw [rad].
        topic: of the images, as the driver calls it; the name where the contract does not say.
        compressed: the images are those of ``TOPIC/compressed`` (JPEG or PNG).
        driven: the contract names a topic: a driver publishes it, the node ``camera`` is not needed.
    """

    name: str
    width: int
    height: int
    rate: float
    crop: tuple[int, int, int, int] | None
    size: tuple[int, int]
    model: bool
    frame: str
    position: tuple[float, float, float]
    orientation: tuple[float, float, float]
    topic: str
    compressed: bool
    driven: bool

    @property
    def image_topic(self) -> str:
        """The topic that carries the images, ``/compressed`` included where they are."""
        return f"{self.topic}/compressed" if self.compressed else self.topic


@dataclass(frozen=True)
class ActionDim:
    """One dimension of an action or a command: a Twist component (an arm's begins with ``tip.``), a joint or the
    gripper, its unit, and its range."""

    name: str
    unit: str
    low: float
    high: float


@dataclass(frozen=True)
class Command:
    """What the gate publishes: the kind of message, its topic, and the joints where it is an arm.

    ``values`` says of an arm whether its joints are commanded by ``position`` or by ``velocity``.
    """

    kind: str
    topic: str
    joints: tuple[str, ...]
    values: str | None = None


@dataclass(frozen=True)
class StateTopic:
    """A state input of the gate. Silent for longer than ``timeout`` [s], a required one stops the robot.

    ``model``: the model takes it too, see :attr:`RobotContract.model_state`.
    ``frame`` and ``offset`` (x, y [m], yaw [rad] in the base frame) are of a lidar; None is the base frame itself.
    ``no_return``: what this lidar writes for a beam without a return, besides +inf. ``slow``, ``stop``: levels of a
    wrist's force [N]. ``noise``: standard deviation of the velocity that odom or joint_states tell at rest, by axis.
    """

    topic: str
    timeout: float
    required: bool
    frame: str | None = None
    offset: tuple[float, float, float] | None = None
    model: bool = False
    no_return: tuple[str, ...] | None = None
    slow: float | None = None
    stop: float | None = None
    noise: dict[str, float] | None = None


@dataclass(frozen=True)
class Costmap:
    """What of somebody else's costmap enters the scan that the gate hears; the node ``costmap`` does it.

    Attributes:
        topic: of a ``nav_msgs/OccupancyGrid``, "" for none. polygons: topics of ``geometry_msgs/PolygonStamped``, each
            an area to stay out of. frame: of them all.
        lethal: a cell of this cost (1 to 100) or more is in the way; unknown: one that is not known (-1), too.
        timeout: s after which a silent one counts no more. reach: m around the robot that is looked at.
        lidar: topic of the robot's own scan, which is joined; "" where it has none.
    """

    topic: str
    polygons: tuple[str, ...]
    frame: str
    lethal: int
    unknown: bool
    timeout: float
    reach: float
    lidar: str

    @property
    def sources(self) -> tuple[str, ...]:
        """All topics that tell what is in the way, save the lidar's."""
        return (*([self.topic] if self.topic else []), *self.polygons)


#: What a dataset keeps of the odometry of a base that nothing localises: where it is from where the odometry began.
ODOMETRY = ("x", "y", "yaw")


@dataclass(frozen=True)
class StateInput:
    """A state vector that the model takes or a dataset keeps: the state topic it comes from, and name and unit of each
    of its values."""

    name: str
    values: tuple[str, ...]
    units: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Limits:
    """Hard limits of the robot, one number an axis of the command, in its unit (per second for the rates).

    ``braking`` is the deceleration that is guaranteed; stopping distances are computed with it. Of arms alone:
    ``jerk``, how fast the acceleration of a joint that speeds up may grow, and ``tip_speed`` [m/s]; None: no limit.
    """

    velocity: np.ndarray
    acceleration: np.ndarray
    braking: np.ndarray
    position_low: np.ndarray | None
    position_high: np.ndarray | None
    jerk: np.ndarray | None = None
    tip_speed: float | None = None


@dataclass(frozen=True)
class Nearness:
    """How near to its goal the robot has arrived [m], and from where on it has left it again."""

    arrive: float
    leave: float


@dataclass(frozen=True)
class Watchdog:
    """Times [s] and counts of the gate; each is explained in ``docs/safety.md``."""

    command_timeout: float
    image_timeout: float
    heartbeat_timeout: float
    rearm_time: float
    stamp_tolerance: float
    max_stamp_age: float
    exit_duration: float
    estop_required: bool
    estop_timeout: float
    bad_command_latch: int
    resume_latch_count: int
    resume_latch_window: float
    stop_motion_timeout: float
