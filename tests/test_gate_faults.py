# SPDX-License-Identifier: Apache-2.0
"""Broken bytes on the topics of a gate in a process of its own. `jepa-ros bench faults` has more, and the processes."""

from __future__ import annotations

import pytest

from benchmarks.rigs.gate.topics import CASES, topic_faults

SHORT = ("random bytes: command", "random bytes: image", "random bytes: odom", "a string of 4 GB: command")


@pytest.fixture(scope="module")
def found() -> dict[str, dict[str, object]]:
    return topic_faults(SHORT)


@pytest.mark.parametrize("case", SHORT)
def test_the_gate_stops_outlives_it_and_drives_again(found, case: str) -> None:
    assert case in CASES
    assert "failed" not in found[case], found[case]
    assert found[case]["stop_s"] < 2.0
