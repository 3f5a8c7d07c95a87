# SPDX-License-Identifier: Apache-2.0
"""The page of a replay: plots, pictures and a table of differences in one HTML file that needs nothing else."""

from __future__ import annotations

import base64
import html
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jepa_ros.bags import BagError
from jepa_ros.bags.format.reader import BagReader
from jepa_ros.bags.replay.compare import Comparison
from jepa_ros.bags.replay.run_log import RunLog
from jepa_ros.messages.images import pixels
from jepa_ros.perception.preprocess import to_rgb

PICTURES, ROWS, POINTS = 12, 200, 1500
"""At most so many pictures, rows of the table and points of a curve: a page is read, a bag may be hours long."""
WIDTH, HEIGHT, LEFT = 900, 150, 60
OLD, NEW = "#888888", "#c2410c"
STYLE = """body{font:15px/1.45 system-ui,sans-serif;margin:2em auto;max-width:960px;color:#1c1c1c;background:#fff}
h1{font-size:1.4em}h2{font-size:1.1em;margin-top:1.6em}table{border-collapse:collapse;width:100%}
td,th{padding:.2em .6em;text-align:left;border-bottom:1px solid #ddd;vertical-align:top}td.n{text-align:right}
figure{display:inline-block;margin:.3em;text-align:center;font-size:.8em}img{width:140px;image-rendering:pixelated}
.ok{color:#15803d}.bad{color:#b91c1c}svg{display:block;margin:.4em 0}"""


def write_report(path: Path, reader: BagReader, prepared, log: RunLog, comparison: Comparison, result: dict) -> None:
    """Write the page.

    Raises:
        BagError: the file cannot be written.
    """
    old = prepared.recording.log
    verdict = "agrees with the recording" if comparison.agree else f"{len(comparison.differences)} differences"
    kind = "ok" if comparison.agree else "bad"
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8>",
        f"<title>Replay of {html.escape(str(reader.path))}</title><style>{STYLE}</style>",
        f"<h1>Replay of {html.escape(str(reader.path))}</h1><p class={kind}><b>{verdict}</b></p>",
        _facts(result),
        f"<p>Grey: as recorded. <span style='color:{NEW}'>Orange: this replay.</span></p>",
        *_plots(old, log, reader.start, prepared.contract),
        "<h2>Pictures</h2>",
        *_pictures(reader, prepared, comparison),
        "<h2>Differences</h2>",
        _table(comparison),
        "</html>",
    ]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(parts), encoding="utf-8")
    except OSError as error:
        raise BagError(f"{path}: cannot be written: {error.strerror}") from error


def _facts(result: dict) -> str:
    rows = [
        ("robot", result["robot"]), ("model", result["model_id"] or "none"),
        ("length", f"{result['seconds']:.1f} s, replayed at {result['speed']:.1f} times real time"),
        ("hashes", ", ".join(f"{k} {v}" for k, v in result["digest"].items())),
        *(("changed", text) for text in result["changed"]), *(("note", text) for text in result["notes"]),
    ]  # fmt: skip
    for topic, count in result["comparison"]["counts"].items():
        largest = result["comparison"]["largest"].get(topic)
        rows.append((topic, f"{count} compared" + ("" if largest is None else f", largest difference {largest:.3g}")))
    cells = (f"<tr><th>{html.escape(a)}</th><td>{html.escape(str(b))}</td></tr>" for a, b in rows)
    return f"<table>{''.join(cells)}</table>"


def _plots(old: RunLog, new: RunLog, start: int, contract) -> list[str]:
    def steps(log: RunLog, value) -> tuple[list[float], list[float]]:
        chosen = [(s.time, value(s)) for _, s in sorted(log.steps.items()) if s.time is not None]
        return [(t - start) * 1e-9 for t, _ in chosen], [v for _, v in chosen]

    def ticks(log: RunLog, value) -> tuple[list[float], list[float]]:
        chosen = [(t.time, value(t)) for t in log.ticks if t.time is not None]
        return [(t - start) * 1e-9 for t, _ in chosen], [v for _, v in chosen]

    modes = ["DISABLED", "ARMING", "ACTIVE", "LIMITED", "STOPPED", "ESTOP"]
    plots = []
    for title, value in (
        ("distance to the goal, as the planner reads it", lambda s: s.number("distance")),
        ("cost of the plan", lambda s: s.number("cost")),
        ("surprise", lambda s: s.signals.get("surprise", math.nan)),
    ):
        plots.append(plot(title, steps(old, value), steps(new, value)))
    for i, dim in enumerate(contract.axes):

        def of(tick, i=i) -> float:
            return float(tick.values[i]) if len(tick.values) > i else math.nan

        plots.append(plot(f"gate's output, {dim.name} [{dim.unit}]", ticks(old, of), ticks(new, of), step=True))

    def mode(tick) -> float:
        return float(modes.index(tick.mode)) if tick.mode in modes else math.nan

    plots.append(plot("gate's mode", ticks(old, mode), ticks(new, mode), step=True, names=modes))
    return plots


