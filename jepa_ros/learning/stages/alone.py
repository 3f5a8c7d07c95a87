# SPDX-License-Identifier: Apache-2.0
"""Stages that can be run alone on a checkpoint: ``jepa-ros train --only STAGE``. All else in it stays as it is."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jepa_ros.learning.baselines import renew_inverse
from jepa_ros.learning.data.dataset import Dataset
from jepa_ros.learning.finish import told
from jepa_ros.learning.parallel import ranks
from jepa_ros.learning.settings import TrainSettings
from jepa_ros.learning.stages.alarm_levels import renew_alarms
from jepa_ros.learning.stages.foresight import renew_predictor
from jepa_ros.learning.stages.order import Order
from jepa_ros.learning.stages.place_map import renew_map
from jepa_ros.learning.stages.proposal import renew_proposal
from jepa_ros.learning.stages.read_values import renew_readouts
from jepa_ros.learning.stages.scene import renew_scene
from jepa_ros.learning.stages.way import renew_way
from jepa_ros.progress import Progress
from jepa_ros.world_model import load_checkpoint, save_checkpoint


@dataclass(frozen=True)
class Stage:
    """A stage: what it does, in a few words; how it is run, which returns the card as written; what it says then."""

    does: str
    run: Callable[[Order], dict[str, Any]]
    tell: Callable[[dict[str, Any]], str]


def _alarms_told(card: dict[str, Any]) -> str:
    levels = card["calibration"]["vigilance"]["levels"]
    told = ", ".join(f"{name} {slow:.3g} / {stop:.3g}" for name, (slow, stop) in levels.items())
    return f"levels of surprise and novelty (slow / stop): {told}"


def _proposal_told(card: dict[str, Any]) -> str:
    found = card["metrics"]["proposal"]
    return f"held-out error of the proposal {found['error']:.3f}, {found['ratio']:.2f} of the mean action's"


def _map_told(card: dict[str, Any]) -> str:
    return f"held-out places told apart {card['metrics']['traversability']['auc']:.3f} (area under curve)"


def _readouts_told(card: dict[str, Any]) -> str:
    judged = card["metrics"]["readouts"]
    rows = {name: ", ".join("-" if v is None else f"{v:.3f}" for v in found["r2"]) for name, found in judged.items()}
    return "held-out R2: " + "; ".join(f"{name} {values}" for name, values in rows.items())


def _predictor_told(card: dict[str, Any]) -> str:
    found = card["metrics"]["open_loop"]
    told = ", ".join(f"{k[6:]} steps {v:.3f}" for k, v in found.items() if k.startswith("ratio"))
    return f"error against copy: {told}"


def _inverse_told(card: dict[str, Any]) -> str:
    found = card["metrics"]["inverse"]
    return f"held-out error of its action {found['held_out_error']:.3f} after {found['steps']} batches"


def _scene_told(card: dict[str, Any]) -> str:
    return f"within held-out episodes it changes by {card['metrics']['scene']['change']:.2f} of its spread"


def _way_told(card: dict[str, Any]) -> str:
    found = card["metrics"]["way"]
    told = f"rank correlation with the time passed {found['order']:.2f} (latents {found['latent_order']:.2f})"
    if true := found["true"]:
        told += f"; with the true way {true['way']['all']:.2f} (latents {true['latent']['all']:.2f})"
    return told if found["used"] else f"{told}; not used, {found['least']} is asked for"


#: Name -> stage.
STAGES: dict[str, Stage] = {
    "alarms": Stage("the levels of surprise and novelty", renew_alarms, _alarms_told),
    "map": Stage("the map readout", renew_map, _map_told),
    "predictor": Stage("the predictor", renew_predictor, _predictor_told),
    "readouts": Stage("all readouts of latents", renew_readouts, _readouts_told),
    "scene": Stage("the latent's values for static obstacles (train the predictor after it)", renew_scene, _scene_told),
    "way": Stage("the cost-to-go for far goals", renew_way, _way_told),
    "inverse": Stage("an inverse model, for comparison with the search", renew_inverse, _inverse_told),
    "proposal": Stage("a learned proposal for the search", renew_proposal, _proposal_told),
}


def run_alone(
    name: str, folder: Path, data: Dataset, settings: TrainSettings, bf16: bool, command: str
) -> dict[str, Any]:  # fmt: skip
    """``--only STAGE`` on the checkpoint in ``folder``; the card as written, which keeps the command."""
    stage = STAGES[name]
    with Progress(quiet=not ranks.writes()) as progress:
        bar = progress.task(name, settings.readout_steps)

        def report(phase: str, step: int, total: int, values: dict[str, float]) -> None:
            bar.update(step + 1, total, note=told(values))

        began, before = time.monotonic(), time.process_time()
        order = Order(folder, data, settings.readout_steps, settings.seed, report, bf16, settings.horizon)
        card = stage.run(order)
        spent, computed = round(time.monotonic() - began, 1), round(time.process_time() - before, 1)
    model, _ = load_checkpoint(folder, data.contract)
    done = {"stage": name, "command": command, "seconds": spent, "cpu_seconds": computed}
    if ranks.writes():
        card = save_checkpoint(folder, model, {**card, "renewed": [*card.get("renewed", []), done]})
    if ranks.writes():
        print(f"{folder}: trained again: {stage.does}; {stage.tell(card)}")
    return card
