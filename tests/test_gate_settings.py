# SPDX-License-Identifier: Apache-2.0
"""What may be set on the gate: one table, from which the check, the errors and the document come."""

from __future__ import annotations

import re

import pytest

from benchmarks.rigs.gate.rig import contract_of
from jepa_ros.contract import RobotContract, load_contract, share_dir
from jepa_ros.cost.risk import check_level
from jepa_ros.nodes.planner_settings import guardrails as planner_guardrails
from jepa_ros.planning.config import SearchConfig
from jepa_ros.safety import GateConfig, GateConfigError, parse_guardrails
from jepa_ros.safety.guardrails import guardrails_for
from jepa_ros.safety.settings import FREE_SETTINGS, IDENTITIES, of_node, parse, table

DOCUMENT = share_dir() / "docs" / "safety.md"
BAD = """
pose_sigma: -5 | pose_sigma: .nan | pose_sigma: "2" | region_margin: -0.2 | obstacle_margin: -1 | reaction_time: -1
reaction_time: .inf | slow_scale: 3 | slow_scale: -1 | escape_speed: 5 | escape_speed: 0 | time_to_contact: -1
shadow: "no" | dry_run: 1 | heartbeats: planner | heartbeats: [camera] | heartbeats: {} | surprise: 5 | surprise: [2, 1]
novelty: [1, .nan] | novelty: [0, 1] | scan_offset: [0, 0] | scan_frame: "" | scan_frame: 3 | signals_timeout: 0
signals_required: maybe | identities_required: [model/nobody] | identities_required: model/planner | identity_grace: -1
contact_response: ram | contact_response: [stop] | frozen_images: 0 | frozen_images: 2.5 | frozen_images: true
clock_timeout: 0 | late_tick: -1 | teleop_release: .inf | pose_uncertainty: 0 | image_required: 0
velocity: [9, 9] | low: [-9, -9] | high: [9, 9] | states: {} | period: 1 | braking: [9, 9] | footprint_radius: 0
command_timeout: 9 | command_timeout: "1" | stamp_tolerance: .inf | rearm_time: -1 | stop: zero | max_stamp_age: 9
guardrails: [] | auto_enable: true | people_timeout: 9 | no_such_setting: 1 | pose_sigma2: 1
"""
CASES = [case.strip() for line in BAD.split("\n") for case in line.split("|") if case.strip()]


@pytest.mark.parametrize("case", CASES)
def test_what_cannot_be_set_is_refused_by_name(case: str) -> None:
    with pytest.raises(GateConfigError, match=case.split(":")[0]):
        parse(case)


@pytest.mark.parametrize(
    "text", ["- a", "5", "{a", "{pose_sigma: 1, pose_sigma: 0}", "a: " + "[" * 3000 + "]" * 3000, "{1: 2}"]
)
def test_a_text_that_is_no_mapping_of_settings_is_refused(text: str) -> None:
    with pytest.raises(GateConfigError, match="settings"):
        parse(text)


def test_every_setting_can_be_set_to_its_default_and_is_documented() -> None:
    for setting in FREE_SETTINGS:
        assert setting.holds(setting.default), setting.name
        GateConfig.from_contract(contract_of("base"), **{setting.name: setting.default})
    assert table() in DOCUMENT.read_text(encoding="utf-8"), "docs/safety.md: print settings.table() there"


def test_the_node_requires_what_the_planner_says_of_itself_unless_it_is_told_otherwise() -> None:
    for text in ("", "  \n", "# nothing"):
        assert of_node(text, {}) == {"signals_required": True, "identities_required": IDENTITIES}
    config = GateConfig.from_contract(load_contract("arena"), **of_node("{identities_required: [], pose_sigma: 3}", {}))
    assert config.signals_required and config.identities_required == () and config.pose_sigma == 3


def test_where_the_lidar_stands_comes_from_the_contract() -> None:
    data = contract_of("base").to_dict()
    data["state"]["scan"] |= {"frame": "laser", "offset": [0.1, 0.0, 0.5]}
    config = GateConfig.from_contract(RobotContract.from_dict(data))
    assert (config.scan_frame, config.scan_offset) == ("laser", (0.1, 0.0, 0.5))


def test_a_distance_to_obstacles_is_refused_where_no_scan_could_keep_it() -> None:
    gap = parse_guardrails([{"name": "gap", "kind": "obstacle_distance", "unit": "m", "min_distance": 0.3}])
    GateConfig.from_contract(contract_of("base"), guardrails=gap)
    data = contract_of("base").to_dict()
    del data["state"]["scan"]
    arm = contract_of("arm").to_dict()
    arm["state"]["scan"] = {"timeout": 0.5}
    for robot in (data, arm):
        with pytest.raises(GateConfigError, match=r"'gap' .*(the lidar's scan|where a base drives)"):
            GateConfig.from_contract(RobotContract.from_dict(robot), guardrails=gap)


def test_white_space_means_the_contracts_guardrails_to_planner_and_gate_alike() -> None:
    data = load_contract("arena").to_dict()
    data["guardrails"] = [{"name": "cell", "kind": "workspace", "unit": "m", "low": [-1, -1], "high": [1, 1]}]
    contract = RobotContract.from_dict(data)
    for text in ("", "  \n", "\t", "[]"):
        mine, planners = guardrails_for(contract, text), planner_guardrails(text, contract)
        assert mine.hash == planners.hash and len(mine) == (0 if text == "[]" else 1)


def test_the_documents_example_is_one_that_the_default_planner_and_the_gate_take() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    example = parse_guardrails(re.search(r"```yaml\n(guardrails:.*?)```", text, re.DOTALL).group(1))
    for guardrail in example:
        check_level(guardrail.risk, SearchConfig().noise_samples, guardrail.name)
    drives = [g.data for g in example if g.kind != "joint_limits"]
    GateConfig.from_contract(load_contract("arena"), guardrails=parse_guardrails(drives))
