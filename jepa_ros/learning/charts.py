# SPDX-License-Identifier: Apache-2.0
"""Line charts as SVG text, for reports that are one file and need no plotting library where a model is trained."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass

Points = Sequence[tuple[float, float]]

WIDTH, HEIGHT = 486, 300
LEFT, RIGHT, TOP, BOTTOM = 62, 12, 12, 42
COLOURS = ("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#7f7f7f")
#: More points than this are drawn without a dot each.
DOTTED = 30


@dataclass(frozen=True)
class Panel:
    """One chart: `label` of the y axis, its scale ("linear" or "log") and the curves as (name, points)."""

    label: str
    scale: str
    curves: Sequence[tuple[str, Points]]


def charts(panels: Sequence[Panel]) -> str:
    """The panels as SVG elements, one after the other; those without a point are left out.

    A value that is not finite leaves a gap in its curve. A log scale leaves out values that are not positive, and is
    linear where no value is.
    """
    return "".join(_panel(panel) for panel in panels if any(points for _, points in panel.curves))


def _panel(panel: Panel) -> str:
    curves = [(name, [(float(x), float(y)) for x, y in points]) for name, points in panel.curves if points]
    log = panel.scale == "log" and any(y > 0 for _, points in curves for _, y in points)
    xs = [x for _, points in curves for x, _ in points]
    ys = [_height(y, log) for _, points in curves for _, y in points]
    across, up = _range(xs), _range([y for y in ys if math.isfinite(y)])

    def place(x: float, y: float) -> tuple[float, float]:
        h = (x - across[0]) / (across[1] - across[0])
        v = (y - up[0]) / (up[1] - up[0])
        return LEFT + h * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - v * (HEIGHT - TOP - BOTTOM)

    label = html.escape(panel.label)
    parts = [
        f'<svg role="img" aria-label="{label}" width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="12" style="background: white">'
    ]
    for value in _ticks(*up, log):
        y = place(across[0], value)[1]
        parts.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>')
        shown = 10**value if log else value
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{shown:.4g}</text>')
    for value in _ticks(*across, False):
        x = place(value, up[0])[0]
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{value:g}</text>')
    parts.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 8}" text-anchor="middle">step</text>')
    middle = (TOP + HEIGHT - BOTTOM) / 2
    parts.append(f'<text transform="translate(14 {middle}) rotate(-90)" text-anchor="middle">{label}</text>')
    for number, (name, points) in enumerate(curves):
        colour = COLOURS[number % len(COLOURS)]
        parts += _curve([(x, _height(y, log)) for x, y in points], place, colour)
        if name:
            y = TOP + 14 + 16 * number
            parts.append(f'<path d="M{WIDTH - RIGHT - 150} {y - 4}h20" stroke="{colour}" stroke-width="2"/>')
            parts.append(f'<text x="{WIDTH - RIGHT - 124}" y="{y}">{html.escape(name)}</text>')
    return "".join(parts) + "</svg>\n"


def _height(value: float, log: bool) -> float:
    """Where a value stands on its axis; NaN where it has no place."""
    if not math.isfinite(value):
        return math.nan
    return value if not log else math.log10(value) if value > 0 else math.nan


def _curve(points: Points, place, colour: str) -> list[str]:
    parts, path, pen = [], "", "M"
    for x, y in points:
        if not math.isfinite(y):
            pen = "M"
            continue
        h, v = place(x, y)
        path += f"{pen}{h:.1f} {v:.1f}"
        pen = "L"
        if len(points) < DOTTED:
            parts.append(f'<circle cx="{h:.1f}" cy="{v:.1f}" r="2.5" fill="{colour}"/>')
    return [f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>', *parts] if path else []


def _range(values: Sequence[float]) -> tuple[float, float]:
    """Lowest and highest value with a little room, never of no width."""
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    room = 0.04 * (high - low) or 0.04 * abs(high) or 1.0
    return low - room, high + room


def _ticks(low: float, high: float, log: bool) -> list[float]:
    """Round values between two, four to eight of them; on a log axis whole decades where there are two at least."""
    if log and math.floor(high) - math.ceil(low) >= 1:
        step = float(max(1, math.ceil((high - low) / 7)))
    else:
        rough = (high - low) / 6
        power = 10.0 ** math.floor(math.log10(rough))
        step = power * next(f for f in (1, 2, 5, 10) if rough <= f * power)
    first = math.ceil(low / step)
    return [k * step for k in range(first, math.floor(high / step) + 1)]


__all__ = ["Panel", "charts"]
