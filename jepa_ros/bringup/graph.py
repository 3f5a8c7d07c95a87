# SPDX-License-Identifier: Apache-2.0
"""The ONE table of what runs together: processes, parameters, remappings, lifecycle, respawn, start order.

``jepa-ros up`` (:mod:`jepa_ros.commands.up`) and the launch files (``launch/*.launch.py``) both translate
:func:`graph`; neither knows a parameter of its own. No ROS is imported here.

The gate stands first: it starts before anything that could command the robot, and is stopped last.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from jepa_ros.contract import RobotContract, share_dir
from jepa_ros.contract.topics import COMMAND_TYPES, STATE_TYPES
from jepa_ros.errors import JepaRosError
from jepa_ros.names import is_namespace, is_topic
from jepa_ros.ranges import Range
from jepa_ros.ros_env import LARGE, large_environment, ros_environment
from jepa_ros.safety.settings import parse as parse_settings
from jepa_ros.suggest import did_you_mean
from jepa_ros.worlds import contract_of
from jepa_ros.yaml_text import load_mapping

KINDS = ("sim", "robot", "replay", "fleet")
#: Topics that a robot's own drivers may publish or take under another name; each is an argument of `robot`.
ROBOT_TOPICS = (
    "image", *STATE_TYPES, "estop", "goal_image", "goal_pose"
)  # fmt: skip
#: Seconds that a process has to end after it was asked to, before it is killed; the gate has its exit_duration besides.
END_TIMEOUT = 5.0
#: Seconds between the death of a node and its next start, under ros2 launch and `up` alike.
RESPAWN_DELAY = 1.0


class BringupError(JepaRosError):
    """An argument of ``up`` or of a launch file is unknown or has a wrong value."""


@dataclass(frozen=True)
class Argument:
    """An argument ``name:=value`` of ``up`` and of the launch files. The default's type is the argument's type.

    ``least`` and ``most`` are bounds of a number, both included; ``kind`` says what a text has to be where it is not
    empty: a ``topic``, a ``namespace``, or a ``path`` that is there.
    """

    name: str
    default: Any
    description: str
    choices: tuple[str, ...] = ()
    least: float | None = None
    most: float | None = None
    kind: str = ""

    @property
    def default_text(self) -> str:
        """The default as it is written on a command line."""
        return str(self.default).lower() if isinstance(self.default, bool) else str(self.default)

    def parse(self, text: str) -> Any:
        """The value of ``text``, of the default's type.

        Raises:
            BringupError: ``text`` is not of that type, or not among the choices.
        """
        try:
            value = self._convert(text)
            self._check(value)
        except ValueError as error:
            raise BringupError(f"{self.name}:={text}: {error}. {self.description}") from None
        if self.choices and value not in self.choices:
            wanted = ", ".join(self.choices) + did_you_mean(text, self.choices)
            raise BringupError(f"{self.name}:={text}: expected one of {wanted}. {self.description}")
        return value

    def _convert(self, text: str) -> Any:
        if isinstance(self.default, bool):
            if text.lower() not in ("true", "false"):
                raise ValueError("expected true or false")
            return text.lower() == "true"
        if isinstance(self.default, (int, float)):
            return Range.of(least=self.least, most=self.most, whole=isinstance(self.default, int)).read(text)
        return text

    def _check(self, value: Any) -> None:
        if self.kind == "topic" and value and not is_topic(value):
            raise ValueError("expected the name of a topic: letters, digits and _, with / between names")
        if self.kind == "namespace" and not is_namespace(value):
            raise ValueError("expected a ROS namespace: letters, digits and _, with / between names")
        if self.kind == "path" and value and not Path(value).exists():
            raise ValueError("no such file or folder")


@dataclass(frozen=True)
class NodeSpec:
    """One process of the graph.

    Attributes:
        executable: name of the process and of its script; ``jepa_ros.nodes.<executable>`` is its module.
        nodes: the ROS nodes in it; one, save for ``composed``.
        parameters: name -> value (bool, int, float, str, or a list of one of these).
        spread: its nodes have namespaces of their own, so that none is set for the process.
        remappings: (from, to) pairs.
        lifecycle: names of its managed nodes; they configure and activate themselves (parameter ``autostart``).
        respawn: start it again when it dies.
        required: when it dies, the whole graph stops.
        log_level: of the process.
        command: module and arguments of a process that takes no ROS arguments (recorder, player); None for nodes.
    """

    executable: str
    nodes: tuple[str, ...]
    namespace: str
    parameters: Mapping[str, Any]
    remappings: tuple[tuple[str, str], ...] = ()
    lifecycle: tuple[str, ...] = ()
    respawn: bool = False
    required: bool = False
    log_level: str = "info"
    command: tuple[str, ...] | None = None
    spread: bool = False

    @property
    def module(self) -> str:
        """The Python module that runs this process."""
        return self.command[0] if self.command else f"jepa_ros.nodes.{self.executable}"

    @property
    def words(self) -> list[str]:
        """What follows ``python -m``."""
        return list(self.command) if self.command else [self.module, *ros_arguments(self)]

    @property
    def node_name(self) -> str | None:
        """The name to give the node, or None where the process holds several, each with a name of its own."""
        return self.nodes[0] if len(self.nodes) == 1 else None


@dataclass(frozen=True)
class Graph:
    """What runs together, in the order in which it starts; it is stopped in the opposite order."""

    kind: str
    contract: RobotContract
    nodes: tuple[NodeSpec, ...]

    @property
    def gate(self) -> NodeSpec | None:
        """The gate's process; None where it runs on another machine."""
        return self.nodes[0] if self.nodes and self.nodes[0].executable == "safety_gate" else None

    def find(self, executable: str) -> NodeSpec:
        """The process named ``executable`` (KeyError where there is none)."""
        for node in self.nodes:
            if node.executable == executable:
                return node
        raise KeyError(executable)


