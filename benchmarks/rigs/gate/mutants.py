# SPDX-License-Identifier: Apache-2.0
"""Gates that lack a guarantee which is no row of the table: what a stop, slow and a hold are, what is reckoned with.

Each puts another function in the place of one of the gate's; a campaign has to notice.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from jepa_ros.safety import body, envelope, positions
from jepa_ros.safety.arm import motion, sweep


def _stop_where_measured(self: Any, t: Any, *, at_once: bool) -> list[float]:
    t.s.rate = [0.0] * t.cfg.size
    return list(t.joints or t.s.out)


def _stop_without_braking(self: Any, t: Any, *, at_once: bool) -> list[float]:
    t.s.rate = [0.0] * t.cfg.size
    return list(t.s.out)


def _capture_always(t: Any) -> bool:
    if t.joints is None or not t.joints_fresh:
        return False
    t.s.out, t.s.rate, t.s.known = list(t.joints), [0.0] * t.cfg.size, True
    return False


def _ready_always(self: Any, s: Any) -> bool:
    return True


def _slow_is_another_place(self: Any, t: Any, share: float) -> None:
    t.u = [u * share for u in t.u]


def _what_is_measured_alone(t: Any) -> tuple[list[float], list[float]]:
    now = t.measured if t.measured is not None else t.s.out
    return list(now), list(now)


def _stands_at_once(self: Any, rates: Any) -> Any:
    there = self._now + rates * self._t.dt
    return motion.Stretch(self._now, there, np.minimum(self._now, there), np.maximum(self._now, there), there)


def _tip_alone(self: Any, boxes: Any, near: float) -> Any:
    found = _OUTSIDE(self, boxes, near)
    last = found.what[:, 1] == self.shapes.moving[-1]
    return sweep.Gaps(found.bound[last], found.now[last], found.end[last], found.what[last])


_OUTSIDE = sweep.Sweep.outside


#: {what the gate lacks: (the kind of histories that has to notice, where the function is, its name, the other one)}.
GUARANTEES: dict[str, tuple[str, Any, str, Any]] = {
    "a stop of positions keeps the set-point": ("joints", body.Positions, "stop", _stop_where_measured),
    "a stop of positions brakes": ("joints", body.Positions, "stop", _stop_without_braking),
    "a hold is captured only where a joint was moved": ("joints", positions, "capture", _capture_always),
    "a joint that was never measured is told nothing": ("joints", body.Positions, "ready", _ready_always),
    "slow is slower, not another place": ("joints", body.Positions, "slow", _slow_is_another_place),
    "the way of a stop is reckoned with": ("arms", motion.Reckoning, "of", _stands_at_once),
    "every link keeps out of boxes, not the last alone": ("arms", sweep.Sweep, "outside", _tip_alone),
    "what was sent and may still be in force is reckoned with": ("bases", envelope, "hull", _what_is_measured_alone),
}


@contextlib.contextmanager
def without(guarantee: str) -> Iterator[None]:
    """The gate in this process without a guarantee, for the length of a block."""
    _, place, name, other = GUARANTEES[guarantee]
    kept = getattr(place, name)
    setattr(place, name, other)
    try:
        yield
    finally:
        setattr(place, name, kept)
