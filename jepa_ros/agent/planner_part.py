# SPDX-License-Identifier: Apache-2.0
"""The planner's part of an agent: perception, planner, and what the planner is told at each step.

The loop runs it as a policy, the ``planner`` node on embeddings from a topic, an in-process replay on those of a bag.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jepa_ros.agent.bodies import executed_log
from jepa_ros.agent.odometry import Odometry
from jepa_ros.agent.scans import Scans
from jepa_ros.cost.goal import Goal
from jepa_ros.errors import JepaRosError
from jepa_ros.memory.knowledge import Picture
from jepa_ros.perception import Perception
from jepa_ros.perception.state import model_state
from jepa_ros.planning.deliberate.deliberator import Recorded
from jepa_ros.planning.planner import Planner, PlannerOutput
from jepa_ros.safety.inputs import ScanIn
from jepa_ros.worlds.protocols import Decision, Observation


@dataclass(frozen=True)
class Told:
    """What the planner is told as a step begins, besides what is seen.

    Attributes:
        executed: (A,) executed action of the last step; gated: (A,) in force now. None if not known.
        reason: the gate's reason word. odometry: (x m, y m, yaw rad), None if not known.
        scan: what the gate's scan shows, None where the planner is told of none.
    """

    executed: NDArray[np.float64] | None
    gated: NDArray[np.float64] | None
    reason: str = ""
    odometry: tuple[float, float, float] | None = None
    scan: ScanIn | None = None


@dataclass(frozen=True)
class Thought:
    """The answer to the image that began a step; ``error`` says why planning failed, "" if it did not."""

    output: PlannerOutput
    told: Told
    error: str = ""


class PlannerPart:
    """Perception and planner, and what the gate let through since the last step.

    Args:
        planner: finds plans. perception: encodes; None if embeddings come from elsewhere and no goal is a picture.

    Attributes:
        log, odometry, scans: what the gate let through, where the robot was, and what the gate's scan showed; whoever
            hears of them fills these.
        encode_seconds: the last time perception took.
    """

    def __init__(self, planner: Planner, perception: Perception | None = None) -> None:
        self.planner, self.perception = planner, perception
        self.log = executed_log(planner.contract)
        self.odometry, self.scans = Odometry(planner.contract), Scans(planner.contract)
        self.encode_seconds = 0.0
        self._stamp: float | None = None

    def reset(self) -> None:
        """Forget what was seen: the robot was moved, or the clock jumped. The goal stays."""
        self.planner.reset()
        self._stamp = None

    def told(self, stamp: float, reason: str) -> Told:
        """What the planner is told at the beginning of a step: what the log says since the last one."""
        executed = None if self._stamp is None else self.log.mean(self._stamp, stamp)
        return Told(executed, self.log.at(stamp), reason, self.odometry.at(stamp), self.scans.at(stamp))

    def think(
        self, embedding: NDArray[np.float32], stamp: float, told: Told, iterations: int | None = None,
        seed: int | None = None, deliberation: Recorded | None = None, picture: Picture | None = None,
    ) -> Thought:  # fmt: skip
        """Answer the embedding of the image of ``stamp`` [s], which begins a step.

        If planning fails, the answer is to stand still.

        Args:
            iterations, seed, deliberation, picture: see :meth:`jepa_ros.planning.planner.Planner.step`.
        """
        self._stamp = stamp
        try:
            output = self.planner.step(
                embedding, stamp, told.executed, told.gated, iterations=iterations, seed=seed,
                gate_reason=told.reason, deliberation=deliberation, picture=picture, odometry=told.odometry,
                scan=told.scan,
            )  # fmt: skip
            return Thought(output, told)
        except JepaRosError as error:
            return Thought(self.planner.fail(error), told, str(error))

    def act(self, observation: Observation) -> Decision:
        """As a policy of the loop: encode what is seen, plan, and pass the planner's output on as ``info``.

        Raises:
            JepaRosError: planning failed, which ends a loop.
        """
        started = time.perf_counter()
        embedding = self.encode(observation)
        self.encode_seconds = time.perf_counter() - started
        return decide(self.planner, embedding, observation)

    def encode(self, observation: Observation) -> NDArray[np.float32]:
        """The embedding of the pictures that the model sees and the state that it takes."""
        return self._eyes().encode(observation.images, state=model_state(self.planner.contract, observation.state))

    def goal(self, picture: NDArray[np.uint8], encoding: str = "rgb8", name: str = "") -> Goal:
        """The goal that a picture of the model's camera shows.

        Raises:
            ImageError: the picture does not fit the camera.
        """
        return Goal.from_latent(self._eyes().encode(picture, encoding), name=name)

    def goal_seen(self, wanted: Observation) -> Goal:
        """The goal to see what is observed in ``wanted``."""
        return Goal.from_latent(self.encode(wanted))

    def _eyes(self) -> Perception:
        if self.perception is None:
            raise JepaRosError("this planner has no perception of its own: it takes embeddings")
        return self.perception


def odometry_of(state: Mapping[str, Any]) -> tuple[float, float, float] | None:
    """(x m, y m, yaw rad) as odometry tells it, None where it was not measured."""
    odom = state.get("odom")
    return None if odom is None else (odom.x, odom.y, odom.yaw)


def decide(planner: Planner, embedding: NDArray[np.float32], observation: Observation) -> Decision:
    """The planner's answer to an embedding of what is observed."""
    output = planner.step(
        embedding, observation.stamp, executed=observation.executed, gated=observation.gated,
        gate_reason=observation.gate_reason, odometry=odometry_of(observation.state),
        picture=lambda: observation.images.get(planner.contract.step_camera.name),
        scan=observation.state.get("scan") if planner.contract.planned_reach > 0.0 else None,
    )  # fmt: skip
    return Decision(output.command, output.signals, output)
