# SPDX-License-Identifier: Apache-2.0
"""Phase two of a training: all that is learned on frozen latents, judged on held-out data, and told by the card."""

from __future__ import annotations

from typing import Any

import numpy as np

from jepa_ros.learning.data.dataset import Dataset
from jepa_ros.learning.log import Log, NoLog
from jepa_ros.learning.representation.diagnostics import Encoded, judge
from jepa_ros.learning.settings import TrainSettings
from jepa_ros.learning.stages import readouts
from jepa_ros.learning.stages.alarm_levels import fit_alarms
from jepa_ros.learning.stages.calibration import calibrate
from jepa_ros.learning.stages.noise import calibrate_noise, judge_noise
from jepa_ros.learning.stages.pair_readouts import fit_pairs, judge_pairs
from jepa_ros.learning.stages.place_map import fit_map, judge_map
from jepa_ros.learning.stages.proposal import fit_proposal, judge_proposal
from jepa_ros.learning.stages.scene import fit_scene, judge_scene
from jepa_ros.progress import Progress, Task
from jepa_ros.world_model import WorldModel

LONG = 120  # control steps of the longest pieces that latents are learned from


def finish(
    model: WorldModel,
    data: Dataset,
    settings: TrainSettings,
    training: np.ndarray,
    validation: np.ndarray,
    piece: int,
    bf16: bool,
    log: Log | NoLog,
    progress: Progress,
) -> dict[str, Any]:
    """Phase two on frozen latents, and the metrics and calibration that the card carries."""
    model.eval().requires_grad_(False)
    shortest, usual = int(data.index[training, 2].min()), min(LONG, data.usual_length(training))
    shortest //= -(-shortest // LONG)  # of longer episodes equal pieces, so that no end is left out
    bars: dict[str, Task] = {}

    def report(phase: str, step: int, total: int, values: dict[str, float]) -> None:
        if phase not in bars:
            bars[phase] = progress.task(phase, total)
        bars[phase].update(step, note=told(values))
        log.write(phase, step, values)

    steps, seed = settings.readout_steps, settings.seed
    fit_scene(model, data, training, steps, seed, report)
    encoded = Encoded(model, data, bf16)
    latents = encoded.pieces(training, shortest)
    long_ones = latents if usual == shortest else encoded.pieces(training, usual)
    held_out = encoded.pieces(validation, piece)
    readouts.refit_predictor(model, latents, settings.horizon, steps, seed, report)
    tuned_on, others = held_out.halves()
    noise_width = calibrate_noise(model, tuned_on)
    if "distance" in model.readouts:
        readouts.fit_distance(model, long_ones, 2 * steps, seed + 1, report)
    readouts.fit_heads(model, latents, steps, seed + 2, report)
    fit_pairs(model, latents, steps, seed + 7, report)
    judged = readouts.judge_readouts(model, held_out) | judge_pairs(model, held_out)
    readouts.drop_readouts(model, judged)
    fit_proposal(model, long_ones, steps, seed + 4, report)
    if "map" in model.context:
        fitted = "pose" in model.readouts and fit_map(model, data, training, steps, seed + 3, report, bf16)
        if not fitted:  # the picture does not tell where the robot is: no map is better than a wrong one
            model.drop_context("map")
    metrics: dict[str, Any] = judge(model, encoded.pieces(training[:60], piece), held_out)
    if "map" in model.context:
        metrics["traversability"] = judge_map(model, data, validation)
    metrics["readouts"] = judged
    if model.config.scene_dim:
        metrics["scene"] = judge_scene(model, data, validation, seed)
    metrics["noise"] = {**judge_noise(model, others), "width": noise_width}
    if "proposal" in model.readouts:
        metrics["proposal"] = judge_proposal(model, held_out)
    log.write("final", settings.steps, metrics)
    return {
        "contract": data.contract.to_dict(),
        "data": {
            "folder": data.name,
            "settings": data.settings,
            "episodes": len(data),
            "steps": data.steps,
            "robot_minutes": round(data.steps * data.contract.period / 60.0, 1),
            "held_out_episodes": len(validation),
        },
        "settings": settings.to_dict(),
        "metrics": metrics,
        "calibration": {
            **calibrate(model, held_out),
            "vigilance": fit_alarms(model, data, training, validation, report, settings.seed + 5),
        },
    }


def told(values: dict[str, float]) -> str:
    """Values as a line."""
    return "  ".join(f"{name} {value:.4f}" for name, value in values.items())
