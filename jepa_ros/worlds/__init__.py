# SPDX-License-Identifier: Apache-2.0
"""Worlds: the protocols of scenes and tasks, the registry of those that are installed, and a checker."""

from jepa_ros.worlds.protocols import (
    Decision,
    Judge,
    Observation,
    Policy,
    Sample,
    Scene,
    Spec,
    Task,
    Wanted,
    World,
    WorldError,
)
from jepa_ros.worlds.registry import GROUP, contract_of, find, load, names

__all__ = [
    "GROUP",
    "Decision",
    "Judge",
    "Observation",
    "Policy",
    "Sample",
    "Scene",
    "Spec",
    "Task",
    "Wanted",
    "World",
    "WorldError",
    "contract_of",
    "find",
    "load",
    "names",
]
