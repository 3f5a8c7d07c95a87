# SPDX-License-Identifier: Apache-2.0
"""What a world offers: a scene to act in, tasks to try there, and what is observed. Nothing here knows a body.

A world is a folder (or a package of somebody else's) that satisfies these protocols; it inherits from nothing.
Collection, evaluation, demonstration and the ``sim`` node speak to a world through them alone.
``jepa-ros check world NAME`` runs :mod:`jepa_ros.worlds.checker` on one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from jepa_ros.contract import RobotContract
from jepa_ros.errors import JepaRosError

if TYPE_CHECKING:  # the planner brings torch; a world may do without
    from jepa_ros.planning.planner import PlannerConfig


class WorldError(JepaRosError):
    """A world that is not there, or that was asked for something it does not have."""


@dataclass(frozen=True)
class Observation:
    """What can be seen and felt at one moment. Nothing in it comes from a simulator's ground truth.

    Attributes:
        stamp: [s].
        images: {camera: (H, W, 3) uint8 RGB}, as the camera delivers them.
        state: {name: measurement}, named as the contract's state; each is the type of that input in
            :mod:`jepa_ros.safety.inputs` (``pose`` a ``PoseIn``, ``joint_states`` a ``JointsIn``, ...).
        step: k, the control step that begins. The loop fills in this and what follows; a scene leaves it.
        executed: (A,) executed action of step k - 1 in the contract's units, None where none is known.
        gated: (A,) what the gate lets through at ``stamp``; gate_reason: its reason word then.
        touched: the collision switch closed during step k - 1.
    """

    stamp: float
    images: Mapping[str, np.ndarray] = field(default_factory=dict)
    state: Mapping[str, Any] = field(default_factory=dict)
    step: int = 0
    executed: np.ndarray | None = None
    gated: np.ndarray | None = None
    gate_reason: str = ""
    touched: bool = False


@dataclass(frozen=True)
class Decision:
    """What a policy answers: a command (A,) in the contract's units, its signals for the gate, what else it knows.

    A command of None says "stand still" to joints that are commanded by position, see ``RobotContract.neutral``.
    """

    command: np.ndarray | None
    signals: Mapping[str, float] = field(default_factory=dict)
    info: Any = None


class Policy(Protocol):
    """Anything that turns observations into commands: a planner, exploration, an oracle, chance."""

    def act(self, observation: Observation) -> Decision:
        """The command of the step that begins with ``observation``."""
        ...


class Spec(Protocol):
    """One episode: plain, frozen data that it follows from. A world adds fields of its own."""

    @property
    def number(self) -> int:
        """Which episode this is."""
        ...

    @property
    def seed(self) -> int:
        """Everything random in the episode follows from it."""
        ...

    @property
    def group(self) -> int:
        """Episodes of one group share what stands about; 0: it never changes."""
        ...


@dataclass(frozen=True)
class Wanted:
    """What a task asks for, in every way in which a goal can be given.

    Attributes:
        seen: what would be observed with the goal reached: the goal pictures, and what the body would feel.
        readouts: the same as values, {readout: (n,)}: ``pose`` is (x, y, yaw).
    """

    seen: Observation
    readouts: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class Sample:
    """What is known of an episode after one control step, for a judge.

    Attributes:
        time: [s] since the episode began. truth: of the scene.
        arrived: the planner says that it is there. stopped: the gate stopped it during the step.
    """

    time: float
    truth: Any
    arrived: bool
    stopped: bool


class Scene(Protocol):
    """A robot in its surroundings. Time is the scene's own and moves only in :meth:`advance`."""

    @property
    def contract(self) -> RobotContract:
        """The robot's contract."""
        ...

    @property
    def rates(self) -> Mapping[str, float]:
        """{state: measurements a second}, of those of the contract's state that the scene can measure."""
        ...

    @property
    def time(self) -> float:
        """Seconds since the reset."""
        ...

    @property
    def over(self) -> bool:
        """The episode ended by itself (something fell over): nothing can be done in it any more."""
        ...

    def reset(self, spec: Any) -> None:
        """Begin the episode of ``spec`` at time 0, at rest; equal specs begin equally."""
        ...

    def observe(self, names: Collection[str] | None = None) -> Observation:
        """Look and feel now: the cameras and states named, all of them by default. Time does not move.

        A measurement may have noise, drawn anew each time that it is asked for.
        """
        ...

    def command(self, values: np.ndarray) -> None:
        """Take a command (A,), as the gate lets it through; it holds until the next."""
        ...

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        ...

    def truth(self) -> Any:
        """The true state, for scoring and oracles only: a dataclass or mapping of plain values."""
        ...

    def close(self) -> None:
        """Free what it holds. Closing twice is harmless."""
        ...


