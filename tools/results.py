#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Write docs/results.md from what the commands left in benchmarks/results/.

    python tools/results.py

Each section names the command that measures it. A result that is not there is left out.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"

HEAD = """# Results

This page shows how good the shipped models are, how they compare with other ways of control, and how fast planning is.
`python tools/results.py` writes it from the files in [benchmarks/results](../benchmarks/results). Each section names
the command that measured it. Intervals are 95 % Wilson intervals. The tests of the safety gate are in
[safety.md](safety.md#the-evidence). Bags are measured in [bags.md](bags.md#what-was-measured), fleets and networks in
[deploy.md](deploy.md#several-robots-on-one-network).
"""


def read(name: str) -> dict[str, Any] | None:
    """One result file, or None where it was not measured."""
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def percent(value: float | None) -> str:
    """A share in percent."""
    return "-" if value is None else f"{100 * value:.0f} %"


def interval(pair: list[float] | None) -> str:
    """A 95 % interval in percent."""
    return "-" if not pair else f"{100 * pair[0]:.0f} to {100 * pair[1]:.0f} %"


def table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


RANDOM, BLOCKED = "--layout random --randomise --seed 7", "--layout blocked --randomise --seed 7"
#: File of `jepa-ros eval`: what the row is called, and the arguments that measured it.
EVALS = {
    "eval_random": ("planner, new random layouts", f"{RANDOM} --policies planner"),
    "eval_random_policy_random": ("random policy, the same pairs", f"{RANDOM} --policies random"),
    "eval_blocked": ("planner, the straight way always blocked", f"{BLOCKED} --policies planner"),
    "eval_random_policy_blocked": ("random policy, the same pairs", f"{BLOCKED} --policies random"),
    "eval_pose": ("planner, goals as poses", f"{RANDOM} --goal pose --policies planner"),
    "eval_watch": ("planner, surprise and novelty watched", f"{RANDOM} --watch --policies planner"),
    "eval_fixed": ("planner, the fixed layout of the training, new pairs", "--seed 0"),
    "eval_random_policy_fixed": ("random policy, the same pairs", "--seed 0 --policies random"),
    "eval_blind": ("blocked, gate without the lidar", f"{BLOCKED} --no-scan"),
    "eval_nolimit": ("blocked, planner without the limit on predicted contacts", f"{BLOCKED} --contact-limit 1"),
    "eval_blind_nolimit": ("blocked, without both", f"{BLOCKED} --no-scan --contact-limit 1"),
}  # fmt: skip


def arena() -> str:
    """Success of the shipped planar robot."""
    rows = []
    for name, (title, words) in EVALS.items():
        r = read(name)
        if r is None:
            continue
        policy = "planner" if r["success_rate"] is not None else "random"
        p = r["policies"][policy]
        rows.append([
            title, str(r["episodes"]), percent(p["success_no_contact_rate"]),
            interval(p["success_no_contact_rate_ci95"]), percent(p["ever_rate"]), percent(p["collision_rate"]),
            percent(p["false_arrival_rate"]) if policy == "planner" else "-", f"`{words}`",
        ])  # fmt: skip
    return (
        "## Arena: planar robot, fixed overhead camera\n\n"
        "Start and goal are 0.4 to 1.2 m apart. An episode takes at most 20 s. The goal is a picture, except in the "
        "row 'goals as poses'. Success means: within 0.10 m of the goal for the whole last second, without contact. "
        "The random and blocked layouts are new, but most of the training's layouts come from the same generator. All "
        "rows are of one training, the shipped one; [below](#compared-with-other-methods) are three trainings. "
        "`jepa-ros eval` with:\n\n"
        + table(["", "n", "success", "interval", "ever within 0.10 m", "episodes with a contact",
                 "says arrived and is not", "arguments"], rows)
    )


def arm() -> str | None:
    """Success of the shipped arm."""
    r = read("eval_panda_reach")
    if r is None:
        return None
    rows = [
        [name, str(len(r["scores"][name])), percent(p["success_rate"]), interval(p["success_rate_ci95"]),
         percent(p["ever_rate"]), percent(p["collision_rate"])]
        for name, p in r["policies"].items()
    ]  # fmt: skip
    return (
        "## Panda: an arm at a table, one camera\n\n"
        "The tip starts at least 15 cm away from where the goal picture shows it. Success means: within 2 cm for the "
        "last of 12 seconds. One training; light, colours and camera as in the contract. "
        "`jepa-ros eval --robot panda --task reach`:\n\n"
        + table(["", "n", "reaches and holds", "interval", "ever within 2 cm", "episodes with a contact"], rows)
    )


#: File of `jepa-ros eval --robot rooms`, policy in it: what the row is called.
ROOMS = (
    ("eval_rooms_far", "planner", "search by the learned cost-to-go `way`"),
    ("eval_rooms_far_deliberate", "planner", "the same, and deliberate search"),
    ("eval_rooms_far_distance", "planner", "search by the temporal distance"),
    ("eval_rooms_far_latent", "planner", "search by the distance of latents"),
    ("eval_rooms_far_others", "inverse", "inverse model, no search"),
    ("eval_rooms_far", "random", "random policy"),
    ("eval_rooms_far", "oracle", "oracle, drives the shortest way"),
)


