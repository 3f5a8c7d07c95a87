# SPDX-License-Identifier: Apache-2.0
"""Every row of the gate's table does what the table says, and is missed when it is gone."""

from __future__ import annotations

import importlib.util

import pytest

from benchmarks.rigs.gate.rig import Rig
from benchmarks.rigs.gate.scenarios import SCENARIOS
from jepa_ros.contract import share_dir
from jepa_ros.safety import guarded, parse_guardrails
from jepa_ros.safety.rows import CHECKS, ROWS, TELEOPERATION

#: A gate without its own net, or without what looks at the shape of a command, runs into what it should have caught;
#: every other one has to fail an assertion of its scenario, so that a broken rig passes for no mutant.
EXPECTED: dict[str, type[Exception]] = {"internal_fault": RuntimeError}


def test_every_row_has_a_check_and_a_scenario() -> None:
    switched = {name for name, row in ROWS.items() if row.stage == "switch"}
    assert set(CHECKS) | switched == set(ROWS)
    assert set(SCENARIOS) == {*ROWS, TELEOPERATION}


@pytest.mark.parametrize("row", sorted(SCENARIOS))
def test_row(row: str) -> None:
    SCENARIOS[row](Rig)


@pytest.mark.parametrize("row", sorted(SCENARIOS))
def test_scenario_fails_without_the_row(row: str) -> None:
    def mutant(*args: object, **settings: object) -> Rig:
        return Rig(*args, without=frozenset({row}), **settings)  # type: ignore[arg-type]

    with pytest.raises(EXPECTED.get(row, AssertionError)):
        SCENARIOS[row](mutant)


def test_the_document_lists_every_row_as_it_is() -> None:
    text = (share_dir() / "docs" / "safety.md").read_text(encoding="utf-8")
    for row in ROWS.values():
        mark = "°" if row.planner_only else ""
        line = f"| `{row.name}`{mark} | {row.case} | {row.effect} | {'yes' * row.rearm} | {'yes' * row.counted} |"
        assert line in text, f"docs/safety.md lacks: {line}"


def test_the_document_s_guardrails_are_valid() -> None:
    text = (share_dir() / "docs" / "safety.md").read_text(encoding="utf-8")
    assert len(parse_guardrails(text.split("```yaml")[1].split("```")[0])) == 10


def test_the_document_says_which_guardrails_are_kept_for_which_body() -> None:
    text = (share_dir() / "docs" / "safety.md").read_text(encoding="utf-8")
    assert guarded.table() in text, "docs/safety.md: print jepa_ros.safety.guarded.table() there"


def test_the_document_tells_what_the_benchmarks_measured() -> None:
    tool = share_dir() / "tools" / "safety_table.py"
    spec = importlib.util.spec_from_file_location("safety_table", tool)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    text = (share_dir() / "docs" / "safety.md").read_text(encoding="utf-8")
    assert module.written(text, share_dir() / "benchmarks" / "results") == text, "run python tools/safety_table.py"
