# SPDX-License-Identifier: Apache-2.0
"""Pushing at the table: what is asked for, who can do it, and how data for it is gathered."""

import json

import numpy as np
import pytest

from jepa_ros.agent.loop import Loop
from jepa_ros.contract import load_contract
from jepa_ros.learning.data.collect import CollectSettings, collect
from jepa_ros.perception.preprocess import model_input
from jepa_ros.worlds import Decision, Sample
from jepa_ros.worlds.assignment import Assignment
from jepa_ros_sim.table.tasks.push import SHAPES, UNSEEN, WAY
from jepa_ros_sim.table.world import TableScene, TableWorld

pytest.importorskip("pinocchio")

WORLD = TableWorld()
CONTRACT = WORLD.contract()
PUSHES = ("push", "push_round", "push_unseen")


class Still:
    """Does nothing."""

    def act(self, observation):
        return Decision(np.zeros(CONTRACT.action_dim))


@pytest.fixture
def scene():
    made = TableScene(CONTRACT)
    yield made
    made.close()


def play(scene, task, spec, policy, steps):
    """The verdict on an episode, and the reasons that the gate gave."""
    judge, loop, reasons = task.judge(scene, spec), Loop(scene, policy), set()
    for _ in range(steps):
        reasons.update(loop.step().reasons)
        judge.add(Sample(scene.time, scene.truth(), False, False))
    return judge.score(), reasons


@pytest.mark.parametrize("name", PUSHES)
def test_the_thing_is_never_where_it_is_wanted_and_an_oracle_brings_it_there(name, scene):
    task = WORLD.task(name, CONTRACT, {"randomise": True})
    spec = task.draw(scene, 0, 1)
    assert spec == task.draw(scene, 0, 1)
    scene.reset(spec)
    score, reasons = play(scene, task, spec, task.reference("oracle", scene, spec, None), 60)
    assert WAY[0] - 0.01 <= score["distance"] <= WAY[1] + 0.01
    assert score["success"] and score["final_distance"] < 0.015
    assert "force" not in reasons  # pushing a light thing, and moving at all, is no blow


def test_success_judges_the_thing_and_not_the_arm(scene):
    task = WORLD.task("push", CONTRACT, {})
    spec = task.draw(scene, 0, 1)
    scene.reset(spec)
    score, _ = play(scene, task, spec, Still(), 15)
    assert not score["success"] and not score["ever"] and score["final_distance"] > 0.03


def test_the_tip_begins_behind_the_thing_or_on_the_side_of_the_goal(scene):
    for name, sign in (("push", -1), ("push_round", 1)):
        task = WORLD.task(name, CONTRACT, {})
        for number in range(10):
            spec = task.draw(scene, 3, number)
            at = np.array(spec.things[0].place[:2])
            way, tip = np.array(spec.wanted[:2]) - at, np.array(spec.tip[:2]) - at
            assert np.sign(way @ tip) == sign


def test_the_goal_picture_shows_the_thing_at_its_goal(scene):
    task = WORLD.task("push", CONTRACT, {})
    spec = task.draw(scene, 0, 1)
    scene.reset(spec)
    before = scene.truth()
    goal = task.goal(scene, spec).seen.images["image"].astype(int)
    assert scene.truth() == before
    play(scene, task, spec, task.reference("oracle", scene, spec, None), 60)
    colour = np.array(spec.things[0].colour) * 255

    def middle(image):
        like = np.abs(image - colour * 0.75).sum(-1)
        return np.argwhere(like <= np.sort(like, axis=None)[20]).mean(0)

    reached = scene.sim.image_at((0.35, -0.25, 0.3)).astype(int)
    assert np.linalg.norm(middle(goal) - middle(reached)) < 4.0  # px


def test_a_sweep_finds_things_and_moves_them_and_never_has_the_shape_that_is_held_out(scene):
    task = WORLD.task("sweep", CONTRACT, {"randomise": True})
    moved = steps = 0
    for number in range(3):
        spec = task.outing(0, number)
        assert {thing.shape for thing in spec.things} <= set(SHAPES) and not set(SHAPES) & set(UNSEEN)
        scene.reset(spec)
        loop = Loop(scene, task.explore(scene, spec))
        before = np.array([thing[:2] for thing in scene.truth().things])
        for _ in range(60):
            loop.step()
            now = np.array([thing[:2] for thing in scene.truth().things])
            moved += bool(np.any(np.linalg.norm(now - before, axis=1) > 0.003))
            steps += 1
            before = now
    assert moved / steps > 0.05


def test_a_gate_that_ticks_less_often_while_data_is_collected_leaves_the_contract_as_it_is(tmp_path):
    assignment = Assignment.of(WORLD, CONTRACT, "sweep")
    settings = CollectSettings(episodes=1, length=3, seed=0, gate_rate=20.0)
    collect(assignment, tmp_path / "data", settings, workers=1)
    written = json.loads((tmp_path / "data" / "dataset.json").read_text())
    assert written["contract"]["gate_rate"] == 50.0 and written["settings"]["gate_rate"] == 20.0
    scene, task = settings.driven(assignment).open()
    spec = task.outing(0, 0)
    scene.reset(spec)
    assert len(Loop(scene, task.explore(scene, spec)).step().modes) == 20 / CONTRACT.rate
    scene.close()


def test_what_rests_is_as_it_was_and_moves_when_it_is_pushed(scene):
    task = WORLD.task("push", CONTRACT, {})
    spec = task.draw(scene, 0, 1)
    scene.reset(spec)
    before = np.array(scene.truth().things[0])
    scene.advance(4.0)  # longer than it takes to fall asleep
    assert np.allclose(scene.truth().things[0], before, atol=2e-4)
    score, _ = play(scene, task, spec, task.reference("oracle", scene, spec, None), 60)
    assert score["success"]


def test_the_camera_for_pushing_shows_things_twice_as_large_and_all_of_the_table_that_the_hand_comes_to():
    def seen(robot):
        contract = load_contract(robot)
        task, scene = WORLD.task("push", contract, {}), TableScene(contract)
        try:
            scene.reset(task.draw(scene, 0, 3))
            (placed,) = scene.sim.placed()
            corners = [(x, y) for x in (task.low[0], task.high[0]) for y in (task.low[1], task.high[1])]
            pictures, sizes = [], []
            for x, y in [(2.0, 2.0), *corners]:  # out of sight, then in each corner
                there = [(placed[0], (x, y, placed[0].height), placed[2])]
                tip = task.low + (task.high - task.low) * [0.5, 0.5, 1.0]
                image = scene.sim.image_at(tip, things=there, noise=False)
                pictures.append(model_input(image, contract.cameras[0]).astype(float))
            for picture in pictures[1:]:
                sizes.append(int((np.abs(picture - pictures[0]).max(-1) > 40).sum()))
            return np.array(sizes)
        finally:
            scene.close()

    few, many = seen("panda"), seen("panda_push")
    assert (many > 3 * few).all() and many.min() >= 12, (few, many)
