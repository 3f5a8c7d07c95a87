# SPDX-License-Identifier: Apache-2.0
"""The simulated robot moves like a body with mass on wheels that can slip, and always the same for the same seed."""

from __future__ import annotations

import dataclasses
import sys

import numpy as np
import pytest

from jepa_ros.contract import load_contract
from jepa_ros_sim.arena import ArenaSim, Box, Layout, Patch, SceneConfig, SimError

CONTRACT = load_contract("arena")
EMPTY = SceneConfig(layout="empty")


def drive(sim: ArenaSim, command, seconds: float) -> None:
    for _ in range(round(seconds / 0.02)):
        sim.set_command(command)
        sim.advance(0.02)


def state(sim: ArenaSim) -> tuple:
    truth = sim.truth()
    return (truth.x, truth.y, truth.yaw, truth.v, truth.w, truth.contact_steps, *sim.odom(), *sim.pose()[:3])


def rollout(sim: ArenaSim, seed: int) -> list:
    """A drive with contacts, from a reset; everything that it shows."""
    sim.reset(seed, layout_seed=seed + 1)
    commands = np.random.default_rng(seed).uniform((-0.4, -2.5), (0.4, 2.5), (12, 2))
    out = []
    for command in commands:
        drive(sim, command, 0.2)
        out.append((state(sim), sim.image().tobytes(), sim.scan().ranges.tobytes()))
    return out


def test_the_same_seed_gives_the_same_episode_in_another_simulator_and_after_other_episodes():
    scene = SceneConfig(layout="random", randomise=True, patches=1, person="random")
    with ArenaSim(CONTRACT, scene) as first, ArenaSim(CONTRACT, scene) as second:
        expected = rollout(first, 3)
        rollout(second, 8)
        assert rollout(second, 3) == expected
        assert rollout(second, 4) != expected


def test_two_simulators_in_one_process_do_not_disturb_each_other():
    with ArenaSim(CONTRACT, EMPTY) as alone:
        alone.reset(1)
        drive(alone, (0.3, 0.5), 1.0)
        expected = state(alone)
    with ArenaSim(CONTRACT, EMPTY) as one, ArenaSim(CONTRACT, SceneConfig()) as other:
        one.reset(1)
        for _ in range(50):
            one.set_command((0.3, 0.5))
            other.set_command((-0.2, 1.0))
            one.advance(0.02)
            other.advance(0.02)
        assert state(one) == expected


def test_it_goes_where_it_is_told_at_the_speed_that_it_is_told():
    with ArenaSim(CONTRACT, EMPTY) as sim:
        sim.reset(0, start=(-0.5, 0.0, 0.0))
        drive(sim, (0.4, 0.0), 2.0)
        truth = sim.truth()
        assert truth.v == pytest.approx(0.4, abs=0.01)
        assert -0.5 + 0.8 - 0.05 < truth.x < -0.5 + 0.8
        assert abs(truth.y) < 0.005
        sim.reset(0, start=(0.0, 0.0, 0.0))
        drive(sim, (0.0, 2.5), 1.0)
        truth = sim.truth()
        assert truth.w == pytest.approx(2.5, abs=0.1)
        assert truth.yaw == pytest.approx(2.5, abs=0.15)
        assert np.hypot(truth.x, truth.y) < 0.01


def test_inertia_is_real_it_needs_time_to_reach_its_speed_and_way_to_stop():
    with ArenaSim(CONTRACT, EMPTY) as sim:
        sim.reset(0, start=(-0.5, 0.0, 0.0))
        drive(sim, (0.4, 0.0), 0.04)
        assert 0.05 < sim.truth().v < 0.25
        drive(sim, (0.4, 0.0), 0.46)
        before = sim.truth().x
        drive(sim, (0.0, 0.0), 0.5)
        assert 0.005 < sim.truth().x - before < 0.08
        assert abs(sim.truth().v) < 0.005


