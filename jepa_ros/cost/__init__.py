# SPDX-License-Identifier: Apache-2.0
"""What a predicted future costs: the task (the goal) and the guardrails, and how a choice is made from both."""

from jepa_ros.cost.goal import Goal, GoalError
from jepa_ros.cost.guardrails import GuardrailCost, PredictedStates, Verdict
from jepa_ros.cost.risk import Risk, RiskError, check_level
from jepa_ros.cost.select import lexicographic_order
from jepa_ros.cost.task import TaskCost, TaskWeights

__all__ = [
    "Goal",
    "GoalError",
    "GuardrailCost",
    "PredictedStates",
    "Risk",
    "RiskError",
    "TaskCost",
    "TaskWeights",
    "Verdict",
    "check_level",
    "lexicographic_order",
]