def environment(contract: RobotContract | None = None) -> dict[str, str]:
    """What the processes' environment lacks: where ROS is, and that only this machine is talked to.

    With the `contract` of a camera whose pictures are large, a shared-memory segment that holds them, too. A robot on
    a network sets ``ROS_AUTOMATIC_DISCOVERY_RANGE=SUBNET`` before it starts; what is set is left alone.
    """
    wanted = ros_environment({"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST", **os.environ})
    if contract is not None:
        camera = contract.cameras[0]
        if not camera.compressed and 3 * camera.width * camera.height > LARGE:
            wanted |= large_environment()
    return {name: value for name, value in wanted.items() if os.environ.get(name) != value}


# ---------------------------------------------------------------- arguments

_COMMON = (
    Argument("robot", "arena", "Robot contract: a name in robots/ or the path of a YAML file."),
    Argument("model", "", "Folder of the checkpoint; empty for models/<robot>."),
    Argument(
        "namespace", "", "ROS namespace of all nodes; several robots on one network need one each.", kind="namespace"
    ),
    Argument("composed", False, "Run perception and planner in one process."),
    Argument("threads", 1, "Compute threads of perception and of the planner, each.", least=1, most=256),
    Argument("seed", 0, "Seed of the simulation and of the search.", least=0, most=2**31 - 1),
    Argument("planner_params", "", "YAML file with further parameters of the planner ({name: value})."),
    Argument("perception_params", "", "YAML file with further parameters of perception ({name: value})."),
    Argument("gate_params", "", "YAML file with further settings of the gate ({name: value}); see docs/safety.md."),
    Argument("guardrails", "", "YAML file with the guardrail set; empty for the contract's."),
    Argument("costs", "", "YAML file with the weights of the task's cost terms; empty for the defaults."),
    Argument("memory", "", "Folder of the planner's long-term memory, made when it is not there; empty keeps nothing."),
    Argument("brain", True, "Run perception and planner; false: gate and robot alone, to drive by hand or explore."),
    Argument("console", False, "Serve the operator's page on http://localhost:8765 (see docs/console.md)."),
    Argument("foxglove", False, "Serve Foxglove and Lichtblick on ws://localhost:8766 (see docs/console.md)."),
    Argument("foxglove_control", False, "Foxglove may command: goals, enable, reset, drive. It may always stop."),
    Argument("record", False, "Record every topic into a bag."),
    Argument("bag", "", "Folder of the bag; empty for rosbag2_<time> in the present folder."),
    Argument("autostart", True, "Configure and activate perception and planner as they start."),
    Argument("log_level", "info", "Log level of the nodes.", ("debug", "info", "warn", "error")),
)
_OWN_CLOCK = Argument(
    "own_clock", False, "Simulated time is the namespace's own (topic clock): several simulated robots in one domain."
)
_SIM = (
    Argument("auto_enable", True, "The gate arms by itself; false waits for its ~/enable service."),
    Argument("gui", False, "Show PyBullet's window."),
    Argument("layout", "fixed", "Obstacles of the arena.", ("fixed", "random", "maze", "dead_end")),
    Argument("layout_seed", 0, "Seed of a random layout, or of a task's episodes.", least=0, most=2**31 - 1),
    Argument("task", "", "Task of the world whose episodes are begun; empty: its first, and none in the arena."),
    Argument("start", "", "Start pose 'x,y,yaw' (m, rad); empty draws one from the seed."),
    Argument("person", "none", "A person who walks about in the arena.", ("none", "random")),
    Argument("randomise", False, "Draw lighting, colours, camera pose and slip from the seed."),
    Argument("distractors", 0, "Things that lie about at the table, and no task speaks of.", least=0, most=100),
    Argument("real_time_factor", 1.0, "Simulated seconds in a second.", least=0.01, most=100.0),
    _OWN_CLOCK,
)
_ROBOT = (
    Argument("auto_enable", False, "The gate arms by itself; false waits for its ~/enable service."),
    Argument("gate", True, "Run the gate; false where it runs on another machine, beside the robot."),
    Argument("use_sim_time", False, "Take the time from /clock (another simulator)."),
    Argument(
        "camera", "auto", "Run the camera node; auto: unless the contract names the topic of a driver.",
        ("auto", "true", "false"),
    ),
    Argument("device", "0", "Camera: a device number or path, a video file, or an RTSP address."),
    Argument("camera_params", "", "YAML file with further parameters of the camera node ({name: value})."),
    Argument("compressed", False, "Take image/compressed in the place of image."),
    Argument(
        "command_kind", "", "Type of the robot's command; empty for the contract's.",
        ("", *COMMAND_TYPES),
    ),
    Argument("command_topic", "", "Topic of the robot's command; empty for the contract's.", kind="topic"),
    *(
        Argument(topic, "", f"The driver's name of '{topic}'; empty for the contract's.", kind="topic")
        for topic in ROBOT_TOPICS
    ),
)  # fmt: skip
_REPLAY = (
    Argument("auto_enable", True, "The gate arms by itself; false waits for its ~/enable service."),
    Argument("compressed", False, "Take image/compressed in the place of image."),
    Argument("play", "", "Bag to play; empty waits for `jepa-ros replay BAG` from elsewhere.", kind="path"),
    Argument("rate", 1.0, "Times real time at which the bag is played.", least=0.0, most=1000.0),
    Argument("loop", False, "Begin the bag again at its end."),
)


