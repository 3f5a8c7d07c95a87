# SPDX-License-Identifier: Apache-2.0
"""The training report: one self-contained HTML file a run, from ``log.jsonl`` and ``card.json`` alone.

:func:`write_report` runs at the end of ``jepa-ros train`` and can be called on any run folder at any time, also while
the run goes on or after it was killed: ``python -m jepa_ros.learning.report FOLDER``.
"""

from __future__ import annotations

import html
import json
import math
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from jepa_ros.errors import JepaRosError
from jepa_ros.learning.charts import Panel, charts

REPORT = "report.html"
HORIZONS = (1, 5, 12)
#: What a good representation reaches on episodes that were held out; the report names what falls short of it.
GOOD_PROBE, GOOD_RATIO = 0.95, {1: 0.6, 5: 0.3, 12: 0.2}
STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { margin-bottom: 0.2rem; } h2 { margin-top: 2.2rem; border-bottom: 1px solid #8886; }
table { border-collapse: collapse; margin: 0.6rem 0; } td, th { padding: 0.15rem 0.8rem 0.15rem 0; text-align: left; }
td { font-variant-numeric: tabular-nums; } th { font-weight: 600; } svg { max-width: 100%; height: auto; }
pre { background: #8882; padding: 0.8rem; overflow-x: auto; font-size: 13px; } .note { opacity: 0.75; }
.warn, .good { border-left: 4px solid #d97706; padding-left: 0.8rem; } .good { border-color: #16a34a; }
ul.warn { list-style: none; }
"""


NOTES = {
    "loss": "Phase one. <i>copy</i> is the error of predicting that nothing moves: prediction has to fall far below.",
    "collapse": "Effective rank of the latents and their standard deviation within episodes, held out. A rank near 1 "
    "or a spread near 0 is collapse; both may look healthy while the robot is not represented, hence the probes.",
    "probes": "R2 of a linear map from the latent to the robot's pose, on held-out episodes.",
    "open_loop": "Error of predicting ahead without looking, relative to copying the first latent (1: no better than "
    "that), on held-out windows in which the robot moves.",
    "frozen": "Phase two: refit of the predictor, then the readouts.",
    "traversability": "The map of where the robot can drive, on held-out layouts: labelled places told apart, and what "
    "it said of the place where a step would end against whether the robot touched something in that step.",
    "calibration": "Quantiles on held-out episodes: what counts as normal when the stack runs.",
}


class ReportError(JepaRosError):
    """A folder that no report can be made of; the message says what is missing."""


def read_log(path: Path) -> dict[str, list[dict[str, Any]]]:
    """The records of a run by phase, in order. A line that a kill cut short is left out.

    Raises:
        ReportError: there is no such file, or not one whole record in it.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        hint = "a run folder is written by 'jepa-ros train'"
        raise ReportError(f"{path}: cannot be read: {error.strerror}; {hint}") from None
    phases: dict[str, list[dict[str, Any]]] = {}
    for line in lines:
        try:
            record = json.loads(line)
            phases.setdefault(record["phase"], []).append(record)
        except (ValueError, KeyError, TypeError):
            continue
    if not phases:
        raise ReportError(f"{path}: not one whole record: the run has not logged anything yet")
    return phases


def write_report(folder: Path | str) -> Path:
    """Write ``report.html`` into a run folder; it appears whole or not at all.

    Returns:
        The file.

    Raises:
        ReportError: the folder has no log.
    """
    folder = Path(folder)
    phases = read_log(folder / "log.jsonl")
    try:
        card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        card = {}
    path = folder / REPORT
    temporary = path.with_suffix(".partial")
    temporary.write_text(render(folder.resolve().name, phases, card), encoding="utf-8")
    os.replace(temporary, path)
    return path


def render(name: str, phases: dict[str, list[dict[str, Any]]], card: dict[str, Any]) -> str:
    """The report as text. ``card`` is empty while a run is not finished."""
    judged = phases.get("judged", []) + phases.get("final", [])
    metrics = card.get("metrics") or (judged[-1] if judged else {})
    run = {"settings": card.get("settings"), "model": card.get("model"), "data": card.get("data")}
    parts = [
        f"<h1>{_text(card.get('name', name))}</h1>",
        f"<p class=note>{_text(_subtitle(card))}</p>",
        _remarks(metrics),
        _section("The run", _table(_run_rows(card)), ""),
        _section("Loss", _losses(phases.get("representation", [])), NOTES["loss"]),
        _section("Collapse", _collapse(judged), NOTES["collapse"]),
        _section("Probes", _probes(judged), NOTES["probes"]),
        _section("Open loop", _open_loop(judged, metrics), NOTES["open_loop"]),
        _section("Frozen latents", _second_phase(phases), NOTES["frozen"]),
        _section("Traversability", _traversability(card), NOTES["traversability"]),
        _section("Calibration", _calibration(card.get("calibration", {})), NOTES["calibration"]),
        _section("Settings", _pre(run), ""),
        _section("Robot contract", _pre(card.get("contract")), ""),
    ]
    body = "\n".join(parts)
    head = f"<meta charset=utf-8><title>{_text(name)}: training</title>\n<style>{STYLE}</style>"
    return f"<!doctype html>\n<html lang=en>{head}\n{body}\n</html>\n"


# -- sections --------------------------------------------------------------------------------------------------------


def _subtitle(card: dict[str, Any]) -> str:
    if not card:
        return "This run is not finished: there is no model card yet."
    minutes = card["training_seconds"] / 60
    return f"{card['parameters']:,} parameters, trained for {minutes:.1f} minutes on {card['device']}"


def _remarks(metrics: dict[str, Any]) -> str:
    found = []
    for key, value in metrics.get("probe_r2", {}).items():
        if key != "position_cm" and not value >= GOOD_PROBE:
            reached = f"reaches {value:.2f} (good: {GOOD_PROBE})"
            found.append(f"The probe of <b>{_text(key)}</b> {reached}: it is hardly in the latent.")
    for name, verdict in metrics.get("readouts", {}).items():
        if not verdict["used"]:
            reached = ", ".join("none" if v is None else f"{v:.2f}" for v in verdict["r2"])
            found.append(f"The readout <b>{_text(name)}</b> misses its least R2 ({reached}): it is not used.")
    for k in HORIZONS:
        ratio = metrics.get("open_loop", {}).get(f"ratio_{k}")
        if ratio is not None and not ratio <= GOOD_RATIO[k]:
            reached = f"is {ratio:.2f} of copying (good: {GOOD_RATIO[k]})"
            found.append(f"The error after <b>{k} steps</b> {reached}: plans will be poor.")
    if not metrics:
        return "<p class=note>Nothing was judged yet.</p>"
    if not found:
        return "<p class=good>Probes and open-loop error are where they should be.</p>"
    return "<ul class=warn>" + "".join(f"<li>{line}</li>" for line in found) + "</ul>"


def _run_rows(card: dict[str, Any]) -> list[tuple[str, Any]]:
    data = card.get("data", {})
    rows = [
        ("command", card.get("command")),
        ("commit", card.get("commit")),
        ("weights", str(card.get("weights_sha256", ""))[:16] or None),
        ("device", card and f"{card['device']}, {card['precision']}, {card['threads']} threads"),
        ("data", data and f"{data['folder']}: {data['episodes']} episodes ({data['held_out_episodes']} held out), "
                          f"{data['steps']} steps, {data['robot_minutes']} minutes of robot time"),
        ("made by", data and ", ".join(f"{name} {value}" for name, value in (data.get("settings") or {}).items())),
    ]  # fmt: skip
    return [(key, value) for key, value in rows if value]


def _losses(records: list[dict[str, Any]]) -> str:
    names = ("total", "prediction", "copy", "anti_collapse", "inverse_dynamics")
    return charts([
        Panel("loss", "log", [(n, _series(records, n)) for n in names]),
        Panel("frames a second", "linear", [("", _series(records, "frames_per_second"))]),
    ])  # fmt: skip


def _collapse(judged: list[dict[str, Any]]) -> str:
    return charts([
        Panel("effective rank", "linear", [("", _series(judged, "spread", "rank"))]),
        Panel("standard deviation", "linear", [("", _series(judged, "spread", "std_within"))]),
    ])  # fmt: skip


def _probes(judged: list[dict[str, Any]]) -> str:
    names = sorted({k for r in judged for k in r.get("probe_r2", {})} - {"position_cm"})
    if not names:
        return "<p class=note>The data holds no pose: nothing to probe for.</p>" if judged else ""
    return charts([
        Panel("R2", "linear", [(n, _series(judged, "probe_r2", n)) for n in names]),
        Panel("position error [cm]", "linear", [("", _series(judged, "probe_r2", "position_cm"))]),
    ])  # fmt: skip


def _open_loop(judged: list[dict[str, Any]], metrics: dict[str, Any]) -> str:
    final = metrics.get("open_loop", {})
    if not final:
        return ""
    ahead = {k: f"{k} step{'s' * (k > 1)}" for k in HORIZONS}
    curves = [(ahead[k], _series(judged, "open_loop", f"ratio_{k}")) for k in HORIZONS]
    known = [k for k in HORIZONS if f"ratio_{k}" in final]
    rows = [(ahead[k], *(f"{final[f'{name}_{k}']:.4f}" for name in ("error", "copy", "ratio"))) for k in known]
    return charts([Panel("error / copy error", "log", curves)]) + _table(rows, ("after", "error", "copy", "ratio"))


def _second_phase(phases: dict[str, list[dict[str, Any]]]) -> str:
    axes = []
    for phase in ("predictor", "distance", "readouts", "traversability"):
        records = phases.get(phase, [])
        names = sorted({k for r in records for k in r} - {"phase", "step", "keypoint_r2"})
        if names:
            axes.append(Panel(phase, "log", [(n, _series(records, n)) for n in names]))
    return charts(axes)


def _traversability(card: dict[str, Any]) -> str:
    found = card.get("metrics", {}).get("traversability")
    if not found:
        return "<p class=note>The model has no map.</p>" if card else ""
    contact = found.get("contact", {})
    rows: list[tuple[Any, ...]] = [
        ("places: area under the curve", f"{found['auc']:.3f}"),
        ("places: cross entropy", f"{found['cross_entropy']:.3f}"),
    ]
    if contact:
        rows += [
            ("contact: area under the curve", f"{contact['auc']:.3f}"),
            ("contact: expected calibration error", f"{contact['error']:.3f}"),
            ("contact: share of the steps", f"{contact['rate']:.3f}"),
        ]
    reliability = [(f"{p:.3f}", f"{o:.3f}", n) for p, o, n in contact.get("rows", [])]
    return _table(rows) + _table(reliability, ("said", "came true", "steps"))


def _calibration(calibration: dict[str, Any]) -> str:
    tables = {k: v for k, v in calibration.items() if isinstance(v, dict) and v and k != "vigilance"}
    if not tables:
        return ""
    quantiles = list(next(iter(tables.values())))
    rows = [(name, *(f"{values.get(q, math.nan):.4g}" for q in quantiles)) for name, values in tables.items()]
    levels = ((calibration.get("vigilance") or {}).get("levels") or {}).items()
    watched = [(name, f"{slow:.4g}", f"{stop:.4g}") for name, (slow, stop) in levels]
    return _table(rows, ("", *quantiles)) + _table(watched, ("vigilance", "slow from", "stop from"))


# -- pieces of HTML --------------------------------------------------------------------------------------------------


def _text(value: Any) -> str:
    return html.escape(str(value))


def _section(title: str, content: str, note: str) -> str:
    explained = f"<p class=note>{note}</p>" if note else ""
    return f"<h2>{title}</h2>{explained}{content or '<p class=note>Not logged yet.</p>'}"


def _table(rows: Iterable[tuple[Any, ...]], head: tuple[str, ...] = ()) -> str:
    lines = ["<tr>" + "".join(f"<th>{_text(h)}</th>" for h in head) + "</tr>"] if head else []
    for first, *rest in rows:
        lines.append(f"<tr><th>{_text(first)}</th>" + "".join(f"<td>{_text(v)}</td>" for v in rest) + "</tr>")
    return f"<table>{''.join(lines)}</table>" if len(lines) > bool(head) else ""


def _pre(data: Any) -> str:
    if not data or not any(data.values()):
        return ""
    return f"<pre>{_text(yaml.safe_dump(data, sort_keys=False, allow_unicode=True))}</pre>"


def _series(records: list[dict[str, Any]], *keys: str) -> list[tuple[float, float]]:
    """(step, value) of the records that have the value; a value that is not finite leaves a gap."""
    points = []
    for record in records:
        value: Any = record
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        if isinstance(value, (int, float)):
            points.append((float(record["step"]), float(value) if math.isfinite(value) else math.nan))
    return points


if __name__ == "__main__":
    try:
        print(write_report(sys.argv[1] if len(sys.argv) > 1 else "."))
    except ReportError as problem:
        sys.exit(f"error: {problem}")
