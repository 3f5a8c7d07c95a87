# SPDX-License-Identifier: Apache-2.0
"""What a simulation says beside what the robot measures."""

from __future__ import annotations

from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from sensor_msgs.msg import CameraInfo

from jepa_ros.contract import Camera


def diagnostics(stamp: Any, name: str, values: dict[str, str]) -> DiagnosticArray:
    """Values by name, as one status."""
    status = DiagnosticStatus(level=DiagnosticStatus.OK, name=name)
    status.values = [KeyValue(key=key, value=value) for key, value in values.items()]
    message = DiagnosticArray(status=[status])
    message.header.stamp = stamp
    return message


def camera_info(header: Any, camera: Camera, focal: float) -> CameraInfo:
    """Of a camera without distortion whose axis goes through the middle of its picture; ``focal`` [px]."""
    info = CameraInfo(header=header, width=camera.width, height=camera.height, distortion_model="plumb_bob")
    cx, cy = camera.width / 2.0, camera.height / 2.0
    info.d = [0.0] * 5
    info.k = [focal, 0.0, cx, 0.0, focal, cy, 0.0, 0.0, 1.0]
    info.r = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    info.p = [focal, 0.0, cx, 0.0, 0.0, focal, cy, 0.0, 0.0, 0.0, 1.0, 0.0]
    return info
