# SPDX-License-Identifier: Apache-2.0
"""Loading a checkpoint once in a process, with the number of compute threads that its parameters ask for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jepa_ros.contract import RobotContract, share_dir
from jepa_ros.hub import PREFIX, HubError, cached
from jepa_ros.nodes import params

#: The parameters of every node that runs a model.
LOADING = (
    params.Param("model", "arena", "Folder of the checkpoint, or the name of a shipped model."),
    params.Param("device", "cpu", "Where the model runs: cpu, or cuda."),
    params.Param("threads", 1, "Compute threads.", low=1, high=256),
)


def load(values: Any, contract: RobotContract) -> tuple[Any, dict[str, Any], str]:
    """The model, its card and its id, for the parameters ``model``, ``device`` and ``threads``.

    Two nodes of one process share the model.

    Raises:
        CheckpointError: it cannot be loaded. ContractMismatch: it is of another robot.
    """
    import torch

    torch.set_num_threads(values.threads)
    key = (values.model, values.device, contract.digest())
    if key not in _loaded:
        from jepa_ros.world_model.checkpoint import load_checkpoint, model_id

        model, card = load_checkpoint(values.model, contract, values.device)
        _loaded.clear()
        _loaded[key] = (model, card, model_id(card))
    return _loaded[key]


def read_card(folder: str) -> dict[str, Any]:
    """The card of a checkpoint (a folder, or the name of a shipped model), without loading torch.

    Raises:
        ParameterError: there is no readable card.
    """
    try:
        path = cached(folder) if folder.startswith(PREFIX) else Path(folder)
    except HubError as error:
        raise params.ParameterError(str(error)) from None
    if not path.is_dir():
        path = share_dir() / "models" / folder
    try:
        card = json.loads((path / "card.json").read_text(encoding="utf-8"))
        str(card["weights_sha256"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise params.ParameterError(f"{path / 'card.json'}: no model card can be read: {error}") from None
    return dict(card)


def card_id(card: dict[str, Any]) -> str:
    """The id of a checkpoint by its card: the gate asks for it, and never loads torch.

    It is what :func:`jepa_ros.world_model.checkpoint.model_id` makes of the same card (a test compares them).
    """
    return str(card["weights_sha256"])[:16]


#: The last model loaded in this process, by folder, device and contract.
_loaded: dict[tuple[str, str, str], tuple[Any, dict[str, Any], str]] = {}
