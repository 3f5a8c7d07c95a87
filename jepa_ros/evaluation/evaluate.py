# SPDX-License-Identifier: Apache-2.0
"""``jepa-ros eval``: success of the whole loop, gate included, beside random and oracle on the same pairs."""

from __future__ import annotations

import argparse
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from jepa_ros.agent.loop import Loop
from jepa_ros.commands.options import number, positive, refuse_given, seed
from jepa_ros.contract import RobotContract, load_contract
from jepa_ros.cost.goal import Goal
from jepa_ros.cost.risk import read_risk
from jepa_ros.errors import JepaRosError
from jepa_ros.evaluation.baselines import KINDS as BASELINES
from jepa_ros.evaluation.baselines import ReachPolicy, load_head
from jepa_ros.evaluation.oracle import OracleModel
from jepa_ros.evaluation.statistics import percentiles_ms, wilson
from jepa_ros.files import add_json, write_json
from jepa_ros.learning.data.episodes import PROTOCOL, SCENES, TIME_LIMIT, EpisodeScore, EpisodeSpec, Scorer, make_spec
from jepa_ros.learning.gym_collect import add_env_arguments
from jepa_ros.learning.policies import PlannerPolicy, RandomPolicy, StatePolicy
from jepa_ros.perception import Perception
from jepa_ros.planar.goals import pose_goal
from jepa_ros.planning.config import SearchConfig
from jepa_ros.planning.planner import Planner, PlannerConfig
from jepa_ros.processor import usable_cores
from jepa_ros.progress import Progress
from jepa_ros.safety.config import watched
from jepa_ros.safety.gate import Gate, GateConfig
from jepa_ros.workers import worker_pool
from jepa_ros.world_model import load_checkpoint, model_id, resolve_model

POLICIES = ("planner", "random", "oracle")
#: No deadline while scoring: the search always runs its full iterations, so that a score does not depend on how busy
#: the machine is. How long plans take is reported.
NO_DEADLINE = 60.0


@dataclass(frozen=True)
class EvalSettings:
    """What is scored.

    Attributes:
        episodes, seed: how many pairs, and what they are drawn from.
        layout: of :data:`~jepa_ros.learning.data.episodes.SCENES`; all but ``fixed`` never trained on.
        randomise: look and dynamics drawn anew.
        goal: ``image`` or ``pose``. search: of planner and oracle.
        scan: the gate sees the lidar. Without it only the planner keeps the robot from touching things.
        watch: the gate slows and stops the planner for surprise and novelty, at the levels of the model card.
        settle: seconds of holding the goal after which an episode ends; 0 plays every one to its time limit.
    """

    episodes: int = 100
    seed: int = 0
    layout: str = "fixed"
    randomise: bool = False
    goal: str = "image"
    search: SearchConfig = field(default_factory=SearchConfig)
    scan: bool = True
    watch: bool = False
    settle: float = 0.0


def make_policy(kind: str, contract: RobotContract, sim: Any, spec: EpisodeSpec, settings: EvalSettings, loaded: Any):
    """Build a policy for one episode; the goal image is what the camera would see with the robot at the goal."""
    if kind == "random":
        return RandomPolicy(contract, np.random.default_rng([spec.seed, 3]))
    config = PlannerConfig(search=replace(settings.search, deadline=NO_DEADLINE, seed=spec.seed % 2**31))
    if kind == "oracle":
        oracle = OracleModel(contract, sim.layout, spec.goal)
        planner = Planner(oracle, contract, config)
        planner.set_goal(Goal.from_latent(oracle.encode_state(*spec.goal)))

        def read() -> np.ndarray:
            truth = sim.truth()
            return oracle.encode_state(truth.x, truth.y, truth.yaw)

        return StatePolicy(planner, read)
    model, card, folder = loaded
    if kind in BASELINES:
        return ReachPolicy(contract, model, load_head(folder, model.config), sim.image_at(spec.goal))
    perception = Perception(model, contract)
    planner = Planner(model, contract, config, card=card)
    goal = (
        pose_goal(*spec.goal)
        if settings.goal == "pose"
        else Goal.from_latent(perception.encode(sim.image_at(spec.goal)))
    )
    planner.set_goal(goal)
    return PlannerPolicy(perception, planner)


