# SPDX-License-Identifier: Apache-2.0
"""Which feature of a LeRobot set is which input of a robot contract: by name where names fit, else by a mapping file.

A mapping file is YAML. Each column is ``feature[name]`` or ``feature[number]``, or a mapping that converts units too::

    cameras: {image: observation.images.front}
    action:
      linear.x: action[x.vel]
      angular.z: {from: "action[theta.vel]", scale: 0.0174533}    # degrees to radians
    state:
      joint_states: {shoulder: "observation.state[0]"}
    pose: {x: "observation.state[x]", y: "observation.state[y]", yaw: "observation.state[theta]"}

What it leaves out is looked for by name. The pose is optional, and so is what the policy asked for (``command``).
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from jepa_ros.bags.lerobot import EXTRAS, LeRobotError
from jepa_ros.bags.lerobot.layout import LeRobotSet
from jepa_ros.contract import RobotContract
from jepa_ros.suggest import did_you_mean, nearest

POSE = ("x", "y", "yaw")
ACTION, STATE, COMMAND, CONTACT = "action", "observation.state", f"{EXTRAS}command", f"{EXTRAS}contact"
COUNTERS = ("timestamp", "frame_index", "episode_index", "index", "task_index")
KEYS = ("cameras", "action", "state", "pose", "command")


@dataclass(frozen=True)
class Column:
    """One dimension of a feature, and how its unit becomes the contract's: value * scale + offset."""

    feature: str
    index: int
    scale: float = 1.0
    offset: float = 0.0

    def of(self, table: dict[str, Any]) -> np.ndarray:
        """The column's values, (T,) float32; exact where nothing is converted."""
        values = np.asarray(table[self.feature])
        values = values if values.ndim == 1 else values[:, self.index]
        if (self.scale, self.offset) != (1.0, 0.0):
            values = values.astype(np.float64) * self.scale + self.offset
        return values.astype(np.float32)


@dataclass(frozen=True)
class Mapping:
    """All that an import reads: {camera: feature}, and columns in the contract's order."""

    cameras: dict[str, str]
    action: tuple[Column, ...]
    state: dict[str, tuple[Column, ...]]
    pose: tuple[Column, ...] = ()
    command: tuple[Column, ...] = ()
    contact: Column | None = None

    @property
    def columns(self) -> list[Column]:
        """Every column that is read from the tables."""
        vectors = [self.action, *self.state.values(), self.pose, self.command]
        return [c for vector in vectors for c in vector] + ([self.contact] if self.contact else [])

    def plain(self) -> dict[str, Any]:
        """As plain data, for the dataset's description."""
        return asdict(self)


@dataclass
class _Search:
    """What was found so far, what was not, and the file that would tell."""

    found: dict[str, Any] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    proposal: list[str] = field(default_factory=list)


def resolve(data: LeRobotSet, contract: RobotContract, told: dict[str, Any] | None = None) -> Mapping:
    """Find every input of a contract in a set.

    Args:
        told: a mapping file's content.

    Raises:
        LeRobotError: a name of the file is unknown, or something does not fit by name; the message ends with a mapping
            file to correct.
    """
    told = told or {}
    for key in told:
        if key not in KEYS:
            raise LeRobotError(f"mapping: {key}: unknown key{did_you_mean(str(key), KEYS)}; expected {', '.join(KEYS)}")
    search = _Search()
    cameras = _cameras(data, contract, _section(told, "cameras"), search)
    names = tuple(a.name for a in contract.action)
    action = _vector(data, "action", names, _section(told, "action"), ACTION, "", search)
    state = {}
    for part in contract.kept_state:
        given = _section(_section(told, "state"), part.name)
        key = f"state.{part.name}"
        state[part.name] = _vector(data, key, part.values, given, STATE, f"{part.name}.", search)
    if search.lines:
        listed = "\n".join(f"    {n}: {_described(data, n)}" for n in data.features if n not in COUNTERS)
        raise LeRobotError(
            f"{data.folder}: its names do not fit the contract '{contract.name}':\n  " + "\n  ".join(search.lines)
            + f"\n  the set has\n{listed}\n"
            "Write this to a file, correct it, and give it by --mapping FILE:\n" + "\n".join(search.proposal)
        )  # fmt: skip
    pose = _optional(data, "pose", POSE, _section(told, "pose"), STATE, "pose.")
    command = _optional(data, "command", names, _section(told, "command"), COMMAND, "")
    contact = Column(CONTACT, 0) if CONTACT in data.features else None
    return Mapping(cameras, action, state, pose, command, contact)


def _section(told: dict[str, Any], key: str) -> dict[str, Any]:
    found = told.get(key) or {}
    if not isinstance(found, dict):
        raise LeRobotError(f"mapping: {key}: expected a mapping, found {type(found).__name__}")
    return found


