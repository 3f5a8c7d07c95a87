# SPDX-License-Identifier: Apache-2.0
"""Which action to take: proposals, search in the world model under a deadline, and the ROS-free planner."""

from jepa_ros.planning.config import SearchConfig, SearchError
from jepa_ros.planning.planner import Planner, PlannerConfig, PlannerOutput
from jepa_ros.planning.result import PlanResult
from jepa_ros.planning.search import Search

__all__ = ["PlanResult", "Planner", "PlannerConfig", "PlannerOutput", "Search", "SearchConfig", "SearchError"]
