# SPDX-License-Identifier: Apache-2.0
"""What the planner node publishes about its thinking, as messages: signals, status, path, candidates, map."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from builtin_interfaces.msg import Duration, Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from geometry_msgs.msg import Point, PoseStamped
from nav_msgs.msg import OccupancyGrid, Path
from numpy.typing import NDArray
from sensor_msgs.msg import Image
from std_msgs.msg import ColorRGBA, Float32MultiArray, MultiArrayDimension, String
from visualization_msgs.msg import Marker, MarkerArray

from jepa_ros.contract import RobotContract
from jepa_ros.nodes.convert import fill, set_yaw
from jepa_ros.planning.bodies import goals_of

#: Reasons of the planner that are no trouble.
CALM = ("ok", "idle", "paused", "arrived")
#: Imagined futures that are published, states of each, and numbers of all of them together, at most.
FUTURES, STATES, MOST_NUMBERS = 4, 6, 1 << 16


def text(value: Any) -> str:
    """A value as it stands in a diagnostic: true/false, numbers with 6 digits, lists with blanks between."""
    if value is None:
        return ""
    if isinstance(value, (bool, np.bool_)):
        return str(bool(value)).lower()
    if isinstance(value, (float, np.floating)):
        return f"{float(value):.6g}"
    if isinstance(value, (list, tuple, np.ndarray)):
        return " ".join(text(v) for v in value)
    return str(value)


def exact(values: NDArray[np.float64] | None) -> str:
    """Numbers with all their digits, blanks between; empty for None."""
    return "" if values is None else " ".join(repr(float(v)) for v in values)


def goal(when_ns: int, taken: Any, contract: RobotContract) -> Image:
    """A goal with all its digits: a latent as 32FC1 (1, D), else as 64FC1 (1, n) what the body's goals consist of."""
    if taken.latent is None:
        message = fill(Image(), np.array([goals_of(contract).to_values(taken)]), "64FC1")
    else:
        message = fill(Image(), taken.latent[None], "32FC1")
    message.header.stamp = Time(sec=when_ns // 1_000_000_000, nanosec=when_ns % 1_000_000_000)
    message.header.frame_id = taken.name
    return message


def settings(config: Any) -> str:
    """The planner's configuration as JSON text."""
    return json.dumps(dataclasses.asdict(config), sort_keys=True)


def array(stamp: Time, name: str, level: bytes, message: str, values: dict[str, str]) -> DiagnosticArray:
    """One diagnostic with its values."""
    pairs = [KeyValue(key=key, value=value) for key, value in values.items()]
    array = DiagnosticArray(status=[DiagnosticStatus(level=level, name=name, message=message, values=pairs)])
    array.header.stamp = stamp
    return array


def signals(stamp: Time, output: Any, guardrail_hash: str, model_id: str) -> DiagnosticArray:
    """What the gate reads: every signal, the hash of the guardrail set and the model's id."""
    values = {name: repr(float(value)) for name, value in output.signals.items()}
    values["guardrail_hash"] = guardrail_hash
    values["model_id"] = model_id
    return array(stamp, "planner/signals", DiagnosticStatus.OK, "", values)


def status(stamp: Time, output: Any, facts: dict[str, Any]) -> DiagnosticArray:
    """What people read: the planner's status (a nested mapping becomes ``key/name``) and further facts."""
    values: dict[str, str] = {}
    for key, value in {**output.status, **facts}.items():
        if isinstance(value, dict):
            values.update({f"{key}/{name}": text(v) for name, v in value.items()})
        else:
            values[key] = text(value)
    reason = output.status["reason"]
    level = DiagnosticStatus.OK if reason in CALM else DiagnosticStatus.WARN
    return array(stamp, "planner", level, output.status["sentence"], values)


def path(stamp: Time, frame: str, poses: NDArray[np.float64]) -> Path:
    """A plan's poses (T, 3) x, y, yaw as a path."""
    message = Path()
    message.header.stamp, message.header.frame_id = stamp, frame
    for x, y, yaw in poses:
        pose = PoseStamped(header=message.header)
        pose.pose.position.x, pose.pose.position.y = float(x), float(y)
        set_yaw(pose.pose.orientation, float(yaw))
        message.poses.append(pose)
    return message


def candidates(stamp: Time, frame: str, plans: Sequence[tuple[NDArray[np.float64], float]]) -> MarkerArray:
    """The last iteration's candidates, best first, as lines from green (cheapest) to red."""
    array = MarkerArray()
    costs = [cost for _, cost in plans if math.isfinite(cost)]
    low, span = (min(costs), max(max(costs) - min(costs), 1e-9)) if costs else (0.0, 1.0)
    for index, (poses, cost) in enumerate(plans):
        marker = Marker(ns="candidates", id=index, type=Marker.LINE_STRIP, action=Marker.ADD)
        marker.header.stamp, marker.header.frame_id = stamp, frame
        marker.pose.orientation.w = 1.0
        marker.scale.x = 0.008 if index else 0.016
        share = (cost - low) / span if math.isfinite(cost) else 1.0
        marker.color = ColorRGBA(r=float(share), g=float(1.0 - share), b=0.1, a=0.8)
        marker.lifetime = Duration(sec=1)
        marker.text = f"{cost:.4g}"
        marker.points = [Point(x=float(x), y=float(y), z=0.02) for x, y, _ in poses]
        array.markers.append(marker)
    return array


def futures(latents: Any, latent_dim: int) -> Float32MultiArray:
    """Latents of imagined futures (futures, states, latent): the plan first, then those that end unlike it.

    Args:
        latents: (n, T, D) tensor as in PlannerOutput.futures; None is told as no futures. latent_dim: D.
    """
    found = np.zeros((0, 0, latent_dim), np.float32) if latents is None else _chosen_futures(latents)
    message = Float32MultiArray()
    for label, size in zip(("future", "state", "latent"), found.shape, strict=True):
        message.layout.dim.append(MultiArrayDimension(label=label, size=size, stride=0))
    for k, dim in enumerate(message.layout.dim):
        dim.stride = int(np.prod(found.shape[k:]))
    message.data.frombytes(found.tobytes())
    return message


def _chosen_futures(latents: Any) -> NDArray[np.float32]:
    """At most FUTURES futures and STATES states of each, all of them together within MOST_NUMBERS."""
    steps, size = int(latents.shape[1]), int(latents.shape[2])
    states = np.unique(np.linspace(0, steps - 1, max(1, min(STATES, steps, MOST_NUMBERS // size))).round().astype(int))
    found = np.ascontiguousarray(latents[:, states].cpu().numpy(), dtype=np.float32)
    taken, apart = [0], np.linalg.norm(found[:, -1] - found[0, -1], axis=1)
    while len(taken) < min(FUTURES, MOST_NUMBERS // found[0].size) and apart.max() > 0.0:
        taken.append(int(apart.argmax()))
        apart = np.minimum(apart, np.linalg.norm(found[:, -1] - found[taken[-1], -1], axis=1))
    return found[[taken[0], *sorted(taken[1:])]]


def tree(found: dict[str, Any]) -> String:
    """The tree of a deliberation as JSON text; its form: jepa_ros.planning.deliberate.view.tree_of."""
    return String(data=json.dumps(found, separators=(",", ":")))


def traversability(stamp: Time, frame: str, places: Any) -> OccupancyGrid:
    """Where the robot's centre cannot be, as the planner believes: 0 (free) to 100 (blocked)."""
    grid = OccupancyGrid()
    grid.header.stamp, grid.header.frame_id = stamp, frame
    x0, y0, x1, y1 = places.extent
    grid.info.map_load_time = stamp
    # The message knows square cells only; the map's are square to within the noise of the localisation it was made by.
    grid.info.resolution = 0.5 * (x1 - x0 + y1 - y0) / places.cells
    grid.info.width = grid.info.height = places.cells
    grid.info.origin.position.x, grid.info.origin.position.y = x0, y0
    grid.info.origin.orientation.w = 1.0
    grid.data.frombytes(np.rint(100.0 * places.blocked()).astype(np.int8).tobytes())
    return grid