def _cameras(data: LeRobotSet, contract: RobotContract, told: dict[str, Any], search: _Search) -> dict[str, str]:
    wanted = [c.name for c in contract.model_cameras]
    for name, feature in told.items():
        if name not in wanted:
            known = f"the model sees {', '.join(wanted)}"
            raise LeRobotError(f"mapping: cameras.{name}: no such camera{did_you_mean(str(name), wanted)}; {known}")
        if feature not in data.cameras:
            known = f"the set has {', '.join(data.cameras) or 'no pictures'}"
            raise LeRobotError(f"mapping: cameras.{name}: no pictures '{feature}'; {known}")
    found, free = dict(told), [f for f in data.cameras if f not in told.values()]
    search.proposal.append("cameras:")
    for name in wanted:
        if name not in found:
            by_name = [f for f in (f"observation.images.{name}", f"observation.{name}", name) if f in free]
            if by_name or (len(wanted) == len(data.cameras) == 1):
                found[name] = by_name[0] if by_name else free[0]
        guess = found.get(name) or nearest(name, [f.rpartition(".")[2] for f in free])
        if name not in found:
            search.lines.append(f"cameras.{name}: no feature observation.images.{name}")
            guess = next((f for f in free if f.endswith(guess)), None) if guess else next(iter(free), None)
        if guess in free:
            free.remove(str(guess))
        search.proposal.append(f"  {name}: {guess or '???'}" + ("" if name in found else "   # check"))
    return {name: found[name] for name in wanted if name in found}


def _vector(
    data: LeRobotSet,
    key: str,
    wanted: tuple[str, ...],
    told: dict[str, Any],
    feature: str,
    prefix: str,
    search: _Search,
) -> tuple[Column, ...]:
    columns = _by_name(data, key, wanted, told, feature, prefix)
    head, _, name = key.partition(".")
    if f"{head}:" not in search.proposal:
        search.proposal.append(f"{head}:")
    if name:
        search.proposal.append(f"  {name}:")
    has = data.names(feature) if feature in data.features else []
    for number, want in enumerate(wanted):
        column = columns.get(want)
        if column is None:
            search.lines.append(f"{key}.{want}: no name {prefix}{want} in {feature} ({', '.join(has) or 'absent'})")
            guess = nearest(want, has) or (has[number] if len(has) == len(wanted) else "???")
            text = f'"{feature}[{guess}]"   # check, and give a scale if the unit differs'
        else:
            text = f'"{column.feature}[{data.names(column.feature)[column.index]}]"'
        search.proposal.append(f"{'    ' if name else '  '}{want}: {text}")
    return tuple(columns[w] for w in wanted if w in columns)


def _optional(
    data: LeRobotSet, key: str, wanted: tuple[str, ...], told: dict[str, Any], feature: str, prefix: str
) -> tuple[Column, ...]:
    columns = _by_name(data, key, wanted, told, feature, prefix)
    if told and (absent := [w for w in wanted if w not in columns]):
        raise LeRobotError(f"mapping: {key}: expected {', '.join(wanted)}, and {', '.join(absent)} is missing")
    return tuple(columns[w] for w in wanted) if len(columns) == len(wanted) else ()


def _by_name(
    data: LeRobotSet, key: str, wanted: tuple[str, ...], told: dict[str, Any], feature: str, prefix: str
) -> dict[str, Column]:
    for name in told:
        if name not in wanted:
            hint = did_you_mean(str(name), wanted)
            raise LeRobotError(f"mapping: {key}.{name}: unknown{hint}; expected {', '.join(wanted)}")
    columns = {name: _column(data, f"{key}.{name}", raw) for name, raw in told.items()}
    has = data.names(feature) if feature in data.features else []
    for name in wanted:
        known = [n for n in (f"{prefix}{name}", name) if n in has]
        if name not in columns and known:
            columns[name] = Column(feature, has.index(known[0]))
    return columns


def _column(data: LeRobotSet, key: str, raw: Any) -> Column:
    entry = raw if isinstance(raw, dict) else {"from": raw}
    unknown = [k for k in entry if k not in ("from", "scale", "offset")]
    match = re.fullmatch(r"([\w.\-]+)\[(.+)\]", str(entry.get("from", "")).strip())
    if unknown or match is None:
        raise LeRobotError(f"mapping: {key}: expected feature[name], or from, scale and offset, found {raw!r:.80}")
    feature, name = match.groups()
    if feature not in data.features or data.features[feature].get("dtype") in ("image", "video", "string"):
        hint = did_you_mean(feature, data.features)
        raise LeRobotError(f"mapping: {key}: the set has no numbers '{feature}'{hint}")
    names = data.names(feature)
    if name not in names and not (name.isdigit() and int(name) < len(names)):
        raise LeRobotError(f"mapping: {key}: {feature} has no '{name}'; it has {', '.join(names)}")
    scales = [entry.get("scale", 1.0), entry.get("offset", 0.0)]
    if not all(isinstance(v, (int, float)) and not isinstance(v, bool) and np.isfinite(v) for v in scales):
        raise LeRobotError(f"mapping: {key}: scale and offset: expected numbers, found {scales}")
    return Column(feature, names.index(name) if name in names else int(name), *map(float, scales))


def _described(data: LeRobotSet, feature: str) -> str:
    told = data.features[feature]
    if told.get("dtype") in ("image", "video"):
        return f"{told['dtype']} {'x'.join(map(str, told.get('shape') or []))}"
    return f"{told.get('dtype')} [{', '.join(data.names(feature))}]"
