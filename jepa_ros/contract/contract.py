# SPDX-License-Identifier: Apache-2.0
"""The robot contract: the ONE description of a robot that recording, training, planning and gating share.

A contract is a YAML file (``robots/NAME.yaml``). It is validated when it is read, carried inside every checkpoint and
bag, and compared key by key when a checkpoint meets a robot. ``docs/contract.md`` documents every key.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jepa_ros.contract.fields import ContractError, Fields
from jepa_ros.contract.resources import share_dir
from jepa_ros.yaml_text import load_yaml

SCHEMA = 1
COMMAND_KINDS = ("twist_stamped", "twist", "joint_trajectory", "float64_multiarray")
KINEMATICS_KINDS = ("diff_drive", "holonomic", "joints")
STATE_KEYS = ("odom", "pose", "joint_states", "scan", "contact", "people")
#: The components of a Twist that an action dimension of a mobile base may drive, with their unit (REP-103).
TWIST_UNITS = {
    "linear.x": "m/s",
    "linear.y": "m/s",
    "linear.z": "m/s",
    "angular.x": "rad/s",
    "angular.y": "rad/s",
    "angular.z": "rad/s",
}
JOINT_UNITS = ("rad", "m", "rad/s", "m/s")
#: A robot's name is part of file names; that of a Gymnasium environment may have a namespace before it.
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*([/:][A-Za-z0-9_][A-Za-z0-9_.-]*)*")
#: Edges of a camera's picture and of the model's input [px]: more is a mistake that would only be told by full memory.
MOST_PIXELS, MOST_SIZE = 16384, 2048
#: Topics of the graph itself: nothing of the robot may be called so, for one topic carries one type.
OWN_TOPICS = (
    "command_raw", "command_teleop", "signals", "embedding", "model_id", "plan", "goal_image", "goal_pose",
    "hardware_estop", "safety_gate/state",
)  # fmt: skip


@dataclass(frozen=True)
class Frames:
    """Names of the coordinate frames (REP-105)."""

    map: str
    odom: str
    base: str


@dataclass(frozen=True)
class Footprint:
    """The outline of the robot on the ground. ``radius`` [m] always circumscribes it; ``points`` [m] is a polygon's."""

    kind: str
    radius: float
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Kinematics:
    """How the robot moves; the wheel sizes [m] are given for ``diff_drive`` alone."""

    kind: str
    wheel_radius: float | None
    wheel_separation: float | None


