# SPDX-License-Identifier: Apache-2.0
"""The verdict of a demonstration: ``result.json`` and the sentence at the end.

What counts as success is not said here but by the task's judge, for ``eval`` and ``demo`` alike.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from jepa_ros.commands.demo.log import Episode, arrived_and_stopped
from jepa_ros.files import plain
from jepa_ros.interrupts import while_importing
from jepa_ros.statistics import percentiles_ms
from jepa_ros.worlds import Sample

#: A single demonstration ends this long after the planner said that it arrived [s]; the last second of it counts.
AFTER_ARRIVAL = 2.0


Score = dict[str, Any]


def score_episode(episode: Episode) -> Score:
    """What the task's judge says of an episode, by the simulator's truth and by what the planner said at that time."""
    assert episode.judge is not None
    for (time, truth), said, stopped in arrived_and_stopped(episode):
        if math.isfinite(time):
            episode.judge.add(Sample(time, truth, said, stopped))
    return episode.judge.score()


def reason(score: Score, episode: Episode) -> str:
    """Why an episode failed, for people."""
    last = episode.frames[-1] if episode.frames else None
    end = f"{score['final_distance']:.2f} m from the goal" if "final_distance" in score else "not at the goal"
    text = f"the robot did not arrive: {end} after {episode.track[-1][0]:.0f} s"
    if score["ever"]:
        text = f"the robot came {near(episode)} but left: {end} at the end"
    if episode.arrivals and episode.arrivals[-1][1]:
        text = f"the planner says that it arrived, but the robot is {end}"
    if last is not None and last.mode in ("STOPPED", "ESTOP", "DISABLED", "ARMING"):
        text += f"; the gate stands at {last.mode} ({last.reason})"
    elif last is not None and last.planner not in ("ok", "arrived", ""):
        text += f"; the planner says: {last.planner}"
    return text


def near(episode: Episode) -> str:
    """Where success is, for people."""
    return "to the goal" if math.isnan(episode.radius) else f"within {episode.radius:.2f} m of the goal"


def result(
    scores: list[Score],
    head: dict[str, Any],
    observed: Any,
    real_time_factors: list[float],
    memory_mb: float,
    problems: list[str],
) -> dict[str, Any]:
    """The content of ``result.json``: the keys of `jepa-ros eval`, and what only the running graph can tell.

    Args:
        head: protocol, robot, model, seed and the like. observed: the Observer, None where it did not come to that.
        real_time_factors: one an episode. memory_mb: the most that all processes held together.
    """
    with while_importing():
        from jepa_ros.evaluation.report import rates

    factor = min(real_time_factors, default=math.nan)
    times = {
        name: percentiles_ms([] if observed is None else getattr(observed, values))
        for name, values in (
            ("plan_ms", "plan_seconds"), ("encode_ms", "encode_seconds"), ("end_to_end_ms", "end_to_end"),
            ("image_age_ms", "image_age"),
        )
    }  # fmt: skip
    iterations = [] if observed is None else observed.iterations
    return plain(
        {
            **head,
            **rates(scores),
            "random_success_rate": None,
            "oracle_success_rate": None,
            **times,
            "iterations": float(np.mean(iterations)) if iterations else None,
            "real_time_factor": factor,
            "memory_mb": memory_mb,
            "problems": problems,
            "scores": scores,
        }
    )
