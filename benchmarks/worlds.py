# SPDX-License-Identifier: Apache-2.0
"""The worth of the world model: success beside baselines, ablations and less data, on the same pairs.

    jepa-ros bench worlds --data DATASET --out FOLDER [--rows NAME,...] [--seeds 0,1,2] [--episodes 100]

Trains what is missing, scores what is not scored yet, and writes `worlds.json` and `worlds.md` into the folder after
every step: stopped at any moment, the same command goes on. Rows that rest on a trained model are scored once a
training seed; the table pools the episodes. The rows marked "short" are all trained for the same, smaller number of
steps, and are to be compared with the row "jepa, short" alone. An episode ends once the robot has said for SETTLE s
that it has arrived, and truly has. Several of these commands, of other rows or seeds, may work on the same folder.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from jepa_ros.errors import JepaRosError
from jepa_ros.evaluation.episode import EvalSettings
from jepa_ros.evaluation.evaluate import evaluate
from jepa_ros.evaluation.report import rates
from jepa_ros.files import add_json, write_json, write_text
from jepa_ros.learning.baselines import KINDS, META, train_baseline
from jepa_ros.learning.data.dataset import Dataset
from jepa_ros.learning.data.sampler import BatchShape
from jepa_ros.learning.representation.reconstruction import ReconstructionTrainer
from jepa_ros.learning.representation.representation import RepresentationTrainer
from jepa_ros.learning.settings import TrainSettings, choose_device
from jepa_ros.learning.teachable import config_for
from jepa_ros.learning.train import train
from jepa_ros.options import positive
from jepa_ros.planning.config import SearchConfig
from jepa_ros.processor import usable_cores
from jepa_ros.progress import Progress
from jepa_ros.world_model import load_card, model_id
from jepa_ros.world_model.checkpoint import CARD
from jepa_ros.worlds.assignment import Assignment
from jepa_ros_sim.arena.reach import PROTOCOL
from jepa_ros_sim.arena.world import ArenaWorld

LAYOUTS = ("fixed", "random", "blocked")
ABLATION = ("random",)  # where the short rows are scored
PAIRS_SEED = 77  # of the pairs, the same for every row
SETTLE = 3.0  # s at the goal, told by the robot and true, that end an episode
RESET_SECONDS = 10.0  # of a robot's time between two episodes, in the count of the data's minutes


@dataclass(frozen=True)
class Training:
    """A model that rows rest on: settings changed from the default, share of the data, objective."""

    change: Callable[[TrainSettings], TrainSettings] = lambda s: s
    share: float = 1.0
    trainer: Callable[..., RepresentationTrainer] = RepresentationTrainer
    short: bool = True


@dataclass(frozen=True)
class Row:
    """A line of the table: what it is, the policy that drives, and the training that it rests on ("" for none).

    ``search`` is the planner's; without ``scan`` the gate does not see the lidar. ``layouts``: where it is scored.
    ``body``: settings of a planar robot.
    """

    title: str
    policy: str
    training: str = ""
    search: SearchConfig = field(default_factory=SearchConfig)
    scan: bool = True
    layouts: tuple[str, ...] = LAYOUTS
    body: dict[str, float] = field(default_factory=dict)


def _no_collapse_term(s: TrainSettings) -> TrainSettings:
    return replace(s, covariance=0.0, within=0.0, everywhere=0.0)


TRAININGS = {
    "jepa": Training(short=False),
    "short": Training(),
    "no_anti_collapse": Training(_no_collapse_term),
    "no_idm": Training(lambda s: replace(s, inverse_dynamics=0.0)),
    "one_step": Training(lambda s: replace(s, batch=BatchShape(12, 8, 3), horizon=1)),
    "fp32": Training(lambda s: replace(s, precision="fp32")),
    "reconstruction": Training(trainer=ReconstructionTrainer),
    "data_1_2": Training(share=1 / 2),
    "data_1_4": Training(share=1 / 4),
    "data_1_8": Training(share=1 / 8),
}
NO_LIMIT = {"contact_limit": 1.0}
ROWS = {
    "random": Row("random actions", "random"),
    "oracle": Row("search with the oracle's model", "oracle"),
    "jepa": Row("jepa, search", "planner", "jepa"),
    "fp32_search": Row("jepa, search in fp32 instead of bf16", "planner", "jepa", SearchConfig(dtype="float32")),
    "no_limit": Row("jepa, search, no contact limit", "planner", "jepa", layouts=("blocked",), body=NO_LIMIT),
    "blind_gate": Row("jepa, search; gate without lidar", "planner", "jepa", scan=False, layouts=("blocked",)),
    "blind_gate_no_limit": Row(
        "jepa, search, no contact limit; gate without lidar", "planner", "jepa", scan=False, layouts=("blocked",),
        body=NO_LIMIT,
    ),
    "inverse": Row("inverse model on its latents, no search", "inverse", "jepa"),
    "bc": Row("behaviour cloning on its latents", "bc", "jepa"),
    "bc_pixels": Row("behaviour cloning from pixels", "bc_pixels", "jepa"),
    "short": Row("jepa, short", "planner", "short", layouts=ABLATION),
    "no_anti_collapse": Row("short, without anti-collapse", "planner", "no_anti_collapse", layouts=ABLATION),
    "no_idm": Row("short, without inverse dynamics", "planner", "no_idm", layouts=ABLATION),
    "one_step": Row("short, one-step prediction", "planner", "one_step", layouts=ABLATION),
    "fp32": Row("short, fp32 instead of bf16", "planner", "fp32", layouts=ABLATION),
    "reconstruction": Row("short, pixel reconstruction", "planner", "reconstruction", layouts=ABLATION),
    "data_1_2": Row("short, 1/2 of the data", "planner", "data_1_2", layouts=ABLATION),
    "data_1_4": Row("short, 1/4 of the data", "planner", "data_1_4", layouts=ABLATION),
    "data_1_8": Row("short, 1/8 of the data", "planner", "data_1_8", layouts=ABLATION),
}


def subset(data: Dataset, share: float) -> Dataset:
    """The first episodes of a dataset."""
    part = copy.copy(data)
    part.index = data.index[: max(2, round(share * len(data)))]
    return part


def trained(name: str, seed: int, data: Dataset, out: Path, args: argparse.Namespace) -> Path:
    """The folder of a training; trained, or trained on, where that is needed."""
    folder, training = out / "models" / f"{name}_{seed}", TRAININGS[name]
    steps = (args.short_steps, args.short_readout_steps) if training.short else (args.steps, args.readout_steps)
    settings = training.change(replace(TrainSettings(), seed=seed, steps=steps[0], readout_steps=steps[1]))
    part = subset(data, training.share)
    if (folder / CARD).exists():
        _check_same(folder, load_card(folder), settings, part)
        return folder
    config = config_for(part, settings)
    with Progress() as progress:
        train(
            part, folder, settings, config, choose_device("auto"), "jepa-ros bench worlds", progress, training.trainer
        )
    return folder


def _check_same(folder: Path, card: dict[str, Any], settings: TrainSettings, data: Dataset) -> None:
    """Refuse a model that is there but was not trained as it would be now; what its card does not tell is let pass."""
    wanted = {**json.loads(json.dumps(settings.to_dict())), "folder": data.name, "episodes": len(data)}
    found = {**card.get("settings", {}), **{k: card.get("data", {}).get(k) for k in ("folder", "episodes")}}
    for key, value in wanted.items():
        if found.get(key) not in (None, value):
            raise JepaRosError(
                f"{folder} was trained with {key} {found[key]}, asked for is {value}: take another --out, or remove it"
            )


def prepared(row: Row, seed: int, data: Dataset, out: Path, args: argparse.Namespace) -> Path | None:
    """The folder of the model that a row's policy needs, None where it needs none."""
    if not row.training:
        return None
    base = trained(row.training, seed, data, out, args)
    if row.policy not in KINDS:
        return base
    folder = out / "models" / f"{row.policy}_{seed}"
    if not (folder / META).exists():
        print(f"training {row.title}, seed {seed}", flush=True)
        train_baseline(row.policy, data, base, folder, seed, args.policy_steps, device=choose_device("auto"))
    return folder


