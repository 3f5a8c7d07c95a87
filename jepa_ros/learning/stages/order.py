# SPDX-License-Identifier: Apache-2.0
"""What every stage that is run alone is given; see :mod:`jepa_ros.learning.stages.alone`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from jepa_ros.learning.data.dataset import Dataset
from jepa_ros.learning.stages.readouts import Report


@dataclass(frozen=True)
class Order:
    """The checkpoint's folder, the data, how many batches, the seed, whom to report to, and whether bf16 is fast."""

    folder: Path
    data: Dataset
    steps: int
    seed: int
    report: Report
    bf16: bool = False
