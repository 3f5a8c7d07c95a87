# SPDX-License-Identifier: Apache-2.0
"""Did the robot go where it was sent, or was something in the way?"""

from __future__ import annotations

import math
from collections import deque

import torch

from jepa_ros.planar.obstructions import Obstructions

#: Reason words of the gate that mean: something stands there.
IN_THE_WAY = ("obstacle", "contact", "region")
#: A command forward or back below this share of the full speed says nothing about the way.
ASKED = 0.25
#: Below this share of what was asked (or executed) the robot counts as held back.
HELD = 0.3
#: Steps in a row without motion that make an obstruction; one is within the noise of the pose readout.
STUCK_STEPS = 2
#: Seconds on one spot, so small [m], that make a dead end; nearer to the goal than this [m] a robot may take its time.
DEAD_END_TIME, DEAD_END_SPOT, NEAR_GOAL = 1.6, 0.05, 0.15
#: m, plans shall end this far from a dead end, or this share of the way to the goal where that is less.
DEAD_END_RADIUS, DEAD_END_SHARE = 0.25, 0.6
#: Reason words of a gate that lets the robot drive.
DRIVING = ("", "ok", "acceleration_limit", "velocity_limit", *IN_THE_WAY)


class MotionCheck:
    """Compares command, execution and measured motion, step by step, and notes obstructions.

    Two things tell an obstruction: the gate holds the robot back and says that something is in the way; or the robot
    was let go and did not move (nothing saw the obstacle, but it is there).

    Args:
        contract: the robot contract. obstructions: where they are noted.

    Attributes:
        noted: x m, y m of the obstruction that the last step noted, None for none.
    """

    def __init__(self, contract, obstructions: Obstructions) -> None:
        names = [a.name for a in contract.action]
        self.axis = names.index("linear.x") if "linear.x" in names else None
        self.full = 0.0 if self.axis is None else float(contract.action_high[self.axis])
        self.period, self.obstructions = contract.period, obstructions
        self.reset()

    def reset(self) -> None:
        """The robot was moved: what was asked and where it was do not count."""
        self._last: tuple[float, float, float] | None = None
        self.noted: tuple[float, float] | None = None
        self._stuck = 0
        self._track: deque[tuple[float, float]] = deque(maxlen=max(2, round(DEAD_END_TIME / self.period)))

    @property
    def pose(self) -> tuple[float, float, float] | None:
        """x m, y m, yaw rad where the robot was last; None before that is known."""
        return self._last

    def observe(self, pose: torch.Tensor, steps: int, commanded, executed, gate_reason: str, now: float) -> None:
        """Take what came of a command.

        Args:
            pose: (4,) x, y, cos, sin, the pose readout. steps: control steps since the last call.
            commanded: (A,) physical, what was sent then; None stood still.
            executed: (A,) physical, mean since then, or None. gate_reason: the gate's word. now: s.
        """
        self.obstructions.forget(now)
        self.noted = None
        x, y, c, s = pose.tolist()
        before, self._last = self._last, (x, y, math.atan2(s, c))
        self._track.append((x, y))
        if steps != 1 or gate_reason not in DRIVING:
            self._track.clear()
        if self.axis is None or executed is None or before is None or steps != 1:
            self._stuck = 0
            return
        went = float(executed[self.axis])
        asked = 0.0 if commanded is None else float(commanded[self.axis])
        if gate_reason in IN_THE_WAY:
            if abs(asked) >= ASKED * self.full and went * math.copysign(1.0, asked) < HELD * abs(asked):
                self._note(asked, now)
            return
        expected = abs(went) * self.period
        moved = ((x - before[0]) * math.cos(before[2]) + (y - before[1]) * math.sin(before[2])) * math.copysign(
            1.0, went
        )
        held = abs(went) >= 2 * ASKED * self.full and moved < HELD * expected
        self._stuck = self._stuck + 1 if held else 0
        if self._stuck >= STUCK_STEPS:
            self._note(went, now)
            self._stuck = 0

    def judge_progress(self, distance: float, now: float) -> None:
        """On the way to a goal that is ``distance`` [m] away: note a dead end when the robot has stayed on one spot."""
        if len(self._track) < (self._track.maxlen or 0) or distance < NEAR_GOAL:
            return
        x, y = self._track[-1]
        if all(math.hypot(px - x, py - y) < DEAD_END_SPOT for px, py in self._track):
            self.obstructions.note_dead_end(x, y, min(DEAD_END_RADIUS, DEAD_END_SHARE * distance), now)
            self._track.clear()

    def _note(self, speed: float, now: float) -> None:
        assert self._last is not None
        x, y, yaw = self._last
        self.noted = self.obstructions.note(x, y, yaw if speed > 0.0 else yaw + math.pi, now)
