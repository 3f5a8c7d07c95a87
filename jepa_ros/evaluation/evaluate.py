# SPDX-License-Identifier: Apache-2.0
"""``jepa-ros eval``: success of the whole loop, gate included, beside chance and those who know more."""

from __future__ import annotations

import argparse
import contextlib
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from jepa_ros.cluster import add_ray
from jepa_ros.cost.risk import read_risk
from jepa_ros.cost.task import FINAL, TaskWeights
from jepa_ros.errors import JepaRosError
from jepa_ros.evaluation.baselines import baseline_in
from jepa_ros.evaluation.episode import SEEING, EvalSettings, run_episode
from jepa_ros.evaluation.kept import Kept
from jepa_ros.evaluation.report import print_table, summarise
from jepa_ros.evaluation.tour import driver_of
from jepa_ros.files import add_json, new_file, write_json
from jepa_ros.options import number, positive, refuse_given, seed, whole
from jepa_ros.planning.bodies import settings_for
from jepa_ros.planning.config import STOPS, SearchConfig
from jepa_ros.planning.deliberate.settings import WHEN, DeliberateConfig
from jepa_ros.processor import usable_cores
from jepa_ros.progress import Progress
from jepa_ros.workers import worker_pool
from jepa_ros.world_model import load_checkpoint, model_id, resolve_model
from jepa_ros.world_model.checkpoint import load_card
from jepa_ros.worlds.assignment import Assignment
from jepa_ros.worlds.choose import add_world_arguments, assign, choose, json_object

#: Policies of every task, beside its own references.
POLICIES = ("planner", "random")

_worker: dict[str, Any] = {}


def _start_worker(assignment: Assignment, settings: EvalSettings, model: str | None, threads: int) -> None:
    torch.set_num_threads(threads)
    _worker.clear()
    _worker.update(assignment=assignment, settings=settings, model=model)


def _work(job: tuple[int, tuple[str, ...]]) -> tuple[int, dict[str, dict[str, Any]], dict[str, Any]]:
    number, kinds = job
    assignment, settings, model = _worker["assignment"], _worker["settings"], _worker["model"]
    if "scene" not in _worker:  # here and not at the start, so that what goes wrong comes back as an error
        _worker["scene"], _worker["task"] = assignment.open()
        contract = _worker["scene"].contract
        _worker["loaded"] = (*load_checkpoint(model, contract), resolve_model(model)) if model else None
    scene, task, loaded, gated = _worker["scene"], _worker["task"], _worker["loaded"], assignment.world.gated
    spec = task.draw(scene, settings.seed, number)
    return number, {k: run_episode(k, scene, task, spec, settings, loaded, gated) for k in kinds}, task.describe()


def evaluate(
    assignment: Assignment,
    model: str | None,
    settings: EvalSettings,
    policies: tuple[str, ...],
    workers: int = 1,
    threads: int = 1,
    ray: str | None = None,
    kept: Path | None = None,
) -> tuple[dict[str, list[dict[str, Any]]], dict[str, Any]]:
    """Score policies on the same episodes.

    Args:
        assignment: what is to be done, and where.
        model: checkpoint folder or shipped name; may be None when no policy needs one.
        policies: ``planner``, ``random``, the task's references, and those of
            :mod:`~jepa_ros.evaluation.baselines` whose folder ``model`` is.
        workers: processes, each with ``threads`` torch threads. ray: address of a cluster in their place.
        kept: file that finished episodes are kept in; those that it has are not played again.

    Returns:
        {policy: [one result of :func:`~jepa_ros.evaluation.episode.run_episode` an episode, in order]}, and what the
        task says of itself.
    """
    given = (assignment, settings, model, threads)
    with Kept(kept, what_is_scored(assignment, model, settings, policies)) as finished:
        todo = [n for n in range(settings.episodes) if n not in finished.episodes]
        pools = worker_pool(workers, "eval", _start_worker, given, threads, ray)
        with Progress(keep=False) as progress, pools if todo else contextlib.nullcontext() as pool:
            bar = progress.task("episodes", settings.episodes, done=settings.episodes - len(todo))
            answers = pool.results(_work, [(n, policies) for n in todo], ordered=False) if pool is not None else ()
            for number, rows, described in answers:
                finished.add(number, rows, described)
                bar.advance()
        played = [finished.episodes[n] for n in range(settings.episodes)]
    return {kind: [rows[kind] for rows in played] for kind in policies}, finished.described


