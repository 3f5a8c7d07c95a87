# SPDX-License-Identifier: Apache-2.0
"""Episodes of the arena of fixed seeds: what `test_arena_episodes.py` compares with those that were recorded.

    python tests/arena_episodes.py    # records the episodes of the present code anew

Record them anew when the gate, the physics or exploration changes on purpose. A planner's episodes depend on how the
processor rounds, so they are compared only where they were recorded.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from jepa_ros.agent import loop as loop_module
from jepa_ros.contract import load_contract
from jepa_ros.evaluation import episode as episode_module
from jepa_ros.evaluation.episode import EvalSettings, run_episode
from jepa_ros.learning.data.collect import CollectSettings, collect_episode
from jepa_ros.planning.config import SearchConfig
from jepa_ros.world_model import load_checkpoint, resolve_model
from jepa_ros.worlds import load

EPISODES = Path(__file__).parent / "data" / "arena_episodes.npz"
COLLECTED = ("collect/mixed/0", "collect/mixed/1", "collect/fixed/2", "collect/random/3")
SCORED = tuple(
    f"eval/{layout}/{number}/{kind}"
    for layout in ("fixed", "random", "blocked", "slippery", "moving")
    for number, kind in ((0, "planner"), (0, "random"), (0, "oracle"), (1, "random"))
)
SECONDS = 8.0
SEARCH = replace(SearchConfig(), samples=64, iterations=2, elites=8, backend="model", dtype="float32")


def processor() -> str:
    """What rounds: the processor's name and torch's version."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if Path("/proc/cpuinfo").exists() else []
    name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
    return f"{name}, torch {torch.__version__}"


def collected(key: str) -> dict[str, Any]:
    """One episode as collection drives it: actions, commands, poses, contacts, layout, tiny pictures."""
    _, layout, number = key.split("/")
    contract, world = load_contract("arena"), load("arena")
    task = world.task(layout, contract, {"per_layout": 2, **({"randomise": False} if number == "2" else {})})
    scene = world.scene(contract)
    episode = collect_episode(scene, task, world, CollectSettings(8, 24, 3), int(number))
    scene.close()
    pictures = np.stack([cv2.resize(i, (4, 4), interpolation=cv2.INTER_AREA) for i in episode.images])
    found = {name: getattr(episode, name) for name in ("actions", "commands", "poses", "contacts", "layout")}
    return {**found, "pictures": pictures}


def scored(key: str) -> dict[str, Any]:
    """One episode as evaluation drives it: commands, executed actions, and the score as JSON."""
    _, layout, number, kind = key.split("/")
    contract, world = load_contract("arena"), load("arena")
    loaded = (*load_checkpoint("arena", contract), resolve_model("arena"))
    records = []

    class Watched(loop_module.Loop):
        def step(self) -> Any:
            records.append(super().step())
            return records[-1]

    task = world.task(layout, contract, {"randomise": layout == "random"})
    task.limit = round(SECONDS * contract.rate)
    scene = world.scene(contract)
    spec = task.draw(scene, 5, int(number))
    kept, episode_module.Loop = episode_module.Loop, Watched
    try:
        found = run_episode(kind, scene, task, spec, EvalSettings(search=SEARCH, seed=5), loaded)
    finally:
        episode_module.Loop = kept
        scene.close()
    score = {name: v for name, v in found["score"].items() if isinstance(v, (bool, int, float, str))}
    return {
        "commands": np.array([r.decision.command for r in records]),
        "executed": np.array([r.executed for r in records]),
        "score": json.dumps(score),
    }


if __name__ == "__main__":
    recorded: dict[str, Any] = {"processor": processor()}
    for keys, drive in ((COLLECTED, collected), (SCORED, scored)):
        for key in keys:
            recorded |= {f"{key}/{name}": value for name, value in drive(key).items()}
    np.savez_compressed(EPISODES, **recorded)
    print(f"{EPISODES}: {len(COLLECTED)} collected, {len(SCORED)} scored, on {recorded['processor']}")
