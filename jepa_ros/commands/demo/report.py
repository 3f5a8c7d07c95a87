# SPDX-License-Identifier: Apache-2.0
"""The verdict of a demonstration: ``result.json`` and the sentence at the end.

What counts as success is not said here but by the world (:mod:`jepa_ros_sim.arena.reach`), for ``eval`` and ``demo``
alike.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from jepa_ros.commands.demo.log import Episode, arrived_and_stopped
from jepa_ros.contract import RobotContract
from jepa_ros.evaluation.statistics import percentiles_ms
from jepa_ros.files import plain
from jepa_ros.interrupts import while_importing
from jepa_ros_sim.arena.reach import EpisodeScore, EpisodeSpec, Scorer

#: A single demonstration ends this long after the planner said that it arrived [s]; the last second of it counts.
AFTER_ARRIVAL = 2.0


def score_episode(spec: EpisodeSpec, episode: Episode, contract: RobotContract | None = None) -> EpisodeScore:
    """Judge an episode by the simulator's truth and by what the planner said at that time."""
    scorer = Scorer(spec, contract)
    for (time, x, y, yaw), said, stopped in arrived_and_stopped(episode):
        scorer.add(time, x, y, yaw, False, said, stopped)
    scorer.contact = episode.contact_steps > 0
    return scorer.score()


def reason(score: EpisodeScore, episode: Episode) -> str:
    """Why an episode failed, for people."""
    last = episode.frames[-1] if episode.frames else None
    text = f"the robot did not arrive: {score.final_distance:.2f} m from the goal after {episode.track[-1][0]:.0f} s"
    if score.ever:
        near, end = episode.radius, score.final_distance
        text = f"the robot came within {near:.2f} m of the goal but left: {end:.2f} m at the end"
    if score.arrived:
        text = f"the planner says that it arrived, but the robot is {score.final_distance:.2f} m from the goal"
    if last is not None and last.mode in ("STOPPED", "ESTOP", "DISABLED", "ARMING"):
        text += f"; the gate stands at {last.mode} ({last.reason})"
    elif last is not None and last.planner not in ("ok", "arrived", ""):
        text += f"; the planner says: {last.planner}"
    return text


def result(
    scores: list[EpisodeScore],
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

    rows = [score.to_dict() for score in scores]
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
            **rates(rows),
            "random_success_rate": None,
            "oracle_success_rate": None,
            **times,
            "iterations": float(np.mean(iterations)) if iterations else None,
            "real_time_factor": factor,
            "memory_mb": memory_mb,
            "problems": problems,
            "scores": rows,
        }
    )
