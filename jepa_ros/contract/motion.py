# SPDX-License-Identifier: Apache-2.0
"""Reading what a contract says about motion: kinematics, actions, commands, limits."""

from __future__ import annotations

from typing import Any

import numpy as np

from jepa_ros.contract.fields import Fields
from jepa_ros.contract.parts import ActionDim, Arm, Command, Gripper, Kinematics, Limits, Payload
from jepa_ros.contract.topics import COMMAND_TYPES

KINEMATICS_KINDS = ("diff_drive", "holonomic", "joints", "arm")
#: The components of a Twist that an action dimension of a mobile base may drive, with their unit (REP-103).
TWIST_UNITS = {
    "linear.x": "m/s",
    "linear.y": "m/s",
    "linear.z": "m/s",
    "angular.x": "rad/s",
    "angular.y": "rad/s",
    "angular.z": "rad/s",
}
#: What the names of an arm's actions begin with, and the one of them that is no component of the tip's twist.
TIP, GRIPPER = "tip.", "gripper"
JOINT_UNITS = ("rad", "m", "rad/s", "m/s")


def kinematics_of(f: Fields) -> Kinematics:
    """How the robot moves."""
    kind = f.text("kind", choices=KINEMATICS_KINDS)
    kinematics = Kinematics(kind)
    if kind == "diff_drive":
        radius, separation = (f.number(k, above=0.0, unit="m") for k in ("wheel_radius", "wheel_separation"))
        kinematics = Kinematics(kind, radius, separation)
    elif kind == "arm":
        kinematics = Kinematics(kind, arm=_arm(f))
    f.done()
    return kinematics


def _arm(f: Fields) -> Arm:
    joints = f.names("joints")
    home = f.section("home")
    posture = tuple(home.number(name, unit="rad") for name in joints)
    home.done()
    space = f.section("workspace")
    low, high = (space.vector(key, 3, unit="m") for key in ("low", "high"))
    if any(a >= b for a, b in zip(low, high, strict=True)):
        raise space.error("low", f"expected each number below that of high, found {list(low)} and {list(high)}")
    space.done()
    gripper = None
    if f.raw("gripper", None) is not None:
        g = f.section("gripper")
        joint, unit, mimics = g.text("joint"), g.text("unit", "m", choices=("m", "rad")), g.section("mimics", {})
        if joint in joints:
            raise g.error("joint", f"'{joint}' is one of the arm's joints")
        gripper = Gripper(joint, unit, {str(name): mimics.number(str(name)) for name in mimics.data})
        g.done()
    srdf = None if f.raw("srdf", None) is None else f.text("srdf")
    frames = f.text("base_frame"), f.text("tip_frame")
    payload = _payload(f.section("payload")) if f.raw("payload", None) is not None else None
    return Arm(f.text("urdf"), srdf, *frames, joints, posture, (low, high), gripper, payload)  # type: ignore[arg-type]


def _payload(f: Fields) -> Payload:
    start, end = (f.vector(key, 3, unit="m") for key in ("start", "end"))
    payload = Payload(start, end, f.number("radius", above=0.0, unit="m"))  # type: ignore[arg-type]
    f.done()
    return payload


def plain_kinematics(kinematics: Kinematics) -> dict[str, Any]:
    """Kinematics as plain data."""
    arm = kinematics.arm
    if arm is None:
        return {k: v for k, v in vars(kinematics).items() if v is not None}
    plain = {
        "kind": kinematics.kind,
        "urdf": arm.urdf,
        "base_frame": arm.base_frame,
        "tip_frame": arm.tip_frame,
        "joints": list(arm.joints),
        "home": dict(zip(arm.joints, arm.home, strict=True)),
        "workspace": {"low": list(arm.workspace[0]), "high": list(arm.workspace[1])},
    }
    if arm.srdf is not None:
        plain["srdf"] = arm.srdf
    if arm.gripper is not None:
        plain["gripper"] = vars(arm.gripper)
    if arm.payload is not None:
        plain["payload"] = vars(arm.payload)
    return plain


def action_of(top: Fields, kinematics: Kinematics) -> tuple[ActionDim, ...]:
    """What the planner searches over."""
    dims: list[ActionDim] = []
    for f in top.sections("action"):
        name = f.text("name")
        if name in [d.name for d in dims]:
            raise f.error("name", f"two action dimensions are called '{name}'")
        unit = _unit(f, name, kinematics)
        low, high = f.number("low", unit=unit), f.number("high", unit=unit)
        if not low < high:
            raise f.error("low", f"expected low < high, found low {low:g} and high {high:g}")
        if not low <= 0.0 <= high and unit.endswith("/s"):
            raise f.error(
                "low", f"expected a range that contains 0, so that the robot can stand; found {low:g}..{high:g}"
            )
        f.done()
        dims.append(ActionDim(name, unit, low, high))
    if not dims:
        raise top.error("action", "expected at least one action dimension")
    if kinematics.kind == "diff_drive" and [d.name for d in dims] != ["linear.x", "angular.z"]:
        raise top.error("action", "a diff_drive robot takes the actions linear.x and angular.z, in this order")
    if kinematics.arm is not None and not any(d.name.startswith(TIP) for d in dims):
        raise top.error("action", f"an arm takes components of the tip's twist ('{TIP}linear.x', ...); found none")
    return tuple(dims)


