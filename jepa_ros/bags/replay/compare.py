# SPDX-License-Identifier: Apache-2.0
"""Comparing two runs of the stack: what differs, when, on which topic. The tolerances stand here and nowhere else."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field

import numpy as np

from jepa_ros.bags.replay.gate_replay import HELD
from jepa_ros.bags.replay.run_log import GateTick, RunLog, Step
from jepa_ros.safety.output import MOVING_NAMES


@dataclass(frozen=True)
class Tolerance:
    """How much two runs may differ and still agree.

    Attributes:
        embedding: largest difference of a value (latents are of order 1). Another number of threads or another CPU
            changes the last bits of a sum.
        cost: relative. command: in the action's units; both grow from the embedding through the search.
        gate: of the values that leave, in the action's units (older bags have six digits of them).
        hold: the same of a gate that stands: see :data:`jepa_ros.bags.replay.gate_replay.HELD`.
        settle: seconds at the beginning in which the gate is not compared: it may have been armed before the bag began.
    """

    embedding: float = 1e-4
    cost: float = 1e-3
    command: float = 1e-3
    gate: float = 1e-4
    hold: float = HELD
    settle: float = 1.0


@dataclass
class Difference:
    """One disagreement: `at` seconds after the bag's start, on `topic`, as a sentence; `size` in the topic's unit."""

    at: float
    topic: str
    text: str
    size: float = math.nan


@dataclass
class Comparison:
    """What was compared and what differed."""

    counts: dict[str, int] = field(default_factory=dict)
    largest: dict[str, float] = field(default_factory=dict)
    differences: list[Difference] = field(default_factory=list)

    @property
    def agree(self) -> bool:
        """True when nothing differed by more than the tolerance, and something was compared."""
        return not self.differences and sum(self.counts.values()) > 0

    def add(self, topic: str, size: float) -> None:
        """Count a pair that was compared, and keep the largest difference."""
        self.counts[topic] = self.counts.get(topic, 0) + 1
        if math.isfinite(size):
            self.largest[topic] = max(self.largest.get(topic, 0.0), size)

    def to_dict(self) -> dict:
        """Plain data."""
        return asdict(self) | {"agree": self.agree}


def compare(
    old: RunLog, new: RunLog, start: int, tolerance: Tolerance | None = None, brain: bool = True, gate: bool = True
) -> Comparison:
    """Compare a replay (`new`) with what was recorded, or with another replay.

    Args:
        start: the bag's start in ns, from which the times of differences are counted.
        brain, gate: whether that was replayed. Where it was, and something of it was recorded, but nothing of that can
            be compared, it differs.
    """
    tolerance, found = tolerance or Tolerance(), Comparison()
    _embeddings(old, new, start, tolerance, found)
    steps = _steps(old, new, start, tolerance, found)
    ticks = _gate(old, new, start, tolerance, found)
    if brain and old.steps and not steps:
        _none_compared(len(old.steps), "steps", "planner/status", found)
    if gate and old.ticks and not ticks:
        _none_compared(len(old.ticks), "ticks", "safety_gate/state", found)
    found.differences.sort(key=lambda d: d.at)
    return found


def _embeddings(old: RunLog, new: RunLog, start: int, tolerance: Tolerance, found: Comparison) -> None:
    clock = _clock(old, new)
    for stamp in sorted(old.embeddings.keys() & new.embeddings.keys()):
        a, b = old.embeddings[stamp], new.embeddings[stamp]
        if a.size != b.size:
            size, text = math.inf, f"{a.size} values, now {b.size}"
        else:
            size = float(np.abs(a.reshape(-1) - b.reshape(-1)).max())
            text = f"differs by {size:.3g}"
        found.add("embedding", size)
        if not size <= tolerance.embedding:
            found.differences.append(Difference(clock(stamp, start), "embedding", text, size))


def _steps(old: RunLog, new: RunLog, start: int, tolerance: Tolerance, found: Comparison) -> int:
    """Returns how many steps were compared."""
    clock, compared = _clock(old, new), 0
    for stamp in sorted(old.steps.keys() & new.steps.keys()):
        a, b = old.steps[stamp], new.steps[stamp]
        if a.unsure or b.unsure:
            continue
        compared += 1
        at = clock(stamp, start)
        if a.reason and a.reason != b.reason:
            found.add("planner/status", math.nan)
            text = f"was '{a.reason}', now '{b.reason}'"
            found.differences.append(Difference(at, "planner/status", text))
            continue
        _cost(a, b, at, tolerance, found)
        if a.command is not None and b.command is not None:
            size = float(np.abs(a.command - b.command).max())
            found.add("command_raw", size)
            if not size <= tolerance.command:
                text = f"was {_vector(a.command)}, now {_vector(b.command)}"
                found.differences.append(Difference(at, "command_raw", text, size))
    return compared


def _cost(a: Step, b: Step, at: float, tolerance: Tolerance, found: Comparison) -> None:
    was, now = a.number("cost"), b.number("cost")
    if was == now or (math.isnan(was) and math.isnan(now)):  # a plan that there was no time for costs infinity
        found.add("planner/status", 0.0 if was == now else math.nan)
        return
    size = abs(was - now) / max(abs(was), 1e-6)
    found.add("planner/status", size)
    if not size <= tolerance.cost:
        found.differences.append(Difference(at, "planner/status", f"cost was {was:.6g}, now {now:.6g}", size))


def _gate(old: RunLog, new: RunLog, start: int, tolerance: Tolerance, found: Comparison) -> int:
    """Returns how many ticks were compared."""
    compared = 0
    # By the gate's own clock: log times of a simulation are those of /clock, which several ticks may share.
    theirs = {tick.steady: tick for tick in new.ticks if not tick.made_up}
    begin = min((tick.time for tick in old.ticks if tick.time is not None), default=0) + tolerance.settle * 1e9
    for a in old.ticks:
        b = theirs.get(a.steady)
        if b is None or a.time is None or a.time < begin or a.values.shape != b.values.shape:
            continue
        compared += 1
        size = float(np.abs(a.values - b.values).max()) if a.values.size else 0.0
        found.add("safety_gate/state", size)
        stands = not {a.mode, b.mode} & set(MOVING_NAMES)
        if a.mode != b.mode or not size <= (tolerance.hold if stands else tolerance.gate):
            found.differences.append(Difference((a.time - start) * 1e-9, "safety_gate/state", _tick_text(a, b), size))
    return compared


def _none_compared(count: int, what: str, topic: str, found: Comparison) -> None:
    """What could not be compared at all does not agree: a check that cannot fail would say so of everything."""
    text = f"none of {count} {what} can be compared: the recording is too short, or too much of it is missing"
    found.differences.append(Difference(0.0, topic, text))


def _tick_text(a: GateTick, b: GateTick) -> str:
    return f"was {a.mode} ({a.reason}) {_vector(a.values)}, now {b.mode} ({b.reason}) {_vector(b.values)}"


def _vector(values: np.ndarray) -> str:
    return "[" + ", ".join(f"{v:.4g}" for v in values) + "]"


def _clock(*logs: RunLog):
    """A function from an image stamp (ns) to seconds after the bag's start, by the log times of the steps."""
    pairs = sorted({(s.stamp, s.time) for log in logs for s in log.steps.values() if s.time is not None})
    stamps = np.array([p[0] for p in pairs], np.float64)
    times = np.array([p[1] for p in pairs], np.float64)

    def at(stamp: int, start: int) -> float:
        if not len(stamps):
            return (stamp - start) * 1e-9
        return float(np.interp(stamp, stamps, times) - start) * 1e-9

    return at


def summary(found: Comparison, limit: int = 20) -> str:
    """The comparison as text."""
    lines = []
    for topic, count in found.counts.items():
        differ = sum(d.topic == topic for d in found.differences)
        largest = found.largest.get(topic)
        lines.append(
            f"{topic:20} {count:6d} compared, {differ:5d} differ"
            + (f", largest difference {largest:.3g}" if largest is not None else "")
        )
    for d in found.differences[:limit]:
        lines.append(f"  {d.at:9.3f} s  {d.topic}: {d.text}")
    if len(found.differences) > limit:
        lines.append(f"  ... and {len(found.differences) - limit} more")
    lines.append("agree" if found.agree else "nothing to compare" if not found.counts else "DIFFER")
    return "\n".join(lines)
