# SPDX-License-Identifier: Apache-2.0
"""What random histories ask of an arm: streams of set-points or rates that lead it at boxes, at itself, into
singularities and at the ends of its joints; streams that begin with a jump; boxes and people that come as it moves."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.rigs.gate import arm_bodies, faults
from jepa_ros.safety import Requests

if TYPE_CHECKING:
    from benchmarks.rigs.gate.histories import History
    from benchmarks.rigs.gate.situations import Drive


#: Postures among which the worst one is aimed at.
AIMED = 16


def arm_situation(h: History) -> None:
    """Put an arm into a situation, so that every row has something to do."""
    rng = h.rng
    h.hold, h.ticks = rng.choice((1, 1, 3, 8)), rng.randrange(40, 80)
    h.rate = rng.choice((0.0, 0.0, 0.01, 0.04))
    h.drive = stream(h)
    choices: tuple[tuple[float, Callable[[History], None]], ...] = (
        (0.12, _dropped), (0.08, _jump), (0.06, _pushed), (0.04, _late), (0.08, _ends), (0.06, _people), (0.16, _folds),
    )  # fmt: skip
    at = rng.random()
    for share, function in choices:
        if at < share:
            function(h)
            break
        at -= share
    if "people" in h.machine.states and rng.random() < 0.8:
        h.senses.world.people = [_beside(h)]


def _beside(h: History) -> tuple[float, float]:
    """A place on the ground near the arm."""
    rng = h.rng
    away, turn = rng.uniform(0.2, 1.8), rng.uniform(-np.pi, np.pi)
    return float(away * np.cos(turn)), float(away * np.sin(turn))


def stream(h: History, folds: bool = False) -> Drive:
    """A stream to one posture, then to another; ``folds``: in which links meet. Set-points lie a little ahead of the
    arm, or right at the goal once the stream has begun; now and then it ends, or is nonsense."""
    rng, m = h.rng, h.machine
    spans = list(zip(m.low, m.high)) if m.position else list(zip(*(m.ends or (m.low, m.high))))
    begun = np.array(h.plant.q)

    def goal() -> np.ndarray:
        style = rng.random()
        if style < 0.65 or folds:
            return aimed(h, begun, spans, folds)
        if style < 0.8:
            return np.array([rng.uniform(a - 0.1, b + 0.1) for a, b in spans])
        wide = rng.choice((0.3, 1.0))  # a few joints
        return begun + np.array([rng.choice((0.0, 0.0, 1.0, -1.0)) * rng.uniform(0.3, 1.0) * wide for _ in spans])

    goals, switch = [goal(), goal()], rng.randrange(10, 60) if not folds else 1000
    lead = rng.choice((0.03, 0.1, 0.3, 1.0, 5.0))
    twitch = rng.random() < 0.15

    def drive(k: int) -> list[float] | None:
        if rng.random() < 0.004:
            return None if rng.random() < 0.5 else [rng.choice(faults.WILD) for _ in range(m.size)]
        at, to = np.array(h.plant.q), goals[k >= switch]
        if twitch and rng.random() < 0.3:
            to = 2.0 * at - to
        near = lead if k * m.period > m.dog.rearm_time + 6.0 * m.period else min(lead, 0.04)
        way = to - at
        if m.position:
            # All joints in step, and each at its own pace, in turn.
            if k // 7 % 2:
                return [float(v) for v in at + way * min(1.0, near / max(float(np.abs(way).max()), 1e-9))]
            return [float(v) for v in at + np.clip(way, -near, near)]
        fast = np.array(m.velocity) * min(1.0, 0.2 + near)
        scale = float((np.abs(way) / fast).max())
        if k // 7 % 2 and scale > 0.0:
            return [float(v) for v in way / scale]
        return [float(v) for v in np.clip(8.0 * way, -fast, fast)]

    return drive


def aimed(h: History, begun: np.ndarray, spans: list[tuple[float, float]], folds: bool) -> np.ndarray:
    """Of some postures not far away the one whose links are deepest in a box, or in each other."""
    rng, truth = h.rng, h.truth
    assert truth is not None
    wide = rng.choice((0.4, 0.8, 1.6))
    few = rng.random() < 0.5
    tries = np.array([
        [min(b, max(a, q + rng.uniform(-wide, wide) * (not few or rng.random() < 0.4) * min(1.0, b - a)))
         for q, (a, b) in zip(begun, spans)]
        for _ in range(AIMED)
    ])  # fmt: skip
    ends = truth.ends(tries)
    boxes = [g.data["box"] for g in h.gate.config.guardrails.of("keep_out")]
    if boxes and not folds and rng.random() < 0.7:
        room = truth.outside(ends, rng.choice(boxes), steps=8)
    else:
        room = truth.selves(ends, steps=8).min(1)
    return np.asarray(tries[int(room.argmin())])


def _jump(h: History) -> None:
    """The stream begins with a jump, or goes on with one after a pause."""
    rng, m = h.rng, h.machine
    if not m.position:
        return
    inner, far = h.drive, [rng.uniform(-1.0, 1.0) for _ in range(m.size)]
    start = rng.choice((0, 25))
    if start:
        h.until += [(start, lambda: h.senses.spoil.__setitem__("command", lambda message: None)),
                    (start + 45, lambda: h.senses.spoil.pop("command", None))]  # fmt: skip
        h.ticks = start + 45 + 40

    def drive(k: int) -> list[float] | None:
        if k < start:
            return inner(k)
        return [q + d for q, d in zip(h.plant.q, far)]

    h.drive = drive


def _dropped(h: History) -> None:
    """A box is set down on the arm or before it, or all are taken away, while it moves."""
    rng = h.rng
    old = h.gate.config.guardrails.to_list()
    start = rng.randrange(15, 40)

    def drop() -> None:
        truth = h.truth
        assert truth is not None
        ends = truth.ends(np.array([h.plant.q]))
        links = [k for k in range(len(truth.free)) if truth.free[k]]
        item = arm_bodies.box_beside(rng, truth, ends, "dropped", rng.uniform(-0.08, 0.1), rng.choice(links))
        h.change_guardrails([*old, item] if item is not None and rng.random() < 0.85 else [])

    h.until.append((start, drop))
    h.ticks = start + 60


def _pushed(h: History) -> None:
    """Disabled or latched, then moved by hand, then enabled again."""
    rng, m = h.rng, h.machine
    start = rng.randrange(10, 30)
    latched = rng.random() < 0.5
    stop = round(m.stop_time / m.period) + 12
    by = [rng.uniform(-0.3, 0.3) if rng.random() < 0.5 else 0.0 for _ in range(m.size)]
    if m.contract.kinematics.arm is not None and m.contract.kinematics.arm.gripper is not None:
        by[-1] = 0.0
    moved = start + min(stop, 60)
    back = moved + rng.randrange(5, 20)
    h.rate = 0.0
    h.until += [
        (start, lambda: setattr(h, "requests", Requests(estop=True) if latched else Requests(enable=False))),
        (moved, lambda: h.plant.push(by) if m.position else None),
        (back, lambda: setattr(h, "requests", Requests(reset=True) if latched else Requests(enable=True))),
    ]
    h.ticks = back + 50


def _folds(h: History) -> None:
    """It folds: goals are postures in which links meet."""
    h.hold, h.rate, h.ticks = 1, 0.0, h.rng.randrange(60, 100)
    h.drive = stream(h, folds=True)


def _late(h: History) -> None:
    """The gate is not run now and then."""
    h.late = 15 + h.rng.randrange(10)


def _ends(h: History) -> None:
    """Joints are driven at their ends."""
    rng, m = h.rng, h.machine
    assert m.ends is not None
    at = [rng.choice((b if b - q < q - a else a, q)) for a, b, q in zip(*m.ends, h.plant.q)]
    lead = rng.choice((0.1, 0.5))

    def drive(k: int) -> list[float] | None:
        way = np.clip(np.array(at) - np.array(h.plant.q), -lead, lead)
        if m.position:
            near = min(lead, 0.04) if k * m.period < m.dog.rearm_time + 6.0 * m.period else lead
            return [float(v) for v in np.array(h.plant.q) + np.clip(way, -near, near)]
        return [float(v) for v in np.sign(way) * np.array(m.velocity)]

    h.drive = drive


def _people(h: History) -> None:
    """Somebody comes while it moves."""
    if "people" not in h.machine.states:
        return
    world = h.senses.world
    world.people = []
    h.until.append((h.rng.randrange(10, 40), lambda: setattr(world, "people", [_beside(h)])))