def test_braking_is_at_least_what_the_contract_guarantees():
    with ArenaSim(CONTRACT, EMPTY) as sim:
        sim.reset(0, start=(-0.5, 0.0, 0.0))
        drive(sim, (0.4, 0.0), 0.6)
        v, x = sim.truth().v, sim.truth().x
        drive(sim, (0.0, 0.0), 0.6)
        assert sim.truth().x - x <= v**2 / 2 / CONTRACT.limits.braking[0] + 0.002
        drive(sim, (0.0, 2.5), 0.6)
        w, yaw = sim.truth().w, sim.truth().yaw
        drive(sim, (0.0, 0.0), 0.6)
        assert (sim.truth().yaw - yaw) % (2 * np.pi) <= w**2 / 2 / CONTRACT.limits.braking[1] + 0.01


def test_slip_is_real_on_a_slippery_patch_the_wheels_turn_and_the_robot_does_not_follow():
    ice = Layout(patches=(Patch(0.0, 0.0, 0.9, friction=0.02),))
    turned = {}
    moved = {}
    for name, layout in (("ice", ice), ("floor", Layout())):
        with ArenaSim(CONTRACT, EMPTY) as sim:
            sim.reset(0, start=(-0.4, 0.0, 0.0), layout=layout)
            drive(sim, (0.4, 0.0), 0.4)
            turned[name] = sim.joint_states()[1].mean() * 0.03
            moved[name] = sim.truth().x + 0.4
    assert moved["floor"] > 0.95 * turned["floor"]
    assert moved["ice"] < 0.5 * turned["ice"]


def test_the_base_stops_by_itself_when_commands_cease_and_goes_again_when_they_come():
    with ArenaSim(CONTRACT, EMPTY) as sim:
        sim.reset(0, start=(-0.5, 0.0, 0.0))
        drive(sim, (0.3, 0.0), 0.5)
        sim.advance(0.40)
        assert sim.truth().v == pytest.approx(0.3, abs=0.02)
        sim.advance(0.30)
        assert abs(sim.truth().v) < 0.005
        drive(sim, (0.3, 0.0), 0.3)
        assert sim.truth().v == pytest.approx(0.3, abs=0.02)


def test_extra_latency_holds_a_command_back_for_that_long():
    with ArenaSim(CONTRACT, EMPTY.with_(extra_latency=0.1)) as sim:
        sim.reset(0, start=(0.0, 0.0, 0.0))
        drive(sim, (0.3, 0.0), 0.1)
        assert abs(sim.truth().v) < 0.001
        drive(sim, (0.3, 0.0), 0.1)
        assert sim.truth().v > 0.2


def test_contacts_are_felt_and_counted():
    box = Layout(boxes=(Box(0.5, 0.0, 0.1, 0.3),))
    with ArenaSim(CONTRACT, EMPTY) as sim:
        sim.reset(0, start=(0.0, 0.0, 0.0), layout=box)
        drive(sim, (0.3, 0.0), 0.5)
        assert not sim.contact() and sim.truth().contact_steps == 0
        drive(sim, (0.3, 0.0), 1.5)
        truth = sim.truth()
        assert sim.contact() and truth.contact and truth.contact_count >= 1 and truth.contact_steps > 50
        assert truth.x == pytest.approx(0.4 - 0.09, abs=0.005)
        drive(sim, (-0.3, 0.0), 0.6)
        assert not sim.contact() and not sim.truth().contact
        steps = sim.truth().contact_steps
        drive(sim, (-0.3, 0.0), 4.5)  # on to the wall
        assert sim.truth().contact_steps > steps and sim.truth().contact_count >= 2
        assert sim.truth().x == pytest.approx(-1.0 + 0.09, abs=0.005)


def test_driving_free_counts_no_contact():
    with ArenaSim(CONTRACT, EMPTY) as sim:
        sim.reset(0, start=(0.0, 0.0, 0.0))
        drive(sim, (0.2, 1.0), 6.0)
        assert sim.truth().contact_steps == 0


def test_a_person_who_walks_into_the_robot_is_a_contact_with_a_person():
    scene = EMPTY.with_(person="path", person_path=((-0.6, 0.0), (0.6, 0.0)), person_speed=0.3)
    with ArenaSim(CONTRACT, scene) as sim:
        sim.reset(0, start=(0.2, 0.0, 0.0))
        sim.advance(1.0)
        assert sim.truth().person == pytest.approx((-0.3, 0.0), abs=0.02)
        assert sim.truth().person_contact_steps == 0
        sim.advance(2.0)
        assert sim.truth().person_contact_steps > 0


