# SPDX-License-Identifier: Apache-2.0
"""The ONE table of what runs together: processes, parameters, remappings, lifecycle, respawn, start order.

``jepa-ros up`` (:mod:`jepa_ros.commands.up`) and the launch files (``launch/*.launch.py``) both translate
:func:`graph`; neither knows a parameter of its own. No ROS is imported here.

The gate stands first: it starts before anything that could command the robot, and is stopped last.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jepa_ros.bringup import values
from jepa_ros.bringup.arguments import BringupError, parse
from jepa_ros.bringup.spec import Graph, NodeSpec, absolute
from jepa_ros.contract import RobotContract, share_dir
from jepa_ros.names import is_namespace
from jepa_ros.ros_env import LARGE, large_environment, ros_environment
from jepa_ros.safety.settings import parse as parse_settings
from jepa_ros.worlds import contract_of


def environment(contract: RobotContract | None = None) -> dict[str, str]:
    """What the processes' environment lacks: where ROS is, and that only this machine is talked to.

    With the `contract` of a camera whose pictures are large, a shared-memory segment that holds them, too. A robot on
    a network sets ``ROS_AUTOMATIC_DISCOVERY_RANGE=SUBNET`` before it starts; what is set is left alone.
    """
    wanted = ros_environment({"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST", **os.environ})
    if contract is not None:
        camera = contract.watched_camera
        if not camera.compressed and 3 * camera.width * camera.height > LARGE:
            wanted |= large_environment()
    return {name: value for name, value in wanted.items() if os.environ.get(name) != value}


def graph(kind: str, given: Mapping[str, str] | None = None) -> Graph:
    """The processes of ``kind`` ("sim", "robot", "replay", "fleet") for the arguments ``given`` as text.

    Raises:
        BringupError, ContractError: an argument, or a file that one names, is wrong.
    """
    args = parse(kind, given or {})
    contract = contract_of(args["robot"])
    args["robot"] = _robot(args["robot"], contract)
    if kind == "fleet":
        return Graph(kind, contract, (_fleet(args, contract),))
    if args.get("own_clock") and (args["console"] or args["foxglove"] or not args["namespace"].strip("/")):
        raise BringupError("own_clock:=true is for a robot in a namespace, and without a console, which hears /clock")
    nodes = [_gate(kind, args, contract)] if args.get("gate", True) else []
    if kind == "sim":
        nodes.append(_sim(args))
    if kind == "robot" and _runs_camera(args["camera"], contract):
        nodes.append(_camera(args, contract))
    if args["record"]:  # before the planner: from its first step on a replay can be told what it knew
        nodes.append(_recorder(kind, args, contract))
    if args["brain"]:
        nodes.extend(_brain(kind, args, contract))
    if args["console"]:
        nodes.append(_console(kind, args))
    if args["foxglove"]:
        nodes.append(_console(kind, args, "foxglove", ["--foxglove", *["--control"] * args["foxglove_control"]]))
    elif args["foxglove_control"]:
        raise BringupError("foxglove_control:=true needs foxglove:=true")
    if args.get("play"):
        nodes.append(_player(args))
    if not nodes:
        raise BringupError("nothing is left to bring up: gate, brain, camera and record are all false")
    return Graph(kind, contract, tuple(nodes))


def _robot(given: str, contract: RobotContract) -> str:
    """What the nodes are told of the robot: a shipped name or a file, for a gate imports no package of a world."""
    if (share_dir() / "robots" / f"{given}.yaml").is_file():
        return given
    if not Path(contract.source).is_file():
        raise BringupError(f"robot:={given}: its world makes the contract in code; the nodes need the YAML file of it")
    return contract.source


def _gate(kind: str, args: dict[str, Any], contract: RobotContract) -> NodeSpec:
    settings = values.text(args, "gate_params")
    parse_settings(settings, f"gate_params:={args['gate_params']}")  # refused here, before anything runs
    parameters = {
        "robot": args["robot"],
        "model": values.model(args, contract) if args["brain"] or args["model"] else "",
        "use_sim_time": values.sim_time(kind, args),
        "auto_enable": args["auto_enable"],
        "guardrails": values.text(args, "guardrails"),
        "settings": settings,
        "command_kind": args.get("command_kind", ""),
        "command_topic": args.get("command_topic", ""),
        "compressed": args.get("compressed", False),
    }
    return _node(args, "safety_gate", parameters, remappings=values.remaps(kind, args, contract), required=True)


def _sim(args: dict[str, Any]) -> NodeSpec:
    taken = ("robot", "gui", "layout", "layout_seed", "person", "randomise", "seed", "task", "distractors")
    parameters = {name: args[name] for name in (*taken, "real_time_factor")}
    parameters["start"] = values.numbers(args, "start", 3)
    return _node(args, "sim", parameters, required=True)


def _runs_camera(wanted: str, contract: RobotContract) -> bool:
    return wanted == "true" or (wanted == "auto" and not contract.watched_camera.driven)


def _camera(args: dict[str, Any], contract: RobotContract) -> NodeSpec:
    parameters = {
        "robot": args["robot"],
        "device": args["device"],
        "use_sim_time": args["use_sim_time"],
        "compressed": args["compressed"],
    }
    parameters |= values.extra(args, "camera_params", parameters)
    return _node(args, "camera", parameters, remappings=values.remaps("robot", args, contract), respawn=True)


def _fleet(args: dict[str, Any], contract: RobotContract) -> NodeSpec:
    """Perception and planner of several robots in one process; gates, cameras and drivers are each robot's own."""
    robots = [name.strip().strip("/") for name in args["robots"].split(",")]
    if not all(robots) or len(set(robots)) != len(robots) or not all(map(is_namespace, robots)):
        found = f"robots:={args['robots']}: expected different namespaces with commas between them, as r1,r2"
        raise BringupError(found)
    both = [f"{robot}/{node}" for robot in robots for node in ("perception", "planner")]
    parameters = _together(*_parameters("robot", args, contract))
    parameters |= {"robots": ",".join(robots), "workers": args["workers"]}
    return _node(
        {**args, "namespace": ""}, "fleet", parameters, nodes=("fleet", *both), lifecycle=tuple(both), respawn=True,
        spread=True,
    )  # fmt: skip


