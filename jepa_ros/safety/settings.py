# SPDX-License-Identifier: Apache-2.0
"""The ONE table of the gate's settings: type, range, default, unit and meaning of each. The check of ``GateConfig``,
the node's parameter ``settings``, the errors and the table in ``docs/safety.md`` all come from it.

A NaN passes every comparison that it should fail, and a negative margin gives away what a guardrail asks for: neither
gets in, whoever sets it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jepa_ros.errors import JepaRosError
from jepa_ros.ranges import Range
from jepa_ros.suggest import did_you_mean
from jepa_ros.yaml_text import load_mapping

COMPONENTS = ("perception", "planner")
IDENTITIES = ("model/perception", "model/planner", "guardrails/planner")
#: Whence a setting comes: besides the contract from the node's parameter ``settings``, or from the contract alone.
FREE, WATCHDOG = "settings", "contract"


class GateConfigError(JepaRosError):
    """A setting of the gate that cannot be used; the message names it and says what was expected."""


@dataclass(frozen=True)
class Setting:
    """One setting.

    Attributes:
        kind: number, count (a whole number), switch, names (a list of some words), levels ([slow, stop] or null),
            place ([x, y, yaw]), choice (one of some words) or text.
        default: its value where neither the contract nor anybody says otherwise; ``told``: what the documents say of
            it, where the value alone would not be the whole truth.
        low, high: range of a number; ``open``: the lowest itself is not allowed.
        node: its default in the node ``safety_gate``, which stands in a graph with planner and perception, where that
            differs. source: who may set it.
    """

    name: str
    kind: str
    default: Any
    unit: str
    what: str
    low: float = 0.0
    high: float = 60.0
    open: bool = False
    words: tuple[str, ...] = ()
    told: str = ""
    node: Any = None
    source: str = FREE

    @property
    def range(self) -> Range:
        """Of a number."""
        return Range(self.low, self.high, self.open, self.kind == "count", self.unit)

    @property
    def expected(self) -> str:
        """What a value has to be."""
        return {
            "number": str(self.range),
            "count": str(self.range),
            "switch": "true or false",
            "names": f"a list of some of {', '.join(self.words)}",
            "levels": "[slow, stop] with 0 < slow <= stop, or null",
            "place": "[x, y, yaw] in m and rad",
            "choice": ", ".join(self.words[:-1]) + (f" or {self.words[-1]}" if self.words else ""),
            "text": "a text",
        }[self.kind]

    def holds(self, value: Any) -> bool:
        """Whether a value can be used."""
        if self.kind in ("number", "count"):
            return self.range.holds(value)
        if self.kind == "switch":
            return isinstance(value, bool)
        if self.kind == "names":
            return isinstance(value, (list, tuple)) and all(isinstance(v, str) and v in self.words for v in value)
        if self.kind == "levels":
            pair = isinstance(value, (list, tuple)) and len(value) == 2 and all(map(Range().holds, value))
            return value is None or bool(pair and 0.0 < value[0] <= value[1])
        if self.kind == "place":
            return isinstance(value, (list, tuple)) and len(value) == 3 and all(map(Range().holds, value))
        if self.kind == "choice":
            return isinstance(value, str) and value in self.words
        return isinstance(value, str) and bool(value.strip())


def _time(name: str, default: Any, what: str, high: float = 60.0, **more: Any) -> Setting:
    """A time in s, above 0."""
    return Setting(name, "number", default, "s", what, high=high, open=True, **more)


def _watchdog(name: str, what: str, low: float = 0.0, high: float = 3600.0, open: bool = True) -> Setting:
    """A time in s that the contract tells."""
    return Setting(name, "number", None, "s", what, low, high, open, source=WATCHDOG)


_TABLE = (
    Setting("reaction_time", "number", 0.1, "s", "from when a command leaves until the base obeys it", high=5.0,
            told="the contract's `actuation_latency`, at least a tick"),
    Setting("pose_sigma", "number", 2.0, "", "standard deviations of the pose kept as margin", high=10.0),
    Setting("pose_uncertainty", "number", 0.5, "m",
            "a pose whose margin is larger counts as lost (where a guardrail needs it)", high=100.0, open=True),
    Setting("pose_travel", "number", 0.25, "m", "a latched localisation sends a new pose after this distance"
            " (AMCL: `update_min_d`)", high=10.0, open=True),
    Setting("pose_turn", "number", 0.2, "rad", "the same for a turn (AMCL: `update_min_a`)", high=10.0, open=True),
    Setting("region_margin", "number", 0.005, "m", "distance kept to regions for what is not modelled", high=10.0),
    Setting("obstacle_margin", "number", 0.02, "m", "distance kept to obstacles in the scan", high=10.0),
    Setting("time_to_contact", "number", 0.2, "s", "time kept to obstacles in the scan, at the commanded speed"),
    Setting("scan_frame", "text", "base_link", "", "frame of the lidar's messages",
            told="the contract's `state.scan.frame`, else the base frame"),
    Setting("scan_offset", "place", (0.0, 0.0, 0.0), "m, rad", "where the lidar stands in the base frame: x, y, yaw",
            told="the contract's `state.scan.offset`, else 0 0 0"),
    Setting("escape_speed", "number", 0.25, "", "fraction of the velocity limits on the way out of a forbidden"
            " region, and away from a contact", high=1.0, open=True),
    Setting("surprise", "levels", None, "", "levels of the planner's signal; `[1, 2]` are those of the model card,"
            " `null` switches it off", told="`[1, 2]` if the model card has levels, else off"),
    Setting("novelty", "levels", None, "", "the same for novelty", told="as `surprise`"),
    Setting("slow_scale", "number", 0.3, "", "fraction of the command that passes when slow", high=1.0),
    Setting("signals_required", "switch", False, "", "stop a planner that publishes no `signals`; implied by a level or"
            " a guardrail that needs them", told="true", node=True),
    _time("signals_timeout", 1.0, "without the planner's signals: `signals_lost`", told="the contract's"
            " `command_timeout`"),
    Setting("identities_required", "names", (), "", "identities that must be known and agree before the gate follows"
            " the planner", words=IDENTITIES, told="all three", node=IDENTITIES),
    Setting("identity_grace", "number", 1.0, "s", "how long the guardrail sets may differ while the robot moves,"
            " since a change reaches the nodes one after the other"),
    Setting("heartbeats", "names", COMPONENTS, "", "components whose heartbeat is required", words=COMPONENTS,
            told="perception, planner"),
    Setting("image_required", "switch", True, "", "stop the robot if no new image comes, unless teleoperation drives"),
    Setting("contact_response", "choice", "ignore", "", "what the bumper does", words=("ignore", "back_off", "stop"),
            told="if the contract has `contact`, required or not: `back_off` for a base, `stop` for joints; else"
            " `ignore`"),
    Setting("hold_tolerance_rad", "number", 0.05, "rad", "a joint commanded by position that is measured this far"
            " from its set-point, while the gate is disabled, latched or not yet armed, was moved: the set-point"
            " follows it",
            high=10.0, open=True),
    Setting("hold_tolerance_m", "number", 0.005, "m", "the same for a prismatic joint", high=10.0, open=True),
    Setting("self_collision", "switch", True, "", "whether an arm keeps its links apart"),
    Setting("self_distance", "number", 0.01, "m", "an arm goes slowly if two of its links come nearer than this",
            high=1.0),
    Setting("self_margin", "number", 0.003, "m", "it stops before two of its links come nearer than this", high=1.0),
    Setting("scene_distance", "number", 0.02, "m", "an arm goes slowly if a link comes nearer than this to the edge"
            " of a box", high=1.0),
    Setting("singularity", "levels", (17.0, 30.0), "", "condition numbers of an arm's Jacobian at which it goes"
            " slowly and stops, unless it moves away; `null` switches it off", told="`[17, 30]`"),
    Setting("joint_margin", "number", 0.1, "rad", "an arm goes slowly if a joint is this near to its end", high=10.0),
    Setting("first_command", "number", 0.2, "rad", "a stream of positions for an arm may begin this far from the"
            " measured positions", high=10.0, open=True),
    Setting("frozen_images", "count", 3, "", "so many images with bytes seen before, while moving, count as frozen",
            1, 1000),
    Setting("motion_tolerance", "number", 0.2, "", "how far the measured velocity may be from the commanded one, as a"
            " fraction of the velocity limit; 0 switches it off", high=10.0),
    _time("motion_timeout", 0.1, "how long it may be further off", high=10.0),
    _time("clock_timeout", 0.3, "a ROS clock that does not move for this long counts as paused"),
    _time("late_tick", 0.25, "two ticks further apart than this: the gate arms again (over two periods)"),
    Setting("teleop_release", "number", 1.0, "s", "how long after the last teleoperation message the planner drives"
            " again"),
    Setting("shadow", "switch", False, "", "somebody else drives; the gate decides and reports, and publishes no"
            " command"),
    Setting("dry_run", "switch", False, "", "the whole stack runs, and the gate publishes no command"),
    Setting("stop", "choice", "ramp", "", "how it stops where there is time", words=("ramp", "zero"), source=WATCHDOG),
    _watchdog("command_timeout", "without a command: stop"),
    _watchdog("image_timeout", "without a new image: stop"),
    _watchdog("heartbeat_timeout", "without a sign of life: stop"),
    _watchdog("rearm_time", "inputs must have been good for so long", open=False),
    _watchdog("stamp_tolerance", "a stamp may lie so far in the future", open=False),
    _watchdog("max_stamp_age", "a command may come from an image that old"),
    _watchdog("exit_duration", "stops are sent for so long before it exits", open=False),
    _watchdog("estop_timeout", "without the e-stop's publisher: latch"),
    _watchdog("resume_latch_window", "window of resume_latch_count"),
    _watchdog("stop_motion_timeout", "motion so long after a stop latches"),
    Setting("people_timeout", "number", 0.5, "s", "nobody says where people are for so long: they may be anywhere",
            open=True, high=3600.0, told="the contract's `state.people.timeout`", source=WATCHDOG),
    Setting("estop_required", "switch", None, "", "a publisher of the e-stop must exist", source=WATCHDOG),
    Setting("bad_command_latch", "count", None, "", "so many malformed commands latch", 1, 1e6, source=WATCHDOG),
    Setting("resume_latch_count", "count", None, "", "resuming more often latches", 1, 1e6, source=WATCHDOG),
)  # fmt: skip
SETTINGS: dict[str, Setting] = {s.name: s for s in _TABLE}
#: Those that may be set beside the contract.
FREE_SETTINGS = tuple(s for s in _TABLE if s.source == FREE)
#: What the robot is, which only its contract tells.
OF_THE_CONTRACT = frozenset((
    "name", "output", "kinematics", "units", "period", "low", "high", "velocity", "acceleration", "braking",
    "position_low", "position_high", "joints", "forward", "sideways", "up", "turn", "tilts", "map_frame",
    "odom_frame", "base_frame", "footprint_radius", "states", "motion", "force", "scan_no_return", "arm",
))  # fmt: skip
#: What the node takes as a parameter of its own.
OF_THE_NODE = ("guardrails", "auto_enable")


def default(name: str) -> Any:
    """The default of a setting."""
    return SETTINGS[name].default


def fault(values: Mapping[str, Any]) -> str | None:
    """``name: expected ..., found ...`` of the first value that cannot be used, or None; what is no setting is left."""
    for name, value in values.items():
        setting = SETTINGS.get(name)
        if setting is not None and not setting.holds(value):
            return f"{name}: expected {setting.expected}, found {value!r:.80}"
    return None


def parse(text: str, where: str = "settings") -> dict[str, Any]:
    """The settings in a YAML text (``{name: value}``), each one checked; empty text sets nothing.

    Raises:
        GateConfigError: no YAML, no mapping, a name that cannot be set there, or a value that cannot be used.
    """
    found = load_mapping(text, where, GateConfigError)
    free = [s.name for s in FREE_SETTINGS]
    for name in found:
        if name in free:
            continue
        if name in OF_THE_CONTRACT or name in SETTINGS:
            raise GateConfigError(f"{where}: '{name}' is told by the robot's contract: change it there")
        if name in OF_THE_NODE:
            raise GateConfigError(f"{where}: '{name}' is a parameter of the gate's node by itself: set that")
        hint = did_you_mean(str(name), free) or f"; known: {', '.join(free)}"
        raise GateConfigError(f"{where}: '{name}' is no setting{hint}")
    wrong = fault(found)
    if wrong is not None:
        raise GateConfigError(f"{where}: {wrong}")
    return {name: tuple(v) if isinstance(v, list) else v for name, v in found.items()}


def of_node(text: str, model: Mapping[str, Any], where: str = "settings") -> dict[str, Any]:
    """What the node ``safety_gate`` sets beside the contract: its own defaults, over them what its model's card says
    (:func:`jepa_ros.safety.config.watched`), over that a text.

    Raises:
        GateConfigError: as :func:`parse`.
    """
    own = {s.name: s.node for s in FREE_SETTINGS if s.node is not None}
    return {**own, **model, **parse(text, where)}


def table() -> str:
    """The settings as the Markdown table of ``docs/safety.md``."""
    rows = ["| setting | expected | default | what it is |", "|---|---|---|---|"]
    for s in FREE_SETTINGS:
        shown = s.told or (str(s.default).lower() if isinstance(s.default, bool) else str(s.default))
        rows.append(f"| `{s.name}` | {s.expected} | {shown} | {s.what} |")
    return "\n".join(rows)
