# SPDX-License-Identifier: Apache-2.0
"""The stops of late: what the gate stopped for last, and how often it stopped in the last minute."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any

from jepa_ros.console.words import AGAIN, CHATTER, JUST, TOO_OFTEN
from jepa_ros.safety.output import MOVING_NAMES

#: Modes of the gate that are no stop: it moves, it is about to, or nobody has enabled it.
WITHOUT_STOP = (*MOVING_NAMES, "ARMING", "DISABLED")
#: Seconds over which stops are counted. Of stops for one reason, so many seconds apart, only the first counts: a robot
#: that creeps along an edge stops at many ticks.
WINDOW, SAME = 60.0, 0.3
#: Seconds after the end of a stop for which the robot is said to stop again and again, or to have just stopped.
OFTEN, ONCE = 15.0, 5.0


class Stops:
    """What is kept of them.

    Args:
        steady: monotonic seconds. clock: seconds since the epoch.

    Attributes:
        cause: mode, reason, sentence and time of what the gate stopped for last; None before the first stop.
    """

    def __init__(self, steady: Callable[[], float] = time.monotonic, clock: Callable[[], float] = time.time) -> None:
        self._steady, self._clock = steady, clock
        self.cause: dict[str, Any] | None = None
        self._acting, self._earlier = ("", ""), ""
        self._ended = -SAME
        self._begun: deque[tuple[float, str]] = deque(maxlen=1000)  # when, and for what reason

    def note(self, mode: str, reason: str, sentence: Callable[[], str]) -> None:
        """The gate said something; its sentence is asked for where it stops anew, or for another reason."""
        before, self._acting = self._acting, (mode, reason)
        if not mode or before == self._acting:
            return
        now, stopped = self._steady(), bool(before[0]) and before[0] not in WITHOUT_STOP
        if mode in WITHOUT_STOP:
            self._ended = now if stopped else self._ended
            return
        same = self.cause is not None and self.cause["reason"] == reason and now - self._ended < SAME
        if stopped and self._begun:  # for another reason from now on
            self._begun[-1] = self._begun[-1][0], reason
        elif not same:
            self._begun.append((now, reason))
        self._earlier = self._earlier if self.cause is None else str(self.cause["reason"])
        self.cause = {"mode": mode, "reason": reason, "sentence": sentence(), "at": self._clock()}

    @property
    def lately(self) -> list[str]:
        """The reasons of the stops that began in the last minute."""
        since = self._steady() - WINDOW
        return [reason for begun, reason in self._begun if begun > since]

    @property
    def before(self) -> tuple[str, str]:
        """How to tell of a stop that is over, and its reason; empty words where that was long ago, or a person's.

        Of stops that were too many for the gate it is the reason of the last of them, as long as the gate is latched.
        """
        if self._acting[1] == CHATTER:
            return TOO_OFTEN, self._earlier
        if self.cause is None or self.cause["mode"] == "ESTOP":
            return "", ""
        reason, ago = str(self.cause["reason"]), self._steady() - self._ended
        often = self.lately.count(reason) > 1
        return (AGAIN if often else JUST, reason) if ago < (OFTEN if often else ONCE) else ("", "")
