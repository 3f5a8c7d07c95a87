# SPDX-License-Identifier: Apache-2.0
"""Memory: what was seen and what came of it, asked by the planner."""

from jepa_ros.memory.long_term import LongTerm, RecallError
from jepa_ros.memory.movers import Movers
from jepa_ros.memory.obstructions import Obstructions
from jepa_ros.memory.places import Places
from jepa_ros.memory.store import Store, StoreError

__all__ = ["LongTerm", "Movers", "Obstructions", "Places", "RecallError", "Store", "StoreError"]
