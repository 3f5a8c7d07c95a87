# SPDX-License-Identifier: Apache-2.0
"""The conditions of the experiment and their budgets; docs/think_longer.md says what each is."""

from __future__ import annotations

from typing import Any

from benchmarks.rigs.think.oracles import Chart, TrueCost, TrueDynamics
from jepa_ros.evaluation.episode import EvalSettings
from jepa_ros.planning.config import SearchConfig
from jepa_ros.planning.deliberate.settings import DeliberateConfig

CONDITIONS = ("random", "inverse", "fast", "deliberate", "dynamics", "cost")
FACTORS = (1 / 8, 1 / 4, 1 / 2, 1.0, 2.0, 4.0, 8.0, 16.0)
SAMPLES, ITERATIONS, ELITES = 128, 3, 16
#: Calls of the model that the usual deliberation may make.
USUAL = 60_000
#: s of holding the goal that end an episode: longer than the steps that count.
SETTLE = 1.4


def deliberate_of(condition: str, factor: float) -> DeliberateConfig:
    """Settings of the deliberate search of a condition at a budget."""
    if condition not in ("deliberate", "dynamics", "cost"):
        return DeliberateConfig(when="never")
    calls = int(USUAL * factor)
    return DeliberateConfig(calls=calls, calls_per_step=min(calls, DeliberateConfig.calls_per_step))


def backend_of(condition: str) -> str:
    """What the search computes with: of a model that knows more, only its own code does."""
    return "model" if condition in ("dynamics", "cost") else "auto"


def settings_of(condition: str, factor: float, seed: int) -> EvalSettings:
    """How an episode of a condition is run at a budget."""
    if condition in ("fast", "random"):
        samples = int(SAMPLES * factor)
        elites = min(max(2, int(ELITES * factor)), samples // 2)
    else:
        samples, elites = SAMPLES, ELITES
    search = SearchConfig(
        samples=samples, iterations=ITERATIONS, elites=elites, keep=min(4, elites), backend=backend_of(condition)
    )
    if condition == "random":
        search = SearchConfig(method="random", samples=ITERATIONS * samples, iterations=1)
    return EvalSettings(seed=seed, search=search, deliberate=deliberate_of(condition, factor), settle=SETTLE)


def model_of(condition: str, model: Any, contract: Any, layout: Any, chart: Chart | None) -> Any:
    """The model that a condition searches in."""
    knowing = {"dynamics": TrueDynamics, "cost": TrueCost}.get(condition)
    if knowing is None:
        return model
    assert chart is not None  # made for these conditions
    return knowing(model, contract, layout, chart)
