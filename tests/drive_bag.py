# SPDX-License-Identifier: Apache-2.0
"""A recorded drive, made up: what the topics of a robot under the gate look like in a bag, with faults on request."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from bag_helpers import START as WALL
from bag_helpers import header, image

from jepa_ros.bags import CONTRACT_KEY
from jepa_ros.bags.format.message_types import typestore
from jepa_ros.bags.format.schema import default_qos
from jepa_ros.bags.format.writer import BagWriter, WriterConfig
from jepa_ros.contract import load_contract

SIM = 5_000_000_000
"""Stamp of the first image in ns: a simulation's clock, far from the wall clock of the log times."""


@dataclass
class Drive:
    """What happens in the drive; times in s from its start."""

    seconds: float = 12.0
    camera_rate: float = 10.0
    velocity: Callable[[float], tuple[float, float]] = lambda t: (0.2 + 0.1 * math.sin(t), math.cos(t))
    mode: Callable[[float], str] = lambda t: "ACTIVE"
    reason: str = "ok"
    pose: Callable[[float], tuple[float, float, float]] = lambda t: (0.1 * t, 0.0, 0.05 * t)
    pressed: Callable[[float], bool] = lambda t: 6.01 <= t < 6.3
    stamp: Callable[[float], float] = lambda t: t
    """Maps time to the robot's clock; a jump is a jump of it."""
    own_stamp: dict[str, Callable[[int], int]] = field(default_factory=dict)
    """Topic -> what its driver makes of the stamp [ns] that it should set."""
    received: Callable[[float], int] = lambda t: WALL + round(t * 1e9)
    """Maps time to the log time in ns."""
    silent: dict[str, tuple[float, float]] = field(default_factory=dict)
    """Topic -> (from, to): no messages."""
    twist: bool = False
    edge: int = 128
    encoding: str = "rgb8"
    contract: bool = True


def picture(k: int, edge: int = 128) -> np.ndarray:
    """The k-th image: its number is written into its colour."""
    return np.full((edge, edge, 3), (k % 256, k // 256, 100), np.uint8)


def write_drive(path: Path, drive: Drive | None = None) -> Drive:
    """Write the bag."""
    drive = drive or Drive()
    store = typestore()
    types = store.types
    custom = {}
    if drive.contract:
        import json

        custom = {CONTRACT_KEY: json.dumps(load_contract("arena").to_dict())}
    rows = []
    for topic, rate, delay in (
        ("/image", drive.camera_rate, 0.008), ("/cmd_vel", 50.0, 0.001), ("/pose", 10.0, 0.002),
        ("/contact", 25.0, 0.001), ("/safety_gate/state", 50.0, 0.0012), ("/command_raw", 5.0, 0.03),
    ):  # fmt: skip
        rows += [(k / rate, delay, topic, k) for k in range(int(drive.seconds * rate))]
    names = {
        "/image": "sensor_msgs/msg/Image",
        "/cmd_vel": "geometry_msgs/msg/Twist" if drive.twist else "geometry_msgs/msg/TwistStamped",
        "/pose": "geometry_msgs/msg/PoseWithCovarianceStamped",
        "/contact": "std_msgs/msg/Bool",
        "/safety_gate/state": "diagnostic_msgs/msg/DiagnosticArray",
        "/command_raw": "geometry_msgs/msg/TwistStamped",
    }

    def vector(x=0.0, y=0.0, z=0.0):
        return types["geometry_msgs/msg/Vector3"](x=float(x), y=float(y), z=float(z))

    def twist(values):
        return types["geometry_msgs/msg/Twist"](linear=vector(values[0]), angular=vector(z=values[1]))

    def stamped(topic: str, t: float) -> int:
        return drive.own_stamp.get(topic, lambda ns: ns)(SIM + round(drive.stamp(t) * 1e9))

    def content(topic: str, t: float, k: int):
        stamp = stamped(topic, t)
        if topic in ("/cmd_vel", "/command_raw"):
            values = drive.velocity(t) if topic == "/cmd_vel" else (0.5, 0.5)
            if topic == "/cmd_vel" and drive.twist:
                return twist(values)
            return types["geometry_msgs/msg/TwistStamped"](header=header(stamp), twist=twist(values))
        if topic == "/contact":
            return types["std_msgs/msg/Bool"](data=drive.pressed(t))
        if topic == "/pose":
            x, y, yaw = drive.pose(t)
            turn = types["geometry_msgs/msg/Quaternion"](x=0.0, y=0.0, z=math.sin(yaw / 2), w=math.cos(yaw / 2))
            place = types["geometry_msgs/msg/Point"](x=x, y=y, z=0.0)
            pose = types["geometry_msgs/msg/Pose"](position=place, orientation=turn)
            held = types["geometry_msgs/msg/PoseWithCovariance"](pose=pose, covariance=np.zeros(36))
            return types["geometry_msgs/msg/PoseWithCovarianceStamped"](header=header(stamp), pose=held)
        pair = types["diagnostic_msgs/msg/KeyValue"](key="mode", value=drive.mode(t))
        why = types["diagnostic_msgs/msg/KeyValue"](key="reason", value=drive.reason)
        status = types["diagnostic_msgs/msg/DiagnosticStatus"](
            level=0, name="safety_gate", message="", hardware_id="", values=[pair, why]
        )
        return types["diagnostic_msgs/msg/DiagnosticArray"](header=header(stamp), status=[status])

    with BagWriter(path, WriterConfig(min_free_bytes=0), custom_data=custom) as writer:
        topics = {name: writer.add_topic(name, kind, [default_qos()]) for name, kind in names.items()}
        for t, delay, topic, k in sorted(rows, key=lambda row: row[0] + row[1]):
            low, high = drive.silent.get(topic, (math.inf, math.inf))
            if low <= t < high:
                continue
            received = drive.received(t + delay)
            if topic == "/image":
                frame = picture(k, drive.edge)
                frame = frame[:, :, 0] if drive.encoding == "mono8" else frame
                data = image(stamped(topic, t), frame, drive.encoding)
            else:
                data = bytes(store.serialize_cdr(content(topic, t, k), names[topic]))
            writer.write(topics[topic], received, data)
    return drive
