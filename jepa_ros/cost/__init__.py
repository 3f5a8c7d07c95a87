# SPDX-License-Identifier: Apache-2.0
"""What a predicted future costs: terms towards a goal, constraints that have to be kept, and how a choice is made."""

from jepa_ros.cost.futures import Futures, latent_rms
from jepa_ros.cost.goal import Goal, GoalError, Target
from jepa_ros.cost.risk import Risk, RiskError, check_level
from jepa_ros.cost.seam import Constraint, CostTerm
from jepa_ros.cost.select import lexicographic_order
from jepa_ros.cost.task import TaskCost, TaskWeights
from jepa_ros.cost.terms import model_terms
from jepa_ros.cost.verdict import Judge, Verdict

__all__ = [
    "Constraint",
    "CostTerm",
    "Futures",
    "Goal",
    "GoalError",
    "Judge",
    "Risk",
    "RiskError",
    "Target",
    "TaskCost",
    "TaskWeights",
    "Verdict",
    "check_level",
    "latent_rms",
    "lexicographic_order",
    "model_terms",
]