def run_episode(
    kind: str, contract: RobotContract, spec: EpisodeSpec, settings: EvalSettings, loaded: Any
) -> dict[str, Any]:
    """Run one episode in-process and score it.

    Returns:
        ``score`` (:class:`EpisodeScore` as plain data), and lists of seconds and iterations a plan.
    """
    from jepa_ros_sim.arena import ArenaSim, SceneConfig

    with ArenaSim(contract, SceneConfig(layout=spec.layout, randomise=spec.randomise, **dict(spec.scene))) as sim:
        sim.reset(spec.seed, layout_seed=spec.layout_seed, start=spec.start)
        policy = make_policy(kind, contract, sim, spec, settings, loaded)
        levels = watched(loaded[1]) if settings.watch and kind == "planner" else {}
        gate = Gate(GateConfig.from_contract(contract, auto_enable=True, **levels))
        loop = Loop(contract, sim, policy, gate, scan=settings.scan)
        scorer = Scorer(spec, contract)
        plan, encode, iterations = [], [], []
        begun, touches = sim.time, sim.truth().contact_steps
        for _ in range(round(TIME_LIMIT * contract.rate)):
            record = loop.step()
            truth = sim.truth()
            info = record.decision.info
            status = {} if info is None else info.status
            if "elapsed_s" in status:
                plan.append(float(status["elapsed_s"]))
                encode.append(policy.encode_seconds)
                iterations.append(int(status["iterations"]))
            scorer.add(
                sim.time - begun,
                truth.x,
                truth.y,
                truth.yaw,
                truth.contact_steps > touches,
                bool(status.get("arrived")),
                "STOPPED" in record.modes,
            )
            touches = truth.contact_steps
            if settings.settle and scorer.held(settings.settle):
                break
    return {"score": scorer.score().to_dict(), "plan": plan, "encode": encode, "iterations": iterations}


_worker: dict[str, Any] = {}


def _start_worker(contract: dict[str, Any], model: str | None, threads: int) -> None:
    torch.set_num_threads(threads)
    _worker["contract"] = RobotContract.from_dict(contract)
    _worker["loaded"] = (*load_checkpoint(model, _worker["contract"]), resolve_model(model)) if model else None


def _work(job: tuple[str, EpisodeSpec, EvalSettings]) -> tuple[str, dict[str, Any]]:
    kind, spec, settings = job
    return kind, run_episode(kind, _worker["contract"], spec, settings, _worker["loaded"])


def evaluate(
    contract: RobotContract,
    model: str | None,
    settings: EvalSettings,
    policies: tuple[str, ...] = POLICIES,
    workers: int = 1,
    threads: int = 1,
) -> dict[str, Any]:
    """Score policies on the same pairs.

    Args:
        model: checkpoint folder or shipped name; may be None when no policy needs one.
        policies: of :data:`POLICIES`, and those of :mod:`~jepa_ros.evaluation.baselines` whose folder ``model`` is.
        workers: processes, each with ``threads`` torch threads.

    Returns:
        {policy: [one result of :func:`run_episode` an episode, in order]}.
    """
    specs = [make_spec(i, settings.seed, settings.layout, settings.randomise) for i in range(settings.episodes)]
    jobs = [(kind, spec, settings) for kind in policies for spec in specs]
    results: dict[str, list[dict[str, Any]]] = {kind: [] for kind in policies}
    given = (contract.to_dict(), model, threads)
    with Progress(keep=False) as progress, worker_pool(workers, "eval", _start_worker, given, threads) as pool:
        bars = {kind: progress.task(kind, len(specs)) for kind in policies}
        for kind, result in pool.results(_work, jobs):
            results[kind].append(result)
            bars[kind].advance()
    return results


def rates(scores: list[dict[str, Any]]) -> dict[str, Any]:
    """Shares over episodes, with Wilson intervals where a target stands on them."""
    n = len(scores)

    def share(test) -> tuple[int, float]:
        k = sum(bool(test(s)) for s in scores)
        return k, (k / n if n else float("nan"))

    judged = [s["guardrail_violations"] for s in scores if s["guardrail_violations"] is not None]
    success, clean = share(lambda s: s["success"]), share(lambda s: s["success"] and not s["contact"])
    return {
        "episodes": n,
        "success_rate": success[1],
        "success_rate_ci95": list(wilson(success[0], n)),
        "success_no_contact_rate": clean[1],
        "success_no_contact_rate_ci95": list(wilson(clean[0], n)),
        "ever_rate": share(lambda s: s["ever"])[1],
        "heading_rate": share(lambda s: s["heading"])[1],
        "false_arrival_rate": share(lambda s: s["false_arrival"])[1],
        "collision_rate": share(lambda s: s["contact"])[1],
        "guardrail_violations": sum(judged) if judged else None,
        "stopped_share": float(np.mean([s["stopped_share"] for s in scores])) if n else float("nan"),
    }


