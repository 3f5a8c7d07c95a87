# SPDX-License-Identifier: Apache-2.0
"""What ran while a bag was recorded (contract, model card, guardrails, settings), into a bag and out of it."""

from __future__ import annotations

import json
from pathlib import Path

from jepa_ros.bags import CONTRACT_KEY, GATE_SETTINGS_KEY, GUARDRAILS_KEY, MODEL_CARD_KEY, BagError
from jepa_ros.bags.format.reader import BagReader
from jepa_ros.contract import RobotContract
from jepa_ros.worlds import registry


def identity(
    robot: str | None, model: str | None, guardrails: str | None = None, gate_params: str | None = None
) -> tuple[dict[str, str], dict[str, tuple[str, bytes]]]:
    """What ran, as (custom_data, attachments) of a bag.

    Args:
        robot: contract name or file, or None.
        model: checkpoint folder with its `model_card.json` (any one JSON card is taken), or None.
        guardrails, gate_params: YAML files as the stack was given them, or None.

    Raises:
        BagError: a file cannot be read; it names it.
    """
    custom: dict[str, str] = {}
    attachments: dict[str, tuple[str, bytes]] = {}
    if robot:
        contract = registry.contract_of(robot)
        custom[CONTRACT_KEY] = json.dumps(contract.to_dict(), sort_keys=True)
        custom["jepa_ros.contract_digest"] = contract.digest()
        attachments["contract.json"] = ("application/json", custom[CONTRACT_KEY].encode())
    if model:
        folder = Path(model)
        cards = [folder / "card.json", folder / "model_card.json", *sorted(folder.glob("*.json"))]
        card = next((path for path in cards if path.is_file()), None)
        if card is None:
            raise BagError(f"--model {model}: no model card (*.json) in that folder")
        try:
            text = card.read_text(encoding="utf-8")
            json.loads(text)
        except (OSError, ValueError) as error:
            raise BagError(f"{card}: not a model card: {error}") from error
        custom[MODEL_CARD_KEY] = text
        attachments["model_card.json"] = ("application/json", text.encode())
    for key, name in ((GUARDRAILS_KEY, guardrails), (GATE_SETTINGS_KEY, gate_params)):
        if name:
            try:
                custom[key] = Path(name).read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                raise BagError(f"{name}: cannot be read: {error}") from None
            attachments[f"{key.removeprefix('jepa_ros.')}.yaml"] = ("application/yaml", custom[key].encode())
    return custom, attachments


def contract_of(reader: BagReader, robot: str | None) -> RobotContract:
    """The contract to build with: `robot` if given, else the bag's own.

    Raises:
        BagError: there is none, or the bag was recorded under one that differs in what a model depends on.
    """
    text = reader.custom_data.get(CONTRACT_KEY)
    recorded = None
    if text:
        try:
            recorded = RobotContract.from_dict(json.loads(text), f"{reader.path}: contract in the bag")
        except ValueError as error:
            raise BagError(f"{reader.path}: the contract in the bag is not JSON: {error}") from None
    if robot is None:
        if recorded is None:
            raise BagError(f"{reader.path}: no robot contract in this bag: give one with --robot")
        return recorded
    contract = registry.contract_of(robot)
    if recorded is not None:
        lines = contract.model_differences(recorded)
        if lines:
            raise BagError(
                f"{reader.path} was recorded with robot '{recorded.name}', which differs from '{contract.name}' "
                "(given != recorded):\n  " + "\n  ".join(lines)
            )
    return contract