class Judge(Protocol):
    """Follows one episode of a task and judges it at its end."""

    def add(self, sample: Sample) -> None:
        """One sample, after each control step."""
        ...

    def held(self, seconds: float) -> bool:
        """Whether the goal has been reached, and said to be, for so long and until now."""
        ...

    def score(self) -> dict[str, Any]:
        """The verdict as plain data; ``success`` and ``ever`` (bool) are always there.

        Known to every report where they are there: ``contact``, ``false_arrival``, ``heading`` (bool),
        ``guardrail_violations`` (int or None), ``stopped_share`` and ``part`` (a word: which kind of task this was).
        """
        ...


class Task(Protocol):
    """What is to be done in a scene, when it counts as done, and how data for it is gathered."""

    @property
    def name(self) -> str:
        """Its name within the world."""
        ...

    @property
    def limit(self) -> int:
        """Control steps after which an episode ends."""
        ...

    @property
    def references(self) -> tuple[str, ...]:
        """Policies that know more than a robot does, to compare with: ``oracle``, ``replay``."""
        ...

    def describe(self) -> dict[str, Any]:
        """What the report says of the task beside its name: plain data."""
        ...

    def settings(self) -> dict[str, Any]:
        """What data that is gathered follows from, beside seed, number and length: plain data."""
        ...

    def draw(self, scene: Any, seed: int, number: int) -> Any:
        """The spec of episode ``number`` to be scored, a function of task, seed and number; never solved at its start.

        ``scene`` may be used to find one, and is to be reset afterwards.
        """
        ...

    def goal(self, scene: Any, spec: Any) -> Wanted:
        """What is wanted; ``scene`` was reset to ``spec``, and is as it was afterwards."""
        ...

    def judge(self, scene: Any, spec: Any) -> Judge:
        """A judge of the episode that begins; ``scene`` was reset to ``spec``."""
        ...

    def reference(self, name: str, scene: Any, spec: Any, config: PlannerConfig) -> Policy:
        """One of :attr:`references` for an episode; ``config`` is the planner's, for those that search."""
        ...

    def planner(self, config: PlannerConfig) -> PlannerConfig:
        """The planner's settings as this task needs them."""
        ...

    def outing(self, seed: int, number: int, attempt: int = 0) -> Any:
        """The spec of episode ``number`` in which data is gathered; ``attempt`` counts those that ended too soon."""
        ...

    def explore(self, scene: Any, spec: Any) -> Policy:
        """How the robot is driven about in the episode of an outing; ``scene`` was reset to it."""
        ...


class Drawn(Protocol):
    """What a task may say besides, so that a demonstration tells distances and draws the way. A scene of such a task
    has ``view(camera)``, whose ``project(points)`` gives pixels (..., 2) of places (..., 2 or 3) [m]."""

    @property
    def radius(self) -> float:
        """[m] within which is success."""
        ...

    def where(self, truth: Any) -> tuple[float, ...]:
        """The place (2 or 3,) [m] of what the task is about."""
        ...

    def target(self, spec: Any) -> tuple[float, ...]:
        """Where that is wanted, followed by the yaw [rad] where one is."""
        ...


class World(Protocol):
    """A robot, its scene and its tasks: what an entry point of the group ``jepa_ros.worlds`` makes when it is called.

    It can be pickled: worker processes get it. ``bodies`` (optional) are kinds of kinematics of which it takes any
    robot, where no world is registered under the robot's own name.
    """

    @property
    def name(self) -> str:
        """Of the world."""
        ...

    @property
    def gated(self) -> bool:
        """Commands go through the safety gate; worlds without one have nothing to be guarded."""
        ...

    @property
    def tasks(self) -> Mapping[str, str]:
        """{task to be scored: what it is}."""
        ...

    @property
    def outings(self) -> Mapping[str, str]:
        """{task in which data is gathered: what it is}."""
        ...

    @property
    def score_task(self) -> str:
        """The one of ``tasks`` that is taken where none is named."""
        ...

    @property
    def data_task(self) -> str:
        """The one of ``outings`` that is taken where none is named."""
        ...

    @property
    def options(self) -> Collection[str]:
        """Options of its tasks, as the command line has them (``per_layout`` for ``--per-layout``)."""
        ...

    @property
    def episodes(self) -> int:
        """So many are gathered where no number is given."""
        ...

    @property
    def shortest(self) -> int:
        """Control steps; an episode of data that ends sooner is tried again."""
        ...

    @property
    def model(self) -> str:
        """Name of the shipped model, "" where there is none."""
        ...

    def contract(self) -> RobotContract:
        """The robot of this world."""
        ...

    def scene(self, contract: RobotContract) -> Scene:
        """A scene with the robot of ``contract``, not reset yet.

        Raises:
            JepaRosError: the contract is of a robot that this world does not have.
        """
        ...

    def task(self, name: str, contract: RobotContract, options: Mapping[str, Any]) -> Task:
        """A task, of ``tasks`` or ``outings``, with those of ``options`` that were given.

        Raises:
            WorldError: no such task, or a value that an option cannot have.
        """
        ...