def plot(
    title: str, old: tuple[Sequence[float], Sequence[float]], new: tuple[Sequence[float], Sequence[float]],
    *, step: bool = False, names: Sequence[str] = (),
) -> str:  # fmt: skip
    """Two curves (times [s], values) as an SVG; '' when neither has a finite value. `names` label whole values."""
    both = [np.array([np.asarray(t, float), np.asarray(v, float)]) for t, v in (old, new)]
    both = [c[:, np.isfinite(c[1])] if c.size else np.empty((2, 0)) for c in both]
    values = np.concatenate([c[1] for c in both])
    times = np.concatenate([c[0] for c in both])
    if not values.size:
        return ""
    low, high = (0.0, len(names) - 1.0) if names else (float(values.min()), float(values.max()))
    high = high if high > low else low + 1.0
    begin, end = float(times.min()), max(float(times.max()), float(times.min()) + 1e-3)
    inner = WIDTH - LEFT - 10

    def line(curve: np.ndarray, colour: str, thick: float) -> str:
        curve = curve[:, :: max(1, curve.shape[1] // POINTS)]
        x = LEFT + (curve[0] - begin) / (end - begin) * inner
        y = HEIGHT - 25 - (curve[1] - low) / (high - low) * (HEIGHT - 35)
        if step and x.size > 1:
            x, y = np.repeat(x, 2)[1:], np.repeat(y, 2)[:-1]
        points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
        return f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="{thick}"/>'

    marks = list(enumerate(names)) if names else [(low, f"{low:.3g}"), (high, f"{high:.3g}")]
    labels = "".join(
        f'<text x="{LEFT - 5}" y="{HEIGHT - 21 - (at - low) / (high - low) * (HEIGHT - 35):.1f}" '
        f'text-anchor="end" font-size="9">{html.escape(text)}</text>'
        for at, text in marks
    )
    axis = "".join(
        f'<text x="{LEFT + k / 5 * inner:.0f}" y="{HEIGHT - 8}" text-anchor="middle" font-size="9">'
        f"{begin + k / 5 * (end - begin):.1f} s</text>"
        for k in range(6)
    )
    frame = f'<rect x="{LEFT}" y="10" width="{inner}" height="{HEIGHT - 35}" fill="none" stroke="#ddd"/>'
    return (
        f"<h2>{html.escape(title)}</h2><svg width={WIDTH} height={HEIGHT} role=img>{frame}{labels}{axis}"
        f"{line(both[0], OLD, 2.5)}{line(both[1], NEW, 1.2)}</svg>"
    )


def _pictures(reader: BagReader, prepared, comparison: Comparison) -> list[str]:
    """Pictures at the first differences, and evenly over the bag."""
    import cv2

    images = prepared.recording.images
    times = np.array([time for time, _ in images])
    marked = [reader.start + round(d.at * 1e9) for d in comparison.differences]
    chosen = {int(np.abs(times - t).argmin()): "difference" for t in marked[:: max(1, len(marked) // (PICTURES // 2))]}
    chosen = dict(list(chosen.items())[: PICTURES // 2])
    for k in np.linspace(0, len(images) - 1, PICTURES - len(chosen)).round().astype(int):
        chosen.setdefault(int(k), "")
    shown = []
    for k, why in sorted(chosen.items()):
        time = int(times[k])
        message = next(reader.messages({prepared.recording.image_topic}, time, time + 1))
        picture, encoding = pixels(reader.deserialize(message))
        rgb = to_rgb(picture, encoding)
        edge = 140 / max(rgb.shape[:2])
        small = cv2.resize(rgb, None, fx=edge, fy=edge, interpolation=cv2.INTER_AREA) if edge < 1 else rgb
        done, data = cv2.imencode(".png", cv2.cvtColor(np.ascontiguousarray(small), cv2.COLOR_RGB2BGR))
        if done:
            text = base64.b64encode(data.tobytes()).decode()
            note = f" {why}" if why else ""
            shown.append(
                f'<figure><img alt="" src="data:image/png;base64,{text}">'
                f"<figcaption>{(time - reader.start) * 1e-9:.2f} s{note}</figcaption></figure>"
            )
    return shown


def _table(comparison: Comparison) -> str:
    if not comparison.differences:
        return "<p>None.</p>"
    rows = "".join(
        f"<tr><td class=n>{d.at:.3f} s</td><td>{html.escape(d.topic)}</td><td>{html.escape(d.text)}</td></tr>"
        for d in comparison.differences[:ROWS]
    )
    more = len(comparison.differences) - ROWS
    note = f"<p>... and {more} more.</p>" if more > 0 else ""
    return f"<table><tr><th>time</th><th>topic</th><th>difference</th></tr>{rows}</table>{note}"
