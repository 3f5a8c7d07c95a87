# SPDX-License-Identifier: Apache-2.0
"""Whether the robot has arrived, judged from its latent alone; with hysteresis, so that it does not chatter."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch

from jepa_ros.contract import RobotContract
from jepa_ros.cost.goal import Target
from jepa_ros.cost.to_go import WAY
from jepa_ros.errors import JepaRosError
from jepa_ros.ranges import Range
from jepa_ros.world_model.readouts import Part, Readout

_RANGES = {
    "confirm": Range(1, whole=True), "patience": Range(0, whole=True), "heading": Range(0.0, above=True, unit="rad"),
}  # fmt: skip


@dataclass(frozen=True)
class ArrivalConfig:
    """When to stop and when to start again.

    Args:
        arrive, leave: metres, by a readout in metres; the robot has arrived within the one, and left beyond the
            other.
        arrive_steps, leave_steps: the same in control steps, for models without such a readout.
        arrive_latent, leave_latent: the same as RMS latent distance, for models with neither readout.
        heading: radians within which the heading counts as right.
        patience: steps for which a right position waits for a right heading.
        confirm: steps in a row that a change needs.
    """

    arrive: float = 0.05
    leave: float = 0.09
    arrive_steps: float = 1.0
    leave_steps: float = 2.5
    arrive_latent: float = 0.15
    leave_latent: float = 0.3
    heading: float = 0.3
    patience: int = 5
    confirm: int = 2

    @staticmethod
    def of(contract: RobotContract) -> ArrivalConfig:
        """As the contract says."""
        return ArrivalConfig(arrive=contract.arrival.arrive, leave=contract.arrival.leave)

    def __post_init__(self) -> None:
        for low, high in (("arrive", "leave"), ("arrive_steps", "leave_steps"), ("arrive_latent", "leave_latent")):
            a, b = getattr(self, low), getattr(self, high)
            if not (0.0 < a <= b < math.inf):
                raise JepaRosError(f"arrival {low} is {a} and {high} is {b}; expected 0 < {low} <= {high}")
        for name, wanted in _RANGES.items():
            if problem := wanted.problem(getattr(self, name)):
                raise JepaRosError(f"arrival {name}: {problem}")

    def limits(self, unit: str) -> tuple[float, float]:
        """Within what distance the robot has arrived, and beyond what it has left, in a unit of :class:`Reading`."""
        return {
            "m": (self.arrive, self.leave),
            "steps": (self.arrive_steps, self.leave_steps),
            "latent": (self.arrive_latent, self.leave_latent),
        }[unit]


@dataclass(frozen=True)
class Reading:
    """How far the goal is: distance in `unit` ("m", "steps" or "latent"), heading error in rad or None."""

    distance: float
    unit: str
    heading_error: float | None = None


def read_distance(model: Any, z: torch.Tensor, goal: Target) -> Reading:
    """Measure the way to the goal from a latent (D,), with the best readout that the model has.

    That is the first readout that the goal has values of, by its first part that is measured in metres; an angle among
    its parts is the heading. Without one it is the temporal distance, else the latent's.
    """
    if (found := in_metres(model, goal)) is not None:
        readout, part, wanted = found
        here, there = model.read(readout.name, z[None])[0].tolist(), wanted.tolist()
        distance = math.dist([here[d] for d in part.dims], [there[d] for d in part.dims])
        angle = next((p for p in readout.parts if p.metric == "angle"), None)
        return Reading(distance, "m", None if angle is None else _turn(here, there, angle.dims))
    assert goal.latent is not None  # a goal in values was refused without its readout
    if name := in_steps(model):
        return Reading(float(model.read(name, z[None], goal.latent[None])[0]), "steps")
    return Reading(float((z - goal.latent).square().mean().sqrt()), "latent")


def in_metres(model: Any, goal: Target) -> tuple[Readout, Part, torch.Tensor] | None:
    """The first readout that the goal has values of, its first part in metres, and the goal's values (dims,); None if
    no readout tells metres to this goal."""
    for readout in model.readouts.values():
        wanted = goal.read(readout.name) if readout.parts else None
        part = next((p for p in readout.parts if p.metric == "distance" and p.unit == "m"), None)
        if wanted is not None and part is not None and not bool(wanted[list(part.dims)].isnan().any()):
            return readout, part, wanted
    return None


def in_steps(model: Any) -> str:
    """The readout that tells control steps to a goal: the one that plans can trust at range, if there is one; "" where
    there is none."""
    return next((name for name in (WAY, "distance") if name in model.readouts), "")


def _turn(here: list[float], there: list[float], dims: tuple[int, ...]) -> float | None:
    """The angle from cosine and sine here to those there [rad]; None where they are free."""
    now, then = (math.atan2(values[dims[1]], values[dims[0]]) for values in (here, there))
    return None if math.isnan(then) else math.remainder(then - now, math.tau)


class Arrival:
    """The state of having arrived. A fresh one stands for "on the way"."""

    def __init__(self, config: ArrivalConfig | None = None) -> None:
        self.config = config or ArrivalConfig()
        self.reset()

    def reset(self) -> None:
        """On the way again, with a new goal."""
        self.arrived = False
        self._inside = self._count = 0

    @property
    def counts(self) -> tuple[int, int, int]:
        """Whether it has arrived (1 or 0), the readings in a row inside the limit, and those that want a change."""
        return int(self.arrived), self._inside, self._count

    @counts.setter
    def counts(self, counts: tuple[int, int, int]) -> None:
        self.arrived, self._inside, self._count = bool(counts[0]), counts[1], counts[2]

    def update(self, reading: Reading) -> bool:
        """Take the reading of one control step; true while the robot has arrived."""
        c = self.config
        arrive, leave = c.limits(reading.unit)
        inside = reading.distance <= arrive
        self._inside = self._inside + 1 if inside else 0
        if self.arrived:
            change = not reading.distance <= leave
        else:
            error = reading.heading_error
            change = inside and (error is None or abs(error) <= c.heading or self._inside > c.patience)
        self._count = self._count + 1 if change else 0
        if self._count >= c.confirm:
            self.arrived = not self.arrived
            self._count = self._inside = 0
        return self.arrived
