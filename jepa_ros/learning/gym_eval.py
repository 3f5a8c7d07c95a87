# SPDX-License-Identifier: Apache-2.0
"""``jepa-ros eval --env ID``: does the planner reach goal pictures of a Gymnasium environment? No gate is involved."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from jepa_ros.agent.loop import Decision, Observation
from jepa_ros.cost.goal import Goal
from jepa_ros.errors import JepaRosError
from jepa_ros.evaluation.statistics import percentiles_ms, wilson
from jepa_ros.files import write_json
from jepa_ros.learning.gym_collect import SOURCE, env_args
from jepa_ros.learning.gym_env import GymEnv
from jepa_ros.learning.gym_goals import KINDS, SEED_OFFSET, Judge, Pair, draw_pair, read_state, survey
from jepa_ros.learning.policies import PlannerPolicy, RandomPolicy
from jepa_ros.perception import Perception
from jepa_ros.planning.arrival import ArrivalConfig
from jepa_ros.planning.config import SearchConfig
from jepa_ros.planning.planner import Planner, PlannerConfig
from jepa_ros.progress import Progress
from jepa_ros.workers import worker_pool
from jepa_ros.world_model import load_checkpoint, model_id

PROTOCOL = 1  # of this module; changes with what an episode is or what success means
POLICIES = ("planner", "random", "replay")
HOLD = 5  # steps at the end of an episode in which the state must be the goal's
LIMIT = 100  # steps, where the environment has no limit of its own
NO_DEADLINE = 60.0  # as in `evaluate`: a score must not depend on how busy the machine is


@dataclass(frozen=True)
class GymEvalSettings:
    """What is scored.

    Attributes:
        env, args, repeat: the environment, see ``GymEnv``.
        episodes, seed: how many pairs, and what they are drawn from. limit: steps (None: the environment's own).
        tolerance: see ``Judge``.
    """

    env: str
    args: dict[str, Any]
    repeat: int | None
    episodes: int = 100
    seed: int = 0
    limit: int | None = None
    tolerance: float = 0.15
    search: SearchConfig = field(default_factory=SearchConfig)

    def open(self) -> GymEnv:
        """The environment, with its own time limit unless another is asked for."""
        return GymEnv(self.env, self.args, self.repeat, own_limit=self.limit is None)


class ReplayPolicy:
    """The commands that led to the goal, the last one held: shows that a pair can be solved, and judged."""

    encode_seconds = 0.0

    def __init__(self, commands: Sequence[np.ndarray]) -> None:
        self.commands = commands

    def act(self, observation: Observation) -> Decision:
        """The command of this step."""
        return Decision(self.commands[min(observation.step, len(self.commands) - 1)])


class Recorder:
    """Passes a policy on, and keeps what its planner said and the seconds that perception took."""

    def __init__(self, policy: Any) -> None:
        self.policy = policy
        self.status: list[dict[str, Any]] = []
        self.encode: list[float] = []

    def act(self, observation: Observation) -> Decision:
        """Ask the policy."""
        decision = self.policy.act(observation)
        if decision.info is not None:
            self.status.append(decision.info.status)
            self.encode.append(self.policy.encode_seconds)
        return decision


def make_policy(kind: str, env: GymEnv, pair: Pair, settings: GymEvalSettings, loaded: Any) -> Any:
    """One of :data:`POLICIES` for a pair; ``loaded`` is the model and its card."""
    contract = env.contract
    if kind == "replay":
        return ReplayPolicy(pair.commands)
    if kind == "random":
        return RandomPolicy(contract, np.random.default_rng([SEED_OFFSET, pair.seed, 3]))
    # Never "arrived": a pendulum that is left alone falls. The planner goes on planning at the goal.
    search = replace(settings.search, deadline=NO_DEADLINE, seed=pair.seed)
    config = PlannerConfig(search, ArrivalConfig(confirm=10**9), max_gap=max(1.0, 3.0 * contract.period))
    model, card = loaded
    perception = Perception(model, contract)
    planner = Planner(model, contract, config, card=card)
    planner.set_goal(Goal.from_latent(perception.encode(pair.image)))
    return PlannerPolicy(perception, planner)


def run_pair(
    env: GymEnv, judge: Judge, pair: Pair, kind: str, settings: GymEvalSettings, loaded: Any
) -> dict[str, Any]:
    """Run one policy from a pair's start; its score and its times as plain data."""
    policy = Recorder(make_policy(kind, env, pair, settings, loaded))
    env.reset(pair.seed)
    distances, own = [judge.distance(read_state(env), pair.state)], []
    own_limit = env.env.spec.max_episode_steps if env.env.spec else None
    limit = settings.limit or (-(-own_limit // env.repeat) if own_limit else LIMIT)
    for _ in env.drive(policy, limit, look=kind == "planner"):
        distances.append(judge.distance(read_state(env), pair.state))
        own.append(env.success)
    near = [d <= judge.tolerance for d in distances[1:]]
    verdicts = {"own": bool(own[-1]), "hold": all(near[-HOLD:]), "reach": any(near[: len(pair.commands)])}
    return {
        "kind": pair.kind,
        "success": verdicts[pair.kind],
        "ever": any(own) if pair.kind == "own" else any(near),
        "own_success": None if own[-1] is None else verdicts["own"],
        "start_distance": distances[0],
        "least_distance": min(distances[1:]),
        "final_distance": distances[-1],
        "steps": len(near),
        "total_reward": env.total,
        "plan": [float(s["elapsed_s"]) for s in policy.status if "elapsed_s" in s],
        "encode": policy.encode,
        "iterations": [int(s["iterations"]) for s in policy.status if "iterations" in s],
    }


_worker: dict[str, Any] = {}


def _start_worker(settings: GymEvalSettings, judge: Judge, model: str | None, threads: int) -> None:
    torch.set_num_threads(threads)
    _worker.update(judge=judge, settings=settings, model=model)


def _work(job: tuple[int, tuple[str, ...]]) -> dict[str, Any]:
    number, kinds = job
    judge, settings, model = _worker["judge"], _worker["settings"], _worker["model"]
    if "env" not in _worker:  # here and not at the start, so that what goes wrong comes back as an error
        _worker["env"] = settings.open()
        _worker["loaded"] = load_checkpoint(model, _worker["env"].contract) if model else None
    env = _worker["env"]
    pair = draw_pair(env, judge, number, settings.seed)
    return {kind: run_pair(env, judge, pair, kind, settings, _worker["loaded"]) for kind in kinds}


def evaluate(
    settings: GymEvalSettings, judge: Judge, model: str | None, policies: tuple[str, ...], workers: int, threads: int
) -> dict[str, list[dict[str, Any]]]:
    """Score policies on the same pairs: {policy: [one result of :func:`run_pair` an episode, in order]}."""
    results: dict[str, list[dict[str, Any]]] = {kind: [] for kind in policies}
    what, given = f"eval --env {settings.env}", (settings, judge, model, threads)
    with Progress(keep=False) as progress, worker_pool(workers, what, _start_worker, given, threads) as pool:
        bar = progress.task("pairs", settings.episodes)
        for rows in pool.results(_work, [(n, policies) for n in range(settings.episodes)]):
            for kind, row in rows.items():
                results[kind].append(row)
            bar.advance()
    return results


def rates(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Shares over pairs, with Wilson intervals."""
    success = sum(r["success"] for r in rows)
    own = [r["own_success"] for r in rows if r["own_success"] is not None]
    return {
        "episodes": len(rows),
        "success_rate": success / len(rows),
        "success_rate_ci95": list(wilson(success, len(rows))),
        "ever_rate": float(np.mean([r["ever"] for r in rows])),
        "own_success_rate": float(np.mean(own)) if own else None,
        "final_distance": float(np.median([r["final_distance"] for r in rows])),
        "total_reward": float(np.mean([r["total_reward"] for r in rows])),
    }


def summarise(
    settings: GymEvalSettings, judge: Judge, model: str, card_id: str, results: dict[str, list[dict[str, Any]]]
) -> dict[str, Any]:
    """The report that ``--json`` writes: the keys of ``eval`` where they have a meaning here, None where not."""
    main = results.get("planner") or next(iter(results.values()))
    plan, encode = ([v for r in main for v in r[key]] for key in ("plan", "encode"))
    iterations = [v for r in main for v in r["iterations"]]
    which = f"dimensions {list(judge.dims)}" if len(judge.dims) <= 12 else f"{len(judge.dims)} dimensions"
    near = (
        f"state within {judge.tolerance:g} of the goal's (RMS over {which} of the {judge.size} observed, those that a "
        "picture shows, in units of their spread under random actions)"
    )
    meanings = {
        "own": "the environment's own, at the end",
        "hold": f"{near} in each of the last {HOLD} steps",
        "reach": f"{near} at a step no later than the random rollout took (these goals were passed, not held)",
    }
    report: dict[str, Any] = {
        "protocol": f"gymnasium-{PROTOCOL}",
        "robot": settings.env,
        "model": model,
        "model_id": card_id,
        "seed": settings.seed,
        "env": {"id": settings.env, "args": settings.args, "action_repeat": settings.repeat},
        "success_means": {
            kind: {"pairs": sum(r["kind"] == kind for r in main), "means": text} for kind, text in meanings.items()
        },
        **rates(main),
        **dict.fromkeys(("success_no_contact_rate", "success_no_contact_rate_ci95", "heading_rate", "collision_rate")),
        **dict.fromkeys(("oracle_success_rate", "false_arrival_rate", "guardrail_violations")),
        "gate": False,
        "random_success_rate": None,
        "plan_ms": percentiles_ms(plan),
        "encode_ms": percentiles_ms(encode),
        "iterations": float(np.mean(iterations)) if iterations else None,
        "policies": {kind: rates(rows) for kind, rows in results.items()},
        "scores": {
            kind: [{k: v for k, v in row.items() if k not in ("plan", "encode", "iterations")} for row in rows]
            for kind, rows in results.items()
        },
    }
    for policy, rows in results.items():
        kinds = [k for k in KINDS if any(r["kind"] == k for r in rows)]
        report["policies"][policy]["by_kind"] = {k: rates([r for r in rows if r["kind"] == k]) for k in kinds}
    for kind in ("random", "replay"):
        if kind in results:
            report[f"{kind}_success_rate"] = report["policies"][kind]["success_rate"]
    return report


def print_table(report: dict[str, Any], console: Console) -> None:
    """The report for people."""
    table = Table(title=f"{report['robot']}, {report['episodes']} goal pictures, no gate")
    for column in ("", "n", "success", "95 %", "ever", "own success", "final distance", "reward"):
        table.add_column(column, justify="right" if column else "left")

    def row(name: str, r: dict[str, Any]) -> None:
        low, high = r["success_rate_ci95"]
        own = "-" if r["own_success_rate"] is None else f"{r['own_success_rate']:.1%}"
        table.add_row(
            name, str(r["episodes"]), f"{r['success_rate']:.1%}", f"{low:.1%}..{high:.1%}", f"{r['ever_rate']:.1%}",
            own,
            f"{r['final_distance']:.3f}", f"{r['total_reward']:.1f}",
        )  # fmt: skip

    for policy, r in report["policies"].items():
        row(policy, r)
        for kind, part in r["by_kind"].items() if len(r["by_kind"]) > 1 else ():
            row(f"  {kind}", part)
    console.print(table)
    for kind, meaning in report["success_means"].items():
        if meaning["pairs"]:
            console.print(f"success in {meaning['pairs']} pairs ({kind}): {meaning['means']}")
    if report["plan_ms"]["p50"] is not None:
        console.print(f"plan p50 {report['plan_ms']['p50']:.1f} ms, p99 {report['plan_ms']['p99']:.1f} ms")


def main(args: argparse.Namespace, search: SearchConfig) -> int:
    """Run the command; ``args`` are those of ``jepa-ros eval``."""
    known = ", ".join(POLICIES)
    policies = POLICIES if args.policies is None else tuple(p.strip() for p in args.policies.split(",") if p.strip())
    if not policies or set(policies) - set(POLICIES):
        raise JepaRosError(f"--policies {args.policies}: with --env expected some of {known}")
    if not args.tolerance > 0.0 or (args.limit is not None and args.limit < 1):
        raise JepaRosError("--tolerance must be above 0 and --limit at least 1")
    planner = "planner" in policies
    if planner and args.model is None:
        raise JepaRosError("--env needs --model FOLDER, a model trained on the environment")
    trained: dict[str, Any] = load_checkpoint(args.model)[1].get("data", {}).get("settings", {}) if planner else {}
    known_env = trained if trained.get("source") == SOURCE else {}
    settings = GymEvalSettings(
        args.env, env_args(args.env_args if args.env_args is not None else known_env.get("args")),
        args.action_repeat or known_env.get("repeat"), args.episodes, args.seed, args.limit, args.tolerance,
        search,
    )  # fmt: skip
    env = settings.open()
    card = load_checkpoint(args.model, env.contract)[1] if planner else None  # another environment's is refused here
    settings = replace(settings, repeat=env.repeat)
    with Progress(keep=False) as progress:
        progress.task("survey of random driving")
        judge = survey(env, args.seed, args.tolerance)
    results = evaluate(settings, judge, args.model if planner else None, policies, args.workers, args.threads)
    report = summarise(settings, judge, args.model or "", model_id(card) if card else "", results)
    report |= {"workers": args.workers, "threads": args.threads}
    print_table(report, Console(width=140))
    if args.json is not None:
        write_json(args.json, report)
    return 0
