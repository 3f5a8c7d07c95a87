# SPDX-License-Identifier: Apache-2.0
"""Which action to take: proposals, search in the world model under a deadline, and the ROS-free planner."""

from jepa_ros.planning.config import SearchConfig
from jepa_ros.planning.planner import Planner, PlannerConfig, PlannerOutput
from jepa_ros.planning.problem import AnySearch, Budget, Problem, SearchError
from jepa_ros.planning.result import PlanResult
from jepa_ros.planning.search import Search

__all__ = [
    "AnySearch",
    "Budget",
    "PlanResult",
    "Planner",
    "PlannerConfig",
    "PlannerOutput",
    "Problem",
    "Search",
    "SearchConfig",
    "SearchError",
]