def score(name: str, seed: int, layout: str, folder: Path | None, data: Dataset, out: Path, args: Any) -> None:
    """Score a row on the pairs of a layout, unless that was done."""
    path = out / "scores" / f"{name}_{seed}_{layout}.json"
    about = {"protocol": PROTOCOL, "episodes": args.episodes, "pairs_seed": PAIRS_SEED, "layout": layout}
    about["settle"] = SETTLE
    about["model_id"] = model_id(load_card(folder)) if folder else None
    if ROWS[name].policy in ("planner", "oracle"):
        row = ROWS[name]
        about |= {"search": json.loads(json.dumps(asdict(row.search))), "scan": row.scan, "body": row.body}
    if path.exists() and json.loads(path.read_text(encoding="utf-8"))["about"] == about:
        return
    policy, search, scan, body = ROWS[name].policy, ROWS[name].search, ROWS[name].scan, ROWS[name].body
    settings = EvalSettings(args.episodes, PAIRS_SEED, search=search, scan=scan, settle=SETTLE, body=body)
    assignment = Assignment.of(ArenaWorld(), data.contract, layout, {"randomise": layout != "fixed"})
    results, _ = evaluate(assignment, str(folder) if folder else None, settings, (policy,), args.workers, 1)
    rows = results[policy]
    write_json(
        path, {"about": about, "scores": [r["score"] for r in rows], "plan_s": [v for r in rows for v in r["plan"]]}
    )