def test_saved_and_restored_it_goes_on_the_same_way():
    scene = SceneConfig(layout="random", randomise=True, patches=2, person="random")
    with ArenaSim(CONTRACT, scene) as sim:
        sim.reset(5)
        drive(sim, (0.3, 0.4), 1.0)
        saved = sim.save()
        runs = []
        for _ in range(2):
            drive(sim, (0.1, -1.0), 0.6)
            runs.append((np.array(state(sim)), sim.image()))
            sim.restore(saved)
        np.testing.assert_allclose(runs[0][0], runs[1][0], atol=1e-6)
        assert np.abs(runs[0][1].astype(int) - runs[1][1]).max() <= 2
        sim.reset(5)
        with pytest.raises(SimError, match="another episode"):
            sim.restore(saved)


def test_a_jammed_wheel_turns_the_robot_on_the_spot():
    with ArenaSim(CONTRACT, EMPTY) as sim:
        sim.reset(0, start=(0.0, 0.0, 0.0))
        sim.block_wheel("left")
        drive(sim, (0.2, 0.0), 0.5)
        assert sim.truth().w > 0.8
        sim.block_wheel(None)
        drive(sim, (0.2, 0.0), 0.5)
        assert abs(sim.truth().w) < 0.05


def test_a_dropped_box_is_in_the_way_in_the_picture_and_in_the_scan():
    with ArenaSim(CONTRACT, EMPTY.with_(camera_noise=0.0)) as sim:
        sim.reset(0, start=(-0.5, 0.0, 0.0))
        before, ahead = sim.image(), sim.scan().ranges[90]
        sim.drop_box(Box(0.2, 0.0, 0.1, 0.1))
        assert np.any(sim.image() != before)
        assert sim.scan().ranges[90] == pytest.approx(0.6, abs=0.03) and ahead > 1.4
        drive(sim, (0.4, 0.0), 2.0)
        assert sim.truth().contact
        with pytest.raises(SimError, match="on the robot"):
            sim.drop_box(Box(sim.truth().x, 0.0, 0.1, 0.1))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda sim: sim.set_command((np.nan, 0.0)), "command"),
        (lambda sim: sim.set_command((0.1,)), "command"),
        (lambda sim: sim.advance(0.0123), r"multiple of 0\.005"),
        (lambda sim: sim.reset(0, start=(0.99, 0.0, 0.0)), "start"),
        (lambda sim: sim.reset(0, start=(np.nan, 0.0, 0.0)), "start"),
        (lambda sim: sim.block_wheel("middle"), "block_wheel"),
        (lambda sim: sim.set_camera_fault("melted"), "camera fault"),
    ],
)
def test_a_wrong_call_is_refused_and_changes_nothing(call, message):
    with ArenaSim(CONTRACT, EMPTY) as sim:
        sim.reset(0, start=(0.0, 0.0, 0.0))
        sim.set_command((0.2, 0.0))
        with pytest.raises(SimError, match=message):
            call(sim)
        sim.advance(0.2)
        assert sim.truth().v == pytest.approx(0.2, abs=0.01)


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"layout": "spiral"}, "layout"),
        ({"camera_noise": -1.0}, "camera_noise"),
        ({"person": "path"}, "person_path"),
        ({"scan_beams": 0}, "scan_beams"),
    ],
)
def test_a_wrong_scene_is_refused_by_key(changes, key):
    with pytest.raises(SimError, match=key):
        SceneConfig(**changes)


def test_the_contract_of_another_robot_is_refused_by_key():
    kinematics = dataclasses.replace(CONTRACT.kinematics, wheel_radius=0.05)
    with pytest.raises(SimError, match=r"kinematics\.wheel_radius: found 0\.05"):
        ArenaSim(dataclasses.replace(CONTRACT, kinematics=kinematics))


@pytest.mark.skipif(sys.platform != "linux", reason="other systems open windows without DISPLAY")
def test_a_window_without_a_display_is_refused_and_does_not_end_the_process(monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    with pytest.raises(SimError, match="display"):
        ArenaSim(CONTRACT, EMPTY, gui=True)
