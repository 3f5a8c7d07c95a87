#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Write what was measured into docs/safety.md, from the JSON files that the benchmarks left in benchmarks/results/.

    jepa-ros bench safety --log runs/safety.jsonl --json benchmarks/results/safety.json
    jepa-ros bench faults --json benchmarks/results/faults.json
    jepa-ros bench guardrails --json benchmarks/results/guardrails.json
    jepa-ros bench vigilance --log runs/vigilance.jsonl --json benchmarks/results/vigilance.json
    python tools/safety_table.py

A stage that was run by itself may have a file of its own (faults_jitter.json). What was not measured is said so.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
BEGIN, END = "<!-- measured: tools/safety_table.py -->", "<!-- /measured -->"
NOT_YET = "not measured yet"
#: What the benches call a fault, in words.
FAULTS = {
    "halt": "halted", "kill": "killed", "shifted": "camera knocked", "covered": "lens covered", "dark": "lights off",
    "frozen": "stream frozen", "box": "box put down", "wheel": "wheel jammed",
}  # fmt: skip


def read(name: str, folder: Path) -> dict[str, Any]:
    """All results of a benchmark, whichever of its files holds them; no stage may be in two of them."""
    found: dict[str, Any] = {}
    for path in sorted(folder.glob(f"{name}*.json")):
        content = json.loads(path.read_text(encoding="utf-8"))
        twice = [k for k, v in content.items() if k in found and k != "machine" and isinstance(v, (dict, list)) and v]
        if twice:
            raise SystemExit(f"{path}: another {name}*.json has {', '.join(twice)} too; delete the older one")
        found |= {key: value for key, value in content.items() if value}
    return found


def rate(r: dict[str, Any]) -> str:
    """A share with its interval."""
    return f"{100 * r['rate']:.0f} % ({100 * r['ci95'][0]:.0f} to {100 * r['ci95'][1]:.0f})" if r["n"] else "-"


def of_safety(r: dict[str, Any]) -> list[tuple[str, str, str, str]]:
    """(what, n, found, command) of `bench safety`."""
    rows = []
    for kind in ("bases", "joints", "arms"):
        what = f"random histories, {kind}: rules broken"
        if h := r.get("histories", {}).get(kind):
            bound = f"; under {h['rate_upper_bound_95']:.1e} of them at 95 %" if h["rate_upper_bound_95"] else ""
            rows.append((what, f"{h['histories']:,}", f"{len(h['broken'])}{bound}; {h['ticks']:,} ticks"))
        else:
            rows.append((what, "", NOT_YET))
    for name, d in r.get("directed", {}).items():
        room = f"smallest distance kept {1000 * d['room']:.1f} mm; {d['seconds'] / 60:.0f} min of search"
        rows.append((f"directed search, {name.replace('_', ' ')}: regions entered", f"{d['trials']:,} trials",
                     f"{d['entered']}; {room}"))  # fmt: skip
    if m := r.get("mutation"):
        both = sum(any("histories" in by for by in v["noticed_by"]) for v in m.values())
        seen = sum(bool(v["noticed_by"]) for v in m.values())
        rows.append(("gates without one row: noticed", str(len(m)), f"{seen}, {both} of them by the histories too"))
    if live := r.get("liveness"):
        least = min(live["free"].values(), key=lambda f: f["share"])["share"]
        bodies = sum(f.get("bodies", 1) for f in live["free"].values())  # random ones share a row
        what = "free space: smallest fraction of its limit that a body reached"
        rows.append((what, str(bodies), f"{100 * least:.0f} %"))
        for name, times in live["tasks"].items():
            ratios = [t["ratio"] for t in times.values() if t["ratio"] is not None]
            most = f", in at most {max(ratios):.2f} times the oracle's time" if ratios else ""
            rows.append((f"tasks past regions and obstacles, {name.replace('_', ' ')}: done", str(len(times)),
                         f"{len(ratios)}{most}"))  # fmt: skip
    if e := r.get("episodes"):
        low, high = (100 * v for v in e["without_ci95"])
        rows.append((
            "adversarial episodes in physics: entered a forbidden region", f"{e['episodes']:,}",
            f"{e['violations_with_gate']} (under {100 * e['upper_bound_95']:.2f} % at 95 %); without the gate "
            f"{e['violations_without']} ({low:.1f} to {high:.1f} %); smallest distance kept "
            f"{1000 * e['least_room_m']:.0f} mm, median drive {e['median_driven_m']:.2f} m"))  # fmt: skip
        rows.append((
            "the same: too fast near a person, once there was time to slow down", f"{e['episodes']:,}",
            f"{e['too_fast_with_gate']}; without the gate {e['too_fast_without']}; fastest "
            f"{e['fastest_near_person']:.2f} and {e['fastest_near_person_without']:.2f} m/s"))  # fmt: skip
    for name, t in r.get("step_us", {}).items():
        then = f"; {t['ratio_p99']:.2f} times the p99 of the gate of commit e56d855" if "ratio_p99" in t else ""
        rows.append((f"one step, {name}: CPU time p50, p99, worst", f"{r['steps']:,}",
                     f"{t['p50']:.0f}, {t['p99']:.0f}, {t['max']:.0f} us; wall clock p99 {t['wall_p99']:.0f} us{then}"
                     ))  # fmt: skip
    return [(*row, "`bench safety`") for row in rows]


