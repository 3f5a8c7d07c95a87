# SPDX-License-Identifier: Apache-2.0
"""A checkpoint's predictor, trained on (``train --only predictor``). What goes by it is to be fitted after it."""

from __future__ import annotations

from typing import Any

from jepa_ros.learning.representation.diagnostics import encode_episodes, judge
from jepa_ros.learning.stages.noise import calibrate_noise, judge_noise
from jepa_ros.learning.stages.order import Order
from jepa_ros.learning.stages.readouts import refit_predictor
from jepa_ros.world_model import load_checkpoint, save_checkpoint

PIECE = 40  # control steps of the pieces that it is judged by


def renew_predictor(order: Order) -> dict[str, Any]:
    """Train the predictor of a checkpoint on, in place, on its encoder as it is; returns the card as written."""
    data = order.data
    model, card = load_checkpoint(order.folder, data.contract)
    training, held_out = order.split(card)
    length = min(120, data.usual_length(training))
    latents = encode_episodes(model, data, training, length, order.bf16)
    refit_predictor(model, latents, order.horizon, order.steps, order.seed, order.report)
    piece = min(PIECE, int(data.index[:, 2].min()))
    pieces = encode_episodes(model, data, held_out, piece, order.bf16)
    tuned_on, others = pieces.halves()
    width = calibrate_noise(model, tuned_on)
    known = encode_episodes(model, data, training[:60], piece, order.bf16)
    metrics = {**card.get("metrics", {}), **judge(model, known, pieces)}
    return save_checkpoint(
        order.folder, model, {**card, "metrics": {**metrics, "noise": {**judge_noise(model, others), "width": width}}}
    )
