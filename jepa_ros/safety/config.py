# SPDX-License-Identifier: Apache-2.0
"""The settings of the gate: the contract's limits and times, and the few that are the gate's own."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from jepa_ros.ranges import Range
from jepa_ros.safety import arm as arms
from jepa_ros.safety import guarded, settings
from jepa_ros.safety.body import Body, Positions, Rates
from jepa_ros.safety.guardrails import GuardrailSet, parse_guardrails
from jepa_ros.safety.settings import COMPONENTS, GateConfigError, default

if TYPE_CHECKING:
    from jepa_ros.contract import RobotContract

__all__ = ["COMPONENTS", "GateConfig", "GateConfigError"]

#: What counts as measured motion: a share of the velocity limit, at most so much by the unit of the axis, and at least
#: so many standard deviations of what the sensor tells at rest.
MOTION_SHARE, MOTION, MOTION_SIGMA = 0.1, {"m/s": 0.03, "rad/s": 0.15}, 4.0

#: Where the gate slows down and where it stops, on the scale on which a model with levels tells surprise and novelty.
LEVELS = (1.0, 2.0)


def watched(card: Mapping[str, Any] | None) -> dict[str, tuple[float, float]]:
    """The signals that the gate can watch with the model of a card, as settings; empty for one without levels."""
    levels = (((card or {}).get("calibration") or {}).get("vigilance") or {}).get("levels") or {}
    parts = {"surprise": ("motion", "scene"), "novelty": ("familiar",)}
    return {name: LEVELS for name, measures in parts.items() if any(m in levels for m in measures)}


@dataclass(frozen=True)
class GateConfig:
    """Everything that a step needs to know beforehand. Times in s, per-axis numbers in the action's units.

    Attributes:
        output: "velocity" or "position" (what the values of a command are).
        low, high: allowed range of a command (A,): rates that the planner may search and the machine can do, positions
            that the machine can reach; velocity, acceleration, braking: limits (A,).
        position_low, position_high: joint limits, None for a base.
        forward, sideways, up, turn: index of linear.x, linear.y, linear.z, angular.z in the action, None where it has
            none. tilts: it has angular.x or angular.y.
        motion: measured speed that counts as motion (A,). force: (slow, stop) levels of the wrist's force [N] or None.
        stop: "ramp" (guaranteed braking) or "zero", for the stops that are not urgent.
        states: {state topic: (timeout, required)}.
        heartbeats: components that must beat. image_required, signals_required, identities_required: as they say.
        reaction_time: from a command's leaving until the robot obeys it.
        pose_sigma: how many standard deviations of the pose count as margin.
        pose_uncertainty: a margin of a pose larger than this is no place: the pose counts as lost [m].
        pose_travel, pose_turn: so far may the robot go [m] and turn [rad] before a latched localisation speaks again.
        region_margin: room kept to regions for what is not modelled [m].
        obstacle_margin: room kept to what the scan sees [m]; time_to_contact: kept at the speed asked for.
        scan_offset: (x, y, yaw) of the lidar in the base frame. scan_frame: its name. scan_no_return: what the lidar
            writes, besides +inf, where a beam comes back from nowhere ("zero", "nan").
        escape_speed: share of the velocity limit that is allowed out of a forbidden region.
        surprise, novelty: (slow, stop) levels, None: not watched; see :func:`watched`.
        slow_scale: share of the command left when slow.
        teleop_release: the planner drives again so long after teleoperation's last message.
        clock_timeout: ROS time that does not move for so long is a paused clock.
        motion_tolerance: share of each velocity limit by which the measured velocity may be off the commanded one for
            longer than motion_timeout [s]; 0: not watched.
        late_tick: two ticks further apart than this: everything is armed anew.
        contact_response: "ignore", "back_off" (only away from the push, slowly) or "stop".
        identity_grace: so long may the guardrail sets differ while moving, for a change that reaches all in turn.
        axes: what an operator calls the action dimensions: names of joints or of a base's axes.
        arm: what is known of an arm besides its joints; None for any other body.
        self_collision: whether the links of an arm are kept apart. self_distance, self_margin, scene_distance: how near
            they come to each other, and to boxes, before they go slowly, and before they stop [m].
        singularity: (slow, stop) condition number of an arm's Jacobian, None: not watched.
        joint_margin: an arm goes slowly so near to the end of a joint that turns [rad].
        first_command: a stream of positions begins no further than so from where the arm is measured [rad].
        auto_enable: arm without being asked. shadow: decide and report, somebody else drives. dry_run: nothing leaves.
    """

    name: str
    output: str
    kinematics: str
    units: tuple[str, ...]
    period: float
    low: tuple[float, ...]
    high: tuple[float, ...]
    velocity: tuple[float, ...]
    acceleration: tuple[float, ...]
    braking: tuple[float, ...]
    command_timeout: float
    image_timeout: float
    heartbeat_timeout: float
    rearm_time: float
    stamp_tolerance: float
    max_stamp_age: float
    exit_duration: float
    estop_required: bool
    estop_timeout: float
    bad_command_latch: int
    resume_latch_count: int
    resume_latch_window: float
    stop_motion_timeout: float
    stop: str = default("stop")
    position_low: tuple[float, ...] | None = None
    position_high: tuple[float, ...] | None = None
    joints: tuple[str, ...] = ()
    axes: tuple[str, ...] = ()
    forward: int | None = None
    sideways: int | None = None
    up: int | None = None
    turn: int | None = None
    tilts: bool = False
    map_frame: str = "map"
    odom_frame: str = "odom"
    base_frame: str = "base_link"
    scan_frame: str = default("scan_frame")
    scan_offset: tuple[float, float, float] = default("scan_offset")
    scan_no_return: tuple[str, ...] = ()
    footprint_radius: float = 0.0
    states: dict[str, tuple[float, bool]] = field(default_factory=dict)
    guardrails: GuardrailSet = field(default_factory=GuardrailSet)
    image_required: bool = default("image_required")
    heartbeats: tuple[str, ...] = default("heartbeats")
    signals_required: bool = default("signals_required")
    signals_timeout: float = default("signals_timeout")
    identities_required: tuple[str, ...] = default("identities_required")
    identity_grace: float = default("identity_grace")
    reaction_time: float = default("reaction_time")
    pose_sigma: float = default("pose_sigma")
    pose_uncertainty: float = default("pose_uncertainty")
    pose_travel: float = default("pose_travel")
    pose_turn: float = default("pose_turn")
    region_margin: float = default("region_margin")
    obstacle_margin: float = default("obstacle_margin")
    time_to_contact: float = default("time_to_contact")
    escape_speed: float = default("escape_speed")
    surprise: tuple[float, float] | None = default("surprise")
    novelty: tuple[float, float] | None = default("novelty")
    slow_scale: float = default("slow_scale")
    teleop_release: float = default("teleop_release")
    clock_timeout: float = default("clock_timeout")
    late_tick: float = default("late_tick")
    frozen_images: int = default("frozen_images")
    motion_tolerance: float = default("motion_tolerance")
    motion_timeout: float = default("motion_timeout")
    people_timeout: float = default("people_timeout")
    contact_response: str = default("contact_response")
    motion: tuple[float, ...] = ()
    force: tuple[float, float] | None = None
    hold_tolerance_rad: float = default("hold_tolerance_rad")
    hold_tolerance_m: float = default("hold_tolerance_m")
    arm: arms.ArmFacts | None = None
    self_collision: bool = default("self_collision")
    self_distance: float = default("self_distance")
    self_margin: float = default("self_margin")
    scene_distance: float = default("scene_distance")
    singularity: tuple[float, float] | None = default("singularity")
    joint_margin: float = default("joint_margin")
    first_command: float = default("first_command")
    auto_enable: bool = False
    shadow: bool = default("shadow")
    dry_run: bool = default("dry_run")

    #: Allowed joint positions (low, high): the contract's, and those of the guardrails. None for a base.
    joint_range: tuple[tuple[float, ...], tuple[float, ...]] | None = field(init=False, default=None)
    #: What stop, slow and stand still are for it.
    body: Body = field(init=False, repr=False, compare=False)
    #: Index of each linear axis of a base in the action.
    linear: tuple[int, ...] = field(init=False, default=())

    def __post_init__(self) -> None:
        self._check_axes()
        self._check_settings()
        if self.kinematics in ("joints", "arm") and not self.states.get("joint_states", (0.0, False))[1]:
            raise GateConfigError(
                f"gate: '{self.name}' is moved by joints, and a stop holds their measured positions: the contract has "
                "to declare the state topic 'joint_states'"
            )
        object.__setattr__(self, "joint_range", self._joint_range())
        object.__setattr__(self, "body", Positions(self) if self.by_position else Rates(self))
        linear = tuple(k for k in (self.forward, self.sideways, self.up) if k is not None)
        object.__setattr__(self, "linear", linear)
        for guardrail in self.guardrails:
            why = guarded.refusal(guardrail.kind, guarded.Facts.of(self), guardrail.spatial)
            if why is not None:
                raise GateConfigError(f"gate: guardrail '{guardrail.name}' ({guardrail.kind}) of '{self.name}' {why}")
        for guardrail in self.guardrails:
            own = self.arm.arm.base_frame if self.arm is not None and guardrail.spatial else self.map_frame
            if guardrail.frame not in ("", own):
                what = "links are" if guardrail.spatial else "pose is"
                raise GateConfigError(
                    f"gate: guardrail '{guardrail.name}' is in frame '{guardrail.frame}'; the robot's {what} in '{own}'"
                )
        if self.arm is not None and (why := arms.refusal(self)) is not None:
            raise GateConfigError(f"gate: {why}")

    def _joint_range(self) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
        low, high = self.position_low, self.position_high
        for g in self.guardrails.of("joint_limits"):
            if low is None or high is None or len(g.low) != self.size:
                raise GateConfigError(
                    f"gate: guardrail '{g.name}' limits {len(g.low)} joints; '{self.name}' has "
                    f"{0 if low is None else self.size}"
                )
            low = tuple(max(a, b - g.threshold) for a, b in zip(low, g.low, strict=True))
            high = tuple(min(a, b + g.threshold) for a, b in zip(high, g.high, strict=True))
            if any(a >= b for a, b in zip(low, high, strict=True)):
                raise GateConfigError(f"gate: guardrail '{g.name}' leaves a joint no room: {low} to {high}")
        return None if low is None or high is None else (low, high)

    def _check_axes(self) -> None:
        size = len(self.low)
        for name in ("high", "velocity", "acceleration", "braking", "units", "motion"):
            if len(getattr(self, name)) != size:
                raise GateConfigError(f"gate: {name}: expected {size} entries, found {len(getattr(self, name))}")
        for name in ("velocity", "acceleration", "braking", "motion"):
            if not all(0.0 < v < math.inf for v in getattr(self, name)):
                raise GateConfigError(f"gate: {name}: expected finite numbers above 0, found {getattr(self, name)}")
        for i, (low, high) in enumerate(zip(self.low, self.high, strict=True)):
            if not -math.inf < low < high < math.inf:
                raise GateConfigError(f"gate: axis {i}: expected finite low < high, found {low}, {high}")
            if self.output == "velocity" and not low <= 0.0 <= high:
                raise GateConfigError(f"gate: axis {i}: a velocity range has to hold 0, found {low}..{high}")

    def _check_settings(self) -> None:
        wrong = settings.fault(vars(self))
        if wrong is not None:
            raise GateConfigError(f"gate: {wrong}")
        if not isinstance(self.auto_enable, bool):
            raise GateConfigError(f"gate: auto_enable: expected true or false, found {self.auto_enable!r}")
        times = {"period": self.period, **{f"states.{name}": timeout for name, (timeout, _) in self.states.items()}}
        for name, value in times.items():
            if problem := Range(0.0, above=True, unit="s").problem(value):
                raise GateConfigError(f"gate: {name}: {problem}")
        if problem := Range(0.0, unit="m").problem(self.footprint_radius):
            raise GateConfigError(f"gate: footprint_radius: {problem}")
        if not self.late_tick > 2.0 * self.period:
            least = 2.0 * self.period
            raise GateConfigError(f"gate: late_tick: expected over two ticks ({least:g} s), found {self.late_tick:g}")

    @property
    def by_position(self) -> bool:
        """Whether commands are joint positions, and not rates."""
        return self.output == "position"

    @property
    def hold_tolerance(self) -> tuple[float, ...]:
        """How far a joint is off its set-point when it counts as moved, (A,) [rad or m]."""
        return tuple(self.hold_tolerance_m if u == "m" else self.hold_tolerance_rad for u in self.units)

    def axis(self, k: int) -> str:
        """What an operator calls action dimension ``k``: the joint's or the axis's name."""
        return self.axes[k] if self.axes else f"axis {k}"

    @property
    def size(self) -> int:
        """Number of action dimensions, A."""
        return len(self.low)

    @property
    def needs_signals(self) -> bool:
        """Whether the planner's signals have to come: asked for, or watched for something only the planner knows."""
        return bool(self.signals_required or self.surprise or self.novelty or self.guardrails.from_planner)

    @cached_property
    def fastest_way(self) -> tuple[float, float]:
        """(fastest speed [m/s], longest braking time [s]) of a base, which bound every way that it may still go."""
        fast = math.hypot(*(self.velocity[k] for k in self.linear))
        return fast, max(v / b for v, b in zip(self.velocity, self.braking, strict=True))

    @property
    def stop_time(self) -> float:
        """A ramp from full speed to standstill takes at most this long [s]."""
        return max(v / b for v, b in zip(self.velocity, self.braking, strict=True)) + self.period

    def replace(self, **changes: Any) -> GateConfig:
        """A copy with some settings changed, checked again."""
        return dataclasses.replace(self, **changes)

    @staticmethod
    def from_contract(contract: RobotContract, **overrides: Any) -> GateConfig:
        """The settings that a contract gives; ``overrides`` are fields of this class.

        Raises:
            GateConfigError: a field that does not exist, or a setting that cannot be used.
            GuardrailError: the contract's guardrails are wrong.
        """
        known = {f.name for f in dataclasses.fields(GateConfig) if f.init}
        for name in overrides:
            if name not in known:
                free = sorted(known - settings.OF_THE_CONTRACT)
                raise GateConfigError(f"gate: '{name}' is no setting; known: {', '.join(free)}")
            if name in settings.OF_THE_CONTRACT:
                raise GateConfigError(f"gate: '{name}' is told by the robot's contract: change it there")
        return GateConfig(**(_from_contract(contract) | overrides))


