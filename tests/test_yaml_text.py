# SPDX-License-Identifier: Apache-2.0
"""YAML is read in one way, and what nobody writes is refused with its reason: contracts, guardrails and parameters."""

from __future__ import annotations

import pytest
import yaml

from jepa_ros.contract import ContractError, load_contract
from jepa_ros.errors import JepaRosError
from jepa_ros.safety.guardrails import GuardrailError, parse_guardrails
from jepa_ros.yaml_text import MOST_CHARACTERS, YamlError, load_mapping, load_yaml

BAD = {
    "twice": ("a: {b: 1, b: 2}", "key 'b' is given twice"),
    "deep": ("[" * 3000, "deep"),
    "deep and whole": ("{a: " * 3000 + "1" + "}" * 3000, "deep"),
    "alias": ("a: &x [1]\nb: *x", "aliases"),
    "long": ("# " + "x" * MOST_CHARACTERS, "at most 200000"),
    "object": ("!!python/object/apply:os.getcwd []", "not valid YAML"),
    "no date": ("2021-13-45", "not valid YAML"),
    "no yaml": ("{a: [", "not valid YAML"),
}


@pytest.mark.parametrize(("text", "said"), BAD.values(), ids=BAD.keys())
def test_what_is_refused_everywhere(text, said, tmp_path):
    (tmp_path / "r.yaml").write_text(text)
    for read, error in (
        (lambda: load_yaml(text, "settings"), YamlError),
        (lambda: load_contract(tmp_path / "r.yaml"), ContractError),
        (lambda: parse_guardrails(text), GuardrailError),
    ):
        with pytest.raises(error, match=said):
            read()


def test_a_second_limits_does_not_win(tmp_path):
    from jepa_ros.contract import share_dir

    text = (share_dir() / "robots" / "arena.yaml").read_text()
    (tmp_path / "r.yaml").write_text(text + "\nlimits: {velocity: {linear.x: 9.0, angular.z: 9.0}}\n")
    with pytest.raises(ContractError, match="'limits' is given twice"):
        load_contract(tmp_path / "r.yaml")


def test_a_mapping_is_asked_for_and_nothing_is_an_empty_one():
    assert load_mapping(" \n", "x") == load_mapping("", "x") == {}
    for text in ("[1]", "{1: 2}", "word"):
        with pytest.raises(JepaRosError, match="x: expected a mapping"):
            load_mapping(text, "x")


@pytest.mark.parametrize("text", ["3e-1", "1e5", "1.e3", "+1e-3", "-2E+4", ".5e1", "1.5e-3", "1e05"])
def test_a_number_with_an_exponent_is_a_number_in_whatever_way_it_is_written(text):
    assert load_mapping(f"x: {text}", "x") == {"x": float(text)}
    assert load_mapping(f"x: '{text}'", "x") == {"x": text}  # in quotes it is a text, as ever


@pytest.mark.parametrize("text", ["e5", "1e", "1e5m", "1e5.0", "0x1e5", "v1e5"])
def test_what_only_looks_like_an_exponent_stays_what_it_was(text):
    assert load_mapping(f"x: {text}", "x") == yaml.safe_load(f"x: {text}")


def test_a_contract_takes_a_time_with_an_exponent(tmp_path):
    from jepa_ros.contract import share_dir

    text = (share_dir() / "robots" / "arena.yaml").read_text()
    assert "odom: {topic: odom, timeout: 0.3}" in text
    (tmp_path / "r.yaml").write_text(text.replace("topic: odom, timeout: 0.3", "topic: odom, timeout: 3e-1"))
    assert load_contract(tmp_path / "r.yaml").state["odom"].timeout == 0.3


def test_more_values_than_anybody_writes_are_refused_before_they_are_all_read():
    with pytest.raises(YamlError, match="more than 20000 values"):
        load_yaml("[" + "1," * 66_000 + "1]", "text")
    assert len(load_yaml("[" + "1," * 19_000 + "1]", "text")) == 19_001
