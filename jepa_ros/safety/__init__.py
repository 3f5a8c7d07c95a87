# SPDX-License-Identifier: Apache-2.0
"""The safety gate, and the guardrails that it shares with the planner. No torch, no ROS."""

from jepa_ros.safety.gate import Gate, GateConfig, GateConfigError
from jepa_ros.safety.guardrails import Guardrail, GuardrailError, GuardrailSet, RiskLevel, parse_guardrails
from jepa_ros.safety.inputs import (
    CommandIn,
    ContactIn,
    EstopIn,
    GateInputs,
    ImageIn,
    JointsIn,
    OdomIn,
    PeopleIn,
    PoseIn,
    Requests,
    ScanIn,
    SignalsIn,
    WrenchIn,
)
from jepa_ros.safety.output import GateOutput, Intervention, Mode
from jepa_ros.safety.rows import REASONS, ROWS
from jepa_ros.safety.state import GateState

__all__ = [
    "REASONS",
    "ROWS",
    "CommandIn",
    "ContactIn",
    "EstopIn",
    "Gate",
    "GateConfig",
    "GateConfigError",
    "GateInputs",
    "GateOutput",
    "GateState",
    "Guardrail",
    "GuardrailError",
    "GuardrailSet",
    "ImageIn",
    "Intervention",
    "JointsIn",
    "Mode",
    "OdomIn",
    "PeopleIn",
    "PoseIn",
    "Requests",
    "RiskLevel",
    "ScanIn",
    "SignalsIn",
    "WrenchIn",
    "parse_guardrails",
]
