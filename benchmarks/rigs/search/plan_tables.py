# SPDX-License-Identifier: Apache-2.0
"""The tables of `jepa-ros bench plan`."""

from __future__ import annotations

from typing import Any

#: What the project wants of some rows, printed beside them: ms, p50 and p99, bfloat16 where there is it.
TARGETS = {((10, 128, 3), 1): (9.0, 14.0), ((10, 128, 3), 8): (40.0, 60.0)}
RATIOS = {(10, 128, 3): 2.0, (12, 256, 4): 1.8, (15, 512, 6): 1.6}  # times faster than the better peer
PEAK_SHARE, LESS_TIME, OVERRUN = 0.5, 10.0, 10.0


def tables(report: dict[str, Any]) -> str:
    """The report as markdown."""
    m, about, peaks = report["machine"], report["model"], report["peak_gflops"]
    lines = [
        f"Machine: {m['processor']}, {m['threads']} threads{', ' + m['gpu'] if 'gpu' in m else ''}, "
        f"torch {m['torch']}; load {m['load_before']:.1f} before, "
        f"{m['load_after']:.1f} after.",
        f"Large matrix products: {peaks['float32']:.0f} GFLOP/s in fp32, {peaks['bfloat16']:.0f} in bf16.",
        f"Model: {about['id']}, {about['parameters']:,} parameters (predictor {about['predictor_parameters']:,}); "
        f"{about['kflop_a_step']:.0f} kFLOP a step, {about['kflop_a_readout']:.0f} for the cost of its latent.",
        "",
        "| horizon x samples x iterations | futures | engine | min | p50 | p99 | processor | GFLOP | of the peak |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for r in report["plans"]:
        fast = r["dtype"] == "bfloat16"
        goal = TARGETS.get((tuple(r["size"]), r["futures"])) if fast else None
        note = f" (at most {goal[0]:g} / {goal[1]:g})" if goal else ""
        lines.append(
            f"| {' x '.join(map(str, r['size']))}{note} | {r['futures']} | {r['engine']} | {r['min_ms']:.1f} | "
            f"{r['p50_ms']:.1f} | {r['p99_ms']:.1f} | {r['processor_ms']:.1f} | {r['gflop']:.2f} | "
            f"{100 * r['share_of_peak']:.0f} % |"
        )
    lines += _profile_table(report["profile"])
    d = report["deadline"]
    lines += ["", f"Deadline of {d['deadline_ms']:.0f} ms, overrun in ms (p99 at most {OVERRUN:g}):", ""]
    lines += ["| | p50 | p99 | iterations |"]
    lines += ["|---|---|---|---|"]
    lines += [
        f"| {name} | {c['overrun_p50_ms']:.1f} | {c['overrun_p99_ms']:.1f} | {c['iterations']:.1f} |"
        for name, c in d["cases"].items()
    ]
    if "peers" in report:
        lines += _peer_tables(report["peers"])
    return "\n".join(lines) + "\n"


def _profile_table(p: dict[str, Any]) -> list[str]:
    size = " x ".join(map(str, p["size"]))
    lines = ["", f"Where the time of a plan {size} in {p['dtype']} goes (mean {p['mean_ms']:.1f} ms; at least "]
    lines[-1] += f"{100 * PEAK_SHARE:.0f} % of the peak is wanted of the whole):"
    lines += ["", "| part | ms | share | of the peak |", "|---|---|---|---|"]
    for name, part in p["parts"].items():
        peak = f"{100 * part['share_of_peak']:.0f} %" if "share_of_peak" in part else ""
        lines.append(f"| {name} | {part['ms']:.2f} | {100 * part['share']:.0f} % | {peak} |")
    return lines


def _peer_tables(peers: dict[str, Any]) -> list[str]:
    names = list(peers["versions"])
    lines = ["", "Same model, same number of rollouts; p50 (processor time) in ms:", ""]
    lines += [f"| size | jepa_ros | {' | '.join(f'{n} {v}' for n, v in peers['versions'].items())} | times faster |"]
    lines += ["|---" * (3 + len(names)) + "|"]
    for r in peers["rows"]:
        cells = [f"{r[n]['p50_ms']:.1f} ({r[n]['processor_ms']:.1f})" for n in ["jepa_ros", *names]]
        ratio = f"{r['times_faster']:.1f} ({r['times_less_processor']:.1f})"
        wanted = RATIOS.get(tuple(r["size"]))
        ratio += f", at least {wanted:g}" if wanted else ""
        lines.append(f"| {' x '.join(map(str, r['size']))} | {' | '.join(cells)} | {ratio} |")
    t = peers["time_to_cost"]
    lines += [
        "",
        f"Time to the cost of their CEM's plan (300 samples x 30 iterations, {t['their_p50_ms']:.0f} ms): "
        + (f"{t['our_p50_ms']:.1f} ms, {t['times_less']:.0f} times less" if t["our_p50_ms"] else "not reached by half")
        + f" (at least {LESS_TIME:g} times less wanted); reached in {t['reached']} of {t['problems']} problems, cost "
        f"at the end {100 * t['more_cost']:+.1f} % of theirs (median).",
    ]
    return lines
