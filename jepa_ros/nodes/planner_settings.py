# SPDX-License-Identifier: Apache-2.0
"""The planner node's parameters, and what they mean to the planner: its settings, guardrails and cost weights.

``search.*`` and ``arrival.*`` take their defaults from the core's own dataclasses; a value that the core refuses is
told with the core's words. ``guardrails``, ``costs`` (YAML texts) and ``search.risk`` may change while the node runs.
"""

from __future__ import annotations

import math
from dataclasses import MISSING, fields, replace
from typing import Any

from rclpy.node import Node

from jepa_ros.contract import RobotContract
from jepa_ros.cost.risk import read_risk
from jepa_ros.nodes import params
from jepa_ros.nodes.models import LOADING

#: Settings of the search that are parameters: name -> description. Type and default: jepa_ros.planning.SearchConfig.
SEARCH = {
    "method": "icem, mppi, gradient or random.",
    "horizon": "Control steps of a plan.",
    "samples": "Candidates of one iteration.",
    "iterations": "Maximum number of iterations.",
    "elites": "Candidates that the distribution is fitted to.",
    "sigma": "Standard deviation of the noise at the start (actions in [-1, 1]).",
    "sigma_floor": "Standard deviation of the noise at the end.",
    "ar": "Correlation of the noise from one step to the next.",
    "noise_samples": "Futures drawn for each candidate; 1 is the most likely one.",
    "verify_samples": "Fresh futures on which the best candidates must keep the guardrails.",
    "publish": "Candidates shown with their costs.",
    "keep": "Elites carried into the next iteration.",
    "momentum": "Fraction of the old mean and deviation that an update keeps (icem).",
    "temperature": "Temperature of mppi, in standard deviations of the costs.",
    "learning_rate": "Step of the gradient method's refinement, in normalised actions.",
    "proposal_share": "Fraction of the first iteration's candidates from the learned proposal, if the model has one.",
    "deadline": "Seconds for one plan.",
    "stop": "What ends a search early: cost (see converge_tol), or solved (a plan reaches the goal).",
    "sure": "Fraction of the futures in which a plan must reach the goal to count as solved.",
    "converge_tol": "Stop when an iteration improves the cost by less than this fraction; 0 never stops early.",
    "patience": "Iterations in a row without improvement before the search stops.",
    "backend": "How the model is rolled out; see jepa_ros.planning.rollout.",
    "dtype": "Number format of the rollout; see jepa_ros.planning.rollout.",
    "threads": "Threads of the native rollout; 0: as many as torch has (parameter threads).",
}
#: Settings that only planar bodies have, the same: jepa_ros.planar.settings.PlanarConfig. Their parameters were the
#: search's once, and are still called so.
PLANAR = {
    "contact_limit": "Planar robots: highest probability of contact allowed at any step of a plan; 1: no limit.",
    "region_margin": "Planar robots: additional distance in metres that plans keep to regions.",
}
#: The same for jepa_ros.planning.deliberate.settings.DeliberateConfig.
DELIBERATE = {
    "when": "When to deliberate: stuck, always (with every new goal) or never.",
    "distance": "Readout that estimates the control steps between two states.",
    "calls": "Budget of a deliberation: steps that the model predicts.",
    "nodes": "States that are kept; above that, the least promising branches are dropped.",
    "expand": "States that are expanded together.",
    "edges": "Short plans that are tried from each state.",
    "length": "Control steps of such a short plan.",
    "greed": "Weight of the cost-to-go against the steps so far, in the order of expansion.",
    "again": "Penalty in steps for each time that a state was expanded, in the order of expansion.",
    "near": "A state within so many steps of another one counts as known.",
    "tolerance": "A state within so many steps of the goal counts as at the goal (models without a readout in metres).",
    "samples": "Noise samples on which a way is tested.",
    "confidence": "Fraction of these samples that must follow every edge of the way.",
    "aimed": "Fraction of the short plans that aim at the goal or at remembered states.",
    "proposed": "Fraction of the short plans from the learned proposal, if the model has one.",
    "recalled": "Fraction of the aimed plans that aim at remembered states.",
    "rate": "Steps by which a plan should come nearer to the goal in each of its steps.",
    "patience": "After so many control steps without such a plan the robot counts as stuck.",
    "kept": "With less than this fraction of the promised progress the robot counts as stuck; 0: never.",
    "window": "Control steps over which promised and real progress are compared.",
    "lost": "If the robot is off the way by more than so many steps, the way is dropped.",
}
#: The same for jepa_ros.planning.arrival.ArrivalConfig.
ARRIVAL = {
    "arrive": "Metres from the goal within which it has arrived (models that read a position); nan: the contract's.",
    "leave": "Metres from the goal beyond which it has left again; nan: the contract's.",
    "arrive_steps": "Control steps within which it has arrived (models that read no position).",
    "leave_steps": "Control steps beyond which it has left again.",
    "heading": "Error in radians within which the heading counts as right.",
    "patience": "At the right position, control steps that the robot waits for the right heading.",
    "confirm": "Control steps in a row before arrival, or its end, is reported.",
}