def _motion(contract: RobotContract, units: tuple[str, ...], velocity: tuple[float, ...]) -> tuple[float, ...]:
    """Measured speed that counts as motion, (A,): from the robot's limits and its sensor's noise at rest."""
    sensor = contract.state.get("joint_states" if contract.jointed else "odom")
    noise = (sensor.noise if sensor is not None else None) or {}
    return tuple(
        max(min(MOTION[unit], MOTION_SHARE * v), MOTION_SIGMA * noise.get(dim.name, 0.0))
        for dim, unit, v in zip(contract.axes, units, velocity, strict=True)
    )


def _from_contract(contract: RobotContract) -> dict[str, Any]:
    limits, dog, names = contract.limits, contract.watchdog, [a.name for a in contract.axes]
    units = tuple(a.unit for a in contract.axes)
    positions = units[0] in ("rad", "m")
    if any((u in ("rad", "m")) != positions for u in units):
        raise GateConfigError(f"gate: robot '{contract.name}' mixes positions and velocities in one action: {units}")
    velocity = tuple(float(v) for v in limits.velocity)
    low, high = [a.low for a in contract.axes], [a.high for a in contract.axes]
    position_low = position_high = None
    if limits.position_low is not None and limits.position_high is not None:
        position_low, position_high = tuple(limits.position_low.tolist()), tuple(limits.position_high.tolist())
    if positions and position_low is not None and position_high is not None:
        low, high = list(position_low), list(position_high)  # what the planner may search is less than this
    elif not positions:
        low = [max(a, -v) for a, v in zip(low, velocity, strict=True)]
        high = [min(a, v) for a, v in zip(high, velocity, strict=True)]
    guardrails = parse_guardrails(list(contract.guardrails))
    joints = contract.jointed
    states = {k: (s.timeout, s.required or (joints and k == "joint_states")) for k, s in contract.state.items()}
    rates = tuple(u if u.endswith("/s") else f"{u}/s" for u in units)
    contact, people, wrench, scan = (contract.state.get(name) for name in ("contact", "people", "wrench", "scan"))
    return {
        "name": contract.name,
        "output": "position" if positions else "velocity",
        "kinematics": contract.kinematics.kind,
        "units": units,
        "period": 1.0 / contract.gate_rate,
        "low": tuple(low),
        "high": tuple(high),
        "velocity": velocity,
        "acceleration": tuple(float(v) for v in limits.acceleration),
        "braking": tuple(float(v) for v in limits.braking),
        "position_low": position_low,
        "position_high": position_high,
        "arm": arms.ArmFacts.of(contract),
        "joints": tuple(contract.command.joints) or (tuple(names) if joints else ()),
        "axes": tuple(contract.command.joints) or tuple(names),
        "forward": names.index("linear.x") if "linear.x" in names else None,
        "sideways": names.index("linear.y") if "linear.y" in names else None,
        "up": names.index("linear.z") if "linear.z" in names else None,
        "turn": names.index("angular.z") if "angular.z" in names else None,
        "tilts": "angular.x" in names or "angular.y" in names,
        "map_frame": contract.frames.map,
        "odom_frame": contract.frames.odom,
        "base_frame": contract.frames.base,
        "scan_frame": contract.frames.base,
        **contract.lidar(),
        "scan_no_return": (scan.no_return or ()) if scan is not None else (),
        "footprint_radius": contract.footprint.radius,
        "states": states,
        "guardrails": guardrails,
        "motion": _motion(contract, rates, velocity),
        "stop": contract.stop,
        "signals_timeout": dog.command_timeout,
        **({} if people is None else {"people_timeout": people.timeout}),
        "reaction_time": max(contract.actuation_latency, 1.0 / contract.gate_rate),
        "contact_response": "ignore" if contact is None else "stop" if joints else "back_off",
        "force": None if wrench is None else (wrench.slow, wrench.stop),
        **{name: getattr(dog, name) for name in vars(dog)},
    }