def gather(out: Path, rows: list[str], seeds: list[int]) -> dict[str, Any]:
    """Everything that was scored so far: the content of `worlds.json`."""
    report: dict[str, Any] = {"benchmark": "worlds", "version": 1, "protocol": PROTOCOL, "rows": {}}
    for name in rows:
        row: dict[str, Any] = {"title": ROWS[name].title, "layouts": {}, "trainings": []}
        for seed in seeds if ROWS[name].training else [0]:
            card = out / "models" / f"{ROWS[name].training}_{seed}" / "card.json"
            if ROWS[name].training and card.exists():
                row["trainings"].append(_about(json.loads(card.read_text(encoding="utf-8"))))
        for layout in LAYOUTS:
            paths = [
                out / "scores" / f"{name}_{seed}_{layout}.json" for seed in (seeds if ROWS[name].training else [0])
            ]
            found = [json.loads(p.read_text(encoding="utf-8")) for p in paths if p.exists()]
            if found:
                scores = [s for f in found for s in f["scores"]]
                row["layouts"][layout] = {**rates(scores), "training_seeds": len(found)}
                obstructed = [s for s in scores if s["blocked"]]
                if 0 < len(obstructed) < len(scores):
                    row["layouts"][layout]["blocked"] = rates(obstructed)
        report["rows"][name] = row
    return report


def _about(card: dict[str, Any]) -> dict[str, Any]:
    data = card["data"]
    return {
        "seed": card["settings"]["seed"],
        "steps": card["settings"]["steps"],
        "training_seconds": card["training_seconds"],
        "parameters": card["parameters"],
        "robot_minutes": data["robot_minutes"],
        "robot_minutes_with_resets": round(data["robot_minutes"] + data["episodes"] * RESET_SECONDS / 60.0, 1),
        "probe_r2": card["metrics"]["probe_r2"],
        "ratio_12": card["metrics"]["open_loop"].get("ratio_12"),
    }


def markdown(report: dict[str, Any]) -> str:
    """The table; a cell is success without contact in percent, its interval, and how many episodes stand behind it."""
    places: dict[str, Callable[[dict[str, Any]], dict[str, Any] | None]] = {
        "fixed layout": lambda found: found.get("fixed"),
        "random layouts": lambda found: found.get("random"),
        "of these blocked": lambda found: found.get("random", {}).get("blocked"),
        "blocked alone": lambda found: found.get("blocked"),
    }
    shown = {k: v for k, v in places.items() if any(v(row["layouts"]) for row in report["rows"].values())}
    head = ["", "data [min]", "training [min]", *shown]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for row in report["rows"].values():
        trainings = row["trainings"]
        minutes = f"{trainings[0]['robot_minutes_with_resets']:.0f}" if trainings else "-"
        spent = f"{sum(t['training_seconds'] for t in trainings) / len(trainings) / 60:.0f}" if trainings else "-"
        cells = [_cell(part(row["layouts"])) for part in shown.values()]
        lines.append("| " + " | ".join([row["title"], minutes, spent, *cells]) + " |")
    lines += [
        "",
        "Success means: within 0.10 m of the goal for the whole last second, without contact. Intervals are 95 % "
        f"Wilson intervals; n counts episodes over all trainings. Data is the robot's time, with {RESET_SECONDS:g} s "
        "for each reset. 80 % of it was driven on random layouts of the same generator, the rest on the fixed one; "
        "the random layouts of these episodes are new. 'Blocked': an obstacle is on the straight way. Rows marked "
        "short were scored on random layouts only; compare them with 'jepa, short'.",
    ]
    return "\n".join(lines) + "\n"