def _of(prefix: str, config: type, described: dict[str, str], **other: float) -> tuple[params.Param, ...]:
    defaults = {f.name: f.default for f in fields(config) if f.default is not MISSING} | other
    return tuple(params.Param(f"{prefix}.{name}", defaults[name], text) for name, text in described.items())


def _declare() -> tuple[params.Param, ...]:
    from jepa_ros.planar.settings import PlanarConfig
    from jepa_ros.planning.arrival import ArrivalConfig
    from jepa_ros.planning.config import SearchConfig
    from jepa_ros.planning.deliberate.settings import DeliberateConfig

    return (
        params.ROBOT,
        *LOADING,
        params.Param("seed", 0, "Seed of the search.", low=0),
        params.Param("guardrails", "", "Guardrail set as YAML text; empty for the contract's.", live=True),
        params.Param("costs", "", "Weights of the task cost as YAML text ({latent: 1.0, ...}).", live=True),
        params.Param("command_kind", "", "Type of the gated command; empty for the contract's."),
        params.Param("command_topic", "", "Topic of the gated command; empty for the contract's.", topic=True),
        params.Param("memory", "", "Folder of the long-term memory, made if missing; empty keeps nothing."),
        params.Param("memory_read_only", False, "Read the memory, never write it: several planners can share it."),
        params.Param("max_gap", 1.0, "Seconds without an image after which the past is forgotten.", low=0.0),
        params.Param("novel_goal", 3.0, "Novelty from which on a goal picture is refused; 1: slow down.", low=0.0),
        params.Param(
            "search.risk", "mean", "How the costs of the futures become one: mean, worst, or cvar 0.25.", live=True
        ),
        *_of("search", SearchConfig, SEARCH),
        *_of("search", PlanarConfig, PLANAR),
        *_of("deliberate", DeliberateConfig, DELIBERATE),
        *_of("arrival", ArrivalConfig, ARRIVAL, arrive=math.nan, leave=math.nan),
    )


PARAMS = _declare()
DEFAULTS = {param.name: param.default for param in PARAMS}


def weights(text: str) -> Any:
    """Cost weights from YAML text.

    Raises:
        JepaRosError: a weight that is no number >= 0. Which terms there are the planner knows, and refuses others.
    """
    from jepa_ros.cost.task import TaskWeights

    given = params.yaml_mapping("costs", text)
    for name, value in given.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise params.ParameterError(f"'costs': {name} is {value!r}; expected a number")
    return TaskWeights(**given)


def guardrails(text: str, contract: RobotContract) -> Any:
    """The guardrail set of a YAML text, or the contract's where the text is empty.

    Raises:
        GuardrailError: it says which entry is wrong, and why.
    """
    from jepa_ros.safety.guardrails import guardrails_for

    return guardrails_for(contract, text).bind(contract)


def check(changes: dict[str, Any], contract: RobotContract, read: Any = None) -> dict[str, Any]:
    """The meaning of changed live parameters, all checked before any is used; ``read`` is the set of guardrails where
    their text was read before."""
    chosen: dict[str, Any] = {}
    if "guardrails" in changes:
        chosen["guardrails"] = guardrails(changes["guardrails"], contract) if read is None else read
    if "costs" in changes:
        chosen["costs"] = weights(changes["costs"])
    if "search.risk" in changes:
        chosen["search.risk"] = read_risk(changes["search.risk"])
    return chosen


def planner_config(node: Node, values: Any, contract: RobotContract) -> Any:
    """The planner's configuration from the node's parameters, and from the contract where they leave it to that.

    Raises:
        SearchError, RiskError: a setting is out of its range, or such bodies do not have it.
    """
    from jepa_ros.planning.arrival import ArrivalConfig
    from jepa_ros.planning.bodies import settings_for
    from jepa_ros.planning.config import PlannerConfig, SearchConfig
    from jepa_ros.planning.deliberate.settings import DeliberateConfig

    def of(prefix: str, described: dict[str, str]) -> dict[str, Any]:
        return {name: node.get_parameter(f"{prefix}.{name}").value for name in described}

    search = SearchConfig(
        **of("search", SEARCH), seed=values.seed, weights=weights(values.costs), risk=read_risk(values.search_risk)
    )
    arrival = {name: value for name, value in of("arrival", ARRIVAL).items() if value == value}
    deliberate = DeliberateConfig(**of("deliberate", DELIBERATE))
    arrives = replace(ArrivalConfig.of(contract), **arrival)
    given = {name: value for name, value in of("search", PLANAR).items() if value != DEFAULTS[f"search.{name}"]}
    body = settings_for(contract, given)
    return PlannerConfig(search, arrives, values.max_gap, deliberate, values.novel_goal, body)
