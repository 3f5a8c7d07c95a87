# SPDX-License-Identifier: Apache-2.0
"""Which gate, plant and judge a campaign ran, for a kind of body: what they do in probes, to the last bit.

What leaves the gate at every tick, where the plant truly is, and what the judge says of gates that lack a row. So code
for other bodies changes nothing, and neither does a function that moves; what changes a decision does. A rare change
may hide from the probes: after one that is meant, begin another log.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

from benchmarks.rigs.gate import directed
from benchmarks.rigs.gate.bodies import KINDS
from benchmarks.rigs.gate.histories import History
from jepa_ros.safety import GateOutput

#: Histories of a kind, and trials of a named body, that are played; no campaign plays the same.
HISTORIES, TRIALS, FIRST = 60, 4, 10**9
#: Rows that gates lack, in turn, for the judge to speak.
LACKING = ("region", "obstacle", "person", "command_timeout", "state_stale", "contact", "velocity_limit",
           "acceleration_limit", "position_limit", "estop", "stop_not_obeyed", "command_shape")  # fmt: skip
ARMS_LACKING = ("link_region", "self_collision", "singularity", "tip_speed", "tip_near_person", "first_command",
                "joint_margin", "jerk_limit", "state_stale", "command_timeout", "position_limit")  # fmt: skip


def of(what: str) -> str:
    """The fingerprint of a kind of body (``bases``, ``joints``, ``arms``), or of the search of a named body."""
    digest = hashlib.sha256()
    for part in _histories(what) if what in KINDS else _trials(what):
        digest.update(repr(part).encode())
    return digest.hexdigest()[:16]


def _histories(kind: str) -> Iterator[Any]:
    for k in range(HISTORIES):
        yield from _played(History(kind, FIRST + k))
    for k, row in enumerate(ARMS_LACKING if kind == "arms" else LACKING):
        yield from _played(History(kind, FIRST + k, frozenset({row})))


def _played(history: History) -> Iterator[Any]:
    history.outputs = []
    yield history.run(), sorted(history.judge.counts.items())
    plant = history.plant
    yield plant.v, plant.q, plant.x, plant.y, plant.z, plant.yaw
    yield from map(_decided, history.outputs)


def _trials(name: str) -> Iterator[Any]:
    body = directed.body_of(name)
    for k in range(TRIALS):
        body.outputs = []
        yield body.trial(directed.drawn(body, f"probe {k}"))
        yield from map(_decided, body.outputs)


def _decided(out: GateOutput) -> tuple[Any, ...]:
    return out.mode.name, out.reason, out.publish, out.values.tolist()
