# SPDX-License-Identifier: Apache-2.0
"""What a training run is made of; the model card carries it."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch

from jepa_ros.errors import JepaRosError
from jepa_ros.learning.data.sampler import BatchShape

PRECISIONS = ("auto", "fp32", "bf16")


class TrainError(JepaRosError):
    """A training run that cannot start or go on; the message says why and what to do."""


@dataclass(frozen=True)
class TrainSettings:
    """Settings of ``jepa-ros train``; times and sizes are for two CPU cores.

    Attributes:
        seed: everything random follows from it.
        steps: batches of the representation phase (encoder, predictor, inverse dynamics).
        readout_steps: batches of the phase on frozen latents (predictor refit over ``horizon`` steps, readouts).
        batch: windows of the representation phase. horizon: open-loop steps of the refit.
        learning_rate, weight_decay, clip: AdamW with a cosine schedule, gradient clipping.
        covariance, within, everywhere: weights of the anti-collapse terms. inverse_dynamics: of the IDM term.
        pairs: of each readout of pairs that odometry teaches; the encoder learns by it, too.
        held_out: share of the layouts (or episodes) kept for validation.
        accumulate: parts that a batch is worked through in, one after the other, for less memory. Loss and gradients
            are of the whole batch; what batch normalisation goes by is that of a part.
        checkpoint_gradients: activations of another's encoder are computed again for its gradients.
        precision: ``bf16`` where the processor has it (``auto``), weights stay fp32.
        mirror: actions that mirror images turn round, see jepa_ros.learning.data.mirrored; "" for none.
    """

    seed: int = 0
    steps: int = 4500
    readout_steps: int = 3000
    batch: BatchShape = field(default_factory=BatchShape)
    horizon: int = 12
    learning_rate: float = 2e-3
    weight_decay: float = 1e-3
    clip: float = 1.0
    covariance: float = 0.04
    within: float = 1.0
    everywhere: float = 0.5
    inverse_dynamics: float = 5.0
    pairs: float = 3.0
    held_out: float = 0.08
    accumulate: int = 1
    checkpoint_gradients: bool = False
    precision: str = "auto"
    mirror: str = ""

    def __post_init__(self) -> None:
        for name in ("steps", "readout_steps", "horizon", "accumulate"):
            if getattr(self, name) < 1:
                raise TrainError(f"--{name.replace('_', '-')} must be at least 1, found {getattr(self, name)}")
        if self.precision not in PRECISIONS:
            raise TrainError(f"--precision must be one of {', '.join(PRECISIONS)}, found '{self.precision}'")

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)

    @staticmethod
    def from_dict(data: dict[str, Any]) -> TrainSettings:
        """The inverse of :meth:`to_dict`."""
        known = {f.name for f in fields(TrainSettings)}
        return TrainSettings(**{**{k: v for k, v in data.items() if k in known}, "batch": BatchShape(**data["batch"])})


def has_fast_bf16(device: str) -> bool:
    """Whether ``device`` computes matrix products in bfloat16 faster than in fp32: found out, never assumed."""
    if device.startswith("cuda"):
        return torch.cuda.is_bf16_supported()
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


def choose_device(name: str) -> str:
    """``auto`` is the GPU where there is one.

    Raises:
        TrainError: no device is called so, or a GPU was asked for and there is none.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name != "cpu" and not re.fullmatch("cuda(:[0-9]+)?", name):
        raise TrainError(f"--device {name}: expected cpu, cuda, cuda:N or auto")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise TrainError(f"--device {name}: torch {torch.__version__} sees no GPU on this machine; use --device cpu")
    return name
