# SPDX-License-Identifier: Apache-2.0
"""Who sits at the console and may do what: one operator holds the controls, everybody may stop. Knows no ROS, no web.

- A **stop** is granted to every page that was let in, always: without holder, focus, approval or a limit on how often.
- All else that moves the robot or changes its rules needs the controls, and a page that is in front.
- In the mode *approve* a goal waits until the holder says yes; a time-out is a no.
- Everything that was said is kept with who and when, granted or not.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from jepa_ros.errors import JepaRosError

#: Requests that the controls are not needed for.
FREE = ("stop", "take", "name", "front", "rules", "interventions", "futures", "places", "bags", "bag")
#: Requests that a page which is not in front may make as well: they make the robot safer or change nothing.
BEHIND = (*FREE, "release", "pause", "refuse")
#: At most so many requests in a second from one page; stops do not count.
BURST = 20
#: Seconds for which a goal waits for an approval.
PATIENCE = 60.0
KEPT = 500


class Refused(JepaRosError):
    """A request that is not granted; the text is for the operator."""


@dataclass
class Page:
    """One open page.

    Attributes:
        name: what its person is called. front: it is in front and in focus. visible: somebody can see it.
        futures: it shows imagined futures. places: it shows the planner's memory.
        recent: times [s] of its last requests.
    """

    number: int
    name: str
    front: bool = True
    visible: bool = True
    futures: bool = False
    places: bool = False
    recent: deque[float] = field(default_factory=lambda: deque(maxlen=BURST))


@dataclass(frozen=True)
class Said:
    """One request: who asked what when, and what came of it ("" for granted)."""

    when: float
    who: str
    what: str
    about: str
    refused: str

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return {"when": self.when, "who": self.who, "what": self.what, "about": self.about, "refused": self.refused}


@dataclass
class Waiting:
    """A goal that waits for a person."""

    who: str
    about: str
    until: float
    act: Callable[[], Any]


class Desk:
    """The pages and the controls.

    Args:
        clock: seconds since the epoch, for the log. steady: monotonic seconds, for limits and time-outs.
        on_said: called with each entry of the log.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
        on_said: Callable[[Said], None] = lambda said: None,
    ) -> None:
        self._clock, self._steady, self._on_said = clock, steady, on_said
        self.pages: dict[int, Page] = {}
        self.holder: int | None = None
        self.approve = False
        self.waiting: Waiting | None = None
        self.log: deque[Said] = deque(maxlen=KEPT)
        self._next = 1

    # ------------------------------------------------------------ pages

    def enter(self, name: str = "") -> Page:
        """A page was opened; the first one gets the controls."""
        page = Page(self._next, name.strip()[:40] or f"page {self._next}")
        self._next += 1
        self.pages[page.number] = page
        if self.holder is None:
            self.holder = page.number
        return page

    def leave(self, number: int) -> None:
        """A page was closed or lost; nobody inherits the controls."""
        self.pages.pop(number, None)
        if self.holder == number:
            self.holder = None

    def who(self, number: int) -> str:
        """What a page's person is called."""
        return self.pages[number].name if number in self.pages else "nobody"

    # ------------------------------------------------------------ requests

    def admit(self, number: int, what: str) -> None:
        """Grant a request, or say why not.

        Raises:
            Refused: the page lacks the controls, is not in front, or asks too often.
        """
        if what == "stop":
            return
        page = self.pages.get(number)
        if page is None:
            raise Refused("this page has left; load it again")
        now = self._steady()
        if len(page.recent) == BURST and now - page.recent[0] < 1.0:
            raise Refused(f"more than {BURST} requests in a second")
        page.recent.append(now)
        if what in FREE:
            return
        if self.holder != number:
            holds = "nobody holds the controls" if self.holder is None else f"{self.who(self.holder)} has the controls"
            raise Refused(f"{holds}; take them first")
        if not page.front and what not in BEHIND:
            raise Refused("this page is not in front")

    def may_drive(self, number: int) -> bool:
        """Whether a page may hold to drive just now; not logged, for it is asked ten times a second."""
        page = self.pages.get(number)
        return page is not None and page.front and self.holder == number

    def take(self, number: int) -> None:
        """Give a page the controls: free ones at once, others only from a page that has lost its focus.

        Raises:
            Refused: somebody has them, and is in front.
        """
        held = self.pages.get(self.holder) if self.holder is not None else None
        if held is not None and held.number != number and held.front:
            raise Refused(f"{held.name} has the controls and is in front of the page; ask for them")
        self.holder = number

    def release(self, number: int) -> None:
        """Put the controls down."""
        if self.holder == number:
            self.holder = None

    def note(self, number: int, what: str, about: str = "", refused: str = "") -> Said:
        """Write into the log what was asked and what came of it."""
        said = Said(self._clock(), self.who(number), what, about[:200], refused[:300])
        self.log.append(said)
        self._on_said(said)
        return said

    # ------------------------------------------------------------ approval

    def propose(self, number: int, about: str, act: Callable[[], Any]) -> bool:
        """A goal is asked for: True if it may be acted on now, False if it waits for an approval."""
        if not self.approve:
            return True
        self.waiting = Waiting(self.who(number), about, self._steady() + PATIENCE, act)
        return False

    def pending(self) -> Waiting | None:
        """The goal that waits, if its time is not over."""
        if self.waiting is not None and self._steady() > self.waiting.until:
            self.log.append(Said(self._clock(), self.waiting.who, "goal", self.waiting.about, "nobody approved it"))
            self._on_said(self.log[-1])
            self.waiting = None
        return self.waiting

    def settle(self, approved: bool) -> Waiting:
        """Take the goal that waits off the desk; the caller acts on it if it was approved.

        Raises:
            Refused: nothing waits (any more).
        """
        waiting = self.pending()
        if waiting is None:
            raise Refused("no goal waits for an approval")
        self.waiting = None
        return waiting

    def plain(self) -> dict[str, Any]:
        """For JSON: the pages, the holder, what waits, the end of the log."""
        waiting = self.pending()
        return {
            "pages": [{"number": p.number, "name": p.name, "front": p.front} for p in self.pages.values()],
            "holder": self.holder,
            "approve": self.approve,
            "waiting": None
            if waiting is None
            else {"who": waiting.who, "about": waiting.about, "seconds": round(waiting.until - self._steady(), 1)},
            "log": [said.plain() for said in list(self.log)[-20:]],
        }
