# SPDX-License-Identifier: Apache-2.0
"""An arm's body: an action becomes joint commands that make it, through the gate, and stands still when it should."""

import numpy as np
import pytest

pytest.importorskip("pinocchio")
from jepa_ros.arm import ArmBody, ArmError, TipMotion
from jepa_ros.arm.acting import Acting
from jepa_ros.contract import RobotContract, load_contract
from jepa_ros.cost import Goal
from jepa_ros.planning import Planner, PlannerConfig, SearchConfig
from jepa_ros.safety.gate import Gate, GateConfig
from jepa_ros.safety.inputs import CommandIn, GateInputs, ImageIn, JointsIn
from jepa_ros.world_model.model import ModelConfig, WorldModel

CONTRACT = load_contract("panda")
BODY = ArmBody(CONTRACT)
AT = np.append(BODY.home, 0.02)


def states(joints, now=0.0):
    return JointsIn(now, now, BODY.names, joints.tolist(), [0.0] * 8)


def through_the_gate(action, seconds, start=AT):
    """Joints after the gate let the commands for an action through, and the action that was executed each tick."""
    gate = Gate(GateConfig.from_contract(CONTRACT, auto_enable=True))
    state, at, made, motion = gate.initial_state(), start.copy(), [], TipMotion(BODY)
    motion.measured("joint_states", states(at))
    for k in range(round((seconds + 1.0) * CONTRACT.gate_rate)):
        now = k * BODY.period
        asked = np.zeros(4) if now < 1.0 else np.array(action)
        command = CommandIn(BODY.command(asked, at).tolist(), now, now, k, names=BODY.names)
        inputs = GateInputs(
            command=command, image=ImageIn(now, now, k), joint_states=states(at, now), output_publishers=1,
            heartbeats={"perception": now, "planner": now},
        )  # fmt: skip
        state, output = gate.step(state, inputs, now, now)
        made.append(motion.of(now, np.array(output.values)))
        at = np.array(output.values)
    return at, np.array(made)[round(CONTRACT.gate_rate) :]


def test_the_gate_moves_the_tip_as_the_action_asks():
    at, made = through_the_gate((0.1, -0.05, 0.05, 0.0), 1.0)
    np.testing.assert_allclose(made[20:].mean(0), [0.1, -0.05, 0.05, 0.0], atol=2e-3)
    assert np.linalg.norm(BODY.tip(at) - BODY.tip(AT) - [0.1, -0.05, 0.05]) < 0.01


def test_zeros_stand_still():
    start = AT + np.array([0.3, -0.2, 0.4, 0.1, -0.3, 0.2, 0.5, 0.01])  # far from home, so that home would pull
    at, made = through_the_gate(np.zeros(4), 0.5, start)
    assert np.abs(made).max() < 1e-9
    np.testing.assert_allclose(at, start, atol=1e-9)
    np.testing.assert_allclose(BODY.command(np.zeros(4), AT), BODY.still(AT), atol=1e-9)


def test_the_gripper_moves_at_its_rate_and_stops_at_its_end():
    at, made = through_the_gate((0.0, 0.0, 0.0, 0.05), 0.2)
    assert 0.02 < at[-1] < 0.04 and made[5:, 3].mean() > 0.03
    assert through_the_gate((0.0, 0.0, 0.0, 0.1), 1.0)[0][-1] == pytest.approx(0.04, abs=1e-3)


def test_the_tip_stops_at_the_edge_of_its_workspace():
    at, _ = through_the_gate((0.2, 0.0, 0.0, 0.0), 3.0)
    x = BODY.tip(at)[0]
    assert BODY.high[0] - 0.01 < x < BODY.high[0] + 1e-3


def test_what_the_command_made_is_the_action_again():
    action = np.array([0.05, 0.02, -0.03, 0.04])
    after = AT + BODY.rates(action, AT) * BODY.period
    np.testing.assert_allclose(BODY.action(AT, after, BODY.period), action, atol=1e-3)


