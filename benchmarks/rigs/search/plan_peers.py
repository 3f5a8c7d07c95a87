# SPDX-License-Identifier: Apache-2.0
"""Other planners on the same model, in a process of their own environment: the comparison of `jepa-ros bench plan`."""

from __future__ import annotations

import json
import math
import os
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.rigs.search.plan_measure import SIZES, make_search, milliseconds, problem, timed
from jepa_ros.contract import share_dir
from jepa_ros.errors import JepaRosError
from jepa_ros.jobs import THREAD_VARIABLES
from jepa_ros.world_model.context import without

ROUNDS = 5  # turns that ours and the peers take


class Peers:
    """The other planners in a process of their own environment, which gets the model as a file; see _plan_peers.py."""

    def __init__(self, python: str, model: Any, threads: int) -> None:
        import torch

        self.folder = tempfile.TemporaryDirectory()
        path = Path(self.folder.name) / "model.pt"
        torch.save({"config": model.config.to_dict(), "state": model.state_dict()}, path)
        self.process = subprocess.Popen(
            [python, str(share_dir() / "benchmarks" / "_plan_peers.py"), str(path), str(threads)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONPATH": str(share_dir()), **dict.fromkeys(THREAD_VARIABLES, str(threads))},
        )  # fmt: skip
        self.names = self._answer()

    def ask(self, **question: Any) -> Any:
        """Have plans made; see _plan_peers.py."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise JepaRosError("the peers' process ended; its words stand above")
        return json.loads(line)

    def close(self) -> None:
        """End the process."""
        self.process.communicate(timeout=10)
        self.folder.cleanup()


def against_peers(
    model: Any, contract: Any, python: str, plans: int, threads: int, say: Callable[[str], None] = lambda what: None
) -> dict[str, Any]:
    """Ours and the peers in turn, at every size; and the time to the cost that a long CEM of theirs reaches."""
    model = without_map(model)
    peers = Peers(python, model, threads)
    try:
        rows = []
        for size in SIZES:
            search = make_search(model, contract, size, "auto", "auto", 1)
            seconds: dict[str, list[float]] = {"jepa_ros": [], **{name: [] for name in peers.names}}
            processor: dict[str, list[float]] = {name: [] for name in seconds}
            share = max(2, plans // ROUNDS)
            for turn in range(ROUNDS):
                say(f"other planners, {' x '.join(map(str, size))}, turn {turn + 1} of {ROUNDS}")
                wall, used = timed(search, model, share, turn * share)
                seconds["jepa_ros"] += wall
                processor["jepa_ros"] += used
                for name in peers.names:
                    answer = peers.ask(peer=name, size=size, plans=share, first=turn * share)
                    seconds[name] += answer["seconds"]
                    processor[name] += answer["processor"]
            rows.append(
                {
                    "size": list(size),
                    "times_faster": _ratio(seconds, peers.names),
                    "times_less_processor": _ratio(processor, peers.names),
                    **{
                        name: {**milliseconds(times), "processor_ms": 1e3 * float(np.median(processor[name]))}
                        for name, times in seconds.items()
                    },
                }
            )
        say("time to the cost of a long CEM")
        return {"versions": peers.names, "rows": rows, "time_to_cost": time_to_cost(model, contract, peers)}
    finally:
        peers.close()


def without_map(model: Any) -> Any:
    """The model without its map of places: the peers know nothing of ways round, and would search for another cost."""
    config = replace(model.config, context=without(model.config.context, "map"))
    bare = type(model)(config)
    bare.load_state_dict(model.state_dict(), strict=False)
    return bare.eval().requires_grad_(False)


def _ratio(times: dict[str, list[float]], peers: Any) -> float:
    """The better peer's median over ours."""
    return min(float(np.median(times[name])) for name in peers) / float(np.median(times["jepa_ros"]))


def pictured(model: Any, contract: Any, count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Latents of pictures of the fixed arena, here and at a goal 0.4 to 1.2 m away; random ones without PyBullet."""
    try:
        from jepa_ros_sim.arena import ArenaSim
        from jepa_ros_sim.arena.tasks import sample_pair
    except ImportError:
        return [(z, goal.latent) for z, _, goal in (problem(model, i) for i in range(count))]
    from jepa_ros.perception import Perception

    perception, rng = Perception(model, contract), np.random.default_rng(0)
    with ArenaSim(contract) as sim:
        pairs = [sample_pair(sim.layout, rng) for _ in range(count)]
        size = model.config.latent_dim  # a map may follow the latent
        encoded = [[perception.encode(sim.image_at(p)).reshape(-1)[:size] for p in pair] for pair in pairs]
        return [(here, goal) for here, goal in encoded]


def time_to_cost(model: Any, contract: Any, peers: Peers, problems: int = 20) -> dict[str, Any]:
    """Seconds until our best cost is as low as that of their CEM's answer after 300 samples x 30 iterations.

    Both start cold, horizon 10, on the same states and goals; both plans' costs are computed by the model's own code.
    """
    import torch

    from jepa_ros.cost import Futures, Goal, Target, TaskCost, model_terms
    from jepa_ros.planning import Planner, PlannerConfig, SearchConfig
    from jepa_ros.planning.rollout import ModelRollout

    contract = replace(contract, actuation_latency=0.0)  # theirs knows no latency
    # White noise, as theirs is: the smooth noise that suits a robot ends some 3 % above their cost. And noise that may
    # shrink as far as theirs: with the usual floor of 0.03 ours stays about at their cost, and half the time above it.
    config = SearchConfig(
        samples=256, elites=32, ar=0.0, sigma=1.0, sigma_floor=0.001, iterations=100, deadline=1e3, converge_tol=0.0
    )
    planner = Planner(model, contract, PlannerConfig.of(contract, config, contact_limit=1.0))
    planner.warm_up()
    task, theirs, ours, costs = TaskCost(model_terms(model.readouts)), [], [], []
    h = np.zeros(model.config.state_dim, np.float32)
    for i, (z, latent) in enumerate(pictured(model, contract, problems)):
        answer = peers.ask(
            peer="stable-worldmodel CEM", size=[10, 300, 30], plans=1, first=i, z=z.tolist(), goal=latent.tolist()
        )
        goal, state = Goal.from_latent(latent), (torch.from_numpy(z), torch.from_numpy(h))

        def judged(plan: torch.Tensor, goal: Goal = goal, state: Any = state) -> float:
            actions = plan.clamp(-1.0, 1.0)[None]
            futures = Futures(model, ModelRollout(model)(*state, actions, None), actions, state[0])
            return float(task(futures, Target(goal, model))[0])

        target = judged(torch.tensor(answer["actions"][0]))
        result = planner.think(z, h, goal, seed=i)
        reached = [seconds for seconds, cost in result.history if cost <= target]
        theirs.append(answer["seconds"][0])
        ours.append(reached[0] if reached else math.inf)
        costs.append([target, judged(torch.from_numpy(result.actions))])
    median = float(np.median(ours))  # infinite unless more than half were reached
    return {
        "problems": problems, "their_p50_ms": 1e3 * float(np.median(theirs)),
        "our_p50_ms": 1e3 * median if math.isfinite(median) else None, "reached": sum(math.isfinite(s) for s in ours),
        "times_less": float(np.median(theirs)) / median, "costs": costs,
        "more_cost": float(np.median([own / target - 1.0 for target, own in costs])),
    }  # fmt: skip