@dataclass(frozen=True)
class Camera:
    """One camera, as its images are delivered, and what the model makes of them.

    Attributes:
        name: the first camera is ``image``.
        width, height: pixels, as delivered.
        rate: frames a second.
        crop: (x, y, width, height) in pixels, or None for the whole picture.
        size: edge of the square model input in pixels, after crop and area resampling.
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
    size: int
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
    """One dimension of the action: a Twist component or a joint, its unit, and the range that the planner searches."""

    name: str
    unit: str
    low: float
    high: float


@dataclass(frozen=True)
class Command:
    """What the gate publishes: the kind of message, its topic, and the joints where it is an arm."""

    kind: str
    topic: str
    joints: tuple[str, ...]


@dataclass(frozen=True)
class StateTopic:
    """A state input of the gate. Silent for longer than ``timeout`` [s], a required one stops the robot.

    ``frame`` and ``offset`` (x, y [m], yaw [rad] in the base frame) are of a lidar; None is the base frame itself.
    """

    topic: str
    timeout: float
    required: bool
    frame: str | None = None
    offset: tuple[float, float, float] | None = None


@dataclass(frozen=True, eq=False)
class Limits:
    """Hard limits of the robot, one number an action dimension, in the action's unit (per second for the rates).

    ``braking`` is the deceleration that is guaranteed; stopping distances are computed with it.
    """

    velocity: np.ndarray
    acceleration: np.ndarray
    braking: np.ndarray
    position_low: np.ndarray | None
    position_high: np.ndarray | None


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


@dataclass(frozen=True, eq=False)
class RobotContract:
    """A validated contract. Build one with :func:`load_contract` or :meth:`from_dict`; it never changes afterwards."""

    name: str
    description: str
    rate: float
    gate_rate: float
    actuation_latency: float
    frames: Frames
    footprint: Footprint
    kinematics: Kinematics
    cameras: tuple[Camera, ...]
    action: tuple[ActionDim, ...]
    command: Command
    state: dict[str, StateTopic]
    estop_topic: str
    limits: Limits
    watchdog: Watchdog
    stop: str
    guardrails: tuple[dict[str, Any], ...]
    source: str
    data: dict[str, Any]

    @property
    def period(self) -> float:
        """Duration of one control step [s]."""
        return 1.0 / self.rate

    @property
    def action_dim(self) -> int:
        """Number of action dimensions, A."""
        return len(self.action)

    @property
    def action_low(self) -> np.ndarray:
        """Lower bounds, (A,), physical units."""
        return np.array([a.low for a in self.action])

    @property
    def action_high(self) -> np.ndarray:
        """Upper bounds, (A,), physical units."""
        return np.array([a.high for a in self.action])

    def normalise(self, values: np.ndarray) -> np.ndarray:
        """Map physical actions (..., A) to [-1, 1] as the model takes them (linear, low -> -1, high -> 1)."""
        low, high = self.action_low, self.action_high
        return 2.0 * (np.asarray(values, dtype=np.float64) - low) / (high - low) - 1.0

    def denormalise(self, unit: np.ndarray) -> np.ndarray:
        """The inverse of :meth:`normalise`: (..., A) in [-1, 1] to physical units."""
        low, high = self.action_low, self.action_high
        return low + 0.5 * (np.asarray(unit, dtype=np.float64) + 1.0) * (high - low)

    def lidar(self) -> dict[str, Any]:
        """The gate's settings for where the lidar stands (``scan_frame``, ``scan_offset``); empty: in the base."""
        scan = self.state.get("scan")
        if scan is None or scan.frame is None:
            return {}
        return {"scan_frame": scan.frame, "scan_offset": scan.offset or (0.0, 0.0, 0.0)}

    def to_dict(self) -> dict[str, Any]:
        """The contract as plain data, every default written out; :meth:`from_dict` reads it back."""
        return json.loads(json.dumps(self.data))

    @staticmethod
    def from_dict(data: dict[str, Any], source: str = "contract") -> RobotContract:
        """Validate plain data and build the contract.

        Raises:
            ContractError: naming ``source``, the path of the key, what was found and what was expected.
        """
        return _read(Fields(data, source))

    def digest(self) -> str:
        """A hash of the whole contract, equal for equal contracts on every machine."""
        text = json.dumps(self.data, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def differences(self, other: RobotContract) -> list[str]:
        """Every key in which the two contracts differ, as ``path: mine != theirs``; empty when they are equal."""
        return _differences(self.data, other.data, "")

    def model_differences(self, other: RobotContract) -> list[str]:
        """The differences that make a model of the one useless to the other: what the camera delivers, what an
        action means, and the timing. Guardrails, limits, time-outs and topics may change without retraining."""
        mine, theirs = _model_part(self.data), _model_part(other.data)
        return _differences(mine, theirs, "")


def load_contract(name_or_path: str | Path) -> RobotContract:
    """Read and validate a contract.

    Args:
        name_or_path: a file, or the name of a shipped contract (``arena`` for ``robots/arena.yaml``).

    Raises:
        ContractError: the file is missing, is no YAML, or a key is wrong.
    """
    path = Path(name_or_path)
    if path.suffix not in (".yaml", ".yml"):
        folder = share_dir() / "robots"
        path = folder / f"{name_or_path}.yaml"
        if not path.is_file():
            known = ", ".join(sorted(p.stem for p in folder.glob("*.yaml")))
            raise ContractError(f"no robot named '{name_or_path}' in {folder}; known: {known}; or give a .yaml file")
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ContractError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ContractError(f"{path}: not a text file in UTF-8") from None
    return RobotContract.from_dict(load_yaml(text, str(path), ContractError), str(path))


def _read(top: Fields) -> RobotContract:
    schema = top.integer("contract", least=1)
    if schema != SCHEMA:
        raise top.error("contract", f"expected schema {SCHEMA}, found {schema}: use a matching version of jepa_ros")
    name = top.text("name")
    if not NAME.fullmatch(name):  # it names folders: models/NAME
        raise top.error("name", f"expected letters, digits, _, - and ., found '{name}'")
    description = str(top.raw("description", ""))
    rate = top.number("rate", above=0.0, most=100.0, unit="Hz")
    gate_rate = top.number("gate_rate", 50.0, least=10.0, most=1000.0, unit="Hz")
    if gate_rate < rate:
        raise top.error("gate_rate", f"expected at least the control rate ({rate:g} Hz), found {gate_rate:g}")
    latency = top.number("actuation_latency", 0.0, least=0.0, most=2.0, unit="s")
    frames = _frames(top.section("frames", {}))
    footprint = _footprint(top.section("footprint"))
    kinematics = _kinematics(top.section("kinematics"))
    cameras = _cameras(top)
    action = _action(top, kinematics)
    command = _command(top.section("command"), action, kinematics)
    state = _state(top.section("state", {}))
    estop_topic = top.topic("estop_topic", "estop")
    _topics_differ(top, cameras, command, state, estop_topic)
    limits = _limits(top.section("limits"), action, kinematics)
    watchdog = _watchdog(top.section("watchdog", {}))
    stop = top.text("stop", "ramp", choices=("ramp", "zero"))
    guardrails = _guardrails(top)
    top.done()
    data = {
        "contract": SCHEMA,
        "name": name,
        "description": description,
        "rate": rate,
        "gate_rate": gate_rate,
        "actuation_latency": latency,
        "frames": vars(frames),
        "footprint": (
            {"kind": "circle", "radius": footprint.radius}
            if footprint.kind == "circle"
            else {"kind": "polygon", "points": [list(p) for p in footprint.points]}
        ),
        "kinematics": {k: v for k, v in vars(kinematics).items() if v is not None},
        "cameras": [_plain_camera(c) for c in cameras],
        "action": [vars(a) for a in action],
        "command": {k: list(v) if isinstance(v, tuple) else v for k, v in vars(command).items() if v != ()},
        "state": {k: {n: v for n, v in vars(s).items() if v is not None} for k, s in state.items()},
        **({"estop_topic": estop_topic} if estop_topic != "estop" else {}),
        "limits": _plain_limits(limits, action),
        "watchdog": vars(watchdog),
        "stop": stop,
        "guardrails": list(guardrails),
    }
    data = json.loads(json.dumps(data))
    return RobotContract(
        name,
        description,
        rate,
        gate_rate,
        latency,
        frames,
        footprint,
        kinematics,
        cameras,
        action,
        command,
        state,
        estop_topic,
        limits,
        watchdog,
        stop,
        guardrails,
        top.where,
        data,
    )


def _frames(f: Fields) -> Frames:
    frames = Frames(f.text("map", "map"), f.text("odom", "odom"), f.text("base", "base_link"))
    f.done()
    return frames


def _footprint(f: Fields) -> Footprint:
    kind = f.text("kind", choices=("circle", "polygon"))
    if kind == "circle":
        footprint = Footprint(kind, f.number("radius", above=0.0, unit="m"), ())
    else:
        raw = f.raw("points")
        if not isinstance(raw, list) or len(raw) < 3:
            raise f.error("points", "expected a list of at least 3 points [x, y] in m")
        from jepa_ros.safety.geometry import Polygon

        holder = Fields({str(i): p for i, p in enumerate(raw)}, f.where, f"{f.path}.points")
        points = tuple((v[0], v[1]) for v in (holder.vector(str(i), 2, unit="m") for i in range(len(raw))))
        try:
            Polygon(points)
        except ValueError as error:
            raise f.error("points", str(error)) from None
        footprint = Footprint(kind, max(math.hypot(*p) for p in points), points)
    f.done()
    return footprint


def _kinematics(f: Fields) -> Kinematics:
    kind = f.text("kind", choices=KINEMATICS_KINDS)
    radius = separation = None
    if kind == "diff_drive":
        radius = f.number("wheel_radius", above=0.0, unit="m")
        separation = f.number("wheel_separation", above=0.0, unit="m")
    f.done()
    return Kinematics(kind, radius, separation)


def _cameras(top: Fields) -> tuple[Camera, ...]:
    cameras: list[Camera] = []
    for i, f in enumerate(top.sections("cameras")):
        name = f.text("name")
        if i == 0 and name != "image":
            said = "the first camera is called 'image' (its driver's topic goes under the key 'topic')"
            raise f.error("name", f"{said}, found '{name}'")
        if name in [c.name for c in cameras]:
            raise f.error("name", f"two cameras are called '{name}'")
        width, height = (f.integer(k, least=8, most=MOST_PIXELS) for k in ("width", "height"))
        crop_raw = f.raw("crop", None)
        crop = None
        if crop_raw is not None:
            x, y, w, h = (int(v) for v in f.vector("crop", 4, unit="px"))
            if [x, y, w, h] != list(crop_raw) or x < 0 or y < 0 or w < 8 or h < 8 or x + w > width or y + h > height:
                wanted = f"[x, y, width, height] inside {width}x{height}, whole numbers and at least 8 wide and high"
                raise f.error("crop", f"expected {wanted}, found {crop_raw}")
            crop = (x, y, w, h)
        size = f.integer("size", 64, least=16, most=MOST_SIZE)
        if size % 16:
            raise f.error("size", f"expected a multiple of 16, found {size}")
        mounting = f.section("mounting", {})
        frame = mounting.text("frame", "map")
        position = mounting.vector("position", 3, [0.0, 0.0, 0.0], unit="m")
        orientation = mounting.vector("orientation", 3, [0.0, 0.0, 0.0], unit="rad")
        mounting.done()
        rate = f.number("rate", above=0.0, unit="Hz")
        topic, compressed, driven = f.topic("topic", name), f.boolean("compressed", False), "topic" in f.data
        if topic.endswith("/compressed"):
            raise f.error("topic", f"expected the base topic and compressed: true, found '{topic}'")
        f.done()
        where = (frame, position, orientation)
        cameras.append(Camera(name, width, height, rate, crop, size, *where, topic, compressed, driven))  # type: ignore[arg-type]
    if not cameras:
        raise top.error("cameras", "expected at least one camera, the first of them named 'image'")
    return tuple(cameras)


def _plain_camera(c: Camera) -> dict[str, Any]:
    plain: dict[str, Any] = {"name": c.name, "width": c.width, "height": c.height, "rate": c.rate, "size": c.size}
    if c.crop is not None:
        plain["crop"] = list(c.crop)
    if c.driven:
        plain["topic"] = c.topic
    if c.compressed:
        plain["compressed"] = True
    plain["mounting"] = {"frame": c.frame, "position": list(c.position), "orientation": list(c.orientation)}
    return plain


def _action(top: Fields, kinematics: Kinematics) -> tuple[ActionDim, ...]:
    dims: list[ActionDim] = []
    for f in top.sections("action"):
        name = f.text("name")
        if name in [d.name for d in dims]:
            raise f.error("name", f"two action dimensions are called '{name}'")
        if kinematics.kind == "joints":
            unit = f.text("unit", choices=JOINT_UNITS)
        else:
            if name not in TWIST_UNITS:
                raise f.error("name", f"expected a component of a Twist ({', '.join(TWIST_UNITS)}), found '{name}'")
            unit = f.text("unit")
            if unit != TWIST_UNITS[name]:
                raise f.error("unit", f"'{name}' is in {TWIST_UNITS[name]} (REP-103), found '{unit}'")
        low, high = f.number("low", unit=unit), f.number("high", unit=unit)
        if not low < high:
            raise f.error("low", f"expected low < high, found low {low:g} and high {high:g}")
        if not low <= 0.0 <= high and unit.endswith("/s"):
            raise f.error(
                "low", f"expected a range that contains 0, so that the robot can stand; found {low:g}..{high:g}"
            )
        f.done()
        dims.append(ActionDim(name, unit, low, high))
    if not dims:
        raise top.error("action", "expected at least one action dimension")
    if kinematics.kind == "diff_drive" and [d.name for d in dims] != ["linear.x", "angular.z"]:
        raise top.error("action", "a diff_drive robot takes the actions linear.x and angular.z, in this order")
    return tuple(dims)


def _command(f: Fields, action: tuple[ActionDim, ...], kinematics: Kinematics) -> Command:
    kind = f.text("kind", choices=COMMAND_KINDS)
    arm = kind in ("joint_trajectory", "float64_multiarray")
    if arm != (kinematics.kind == "joints"):
        raise f.error("kind", f"'{kind}' does not fit kinematics.kind '{kinematics.kind}'")
    joints_raw = f.raw("joints", [])
    if not isinstance(joints_raw, list) or not all(isinstance(j, str) for j in joints_raw):
        raise f.error("joints", "expected a list of joint names")
    joints = tuple(joints_raw)
    if arm and joints != tuple(a.name for a in action):
        raise f.error(
            "joints", f"expected the names of the action dimensions {[a.name for a in action]}, found {list(joints)}"
        )
    command = Command(kind, f.topic("topic"), joints)
    f.done()
    return command


def _state(f: Fields) -> dict[str, StateTopic]:
    state = {}
    for key in f.data:
        if key not in STATE_KEYS:
            raise f.error(str(key), f"unknown state; expected one of {', '.join(STATE_KEYS)}")
        s = f.section(key)
        topic, timeout = s.topic("topic", key), s.number("timeout", 0.5, above=0.0, unit="s")
        required, frame, offset = s.boolean("required", True), None, None
        if key == "scan" and "frame" in s.data:
            frame, offset = s.text("frame"), s.vector("offset", 3, [0.0, 0.0, 0.0], unit="m, m, rad")
        state[key] = StateTopic(topic, timeout, required, frame, offset)  # type: ignore[arg-type]
        s.done()
    return state


def _topics_differ(
    top: Fields, cameras: tuple[Camera, ...], command: Command, state: dict[str, StateTopic], estop_topic: str
) -> None:
    """A topic carries one type: what the robot takes must not be called as what it gives."""
    seen = dict.fromkeys(OWN_TOPICS, "a topic of jepa_ros itself")
    named = [(f"cameras[{i}].topic", c.image_topic) for i, c in enumerate(cameras)]
    named += [(f"state.{key}.topic", s.topic) for key, s in state.items()]
    for key, topic in [*named, ("estop_topic", estop_topic), ("command.topic", command.topic)]:
        plain = topic.lstrip("/")
        if plain in seen:
            raise top.error(key, f"'{topic}' is {seen[plain]} too: expected a topic of its own")
        seen[plain] = key


def _per_action(f: Fields, key: str, action: tuple[ActionDim, ...]) -> np.ndarray:
    sub = f.section(key)
    values = [sub.number(a.name, above=0.0) for a in action]
    sub.done()
    return np.array(values)


def _limits(f: Fields, action: tuple[ActionDim, ...], kinematics: Kinematics) -> Limits:
    velocity = _per_action(f, "velocity", action)
    acceleration = _per_action(f, "acceleration", action)
    braking = _per_action(f, "braking", action)
    low = high = None
    if kinematics.kind == "joints":
        position = f.section("position")
        pairs = [position.vector(a.name, 2) for a in action]
        position.done()
        low, high = np.array([p[0] for p in pairs]), np.array([p[1] for p in pairs])
        for a, lo, hi in zip(action, low, high, strict=True):
            if not lo < hi:
                raise f.error(f"position.{a.name}", f"expected [low, high] with low < high, found [{lo:g}, {hi:g}]")
    else:
        for i, a in enumerate(action):
            if max(abs(a.low), abs(a.high)) > velocity[i] + 1e-9:
                raise f.error(
                    f"velocity.{a.name}",
                    f"is {velocity[i]:g} {a.unit}, but action '{a.name}' ranges over {a.low:g}..{a.high:g}",
                )
    f.done()
    return Limits(velocity, acceleration, braking, low, high)


def _plain_limits(limits: Limits, action: tuple[ActionDim, ...]) -> dict[str, Any]:
    names = [a.name for a in action]
    plain: dict[str, Any] = {
        key: dict(zip(names, getattr(limits, key).tolist(), strict=True))
        for key in ("velocity", "acceleration", "braking")
    }
    if limits.position_low is not None and limits.position_high is not None:
        pairs = zip(limits.position_low.tolist(), limits.position_high.tolist(), strict=True)
        plain["position"] = {n: list(p) for n, p in zip(names, pairs, strict=True)}
    return plain


def _watchdog(f: Fields) -> Watchdog:
    watchdog = Watchdog(
        command_timeout=f.number("command_timeout", 0.5, above=0.0, unit="s"),
        image_timeout=f.number("image_timeout", 0.5, above=0.0, unit="s"),
        heartbeat_timeout=f.number("heartbeat_timeout", 1.0, above=0.0, unit="s"),
        rearm_time=f.number("rearm_time", 0.5, least=0.0, unit="s"),
        stamp_tolerance=f.number("stamp_tolerance", 0.1, least=0.0, unit="s"),
        max_stamp_age=f.number("max_stamp_age", 0.5, above=0.0, unit="s"),
        exit_duration=f.number("exit_duration", 1.0, least=0.0, most=30.0, unit="s"),
        estop_required=f.boolean("estop_required", False),
        estop_timeout=f.number("estop_timeout", 0.5, above=0.0, unit="s"),
        bad_command_latch=f.integer("bad_command_latch", 10, least=1),
        resume_latch_count=f.integer("resume_latch_count", 10, least=1),
        resume_latch_window=f.number("resume_latch_window", 30.0, above=0.0, unit="s"),
        stop_motion_timeout=f.number("stop_motion_timeout", 1.0, above=0.0, unit="s"),
    )
    f.done()
    return watchdog


def _guardrails(top: Fields) -> tuple[dict[str, Any], ...]:
    """Guardrails are checked by their own schema, which stands in ``safety/`` for planner and gate alike."""
    raw = top.raw("guardrails", [])
    if not isinstance(raw, list):
        raise top.error("guardrails", f"expected a list, found {type(raw).__name__}")
    if not raw:
        return ()
    from jepa_ros.safety.guardrails import GuardrailError, parse_guardrails

    try:
        parse_guardrails(raw)
    except GuardrailError as error:
        raise top.error("guardrails", str(error)) from None
    return tuple(raw)


def _model_part(data: dict[str, Any]) -> dict[str, Any]:
    part = {key: data[key] for key in ("rate", "kinematics", "action")}
    part["cameras"] = [
        {k: c[k] for k in ("name", "width", "height", "size", "crop") if k in c} for c in data["cameras"]
    ]
    return part


def _differences(a: Any, b: Any, path: str) -> list[str]:
    if isinstance(a, dict) and isinstance(b, dict):
        found = []
        for key in [*a, *(k for k in b if k not in a)]:
            at = f"{path}.{key}" if path else str(key)
            if key not in a or key not in b:
                found.append(f"{at}: {a.get(key, 'absent')} != {b.get(key, 'absent')}")
            else:
                found += _differences(a[key], b[key], at)
        return found
    if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        return [line for i, (x, y) in enumerate(zip(a, b, strict=True)) for line in _differences(x, y, f"{path}[{i}]")]
    return [] if a == b else [f"{path}: {a} != {b}"]


__all__ = ["ContractError", "RobotContract", "load_contract"]
