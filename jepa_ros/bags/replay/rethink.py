# SPDX-License-Identifier: Apache-2.0
"""One moment of a bag thought over again: the same step with another goal, guardrails, budget, seed or model.

Only the recent past is replayed (:data:`PAST` seconds, as recorded), so a moment of a long bag takes no longer than
one of a short bag. What the planner remembered from before that (the map of where it was blocked) is not known here.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from jepa_ros.bags import GUARDRAILS_KEY, BagError
from jepa_ros.bags.format.reader import BagReader
from jepa_ros.bags.replay.offline import OfflineReplay, OfflineSettings
from jepa_ros.bags.replay.recording import Recording
from jepa_ros.bags.replay.run_log import Step
from jepa_ros.bags.replay.stack import Changes, brain_of, prepare
from jepa_ros.cost.goal import Goal
from jepa_ros.messages.images import pixels
from jepa_ros.planning.bodies import goals_of
from jepa_ros.planning.output import PlannerOutput
from jepa_ros.safety.guardrails import guardrails_for

#: Seconds of the past that are replayed before the moment: the model's state and the last plan have settled by then.
PAST = 2.0


@dataclass(frozen=True)
class Otherwise:
    """What is different at the moment; None and "" change nothing.

    Attributes:
        place: goal in numbers, (x, y, z) [m] and a heading [rad]. picture: goal picture, (pixels, encoding).
        latent: goal as a remembered place, (latent, name).
        guardrails: YAML text; "[]" is none at all. iterations, samples, seed: of the search.
        model: checkpoint, a folder or a shipped name.
    """

    place: tuple[tuple[float, float, float], float] | None = None
    picture: tuple[NDArray[Any], str] | None = None
    latent: tuple[NDArray[Any], str] | None = None
    guardrails: str = ""
    iterations: int | None = None
    samples: int | None = None
    seed: int | None = None
    model: str = ""


@dataclass(frozen=True)
class Again:
    """What came of it: the planner's output, and the seconds that it took, loading of a model not counted."""

    output: PlannerOutput
    took: float


class Moments:
    """A recorded bag whose steps can be thought over again. Calls from several threads take turns.

    Args:
        reader: the bag, open. robot: contract, where it is not the bag's own. model: checkpoint; default the shipped
            one of the robot's name. namespace: of the robot in the bag.

    Attributes:
        steps: those of the planner whose images are in the bag, in order. changed: what is not as recorded.

    Raises:
        JepaRosError: the bag or the model does not fit, or no planner spoke in it.
    """

    def __init__(self, reader: BagReader, robot: str | None = None, model: str = "", namespace: str = "") -> None:
        prepared = prepare(reader, Changes(robot=robot, model=model, namespace=namespace, gate=False, whole=False))
        self.reader, self.contract, self.recording = reader, prepared.contract, prepared.recording
        images = {stamp for _, stamp in self.recording.images}
        told = self.recording.log.steps
        self.steps: list[Step] = [told[s] for s in sorted(told) if told[s].status and s in images]
        if not self.steps:
            raise BagError(
                f"{reader.path}: no planner/status in this bag, so there is no decision to look at; "
                "`jepa-ros replay --fast` runs the stack over its pictures"
            )
        self.changed = prepared.changed
        self._model = model
        self._brains: dict[tuple[str, int], Any] = {(model, 0): (prepared.offline.perception, prepared.offline.planner)}
        self._turn = threading.Lock()

    def picture(self, number: int) -> tuple[NDArray[Any], str]:
        """The image of a step: (pixels, encoding)."""
        with self._turn:
            stamp = self.steps[number].stamp
            at = next(time for time, known in self.recording.images if known == stamp)
            for message in self.reader.messages({self.recording.image_topic}, at, at + 1):
                return pixels(self.reader.deserialize(message))
        raise BagError(f"{self.reader.path}: the image of step {number} cannot be found again")

    def rethink(self, number: int, otherwise: Otherwise | None = None) -> Again:
        """Think a step over again.

        Raises:
            JepaRosError: what shall be different does not fit the robot or the model.
        """
        otherwise = otherwise or Otherwise()
        with self._turn:
            perception, planner = self._brain(otherwise)
            recorded = planner.guardrails
            began = time.perf_counter()
            planner.reset()
            planner.set_goal(None)
            past = self.recording.past_of(self.steps[number].stamp, PAST)
            again = _Rethought(past, perception, planner, otherwise, bool(otherwise.model))
            try:
                again.run()
            finally:
                planner.set_guardrails(recorded)
            assert again.output is not None  # the moment is the last step of its past
            return Again(again.output, time.perf_counter() - began)

    def _brain(self, otherwise: Otherwise) -> tuple[Any, Any]:
        key = (otherwise.model or self._model, otherwise.samples or 0)
        if key not in self._brains:
            changes = Changes(model=key[0], samples=key[1])
            text = self.reader.custom_data.get(GUARDRAILS_KEY, "")
            rules = guardrails_for(self.contract, text).bind(self.contract)
            self._brains[key] = brain_of(self.contract, self.recording, changes, rules, [])[:2]
            if len(self._brains) > 4:  # the first one stays
                self._brains.pop(list(self._brains)[1])
        return self._brains[key]


class _Rethought(OfflineReplay):
    """A replay whose last step is thought otherwise."""

    def __init__(self, past: Recording, perception: Any, planner: Any, otherwise: Otherwise, new_model: bool) -> None:
        super().__init__(past, perception, planner, None, OfflineSettings(new_model=new_model))
        self._otherwise, self._moment = otherwise, past.images[-1][1]
        self.output: PlannerOutput | None = None

    def think(
        self, latent, stamp: int, told, iterations: int, seed: int | None, deliberation=None
    ) -> PlannerOutput:  # fmt: skip
        """As recorded, but for the last step."""
        if stamp == self._moment:
            wanted, contract = self._otherwise, self.planner.contract
            if wanted.place is not None:
                self.planner.set_goal(goals_of(contract).from_place(*wanted.place))
            elif wanted.picture is not None:
                self.planner.set_goal(self._part.goal(*wanted.picture, "another picture"))
            elif wanted.latent is not None:
                self.planner.set_goal(Goal.from_latent(wanted.latent[0], kind="memory", name=wanted.latent[1]))
            if wanted.guardrails.strip():
                self.planner.set_guardrails(guardrails_for(contract, wanted.guardrails).bind(contract))
            iterations = wanted.iterations or iterations
            seed = wanted.seed if wanted.seed is not None else seed
        output = super().think(latent, stamp, told, iterations, seed, deliberation)
        if stamp == self._moment:
            self.output = output
        return output