def summarise(
    contract: RobotContract,
    model: str,
    card_id: str,
    settings: EvalSettings,
    results: dict[str, list[dict[str, Any]]],
    workers: int,
    threads: int,
) -> dict[str, Any]:
    """The report that ``--json`` writes; DESIGN's keys first."""
    scores = {kind: [r["score"] for r in rows] for kind, rows in results.items()}
    main = results.get("planner", [])
    # What stands beside "model" is the model's; without it these are empty, whatever another policy did.
    own = rates([r["score"] for r in main]) if main else dict.fromkeys(rates([])) | {"episodes": settings.episodes}
    iterations = [v for r in main for v in r["iterations"]]
    report: dict[str, Any] = {
        "protocol": PROTOCOL,
        "robot": contract.name,
        "model": model,
        "model_id": card_id,
        "seed": settings.seed,
        "layout": settings.layout,
        "randomise": settings.randomise,
        "goal": settings.goal,
        "scan": settings.scan,
        "watch": settings.watch,
        "contact_limit": settings.search.contact_limit,
        "noise_samples": settings.search.noise_samples,
        "risk": asdict(settings.search.risk),
        "weights": asdict(settings.search.weights),
        **own,
        **{f"{kind}_success_rate": None for kind in ("random", "oracle")},
        "plan_ms": percentiles_ms([v for r in main for v in r["plan"]]),
        "encode_ms": percentiles_ms([v for r in main for v in r["encode"]]),
        "iterations": float(np.mean(iterations)) if iterations else None,
        "workers": workers,
        "threads": threads,
        "policies": {kind: rates(rows) for kind, rows in scores.items()},
        "scores": scores,
    }
    for kind in ("random", "oracle"):
        if kind in scores:
            report[f"{kind}_success_rate"] = report["policies"][kind]["success_rate"]
    for kind, rows in scores.items():
        for name, wanted in (("blocked", True), ("free", False)):
            part = [s for s in rows if s["blocked"] is wanted]
            if part:
                report["policies"][kind][name] = rates(part)
    return report