def _unit(f: Fields, name: str, kinematics: Kinematics) -> str:
    """The unit of an action dimension, which its name settles but for single joints."""
    if kinematics.kind == "joints":
        return f.text("unit", choices=JOINT_UNITS)
    known = {name: (unit, "REP-103") for name, unit in TWIST_UNITS.items()}
    what = "a component of a Twist"
    if kinematics.arm is not None:
        gripper = kinematics.arm.gripper
        known = {TIP + name: unit for name, unit in known.items()}
        what = "a component of the tip's twist"
        if gripper is not None:
            known[GRIPPER] = (f"{gripper.unit}/s", "kinematics.gripper.unit")
            what += " or the gripper"
    if name not in known:
        raise f.error("name", f"expected {what} ({', '.join(known)}), found '{name}'")
    unit, why = known[name]
    found = f.text("unit")
    if found != unit:
        raise f.error("unit", f"'{name}' is in {unit} ({why}), found '{found}'")
    return unit


def command_of(f: Fields, action: tuple[ActionDim, ...], kinematics: Kinematics) -> Command:
    """What the gate publishes."""
    kind = f.text("kind", choices=tuple(COMMAND_TYPES))
    jointed = kind in ("joint_trajectory", "float64_multiarray")
    if jointed != (kinematics.kind in ("joints", "arm")):
        raise f.error("kind", f"'{kind}' does not fit kinematics.kind '{kinematics.kind}'")
    joints, values = f.names("joints", []), None
    expected: tuple[str, ...] = ()
    if kinematics.arm is not None:
        arm = kinematics.arm
        expected = (*arm.joints, *((arm.gripper.joint,) if arm.gripper is not None else ()))
        joints = joints or expected
        values = f.text("values", choices=("position", "velocity"))
    elif jointed:
        expected = tuple(a.name for a in action)
    if jointed and joints != expected:
        what = "the arm's joints, then the gripper's," if kinematics.arm is not None else "the action dimensions"
        raise f.error("joints", f"expected the names of {what} {list(expected)}, found {list(joints)}")
    command = Command(kind, f.topic("topic"), joints, values)
    f.done()
    return command


def axes_of(
    action: tuple[ActionDim, ...], kinematics: Kinematics, command: Command, limits: Limits
) -> tuple[ActionDim, ...]:
    """What the gate's command consists of: the action itself, and for an arm its joints."""
    arm = kinematics.arm
    if arm is None:
        return action
    assert limits.position_low is not None and limits.position_high is not None
    axes = []
    for i, name in enumerate(command.joints):
        unit = "rad" if arm.gripper is None or name != arm.gripper.joint else arm.gripper.unit
        if command.values == "position":
            axes.append(ActionDim(name, unit, float(limits.position_low[i]), float(limits.position_high[i])))
        else:
            axes.append(ActionDim(name, f"{unit}/s", -float(limits.velocity[i]), float(limits.velocity[i])))
    return tuple(axes)


def _each(f: Fields, key: str, names: tuple[str, ...], arm: Arm | None) -> np.ndarray:
    """One number an axis; of an arm, ``joints`` stands for every joint that is not named."""
    sub = f.section(key)
    same = sub.number("joints", above=0.0) if arm is not None and "joints" in sub.data else None
    values = [
        same if same is not None and arm is not None and name in arm.joints and name not in sub.data
        else sub.number(name, above=0.0)
        for name in names
    ]  # fmt: skip
    sub.done()
    return np.array(values)


def limits_of(f: Fields, action: tuple[ActionDim, ...], kinematics: Kinematics, command: Command) -> Limits:
    """Hard limits, one number an axis of the command."""
    arm = kinematics.arm
    names = command.joints if arm is not None else tuple(a.name for a in action)
    velocity, acceleration, braking = (_each(f, key, names, arm) for key in ("velocity", "acceleration", "braking"))
    low = high = None
    if kinematics.kind in ("joints", "arm"):
        position = f.section("position")
        pairs = [position.vector(name, 2) for name in names]
        position.done()
        low, high = np.array([p[0] for p in pairs]), np.array([p[1] for p in pairs])
        for name, lo, hi in zip(names, low, high, strict=True):
            if not lo < hi:
                raise f.error(f"position.{name}", f"expected [low, high] with low < high, found [{lo:g}, {hi:g}]")
    else:
        for i, a in enumerate(action):
            if max(abs(a.low), abs(a.high)) > velocity[i] + 1e-9:
                raise f.error(
                    f"velocity.{a.name}",
                    f"is {velocity[i]:g} {a.unit}, but action '{a.name}' ranges over {a.low:g}..{a.high:g}",
                )
    if arm is not None and low is not None and high is not None:
        for name, value, lo, hi in zip(arm.joints, arm.home, low, high, strict=False):
            if not lo <= value <= hi:
                raise f.error(
                    f"position.{name}", f"[{lo:g}, {hi:g}] does not hold kinematics.home.{name}, which is {value:g}"
                )
    jerk = _each(f, "jerk", names, arm) if arm is not None and f.raw("jerk", None) is not None else None
    tip_speed = None
    if arm is not None and f.raw("tip_speed", None) is not None:
        tip_speed = f.number("tip_speed", above=0.0, unit="m/s")
    f.done()
    return Limits(velocity, acceleration, braking, low, high, jerk, tip_speed)


def plain_limits(limits: Limits, axes: tuple[ActionDim, ...]) -> dict[str, Any]:
    """Limits as plain data."""
    names = [a.name for a in axes]
    plain: dict[str, Any] = {
        key: dict(zip(names, getattr(limits, key).tolist(), strict=True))
        for key in ("velocity", "acceleration", "braking")
    }
    if limits.position_low is not None and limits.position_high is not None:
        pairs = zip(limits.position_low.tolist(), limits.position_high.tolist(), strict=True)
        plain["position"] = {n: list(p) for n, p in zip(names, pairs, strict=True)}
    if limits.jerk is not None:
        plain["jerk"] = dict(zip(names, limits.jerk.tolist(), strict=True))
    if limits.tip_speed is not None:
        plain["tip_speed"] = limits.tip_speed
    return plain
