# SPDX-License-Identifier: Apache-2.0
"""Memory: what was seen and what came of it, asked by the planner."""

from jepa_ros.memory.long_term import LongTerm, RecallError
from jepa_ros.memory.store import Store, StoreError

__all__ = ["LongTerm", "RecallError", "Store", "StoreError"]