def rooms() -> str | None:
    """Goals in the other room."""
    rows = []
    for name, policy, title in ROOMS:
        r = read(name)
        if r is None or policy not in r["policies"]:
            continue
        p = r["policies"][policy]
        scores = [s for s in r["scores"][policy] if s["success"]]
        longer = sorted(s["steps"] / s["shortest_steps"] for s in scores)
        rows.append([
            title, str(p["episodes"]), percent(p["success_rate"]), interval(p["success_rate_ci95"]),
            percent(p["ever_rate"]), f"{longer[len(longer) // 2]:.2f}" if longer else "-",
        ])  # fmt: skip
    if not rows:
        return None
    text = (
        "## Rooms: the goal is in the other room\n\n"
        "The robot is in one of two rooms that were not in the training. A door of three robot widths joins them, at a "
        "place that changes with every episode. The goal picture shows the robot in the other room. Success means: "
        "within 0.2 m, a twentieth of the width, in each of the last 5 of 100 steps. `jepa-ros eval --robot rooms "
        "--task far --episodes 200 --seed 7073 --samples 32 --iterations 2 --deliberate never` (`--weights steps=0` "
        "for the distance of latents). Training took 17 minutes of CPU time ([how](model.md#far-goals)).\n\n"
        "Two earlier predictors were scored on the same 200 tasks. One had a fifth of the mirrored batches and reached "
        "81.5 %; the shipped one solved 16 tasks that it did not, and missed 5 that it solved. The other reached 89 % "
        "and was dropped, because it had been trained on held-out episodes. The rows of the inverse model and of the "
        "distance of latents are of seed 0, the latter with an earlier predictor.\n\n"
        + table(
            ["", "n", "arrives and holds", "interval", "ever within 0.2 m",
             "steps divided by the shortest way, median of successes"],
            rows,
        )
    )
    return text + _ways()


def _ways() -> str:
    """How far the distances of the shipped model are the true ways."""
    path = ROOT / "models" / "rooms" / "card.json"
    true = json.loads(path.read_text(encoding="utf-8"))["metrics"]["way"]["true"] if path.is_file() else None
    if not true:
        return ""
    names = {"latent": "distance of latents (RMS)", "distance": "temporal distance", "way": "learned cost-to-go `way`"}
    parts = {"all": "all pairs", "clear": "no wall between", "across": "a wall between", "near": "ways up to 10 steps"}
    rows = [
        [title, *(f"{true[name][part]:.2f}" for part in parts), percent(true[name]["aliased"])]
        for name, title in names.items()
        if name in true
    ]
    return (
        f"\n\nHow well three distances rank {true['pairs']} pairs of pictures in new rooms: rank correlation with the "
        "true way. The last column is the fraction of badly confused pairs: of the 5 % of pairs that a distance calls "
        "nearest, those that are over 10 steps apart:\n\n"
        + table(["distance", *parts.values(), "confused"], rows)
    )


def included(title: str, text: str, name: str) -> str | None:
    """A table that a benchmark wrote itself."""
    path = RESULTS / name
    return f"## {title}\n\n{text}\n\n{path.read_text(encoding='utf-8').strip()}" if path.is_file() else None


def demo() -> str | None:
    """The whole stack in real time."""
    r = read("demo")
    if r is None:
        return None
    ms = {key: f"{r[key]['p50']:.0f} / {r[key]['p99']:.0f} ms" for key in ("plan_ms", "end_to_end_ms", "image_age_ms")}
    rows = [
        ["arrive and hold", f"{percent(r['success_rate'])} ({interval(r['success_rate_ci95'])}), n {r['episodes']}"],
        ["plan, p50 / p99", ms["plan_ms"]],
        ["from the camera's stamp to the first command made of the image, p50 / p99", ms["end_to_end_ms"]],
        ["age of the image behind the gate's output at any time, p50 / p99", ms["image_age_ms"]],
        ["real-time factor", f"{r['real_time_factor']:.3f}"],
        ["resident memory, all processes", f"{r['memory_mb'] / 1000:.2f} GB"],
    ]
    text = "The whole stack in separate processes and real time, with simulator, bag recorder and video. "
    return f"## Through ROS 2\n\n{text}`jepa-ros demo --episodes {r['episodes']}`:\n\n" + table(["", ""], rows)


def main() -> None:
    """Write the page."""
    sections = [
        HEAD.strip(),
        arena(),
        arm(),
        rooms(),
        included("Compared with other methods", "Other controllers, and the model without some of its parts, on the "
                 "same pairs of start and goal. n 300 is three trainings on the same 100 pairs, so these 300 episodes "
                 "are not independent. `jepa-ros bench worlds --data data/arena --layouts fixed,random`; success "
                 "without a contact in percent:", "worlds.md"),
        demo(),
        included("Speed of a plan on two cores", "`jepa-ros bench plan`; times in ms. [search.md](search.md#speed) "
                 "summarises them:", "plan.md"),
        included("Speed of a plan on a GPU", "`jepa-ros bench plan --device cuda`; times in ms:", "plan_gpu.md"),
        included("Guardrails in the search", "A forbidden bar lies across the straight way. 'Right' means: the robot "
                 "kept out of the bar, and reached the goal if a way round was free. `jepa-ros bench guardrails`:",
                 "guardrails.md"),
    ]  # fmt: skip
    page = "\n\n".join(section for section in sections if section) + "\n"
    (ROOT / "docs" / "results.md").write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
