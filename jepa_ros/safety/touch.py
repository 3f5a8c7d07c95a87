# SPDX-License-Identifier: Apache-2.0
"""What the robot feels: the bumper or the collision switch, and the force at the wrist."""

from __future__ import annotations

import math

from jepa_ros.safety import regions
from jepa_ros.safety.envelope import coasting
from jepa_ros.safety.rows import check
from jepa_ros.safety.sensing import examine, read_wrench
from jepa_ros.safety.tick import Tick

#: A command that asked for motion so long ago [s] still says what a base that touches something was at.
LED = 1.0


def pressed(t: Tick) -> bool:
    """Whether the bumper is pressed, and counts."""
    message = t.i.contact
    if message is None or t.cfg.contact_response == "ignore" or "contact" not in t.cfg.states:
        return False
    return not (message.value is False or message.value == 0)


@check("contact")
def contact(t: Tick) -> None:
    """A base goes no further the way it went: its bumper knows no direction. Joints stop: a switch at one of many
    links says nothing of which joint is to go which way."""
    cfg, s = t.cfg, t.s
    if not pressed(t):
        s.contact_axis = None
        return
    if cfg.contact_response == "stop":
        if not _rests(t):
            t.stop("contact", "the collision switch is pressed" if cfg.joints else "the bumper is pressed")
        return
    if s.contact_axis is None:
        s.contact_axis = tuple(_went(t))
    if not any(t.u) and not any(s.out):
        return
    left = _away(t, s.contact_axis)
    if left is None:
        t.stop("contact", "the bumper is pressed")
        return
    t.u = left
    t.u = regions.slowed(t)
    t.trip("contact", "the bumper is pressed: backs off slowly")


def _rests(t: Tick) -> bool:
    """Whether nothing is asked for, and nothing is on its way out."""
    return t.body.idle(t) and t.body.stands(t.s, t.s.out)


def _went(t: Tick) -> list[float]:
    """The way in which it went when it was pressed, (A,): 0 on an axis on which it hardly moved.

    That is the measured motion. Where it goes against all that was sent and may still be braking, the base rebounds,
    and where it is next to nothing, it was just stopped by what it touches: the command says what it was at, or the
    last one, of a moment ago, that asked for motion.
    """
    lows, highs = coasting(t)
    led = t.s.led[1] if t.s.led is not None and t.now - t.s.led[0] <= LED else t.s.out
    went = []
    for k, least in enumerate(t.cfg.motion):
        measured = 0.0 if t.measured is None else t.measured[k]
        told = t.s.out[k] or (highs[k] if highs[k] > -lows[k] else lows[k]) or led[k]
        asked_for = lows[k] < 0.0 if measured < 0.0 else highs[k] > 0.0
        rebounds = measured * told < 0.0 and not asked_for
        went.append(measured if abs(measured) > least and not rebounds else told)
    return went


def _away(t: Tick, went: tuple[float, ...]) -> list[float] | None:
    """What is left of the command: no part of it, nor of what is on its way out, goes on pushing; None: a stop."""
    cfg = t.cfg
    if any(t.s.out[k] * went[k] > 0.0 for k in range(cfg.size)):
        return None  # still into it, however slowly: zeros first, then away
    moves = [k for k in cfg.linear if t.u[k] != 0.0]
    if moves and not sum(went[k] * t.u[k] for k in cfg.linear) < 0.0:
        return None
    left = [u if k in cfg.linear or u * went[k] <= 0.0 else 0.0 for k, u in enumerate(t.u)]
    return left if any(left) else None


@check("force")
def force(t: Tick) -> None:
    """The force at the wrist, over every direction: slow from the one level on, stop from the other."""
    cfg, message = t.cfg, t.i.wrench
    if message is None or cfg.force is None or _rests(t):
        return
    wrong, size = examine(t, "wrench", message, read_wrench)
    if wrong is not None or not math.isfinite(size):
        return  # state_not_finite's
    slow, stop = cfg.force
    if size >= stop:
        t.stop("force", f"{size:.1f} N at the wrist (limit {stop:g} N)")
    elif size >= slow:
        t.slow("force", f"{size:.1f} N at the wrist (slow from {slow:g} N)", cfg.slow_scale)
