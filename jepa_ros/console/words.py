# SPDX-License-Identifier: Apache-2.0
"""What the page says of gate and planner in plain words: for each reason what is the matter, and what a person can do.

The ONE place for these sentences. The gate's own sentence, with its figures, is shown beside them.
"""

from __future__ import annotations

from typing import NamedTuple

from jepa_ros.safety.output import MOVING_NAMES


class Word(NamedTuple):
    """What is the matter, as a headline, and what a person can do next."""

    headline: str
    step: str


#: How a stop that is over is told of.
AGAIN, JUST, TOO_OFTEN = "It stops again and again", "It has just stopped", "It stopped too often"
#: The reason word of stops that were too many; what made them says more.
CHATTER = "resume_chatter"

WAITS = "It goes on by itself."
NOTHING = "There is nothing to do."

#: By the gate's reason word.
GATE: dict[str, Word] = {
    "ok": Word("Nothing holds the robot", NOTHING),
    "arming": Word("All inputs are good again", f"It waits a moment to be sure. {WAITS}"),
    "disabled": Word("The robot may not move yet", "Press Enable when it is safe."),
    "internal_fault": Word("The safety gate itself has failed", "Keep away from the robot. Start the stack again."),
    "estop": Word(
        "The emergency stop was pressed", "Find out why. Release the button if it is held, then press Reset."
    ),
    "estop_missing": Word("The emergency stop button is not heard", f"Check its cable and its driver. {WAITS}"),
    "stop_not_obeyed": Word(
        "The robot moves although it was stopped",
        "Use the robot's own emergency stop now. Then check motors and brakes.",
    ),
    "bad_commands": Word("Too many broken commands came", "Start the planner again, then press Reset."),
    "resume_chatter": Word(
        "It stopped and went on too often",
        "Mend what made it stop, then press Reset.",
    ),
    "exit": Word("The safety gate ends", "Start the stack again to go on."),
    "second_publisher": Word("Another program commands the robot, too", f"End the other program. {WAITS}"),
    "input_error": Word("An input cannot be read", "Check the driver of the input that is named below."),
    "clock": Word(
        "The robot's clock stands still or jumped", f"Is the simulation paused? Check time synchronisation. {WAITS}"
    ),
    "gate_late": Word("The robot's computer is too busy", f"End other programs on it. {WAITS}"),
    "state_not_finite": Word("A motion sensor gives impossible values", "Check the base's or the joints' driver."),
    "state_stale": Word("The motion sensors are silent or late", f"Check the base's or the joints' driver. {WAITS}"),
    "pose_lost": Word("The robot does not know where it is", f"Check the localisation. {WAITS}"),
    "scan_lost": Word(
        "The laser scanner gives nothing usable", f"Is it covered? Check its cable and its driver. {WAITS}"
    ),
    "command_not_obeyed": Word(
        "The robot does not move as it is told",
        "Look for a jammed wheel or joint, a dead motor, or somebody who pushes it.",
    ),
    "command_not_finite": Word("A broken command came", "If it comes again, start the planner again."),
    "command_shape": Word("A command for another robot came", "Start planner and gate with the same robot."),
    "image_stale": Word("No new camera pictures come", f"Check the camera's cable and its driver. {WAITS}"),
    "image_frozen": Word("The camera repeats one picture", "Start the camera's driver again."),
    "heartbeat": Word(
        "The planner or the perception is silent", "Has it ended? The name stands below; start it again."
    ),
    "identity": Word(
        "Parts of the stack do not fit together",
        "If it stays, start all of them with one model and one set of guardrails.",
    ),
    "signals_lost": Word("The planner says nothing to the gate", "If it stays, start the planner again."),
    "command_stamp": Word("Commands come too late", "Is a computer too busy? Do the clocks of the computers agree?"),
    "command_timeout": Word("No command comes", "If it stays, start the planner again."),
    "contact": Word("The bumper is pressed", "See what it touches. Take that away, or drive back by hand."),
    "force": Word(
        "Something pushes against the arm's hand", "See what it touches. Take that away, or move back by hand."
    ),
    "first_command": Word("The arm is not where its command begins", "Set the goal again."),
    "guardrail_cost": Word("The plan would break a guardrail", "Choose another goal, or look at the guardrails."),
    "surprise": Word(
        "The robot meets something unexpected",
        f"See what pushes, holds or blocks it, or what has changed. {WAITS}",
    ),
    "novelty": Word(
        "The camera shows something unknown to it",
        f"Is the camera covered or in the dark? Is this place new? {WAITS}",
    ),
    "position_limit": Word("A joint is at its limit", "Choose another goal, or move it back by hand."),
    "inside_region": Word(
        "The robot touches a forbidden area", "Drive it out by hand, choose a goal outside, or remove the area."
    ),
    "region": Word("The robot is at a forbidden area's edge", "Choose a goal that it reaches without that area."),
    "self_collision": Word("The arm comes near itself", "Choose another goal, or move it away by hand."),
    "link_region": Word("The arm comes near a forbidden area", "Choose another goal, or move it away by hand."),
    "singularity": Word("The arm is stretched or folded too far", "Choose another goal, or move it away by hand."),
    "joint_margin": Word("A joint comes near its limit", f"It moves slower there. {NOTHING}"),
    "tip_speed": Word("The arm's tip is as fast as it may be", NOTHING),
    "tip_near_person": Word("A person is near the arm", "It moves slowly until they are further away."),
    "speed_zone": Word("It is in an area with a speed limit", NOTHING),
    "person": Word("A person is near", "It drives slowly until they are further away."),
    "obstacle": Word("An obstacle is close", "Take it away, choose another goal, or drive round it by hand."),
    "velocity_limit": Word("It was told to go faster than it may", f"It goes as fast as it may. {NOTHING}"),
    "acceleration_limit": Word("It changes its speed smoothly", NOTHING),
    "jerk_limit": Word("It changes its speed smoothly", NOTHING),
}

