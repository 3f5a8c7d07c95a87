# SPDX-License-Identifier: Apache-2.0
"""The results of the safety campaign as text."""

from __future__ import annotations

import math
from typing import Any

from benchmarks.rigs.gate import liveness
from jepa_ros.safety import REASONS


def report(result: dict[str, Any]) -> str:
    """All stages that were run."""
    lines: list[str] = []
    for kind, h in result.get("histories", {}).items():
        lines += _histories(kind, h)
    for name, d in result.get("directed", {}).items():
        lines.append(f"directed search, {name}: {d['trials']:,} trials, {d['starts']} starts ({d['seconds']:.0f} s); "
                     f"least room {1000 * d['room']:.1f} mm ({d['where']}); entered: {d['entered']}")  # fmt: skip
        if d["entered"]:
            lines.append(f"  genes {d['genes']}")
    if mutants := result.get("mutation"):
        missed = [row for row, found in mutants.items() if not found["noticed_by"]]
        by_histories = sum(any("histories" in by for by in found["noticed_by"]) for found in mutants.values())
        noticed = len(mutants) - len(missed)
        lines.append(f"mutants: {noticed} of {len(mutants)} noticed ({by_histories} by the histories too)")
        lines += [f"  NOT noticed: {row}" for row in missed]
    if "liveness" in result:
        lines += _liveness(result["liveness"])
    if e := result.get("episodes"):
        lines += _episodes(e)
    if steps := result.get("step_us"):
        lines.append("one step [us]: CPU time; by the clock; CPU time of the earlier gate; how much longer p99 takes")
        for name, t in steps.items():
            then = (
                f"; {t['baseline_p50']:4.0f} {t['baseline_p99']:4.0f}; {t['ratio_p99']:.2f}" if "ratio_p99" in t else ""
            )
            lines.append(f"  {name:54} p50 {t['p50']:4.0f}  p99 {t['p99']:4.0f}  max {math.ceil(t['max']):5d}; "
                         f"p99 {t['wall_p99']:6.0f}{then}")  # fmt: skip
    return "\n".join(lines)


def _histories(kind: str, h: dict[str, Any]) -> list[str]:
    played = f"{h['histories']:,} ({h['ticks']:,} ticks, {h['seconds']:.0f} s)"
    lines = [f"histories of {kind}: {played}, rules broken: {len(h['broken'])}"]
    lines += [f"  {text}" for text in h["broken"]]
    if h["rate_upper_bound_95"]:
        lines.append(f"  so fewer than {h['rate_upper_bound_95']:.1e} of such histories break one (95 %)")
    lines.append(f"  reasons met: {len(h['reasons'])} of {len(REASONS)} rows and states")
    lines += [f"  bodies refused, {count}: {why}" for why, count in h["bodies_refused"].items()]
    return lines


def _liveness(r: dict[str, Any]) -> list[str]:
    worst = min(f["share"] for f in r["free"].values())
    lines = [f"free space: every body comes to at least {100 * worst:.0f} % of its limits"]
    for name, times in r["tasks"].items():
        ratios = [t["ratio"] for t in times.values() if t["ratio"] is not None]
        done, most = f"{len(ratios)} of {len(times)} done", max(ratios, default=math.nan)
        lines.append(f"tasks of {name}: {done}, in at most {most:.2f} times the oracle's time")
    return lines + [f"  SHORT: {text}" for text in liveness.missed(r)]


def _episodes(e: dict[str, Any]) -> list[str]:
    lines = [f"adversarial episodes: {e['episodes']:,}; footprint in a forbidden region:"]
    low, high = (100 * share for share in e["without_ci95"])
    lines.append(f"  with the gate {e['violations_with_gate']} (95 %: under {100 * e['upper_bound_95']:.2f} %), "
                 f"without it {e['violations_without']} ({low:.1f} to {high:.1f} %)")  # fmt: skip
    if e["broken_seeds"]:
        lines.append(f"  violations at seeds {e['broken_seeds']}")
    lines.append(f"  least room {1000 * e['least_room_m']:.0f} mm (seed {e['least_room_seed']}), median "
                 f"{1000 * e['median_room_m']:.0f} mm; median way driven {e['median_driven_m']:.2f} m")  # fmt: skip
    near = f"{e['fastest_near_person']:.2f} m/s (limit 0.10), without it {e['fastest_near_person_without']:.2f}"
    lines.append(f"  faster than that near a person with the gate {e['too_fast_with_gate']}, without it "
                 f"{e['too_fast_without']}")  # fmt: skip
    return [*lines, f"  fastest near a person {near}; shoved by the person: {e['shoved_by_person']}"]
