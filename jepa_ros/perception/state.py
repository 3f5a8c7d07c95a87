# SPDX-License-Identifier: Apache-2.0
"""From what a body feels to the state vectors of its contract: the ONE place, for live data, bags and training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from jepa_ros.contract import RobotContract, StateInput
from jepa_ros.contract.parts import ODOMETRY
from jepa_ros.errors import JepaRosError


class StateError(JepaRosError):
    """A measurement that a model cannot take; the message says what is missing."""


def state_vector(wanted: StateInput, measured: Any) -> np.ndarray:
    """The values (n,) float32 that a contract's state input has, of one measurement.

    Args:
        measured: as in :mod:`jepa_ros.safety.inputs`: odometry, or joint states in any order, which may name others.

    Raises:
        StateError: a joint is missing, or a value is not finite.
    """
    if wanted.name == "joint_states":
        at = {name: value for name, value in zip(measured.names, measured.position, strict=False)}
        missing = [name for name in wanted.values if name not in at]
        if missing:
            raise StateError(f"joint_states: no position of {', '.join(missing)}")
        values = np.array([at[name] for name in wanted.values], dtype=np.float32)
    elif wanted.values == ODOMETRY:
        values = np.array([measured.x, measured.y, measured.yaw], dtype=np.float32)
    else:
        values = np.array(measured.v, dtype=np.float32)
    if values.shape != (len(wanted.values),) or not np.isfinite(values).all():
        raise StateError(f"{wanted.name}: expected {len(wanted.values)} finite values, found {values.tolist()}")
    return values


def model_state(contract: RobotContract, measured: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Every state vector that the contract's model takes, {name: (n,) float32}.

    Raises:
        StateError: one was not measured, or cannot be taken.
    """
    return _vectors(contract, contract.model_state, measured, "the model")


def kept_state(contract: RobotContract, measured: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Every state vector that a dataset of the contract keeps; see :func:`model_state`."""
    return _vectors(contract, contract.kept_state, measured, "a dataset")


def _vectors(
    contract: RobotContract, wanted: tuple[StateInput, ...], measured: Mapping[str, Any], what: str
) -> dict[str, np.ndarray]:
    missing = [state.name for state in wanted if measured.get(state.name) is None]
    if missing:
        raise StateError(f"no {', '.join(missing)} was measured; {what} of '{contract.name}' takes it")
    return {state.name: state_vector(state, measured[state.name]) for state in wanted}