#: Reason words by which a stop is over: what was the matter before says more than they do.
CALM = ("ok", "arming", "acceleration_limit", "jerk_limit")

#: By the planner's reason word; a word that is not here is told by the planner's own sentence.
PLANNER: dict[str, str] = {
    "ok": "The planner drives to the goal.",
    "idle": "The planner has no goal.",
    "paused": "The planner is paused. Press Pause again to go on.",
    "arrived": "The planner says that the goal is reached.",
    "infeasible": "The planner finds no way that keeps every guardrail. Choose another goal, or look at the rules.",
    "deadline": "The planner has too little time: the robot's computer is too slow or too busy for this model.",
}
#: The same while the gate slows the robot, and while it holds it.
SLOWED = "The planner wants to drive to the goal, and the gate slows it"
HELD = "The planner wants to drive to the goal, and the gate holds it"


def gate_word(mode: str, reason: str, source: str = "", before: tuple[str, str] = ("", "")) -> Word:
    """What to say of the gate.

    Args:
        mode, reason, source: as the gate tells them. before: see :attr:`jepa_ros.console.stops.Stops.before`.
    """
    word = GATE.get(reason) or Word(reason.replace("_", " "), "")
    how, cause = before
    if reason == CHATTER and cause in GATE:
        return Word(f"{how}: {_inside(GATE[cause].headline)}", word.step)
    if cause in GATE and (reason in CALM or (how == AGAIN and (mode in MOVING_NAMES or mode == "ARMING"))):
        return Word(f"{how}: {_inside(GATE[cause].headline)}", GATE[cause].step)
    if source == "teleop":
        return Word("Driven by hand" + ("" if reason in CALM else f": {_inside(word.headline)}"), word.step)
    return word


def planner_words(reason: str, sentence: str, mode: str = "", cause: str = "") -> str:
    """What to say of the planner.

    Args:
        reason, sentence: as the planner tells them. mode, cause: of the gate, which may slow or hold the robot.
    """
    if reason == "ok" and mode not in ("", "ACTIVE") and (mode not in MOVING_NAMES or cause not in CALM):
        return f"{SLOWED if mode in MOVING_NAMES else HELD}: {_inside(gate_word(mode, cause).headline)}."
    known = PLANNER.get(reason)
    if known is None:
        return f"The planner says: {sentence or reason}."
    return known if reason != "infeasible" or not sentence else f"{known} ({sentence[0].upper()}{sentence[1:]}.)"


def _inside(headline: str) -> str:
    """A headline within a sentence."""
    return headline[:1].lower() + headline[1:]
