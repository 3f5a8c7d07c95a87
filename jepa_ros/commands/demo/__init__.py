# SPDX-License-Identifier: Apache-2.0
"""``jepa-ros demo``: the whole stack as separate ROS processes in PyBullet, goals as pictures, a verdict."""

from __future__ import annotations

import argparse
from pathlib import Path

from jepa_ros.options import positive, seed, whole
from jepa_ros.ros_env import ready_for_ros


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("--robot", help="name of a robot that has a world, or a YAML file (default: arena)")
    parser.add_argument("--task", metavar="NAME", help="task of the robot's world (default: its first)")
    parser.add_argument(
        "--model", default=None, help="checkpoint: a folder or a shipped name (default: the robot's name)"
    )
    parser.add_argument("--seed", type=seed, default=0, help="of the start and goal pairs (default: %(default)s)")
    parser.add_argument(
        "--out", type=Path, default=None, help="folder for verdict, video, plot and bag (default: runs/<time>)"
    )
    parser.add_argument(
        "--episodes",
        type=positive,
        default=None,
        metavar="N",
        help="score the first N pairs of `jepa-ros eval` with this seed through ROS, each for its full time limit",
    )
    parser.add_argument(
        "--layout", metavar="NAME", help="in the arena, the same as --task: its obstacles (default: fixed)"
    )
    parser.add_argument(
        "--randomise", action="store_const", const=True, help="random lighting, colours, camera pose and slip"
    )
    parser.add_argument(
        "--distractors", type=whole(0), metavar="N", help="objects on the table that have no part in the task"
    )
    parser.add_argument("--gui", action="store_true", help="show PyBullet's window")
    parser.add_argument("--composed", action="store_true", help="run perception and planner in one process")
    parser.add_argument("--console", action="store_true", help="serve the operator's page on http://localhost:8765")
    parser.add_argument("--no-bag", dest="bag", action="store_false", help="do not record a bag")
    parser.set_defaults(env=None, env_args=None, action_repeat=None)  # (an environment has no gate)
    parser.add_argument("--no-video", dest="video", action="store_false", help="do not write a video")


def main(args: argparse.Namespace) -> int:
    """Run the demonstration; 0 only when the robot arrived and held, in every episode of --episodes."""
    from jepa_ros.interrupts import while_importing

    ready_for_ros()
    with while_importing():
        import jepa_ros_sim.common.engine  # noqa: F401  (imports PyBullet, which `run` needs only later)
        from jepa_ros.commands.demo.runner import run

    return run(args)
