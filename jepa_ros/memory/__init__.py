# SPDX-License-Identifier: Apache-2.0
"""Memory: what was seen and what came of it, asked by the planner."""

from jepa_ros.memory.long_term import LongTerm, RecallError
from jepa_ros.memory.store import Store, StoreError
from jepa_ros.planar.movers import Movers
from jepa_ros.planar.obstructions import Obstructions
from jepa_ros.planar.places import Places

__all__ = ["LongTerm", "Movers", "Obstructions", "Places", "RecallError", "Store", "StoreError"]
