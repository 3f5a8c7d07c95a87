# SPDX-License-Identifier: Apache-2.0
"""The planner node's long-term memory: opened with its folder, and told on ``~/memory``, latched.

``answers`` there grows with every request on ``~/remember``, taken or refused, so that a caller knows its own; ``kept``
is true when every tag is on disk.
"""

from __future__ import annotations

import time
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.clock import Clock, ClockType
from rclpy.node import Node

from jepa_ros.contract import RobotContract
from jepa_ros.errors import JepaRosError
from jepa_ros.memory import LongTerm, Store
from jepa_ros.nodes import planner_messages, qos

#: s between looks for something to tell; counts that grow all the time are told more rarely.
LOOK, COUNTS = 0.2, 5.0


class NoMemory(JepaRosError):
    """Something was asked of the memory of a planner that has none."""

    def __init__(self) -> None:
        super().__init__("this planner has no long-term memory: start it with memory:=FOLDER")


class MemoryTopic:
    """Opens and closes the memory of a node, and publishes what is in it."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._out = qos.publisher(node, DiagnosticArray, "~/memory", qos.LATCHED)
        self._store: Store | None = None
        self._answers, self._refused = 0, ""
        self._told: tuple[dict[str, str], float] = ({}, 0.0)
        self._timer: Any = None

    def open(
        self, folder: str, model_id: str, contract: RobotContract, latent_dim: int, read_only: bool = False
    ) -> LongTerm | None:
        """The memory in a folder; None for no folder. See Store for read_only and errors, and LongTerm for sizes."""
        from jepa_ros.planning.bodies import new_memory

        self.close()
        memory = None
        if folder:
            memory = new_memory(contract, latent_dim)
            self._store = Store(folder, model_id, contract, memory, read_only=read_only)
            if self._store.note:
                self._node.get_logger().error(self._store.note)
            states, tags = len(memory), len(memory.tags)
            self._node.get_logger().info(f"memory {self._store.folder}: {states} states, {tags} tags")
            self._timer = self._node.create_timer(LOOK, self.tell, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self.tell()
        return memory

    def close(self) -> None:
        """Write what is new and let go of the folder."""
        if self._timer is not None:
            self._node.destroy_timer(self._timer)
            self._timer = None
        if self._store is not None:
            self._store.close()
            self._store = None

    def check_writable(self) -> None:
        """Raise JepaRosError where the memory is only read."""
        if self._store is not None and self._store.read_only:
            raise JepaRosError(f"the memory {self._store.folder} is only read here (memory_read_only)")

    def answer(self, refused: str = "") -> None:
        """A request to remember was taken, or refused for a reason."""
        self._answers, self._refused = self._answers + 1, refused
        if self._store is not None and not refused:
            self._store.save_soon()
        self.tell()

    def tell(self) -> None:
        """Publish what is remembered, where it has changed."""
        counts, now = self._counts(), time.monotonic()
        values, (before, at) = self._values(counts), self._told
        due = now - at >= COUNTS or any(values[key] != before.get(key) for key in values if key not in counts)
        if values != before and due:
            self._told = values, now
            wrong = values["trouble"] or values.get("note", "")
            level = DiagnosticStatus.WARN if wrong else DiagnosticStatus.OK
            stamp = self._node.get_clock().now().to_msg()
            self._out.publish(planner_messages.array(stamp, "planner/memory", level, wrong, values))

    def _counts(self) -> dict[str, int]:
        """What grows all the time."""
        if self._store is None:
            return {}
        memory = self._store.memory
        return {"states": len(memory), **{name: n for annex in memory.annexes for name, n in annex.counts().items()}}

    def _values(self, counts: dict[str, int]) -> dict[str, str]:
        values = {"folder": "", "answers": str(self._answers), "refused": self._refused, "trouble": "", "kept": "true"}
        if self._store is None:
            return values
        store, memory = self._store, self._store.memory
        values |= {
            "folder": str(store.folder),
            "trouble": store.trouble,
            "note": store.note,
            "kept": planner_messages.text(store.kept),
            "tags": str(len(memory.tags)),
            **{name: str(count) for name, count in counts.items()},
        }
        for name, place in sorted(memory.tags.items()):
            when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(place.time))
            where = "" if place.where is None else " at x {:.2f} m, y {:.2f} m, yaw {:.2f} rad".format(*place.where)
            values[f"tag/{name}"] = when + where
        return values
