# SPDX-License-Identifier: Apache-2.0
"""A reach at the simulated table, which any arm can be asked for."""

from __future__ import annotations

from typing import Any

import numpy as np

from jepa_ros.agent.loop import Loop
from jepa_ros.contract import RobotContract
from jepa_ros.planning.config import PlannerConfig
from jepa_ros.safety.gate import Gate, GateConfig


def reaches(contract: RobotContract, world: Any, steps: int = 30) -> tuple[float, float]:
    """Distance of the tip to its goal [m] before and after so many steps of the oracle, under the gate."""
    task, scene = world.task("reach", contract, {}), world.scene(contract)
    try:
        spec = task.draw(scene, 0, 0)
        scene.reset(spec)
        begun = task.distance(scene.truth(), spec)
        oracle = task.reference("oracle", scene, spec, PlannerConfig.of(contract))
        loop = Loop(scene, oracle, Gate(GateConfig.from_contract(contract, auto_enable=True)))
        for _ in range(steps):
            loop.step()
        assert np.ptp(scene.observe().images["image"]) > 50
        return begun, task.distance(scene.truth(), spec)
    finally:
        scene.close()