def what_is_scored(
    assignment: Assignment, model: str | None, settings: EvalSettings, policies: tuple[str, ...]
) -> dict[str, Any]:
    """All that finished episodes follow from, as plain data."""
    weights = load_card(resolve_model(model))["weights_sha256"] if model else None
    scored = {name: value for name, value in asdict(settings).items() if name != "episodes"}
    plain = {
        "world": assignment.world.name, "robot": assignment.robot, "task": assignment.task,
        "options": dict(assignment.options), "weights": weights, "settings": scored, "policies": list(policies),
    }  # fmt: skip
    return json.loads(json.dumps(plain, default=str))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    env = add_world_arguments(parser, "the model's")
    parser.add_argument("--model", default=None, help="checkpoint: a folder or a shipped name (default: the robot's)")
    parser.add_argument("--episodes", type=positive, default=100, help="number of episodes (default: %(default)s)")
    parser.add_argument("--seed", type=seed, default=0, help="seed of the episodes (default: %(default)s)")
    parser.add_argument("--layout", metavar="NAME", help="in the arena, the same as --task: its obstacles")
    parser.add_argument(
        "--randomise", action="store_true", default=None,
        help="random lighting, colours, camera pose, slip and latency in each episode",
    )  # fmt: skip
    parser.add_argument(
        "--distractors", type=whole(0), metavar="N", help="objects on the table that have no part in the task"
    )
    parser.add_argument(
        "--goal",
        choices=("image", "pose", "tip"),
        default="image",
        help="how the goal is given: as a picture, or in numbers (default: %(default)s)",
    )
    parser.add_argument(
        "--policies",
        default=None,
        help=f"comma-separated (default: {','.join(POLICIES)}, oracle or replay, and inverse if the checkpoint has one "
        "from 'train --only inverse')",
    )
    parser.add_argument("--workers", type=positive, default=usable_cores(), help="processes (default: %(default)s)")
    parser.add_argument("--threads", type=positive, default=1, help="torch threads per process (default: %(default)s)")
    parser.add_argument(
        "--horizon", type=positive, default=SearchConfig().horizon, help="steps of a plan (default: %(default)s)"
    )
    parser.add_argument(
        "--samples",
        type=positive,
        default=SearchConfig().samples,
        help="candidates per iteration (default: %(default)s)",
    )
    parser.add_argument(
        "--iterations",
        type=positive,
        default=SearchConfig().iterations,
        help="iterations of the search (default: %(default)s)",
    )
    parser.add_argument(
        "--contact-limit",
        type=number(0.0, 1.0),
        help="planar robots: highest probability of contact allowed in a plan; 1: no limit (default: 0.5)",
    )
    parser.add_argument(
        "--noise-samples",
        type=positive,
        default=SearchConfig().noise_samples,
        help="futures drawn for each candidate (default: %(default)s: the most likely one)",
    )
    parser.add_argument(
        "--risk",
        default="mean",
        help="how the futures' costs are combined: mean, worst, 'cvar 0.25' (default: %(default)s)",
    )
    parser.add_argument(
        "--stop", choices=STOPS, default=SearchConfig().stop,
        help="what ends a search early: its cost, or a plan that reaches the goal (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--deliberate", choices=WHEN, default=DeliberateConfig().when,
        help="when to search deliberately, with a model that has the readout 'way' (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--weights", type=weights, default=TaskWeights(), metavar="NAME=VALUE,...",
        help="weights of the cost terms, such as steps=0,latent=1 (default: each term's own)",
    )  # fmt: skip
    parser.add_argument(
        "--no-scan", action="store_true", help="the gate does not get the lidar, to test the planner alone"
    )
    parser.add_argument("--watch", action="store_true", help="the gate slows down and stops at surprise and novelty")
    parser.add_argument(
        "--tour", type=number(0.0), default=0.0, metavar="SECONDS",
        help="before each episode, drive the robot through its surroundings for so long, with the planner's memory on; "
        "for tasks that have a tour (default: %(default)s)",
    )  # fmt: skip
    add_ray(parser)
    parser.add_argument(
        "--keep", type=new_file, metavar="FILE",
        help="keep finished episodes in this file; the same command resumes from it",
    )  # fmt: skip
    add_json(parser)
    env.add_argument(
        "--tolerance", type=number(above=True),
        help="distance to the goal that counts as success, in standard deviations of the states (default: 0.15)",
    )  # fmt: skip
    env.add_argument(
        "--limit", type=positive, help="control steps per episode (default: the environment's own, or 100)"
    )
    env.add_argument(
        "--goals", choices=("rollouts", "resets", "given"),
        help="where goals come from: random rollouts, other resets, or the environment itself (default: rollouts)",
    )  # fmt: skip
    env.add_argument("--env-reset", metavar="JSON", help="options of the environment's reset in scored episodes")


