# SPDX-License-Identifier: Apache-2.0
"""One agent without ROS: a step clock, a policy (the planner's part, or another), and the gate's part.

The loop runs a whole agent, for collection and evaluation. On a robot its parts are processes: ``perception`` has the
step clock, ``planner`` the planner's part, ``safety_gate`` the gate's. A replay runs the same parts over a bag.
"""

from __future__ import annotations

import zlib
from collections import deque
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from jepa_ros.agent.bodies import body_of
from jepa_ros.agent.executed import ExecutedLog
from jepa_ros.agent.gate_part import GatePart
from jepa_ros.agent.step_clock import StepClock
from jepa_ros.contract import RobotContract
from jepa_ros.safety.gate import Gate
from jepa_ros.safety.inputs import CommandIn, ImageIn, SignalsIn
from jepa_ros.worlds.protocols import Decision, Observation, Policy

COMPONENTS = ("perception", "planner")


@dataclass(frozen=True)
class Tick:
    """What left for the robot at one tick: values (A,), the gate's mode and reason (both "" without a gate).

    ``publish`` is false if nothing leaves: an arm whose joints were never measured gets no command.
    """

    values: np.ndarray
    mode: str = ""
    reason: str = ""
    publish: bool = True


class Agent:
    """Decides when a step begins, asks the policy, and lets the gate have the last word.

    Args:
        contract: of the robot. policy: asked once a step.
        gate: None for no gate: commands are then only clipped to the contract's range.

    Attributes:
        last: the newest tick.
    """

    def __init__(self, contract: RobotContract, policy: Policy, gate: Gate | None) -> None:
        self.contract, self.policy = contract, policy
        self.clock = StepClock(contract.rate, contract.step_camera.rate)
        self.body = body_of(contract)
        self.log = ExecutedLog(contract, self.body.motion())
        self.guard = None if gate is None else GatePart(gate)
        self.last = Tick(self._at_rest())
        self.steps = 0
        self._begun: float | None = None
        self._pending: deque[tuple[float, CommandIn, SignalsIn]] = deque()
        self._asked = self._gated = self.last.values
        self._names = tuple(contract.command.joints) if self.body.every_tick else None
        self._action: CommandIn | None = None  # the one in force, where it is a new command every tick
        self._sequence = 0

    def _at_rest(self) -> np.ndarray:
        """What leaves before the first tick: (A,), or nothing (0,) if only the gate knows what stands still."""
        still = self.contract.neutral()
        if self.guard is None:
            zeros = np.zeros(self.contract.action_dim)
            return np.clip(zeros if still is None else still, self.contract.action_low, self.contract.action_high)
        return np.zeros(0) if still is None else still

    # ---- the policy ----------------------------------------------------------------------------------------------
    def begins(self, stamp: float) -> bool:
        """Whether a picture of ``stamp`` [s] begins a step; ask once for each picture."""
        return self.clock.begins_step(stamp)

    def decide(self, seen: Observation, touched: bool) -> tuple[Observation, Decision]:
        """Begin a step: ask the policy. Returns what it was told and what it answered."""
        told = replace(
            seen, step=self.steps, executed=self.executed(seen.stamp), gated=self._gated,
            gate_reason=self.last.reason, touched=touched,
        )  # fmt: skip
        self.steps, self._begun = self.steps + 1, seen.stamp
        decision = self.policy.act(told)
        self.ask(decision, seen.stamp, self.contract.actuation_latency)
        return told, decision

    def executed(self, now: float) -> np.ndarray | None:
        """The executed action (A,) since the last step began; None before the first."""
        return None if self._begun is None else self.log.mean(self._begun, now)

    def ask(self, decision: Decision, now: float, delay: float) -> None:
        """Send a command on its way; it reaches the gate after ``delay`` s."""
        still = decision.command is None
        values = np.zeros(0) if still else np.asarray(decision.command, dtype=np.float64)
        if self.guard is None:
            if not still:
                self._asked = np.clip(values, self.contract.action_low, self.contract.action_high)
            return
        self._sequence += 1
        command = CommandIn(values.tolist(), stamp=now, received=now + delay, seq=self._sequence, still=still)
        signals = SignalsIn(stamp=now, received=now + delay, values=decision.signals)
        self._pending.append((now + delay, command, signals))

    # ---- the gate ------------------------------------------------------------------------------------------------
    def measured(self, name: str, value: Any) -> None:
        """Hear a measurement of the contract's state."""
        self.log.measured(name, value)
        self.body.measured(name, value)
        if self.guard is not None:
            self.guard.hear(name, value)

    def picture(self, image: np.ndarray, stamp: float) -> None:
        """Show the gate a picture of the contract's first camera, as on a robot."""
        if self.guard is not None:
            self.guard.hear("image", ImageIn(stamp, stamp, zlib.adler32(image.tobytes())))

    def tick(self, now: float) -> Tick:
        """One tick at ``now`` [s]: what leaves for the robot."""
        if self.guard is None:
            self.last = Tick(self._asked)
        else:
            while self._pending and self._pending[0][0] <= now + 1e-9:
                _, self._action, signals = self._pending.popleft()
                if not self.body.every_tick:
                    self.guard.hear("command", self._action)
                self.guard.hear("signals", signals)
            if self.body.every_tick and self._action is not None:
                self._command(self._action, now)
            output = self.guard.tick(now, now, heartbeats=dict.fromkeys(COMPONENTS, now), output_publishers=1)
            self.last = Tick(np.asarray(output.values), output.mode.name, output.reason, output.publish)
        if self.last.publish:
            self.body.gated(self.last.values)
        made = self.log.add(now, self.last.values) if self.last.publish or not self.body.every_tick else None
        self._gated = self._gated if made is None else made
        return self.last

    def _command(self, action: CommandIn, now: float) -> None:
        """Give the gate the command that the action in force is now. Its stamp stays that of the action's image, so an
        action that nobody renews grows old."""
        assert self.guard is not None
        values = self.body.command(np.asarray(action.values))
        if values is not None:
            self._sequence += 1
            told = CommandIn(values.tolist(), action.stamp, now, self._sequence, names=self._names)
            self.guard.hear("command", told)
