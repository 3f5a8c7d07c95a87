# SPDX-License-Identifier: Apache-2.0
"""Guardrails are read from lists and YAML, bad ones are refused by name, and planner and gate mean the same by them."""

from __future__ import annotations

import math
import re
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import yaml

from benchmarks.rigs.gate.rig import contract_of
from jepa_ros.safety import GateConfig, GateConfigError, GuardrailError, GuardrailSet, RiskLevel, parse_guardrails

SQUARE = [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]
TABLE = {"name": "table", "kind": "keep_out", "unit": "m", "polygon": SQUARE}
YAML = """
guardrails:
  - name: table
    kind: keep_out
    unit: m
    polygon: [[0, 0], [1, 0], [1, 1], [0, 1]]
  - {name: floor, kind: keep_in, unit: m, box: {center: [0, 0], size: [6, 4], yaw: 0.2}, margin: 0.05}
  - {name: door, kind: speed_zone, unit: m/s, circle: {center: [2, 0], radius: 0.5}, max_speed: 0.2}
  - {name: people, kind: near_person, unit: m/s, distance: 1.0, max_speed: 0.1}
  - {name: gap, kind: obstacle_distance, unit: m, min_distance: 0.1}
  - {name: elbow, kind: joint_limits, unit: rad, low: [-1, -1], high: [1, 1]}
  - {name: bench, kind: workspace, unit: m, low: [-1, -1], high: [1, 1]}
  - {name: touch, kind: contact_probability, unit: "1", max: 0.2, risk: {chance: 0.1}}
  - {name: odd, kind: novelty, unit: "1", max: 3.0, slow: 2.0, risk: {cvar: 0.25}}
"""


def states(**channels: Any) -> SimpleNamespace:
    return SimpleNamespace(**{k: np.asarray(v, dtype=float) for k, v in channels.items()})


def test_yaml_list_and_python_give_the_same_set_and_hash() -> None:
    from_text = parse_guardrails(YAML)
    from_list = parse_guardrails(list(reversed(from_text.to_list())))
    assert [g.kind for g in from_text] == [
        "keep_out", "keep_in", "speed_zone", "near_person", "obstacle_distance", "joint_limits", "workspace",
        "contact_probability", "novelty",
    ]  # fmt: skip
    assert from_text.hash == from_list.hash == parse_guardrails(yaml.safe_dump(from_text.to_list())).hash
    assert parse_guardrails("").hash == GuardrailSet().hash != from_text.hash


def test_hash_changes_with_every_number() -> None:
    base = parse_guardrails([TABLE]).hash
    for change in ({"margin": 0.01}, {"threshold": 0.01}, {"risk": "mean"}, {"polygon": [*SQUARE, [-0.1, 0.5]]}):
        assert parse_guardrails([{**TABLE, **change}]).hash != base
    assert parse_guardrails([{**TABLE, "margin": 0.0, "risk": "worst"}]).hash == base, "a default written out"


BAD: list[tuple[dict[str, Any], str]] = [
    ({"kind": "keepout"}, "unknown kind 'keepout'.*did you mean 'keep_out'"),
    ({"unit": None}, "unit: missing; expected 'm'"),
    ({"unit": "cm"}, "unit: expected 'm', found 'cm'"),
    ({"polygon": SQUARE[:2]}, "at least 3 points"),
    ({"polygon": [SQUARE[0], SQUARE[2], SQUARE[1], SQUARE[3]]}, "cross each other"),
    ({"polygon": [[0, 0], [1, 0], [1, 0], [0, 1]]}, "coincide"),
    ({"polygon": [[0, 0], [1, 0], [2, 0]]}, "lie on each other|no area|cross"),
    ({"polygon": [[0, 0], [1, math.nan], [1, 1]]}, "polygon\\[1\\]\\[1\\].*finite"),
    ({"polygon": [[0, 0], [1, 0, 0], [1, 1]]}, "polygon\\[1\\].*2 numbers"),
    ({"polygon": "square"}, "at least 3 points"),
    ({"polygon": [[0, 0], [1e200, 0], [0, 1e200]]}, "polygon: .*too large"),
    ({"polygon": None, "box": {"center": [0.3, 0], "size": [1e-6, 1e-7], "yaw": 0.3}}, "box: .*lie on each other"),
    ({"polygon": None, "box": {"center": [0.3, 0], "size": [1e-300, 1.0]}}, "box: .*coincide"),
    ({"polygon": None, "box": {"center": [0.3, 0], "size": [1e200, 1e200]}}, "box: .*too large"),
    ({"polygon": None}, "one of polygon, box, circle"),
    ({"circle": {"center": [0, 0], "radius": 1}}, "one of polygon, box, circle; found polygon, circle"),
    ({"polygon": None, "circle": {"center": [0, 0], "radius": -1}}, "circle.radius.*above 0"),
    ({"polygon": None, "box": {"center": [0, 0], "size": [1, 0]}}, "box.size"),
    ({"polygon": None, "box": {"center": [0, 0], "size": [1, 1], "angle": 1}}, "box.angle: unknown key"),
    ({"threshold": math.inf}, "threshold: expected a finite number"),
    ({"threshold": "0"}, "threshold: expected a number"),
    ({"threshold": True}, "threshold: expected a number"),
    ({"threshold": 10**400}, "threshold: expected a finite number"),
    ({"margin": -0.1}, "margin: expected a number of at least 0"),
    ({"marign": 0.1}, "unknown key 'marign'; did you mean 'margin'"),
    ({"risk": "cvar"}, "risk"),
    ({"risk": {"cvar": 1.5}}, "risk.cvar"),
    ({"name": ""}, "name: expected a text"),
]


