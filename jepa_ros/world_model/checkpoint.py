# SPDX-License-Identifier: Apache-2.0
"""Checkpoints: a folder with ``model.safetensors`` and ``card.json``. Never pickle: a checkpoint cannot run code."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from jepa_ros.contract import ContractError, RobotContract, share_dir
from jepa_ros.errors import JepaRosError
from jepa_ros.hub import PREFIX, cached, refuse_pickle
from jepa_ros.ranges import Range
from jepa_ros.world_model.context import ContextError, without
from jepa_ros.world_model.model import ModelConfig, WorldModel
from jepa_ros.world_model.readme import write_readme
from jepa_ros.world_model.readouts import ReadoutError

FORMAT = 1
WEIGHTS, CARD = "model.safetensors", "card.json"
#: What the names of tensors began with in earlier files -> what they begin with now.
RENAMED = {"traversability.": "context.map.", "scene.": "context.scene."}
#: Part of an embedding -> the stage of training that makes it anew.
RENEWED_BY = {"map": "map", "scene": "alarms"}


class CheckpointError(JepaRosError):
    """A checkpoint that cannot be loaded; the message names the file and what is wrong with it."""


class ContractMismatch(CheckpointError):
    """A checkpoint that was trained under another contract; the message lists every difference."""


def save_checkpoint(folder: Path | str, model: WorldModel, card: dict[str, Any]) -> dict[str, Any]:
    """Write a checkpoint; each file appears whole or not at all.

    Args:
        folder: made when it does not exist.
        model: any device; weights are written as fp32 on the CPU.
        card: data, contract (``contract``: plain data), settings, metrics; format, sizes and weights' hash are added.

    Returns:
        The card as written.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()}
    temporary = folder / (WEIGHTS + ".partial")
    save_file(tensors, temporary)
    digest = hashlib.sha256(temporary.read_bytes()).hexdigest()
    os.replace(temporary, folder / WEIGHTS)
    card = {
        **card,
        "format": FORMAT,
        "model": model.config.to_dict(),
        "parameters": model.parameter_count(),
        "weights_sha256": digest,
    }
    temporary = folder / (CARD + ".partial")
    temporary.write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    os.replace(temporary, folder / CARD)
    write_readme(folder, card)
    return card


def resolve_model(name_or_path: str | Path) -> Path:
    """A checkpoint's folder: a path, or a name.

    A name is that of a shipped model (``arena`` for ``models/arena``), or of one in the cache of Hugging Face
    (``hf:OWNER/NAME``).

    Raises:
        HubError: it is not in that cache.
        CheckpointError: neither, or a folder here that is no checkpoint has the name of a shipped one.
    """
    if str(name_or_path).startswith(PREFIX):
        return cached(str(name_or_path))
    path = Path(name_or_path)
    shipped = share_dir() / "models"
    if path.is_dir():
        if not (path / CARD).exists() and not path.is_absolute() and (shipped / path / CARD).exists():
            raise CheckpointError(
                f"the folder {path.resolve()} has no {CARD} and hides the shipped model '{name_or_path}': "
                f"give --model {shipped / path} if that is meant"
            )
        return path
    if (shipped / path).is_dir():
        return shipped / path
    known = ", ".join(sorted(p.name for p in shipped.glob("*") if p.is_dir())) or "none"
    raise CheckpointError(f"no model '{name_or_path}': neither a folder nor one of the shipped models ({known})")


