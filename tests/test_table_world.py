# SPDX-License-Identifier: Apache-2.0
"""The table as a world: its tasks ask for what they say, play keeps the workspace, and the loop moves the arm."""

import numpy as np
import pytest

pytest.importorskip("pinocchio")
from jepa_ros.agent.loop import Loop
from jepa_ros.contract import load_contract
from jepa_ros.evaluation.episode import EvalSettings, run_episode
from jepa_ros.worlds import Decision, Sample, WorldError
from jepa_ros_sim.common.noise import noisy
from jepa_ros_sim.table import Truth
from jepa_ros_sim.table.world import TableScene, TableWorld

WORLD = TableWorld()
CONTRACT = load_contract("panda")
REACH = WORLD.task("reach", CONTRACT, {})


@pytest.fixture(scope="module")
def scene():
    made = TableScene(CONTRACT)
    yield made
    made.close()


class Constant:
    """The same command at every step."""

    def __init__(self, command):
        self.command = np.array(command)

    def act(self, observation):
        return Decision(self.command)


def test_reaching_begins_at_least_15_cm_away_inside_the_workspace():
    specs = [REACH.draw(None, 0, k) for k in range(300)]
    gaps = [np.linalg.norm(np.subtract(s.tip, s.wanted)) for s in specs]
    places = np.array([p for s in specs for p in (s.tip, s.wanted)])
    assert min(gaps) >= 0.15
    assert (places >= REACH.low).all() and (places <= REACH.high).all()
    assert specs[7] == REACH.draw(None, 0, 7) and specs[7] != REACH.draw(None, 1, 7)


def test_a_goal_is_a_picture_and_tells_no_joints(scene):
    spec = REACH.draw(scene, 0, 0)
    scene.reset(spec)
    before = scene.truth()
    wanted = REACH.goal(scene, spec)
    assert set(wanted.seen.images) == {"image"} and not wanted.seen.state
    np.testing.assert_allclose(wanted.readouts["tip"], spec.wanted)
    assert scene.truth() == before


def test_the_oracle_arrives_and_stays(scene):
    for number in range(2):
        spec = REACH.draw(scene, 0, number)
        score = run_episode("oracle", scene, REACH, spec, EvalSettings(), None)["score"]
        assert score["success"] and score["final_distance"] < 0.005 and score["distance"] >= 0.15


def test_the_executed_action_is_the_twist_that_the_tip_made(scene):
    scene.reset(REACH.outing(0, 3))
    loop = Loop(scene, Constant([0.08, -0.05, 0.03, 0.0]))
    for _ in range(3):
        loop.step()
    tips, executed = [], []
    for _ in range(3):
        tips.append(scene.truth().tip)
        executed.append(loop.step().executed)
    moved = (np.array(scene.truth().tip) - tips[0]) / 0.6
    np.testing.assert_allclose(np.mean(executed, 0)[:3], moved, atol=5e-3)


def test_the_gate_of_an_arm_sees_joints_and_its_policy_twists(scene):
    scene.reset(REACH.outing(0, 4))
    loop = Loop(scene, Constant([0.0, 0.1, 0.0, 0.02]))
    record = [loop.step() for _ in range(4)][-1]
    assert loop.agent.last.values.shape == (8,)
    assert record.observation.gated.shape == record.executed.shape == (4,)
    assert set(record.modes) <= {"ACTIVE", "LIMITED"}


def test_an_arm_whose_policy_asks_for_nothing_stands_still(scene):
    scene.reset(REACH.outing(0, 5))
    start = np.array(scene.truth().joints)
    loop = Loop(scene, Constant(np.zeros(4)))
    for _ in range(4):
        record = loop.step()
    assert np.abs(record.executed).max() < 1e-6
    np.testing.assert_allclose(scene.truth().joints, start, atol=2e-3)


def test_the_wrist_feels_too_little_in_free_air_to_slow_the_arm_down(scene):
    scene.reset(REACH.outing(0, 6))
    loop, forces = Loop(scene, Constant([0.1, 0.1, -0.1, 0.0])), []
    for _ in range(10):
        loop.step()
        forces.append(np.linalg.norm(scene.observe(("wrench",)).state["wrench"].force))
    assert max(forces) < CONTRACT.state["wrench"].slow