@pytest.mark.parametrize(("change", "message"), BAD, ids=[re.sub(r"\W+", "-", m)[:40] for _, m in BAD])
def test_bad_guardrail_is_refused_by_name(change: dict[str, Any], message: str) -> None:
    item = {k: v for k, v in {**TABLE, **change}.items() if v is not None}
    with pytest.raises(GuardrailError, match=message) as error:
        parse_guardrails([item])
    if item.get("name"):
        assert "'table'" in str(error.value)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ("- {name: a, name: b}", "twice"),
        ("a: [", "not valid YAML"),
        ("!!python/object/apply:os.system ['true']", "not valid YAML"),
        ("&a [*a]", "aliases"),
        ("x" * 300_000, "characters"),
        (b"\xff\xfe\x00", "not valid YAML"),
        ("42", "expected a list"),
        ([TABLE, TABLE], "two guardrails are called 'table'"),
        (["table"], "expected a mapping"),
        ([{**TABLE, "kind": "novelty", "polygon": None, "unit": "1"}], "max: missing"),
        ([{"name": "t", "kind": "contact_probability", "unit": "1", "max": 1.5}], "max: expected a number from 0 to 1"),
        ([{"name": "j", "kind": "joint_limits", "unit": "rad", "low": [0, 1], "high": [1, 0]}], "low"),
    ],
)
def test_bad_text_is_refused(raw: Any, message: str) -> None:
    with pytest.raises(GuardrailError, match=message):
        parse_guardrails(raw)


def test_costs_over_predicted_poses_have_the_shape_of_the_steps() -> None:
    table = parse_guardrails([{**TABLE, "margin": 0.05}]).bind(contract_of("base"))["table"]
    poses = np.zeros((5, 3, 4, 3))
    poses[..., 0] = np.linspace(-1.0, 0.5, 5)[:, None, None]
    poses[..., 1] = 0.5
    cost = table.cost(states(poses=poses))
    assert cost.shape == (5, 3, 4)
    expected = 0.1 + 0.05 - (0.0 - poses[:, 0, 0, 0])  # radius + margin - distance to the edge at x = 0
    np.testing.assert_allclose(cost[:, 0, 0], expected, atol=1e-12)
    assert table.holds(states(poses=poses)).tolist() == [True, True, True, False, False]


def test_floats_and_arrays_agree_everywhere() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.uniform(-4, 4, (2, 500))
    for g in parse_guardrails(YAML):
        if g.shape is not None:
            together = g.clearance(x, y, 0.1)
            alone = [g.clearance(float(a), float(b), 0.1) for a, b in zip(x, y, strict=True)]
            np.testing.assert_allclose(together, alone, atol=1e-12)


def test_gate_and_planner_mean_the_same_by_a_region() -> None:
    for g in parse_guardrails(YAML).bind(contract_of("base")):
        if g.kind in ("keep_out", "keep_in", "workspace"):
            poses = np.random.default_rng(1).uniform(-4, 4, (200, 1, 3))
            excess = g.excess(states(poses=poses))[:, 0]
            gate = np.array([g.clearance(float(p[0]), float(p[1]), 0.1) for p in poses[:, 0]])
            np.testing.assert_allclose(excess, -gate, atol=1e-12)


def test_speed_rules_hold_only_where_they_apply() -> None:
    rails = parse_guardrails(YAML).bind(contract_of("base"))
    poses = np.array([[[2.0, 0.0, 0.0], [4.0, 0.0, 0.0]]])
    actions = np.array([[[0.4, 0.0], [0.4, 0.0]]])
    np.testing.assert_allclose(rails["door"].excess(states(poses=poses, actions=actions)), [[0.2, 0.0]])
    near = rails["people"].excess(states(poses=poses, actions=actions, people=[[2.5, 0.0]]))
    np.testing.assert_allclose(near, [[0.3, 0.0]])
    assert rails["people"].holds(states(poses=poses, actions=actions, people=np.zeros((0, 2))))