def _cell(found: dict[str, Any] | None) -> str:
    if found is None or not math.isfinite(found["success_no_contact_rate"]):
        return "-"
    low, high = found["success_no_contact_rate_ci95"]
    return f"{100 * found['success_no_contact_rate']:.0f} ({100 * low:.0f}..{100 * high:.0f}), n {found['episodes']}"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--data", type=Path, help="dataset of 'jepa-ros collect'; without it nothing is done")
    parser.add_argument(
        "--out", type=Path, default=Path("runs/worlds"), help="models and scores (default: %(default)s)"
    )
    parser.add_argument("--rows", default=",".join(ROWS), help="comma-separated (default: all)")
    parser.add_argument("--seeds", default="0,1,2", help="seeds of the trainings (default: %(default)s)")
    parser.add_argument("--layouts", default=",".join(LAYOUTS), help="comma-separated (default: %(default)s)")
    parser.add_argument("--episodes", type=int, default=100, help="pairs a seed and layout (default: %(default)s)")
    parser.add_argument(
        "--steps", type=int, default=TrainSettings().steps, help="steps of a full training (default: %(default)s)"
    )
    parser.add_argument(
        "--readout-steps", type=int, default=TrainSettings().readout_steps, help="(default: %(default)s)"
    )
    parser.add_argument("--short-steps", type=int, default=1200, help="steps of short trainings (default: %(default)s)")
    parser.add_argument(
        "--short-readout-steps", type=int, default=1000, help="readout steps of short ones (default: %(default)s)"
    )
    parser.add_argument(
        "--policy-steps", type=int, default=20_000, help="at most, for the baselines (default: %(default)s)"
    )
    parser.add_argument(
        "--workers", type=positive, default=usable_cores(), help="processes that score (default: %(default)s)"
    )
    add_json(parser, "write worlds.json there too")


def _names(text: str, known: Any, option: str) -> list[str]:
    names = [n.strip() for n in text.split(",") if n.strip()]
    if not names or set(names) - set(known):
        raise JepaRosError(f"{option} {text}: expected some of {', '.join(known)}")
    return names


def main(args: argparse.Namespace) -> int:
    """Train, score, and write the table."""
    if args.data is None:
        print("worlds: trainings take hours, and are only begun with --data DATASET (made by 'jepa-ros collect')")
        return 0
    rows, layouts = _names(args.rows, ROWS, "--rows"), _names(args.layouts, LAYOUTS, "--layouts")
    if not all(s.strip().isdigit() for s in args.seeds.split(",")):
        raise JepaRosError(f"--seeds {args.seeds}: expected whole numbers, separated by commas")
    seeds = [int(s) for s in args.seeds.split(",")]
    data = Dataset(args.data, min_length=TrainSettings().horizon + 2)
    torch.set_num_threads(usable_cores())
    for seed in seeds:  # all rows with the first seed before any with the second: a stopped run has a whole table
        for name in rows:
            if seed != seeds[0] and not ROWS[name].training:
                continue
            folder = prepared(ROWS[name], seed, data, args.out, args)
            for layout in [v for v in layouts if v in ROWS[name].layouts]:
                score(name, seed, layout, folder, data, args.out, args)
                report = gather(args.out, rows, seeds)
                write_json(args.out / "worlds.json", report)
                write_text(args.out / "worlds.md", markdown(report))
    print(markdown(report))
    if args.json is not None:
        write_json(args.json, report)
    return 0
