# SPDX-License-Identifier: Apache-2.0
"""The ROS-free loop: an agent in a scene, one control step at a time.

Collection and evaluation run this loop; the nodes run the agent's parts behind topics (docs/worlds.md). Timing:

- The step clock chooses the image that begins step k.
- The policy's command reaches the gate ``actuation_latency`` later.
- The *executed action* of step k is the time-weighted mean of what the gate let through until the next step begins.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np

from jepa_ros.agent.agent import Agent
from jepa_ros.contract.topics import WHEREABOUTS
from jepa_ros.safety.gate import Gate, GateConfig
from jepa_ros.worlds.protocols import Decision, Observation, Policy, Scene, WorldError


@dataclass(frozen=True)
class StepRecord:
    """One control step as it happened.

    Attributes:
        observation, decision: what the policy was told and answered. executed: (A,) the action of this step.
        touched: the collision switch closed during it. modes, reasons: of the gate, one a tick.
    """

    observation: Observation
    decision: Decision
    executed: np.ndarray
    touched: bool
    modes: tuple[str, ...]
    reasons: tuple[str, ...]


class Loop:
    """Runs an agent in lock-step with a scene's clock.

    Args:
        scene: reset to its episode. policy: asked once a step.
        gate: the safety gate; by default the contract's, armed by itself.
        gated: false to run without a gate.
        blind: states that the gate is not shown, unless it needs them. Exploration hides the lidar of a robot that
            may do without: a model learns what a contact is only from touching something.
        camera: show the gate every picture of the camera, as on a robot, and not only those that begin a step. Each
            costs a rendering.
        look: false to take no pictures, if neither the policy nor the gate needs any.
    """

    def __init__(
        self, scene: Scene, policy: Policy, gate: Gate | None = None, *, gated: bool = True,
        blind: Collection[str] = (), camera: bool = False, look: bool = True,
    ) -> None:  # fmt: skip
        self.scene = scene
        self.contract = contract = scene.contract
        if gated and gate is None:
            gate = Gate(GateConfig.from_contract(contract, auto_enable=True))
        self.agent = Agent(contract, policy, gate if gated else None)
        self.tick = 1.0 / contract.gate_rate if gated else contract.period
        self.touched = False
        cameras = tuple(c.name for c in contract.cameras) if look else ()
        self._guarded = (contract.watched_camera.name,) if look and gated else ()
        planned: tuple[str, ...] = ()
        if contract.planned_reach > 0.0 and ("scan" not in blind or contract.state["scan"].required):
            planned = ("scan",)
        felt = (*WHEREABOUTS, *(wanted.name for wanted in contract.kept_state), *planned)
        self._at_step = (*cameras, *(name for name in dict.fromkeys(felt) if name in scene.rates))
        self._due = [
            (name, max(1, round(contract.gate_rate / rate)))
            for name, rate in scene.rates.items()
            if gated and (name not in blind or contract.state[name].required)
        ]
        self._feels = "contact" in scene.rates
        self._ticked = 0
        self._ticks = contract.period / self.tick  # of a step; need not be whole
        self._patience = 100 + 10 * self._ticks
        self._frame = max(1, round(contract.gate_rate / contract.watched_camera.rate)) if camera and gated else 0
        if gated:
            self._arm()
        self.agent.begins(scene.time)

    def _arm(self) -> None:
        """Show the gate fresh inputs and a standstill for its arming time, as on a robot before it first moves."""
        needed = self.contract.watchdog.rearm_time + 0.2
        still = Decision(self.contract.neutral())
        for i in range(round(needed * self.contract.gate_rate)):
            if i % round(self._ticks) == 0:
                self._show(self.scene.observe(self._guarded))
                self.agent.ask(still, self.scene.time, 0.0)
            self._tick()

    def _show(self, seen: Observation) -> None:
        for name in self._guarded:
            self.agent.picture(seen.images[name], seen.stamp)

    def _tick(self) -> tuple[str, str]:
        """One tick: measurements go in, a command goes to the robot. Returns the gate's mode and reason."""
        scene, agent = self.scene, self.agent
        if due := [name for name, every in self._due if self._ticked % every == 0]:
            for name, value in scene.observe(due).state.items():
                agent.measured(name, value)
        self._ticked += 1
        ticked = agent.tick(scene.time)
        if ticked.publish:
            scene.command(ticked.values)
        scene.advance(self.tick)
        if self._feels:
            self.touched |= bool(scene.observe(("contact",)).state["contact"].value)
        return ticked.mode, ticked.reason

    def _next_begins(self, since: int) -> bool:
        """Whether the next step begins now, ``since`` ticks after this one did."""
        if not self._frame:  # no picture is taken that could not begin a step
            k = self.agent.steps
            return since >= round(k * self._ticks) - round((k - 1) * self._ticks) and self.agent.begins(self.scene.time)
        if since % self._frame:
            return False
        if self.agent.begins(self.scene.time):
            return True
        self._show(self.scene.observe(self._guarded))
        return False

    def step(self) -> StepRecord:
        """Run one control step and return what happened in it.

        Raises:
            WorldError: the scene's time does not move on.
        """
        seen = self.scene.observe(self._at_step)
        self._show(seen)
        observation, decision = self.agent.decide(seen, self.touched)
        self.touched = False
        ticks = list[tuple[str, str]]()
        while True:
            ticks.append(self._tick())
            if self.scene.over or self._next_begins(len(ticks)):
                break
            if len(ticks) > self._patience:
                raise WorldError(f"a control step does not end: the scene's time is {self.scene.time:g} s")
        executed: Any = self.agent.executed(self.scene.time)
        modes, reasons = zip(*ticks, strict=True)
        return StepRecord(observation, decision, executed, self.touched, modes, reasons)