def test_a_stricter_threshold_does_not_reach_beyond_where_a_speed_rule_applies() -> None:
    text = YAML.replace("max_speed: 0.2}", "max_speed: 0.2, threshold: -0.05}").replace(
        "max_speed: 0.1}", "max_speed: 0.1, threshold: -0.05}"
    )
    rails = parse_guardrails(text).bind(contract_of("base"))
    poses = np.array([[[2.0, 0.0, 0.0], [4.0, 0.0, 0.0]]])
    actions = np.array([[[0.18, 0.0], [0.4, 0.0]]])
    np.testing.assert_allclose(rails["door"].excess(states(poses=poses, actions=actions)), [[0.03, 0.0]], atol=1e-12)
    for people in ([[9.0, 9.0]], np.zeros((0, 2))):
        assert rails["people"].holds(states(poses=poses, actions=actions, people=people))
    assert not rails["people"].holds(states(poses=poses, actions=actions, people=[[2.5, 0.0]]))


def test_obstacles_joints_contact_and_novelty() -> None:
    rails = parse_guardrails(YAML).bind(contract_of("base"))
    poses = np.array([[[0.0, 0.0, 0.0]]])
    np.testing.assert_allclose(rails["gap"].cost(states(poses=poses, obstacles=[[0.5, 0.0]])), [[-0.3]])
    np.testing.assert_allclose(rails["elbow"].cost(states(joints=[[0.5, -1.2]])), [0.2])
    touch = rails["touch"].excess(states(contact=[[0.1, 0.3]]))
    np.testing.assert_allclose(touch, [[-0.1, 0.1]])
    np.testing.assert_allclose(rails["odd"].excess(states(novelty=[2.5])), [-0.5])


def test_a_guardrail_that_the_model_cannot_judge_says_so() -> None:
    with pytest.raises(GuardrailError, match=r"'touch'.*needs predicted contact"):
        parse_guardrails(YAML)["touch"].cost(SimpleNamespace(contact=None))


def test_risk_levels() -> None:
    costs = np.array([[4.0, 1.0, 2.0, 3.0]])
    assert RiskLevel("worst")(costs) == 4.0
    assert RiskLevel("mean")(costs) == 2.5
    assert RiskLevel("cvar", 0.5)(costs) == 3.5
    assert RiskLevel("cvar", 0.375)(costs) == pytest.approx((4.0 + 0.5 * 3.0) / 1.5)
    assert RiskLevel("chance", 0.25)(costs) == 3.0
    assert RiskLevel("chance", 0.0)(costs) == 4.0
    assert np.isnan(RiskLevel("worst")(np.array([np.nan, 1.0])))


def test_chance_forgives_exactly_its_share() -> None:
    g = parse_guardrails([{**TABLE, "risk": {"chance": 0.2}}])["table"]
    poses = np.full((10, 1, 3), -1.0)
    poses[:2, 0, :2] = 0.5  # 2 of 10 samples stand inside
    assert g.holds(states(poses=poses))
    poses[2, 0, :2] = 0.5
    assert not g.holds(states(poses=poses))


def test_sets_that_do_not_fit_the_robot_are_refused() -> None:
    with pytest.raises(GateConfigError, match="'far' is in frame 'moon'"):
        GateConfig.from_contract(
            contract_of("base"), guardrails=parse_guardrails([{**TABLE, "name": "far", "frame": "moon"}])
        )
    three = parse_guardrails([{"name": "j", "kind": "joint_limits", "unit": "rad", "low": [0] * 3, "high": [1] * 3}])
    for robot in ("base", "arm"):
        with pytest.raises(GateConfigError, match="'j' limits 3 joints"):
            GateConfig.from_contract(contract_of(robot), guardrails=three)
    no_pose = contract_of("base").to_dict()
    del no_pose["state"]["pose"]
    from jepa_ros.contract import RobotContract

    with pytest.raises(GateConfigError, match=r"'table' .* needs the robot's pose"):
        GateConfig.from_contract(RobotContract.from_dict(no_pose), guardrails=parse_guardrails([TABLE]))


@pytest.mark.parametrize("name", ["contact", "obstruction"])
def test_names_of_the_planners_own_reasons_are_taken(name):
    item = {"name": name, "kind": "contact_probability", "unit": "1", "max": 0.1}
    with pytest.raises(GuardrailError, match=f"name: '{name}' is what the planner calls a reason of its own"):
        parse_guardrails([item])
