# SPDX-License-Identifier: Apache-2.0
"""From plain data to a contract: every section read and validated in turn, every default written out."""

from __future__ import annotations

import json
import re
from typing import Any

from jepa_ros.contract.fields import Fields
from jepa_ros.contract.motion import (
    action_of,
    axes_of,
    command_of,
    kinematics_of,
    limits_of,
    plain_kinematics,
    plain_limits,
)
from jepa_ros.contract.sections import (
    arrival_of,
    cameras_of,
    check_noise,
    check_topics,
    costmap_of,
    footprint_of,
    frames_of,
    guardrails_of,
    plain_camera,
    plain_costmap,
    plain_footprint,
    state_of,
    watchdog_of,
)

#: Version of the schema. Version 1 lacks arms, state for the model, cameras that it sees besides the first, and
#: pictures that are not square; everything that it has means the same, so that it is read as it stands.
SCHEMA, READ = 2, (1, 2)
#: A robot's name is part of file names; that of a Gymnasium environment may have a namespace before it.
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*([/:][A-Za-z0-9_][A-Za-z0-9_.-]*)*")


def read(top: Fields) -> dict[str, Any]:
    """The attributes of a :class:`~jepa_ros.contract.contract.RobotContract`, but for its ``folder``.

    Raises:
        ContractError: naming the source, the path of the key, what was found and what was expected.
    """
    schema = top.integer("contract", least=1)
    if schema not in READ:
        known = " or ".join(str(version) for version in READ)
        raise top.error("contract", f"expected schema {known}, found {schema}: use a matching version of jepa_ros")
    name = top.text("name")
    if not NAME.fullmatch(name):  # it names folders: models/NAME
        raise top.error("name", f"expected letters, digits, _, - and ., found '{name}'")
    description = str(top.raw("description", ""))
    rate = top.number("rate", above=0.0, most=100.0, unit="Hz")
    gate_rate = top.number("gate_rate", 50.0, least=10.0, most=1000.0, unit="Hz")
    if gate_rate < rate:
        raise top.error("gate_rate", f"expected at least the control rate ({rate:g} Hz), found {gate_rate:g}")
    latency = top.number("actuation_latency", 0.0, least=0.0, most=2.0, unit="s")
    frames = frames_of(top.section("frames", {}))
    kinematics = kinematics_of(top.section("kinematics"))
    jointed = kinematics.kind in ("joints", "arm")
    footprint = footprint_of(top, not jointed)
    cameras = cameras_of(top)
    action = action_of(top, kinematics)
    command = command_of(top.section("command"), action, kinematics)
    state = state_of(top.section("state", {}))
    estop_topic = top.topic("estop_topic", "estop")
    costmap = costmap_of(top, frames, state, jointed)
    check_topics(top, cameras, command, state, estop_topic, costmap)
    limits = limits_of(top.section("limits"), action, kinematics, command)
    axes = axes_of(action, kinematics, command, limits)
    check_noise(top, state, axes)
    watchdog = watchdog_of(top.section("watchdog", {}))
    arrival = arrival_of(top.section("arrival", {}), kinematics.kind)
    stop = top.text("stop", "ramp", choices=("ramp", "zero"))
    guardrails = guardrails_of(top)
    top.done()
    wrong = "odom" if jointed else "joint_states"
    if wrong in state and state[wrong].model:
        raise top.error(f"state.{wrong}.model", "a model takes the joint_states of an arm, and the odom of a base")
    data = {
        "contract": SCHEMA,
        "name": name,
        "description": description,
        "rate": rate,
        "gate_rate": gate_rate,
        "actuation_latency": latency,
        "frames": vars(frames),
        **plain_footprint(footprint),
        "kinematics": plain_kinematics(kinematics),
        "cameras": [plain_camera(c, c is cameras[0]) for c in cameras],
        "action": [vars(a) for a in action],
        "command": {k: list(v) if isinstance(v, tuple) else v for k, v in vars(command).items() if v not in ((), None)},
        "state": {
            k: {n: v for n, v in vars(s).items() if v not in (None, False) or n == "required"} for k, s in state.items()
        },
        **({"estop_topic": estop_topic} if estop_topic != "estop" else {}),
        "limits": plain_limits(limits, axes),
        "watchdog": vars(watchdog),
        "arrival": vars(arrival),
        "stop": stop,
        "guardrails": list(guardrails),
        **({"costmap": plain_costmap(costmap)} if costmap is not None else {}),
    }
    return {
        "name": name,
        "description": description,
        "rate": rate,
        "gate_rate": gate_rate,
        "actuation_latency": latency,
        "frames": frames,
        "footprint": footprint,
        "kinematics": kinematics,
        "cameras": cameras,
        "action": action,
        "axes": axes,
        "command": command,
        "state": state,
        "estop_topic": estop_topic,
        "limits": limits,
        "watchdog": watchdog,
        "arrival": arrival,
        "stop": stop,
        "guardrails": guardrails,
        "costmap": costmap,
        "source": top.where,
        "data": json.loads(json.dumps(data)),
    }
