# SPDX-License-Identifier: Apache-2.0
"""What every stage that is run alone is given; see :mod:`jepa_ros.learning.stages.alone`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jepa_ros.learning.data.dataset import Dataset
from jepa_ros.learning.parallel import ranks
from jepa_ros.learning.settings import TrainSettings
from jepa_ros.learning.stages.readouts import Report
from jepa_ros.world_model import WorldModel, save_checkpoint


@dataclass(frozen=True)
class Order:
    """The checkpoint's folder, the data, how many batches, the seed, whom to report to, whether bf16 is fast, and over
    how many open-loop steps a predictor is fitted."""

    folder: Path
    data: Dataset
    steps: int
    seed: int
    report: Report
    bf16: bool = False
    horizon: int = TrainSettings.horizon

    def split(self, card: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
        """Episode numbers for training and for validation, as when the checkpoint of this card was trained."""
        settings = card.get("settings", {})
        return self.data.split(float(settings.get("held_out", 0.08)), int(settings.get("seed", self.seed)))

    def save(self, model: WorldModel, card: dict[str, Any]) -> dict[str, Any]:
        """Write the checkpoint anew, by one process; the card as written."""
        return ranks.same(save_checkpoint(self.folder, model, card) if ranks.writes() else card)
