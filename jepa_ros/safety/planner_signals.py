# SPDX-License-Identifier: Apache-2.0
"""What the planner says about its own plan: guardrail costs, surprise, novelty. Believed when it warns, never needed to
keep a limit that the gate can measure itself."""

from __future__ import annotations

import math

from jepa_ros.safety.rows import check
from jepa_ros.safety.tick import Tick


def _number(value: object) -> float:
    """A number, or NaN for what is none."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return math.nan
    return float(value)


@check("guardrail_cost")
def guardrail_cost(t: Tick) -> None:
    """``guardrail/NAME`` is the plan's excess over the guardrail's threshold: over 0 the plan breaks it."""
    signals, cfg = t.i.signals, t.cfg
    values = {} if signals is None else signals.values
    for key, raw in values.items():
        if key.startswith("guardrail/"):
            excess = _number(raw)
            if not math.isfinite(excess):
                t.stop("guardrail_cost", f"the plan's cost of '{key[10:]}' is {raw}", urgent=False)
                return
            if excess > 0.0:
                t.stop("guardrail_cost", f"the plan breaks '{key[10:]}' by {excess:.3g}", urgent=False)
                return
    if t.body.idle(t):
        return
    for g in cfg.guardrails.from_planner:
        excess = _number(values.get(f"guardrail/{g.name}"))
        if math.isnan(excess):
            t.stop("guardrail_cost", f"the planner says nothing of '{g.name}', which it alone can judge", urgent=False)
            return
        if g.slow is not None and excess > g.slow - g.limit - g.threshold:
            t.slow("guardrail_cost", f"the plan is near the limit of '{g.name}'", cfg.slow_scale)
            return


def _level(t: Tick, name: str, levels: tuple[float, float] | None, what: str) -> None:
    signals = t.i.signals
    raw = None if signals is None else signals.values.get(name)
    if raw is None:
        if levels is not None and not t.body.idle(t):
            t.stop(name, f"the planner does not say its {name}, which is watched", urgent=False)
        return
    value = _number(raw)
    if not math.isfinite(value):
        t.stop(name, f"{name} is {raw}", urgent=False)
    elif levels is not None and value >= levels[1]:
        t.stop(name, f"{what}: {name} {value:.3g} (limit {levels[1]:g})", urgent=False)
    elif levels is not None and value >= levels[0]:
        t.slow(name, f"{what}: {name} {value:.3g} (slow from {levels[0]:g})", t.cfg.slow_scale)


@check("surprise")
def surprise(t: Tick) -> None:
    """What the world model predicted, from what was really executed, is not what it sees."""
    _level(t, "surprise", t.cfg.surprise, "the world does not do what the model predicted")


@check("novelty")
def novelty(t: Tick) -> None:
    """The input is unlike the data that the model was trained on."""
    _level(t, "novelty", t.cfg.novelty, "the input is unlike the training data")
