# SPDX-License-Identifier: Apache-2.0
"""Building perception, planner and gate for a replay: as recorded where the bag says how, or with something changed."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from jepa_ros.bags import GATE_SETTINGS_KEY, GUARDRAILS_KEY, MODEL_CARD_KEY, BagError
from jepa_ros.bags.format.reader import BagReader
from jepa_ros.bags.identity import contract_of
from jepa_ros.bags.replay.offline import OfflineReplay, OfflineSettings
from jepa_ros.bags.replay.read import read_recording
from jepa_ros.bags.replay.recording import Recording
from jepa_ros.contract import RobotContract
from jepa_ros.errors import JepaRosError
from jepa_ros.safety.config import watched
from jepa_ros.safety.gate import GateConfig
from jepa_ros.safety.guardrails import guardrails_for
from jepa_ros.safety.settings import of_node

#: Settings of planar bodies that older planners have among the search's, whatever body they have.
BODY_ONCE = ("contact_limit", "region_margin")


@dataclass
class Changes:
    """What a replay does otherwise than the recording; None and "" change nothing.

    Attributes:
        robot: contract; default the bag's own. model: checkpoint; default the shipped one of the robot's name.
        guardrails: YAML file; default the bag's, else the contract's. gate_settings: further settings of the gate
            ({name: value}), over those in the bag.
        samples: candidates of each iteration; 0: as many as recorded.
        threads: compute threads. brain, gate: leave one of them out.
        whole: read the whole bag, see :func:`~jepa_ros.bags.replay.read.read_recording`.
        free_iterations: plans run as many iterations as configured instead of as many as recorded.
    """

    robot: str | None = None
    model: str = ""
    guardrails: str = ""
    gate_settings: dict[str, Any] | None = None
    namespace: str = ""
    image: str = ""
    samples: int = 0
    threads: int = 1
    brain: bool = True
    gate: bool = True
    free_iterations: bool = False
    whole: bool = True


@dataclass
class Prepared:
    """A replay that is ready to run; `changed` says what is not as recorded."""

    contract: RobotContract
    recording: Recording
    offline: OfflineReplay
    changed: list[str]
    model_id: str = ""


def prepare(reader: BagReader, changes: Changes) -> Prepared:
    """Read the bag and build what runs on it.

    Raises:
        JepaRosError: the bag, the model or a file does not fit; the message says what.
    """
    contract = contract_of(reader, changes.robot)
    recording = read_recording(reader, contract, changes.namespace, changes.image, changes.whole)
    changed: list[str] = []
    text = _text(changes.guardrails) or reader.custom_data.get(GUARDRAILS_KEY, "")
    guardrails = guardrails_for(contract, text).bind(contract)
    then = {a.content[1] for a in recording.identities if a.content[0] == "guardrails/planner"}
    if then and str(guardrails.hash) not in then:
        changed.append(f"guardrails: {guardrails.hash} in the place of {', '.join(sorted(then))}")
    perception = planner = None
    model_id, card = "", _recorded_card(reader)
    if changes.brain:
        perception, planner, model_id, card = brain_of(contract, recording, changes, guardrails, changed)
    config = None
    if changes.gate:
        told = reader.custom_data.get(GATE_SETTINGS_KEY, "")
        chosen = of_node(told, watched(card), f"{reader.path}: the gate's settings in this bag")
        chosen |= changes.gate_settings or {}
        config = GateConfig.from_contract(contract, guardrails=guardrails, auto_enable=True, **chosen)
    own = bool(changed) and changes.brain
    other = any(line.startswith("model:") for line in changed)
    how = OfflineSettings(new_commands=own, new_model=other, follow_iterations=not changes.free_iterations)
    return Prepared(contract, recording, OfflineReplay(recording, perception, planner, config, how), changed, model_id)


def brain_of(contract: RobotContract, recording: Recording, changes: Changes, guardrails, changed: list[str]):
    """(perception, planner, model id, model card) for a recording; what is not as recorded is added to ``changed``.

    Raises:
        JepaRosError: the model, or what the changes ask of the search, does not fit.
    """
    import torch

    from jepa_ros.perception import Perception
    from jepa_ros.planning.planner import Planner
    from jepa_ros.world_model.checkpoint import load_checkpoint, model_id

    torch.set_num_threads(changes.threads)
    model, card = load_checkpoint(changes.model or contract.name, contract)
    identity = model_id(card)
    then = {a.content[1] for a in recording.identities if a.content[0].startswith("model/")}
    if then and identity not in then:
        changed.append(f"model: {identity} in the place of {', '.join(sorted(then))}")
    config = _config(contract, recording, changed)
    if changes.samples:
        config = replace(config, search=replace(config.search, samples=changes.samples))
    planner = Planner(model, contract, config, card, guardrails)
    planner.warm_up()
    return Perception(model, contract), planner, identity, card


def _config(contract: RobotContract, recording: Recording, changed: list[str]):
    """The planner's configuration: as the recorded status tells it, else the defaults."""
    from jepa_ros.cost.risk import Risk
    from jepa_ros.cost.task import TaskWeights
    from jepa_ros.planning.arrival import ArrivalConfig
    from jepa_ros.planning.bodies import settings_for
    from jepa_ros.planning.config import SearchConfig
    from jepa_ros.planning.deliberate.settings import DeliberateConfig
    from jepa_ros.planning.planner import PlannerConfig

    text = next((s.status["settings"] for s in recording.log.steps.values() if s.status.get("settings")), "")
    if not text:
        if any(step.status for step in recording.log.steps.values()):
            changed.append("planner settings: the defaults, the bag has none")
        return PlannerConfig.of(contract)
    try:
        plain = json.loads(text)
        search = dict(plain["search"])
        once = {name: search.pop(name) for name in BODY_ONCE if name in search}
        body = plain["body"] if "body" in plain else once if settings_for(contract, {}) else {}
        search["risk"], search["weights"] = Risk(**search["risk"]), TaskWeights(**search["weights"])
        # Bags of planners that could not deliberate say nothing of it.
        deliberate = DeliberateConfig(**plain.get("deliberate", {"when": "never"}))
        return PlannerConfig(
            SearchConfig(**search), ArrivalConfig(**plain["arrival"]), plain["max_gap"], deliberate,
            plain.get("novel_goal", PlannerConfig.novel_goal), settings_for(contract, body or {}),
        )  # fmt: skip
    except (ValueError, KeyError, TypeError) as error:
        raise BagError(
            f"{recording.reader.path}: the planner's settings in this bag are of another version: {error}"
        ) from None


def _recorded_card(reader: BagReader) -> dict[str, Any] | None:
    """The card of the model that ran, None where the bag has none."""
    text = reader.custom_data.get(MODEL_CARD_KEY)
    try:
        card = json.loads(text) if text else None
    except ValueError as error:
        raise BagError(f"{reader.path}: the model card in this bag is not JSON: {error}") from None
    return card if isinstance(card, dict) else None


def _text(path: str) -> str:
    if not path:
        return ""
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise JepaRosError(f"{path}: cannot be read: {error}") from None
