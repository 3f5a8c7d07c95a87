# SPDX-License-Identifier: Apache-2.0
"""The other planners' side of `jepa-ros bench plan`: answers questions on standard input with seconds, as JSON lines.

Runs in an environment with stable-worldmodel, pytorch-mppi and torch. The planners are used as they ship; only
stable-worldmodel's top-level module, which imports its data sets and simulators, is passed over.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import importlib.util
import io
import json
import os
import sys
import time
import types
from typing import Any

import numpy as np
import torch

from jepa_ros.cost import Futures, Goal, Target, TaskCost, model_terms
from jepa_ros.world_model.model import ModelConfig, WorldModel

GIVEN: list[list[float]] = []  # latents of a state and a goal that a question gives


@functools.cache
def stable_worldmodel_solver() -> type:
    """Their CEMSolver, without the imports of their top-level module."""
    spec = importlib.util.find_spec("stable_worldmodel")
    if spec is None or spec.submodule_search_locations is None:
        raise SystemExit("stable-worldmodel is not installed in this environment")
    package = types.ModuleType("stable_worldmodel")
    package.__path__ = list(spec.submodule_search_locations)
    sys.modules["stable_worldmodel"] = package
    from stable_worldmodel.solver.cem import CEMSolver

    return CEMSolver


def problem(model: WorldModel, seed: int) -> tuple[torch.Tensor, torch.Tensor, Goal]:
    """The same states and goals as in benchmarks/rigs/search/plan_measure.py, or the one that was asked for."""
    if GIVEN:
        z, goal = GIVEN
        return torch.tensor(z), torch.zeros(model.config.state_dim), Goal.from_latent(np.array(goal))
    rng = np.random.default_rng(seed)
    z = rng.normal(size=model.config.latent_dim).astype(np.float32)
    goal = Goal.from_latent(rng.normal(size=model.config.latent_dim))
    return torch.from_numpy(z), torch.zeros(model.config.state_dim), goal


class Costable(torch.nn.Module):
    """Our model as stable-worldmodel's solvers take it."""

    def __init__(self, model: WorldModel) -> None:
        super().__init__()
        self.model, self.task = model, TaskCost(model_terms(model.readouts))

    def get_cost(self, info: dict[str, Any], candidates: torch.Tensor) -> torch.Tensor:
        """Candidates (1, C, T, A) -> costs (1, C)."""
        z, h = info["z"].reshape(-1, info["z"].shape[-1]), info["h"].reshape(-1, info["h"].shape[-1])
        actions = candidates[0].clamp(-1.0, 1.0)
        zs, _ = self.model.rollout(z, h, actions)
        return self.task(Futures(self.model, zs[:, None], actions, z[0]), self.goal)[0].T


def make_cem(model: WorldModel, size: list[int]) -> Any:
    """One plan of their CEM: (seed) -> actions (T, A)."""
    from gymnasium.spaces import Box

    horizon, samples, iterations = size
    costable = Costable(model)
    solver = stable_worldmodel_solver()(costable, num_samples=samples, n_steps=iterations, topk=min(30, samples // 8))
    space = Box(-1.0, 1.0, shape=(1, model.config.action_dim))
    solver.configure(action_space=space, n_envs=1, config=types.SimpleNamespace(horizon=horizon, action_block=1))

    def plan(seed: int) -> torch.Tensor:
        z, h, goal = problem(model, seed)
        costable.goal = Target(goal, model)
        with contextlib.redirect_stdout(io.StringIO()):  # it prints its time
            return solver.solve({"z": z[None], "h": h[None]})["actions"][0]

    return plan


def make_mppi(model: WorldModel, size: list[int]) -> Any:
    """One plan of pytorch_mppi, `iterations` commands without a shift: (seed) -> actions (T, A)."""
    from pytorch_mppi import MPPI

    horizon, samples, iterations = size
    c, task = model.config, TaskCost(model_terms(model.readouts))
    goal_now: list[Target] = []

    def dynamics(state: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
        z, h = model.predict(state[:, : c.latent_dim], action, None, state[:, c.latent_dim :])
        return torch.cat([z, h], dim=-1)

    def running_cost(state: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
        z = state[:, : c.latent_dim]
        return task(Futures(model, z[:, None, None], action[:, None], z[0]), goal_now[0])[0][:, 0]

    bound = torch.ones(c.action_dim)
    mppi = MPPI(
        dynamics, running_cost, c.latent_dim + c.state_dim, 0.5 * torch.eye(c.action_dim), num_samples=samples,
        horizon=horizon, lambda_=0.1, u_min=-bound, u_max=bound,
    )  # fmt: skip

    def plan(seed: int) -> torch.Tensor:
        z, h, goal = problem(model, seed)
        goal_now[:] = [Target(goal, model)]
        mppi.reset()
        with torch.no_grad():
            for _ in range(iterations):
                mppi.command(torch.cat([z, h]), shift_nominal_trajectory=False)
        return mppi.U

    return plan


MAKERS = {
    "stable-worldmodel CEM": ("stable-worldmodel", make_cem),
    "pytorch_mppi": ("pytorch-mppi", make_mppi),
}


def main() -> None:
    """Tell the versions, then answer questions until standard input ends."""
    answers = os.fdopen(os.dup(1), "w")
    torch.set_num_threads(int(sys.argv[2]))
    saved = torch.load(sys.argv[1], weights_only=True)
    model = WorldModel(ModelConfig.from_dict(saved["config"]))
    model.load_state_dict(saved["state"])
    model.eval().requires_grad_(False)
    versions = {name: importlib.metadata.version(package) for name, (package, _) in MAKERS.items()}
    answers.write(json.dumps(versions) + "\n")
    answers.flush()
    made: dict[str, Any] = {}
    for line in sys.stdin:
        q = json.loads(line)
        GIVEN[:] = [q["z"], q["goal"]] if "z" in q else []
        key = json.dumps([q["peer"], q["size"]])
        if key not in made:
            made[key] = MAKERS[q["peer"]][1](model, q["size"])
            made[key](0), made[key](1)  # warm
        seconds, processor, actions = [], [], []
        for seed in range(q["first"], q["first"] + q["plans"]):
            began, used = time.perf_counter(), time.process_time()
            plan = made[key](seed)
            seconds.append(time.perf_counter() - began)
            processor.append(time.process_time() - used)
            actions.append(plan.tolist())
        answers.write(json.dumps({"seconds": seconds, "processor": processor, "actions": actions}) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
