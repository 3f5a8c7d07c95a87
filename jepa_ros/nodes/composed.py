# SPDX-License-Identifier: Apache-2.0
"""Perception and planner in one process: one torch, one model, and no hop between the two.

Names, topics, parameters and lifecycle are those of the two nodes apart; the embedding is published all the same.
"""

from __future__ import annotations

from collections.abc import Sequence

from rclpy.node import Node

from jepa_ros.nodes import perception, planner
from jepa_ros.nodes.lifecycle import AUTOSTART
from jepa_ros.nodes.process import leave, run


def build() -> list[Node]:
    """The two nodes, joined."""
    known = {p.name for p in (*perception.PARAMS, *planner.PARAMS, AUTOSTART)}
    eye = perception.PerceptionNode(also_known=known)
    mind = planner.PlannerNode(also_known=known, embedded=True)
    eye.listener = mind.take_latent
    return [eye, mind]


def main(args: Sequence[str] | None = None) -> int:
    """Run both nodes until a signal; return the exit code."""
    return run(build, "composed", args)


if __name__ == "__main__":
    leave(main())
