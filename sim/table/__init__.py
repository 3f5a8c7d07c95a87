# SPDX-License-Identifier: Apache-2.0
"""The table: an arm at a table under an external camera, in PyBullet. No ROS, no torch."""

from ..common.errors import SimError
from .scene import Draw, Look, Ranges, TableConfig, Thing
from .simulator import DT, TableSim, Truth

__all__ = ["DT", "Draw", "Look", "Ranges", "SimError", "TableConfig", "TableSim", "Thing", "Truth"]
