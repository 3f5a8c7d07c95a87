# SPDX-License-Identifier: Apache-2.0
"""What the console says in plain words of the gate's and the planner's reasons, and of stops that come again."""

from __future__ import annotations

import re

import pytest

from jepa_ros.console.stops import SAME, WINDOW, Stops
from jepa_ros.console.words import AGAIN, GATE, JUST, PLANNER, gate_word, planner_words
from jepa_ros.planning.output import SENTENCES
from jepa_ros.safety.rows import REASONS


def test_every_reason_of_the_gate_has_a_headline_and_a_next_step():
    assert set(GATE) == set(REASONS)


@pytest.mark.parametrize("reason", REASONS)
def test_a_headline_is_short_plain_and_no_code_word(reason):
    word = GATE[reason]
    assert len(word.headline) <= 45 and len(word.step) <= 84
    assert "_" not in word.headline + word.step and word.headline != reason
    assert word.headline[0].isupper() and not word.headline.endswith(".") and word.step[-1] in ".?"


def test_what_the_planner_says_is_known_or_its_own_sentence():
    assert set(PLANNER) <= set(SENTENCES)
    for reason, sentence in SENTENCES.items():
        assert re.fullmatch(r"The planner .*[.)]", planner_words(reason, sentence))
    assert "in the way: desk" in planner_words("infeasible", "no candidate keeps every guardrail; in the way: desk")
    assert planner_words("bad_latent", SENTENCES["bad_latent"]) == f"The planner says: {SENTENCES['bad_latent']}."


def test_a_word_that_nobody_knows_is_shown_as_it_is():
    assert gate_word("STOPPED", "some_new_row").headline == "some new row"


def test_a_robot_that_is_driven_by_hand_says_so_and_what_limits_it():
    assert gate_word("ACTIVE", "ok", "teleop").headline == "Driven by hand"
    assert gate_word("LIMITED", "person", "teleop").headline == "Driven by hand: a person is near"


def test_smoothing_of_the_speed_is_not_said_to_slow_the_planner():
    assert planner_words("ok", "", "LIMITED", "acceleration_limit") == PLANNER["ok"]


class Drive:
    """A gate that is told of, on a clock of the test's."""

    def __init__(self):
        self.now, self.stops = 1000.0, Stops(lambda: self.now, lambda: 5000.0 + self.now)

    def says(self, mode, reason, seconds):
        self.stops.note(mode, reason, lambda: f"{reason} at {self.now:.0f}")
        self.now += seconds

    def stop(self, reason, gap=0.5):
        self.says("STOPPED", reason, 0.2)
        self.says("ARMING", "arming", gap)
        self.says("ACTIVE", "ok", 0.1)


@pytest.fixture
def drive():
    return Drive()


def test_stops_that_come_again_are_counted_and_named_while_the_robot_seems_to_drive(drive):
    drive.says("ACTIVE", "ok", 1.0)
    drive.stop("command_not_obeyed")
    assert drive.stops.before == (JUST, "command_not_obeyed")
    drive.stop("command_not_obeyed")
    drive.stop("command_not_obeyed")
    assert drive.stops.lately == ["command_not_obeyed"] * 3
    assert drive.stops.before == (AGAIN, "command_not_obeyed")
    word = gate_word("ACTIVE", "ok", "", drive.stops.before)
    assert word.headline == "It stops again and again: the robot does not move as it is told"
    assert word.step == GATE["command_not_obeyed"].step
    assert gate_word("STOPPED", "pose_lost", "", drive.stops.before) == GATE["pose_lost"]  # what holds it now


def test_one_stop_is_forgotten_soon_and_all_of_them_in_the_end(drive):
    drive.stop("obstacle")
    drive.now += 6.0
    assert drive.stops.before == ("", "") and drive.stops.lately == ["obstacle"]
    drive.now += WINDOW
    assert drive.stops.lately == [] and drive.stops.cause["reason"] == "obstacle"


def test_a_gate_that_latches_after_too_many_stops_still_says_what_made_them(drive):
    for _ in range(3):
        drive.stop("command_not_obeyed")
    drive.says("ESTOP", "resume_chatter", 1.0)
    word = gate_word("ESTOP", "resume_chatter", "", drive.stops.before)
    assert word.headline == "It stopped too often: the robot does not move as it is told" and "Reset" in word.step
    drive.says("ACTIVE", "ok", 1.0)
    assert drive.stops.before == ("", "")


def test_stops_for_different_reasons_are_no_repetition(drive):
    drive.stop("obstacle")
    drive.stop("surprise")
    assert drive.stops.before == (JUST, "surprise") and drive.stops.lately == ["obstacle", "surprise"]


def test_a_stop_whose_reason_changes_is_one_stop_for_the_last_of_them(drive):
    drive.says("STOPPED", "signals_lost", 0.5)
    drive.says("STOPPED", "heartbeat", 0.5)
    assert drive.stops.lately == ["heartbeat"] and drive.stops.cause["reason"] == "heartbeat"


def test_a_robot_that_creeps_along_an_edge_has_stopped_once(drive):
    for _ in range(20):
        drive.says("STOPPED", "obstacle", 0.1)
        drive.says("LIMITED", "obstacle", 0.5 * SAME)
    assert drive.stops.lately == ["obstacle"]


def test_a_stop_that_a_person_made_and_ended_is_no_matter_any_more(drive):
    drive.says("ESTOP", "estop", 3.0)
    drive.says("ARMING", "arming", 0.5)
    assert drive.stops.before == ("", "") and drive.stops.cause["mode"] == "ESTOP"
