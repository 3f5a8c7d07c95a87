# SPDX-License-Identifier: Apache-2.0
"""Houses: what is drawn from a seed, what the camera shows of it, and the tasks that are set there."""

from dataclasses import replace

import numpy as np
import pytest

from jepa_ros.agent.loop import Loop
from jepa_ros.worlds import Decision, Sample, WorldError
from jepa_ros_sim.common.errors import SimError
from jepa_ros_sim.common.ways import Ways
from jepa_ros_sim.house.draw import draw_house
from jepa_ros_sim.house.simulator import ROBOT_RADIUS, HouseConfig, HouseSim
from jepa_ros_sim.house.tasks import HouseSpec
from jepa_ros_sim.house.world import HouseScene, HouseWorld

WORLD = HouseWorld()
CONTRACT = WORLD.contract()


def ways(house, radius=ROBOT_RADIUS):
    return Ways(house, (0.0, 0.0, house.width, house.depth), radius)


@pytest.fixture
def scene():
    made = HouseScene(CONTRACT)
    yield made
    made.close()


def drive(sim, command, seconds):
    for _ in range(round(seconds / 0.1)):
        sim.set_command(command)
        sim.advance(0.1)


def test_a_house_has_four_to_nine_rooms_and_a_robot_gets_from_each_to_each():
    sizes = set()
    for seed in range(20):
        house = draw_house(seed)
        sizes.add(len(house.rooms))
        length = ways(house).to(house.rooms[0].middle)
        for door in house.doors:
            assert np.isfinite(length(np.array(door.middle)))
        assert all(house.rooms_between(0, room) is not None for room in range(len(house.rooms)))
    assert min(sizes) >= 4 and max(sizes) <= 9 and len(sizes) > 2


def test_equal_seeds_give_equal_houses_and_others_other_ones():
    assert draw_house(3) == draw_house(3)
    assert draw_house(3) != draw_house(4)


def test_a_shut_door_makes_the_way_longer_or_ends_it():
    house = draw_house(8)
    for number, door in enumerate(house.doors):
        a, b = (house.rooms[room].middle for room in door.rooms)
        shut = replace(house, closed=(number,))
        before, after = (float(ways(h).to(a)(np.array(b))) for h in (house, shut))
        assert after > before
        assert not shut.free(np.array(door.middle), 0.05)


def test_the_same_calls_give_the_same_pictures_and_numbers(scene):
    spec = WORLD.task("far", CONTRACT, {"randomise": True}).draw(scene, 0, 1)

    def run():
        scene.reset(spec)
        drive(scene.sim, (0.2, 0.5), 1.0)
        seen = scene.observe()
        return seen.images["image"], seen.state["odom"], seen.state["scan"].ranges

    first, second = run(), run()
    np.testing.assert_array_equal(first[0], second[0])
    assert first[1] == second[1]
    np.testing.assert_array_equal(first[2], second[2])
    assert first[0].shape == (64, 96, 3)


def test_the_picture_turns_with_the_robot_and_people_are_in_it():
    with HouseSim(CONTRACT, HouseConfig(camera_noise=0.0)) as sim:
        room = sim_room(sim)
        x, y = room.middle
        ahead, back = sim.image_at((x, y, 0.0)), sim.image_at((x, y, np.pi))
        again = sim.image_at((x, y, 2 * np.pi))
        assert np.abs(ahead.astype(int) - back).mean() > 10
        assert np.abs(ahead.astype(int) - again).mean() < 1
        sim.camera.set_house(sim.house, sim.look, [(1.0, 0.0, 0.0)])
        empty = sim.camera.render((x, y, 0.0), [(-100.0, 0.0)], None)
        person = sim.camera.render((x, y, 0.0), [(x + 0.8, y)], None)
        assert np.abs(empty.astype(int) - person).max() > 60


def sim_room(sim, seed=5):
    """The largest room of a house that the simulator is reset to, with the robot in the middle of it if it is free."""
    from jepa_ros_sim.house.simulator import house_of
    from jepa_ros_sim.house.tasks.go import free_pose

    house = house_of(seed, (4, 9))
    sim.reset(0, seed, free_pose(house, np.random.default_rng(0)))
    return max(sim.house.rooms, key=lambda r: min(r.x1 - r.x0, r.y1 - r.y0))


def test_a_wall_stops_the_robot_and_the_bumper_tells():
    with HouseSim(CONTRACT, HouseConfig()) as sim:
        sim_room(sim)
        drive(sim, (0.4, 0.0), 20.0)
        truth = sim.truth()
        assert truth.contact_steps > 0 and sim.contact()
        assert sim.house.clearance(np.array([truth.x, truth.y])) > ROBOT_RADIUS - 0.02


