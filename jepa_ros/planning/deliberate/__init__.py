# SPDX-License-Identifier: Apache-2.0
"""Deliberate search: best-first over latents in the world model, until an imagined way reaches the goal.

``tree`` keeps the states, ``edges`` proposes what to do in them, ``deliberation`` grows the tree, ``way`` is what it
hands over.
"""

from jepa_ros.planning.deliberate.deliberation import Deliberation
from jepa_ros.planning.deliberate.search import DeliberateSearch
from jepa_ros.planning.deliberate.settings import DeliberateConfig
from jepa_ros.planning.deliberate.way import Way

__all__ = ["DeliberateConfig", "DeliberateSearch", "Deliberation", "Way"]
