# SPDX-License-Identifier: Apache-2.0
"""The arena: a small robot in a walled arena under a camera, in PyBullet. No ROS, no torch."""

from ..common.errors import SimError
from ..common.sensors import Scan
from .layout import Box, Layout, Patch, empty_layout, fixed_layout, random_layout
from .mazes import dead_end_layout, maze_layout
from .scene import Ranges, SceneConfig
from .simulator import DT, ArenaSim, Truth, free_pose
from .tasks import DistanceField, Pair, blocked, sample_pair, shortest_path

__all__ = [
    "DT",
    "ArenaSim",
    "Box",
    "DistanceField",
    "Layout",
    "Pair",
    "Patch",
    "Ranges",
    "Scan",
    "SceneConfig",
    "SimError",
    "Truth",
    "blocked",
    "dead_end_layout",
    "empty_layout",
    "fixed_layout",
    "free_pose",
    "maze_layout",
    "random_layout",
    "sample_pair",
    "shortest_path",
]
