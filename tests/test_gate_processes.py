# SPDX-License-Identifier: Apache-2.0
"""How the campaign of faulty processes counts; what the processes do, `jepa-ros bench faults` shows."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from benchmarks.faults import report
from benchmarks.rigs.gate import processes as gate_processes
from benchmarks.rigs.gate.processes import CoincidenceError, process_faults

HALT, KILL = ("planner", "halt"), ("sim", "kill")


class Driving:
    """A stack that is only counted."""

    started = 0

    def __init__(self) -> None:
        Driving.started += 1
        self.latched = False
        self.probe = SimpleNamespace(spin=lambda seconds: None)

    def ready(self) -> None: ...

    def pause(self) -> None: ...

    def __enter__(self) -> Driving:
        return self

    def __exit__(self, *_: object) -> None: ...


@pytest.fixture
def played(monkeypatch):
    """Play a plan of faults of which each ends as it is told: a stop after 0.1 s, a text (it stands), a coincidence."""

    def play(faults, ends, trials=1):
        answers = iter(ends)

        def one(driving, node, fault):
            answer = next(answers)
            if isinstance(answer, Exception):
                raise answer
            return answer if isinstance(answer, str) else {"node": node, "fault": fault, "stop_s": 0.1, "over_s": 0.0}

        monkeypatch.setattr(gate_processes, "_one", one)
        monkeypatch.setattr(gate_processes, "Driving", Driving)
        Driving.started = 0
        return list(process_faults(trials, ("",), tuple(faults)))

    return play


def test_a_stop_for_another_reason_is_no_stop_for_the_fault_and_is_tried_again(played) -> None:
    (found,) = played([HALT], [CoincidenceError("surprise"), CoincidenceError("surprise"), None])
    assert found["coincidences"] == 2 and found["stop_s"] == 0.1


def test_coincidences_are_not_borne_for_ever(played) -> None:
    with pytest.raises(CoincidenceError):
        played([HALT], [CoincidenceError("surprise")] * 100)


def test_a_stack_that_does_not_drive_again_is_told_with_its_reason_and_started_anew(played) -> None:
    first, second = played([HALT], [None, "gate: latched", None], trials=2)
    assert first["recovered"] is False and first["why"] == "gate: latched"
    assert second["recovered"] is None, "nothing came after it that would tell"
    assert Driving.started == 2
    assert report({"processes": [first, second]})[1] == ["planner halt, load none: n 2: 1 times it did not drive again"]


def test_a_fault_that_ends_everything_is_followed_by_a_new_stack(played) -> None:
    found = played([KILL, HALT], [None, None])
    assert [f["recovered"] for f in found] == [None, None] and Driving.started == 2


def test_a_fault_without_a_stop_and_a_late_one_are_misses() -> None:
    trial = {"load": "", "node": "planner", "fault": "halt", "recovered": True}
    assert report({"processes": [{**trial, "stop_s": None, "over_s": None}]})[1]
    assert report({"processes": [{**trial, "stop_s": 1.0, "over_s": 0.1}]})[1]
    assert not report({"processes": [{**trial, "stop_s": 0.5, "over_s": 0.01}]})[1]


def test_ticks_of_a_gate_that_mostly_stands_are_a_miss() -> None:
    ticks = {"priority": "raised", "ticks": 9, "expected_ticks": 9, "p99_9_ms": 1.0, "worst_ms": 2.0,
             "command_ms": {"p50": 1.0, "p99": 2.0}}  # fmt: skip
    assert not report({"jitter": [{**ticks, "moving_share": 1.0}]})[1]
    assert report({"jitter": [{**ticks, "moving_share": 0.01}]})[1]