def load_card(folder: Path | str) -> dict[str, Any]:
    """Read and check ``card.json``.

    Raises:
        CheckpointError: missing, no JSON, or of a format that this version does not read.
    """
    path = Path(folder) / CARD
    refuse_pickle(path.parent, str(folder))
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CheckpointError(
            f"{path}: cannot be read: {error.strerror}; a checkpoint is a folder with {WEIGHTS} and {CARD}"
        ) from None
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: not valid JSON: {error}") from None
    if not isinstance(card, dict) or card.get("format") != FORMAT:
        found = card.get("format") if isinstance(card, dict) else type(card).__name__
        raise CheckpointError(f"{path}: expected a model card of format {FORMAT}, found {found}")
    for key in ("model", "contract", "weights_sha256"):
        if key not in card:
            raise CheckpointError(f"{path}: key '{key}' is missing")
    for key in ("model", "contract", "calibration"):
        if not isinstance(card.get(key, {}), dict):
            raise CheckpointError(f"{path}: {key}: expected a mapping, found {type(card[key]).__name__}")
    scale = card.get("calibration", {}).get("prediction_error", 1.0)
    if scale is not None and (problem := Range(0.0, above=True).problem(scale)):
        raise CheckpointError(f"{path}: calibration.prediction_error: {problem}")
    return card


def load_checkpoint(
    folder: Path | str, contract: RobotContract | None = None, device: str = "cpu", unread: Sequence[str] = ()
) -> tuple[WorldModel, dict[str, Any]]:
    """Load a checkpoint for use (evaluation mode, no gradients).

    Args:
        folder: path, or name of a shipped model.
        contract: when given, the model must have been trained for the same cameras, actions and timing.
        unread: names of parts of the embedding that are left out, because they are made anew.

    Returns:
        The model and its card.

    Raises:
        CheckpointError: missing, truncated, changed since it was written, or not safetensors.
        ContractMismatch: trained under another contract; lists the differences.
    """
    folder = resolve_model(folder)
    card = load_card(folder)
    path = folder / WEIGHTS
    if contract is not None:
        try:
            trained = RobotContract.from_dict(card["contract"], f"{folder / CARD}: contract")
        except ContractError as error:
            raise CheckpointError(str(error)) from None
        lines = trained.model_differences(contract)
        if lines:
            raise ContractMismatch(
                f"{folder} was trained for robot '{trained.name}' and does not fit '{contract.name}' "
                "(trained != wanted):\n  " + "\n  ".join(lines)
            )
    try:
        blob = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from None
    if hashlib.sha256(blob).hexdigest() != card["weights_sha256"]:
        raise CheckpointError(
            f"{path}: the weights ({len(blob)} bytes) are not those that {CARD} describes: truncated or changed; "
            "copy the checkpoint again"
        )
    try:
        config = ModelConfig.from_dict(card["model"])
    except (TypeError, KeyError, ValueError, ReadoutError, ContextError) as error:
        raise CheckpointError(f"{folder / CARD}: model: {error}") from None
    try:
        tensors = {_now(name): value for name, value in load_file(path).items()}
        for name in unread:
            config = replace(config, context=without(config.context, name))
            tensors = {k: v for k, v in tensors.items() if not k.startswith(f"context.{name}.")}
        model = WorldModel(config)
        for key in model.state_dict():
            part = key.split(".")[1]
            if key.startswith("context.") and key not in tensors:
                raise CheckpointError(
                    f"{path}: its part '{part}' is of an earlier version's kind: make it anew on the same encoder "
                    f"(jepa-ros train --data FOLDER --out {folder} --only {RENEWED_BY[part]}), or train again"
                )
        model.load_state_dict(tensors)
    except (SafetensorError, RuntimeError, MemoryError) as error:
        raise CheckpointError(f"{path}: {' '.join(str(error).split())[:300]}") from None
    for name, value in model.state_dict().items():
        if not math.isfinite(float(value.float().abs().sum())):
            raise CheckpointError(f"{path}: tensor '{name}' holds values that are not finite")
    try:
        model.to(device)
    except (RuntimeError, AssertionError) as error:  # torch's own, for a name or a GPU that is not there
        raise CheckpointError(f"device '{device}': {' '.join(str(error).split())[:200]}") from None
    return model.eval().requires_grad_(False), card


def _now(name: str) -> str:
    """The name of a tensor as it is now."""
    old = next((prefix for prefix in RENAMED if name.startswith(prefix)), None)
    return name if old is None else RENAMED[old] + name.removeprefix(old)


def model_id(card: dict[str, Any]) -> str:
    """A short name for exactly these weights; perception and planner must have the same one."""
    return str(card["weights_sha256"])[:16]