_FLEET = (
    Argument("robots", "", "Namespaces of the robots, with commas between them."),
    Argument("workers", 2, "Threads that share the robots among them; best is one a core.", least=1, most=256),
    Argument("use_sim_time", False, "Take the time from /clock (another simulator)."),
    _OWN_CLOCK,
)
#: Of the common arguments those that a process without gate, sensors and robot has.
_OF_FLEET = (
    "robot", "model", "threads", "seed", "planner_params", "perception_params", "guardrails", "costs", "memory",
    "autostart", "log_level",
)  # fmt: skip


def arguments(kind: str) -> tuple[Argument, ...]:
    """The arguments of ``up KIND`` and of ``KIND.launch.py``, in the order of the help."""
    if kind not in KINDS:
        raise BringupError(f"nothing to bring up is called '{kind}'; expected one of {', '.join(KINDS)}")
    if kind == "fleet":
        return tuple(a for a in _COMMON if a.name in _OF_FLEET) + _FLEET
    return _COMMON + {"sim": _SIM, "robot": _ROBOT, "replay": _REPLAY}[kind]


def parse(kind: str, given: Mapping[str, str]) -> dict[str, Any]:
    """Every argument of ``kind`` with its value, from the texts in ``given`` and the defaults.

    Raises:
        BringupError: an argument is unknown or has a wrong value.
    """
    known = {a.name: a for a in arguments(kind)}
    for name in given:
        if name not in known:
            hint = did_you_mean(name, known) or f"; known: {', '.join(known)}"
            raise BringupError(f"'{kind}' takes no argument '{name}'{hint}")
    return {name: a.parse(given[name]) if name in given else a.default for name, a in known.items()}


