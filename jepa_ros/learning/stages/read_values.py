# SPDX-License-Identifier: Apache-2.0
"""The readouts of a checkpoint, fitted anew: ``jepa-ros train --only readouts``."""

from __future__ import annotations

from typing import Any

from jepa_ros.learning.representation.diagnostics import encode_episodes
from jepa_ros.learning.stages.order import Order
from jepa_ros.learning.stages.pair_readouts import fit_pairs, judge_pairs
from jepa_ros.learning.stages.readouts import drop_readouts, fit_heads, judge_readouts
from jepa_ros.world_model import load_checkpoint


def renew_readouts(order: Order) -> dict[str, Any]:
    """Fit the readouts of a checkpoint anew, in place, on its encoder as it is; returns the card as written."""
    data = order.data
    model, card = load_checkpoint(order.folder, data.contract)
    training, held_out = order.split(card)
    length = min(120, *(data.usual_length(part) for part in (training, held_out)))
    latents = encode_episodes(model, data, training, length, order.bf16)
    fit_heads(model, latents, order.steps, order.seed + 2, order.report)
    fit_pairs(model, latents, order.steps, order.seed + 7, order.report)
    others = encode_episodes(model, data, held_out, length, order.bf16)
    judged = judge_readouts(model, others) | judge_pairs(model, others)
    drop_readouts(model, judged)
    card = {**card, "metrics": {**card.get("metrics", {}), "readouts": judged}}
    return order.save(model, card)