def _brain(kind: str, args: dict[str, Any], contract: RobotContract) -> list[NodeSpec]:
    perception, planner = _parameters(kind, args, contract)
    remaps = values.remaps(kind, args, contract)
    if args["composed"]:
        both = ("perception", "planner")
        merged = _together(perception, planner)
        return [_node(args, "composed", merged, remaps, nodes=both, lifecycle=both, respawn=True)]
    return [
        _node(args, "perception", perception, remaps, lifecycle=("perception",), respawn=True),
        _node(args, "planner", planner, remaps, lifecycle=("planner",), respawn=True),
    ]


def _together(perception: dict[str, Any], planner: dict[str, Any]) -> dict[str, Any]:
    """The parameters of a process that holds both nodes."""
    for name in set(perception) & set(planner):
        if perception[name] != planner[name]:
            raise BringupError(f"one process: perception_params and planner_params differ in '{name}'")
    return {**perception, **planner}


def _parameters(kind: str, args: dict[str, Any], contract: RobotContract) -> tuple[dict[str, Any], dict[str, Any]]:
    """The parameters of perception and of the planner."""
    shared = {
        "robot": args["robot"],
        "model": values.model(args, contract),
        "use_sim_time": values.sim_time(kind, args),
        "threads": args["threads"],
        "autostart": args["autostart"],
    }
    perception = {**shared, "compressed": args.get("compressed", False)}
    perception |= values.extra(args, "perception_params", perception)
    planner = {
        **shared,
        "seed": args["seed"],
        "memory": args["memory"],
        "memory_read_only": args["memory_read_only"],
        "guardrails": values.text(args, "guardrails"),
        "costs": values.mapping_text(args, "costs"),
        "command_topic": args.get("command_topic", ""),
        "command_kind": args.get("command_kind", ""),
    }
    planner |= values.extra(args, "planner_params", planner)
    return perception, planner


def _recorder(kind: str, args: dict[str, Any], contract: RobotContract) -> NodeSpec:
    """`jepa-ros record`, in a process of its own; when it fails, the robot goes on."""
    words = ["jepa_ros.bags.record", "--quiet", "--robot", args["robot"]]
    if args["brain"]:
        words += ["--model", values.model(args, contract)]
    for name in ("guardrails", "gate_params"):
        if args[name]:
            words += [f"--{name.replace('_', '-')}", args[name]]
    if args["bag"]:
        words += ["--output", args["bag"]]
    if values.sim_time(kind, args):
        words.append("--use-sim-time")
    if args.get("own_clock"):
        words += ["--clock", f"{absolute(args['namespace']).rstrip('/')}/clock"]
    if (space := absolute(args["namespace"])) != "/":
        # Its own topics, and those that no robot has for itself: /tf, /diagnostics, drivers that the contract names.
        named = [c.image_topic for c in contract.cameras] + [s.topic for s in contract.state.values()]
        named = [topic for topic in (*named, contract.command.topic, contract.estop_topic) if topic.startswith("/")]
        words += ["--namespace", space, "--regex", "|".join([f"^{space}/", "^/[^/]+$", *(f"^{t}$" for t in named)])]
    return NodeSpec("recorder", (), args["namespace"], {}, command=tuple(words))


def _console(kind: str, args: dict[str, Any], name: str = "console", options: Sequence[str] = ()) -> NodeSpec:
    """`jepa-ros console`, the page or the bridge; when it dies it comes back, and the robot does not notice."""
    words = ["jepa_ros.commands.cli", "console", "--robot", args["robot"], *options]
    if args["model"] and not options:  # with it the page thinks moments of bags over again
        words += ["--model", args["model"]]
    if values.sim_time(kind, args):
        words.append("--use-sim-time")
    if args["namespace"]:
        words += ["--namespace", absolute(args["namespace"])]
    return NodeSpec(name, (), args["namespace"], {}, command=tuple(words), respawn=True)


def _player(args: dict[str, Any]) -> NodeSpec:
    """`jepa-ros replay`, into this graph; when the bag is at its end, the graph stays."""
    words = ["jepa_ros.commands.cli", "replay", args["play"], "--rate", f"{args['rate']:g}"]
    if args["loop"]:
        words.append("--loop")
    if args["namespace"]:
        words += ["--namespace", absolute(args["namespace"])]
    return NodeSpec("player", (), args["namespace"], {}, command=tuple(words))


def _node(
    args: dict[str, Any],
    executable: str,
    parameters: dict[str, Any],
    remappings: tuple[tuple[str, str], ...] = (),
    **options: Any,
) -> NodeSpec:
    options.setdefault("nodes", (executable,))
    return NodeSpec(
        executable,
        namespace=args["namespace"],
        parameters=parameters,
        remappings=(*remappings, *((("/clock", "clock"),) if args.get("own_clock") else ())),
        log_level=args["log_level"],
        **options,
    )