# ---------------------------------------------------------------- the table


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
    settings = _text(args, "gate_params")
    parse_settings(settings, f"gate_params:={args['gate_params']}")  # refused here, before anything runs
    parameters = {
        "robot": args["robot"],
        "model": _model(args, contract) if args["brain"] or args["model"] else "",
        "use_sim_time": _sim_time(kind, args),
        "auto_enable": args["auto_enable"],
        "guardrails": _text(args, "guardrails"),
        "settings": settings,
        "command_kind": args.get("command_kind", ""),
        "command_topic": args.get("command_topic", ""),
        "compressed": args.get("compressed", False),
    }
    return _node(args, "safety_gate", parameters, remappings=_remaps(kind, args, contract), required=True)


def _sim(args: dict[str, Any]) -> NodeSpec:
    taken = ("robot", "gui", "layout", "layout_seed", "person", "randomise", "seed", "task", "distractors")
    parameters = {name: args[name] for name in (*taken, "real_time_factor")}
    parameters["start"] = _numbers(args, "start", 3)
    return _node(args, "sim", parameters, required=True)


def _runs_camera(wanted: str, contract: RobotContract) -> bool:
    return wanted == "true" or (wanted == "auto" and not contract.cameras[0].driven)


def _camera(args: dict[str, Any], contract: RobotContract) -> NodeSpec:
    parameters = {
        "robot": args["robot"],
        "device": args["device"],
        "use_sim_time": args["use_sim_time"],
        "compressed": args["compressed"],
    }
    parameters |= _extra(args, "camera_params", parameters)
    return _node(args, "camera", parameters, remappings=_remaps("robot", args, contract), respawn=True)


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
    remaps = _remaps(kind, args, contract)
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
        "model": _model(args, contract),
        "use_sim_time": _sim_time(kind, args),
        "threads": args["threads"],
        "autostart": args["autostart"],
    }
    perception = {**shared, "compressed": args.get("compressed", False)}
    perception |= _extra(args, "perception_params", perception)
    planner = {
        **shared,
        "seed": args["seed"],
        "memory": args["memory"],
        "guardrails": _text(args, "guardrails"),
        "costs": _mapping_text(args, "costs"),
        "command_topic": args.get("command_topic", ""),
        "command_kind": args.get("command_kind", ""),
    }
    planner |= _extra(args, "planner_params", planner)
    return perception, planner


def _recorder(kind: str, args: dict[str, Any], contract: RobotContract) -> NodeSpec:
    """`jepa-ros record`, in a process of its own; when it fails, the robot goes on."""
    words = ["jepa_ros.bags.record", "--quiet", "--robot", args["robot"]]
    if args["brain"]:
        words += ["--model", _model(args, contract)]
    for name in ("guardrails", "gate_params"):
        if args[name]:
            words += [f"--{name.replace('_', '-')}", args[name]]
    if args["bag"]:
        words += ["--output", args["bag"]]
    if _sim_time(kind, args):
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
    if _sim_time(kind, args):
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


# ---------------------------------------------------------------- values


def _sim_time(kind: str, args: dict[str, Any]) -> bool:
    return bool(args.get("use_sim_time", True)) if kind == "robot" else True