def test_play_keeps_the_workspace_and_gets_about(scene):
    tips, actions = [], []
    for number in range(3):
        spec = REACH.outing(1, number)
        scene.reset(spec)
        loop = Loop(scene, REACH.explore(scene, spec))
        for _ in range(40):
            actions.append(loop.step().executed)
            tips.append(scene.truth().tip)
    tips, actions = np.array(tips), np.array(actions)
    assert (tips > REACH.low - 0.01).all() and (tips < REACH.high + 0.01).all()
    assert (np.ptp(tips, axis=0) > 0.6 * (REACH.high - REACH.low)).all()
    assert (actions[:, :3].std(0) > 0.04).all() and actions[:, 3].std() > 0.005
    assert scene.truth().contact_steps == 0


def _truth(tip):
    return Truth(0.0, (0.0,) * 8, tuple(tip), (), 0.0, 0)


def test_success_is_being_there_at_the_end_and_for_a_second(scene):
    spec = REACH.draw(scene, 0, 0)
    goal, away = np.array(spec.wanted), np.add(spec.wanted, [0.0, 0.0, 0.05])
    verdicts = []
    for path in ([away] * 5 + [goal] * 6, [goal] * 6 + [away] * 5, [away] * 9 + [goal] * 2):
        scene.reset(spec)
        judge = REACH.judge(scene, spec)
        for k, tip in enumerate(path):
            judge.add(Sample(0.2 * (k + 1), _truth(tip), arrived=True, stopped=False))
        verdicts.append(judge.score())
    assert [v["success"] for v in verdicts] == [True, False, False]
    assert all(v["ever"] and v["false_arrival"] for v in verdicts)


def test_within_a_centimetre_is_told_of_where_the_tip_was_all_of_the_last_second(scene):
    spec = REACH.draw(scene, 0, 0)
    scores = []
    for gaps in ([0.05] * 5 + [0.005] * 6, [0.005] * 8 + [0.015] + [0.005] * 2):
        scene.reset(spec)
        judge = REACH.judge(scene, spec)
        for k, gap in enumerate(gaps):
            judge.add(Sample(0.2 * (k + 1), _truth(np.add(spec.wanted, [0.0, 0.0, gap])), True, False))
        scores.append(judge.score())
    assert [(s["success"], s["close"]) for s in scores] == [(True, True), (True, False)]
    assert [round(s["held_distance"], 6) for s in scores] == [0.005, 0.015]
    assert all(round(s["final_distance"], 6) == 0.005 for s in scores)


def test_what_the_table_does_not_have_is_named(scene):
    with pytest.raises(WorldError, match="no task 'juggle'; expected one of reach, push"):
        WORLD.task("juggle", CONTRACT, {})
    with pytest.raises(WorldError, match="no option per_layout"):
        WORLD.task("reach", CONTRACT, {"per_layout": 2})
    with pytest.raises(WorldError, match="no policy 'wizard'; it has oracle"):
        scene.reset(REACH.draw(scene, 0, 0))
        REACH.reference("wizard", scene, REACH.draw(scene, 0, 0), None)
    with pytest.raises(WorldError, match="reset it first"):
        TableScene(CONTRACT).observe()


def test_distractors_lie_where_the_seed_says_and_in_the_picture(scene):
    crowded = WORLD.task("reach", CONTRACT, {"distractors": 3})
    spec, other = crowded.draw(scene, 0, 0), crowded.draw(scene, 0, 1)
    assert spec.tip == REACH.draw(scene, 0, 0).tip and spec.group != other.group
    scene.reset(spec)
    first = (scene.truth().things, scene.observe(("image",)).images["image"])
    scene.reset(other)
    elsewhere = scene.truth().things
    scene.reset(spec)
    again = (scene.truth().things, scene.observe(("image",)).images["image"])
    assert len(first[0]) == 3 and first[0] == again[0] != elsewhere and (first[1] == again[1]).all()
    scene.reset(REACH.draw(scene, 0, 0))
    assert (np.abs(scene.observe(("image",)).images["image"].astype(int) - first[1]).max(-1) > 60).sum() > 30


def test_noise_covers_a_picture_that_is_larger_than_what_was_drawn_beforehand():
    bank = np.array([-3, -1, 1, 3, 5], dtype=np.int16)
    made = noisy(np.full((8, 9, 3), 100, np.uint8), bank, np.random.default_rng(0))
    values, counts = np.unique(made, return_counts=True)
    assert values.tolist() == [97, 99, 101, 103, 105] and np.ptp(counts) <= 1
