# SPDX-License-Identifier: Apache-2.0
"""The state of a training run on disk, so that it resumes after a kill at any moment: safetensors, no pickle."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from jepa_ros.learning.settings import TrainError

STATE = "state.safetensors"


def save_state(
    folder: Path, modules: dict[str, nn.Module], optimizer: torch.optim.Optimizer, info: dict[str, Any]
) -> None:
    """Write everything that the next step depends on; the file appears whole or not at all.

    Args:
        modules: named, with their parameters and buffers. optimizer: AdamW over their parameters, in order.
        info: plain data, e.g. the number of the next step.
    """
    tensors = {f"{name}/{key}": value for name, module in modules.items() for key, value in module.state_dict().items()}
    for index, values in optimizer.state_dict()["state"].items():
        tensors.update({f"optimizer/{index}/{key}": value for key, value in values.items()})
    plain = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
    temporary = folder / (STATE + ".partial")
    save_file(plain, temporary, metadata={"info": json.dumps(info)})
    os.replace(temporary, folder / STATE)


def read_state(folder: Path) -> dict[str, torch.Tensor]:
    """The tensors of a saved state.

    Raises:
        TrainError: the file is damaged.
    """
    try:
        return load_file(folder / STATE)
    except (OSError, SafetensorError) as error:
        raise _damaged(folder, error) from None


def put_state(
    folder: Path, tensors: dict[str, torch.Tensor], modules: dict[str, nn.Module], optimizer: torch.optim.Optimizer
) -> None:
    """Put the tensors of a state that was saved in ``folder`` back into ``modules`` and ``optimizer``.

    Raises:
        TrainError: they are of another model.
    """
    try:
        for name, module in modules.items():
            prefix = f"{name}/"
            module.load_state_dict({k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)})
    except RuntimeError as error:
        raise _damaged(folder, error) from None
    state: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith("optimizer/"):
            _, index, field = key.split("/")
            state.setdefault(int(index), {})[field] = value
    if state:
        optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def _damaged(folder: Path, error: Exception) -> TrainError:
    reason = " ".join(str(error).split())[:200]
    return TrainError(f"{folder / STATE}: cannot be resumed from ({reason}): delete {folder} and start again")


def read_info(folder: Path) -> dict[str, Any] | None:
    """The ``info`` of a saved state, or None where there is none."""
    from safetensors import safe_open

    path = folder / STATE
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            return json.loads(file.metadata()["info"])
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise TrainError(f"{path}: cannot be read ({error}): delete {folder} and start again") from None
