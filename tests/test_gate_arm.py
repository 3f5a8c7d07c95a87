# SPDX-License-Identifier: Apache-2.0
"""The gate of an arm: how far its links may come until it stands, what it refuses by name, what the hand carries."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("pinocchio")
pytest.importorskip("pybullet_data")

from benchmarks.rigs.gate.arm_scenarios import ask, posture, standing
from benchmarks.rigs.gate.arm_truth import truth_of
from benchmarks.rigs.gate.arms import panda
from benchmarks.rigs.gate.rig import Rig
from jepa_ros.contract import ContractError, RobotContract
from jepa_ros.safety import Gate, GateConfig, GateConfigError, parse_guardrails
from jepa_ros.safety import arm as arms
from jepa_ros.safety.arm.motion import Stretch
from jepa_ros.safety.arm.sweep import Boxes, Sweep

TABLE = {"name": "table", "kind": "keep_out", "unit": "m", "box": {"center": [0.5, 0.0, -0.1], "size": [1.0, 1.2, 0.1]}}
WALL = {"name": "wall", "kind": "keep_out", "unit": "m", "margin": 0.01,
        "box": {"center": [0.6, 0.3, 0.4], "size": [0.2, 0.3, 0.8], "yaw": 0.5}}  # fmt: skip
CELL = {"name": "cell", "kind": "workspace", "unit": "m", "low": [-0.7, -0.8, -0.4], "high": [0.8, 0.8, 1.2]}


def contract(**more) -> RobotContract:
    return RobotContract.from_dict(panda(**more), "bench")


def shapes():
    facts = arms.ArmFacts.of(contract())
    assert facts is not None
    return arms.shapes(facts)


def test_what_is_said_of_a_stretch_holds_for_every_posture_in_it() -> None:
    """The bounds of boxes, walls and the arm itself, against postures drawn from the stretch and its corners."""
    links, truth, made = shapes(), truth_of(contract()), contract()
    out_of = Boxes(parse_guardrails([TABLE, WALL]).guardrails)
    within = Boxes(parse_guardrails([CELL]).guardrails)
    rng = np.random.default_rng(0)
    low, high = made.limits.position_low, made.limits.position_high
    said = 0
    for _ in range(60):
        q, half = rng.uniform(low, high), rng.uniform(0.0, 0.15, 8) * np.array([1.0] * 7 + [0.05])
        sweep = Sweep(links, Stretch(q - half, q + half, q - half, q + half, q))
        inner = rng.uniform(q - half, q + half, (30, 8))
        tried = np.concatenate([inner, q + half * rng.choice([-1.0, 1.0], (30, 8))])
        ends = truth.ends(tried)
        for k, item in enumerate((TABLE, WALL)):
            gaps = sweep.outside(out_of, 0.1)
            bound = gaps.bound[gaps.what[:, 0] == k].min(initial=0.1)
            assert truth.outside(ends, item["box"]).min() - item.get("margin", 0.0) >= bound - 1e-9
            said += bound < 0.1
        box = {"center": [0.05, 0.0, 0.4], "size": [1.5, 1.6, 1.6]}
        assert truth.inside(ends, box).min() >= sweep.inside(within, 0.1).bound.min(initial=0.1) - 1e-9
        near = sweep.selves(0.05)
        alone = truth.selves(ends).min(0)
        for (a, b), bound in zip(near.what, near.bound, strict=True):
            pair = int(np.flatnonzero((links.pairs == (a, b)).all(1))[0])
            if alone[pair] < bound:  # their capsules are nearer: then their meshes are not
                k = int(truth.selves(ends)[:, pair].argmin())
                assert truth.meshes(tried[k], pair) >= min(bound, 0.0) - 2e-3
    assert said > 10


def test_nothing_of_an_arm_is_loaded_for_a_base() -> None:
    words = "from jepa_ros.safety import Gate, GateConfig; from jepa_ros.contract import load_contract; import sys; " \
            "Gate(GateConfig.from_contract(load_contract('arena'))); " \
            "sys.exit(any(n in sys.modules for n in ('pinocchio', 'coal', 'jepa_ros.arm', 'torch')))"  # fmt: skip
    assert subprocess.run([sys.executable, "-c", words], check=False).returncode == 0


def test_an_arm_s_gate_loads_no_torch() -> None:
    words = "from jepa_ros.safety import Gate, GateConfig; from jepa_ros.contract import load_contract; import sys; " \
            "Gate(GateConfig.from_contract(load_contract('panda'))); sys.exit('torch' in sys.modules)"  # fmt: skip
    assert subprocess.run([sys.executable, "-c", words], check=False).returncode == 0


def test_without_pinocchio_the_rows_that_need_links_are_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arms, "find_spec", lambda name: None)
    with pytest.raises(GateConfigError, match=r"self_collision, singularity.*pip install 'jepa_ros\[arm\]'"):
        GateConfig.from_contract(contract())
    off = {"self_collision": False, "singularity": None}
    with pytest.raises(GateConfigError, match="rows link_region, tip_speed of"):
        GateConfig.from_contract(contract(guardrails=[TABLE], limits={"tip_speed": 0.2}), **off)
    monkeypatch.setattr(arms, "shapes", lambda facts: pytest.fail("the links were asked for"))
    rig = standing(Rig, posture(), settings=off)
    ask(rig, posture(j1=0.5), 2.0)
    assert abs(rig.robot.q[0] - 0.5) < 1e-3, "the other rows do not let it move"


@pytest.mark.parametrize(
    ("item", "said"),
    [
        ({"kind": "keep_out", "unit": "m", "polygon": [[0, 0], [1, 0], [1, 1]]}, "as a box in space alone"),
        ({"kind": "keep_in", "unit": "m", "box": {"center": [0, 0], "size": [1, 1]}}, "as a box in space alone"),
        ({"kind": "workspace", "unit": "m", "low": [-1, -1], "high": [1, 1]}, "as a box in space alone"),
        ({"kind": "speed_zone", "unit": "m/s", "max_speed": 1, "circle": {"center": [0, 0], "radius": 1}}, "leave it"),
        ({"kind": "keep_out", "unit": "m", "box": TABLE["box"], "frame": "map"}, "the robot's links are in"),
    ],
)
def test_what_an_arm_cannot_keep_is_refused_by_name(item: dict, said: str) -> None:
    with pytest.raises(GateConfigError, match=rf"guardrail 'x'.*{said}"):
        GateConfig.from_contract(contract(guardrails=[{"name": "x", **item}]))


def test_a_box_in_space_is_refused_for_a_base() -> None:
    from benchmarks.rigs.gate.rig import contract_of

    with pytest.raises(GateConfigError, match=r"guardrail 'table'.*is a box in space"):
        GateConfig.from_contract(contract_of("base"), guardrails=parse_guardrails([TABLE]))


def test_people_are_refused_where_the_arm_does_not_stand_in_the_map() -> None:
    data = panda(guardrails=[{"name": "p", "kind": "near_person", "unit": "m/s", "distance": 1, "max_speed": 0.1}])
    data["frames"] = {"map": "map", "odom": "odom", "base": "panda_link0"}
    with pytest.raises(GateConfigError, match=r"frames\.map has to be kinematics\.base_frame"):
        GateConfig.from_contract(RobotContract.from_dict(data))


def test_boxes_in_space_come_back_as_they_were_written() -> None:
    rails = parse_guardrails([TABLE, WALL, CELL])
    assert parse_guardrails(rails.to_list()).hash == rails.hash


def test_what_the_hand_carries_keeps_out_too() -> None:
    floor = {**TABLE, "box": {"center": [0.5, 0.0, 0.0], "size": [0.6, 0.6, 0.02]}}
    lowest = []
    for payload in (None, {"start": [0.0, 0.0, 0.0], "end": [0.0, 0.0, 0.08], "radius": 0.02}):
        rig = standing(Rig, posture(), guardrails=[floor], kinematics={"payload": payload} if payload else {})
        ask(rig, posture(j2=0.6), 4.0)
        lowest.append(truth_of(contract()).tip(np.array([rig.robot.q]))[0, 2])
    bare, loaded = lowest
    assert 0.0 < bare < 0.05 and bare + 0.05 < loaded < bare + 0.11, lowest


def test_a_payload_a_jerk_and_a_tip_speed_are_read_and_written() -> None:
    jerk = dict.fromkeys(panda()["limits"]["velocity"], 50.0)
    load = {"start": [0.0, 0.0, 0.0], "end": [0.0, 0.0, 0.1], "radius": 0.03}
    made = contract(limits={"jerk": jerk, "tip_speed": 0.3}, kinematics={"payload": load})
    again = RobotContract.from_dict(made.to_dict())
    assert again.digest() == made.digest() and again.limits.tip_speed == 0.3
    assert again.limits.jerk is not None and again.limits.jerk.tolist() == [50.0] * 8
    with pytest.raises(ContractError, match=r"kinematics\.payload\.radius"):
        contract(kinematics={"payload": {**load, "radius": -1.0}})


def test_a_box_that_is_set_on_the_arm_lets_it_out_and_no_deeper() -> None:
    rig = standing(Rig, posture())
    dropped = {"name": "dropped", "kind": "keep_out", "unit": "m",
               "box": {"center": [0.48, 0.06, 0.28], "size": [0.2, 0.1, 0.2]}}  # fmt: skip
    rig.gate = rig.gate.with_guardrails(parse_guardrails([dropped]))
    truth = truth_of(contract())

    def room() -> float:
        return float(truth.outside(truth.ends(np.array([rig.robot.q])), dropped["box"])[0])

    inside = room()
    assert inside < -0.01
    ask(rig, posture(j1=0.5), 1.5)
    assert room() > inside - 0.003, "it went deeper"
    outs = ask(rig, posture(j1=-0.6), 4.0)
    assert room() > 0.05, f"it did not leave: {outs[-1].sentence}"


def test_a_gate_with_other_boxes_uses_the_same_links() -> None:
    gate = Gate(GateConfig.from_contract(contract()))
    other = gate.with_guardrails(parse_guardrails([TABLE]))
    assert gate._arm is not None and other._arm is not None
    assert gate._arm._shapes is other._arm._shapes
