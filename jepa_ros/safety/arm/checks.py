# SPDX-License-Identifier: Apache-2.0
"""The checks of the rows that only arms have. Each looks at a command that may leave, and says what it makes of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np

from jepa_ros.safety.arm.sweep import Boxes, Gaps, Sweep
from jepa_ros.safety.rows import check
from jepa_ros.safety.sensing import examine, read_people
from jepa_ros.safety.tick import Tick

if TYPE_CHECKING:
    from jepa_ros.safety.config import GateConfig

#: Share of a margin that an arm may use up while it moves away from what it is near.
LEAVING = 0.6
#: A distance, and a condition number, that changes by less than this does not change: [m], [share].
STILL, SAME = 1e-9, 1e-6
#: Share of a limit of the tip's speed that is kept free: the Jacobian is that of the beginning of the tick.
SPARE = 0.98


class Verdict(IntEnum):
    """What a row makes of a command: good, good if it is slow, good if it is very slow, none."""

    PASS = 0
    SLOW = 1
    ESCAPE = 2
    STOP = 3


@dataclass
class Look:
    """One command that may leave, and what it comes to.

    Attributes:
        t: the tick. rates: (A,) that would leave, of set-points or as commands. sweep: of the links until they stand.
        out_of, within: boxes of the guardrails.
    """

    t: Tick
    rates: np.ndarray
    sweep: Sweep
    out_of: Boxes
    within: Boxes
    _condition: np.ndarray | None = None

    @property
    def cfg(self) -> GateConfig:
        """Settings."""
        return self.t.cfg

    @property
    def condition(self) -> np.ndarray:
        """Condition number of the tip's Jacobian (3,): now, in half of a stop, at rest. The measure of MoveIt Servo,
        for a small arm as if it were of full size."""
        if self._condition is None:
            jacobian = self.sweep.tip
            if (larger := self.sweep.shapes.enlarged) > 1.0:
                jacobian = np.concatenate([larger * jacobian[:, :3], jacobian[:, 3:]], axis=1)
            if jacobian.shape[-1] < 6:
                jacobian = jacobian.swapaxes(-1, -2)
            squares = np.linalg.eigvalsh(np.matmul(jacobian, jacobian.swapaxes(-1, -2)))
            self._condition = np.sqrt(squares[:, -1] / np.maximum(squares[:, 0], 1e-18))
        return self._condition


#: What a row says: its verdict, and a sentence where it is not PASS.
Word = tuple[Verdict, str]
GOOD: Word = (Verdict.PASS, "")


def _judge(gaps: Gaps, margin: float, slack: float, near: float) -> tuple[Verdict, int]:
    """(verdict, which of the gaps it is about) where ``margin`` [m] has to stay over all that the arm may do.

    What moves away from a thing may use ``slack`` of the margin; what has less already moves away very slowly.
    """
    if not len(gaps.bound):
        return Verdict.PASS, -1
    closing = gaps.end < gaps.now - STILL
    kept = np.where(closing, gaps.bound >= margin, gaps.bound >= margin - slack)
    if kept.all():
        slow = closing & (gaps.now < near)
        return (Verdict.SLOW, int(np.where(slow, gaps.now, math.inf).argmin())) if slow.any() else (Verdict.PASS, -1)
    lost = ~kept & (closing | (gaps.now >= margin))
    if lost.any():
        return Verdict.STOP, int(np.where(lost, gaps.bound, math.inf).argmin())
    return Verdict.ESCAPE, int(np.where(kept, math.inf, gaps.now).argmin())


@check("self_collision")
def self_collision(look: Look) -> Word:
    """Links that can meet stay apart."""
    cfg = look.cfg
    if not cfg.self_collision:
        return GOOD
    gaps = look.sweep.selves(max(cfg.self_distance, cfg.self_margin), cfg.self_margin)
    verdict, k = _judge(gaps, cfg.self_margin, LEAVING * cfg.self_margin, cfg.self_distance)
    if verdict is Verdict.PASS:
        return GOOD
    a, b = (look.sweep.shapes.names[i] for i in gaps.what[k])
    return verdict, f"'{a}' and '{b}' are {1e3 * gaps.now[k]:.0f} mm apart"


@check("link_region")
def link_region(look: Look) -> Word:
    """Every link that moves keeps out of boxes, or inside of them."""
    cfg = look.cfg
    margin, near = cfg.region_margin, cfg.scene_distance
    far = max(margin, near)
    worst = GOOD
    for boxes, gaps, verb in (
        (look.out_of, look.sweep.outside(look.out_of, far, margin), "enter"),
        (look.within, look.sweep.inside(look.within, far), "leave"),
    ):
        verdict, k = _judge(gaps, margin, LEAVING * margin, near)
        if verdict > worst[0]:
            box, link = gaps.what[k]
            name, now = look.sweep.shapes.names[link], gaps.now[k]
            where = f"'{name}' is {1e3 * now:.0f} mm from the edge of '{boxes.names[box]}'"
            if verdict is Verdict.STOP:
                where = f"'{name}' would {verb} '{boxes.names[box]}' before it could stop"
            elif now < 0.0:
                beyond = "inside" if verb == "enter" else "outside"
                where = f"'{name}' stands {-1e3 * now:.0f} mm {beyond} '{boxes.names[box]}'"
            worst = verdict, where
    return worst


@check("singularity")
def singularity(look: Look) -> Word:
    """Slow from the one condition number on, none beyond the other; away from it the arm moves as it likes."""
    levels = look.cfg.singularity
    if levels is None:
        return GOOD
    now, half, end = look.condition.tolist()
    ahead = max(half, end)
    if ahead <= now * (1.0 + SAME):
        return GOOD
    slow, stop = levels
    if ahead >= stop:
        return Verdict.STOP, f"condition number {now:.0f}, {ahead:.0f} before it could stop (limit {stop:g})"
    if now >= slow:
        return Verdict.SLOW, f"condition number {now:.0f} (slow from {slow:g})"
    return GOOD


@check("joint_margin")
def joint_margin(t: Tick, rates: np.ndarray) -> str | None:
    """The joint that turns towards the end of its range, and would be too fast by the time that it is near it."""
    cfg = t.cfg
    if cfg.joint_range is None or t.joints is None:
        return None
    at, wait = (t.s.out, cfg.period) if cfg.by_position else (t.joints, cfg.reaction_time + cfg.period)
    for k, (q, v, low, high) in enumerate(zip(at, rates.tolist(), *cfg.joint_range, strict=True)):
        if v == 0.0 or not cfg.units[k].startswith("rad"):
            continue
        room = high - q if v > 0.0 else q - low
        slow = cfg.slow_scale * cfg.velocity[k]
        braked = abs(v) * wait + (v * v - slow * slow) / (2.0 * cfg.braking[k]) if abs(v) > slow else 0.0
        if room - braked < cfg.joint_margin:
            return f"'{cfg.joints[k]}' is {max(room, 0.0):.3f} rad from its position limit"
    return None


@check("first_command")
def first_command(t: Tick) -> str | None:
    """How far a stream of positions begins from where the arm is, where that is too far."""
    if not t.cfg.by_position or t.still or t.joints is None or t.asked is None:
        return None
    for k, (asked, q) in enumerate(zip(t.asked, t.joints, strict=True)):
        if abs(asked - q) > t.cfg.first_command and t.cfg.units[k].startswith("rad"):
            return (
                f"the first command puts '{t.cfg.joints[k]}' at {asked:.3f} rad, and it is measured at {q:.3f} "
                f"(limit {t.cfg.first_command:g} rad): begin where the arm is"
            )
    return None


@check("tip_speed")
def tip_speed(look: Look) -> tuple[float, str] | None:
    """The limit [m/s], and what it is; None without one."""
    limit = look.cfg.arm.tip_speed if look.cfg.arm is not None else None
    return None if limit is None else (limit, "the tip is over its speed limit")


@check("tip_near_person")
def tip_near_person(look: Look) -> tuple[float, str] | None:
    """The lowest limit of those that hold: near a person, where nobody says where people are, near one."""
    found: list[tuple[float, str]] = []
    t = look.t
    for g in t.cfg.guardrails.of("near_person"):
        people = t.i.people
        unknown = people is None or t.late(people, t.cfg.people_timeout) is not None
        wrong, places = ("", []) if unknown else examine(t, "people", people, read_people)
        if unknown or wrong is not None:
            found.append((g.bound, f"'{g.name}': nobody says where people are"))
        elif places and look.sweep.beside(np.array(places), g.distance) < g.distance:
            found.append((g.bound, f"'{g.name}': a person is near"))
    return min(found) if found else None


@check("jerk_limit")
def jerk_limit(
    t: Tick, jerk: Sequence[float], before: np.ndarray, grown: Sequence[float], rates: np.ndarray
) -> np.ndarray:
    """The rates (A,) with the acceleration of joints that speed up grown no faster than ``jerk`` (A,) allows.

    What slows down is left: a stop must not wait. All that speed up do so by one share, which keeps their direction.

    Args:
        before: rates at the last tick. grown: acceleration since the one before it.
    """
    dt, share = min(t.dt, 2.0 * t.cfg.period), 1.0
    faster = []
    for v, u, g, j in zip(rates.tolist(), before.tolist(), grown, jerk, strict=True):
        faster.append(abs(v) > abs(u) and v * u >= 0.0)
        if faster[-1]:
            most = (max(g if v > 0.0 else -g, 0.0) + j * dt) * dt
            share = min(share, most / max(abs(v - u), 1e-12))
    return rates if share >= 1.0 else np.where(faster, before + share * (rates - before), rates)


def speed_share(look: Look, still: np.ndarray, bound: float) -> float:
    """The largest share of the way from the rates ``still`` to those asked for at which the tip keeps to ``bound`` m/s.

    The joints may follow this command or the last one, each for itself, and so may the tip. It keeps to the bound in a
    stop too: there its speed is largest when one of the joints has just come to rest. 0 where not even ``still`` does.
    """
    t, sweep = look.t, look.sweep
    columns = sweep.shapes.tip_columns
    jacobian = sweep.tip[0, :3]
    kept, out = SPARE * bound, np.array(t.s.out)
    each = np.sqrt(np.einsum("xj,xj->j", jacobian, jacobian))  # m/s for the unit rate of one joint
    fastest = np.abs(look.rates) if t.cfg.by_position else np.maximum(np.abs(look.rates), np.abs(out))
    if each @ fastest[columns] <= kept:
        return 1.0  # not even if all of them pushed the same way
    braking = np.array(t.cfg.braking)[columns]

    def speed(share: float) -> float:
        rates = (still + share * (look.rates - still))[columns]
        spread = 0.0
        if not t.cfg.by_position:
            old = out[columns]
            spread = float(each @ np.abs(rates - old)) * 0.5
            rates = 0.5 * (rates + old)
        size = np.abs(rates)
        times = np.append(size / braking, 0.0)
        left = np.maximum(size[:, None] - braking[:, None] * times, 0.0) * np.sign(rates)[:, None]
        return float(np.sqrt(np.square(jacobian @ left).sum(0)).max()) + spread

    if speed(1.0) <= kept:
        return 1.0
    if speed(0.0) > kept:
        return 0.0
    low, high = 0.0, 1.0
    for _ in range(8):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if speed(middle) <= kept else (low, middle)
    return low
