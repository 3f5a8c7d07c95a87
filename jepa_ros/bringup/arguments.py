# SPDX-License-Identifier: Apache-2.0
"""The arguments ``name:=value`` of ``jepa-ros up`` and of the launch files: what there is, and what a text means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jepa_ros.contract.topics import COMMAND_TYPES, STATE_TYPES
from jepa_ros.errors import JepaRosError
from jepa_ros.names import is_namespace, is_topic
from jepa_ros.ranges import Range
from jepa_ros.suggest import did_you_mean

KINDS = ("sim", "robot", "replay", "fleet")
#: Topics that a robot's own drivers may publish or take under another name; each is an argument of `robot`.
ROBOT_TOPICS = (
    "image", *STATE_TYPES, "estop", "goal_image", "goal_pose"
)  # fmt: skip


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
    Argument("memory", "", "Folder of the planner's long-term memory, made if missing; empty keeps nothing."),
    Argument("memory_read_only", False, "Read the memory, never write it: several robots can share it."),
    Argument("brain", True, "Run perception and planner; false: only gate and robot, to drive by hand or explore."),
    Argument("console", False, "Serve the operator's page on http://localhost:8765 (see docs/console.md)."),
    Argument("foxglove", False, "Serve Foxglove and Lichtblick on ws://localhost:8766 (see docs/console.md)."),
    Argument("foxglove_control", False, "Foxglove may give goals, enable, reset and drive. It may always stop."),
    Argument("record", False, "Record every topic into a bag."),
    Argument("bag", "", "Folder of the bag; empty for rosbag2_<time> in the current folder."),
    Argument("autostart", True, "Configure and activate perception and planner at the start."),
    Argument("log_level", "info", "Log level of the nodes.", ("debug", "info", "warn", "error")),
)
_OWN_CLOCK = Argument(
    "own_clock", False, "Simulated time per namespace (topic clock), for several simulated robots in one domain."
)
_SIM = (
    Argument("auto_enable", True, "The gate arms by itself; false: it waits for ~/enable."),
    Argument("gui", False, "Show PyBullet's window."),
    Argument("layout", "fixed", "Obstacles of the arena.", ("fixed", "random", "maze", "dead_end")),
    Argument("layout_seed", 0, "Seed of the layout, or of the task's episodes.", least=0, most=2**31 - 1),
    Argument("task", "", "Task whose episodes are run; empty: the world's first, in the arena none."),
    Argument("start", "", "Start pose 'x,y,yaw' (m, rad); empty: random, from the seed."),
    Argument("person", "none", "A person who walks about in the arena.", ("none", "random")),
    Argument("randomise", False, "Draw lighting, colours, camera pose and slip from the seed."),
    Argument("distractors", 0, "Objects on the table that have no part in the task.", least=0, most=100),
    Argument("real_time_factor", 1.0, "Simulated seconds per second.", least=0.01, most=100.0),
    _OWN_CLOCK,
)
_ROBOT = (
    Argument("auto_enable", False, "The gate arms by itself; false: it waits for ~/enable."),
    Argument("gate", True, "Run the gate; false if it runs on another machine."),
    Argument("use_sim_time", False, "Take the time from /clock (another simulator)."),
    Argument(
        "camera", "auto", "Run the camera node; auto: unless the contract names a driver's topic.",
        ("auto", "true", "false"),
    ),
    Argument("device", "0", "Camera: a device number or path, a video file, or an RTSP address."),
    Argument("camera_params", "", "YAML file with further parameters of the camera node ({name: value})."),
    Argument("compressed", False, "Use image/compressed instead of image."),
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
    Argument("auto_enable", True, "The gate arms by itself; false: it waits for ~/enable."),
    Argument("compressed", False, "Use image/compressed instead of image."),
    Argument("play", "", "Bag to play; empty: wait for `jepa-ros replay BAG` from another terminal.", kind="path"),
    Argument("rate", 1.0, "Speed of the bag relative to real time.", least=0.0, most=1000.0),
    Argument("loop", False, "Start the bag again at its end."),
)


_FLEET = (
    Argument("robots", "", "Namespaces of the robots, separated by commas."),
    Argument("workers", 2, "Threads that share the robots; one per core is best.", least=1, most=256),
    Argument("use_sim_time", False, "Take the time from /clock (another simulator)."),
    _OWN_CLOCK,
)
#: Of the common arguments those that a process without gate, sensors and robot has.
_OF_FLEET = (
    "robot", "model", "threads", "seed", "planner_params", "perception_params", "guardrails", "costs", "memory",
    "memory_read_only", "autostart", "log_level",
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
