# SPDX-License-Identifier: Apache-2.0
"""Guardrail texts are read in a process beside the gate, whatever they hold and however long that takes."""

from __future__ import annotations

import pytest

from jepa_ros.contract import load_contract
from jepa_ros.errors import JepaRosError
from jepa_ros.safety import GateConfig, GuardrailError, parse_guardrails, reading

CONTRACT = load_contract("arena")
CONFIG = GateConfig.from_contract(CONTRACT)
ZONE = "- {name: a, kind: keep_out, unit: m, circle: {center: [0.5, 0.0], radius: 0.2}}"


@pytest.fixture
def reader():
    made = reading.SetReader(CONTRACT)
    yield made
    made.close()


def test_a_set_comes_back_as_it_is_read_here(reader):
    assert reader.read(ZONE, CONFIG).hash == reader.read(ZONE).hash == parse_guardrails(ZONE).hash
    assert reader.read(" ", CONFIG).hash == CONFIG.guardrails.hash  # the contract's


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (ZONE.replace("m,", "furlong,"), "furlong"),
        ("- {name: a, kind: joint_limits, unit: rad, low: [0.0], high: [1.0]}", "limits 1 joints"),
        ("[" * 5000, "deep"),
        ("#" * 5_000_000, "5000000 characters; expected at most 200000"),
    ],
)
def test_a_text_that_cannot_be_used_is_refused_with_the_reason(reader, text, said):
    with pytest.raises(JepaRosError, match=said):
        reader.read(text, CONFIG)
    assert len(reader.read(ZONE, CONFIG)) == 1


def test_a_process_that_is_killed_is_started_again(reader):
    reader._child.kill()
    reader._child.wait()
    assert len(reader.read(ZONE, CONFIG)) == 1


def test_a_text_that_takes_too_long_is_refused_and_the_next_one_is_read(reader, monkeypatch):
    monkeypatch.setattr(reading, "READ_TIMEOUT", 0.0)
    with pytest.raises(GuardrailError, match="not read within"):
        reader.read(ZONE, CONFIG)
    monkeypatch.undo()
    assert len(reader.read(ZONE, CONFIG)) == 1


def test_more_than_a_tick_has_time_for_is_refused():
    polygon = [[0.0, 0.0], *([float(k), 1.0] for k in range(199, 0, -1))]
    many = [{"name": f"g{k}", "kind": "keep_out", "unit": "m", "polygon": polygon} for k in range(6)]
    parse_guardrails(many[:5])
    with pytest.raises(GuardrailError, match="1200 points together; expected at most 1000"):
        parse_guardrails(many)
    novel = [{"name": f"g{k}", "kind": "novelty", "unit": "1", "max": 3.0} for k in range(101)]
    with pytest.raises(GuardrailError, match="101 guardrails; expected at most 100"):
        parse_guardrails(novel)
