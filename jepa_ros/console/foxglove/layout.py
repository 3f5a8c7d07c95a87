# SPDX-License-Identifier: Apache-2.0
"""A layout of Foxglove and Lichtblick for one robot: picture with plans, map, curves, modes, diagnostics, commands."""

from __future__ import annotations

from typing import Any

from jepa_ros.console.asking import SERVICES
from jepa_ros.console.foxglove import ANNOTATIONS
from jepa_ros.contract import RobotContract

#: Services that get a button, the rows they stand in, and their colours.
BUTTONS = (("stop", "#b3261e"), ("reset", "#0072b2"), ("enable", "#00614a"), ("pause", "#4a5763"), ("clear", "#4a5763"))
COLOURS = ("#b45f00", "#0072b2", "#009e73", "#cc79a7")
#: Times a second that a held button speaks; see :data:`jepa_ros.console.driving.DEAD_MAN`.
TELEOP_RATE = 10


def layout(contract: RobotContract, namespace: str = "") -> dict[str, Any]:
    """The layout, for JSON.

    Args:
        contract: of the robot. namespace: of its nodes, "" or "/name".
    """
    panels: dict[str, dict[str, Any]] = {
        "Image!camera": _image(contract, namespace),
        "3D!map": _map(contract, namespace),
        "Plot!curves": _curves(namespace),
        "StateTransitions!modes": _modes(namespace),
        "DiagnosticSummary!all": {"minLevel": 0, "topicToRender": "/diagnostics", "sortByLevel": True},
        **_buttons(namespace),
    }
    if not contract.jointed:
        panels["Teleop!drive"] = _teleop(contract, namespace)
    commands = [name for name in panels if name.startswith(("CallService", "Teleop"))]
    see = _split("column", _split("row", "Image!camera", "3D!map"), "Plot!curves", 65)
    read = _split("column", "StateTransitions!modes", "DiagnosticSummary!all")
    return {
        "configById": panels,
        "globalVariables": {},
        "userNodes": {},
        "playbackConfig": {"speed": 1},
        "layout": _split("row", see, _split("column", read, _stack(commands), 45), 68),
    }


def _split(direction: str, first: Any, second: Any, percentage: int = 50) -> dict[str, Any]:
    return {"direction": direction, "first": first, "second": second, "splitPercentage": percentage}


def _stack(names: list[str]) -> Any:
    if len(names) == 1:
        return names[0]
    return _split("column", names[0], _stack(names[1:]), round(100 / len(names)))


def _value(namespace: str, topic: str, key: str) -> str:
    """The path of one value of a diagnostic; these apps read numbers in texts as numbers."""
    return f'{namespace}/{topic}.status[0].values[:]{{key=="{key}"}}.value'


def _image(contract: RobotContract, namespace: str) -> dict[str, Any]:
    camera = contract.cameras[0]
    topic = f"{namespace}/{camera.topic}{'/compressed' if camera.compressed else ''}"
    annotations = {f"{namespace}/{ANNOTATIONS}": {"visible": True}}
    return {"imageMode": {"imageTopic": topic, "annotations": annotations}, "foxglovePanelTitle": "Camera and plans"}


def _map(contract: RobotContract, namespace: str) -> dict[str, Any]:
    shown = ["planner/traversability", "plan", "planner/candidates"]
    shown += [contract.state[name].topic for name in ("pose", "scan") if name in contract.state]
    return {
        "followTf": contract.frames.base if contract.jointed else contract.frames.map,
        "followMode": "follow-none",
        "cameraState": {"perspective": False, "distance": 4, "phi": 0, "thetaOffset": 90, "target": [0, 0, 0],
                        "targetOffset": [0, 0, 0], "targetOrientation": [0, 0, 0, 1], "fovy": 45, "near": 0.1,
                        "far": 1000},
        "scene": {}, "transforms": {}, "layers": {}, "imageMode": {},
        "topics": {f"{namespace}/{topic}": {"visible": True} for topic in shown},
        "publish": {"type": "pose", "poseTopic": f"{namespace}/goal_pose", "pointTopic": f"{namespace}/clicked_point",
                    "poseEstimateTopic": f"{namespace}/initialpose", "poseEstimateXDeviation": 0.5,
                    "poseEstimateYDeviation": 0.5, "poseEstimateThetaDeviation": 0.26},
        "foxglovePanelTitle": "Map: a click with the pose tool sets a goal",
    }  # fmt: skip


def _curves(namespace: str) -> dict[str, Any]:
    status = "planner/status"
    rows = [("signals", "surprise"), ("signals", "novelty"), (status, "cost"), (status, "elapsed_s")]
    paths = [
        {"value": _value(namespace, topic, key), "label": key, "enabled": True, "timestampMethod": "receiveTime",
         "color": colour}
        for (topic, key), colour in zip(rows, COLOURS, strict=True)
    ]  # fmt: skip
    return {
        "paths": paths, "showLegend": True, "legendDisplay": "left", "showPlotValuesInLegend": True,
        "showXAxisLabels": True, "showYAxisLabels": True, "isSynced": True, "xAxisVal": "timestamp",
        "followingViewWidth": 60, "foxglovePanelTitle": "Surprise and novelty (1 slows, 2 stops), cost, time of a plan",
    }  # fmt: skip


def _modes(namespace: str) -> dict[str, Any]:
    rows = [("safety_gate/state", "mode"), ("safety_gate/state", "reason"), ("planner/status", "reason")]
    labels = ("gate", "gate's reason", "planner")
    paths = [
        {"value": _value(namespace, topic, key), "label": label, "enabled": True, "timestampMethod": "receiveTime"}
        for (topic, key), label in zip(rows, labels, strict=True)
    ]
    return {"paths": paths, "isSynced": True, "foxglovePanelTitle": "What the gate does, and what the planner does"}


def _buttons(namespace: str) -> dict[str, dict[str, Any]]:
    services = {name: (service, kind) for name, service, kind in SERVICES}
    found = {}
    for name, colour in BUTTONS:
        service, kind = services[name]
        takes_one = kind.__name__ == "SetBool"
        found[f"CallService!{name}"] = {
            "serviceName": f"{namespace}/{service}", "requestPayload": '{"data": true}' if takes_one else "{}",
            "layout": "horizontal", "buttonText": name.upper() if name == "stop" else name.capitalize(),
            "buttonTooltip": service, "buttonColor": colour,
        }  # fmt: skip
    return found


def _teleop(contract: RobotContract, namespace: str) -> dict[str, Any]:
    """The buttons of a pad: ahead and back, and turning, at 40 % of the range."""
    reach = {axis.name: (0.4 * float(axis.low), 0.4 * float(axis.high)) for axis in contract.action}
    back, ahead = reach.get("linear.x", (0.0, 0.0))
    right, left = reach.get("angular.z", (0.0, 0.0))
    return {
        "topic": f"{namespace}/command_teleop", "publishRate": TELEOP_RATE,
        "upButton": {"field": "linear-x", "value": ahead}, "downButton": {"field": "linear-x", "value": back},
        "leftButton": {"field": "angular-z", "value": left}, "rightButton": {"field": "angular-z", "value": right},
        "foxglovePanelTitle": "Hold to drive",
    }  # fmt: skip