def weights(text: str) -> TaskWeights:
    """Weights of cost terms as the command line has them.

    Raises:
        ValueError: a part is no NAME=VALUE. JepaRosError: see TaskWeights.
    """
    named = dict(part.split("=") for part in text.split(",") if part)
    values = {name.strip(): float(value) for name, value in named.items()}
    return TaskWeights(values.pop("final", FINAL), values)


#: Options of a task, as they stand in the command line.
TASK_OPTIONS = ("randomise", "distractors", "tolerance", "limit", "goals", "env_reset")


def chosen_policies(given: str | None, known: tuple[str, ...]) -> tuple[str, ...]:
    """The policies that ``--policies`` names; all without it."""
    names = known if given is None else tuple(p.strip() for p in given.split(",") if p.strip())
    unknown = sorted(set(names) - set(known))
    if unknown or not names:
        found = ", ".join(unknown) or "nothing"
        raise JepaRosError(f"--policies: {found} found; expected some of {', '.join(known)}")
    return names


def main(args: argparse.Namespace) -> int:
    """Run the command."""
    search = replace(
        SearchConfig(),
        horizon=args.horizon,
        samples=args.samples,
        iterations=args.iterations,
        noise_samples=args.noise_samples,
        risk=read_risk(args.risk),
        stop=args.stop,
        weights=args.weights,
    )
    args.env_reset = None if args.env_reset is None else json_object(args.env_reset, "--env-reset")
    trained = load_card(resolve_model(args.model)).get("data", {}).get("settings") if args.model else None
    choice = choose(args, True, TASK_OPTIONS, own_limit=args.limit is None, trained=trained)
    world = choice.world
    if not world.gated:
        why = f"does nothing in the world '{world.name}': it has no gate, and nothing to touch"
        refuse_given(args, add_arguments, ("no_scan", "watch", "contact_limit"), why)
    assignment = assign(args, choice)
    contract = assignment.contract
    own = args.env is not None or contract.name == world.contract().name  # and not a guest of the world
    model = args.model or (world.model if own else "")
    beside = baseline_in(resolve_model(model) if model else None)
    known = (*POLICIES, *world.task(choice.task, contract, choice.options).references, *beside)
    policies = chosen_policies(args.policies, known)
    seeing = any(policy in SEEING for policy in policies)
    if args.tour and "planner" not in policies:
        raise JepaRosError(f"--tour: only the planner remembers a tour, and --policies is {','.join(policies)}")
    if args.tour:
        driver_of(world.task(choice.task, contract, choice.options))
    if seeing and not model:
        raise JepaRosError(f"no model is shipped for {contract.name}: eval needs --model FOLDER, one trained on it")
    body = {} if args.contact_limit is None else {"contact_limit": args.contact_limit}
    settings_for(contract, body)  # here too, so that a body without it is one clear error
    settings = EvalSettings(
        args.episodes, args.seed, args.goal, search, not args.no_scan, args.watch,
        deliberate=DeliberateConfig(when=args.deliberate), body=body, tour=args.tour,
    )  # fmt: skip
    # Loaded here too, so that a bad checkpoint is one clear error and not one of a worker.
    card = load_checkpoint(model, contract)[1] if seeing else None
    if args.watch and card and not (card.get("calibration") or {}).get("vigilance"):
        raise JepaRosError(f"--watch: {model} cannot tell surprise: jepa-ros train ... --out {model} --only alarms")
    results, described = evaluate(
        assignment, model if card else None, settings, policies, args.workers, args.threads, args.ray, args.keep
    )
    named = (model, model_id(card)) if card else ("", "")
    report = summarise(assignment, described, *named, settings, results, args.workers, args.threads)
    print_table(report, Console(width=140))
    if args.json is not None:
        write_json(args.json, report)
    return 0
