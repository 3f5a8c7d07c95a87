# SPDX-License-Identifier: Apache-2.0
"""A base with two driven wheels that drives: its commands, time, encoders, bumper, lidar. A world puts it somewhere."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from .base import Body, WheeledBase
from .engine import pybullet as p
from .sensors import SCAN_HEIGHT, Odometry, Scan, SensorSpec, cast_scan
from .simulator import DT, Simulator, finite, steps_of

TICK = 4  # steps between encoder readings, and of people: 20 ms


class DrivingSpec(SensorSpec, Protocol):
    """What a world's settings state besides its sensors' errors."""

    command_timeout: float  # s without a command after which the base stops its wheels
    bumper_hold: float  # s that the bumper stays pressed after a touch


@dataclass
class Driving:
    """All of it that changes outside PyBullet, so that it is saved and restored in one piece."""

    rngs: dict[str, np.random.Generator]
    odometry: Odometry
    latency: int = 0  # steps until a command comes to the wheels
    step: int = 0
    commanded_at: int = -(10**9)
    queue: list[tuple[int, tuple[float, float]]] = field(default_factory=list)  # (step due, wheel speeds)
    target: tuple[float, float] = (0.0, 0.0)  # rad/s, what the wheels are told
    blocked: str | None = None  # the wheel that is jammed
    turns: tuple[float, float] = (0.0, 0.0)  # rad, last encoder reading
    touching: bool = False
    touched_at: int = -(10**9)
    contact_steps: int = 0
    contact_count: int = 0


class DrivingSimulator(Simulator):
    """See the module. A subclass builds its world with :meth:`_begin`, and moves what else moves in :meth:`_tick`.

    Args:
        base: the robot. contract: of it. spec: what is stated of its sensors.

    Raises:
        SimError: the contract is of another robot.
    """

    lidar_height = SCAN_HEIGHT
    _s: Driving
    _body: Body

    def __init__(self, base: WheeledBase, contract: Any, spec: DrivingSpec) -> None:
        base.check(contract)
        self.base, self.contract, self._spec = base, contract, spec
        super().__init__()

    def _floor(self) -> int:
        """Empty the world but for a floor; its body."""
        c = self._client
        self._empty(20, fixedTimeStep=DT)
        p.setGravity(0, 0, -9.81, physicsClientId=c)
        floor = int(p.createMultiBody(0, p.createCollisionShape(p.GEOM_PLANE, physicsClientId=c), physicsClientId=c))
        p.changeDynamics(floor, -1, lateralFriction=1.0, restitution=0.0, physicsClientId=c)
        return floor

    # ---- time and command --------------------------------------------------------------------------------------
    def set_command(self, values: Any) -> None:
        """Command (v m/s, w rad/s) for the base, as its driver would take it; it holds until the watchdog ends it.

        Raises:
            SimError: not two finite numbers (the command in force is kept).
        """
        v, w = finite(values, 2, "v m/s, w rad/s").tolist()
        s = self._s
        s.commanded_at = s.step
        s.queue.append((s.step + s.latency, self.base.wheel_speeds(v, w)))

    def advance(self, duration: float) -> None:
        """Move time on by ``duration`` s, a multiple of the physics step of 0.005 s.

        Raises:
            SimError: not a multiple of the physics step.
        """
        s, client = self._s, self._client
        timeout = round(self._spec.command_timeout / DT)
        for _ in range(steps_of(duration)):
            target = s.target
            while s.queue and s.queue[0][0] <= s.step:
                target = s.queue.pop(0)[1]
            if s.step - s.commanded_at >= timeout:
                s.queue.clear()
                target = (0.0, 0.0)
            if target != s.target:
                s.target = target
                self._body.drive(target, s.blocked)
            if s.step % TICK == 0:
                self._tick()
            p.stepSimulation(physicsClientId=client)
            s.step += 1
            self._feel(self._body.touches())
            if s.step % TICK == 0:
                self._read_encoders()

    def _tick(self) -> None:
        """What happens every 20 ms, before a step."""

    def _feel(self, touched: list[int]) -> None:
        """Note the bodies that are touched."""
        s = self._s
        if touched:
            s.contact_steps += 1
            s.contact_count += not s.touching
            s.touched_at = s.step
        s.touching = bool(touched)

    def _read_encoders(self) -> None:
        s = self._s
        turns, _ = self._body.wheels()
        noise = s.rngs["odom"].standard_normal(2).tolist()
        s.odometry.update(turns[0] - s.turns[0], turns[1] - s.turns[1], TICK * DT, noise)
        s.turns = turns

    # ---- what the robot measures -------------------------------------------------------------------------------
    def odom(self) -> tuple[float, float, float, float, float]:
        """Wheel odometry (x, y, yaw, v, w) in m, rad and s, from where the episode began; it drifts."""
        o = self._s.odometry
        return o.x, o.y, o.yaw, o.v, o.w

    def scan(self) -> Scan:
        """One turn of the lidar in the middle of the robot."""
        pose = self._body.pose()
        return cast_scan(self._client, self._spec, *pose, self._s.rngs["scan"], self.lidar_height)

    def contact(self) -> bool:
        """The bumper: pressed while the body touches something and for ``bumper_hold`` s after."""
        return bool((self._s.step - self._s.touched_at) * DT <= self._spec.bumper_hold)