def test_rates_are_commanded_as_they_are():
    data = CONTRACT.to_dict()
    data["command"]["values"] = "velocity"
    body = ArmBody(RobotContract.from_dict(data))
    action = np.array([0.05, 0.02, -0.03, 0.04])
    np.testing.assert_allclose(body.command(action, AT), body.rates(action, AT))
    assert not body.still(AT).any()
    motion = TipMotion(body)
    assert motion.of(0.0, np.zeros(8)) is None
    motion.measured("joint_states", states(AT))
    np.testing.assert_allclose(motion.of(0.0, body.command(action, AT)), action, atol=1e-3)


def test_joints_are_read_by_name_and_a_missing_one_is_named():
    order = np.random.default_rng(0).permutation(8)
    names = ["wheel", *(BODY.names[i] for i in order)]
    mixed = JointsIn(0.0, 0.0, names, [9.0, *AT[order]])
    np.testing.assert_array_equal(BODY.joints(mixed), AT)
    with pytest.raises(ArmError, match="no position of panda_joint2"):
        BODY.joints(JointsIn(0.0, 0.0, [n for n in BODY.names if n != "panda_joint2"], [0.0] * 7))


def test_an_arm_with_weak_brakes_begins_to_move_although_it_is_asked_to_at_once():
    plain = CONTRACT.to_dict()
    plain["limits"]["braking"] = {"joints": 1.0, "panda_finger_joint1": 1.0}
    contract = RobotContract.from_dict(plain)
    body, gate = Acting(contract), Gate(GateConfig.from_contract(contract, auto_enable=True))
    state, at, action = gate.initial_state(), AT.copy(), np.array([0.2, 0.2, 0.2, 0.0])
    body.measured("joint_states", states(at))
    assert np.abs(body.arm.command(action, at) - at).max() > gate.config.first_command  # what braking asks for
    for k in range(60):
        now = k * BODY.period
        body.measured("joint_states", states(at, now))
        command = CommandIn(body.command(action).tolist(), now, now, k, names=BODY.names)
        inputs = GateInputs(
            command=command, image=ImageIn(now, now, k), joint_states=states(at, now), output_publishers=1,
            heartbeats={"perception": now, "planner": now},
        )  # fmt: skip
        state, output = gate.step(state, inputs, now, now)
        at = np.array(output.values)
        body.gated(at)
    assert np.linalg.norm(BODY.tip(at) - BODY.tip(AT)) > 0.05, output.reason


def test_set_points_do_not_run_away_from_an_arm_that_its_driver_holds():
    """A protective stop: the gate's output goes on, and the joints do not. They must not jump when it is released."""
    body, gate = Acting(CONTRACT), Gate(GateConfig.from_contract(CONTRACT, auto_enable=True))
    state, at, held, furthest = gate.initial_state(), AT.copy(), None, 0.0
    for k in range(400):
        now = k * BODY.period
        body.measured("joint_states", states(at if held is None else held, now))
        command = CommandIn(body.command(np.array([0.0, 0.2, 0.0, 0.0])).tolist(), now, now, k, names=BODY.names)
        inputs = GateInputs(
            command=command, image=ImageIn(now, now, k), joint_states=states(at if held is None else held, now),
            output_publishers=1, heartbeats={"perception": now, "planner": now},
        )  # fmt: skip
        state, output = gate.step(state, inputs, now, now)
        at = np.array(output.values)
        body.gated(at)
        if held is None and now > 0.8:
            held = at.copy()
        if held is not None:
            furthest = max(furthest, float(np.abs(at - held).max()))
    assert 0.1 < furthest < 0.5  # rad; 0.2 m/s for seven seconds would be 2 rad and more


@pytest.mark.parametrize("goal", [Goal("tip", value=(0.5, 0.1, 0.2)), Goal.from_latent(np.ones(64))])
def test_a_plan_leaves_the_gripper_as_it_is_where_nothing_tells_how_far_it_shall_be_open(goal):
    sizes = ModelConfig.inputs_of(CONTRACT)
    model = WorldModel(ModelConfig(**sizes, action_dim=4, encoder_width=8, readouts=("distance", "tip"))).eval()
    planner = Planner(model, CONTRACT, PlannerConfig(SearchConfig(samples=16, elites=4, deadline=10.0)))
    planner.set_goal(goal)
    plan = planner.step(np.zeros(64), 0.0).plan_actions
    assert np.array_equal(plan[:, 3], np.zeros(len(plan))) and np.abs(plan[:, :3]).max() > 0.05