def print_table(report: dict[str, Any], console: Console) -> None:
    """The report for people."""
    table = Table(
        title=f"{report['robot']}, {report['layout']} layout, {report['episodes']} episodes, {report['goal']} goal"
    )
    for column in (
        "",
        "n",
        "arrive and hold",
        "95 %",
        "no contact",
        "95 %",
        "ever",
        "heading",
        "contact",
        "false arrival",
    ):
        table.add_column(column, justify="left" if not column else "right")

    def row(name: str, r: dict[str, Any]) -> None:
        low, high = r["success_rate_ci95"]
        clow, chigh = r["success_no_contact_rate_ci95"]
        table.add_row(
            name,
            str(r["episodes"]),
            f"{r['success_rate']:.1%}",
            f"{low:.1%}..{high:.1%}",
            f"{r['success_no_contact_rate']:.1%}",
            f"{clow:.1%}..{chigh:.1%}",
            f"{r['ever_rate']:.1%}",
            f"{r['heading_rate']:.1%}",
            f"{r['collision_rate']:.1%}",
            f"{r['false_arrival_rate']:.1%}",
        )

    for kind, r in report["policies"].items():
        row(kind, r)
        for part in ("free", "blocked"):
            if part in r:
                row(f"  {part} way", r[part])
    console.print(table)
    p, e = report["plan_ms"], report["encode_ms"]
    if report["iterations"] is not None:
        console.print(
            f"plan p50 {p['p50']:.1f} ms, p99 {p['p99']:.1f} ms ({report['iterations']:.1f} iterations); "
            f"encode p50 {e['p50']:.1f} ms, "
            f"p99 {e['p99']:.1f} ms; {report['workers']} processes x {report['threads']} threads"
        )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("--robot", default="arena", help="contract: a name or a YAML file (default: %(default)s)")
    parser.add_argument(
        "--model", default=None, help="checkpoint: a folder or a shipped name (default: the robot's name)"
    )
    parser.add_argument("--episodes", type=positive, default=100, help="pairs (default: %(default)s)")
    parser.add_argument("--seed", type=seed, default=0, help="of the pairs (default: %(default)s)")
    parser.add_argument("--layout", choices=tuple(SCENES), default="fixed", help="obstacles (default: %(default)s)")
    parser.add_argument(
        "--randomise", action="store_true", help="draw lighting, colours, camera, slip and latency anew each episode"
    )
    parser.add_argument(
        "--goal", choices=("image", "pose"), default="image", help="how the goal is given (default: %(default)s)"
    )
    parser.add_argument(
        "--policies",
        default=None,
        help=f"comma-separated (default: {','.join(POLICIES)}; with --env: planner,random,replay)",
    )
    parser.add_argument("--workers", type=positive, default=usable_cores(), help="processes (default: %(default)s)")
    parser.add_argument("--threads", type=positive, default=1, help="torch threads a process (default: %(default)s)")
    parser.add_argument(
        "--horizon", type=positive, default=SearchConfig().horizon, help="steps of a plan (default: %(default)s)"
    )
    parser.add_argument(
        "--samples",
        type=positive,
        default=SearchConfig().samples,
        help="candidates an iteration (default: %(default)s)",
    )
    parser.add_argument(
        "--iterations", type=positive, default=SearchConfig().iterations, help="of the search (default: %(default)s)"
    )
    parser.add_argument(
        "--contact-limit",
        type=number(0.0, 1.0),
        default=SearchConfig().contact_limit,
        help="highest chance of contact that a plan may take; 1 does not ask (default: %(default)s)",
    )
    parser.add_argument(
        "--noise-samples",
        type=positive,
        default=SearchConfig().noise_samples,
        help="futures drawn for each candidate (default: %(default)s: the most likely one)",
    )
    parser.add_argument(
        "--risk", default="mean", help="how their costs become one: mean, worst, 'cvar 0.25' (default: %(default)s)"
    )
    parser.add_argument(
        "--no-scan", action="store_true", help="the gate does not see the lidar: what the planner's own care is worth"
    )
    parser.add_argument(
        "--watch", action="store_true", help="the gate slows and stops the planner for surprise and novelty"
    )
    add_json(parser)
    group = add_env_arguments(parser, "the model's")
    group.add_argument(
        "--tolerance",
        type=number(above=True),
        default=0.15,
        help="success: distance to the goal's state, in spreads of the states (default: %(default)s)",
    )
    group.add_argument("--limit", type=positive, help="steps of an episode (default: the environment's own, or 100)")


def main(args: argparse.Namespace) -> int:
    """Run the command."""
    search = replace(
        SearchConfig(),
        horizon=args.horizon,
        samples=args.samples,
        iterations=args.iterations,
        contact_limit=args.contact_limit,
        noise_samples=args.noise_samples,
        risk=read_risk(args.risk),
    )
    if args.env:
        ours = ("robot", "layout", "randomise", "goal", "no_scan", "watch", "contact_limit")
        refuse_given(args, add_arguments, ours, "is of our own arena, and does nothing with --env")
        from jepa_ros.learning import gym_eval

        return gym_eval.main(args, search)
    refuse_given(args, add_arguments, ("env_args", "action_repeat", "tolerance", "limit"), "does nothing without --env")
    names = ",".join(POLICIES) if args.policies is None else args.policies
    policies = tuple(p.strip() for p in names.split(",") if p.strip())
    unknown = sorted(set(policies) - set(POLICIES))
    if unknown or not policies:
        raise JepaRosError(
            f"--policies: {', '.join(unknown) or 'nothing'} found; expected some of {', '.join(POLICIES)}"
        )
    contract = load_contract(args.robot)
    model = args.model or contract.name
    settings = EvalSettings(
        args.episodes, args.seed, args.layout, args.randomise, args.goal, search, not args.no_scan, args.watch
    )
    # Loaded here too, so that a bad checkpoint is one clear error and not one of a worker.
    card = load_checkpoint(model, contract)[1] if "planner" in policies else None
    if args.watch and card and not (card.get("calibration") or {}).get("vigilance"):
        raise JepaRosError(f"--watch: {model} cannot tell surprise: jepa-ros train ... --out {model} --add-vigilance")
    results = evaluate(contract, model if card else None, settings, policies, args.workers, args.threads)
    named = (model, model_id(card)) if card else ("", "")
    report = summarise(contract, *named, settings, results, args.workers, args.threads)
    print_table(report, Console(width=140))
    if args.json is not None:
        write_json(args.json, report)
    return 0


__all__ = ["EpisodeScore", "EvalSettings", "evaluate", "rates", "summarise"]