def test_the_lidar_looks_under_what_hangs_and_the_bumper_does_not():
    from jepa_ros_sim.house.plan import Block
    from jepa_ros_sim.house.simulator import house_of

    with HouseSim(CONTRACT, HouseConfig(scan_noise=0.0)) as sim:
        room = sim_room(sim)
        house = house_of(5, (4, 9))
        x, y = room.middle
        hanging = replace(house, things=(Block(x + 0.6, y, 0.1, 0.3, 0.22, 0.6),), pictures=())
        sim.house = hanging
        sim._build((x, y, 0.0), (1.0, 1.0))
        assert sim.scan().ranges[60] > 0.8  # the beam straight ahead
        drive(sim, (0.3, 0.0), 2.5)
        assert sim.truth().contact_steps > 0


def test_without_commands_the_base_stops():
    with HouseSim(CONTRACT, HouseConfig()) as sim:
        sim_room(sim)
        sim.set_command((0.0, 1.0))
        sim.advance(0.4)
        assert abs(sim.truth().w) > 0.5
        sim.advance(1.0)
        assert abs(sim.truth().w) < 0.05


def test_odometry_starts_at_nothing_and_drifts():
    with HouseSim(CONTRACT, HouseConfig()) as sim:
        sim_room(sim)
        assert sim.odom()[:3] == (0.0, 0.0, 0.0)
        begin = sim.truth()
        drive(sim, (0.0, 1.0), 20.0)
        turned = sim.truth()
        off = (sim.odom()[2] - (turned.yaw - begin.yaw) + np.pi) % (2 * np.pi) - np.pi
        assert 1e-4 < abs(off) < 1.5


@pytest.mark.parametrize("name", ["near", "far"])
def test_goals_are_never_reached_at_the_start_and_an_oracle_reaches_them(name, scene):
    task = WORLD.task(name, CONTRACT, {})
    for number in range(3):
        spec = task.draw(scene, 0, number)
        assert spec == task.draw(scene, 0, number)
        scene.reset(spec)
        doors = scene.sim.house.rooms_between(
            scene.sim.house.room_of(*spec.start[:2]), scene.sim.house.room_of(*spec.goal[:2])
        )
        assert doors >= task.kind.doors and spec.way > 0.5
        judge, driver = task.judge(scene, spec), task.reference("oracle", scene, spec, None)
        while scene.time < task.kind.seconds and not judge.held(1.0):
            decision = driver.act(scene.observe(()))
            for _ in range(5):
                scene.command(decision.command)
                scene.advance(0.05)
            judge.add(Sample(scene.time, scene.truth(), True, False))
        score = judge.score()
        assert score["success"] and score["ever"] and not score["contact"]
        assert 0.4 < score["spl"] <= 1.0


def test_who_stands_still_fails_with_no_spl(scene):
    task = WORLD.task("near", CONTRACT, {})
    spec = task.draw(scene, 0, 0)
    scene.reset(spec)
    judge = task.judge(scene, spec)
    judge.add(Sample(0.25, scene.truth(), True, False))
    assert judge.score()["success"] is False
    assert judge.score()["spl"] == 0.0 and judge.score()["false_arrival"]


def test_houses_that_are_scored_are_never_learned_from(scene):
    scored = {WORLD.task("far", CONTRACT, {}).draw(scene, 0, n).house for n in range(5)}
    learned = {WORLD.task("wander", CONTRACT, {}).outing(0, n).house for n in range(50)}
    assert not scored & learned and len(learned) == 13  # four episodes a house


def test_what_cannot_be_is_said(scene):
    with pytest.raises(WorldError, match="no task 'nowhere'"):
        WORLD.task("nowhere", CONTRACT, {})
    with pytest.raises(WorldError, match="reset it first"):
        scene.observe()
    with pytest.raises(SimError, match="touches nothing"):
        scene.reset(HouseSpec(0, 0, 5, HouseConfig(), (0.0, 0.0, 0.0)))
    with pytest.raises(SimError, match="closed"):
        scene.reset(HouseSpec(0, 0, 5, HouseConfig(), (1.0, 1.0, 0.0), closed=(99,)))


class Waits:
    """Stands still, and keeps what it was shown."""

    def act(self, observation):
        self.seen = observation
        return Decision(CONTRACT.neutral())


def test_a_policy_on_board_is_told_what_its_lidar_shows(scene):
    scene.reset(WORLD.task("near", CONTRACT, {}).draw(scene, 1, 0))
    policy = Waits()
    Loop(scene, policy, gated=False, blind=("contact",)).step()
    assert np.isfinite(policy.seen.state["scan"].ranges).any()