def of_faults(r: dict[str, Any]) -> list[tuple[str, str, str, str]]:
    """The same of `bench faults`."""
    rows = []
    for j in r.get("jitter", []):
        late = j["command_ms"]
        rows.append((
            f"ticks at {j['priority']} priority, one busy process per core: off by", f"{j['ticks']:,}",
            f"p99.9 {j['p99_9_ms']:.2f} ms, worst {j['worst_ms']:.2f} ms; from command in to command out p50 "
            f"{late['p50']:.1f}, p99 {late['p99']:.1f} ms"))  # fmt: skip
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for t in r.get("processes", []):
        groups.setdefault((t["node"], t["fault"]), []).append(t)
    for (node, fault), trials in groups.items():
        stops = [t["stop_s"] for t in trials if t["stop_s"] is not None]
        over = [1000 * t["over_s"] for t in trials if t["over_s"] is not None]
        why = " or ".join(sorted({t["reason"].partition(";")[0] for t in trials}))
        said = f"worst {max(over):.0f} ms after its time-out" if over else why
        what = f"{node} {FAULTS[fault]}: " + ("the robot stood" if node == "safety_gate" else "stopped for that reason")
        lost = sum(t["recovered"] is False for t in trials)
        latched = sum(bool(t["latched"]) for t in trials)
        again = f"did not drive on: {lost}; needed a reset: {latched}"
        if all(t["recovered"] is None for t in trials):
            again = "nothing was left that could drive on"
        rows.append((what, str(len(trials)),
                     f"{len(stops)}, after at most {max(stops, default=0.0):.2f} s, {said}; "
                     f"{again}"))  # fmt: skip
    if topics := r.get("topics"):
        failed = [name for name, found in topics.items() if "failed" in found]
        worst = max((found.get("worst_ms", 0.0) for found in topics.values()), default=0.0)
        flood = max((found.get("sent_per_s", 0.0) for found in topics.values()), default=0.0)
        rows.append(("flooded, duplicated, broken and giant messages, clock jumps: cases that failed",
                     str(len(topics)), f"{len(failed)}{': ' * bool(failed) + ', '.join(failed)}; ticks off by at most "
                     f"{worst:.1f} ms; the flood had {flood:,.0f} commands a second"))  # fmt: skip
    rows = rows or [("ticks, faulty processes and topics", "", NOT_YET)]
    return [(*row, "`bench faults`") for row in rows]


def of_guardrails(r: dict[str, Any]) -> list[tuple[str, str, str, str]]:
    """The same of `bench guardrails`."""
    rows = []
    for arm in r.get("arms", {}).values():
        rows.append((
            f"forbidden bar across the way, {arm['title']}", f"{arm['violated']['n']} + {arm['violated_closed']['n']}",
            f"entered it {rate(arm['violated'])} where a way round was free, {rate(arm['violated_closed'])} where none "
            f"was; at the goal {rate(arm['success'])}; right {rate(arm['right'])}"))  # fmt: skip
    if (s := r.get("sudden")) and s["periods"]:
        rows.append(("bar placed in front of a moving robot", str(s["set"]),
                     f"entered {s['violated']['count']}; first plan that avoids it after p50 "
                     f"{s['periods']['p50']:.1f}, worst {s['periods']['worst']:.1f} planning periods"))  # fmt: skip
    rows = rows or [("guardrails in the search: none, weighted, lexicographic, with the gate", "", NOT_YET)]
    return [(*row, "`bench guardrails`") for row in rows]


def of_vigilance(r: dict[str, Any]) -> list[tuple[str, str, str, str]]:
    """The same of `bench vigilance`."""
    rows = []
    for name, c in r.get("cases", {}).items():
        low, high = (100 * v for v in c["noticed_ci95"])
        delay = "-" if c["delay_p50"] is None else f"{c['delay_p50']:.2f}, {c['delay_max']:.2f} s"
        why = ", ".join(f"{word} {count}" for word, count in c["reasons"].items())
        rows.append((f"{FAULTS[name]}: noticed within 1 s", str(c["trials"]),
                     f"{c['noticed']} ({low:.0f} to {high:.0f} %); delay p50, worst {delay}; by {why}"))  # fmt: skip
    if (n := r.get("normal")) and n["drives"]:
        low, high = n["per_hour_ci95"]
        why = ", ".join(f"{word} {count}" for word, count in n["reasons"].items()) or "none"
        rows.append(("no fault: false alarms", f"{n['hours']:.2f} h",
                     f"{n['alarms']} ({n['stops']} stops; {why}): {n['per_hour']:.2f} an hour "
                     f"({low:.2f} to {high:.2f})"))  # fmt: skip
    rows = rows or [("surprise and novelty: noticed, false alarms", "", NOT_YET)]
    return [(*row, "`bench vigilance`") for row in rows]


def machines(*results: dict[str, Any]) -> str:
    """On what it was measured."""
    used: dict[str, set[int]] = {}
    for m in filter(None, (r.get("machine") for r in results)):
        used.setdefault(m["processor"], set()).add(m["cores"])
    on = [f"{name}, {' or '.join(map(str, sorted(cores)))} of its cores" for name, cores in sorted(used.items())]
    return f"Measured on: {'; '.join(on)}." if on else ""


def table(folder: Path) -> str:
    """The part of the document."""
    makers = {"safety": of_safety, "faults": of_faults, "guardrails": of_guardrails, "vigilance": of_vigilance}
    results = [read(name, folder) for name in makers]
    rows = [row for make, r in zip(makers.values(), results, strict=True) for row in make(r)]
    lines = ["| what | n | found | by `jepa-ros` |", "|---|---|---|---|", *(f"| {' | '.join(row)} |" for row in rows)]
    return "\n".join([*lines, *(["", machines(*results)] if machines(*results) else [])])


def written(text: str, folder: Path) -> str:
    """The document with the table in its place."""
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n{table(folder)}\n{END}{rest.split(END)[1]}"


if __name__ == "__main__":
    document = ROOT / "docs" / "safety.md"
    text = written(document.read_text(encoding="utf-8"), ROOT / "benchmarks" / "results")
    document.write_text(text, encoding="utf-8")
