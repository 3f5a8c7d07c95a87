# SPDX-License-Identifier: Apache-2.0
"""``jepa-ros think``: deliberate on one task from its start, say what came of it, and draw the tree.

Nothing is driven. With ``--data``, states of the tree are shown as the nearest pictures of that dataset.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from jepa_ros.errors import JepaRosError
from jepa_ros.files import add_json, write_json
from jepa_ros.options import positive, seed
from jepa_ros.planning.deliberate.settings import DeliberateConfig
from jepa_ros.worlds.choose import add_world_arguments, assign, choose

#: Pictures of a dataset that are looked through, at most.
FRAMES, BATCH = 4000, 256


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    add_world_arguments(parser, "the model's")
    parser.add_argument("--model", help="checkpoint: a folder or a shipped name (default: the robot's)")
    parser.add_argument("--episode", type=int, default=0, help="number of the task (default: %(default)s)")
    parser.add_argument(
        "--seed", type=seed, default=0, help="seed of the tasks and of the search (default: %(default)s)"
    )
    parser.add_argument(
        "--calls", type=positive, default=DeliberateConfig().calls, help="budget in model calls (default: %(default)s)"
    )
    parser.add_argument(
        "--distance", default=DeliberateConfig().distance, help="readout used as cost-to-go (default: %(default)s)"
    )
    parser.add_argument("--draw", type=Path, metavar="FILE", help="draw the tree (PNG)")
    parser.add_argument("--data", type=Path, help="dataset whose pictures illustrate the states")
    add_json(parser, "write the tree and its statistics")


def main(args: argparse.Namespace) -> int:
    """Run the command; 1 if the task was not solved."""
    from jepa_ros.perception import Perception
    from jepa_ros.perception.state import model_state
    from jepa_ros.planning.deliberate.view import tree_of
    from jepa_ros.planning.planner import Planner, PlannerConfig
    from jepa_ros.planning.problem import Problem
    from jepa_ros.world_model import load_checkpoint

    if args.data is not None and args.draw is None:
        raise JepaRosError("--data does nothing without --draw FILE")
    choice = choose(args, True, ())
    assignment = assign(args, choice)
    contract = assignment.contract
    model_name = args.model or choice.world.model
    if not model_name:
        raise JepaRosError(f"no model is shipped for {contract.name}: think needs --model FOLDER, one trained on it")
    model, card = load_checkpoint(model_name, contract)
    deliberate = DeliberateConfig(when="always", distance=args.distance, calls=args.calls,
                                  calls_per_step=max(args.calls, DeliberateConfig.calls_per_step))  # fmt: skip
    scene, task = assignment.open()
    try:
        spec = task.draw(scene, args.seed, args.episode)
        scene.reset(spec)
        config = replace(task.planner(PlannerConfig.of(contract)), deliberate=deliberate)
        planner = Planner(model, contract, config, card)
        perception = Perception(model, contract)
        seen, wanted = scene.observe(), task.goal(scene, spec).seen
    finally:
        scene.close()
    from jepa_ros.cost.goal import Goal
    from jepa_ros.planning.bodies import unsaid

    def encode(observation: Any) -> np.ndarray:
        state = model_state(contract, observation.state)
        return perception.encode(observation.images, state=state).reshape(-1)

    planner.set_goal(Goal.from_latent(encode(wanted)))
    assert planner.deliberator is not None and planner.goal is not None  # "always" insists on the one
    latent = encode(seen)[: model.config.latent_dim]
    target = planner.search.target(planner.goal)
    problem = Problem(
        latent, model.initial_state(1)[0], target, (), planner.objective.constraints(), held=unsaid(contract, target)
    )
    thought = planner.deliberator.search.begin(problem, args.seed)
    began = time.perf_counter()
    while not thought.solved and thought.fits(args.calls):
        thought.expand()
    took = time.perf_counter() - began
    way, counts = thought.way(), thought.counts
    short = f"not solved within {args.calls} calls: the best way ends {way.to_go[-1]:.1f} steps from the goal"
    print(
        f"{'solved' if way.solved else short}; {counts.calls} calls in {took:.1f} s, {counts.expansions} expansions, "
        f"{len(thought.tree)} states; the way has {way.cost[-1]:.0f} steps, the cost-to-go at its start was "
        f"{way.to_go[0]:.1f}"
    )
    print(
        f"not taken: {counts.near} near known states, {counts.forbidden} against constraints, {counts.non_finite} not "
        f"finite, {counts.unsure} ways to the goal not sure enough, {thought.tree.dropped} dropped for room"
    )
    tree = tree_of(thought, lambda latents: _places(planner, latents))
    if args.draw is not None:
        from jepa_ros.commands.tree_picture import draw, shown

        rows = shown(tree)
        known = {} if args.data is None else _nearest(args.data, perception, planner, thought, rows)
        camera = contract.step_camera.name
        draw(tree, args.draw, {rows[0]: seen.images[camera], **known}, wanted.images[camera])
        print(f"tree: {args.draw}")
    if args.json is not None:
        write_json(args.json, {"counts": vars(counts), "seconds": took, "tree": tree})
    return 0 if way.solved else 1


def _places(planner: Any, latents: torch.Tensor) -> np.ndarray | None:
    """Where latents are in the plane, if knowledge of the body tells."""
    for part in planner.knowledge:
        if "tracks" in (views := part.views(latents[:, None])):
            places: np.ndarray = views["tracks"][:, 0, :2]
            return places
    return None


@torch.inference_mode()
def _nearest(folder: Path, perception: Any, planner: Any, thought: Any, rows: list[int]) -> dict[int, np.ndarray]:
    """{row: the picture of a dataset whose state is nearest by the cost-to-go}."""
    from jepa_ros.learning.data.dataset import Dataset

    data, to_go = Dataset(folder, planner.contract), thought.search.to_go
    rng = np.random.default_rng(0)
    moments = [(e, t) for e in range(len(data)) for t in range(0, int(data.index[e, 2]), 4)]
    some = [moments[i] for i in np.sort(rng.permutation(len(moments))[:FRAMES])]
    camera = planner.contract.step_camera.name
    codes = []
    for begin in range(0, len(some), BATCH):
        frames = [data.inputs(e, t, 1) for e, t in some[begin : begin + BATCH]]
        batch = {name: torch.from_numpy(np.concatenate([f[name] for f in frames])) for name in frames[0]}
        codes.append(to_go.code(perception.model.encode(batch).latent.float()))
    known = torch.cat(codes)
    best = to_go.steps(thought.tree.codes[rows][:, None], known[None]).argmin(1).tolist()
    return {row: np.array(data.inputs(*some[i], 1)[camera][0]) for row, i in zip(rows, best, strict=True)}
