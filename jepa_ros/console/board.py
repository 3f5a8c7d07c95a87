# SPDX-License-Identifier: Apache-2.0
"""What is shown, put together once for all pages: each page is sent what changed since it was last sent something.

A page takes the newest when it is ready for it, so a slow one misses what lies between, and holds up nobody.
"""

from __future__ import annotations

import json
import time
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any

from jepa_ros.console.desk import Desk

#: Seconds after which a page is told the time where nothing is new.
BEAT = 1.0


@dataclass
class Seen:
    """What one page was sent: version by section, and of pictures; points of the curves; when."""

    sections: dict[str, int] = field(default_factory=dict)
    pictures: dict[bytes, int] = field(default_factory=dict)
    points: int = 0
    told: float = 0.0  # when it was sent something, monotonic seconds


class Board:
    """The newest sections as JSON texts, with versions.

    Args:
        robot: what :class:`jepa_ros.console.robot.Robot` offers. desk: who may do what.
    """

    def __init__(self, robot: Any, desk: Desk) -> None:
        self._robot, self._desk = robot, desk
        self._keys: dict[str, Hashable] = {}
        self._texts: dict[str, tuple[int, str]] = {}
        self._pictures: dict[bytes, tuple[int, bytes]] = {}
        self._curve: tuple[int, list[str]] = (0, [])

    def update(self) -> None:
        """Make anew what changed."""
        for name, key, build in self._robot.sections():
            if name not in self._keys or self._keys[name] != key:
                self._put(name, json.dumps(build()))
                self._keys[name] = key
        self._put("desk", json.dumps(self._desk.plain()))
        self._curve = self._robot.curve()
        for kind, look in ((b"c", self._robot.picture), (b"g", self._robot.goal_picture)):
            if (new := look(self._pictures.get(kind, (0, b""))[0])) is not None:
                self._pictures[kind] = new[0], kind + new[1]

    def _put(self, name: str, text: str) -> None:
        version, before = self._texts.get(name, (0, ""))
        if text != before:
            self._texts[name] = version + 1, text

    def message(self, seen: Seen) -> str | None:
        """What a page lacks, as JSON; None where that is nothing. It counts as sent.

        Once in :data:`BEAT` it is sent the time alone, so that it knows that it is not cut off.
        """
        parts = []
        for name, (version, text) in list(self._texts.items()):
            if seen.sections.get(name) != version:
                seen.sections[name] = version
                parts.append(f'"{name}": {text}')
        count, points = self._curve
        if count > seen.points:
            lacking = points[-min(len(points), count - seen.points) :]
            seen.points = count
            parts.append(f'"points": [{", ".join(lacking)}]')
        now = time.monotonic()
        if not parts and now - seen.told < BEAT:
            return None
        seen.told = now
        told = ['"kind": "state"', f'"time": {time.time():.3f}', *parts]
        return "{" + ", ".join(told) + "}"

    def pictures(self, seen: Seen) -> list[bytes]:
        """The pictures that a page lacks: a letter (c camera, g goal), then a JPEG. They count as sent."""
        found = []
        for kind, (version, data) in list(self._pictures.items()):
            if seen.pictures.get(kind) != version:
                seen.pictures[kind] = version
                found.append(data)
        return found
