# SPDX-License-Identifier: Apache-2.0
"""The messages of a drive by what they are for (image, command, localisation, ...), as values: what cutting needs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from jepa_ros.bags import BagError
from jepa_ros.bags.format.reader import BagReader
from jepa_ros.bags.format.storage import Message
from jepa_ros.contract import RobotContract
from jepa_ros.contract.topics import COMMAND_TYPES
from jepa_ros.messages.commands import gate_output, raw_command
from jepa_ros.messages.diagnostics import key_values, raw_value
from jepa_ros.messages.images import COMPRESSED, IMAGE
from jepa_ros.messages.stamps import raw_stamp, stamp_ns
from jepa_ros.messages.state import planar_pose, state_of_message
from jepa_ros.names import full_name
from jepa_ros.safety.output import MOVING_NAMES
from jepa_ros.safety.rows import TABLE

KEPT = ("joint_states", "odom")
"""Fields of Topics that are state vectors, which a dataset keeps where the contract says so."""
COMMANDS = ("command", "asked", "teleop")
"""Fields of Topics that are commands."""
TWISTS = {COMMAND_TYPES["twist_stamped"]: True, COMMAND_TYPES["twist"]: False}
"""Types of commands that are read without taking the message apart; whether they have a stamp."""
WORDS = {
    "command": "command", "asked": "command", "teleop": "command", "pose": "localisation", "contact": "bumper",
    "gate": "state of a gate", "joint_states": "state of joints", "odom": "odometry",
}  # fmt: skip
"""What a field of Topics is called in a message to the user."""
HELD = frozenset(row.name for row in TABLE if row.stage == "shape")
"""A stop for one of these reasons is what the robot did: nothing is wrong, something is in the way. Direct collection
keeps it too, and a model that is to know what a contact is needs it."""


@dataclass(frozen=True)
class Topics:
    """The full names of the topics to use; '' where the bag has none."""

    image: str
    command: str
    pose: str = ""
    contact: str = ""
    gate: str = ""
    asked: str = ""
    teleop: str = ""
    joint_states: str = ""
    odom: str = ""

    def names(self) -> list[str]:
        """Those that are there, without the image."""
        felt = (self.pose, self.contact, self.joint_states, self.odom)
        return [n for n in (self.command, self.gate, self.asked, self.teleop, *felt) if n]


def resolve_topics(
    reader: BagReader, contract: RobotContract, namespace: str = "", given: dict | None = None
) -> Topics:
    """Find the contract's topics in a bag.

    Args:
        namespace: of the robot in the bag.
        given: full names that replace what the contract says, by field of Topics.

    Raises:
        BagError: the image or the command is not there; the message lists what is.
    """
    given = {key: value for key, value in (given or {}).items() if value}

    def find(key: str, *names: str, required: bool = False) -> str:
        if key in given:
            reader.require(given[key])
            return given[key]
        wanted = [full_name(name, namespace) for name in names]
        for name in wanted:
            if name in reader.topics and reader.topics[name].count:
                return name
        if required:
            reader.require(wanted[0])  # not there: says what is
            raise BagError(f"{reader.path}: no message on {wanted[0]} in this bag")
        return ""

    camera, state = contract.step_camera.topic, contract.state
    return Topics(
        image=find("image", camera, f"{camera}/compressed", required=True),
        command=find("command", contract.command.topic, required=True),
        pose=find("pose", state["pose"].topic if "pose" in state else "pose"),
        contact=find("contact", state["contact"].topic if "contact" in state else "contact"),
        gate=find("gate", "safety_gate/state"),
        asked=find("asked", "command_raw"),
        teleop=find("teleop", "command_teleop"),
        **{s.name: find(s.name, state[s.name].topic, required=True) for s in contract.kept_state},
    )


@dataclass
class Series:
    """Messages of a topic: log time and stamp in ns (stamp 0: none), and a value a row."""

    times: list[int] = field(default_factory=list)
    stamps: list[int] = field(default_factory=list)
    values: list = field(default_factory=list)

    def add(self, time: int, stamp: int | None, value) -> None:
        """Append a message."""
        self.times.append(time)
        self.stamps.append(stamp or 0)
        self.values.append(value)

    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """Log times and stamps."""
        return np.array(self.times, np.int64), np.array(self.stamps, np.int64)

    def at(self, rows: np.ndarray) -> Series:
        """The messages where `rows`, (n,) bool, is true."""
        chosen = np.flatnonzero(rows).tolist()
        return Series(*([values[i] for i in chosen] for values in (self.times, self.stamps, self.values)))


def _driving(mode: str, reason: str | None) -> str:
    """The gate's mode, where a stop for something in the way counts as driving."""
    return MOVING_NAMES[1] if mode.upper() == "STOPPED" and reason in HELD else mode.upper()


def read_series(reader: BagReader, contract: RobotContract, topics: Topics) -> dict[str, Series]:
    """All that the cutting needs, by field of Topics; of images only when they were taken."""
    kept = tuple(s.name for s in contract.kept_state)
    series = {name: Series() for name in ("image", "command", "pose", "contact", "gate", "asked", "teleop", *kept)}
    fields: dict[str, list[str]] = {}
    for name in series:
        if getattr(topics, name):
            fields.setdefault(getattr(topics, name), []).append(name)
    reader.require_cdr(*fields)
    for message in reader.messages(set(fields)):
        for name in fields[message.topic]:
            series[name].add(message.time, *_value(reader, contract, name, message))
    return series


def _value(reader: BagReader, contract: RobotContract, name: str, message: Message) -> tuple[int | None, Any]:
    """Stamp and value of one message, by the field of Topics that it is for.

    Raises:
        BagError: it is of a type that has no such value; says which.
    """
    if name == "image":
        if message.msgtype not in (IMAGE, COMPRESSED):
            raise BagError(
                f"{reader.path}: {message.topic} is {message.msgtype} at time {message.time}; expected {IMAGE} or "
                f"{COMPRESSED}"
            )
        return raw_stamp(message.data), None
    if name == "gate" and (mode := raw_value(message.data, "mode")) is not None:
        return raw_stamp(message.data), _driving(mode, raw_value(message.data, "reason"))
    if name in COMMANDS and (raw := raw_command(message.data, TWISTS.get(message.msgtype), contract)):
        return raw
    content = reader.deserialize(message)
    value: Any
    try:
        if name == "pose":
            value = planar_pose(content)
        elif name == "contact":
            if not isinstance(content.data, bool | np.bool_):
                raise TypeError("expected true or false")
            value = bool(content.data)
        elif name in KEPT:
            value = state_of_message(next(s for s in contract.kept_state if s.name == name), content)
        elif name == "gate":
            pairs = key_values(content)
            value = _driving(pairs.get("mode", ""), pairs.get("reason"))
        else:
            value = gate_output(content, contract)
    except (AttributeError, TypeError, ValueError) as error:
        raise BagError(
            f"{reader.path}: {message.topic}: the message of time {message.time} is a {message.msgtype}, which is no "
            f"{WORDS[name]} ({error}); give another topic"
        ) from None
    return stamp_ns(content), value
