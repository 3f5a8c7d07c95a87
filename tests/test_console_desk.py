# SPDX-License-Identifier: Apache-2.0
"""Who may do what at the console."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from jepa_ros.console.desk import BURST, PATIENCE, Desk, Refused
from jepa_ros.console.say import say


class Time:
    """A clock that stands until it is told."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def desk(time: Time) -> Desk:
    return Desk(clock=time, steady=time)


def test_the_first_page_has_the_controls_and_the_second_does_not(desk):
    first, second = desk.enter(), desk.enter()
    desk.admit(first.number, "reset")
    with pytest.raises(Refused, match="page 1 has the controls"):
        desk.admit(second.number, "reset")


def test_every_page_may_stop_whatever_else_holds(desk):
    desk.enter()
    second = desk.enter()
    second.front = False
    for _ in range(10 * BURST):
        desk.admit(second.number, "stop")
    desk.admit(999, "stop")  # a page that the desk has never seen


def test_a_page_behind_others_may_not_move_the_robot_but_may_make_it_safer(desk):
    page = desk.enter()
    page.front = False
    for what in ("goal", "enable", "reset", "guardrails", "costs", "approve"):
        with pytest.raises(Refused, match="not in front"):
            desk.admit(page.number, what)
    for what in ("pause", "release", "refuse"):
        desk.admit(page.number, what)
    assert not desk.may_drive(page.number)


def test_nobody_inherits_the_controls_of_a_page_that_was_lost(desk):
    first, second = desk.enter(), desk.enter()
    desk.leave(first.number)
    with pytest.raises(Refused, match="nobody holds the controls"):
        desk.admit(second.number, "reset")
    desk.take(second.number)
    desk.admit(second.number, "reset")


def test_the_controls_are_not_taken_from_somebody_who_looks_at_the_page(desk):
    first, second = desk.enter("Ann"), desk.enter()
    with pytest.raises(Refused, match="Ann has the controls"):
        desk.take(second.number)
    first.front = False
    desk.take(second.number)
    assert desk.holder == second.number


def test_a_page_that_asks_too_often_is_slowed_and_others_are_not(desk, time):
    first, second = desk.enter(), desk.enter()
    for _ in range(BURST):
        desk.admit(first.number, "pause")
    with pytest.raises(Refused, match="in a second"):
        desk.admit(first.number, "pause")
    desk.admit(second.number, "rules")
    time.now += 1.0
    desk.admit(first.number, "pause")


def test_a_goal_waits_for_an_approval_and_a_time_out_is_a_no(desk, time):
    page = desk.enter()
    done: list[str] = []
    assert desk.propose(page.number, "a place", lambda: done.append("at once"))
    desk.approve = True
    assert not desk.propose(page.number, "a place", lambda: done.append("approved"))
    desk.settle(True).act()
    assert done == ["approved"]
    desk.propose(page.number, "a place", lambda: done.append("late"))
    time.now += PATIENCE + 0.1
    assert desk.pending() is None
    with pytest.raises(Refused, match="no goal waits"):
        desk.settle(True)
    assert desk.log[-1].refused == "nobody approved it"


def test_what_was_said_is_kept_with_who_and_when(desk, time):
    page = desk.enter("Ann")
    desk.note(page.number, "goal", "x 1")
    desk.note(77, "stop")
    assert [(s.when, s.who, s.what, s.about) for s in desk.log] == [
        (100.0, "Ann", "goal", "x 1"), (100.0, "nobody", "stop", ""),
    ]  # fmt: skip


def test_who_looks_at_futures_is_found_out_at_once_and_not_in_a_worker_thread():
    desk = Desk()
    looked: list[bool] = []
    console = SimpleNamespace(
        desk=desk, look_at_futures=lambda: looked.append(any(page.futures for page in desk.pages.values()))
    )
    number = desk.enter().number
    for on in (True, False):
        _, act = say(console, number, "futures", {"on": on})
        assert looked[-1] is on and act() is on
    assert len(looked) == 2
