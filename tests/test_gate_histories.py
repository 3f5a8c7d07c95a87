# SPDX-License-Identifier: Apache-2.0
"""Random histories: whatever comes in, in whatever order, the rules hold. `jepa-ros bench safety` plays 100,000."""

from __future__ import annotations

import os

import pytest

from jepa_ros.bench.gate_histories import Gates, History, play

#: More of them: JEPA_ROS_HISTORIES=20000 pytest tests/test_gate_histories.py
HISTORIES = int(os.environ.get("JEPA_ROS_HISTORIES", "1000"))


def test_no_rule_is_broken_in_any_history() -> None:
    played, broken, reasons = play(range(HISTORIES))
    assert not broken, "\n".join(broken)
    assert played == HISTORIES
    assert len(reasons) >= 28, f"the histories reach few rows: {sorted(reasons)}"


#: Rows that 100 histories notice; `jepa-ros bench safety` takes every row out.
MISSED_SOON = (
    "estop", "command_not_finite", "state_stale", "clock", "heartbeat", "region", "internal_fault", "estop_missing",
    "stop_not_obeyed", "resume_chatter", "inside_region", "obstacle",
)  # fmt: skip


@pytest.mark.parametrize("row", MISSED_SOON)
def test_the_judge_notices_a_gate_that_lacks_a_row(row: str) -> None:
    _, broken, _ = play(range(500), frozenset({row}), most=1)
    assert broken, f"500 histories did not miss '{row}'"


def test_a_history_is_repeated_by_its_seed() -> None:
    first, second = (History(11, Gates()) for _ in range(2))
    first.run(), second.run()
    assert [repr(o) for o in first.rig.outputs] == [repr(o) for o in second.rig.outputs]