def _model(args: dict[str, Any], contract: RobotContract) -> str:
    given, shipped = args["model"], share_dir() / "models"
    if given and not Path(given).is_dir() and not (shipped / given).is_dir():
        raise BringupError(f"model:={given}: neither a folder nor one of the models in {shipped}")
    return given if given and Path(given).is_dir() else str(shipped / (given or contract.name))


def _remaps(kind: str, args: dict[str, Any], contract: RobotContract) -> tuple[tuple[str, str], ...]:
    """Remappings for the topics that were named otherwise; a state topic is renamed from the contract's name."""
    if kind != "robot":
        return ()
    pairs = []
    for topic in ROBOT_TOPICS:
        if args[topic]:
            own = own_topic(contract, topic)
            pairs.append((own, args[topic]))
            if topic in ("image", "goal_image"):
                pairs.append((f"{own}/compressed", f"{args[topic]}/compressed"))
    return tuple(pairs)


def own_topic(contract: RobotContract, name: str) -> str:
    """What the contract calls one of :data:`ROBOT_TOPICS`."""
    if name == "image":
        return contract.cameras[0].topic
    if name == "estop":
        return contract.estop_topic
    return contract.state[name].topic if name in contract.state else name


def _text(args: dict[str, Any], name: str) -> str:
    """The text of the file that an argument names; empty for none."""
    if not args[name]:
        return ""
    try:
        return Path(args[name]).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BringupError(f"{name}:={args[name]}: cannot be read: {error}") from None


def _mapping_text(args: dict[str, Any], name: str) -> str:
    """The text of a file that has to hold a mapping."""
    text = _text(args, name)
    load_mapping(text, f"{name}:={args[name]}", BringupError)
    return text


def _extra(args: dict[str, Any], name: str, own: Mapping[str, Any]) -> dict[str, Any]:
    """Further parameters of a node; those of ``own`` are arguments of bringup, which other nodes must have alike."""
    extra = load_mapping(_text(args, name), f"{name}:={args[name]}", BringupError)
    for key in extra:
        if key in own:
            raise BringupError(f"{name}:={args[name]}: {key} is an argument of its own: give {key}:=...")
    return extra


def _numbers(args: dict[str, Any], name: str, count: int) -> list[float]:
    """A list of numbers from 'a,b,c'; an empty text gives NaNs, ROS having no empty typed list on its command line."""
    if not args[name]:
        return [float("nan")] * count
    try:
        values = [float(part) for part in args[name].split(",")]
    except ValueError:
        values = []
    if len(values) != count:
        raise BringupError(f"{name}:={args[name]}: expected {count} numbers with commas between them")
    return values


# ---------------------------------------------------------------- as a command line


def ros_arguments(node: NodeSpec) -> list[str]:
    """The ``--ros-args ...`` of a process (what ros2 launch writes into a parameter file and remap rules)."""
    out = ["--ros-args", "--log-level", node.log_level]
    if node.node_name:
        out += ["-r", f"__node:={node.node_name}"]
    if not node.spread:
        out += ["-r", f"__ns:={absolute(node.namespace)}"]
    for name, value in node.parameters.items():
        out += ["-p", f"{name}:={yaml_value(value)}"]
    for source, target in node.remappings:
        out += ["-r", f"{source}:={target}"]
    return out


def absolute(namespace: str) -> str:
    """A namespace with its leading slash ('' becomes '/')."""
    return "/" + namespace.strip("/")


_SCALARS: dict[type, Callable[[Any], str]] = {
    bool: lambda v: "true" if v else "false",
    int: str,
    float: lambda v: ".nan" if v != v else ".inf" if v == float("inf") else "-.inf" if v == -float("inf") else repr(v),
}


def yaml_value(value: Any) -> str:
    """A parameter's value as YAML that ROS reads back with the same type (texts always in quotes)."""
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(yaml_value(v) for v in value) + "]"
    if type(value) in _SCALARS:
        return _SCALARS[type(value)](value)
    return yaml.safe_dump(str(value), default_style='"', width=1_000_000, allow_unicode=True).strip()
