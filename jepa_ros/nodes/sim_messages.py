# SPDX-License-Identifier: Apache-2.0
"""Messages that every simulated world publishes."""

from __future__ import annotations

from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node
from rclpy.publisher import Publisher
from sensor_msgs.msg import JointState

from jepa_ros.contract import RobotContract
from jepa_ros.contract.topics import STATE_TYPES
from jepa_ros.messages.types import message_class
from jepa_ros.nodes import qos
from jepa_ros.nodes.convert import to_stamp


def state_publishers(node: Node, contract: RobotContract, names: tuple[str, ...]) -> dict[str, Publisher]:
    """A publisher of each state, on the contract's topic or the one of its name."""
    topics = {name: contract.state[name].topic if name in contract.state else name for name in names}
    return {
        name: qos.publisher(node, message_class(STATE_TYPES[name]), topic, qos.STATE) for name, topic in topics.items()
    }


def joint_state(now: float, names: tuple[str, ...], positions: np.ndarray, velocities: np.ndarray) -> JointState:
    """Measured joints at ``now`` [s]."""
    message = JointState(name=list(names), position=positions.tolist(), velocity=velocities.tolist())
    message.header.stamp = to_stamp(now)
    return message


def diagnostics(stamp: Any, name: str, values: dict[str, str]) -> DiagnosticArray:
    """Values by name, as one status."""
    status = DiagnosticStatus(level=DiagnosticStatus.OK, name=name)
    status.values = [KeyValue(key=key, value=value) for key, value in values.items()]
    message = DiagnosticArray(status=[status])
    message.header.stamp = stamp
    return message
