# SPDX-License-Identifier: Apache-2.0
"""Memory of obstructions: what held the robot back is not imagined away, and a dead end is left."""

import math

import numpy as np
import pytest
import torch

from jepa_ros.contract import load_contract
from jepa_ros.planar.motion_check import MotionCheck
from jepa_ros.planar.obstructions import Obstructions

HERE = np.zeros(2)


def straight(direction, steps=10, length=0.8):
    """(T, 2) a straight way from the origin."""
    reach = np.linspace(0.0, length, steps + 1)[1:]
    return np.stack([reach * math.cos(direction), reach * math.sin(direction)], axis=-1)


def worst(memory, ways, here):
    """Excess (...) of ways (..., T, 2), at its worst step."""
    return memory.excess(ways, here).max(axis=-1)


@pytest.fixture
def memory():
    return Obstructions(radius=0.09, period=0.2)


@pytest.fixture
def motion(memory):
    return MotionCheck(load_contract("arena"), memory)


def pose(x=0.0, y=0.0, yaw=0.0):
    return torch.tensor([x, y, math.cos(yaw), math.sin(yaw)])


def test_the_way_that_was_blocked_is_infeasible_and_the_others_are_not(memory):
    memory.note(0.0, 0.0, 0.0, now=1.0)
    ways = np.stack([straight(a) for a in (0.0, math.pi / 2, math.pi, -math.pi / 2)])
    excess = worst(memory, ways, HERE)
    assert excess[0] > 0.0
    assert (excess[1:] <= 0.0).all()


def test_standing_still_is_always_feasible(memory):
    memory.note(0.0, 0.0, 0.3, now=0.0)
    memory.note(0.0, 0.0, 2.0, now=0.0)
    jitter = np.random.default_rng(0).normal(0.0, 0.003, (10, 2))
    assert worst(memory, jitter, HERE) <= 0.0


def test_obstructions_are_forgotten_after_their_lifetime(memory):
    memory.note(0.0, 0.0, 0.0, now=0.0)
    memory.forget(59.0)
    assert len(memory) == 1
    memory.forget(61.0)
    assert len(memory) == 0


def test_time_that_goes_back_forgets_nothing_and_keeps_nothing_for_longer(memory):
    memory.forget(1000.0)
    memory.note(0.0, 0.0, 0.0, now=1000.0)
    memory.note_dead_end(0.0, 0.0, 0.25, now=1000.0)
    memory.forget(1001.0)
    memory.forget(3.0)  # a bag that begins again, a clock that was set
    assert len(memory) == 2 and worst(memory, np.zeros((10, 2)), HERE) > 0.0
    memory.forget(9.0)
    assert len(memory) == 1  # the dead end is 7 s old
    memory.forget(63.0)
    assert len(memory) == 0


def test_the_memory_is_bounded_and_keeps_the_newest():
    memory = Obstructions(radius=0.09, period=0.2, capacity=5)
    for i in range(20):
        memory.note(float(i), 0.0, 0.0, now=float(i))
    assert len(memory) == 5
    assert memory.points[-1, 0] == pytest.approx(19.0 + memory.keep)


def test_a_dead_end_has_to_be_left_and_the_time_for_it_runs_out(memory):
    memory.note_dead_end(0.0, 0.0, 0.25, now=0.0)
    late = np.concatenate([np.zeros((8, 2)), straight(0.0, 2, 0.4)])  # stays for 8 steps, then leaves
    memory.forget(0.0)
    assert worst(memory, late, HERE) <= 0.0
    assert worst(memory, np.zeros((10, 2)), HERE) > 0.0
    memory.forget(1.0)  # five steps later the same plan is put off too long
    assert worst(memory, late, HERE) > 0.0
    assert worst(memory, straight(0.0, 10, 0.8), HERE) <= 0.0


def test_a_robot_that_has_left_may_pass_by_but_not_end_there(memory):
    memory.note_dead_end(0.0, 0.0, 0.25, now=0.0)
    memory.forget(2.0)
    through = np.stack([np.linspace(-0.5, 0.5, 10), np.zeros(10)], axis=-1)
    assert worst(memory, through, np.array([-0.5, 0.0])) <= 0.0
    assert worst(memory, through[:6], np.array([-0.5, 0.0])) > 0.0


def test_the_gate_that_holds_back_because_of_an_obstacle_is_remembered(motion, memory):
    motion.observe(pose(), 1, None, None, "ok", 0.0)
    motion.observe(pose(), 1, [0.4, 0.0], np.array([0.02, 0.0]), "obstacle", 0.2)
    np.testing.assert_allclose(memory.points, [[memory.keep, 0.0]], atol=1e-9)


@pytest.mark.parametrize("reason", ["estop", "image_stale", "heartbeat", "command_timeout", "acceleration_limit"])
def test_other_stops_of_the_gate_say_nothing_about_the_way(motion, memory, reason):
    motion.observe(pose(), 1, None, None, "ok", 0.0)
    motion.observe(pose(), 1, [0.4, 0.0], np.array([0.0, 0.0]), reason, 0.2)
    assert len(memory) == 0


def test_driving_back_against_something_notes_the_place_behind(motion, memory):
    motion.observe(pose(yaw=math.pi / 2), 1, None, None, "ok", 0.0)
    motion.observe(pose(yaw=math.pi / 2), 1, [-0.4, 0.0], np.array([0.0, 0.0]), "obstacle", 0.2)
    np.testing.assert_allclose(memory.points, [[0.0, -memory.keep]], atol=1e-6)


def test_a_robot_that_was_let_go_and_does_not_move_is_stuck(motion, memory):
    motion.observe(pose(), 1, None, None, "ok", 0.0)
    motion.observe(pose(0.002), 1, [0.4, 0.0], np.array([0.4, 0.0]), "ok", 0.2)
    assert len(memory) == 0  # one step is within the noise of the readout
    motion.observe(pose(0.0), 1, [0.4, 0.0], np.array([0.4, 0.0]), "ok", 0.4)
    assert len(memory) == 1


def test_a_robot_that_moves_notes_nothing(motion, memory):
    for i in range(20):
        motion.observe(pose(0.08 * i), 1, [0.4, 0.0], np.array([0.4, 0.0]), "ok", 0.2 * i)
        motion.judge_progress(1.0, 0.2 * i)
    assert len(memory) == 0


def test_standing_far_from_the_goal_becomes_a_dead_end_and_near_it_does_not(motion, memory):
    for i in range(10):
        motion.observe(pose(), 1, None, np.zeros(2), "ok", 0.2 * i)
        motion.judge_progress(0.1, 0.2 * i)
    assert len(memory) == 0
    motion.judge_progress(0.6, 2.0)
    assert len(memory) == 1
