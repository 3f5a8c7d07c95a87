# SPDX-License-Identifier: Apache-2.0
"""Reading what a contract says about the robot's surroundings: frames, outline, cameras, state topics, watchdogs."""

from __future__ import annotations

import math
from typing import Any

from jepa_ros.contract.fields import Fields
from jepa_ros.contract.parts import (
    ActionDim,
    Camera,
    Command,
    Costmap,
    Footprint,
    Frames,
    Nearness,
    StateTopic,
    Watchdog,
)
from jepa_ros.contract.topics import STATE_TYPES
from jepa_ros.suggest import did_you_mean

#: What a lidar may write where a beam comes back from nowhere, besides +inf (REP-117).
NO_RETURN = ("zero", "nan")
#: The tip of an arm is put where it is wanted, a base stops somewhere beside.
ARRIVAL = {"arm": Nearness(0.008, 0.014)}
#: State inputs that a model may take.
MODEL_STATE = ("joint_states", "odom")
#: Edges of a camera's picture and of the model's input [px]: more is a mistake that would only be told by full memory.
MOST_PIXELS, MOST_SIZE = 16384, 2048
#: Topics of the graph itself: nothing of the robot may be called so, for one topic carries one type.
OWN_TOPICS = (
    "command_raw", "command_teleop", "signals", "embedding", "model_id", "plan", "goal_image", "goal_pose",
    "hardware_estop", "safety_gate/state",
)  # fmt: skip


def frames_of(f: Fields) -> Frames:
    """Names of the frames."""
    frames = Frames(f.text("map", "map"), f.text("odom", "odom"), f.text("base", "base_link"))
    f.done()
    return frames


def footprint_of(top: Fields, drives: bool) -> Footprint:
    """The outline; a robot that does not drive need not have one."""
    if not drives and top.raw("footprint", None) is None:
        return Footprint("none", 0.0, ())
    f = top.section("footprint")
    kind = f.text("kind", choices=("circle", "polygon"))
    if kind == "circle":
        footprint = Footprint(kind, f.number("radius", above=0.0, unit="m"), ())
    else:
        raw = f.raw("points")
        if not isinstance(raw, list) or len(raw) < 3:
            raise f.error("points", "expected a list of at least 3 points [x, y] in m")
        from jepa_ros.safety.geometry import Polygon

        holder = Fields({str(i): p for i, p in enumerate(raw)}, f.where, f"{f.path}.points")
        points = tuple((v[0], v[1]) for v in (holder.vector(str(i), 2, unit="m") for i in range(len(raw))))
        try:
            Polygon(points)
        except ValueError as error:
            raise f.error("points", str(error)) from None
        footprint = Footprint(kind, max(math.hypot(*p) for p in points), points)
    f.done()
    return footprint


def plain_footprint(footprint: Footprint) -> dict[str, Any]:
    """The outline as plain data, with its key; nothing where there is none."""
    if footprint.kind == "none":
        return {}
    if footprint.kind == "circle":
        return {"footprint": {"kind": "circle", "radius": footprint.radius}}
    return {"footprint": {"kind": "polygon", "points": [list(p) for p in footprint.points]}}


def cameras_of(top: Fields) -> tuple[Camera, ...]:
    """All cameras, in the file's order."""
    cameras: list[Camera] = []
    for i, f in enumerate(top.sections("cameras")):
        name = f.text("name")
        if i == 0 and name != "image":
            said = "the first camera is called 'image' (its driver's topic goes under the key 'topic')"
            raise f.error("name", f"{said}, found '{name}'")
        if name in [c.name for c in cameras]:
            raise f.error("name", f"two cameras are called '{name}'")
        width, height = (f.integer(k, least=8, most=MOST_PIXELS) for k in ("width", "height"))
        crop_raw = f.raw("crop", None)
        crop = None
        if crop_raw is not None:
            x, y, w, h = (int(v) for v in f.vector("crop", 4, unit="px"))
            if [x, y, w, h] != list(crop_raw) or x < 0 or y < 0 or w < 8 or h < 8 or x + w > width or y + h > height:
                wanted = f"[x, y, width, height] inside {width}x{height}, whole numbers and at least 8 wide and high"
                raise f.error("crop", f"expected {wanted}, found {crop_raw}")
            crop = (x, y, w, h)
        size, seen = _size(f), f.boolean("model", i == 0)
        mounting = f.section("mounting", {})
        frame = mounting.text("frame", "map")
        position = mounting.vector("position", 3, [0.0, 0.0, 0.0], unit="m")
        orientation = mounting.vector("orientation", 3, [0.0, 0.0, 0.0], unit="rad")
        mounting.done()
        rate = f.number("rate", above=0.0, unit="Hz")
        topic, compressed, driven = f.topic("topic", name), f.boolean("compressed", False), "topic" in f.data
        if topic.endswith("/compressed"):
            raise f.error("topic", f"expected the base topic and compressed: true, found '{topic}'")
        f.done()
        where = (frame, position, orientation)
        cameras.append(Camera(name, width, height, rate, crop, size, seen, *where, topic, compressed, driven))  # type: ignore[arg-type]
    if not cameras:
        raise top.error("cameras", "expected at least one camera, the first of them named 'image'")
    if not any(c.model for c in cameras):
        raise top.error("cameras", "expected the model to see one camera at least, found model: false for all")
    return tuple(cameras)


def _size(f: Fields) -> tuple[int, int]:
    raw = f.raw("size", 64)
    if not isinstance(raw, (list, tuple)):
        edge = f.integer("size", 64, least=16, most=MOST_SIZE)
        pair = (edge, edge)
    else:
        width, height = f.vector("size", 2, unit="px")
        pair = (int(width), int(height))
        if list(pair) != list(raw) or not all(16 <= v <= MOST_SIZE for v in pair):
            raise f.error("size", f"expected [width, height], whole numbers of 16 to {MOST_SIZE}, found {raw}")
    if any(v % 16 for v in pair):
        raise f.error("size", f"expected multiples of 16, found {raw}")
    return pair


def plain_camera(c: Camera, first: bool) -> dict[str, Any]:
    """A camera as plain data; a square size is one number."""
    size = c.size[0] if c.size[0] == c.size[1] else list(c.size)
    plain: dict[str, Any] = {"name": c.name, "width": c.width, "height": c.height, "rate": c.rate, "size": size}
    if c.model != first:
        plain["model"] = c.model
    if c.crop is not None:
        plain["crop"] = list(c.crop)
    if c.driven:
        plain["topic"] = c.topic
    if c.compressed:
        plain["compressed"] = True
    plain["mounting"] = {"frame": c.frame, "position": list(c.position), "orientation": list(c.orientation)}
    return plain


def state_of(f: Fields) -> dict[str, StateTopic]:
    """The state topics; which of them the model may take stands in :data:`MODEL_STATE`."""
    state = {}
    for key in f.data:
        if key not in STATE_TYPES:
            hint = did_you_mean(str(key), STATE_TYPES)
            raise f.error(str(key), f"unknown state; expected one of {', '.join(STATE_TYPES)}{hint}")
        s = f.section(key)
        topic, timeout = s.topic("topic", key), s.number("timeout", 0.5, above=0.0, unit="s")
        required = s.boolean("required", True)
        more: dict[str, Any] = {"model": s.boolean("model", False)}
        if more["model"] and key not in MODEL_STATE:
            raise s.error("model", f"a model takes {' and '.join(MODEL_STATE)}, not '{key}'")
        if key == "scan" and "frame" in s.data:
            more |= {"frame": s.text("frame"), "offset": s.vector("offset", 3, [0.0, 0.0, 0.0], unit="m, m, rad")}
        if key == "scan" and "no_return" in s.data:
            more["no_return"] = _words(s, "no_return", NO_RETURN)
        if key == "wrench":
            more["stop"] = s.number("stop", above=0.0, unit="N")
            more["slow"] = s.number("slow", more["stop"], above=0.0, most=more["stop"], unit="N")
        if key in ("odom", "joint_states") and "noise" in s.data:
            noise = s.section("noise")
            more["noise"] = {str(name): noise.number(str(name), least=0.0) for name in noise.data}
        state[key] = StateTopic(topic, timeout, required, **more)
        s.done()
    return state


def costmap_of(top: Fields, frames: Frames, state: dict[str, StateTopic], jointed: bool) -> Costmap | None:
    """The costmap whose cells enter the scan; None where there is none."""
    if top.raw("costmap", None) is None:
        return None
    f = top.section("costmap")
    if jointed:
        raise top.error("costmap", "a costmap is for a base; an arm's surroundings are keep_out guardrails")
    if "scan" not in state:
        raise top.error("costmap", "its cells enter the scan that the gate hears: declare state.scan, with its topic")
    if not state["scan"].required:
        raise top.error("costmap", "the gate stops where its cells are silent: expected state.scan.required: true")
    topic = f.topic("topic") if "topic" in f.data else ""
    found = Costmap(
        topic=topic,
        polygons=tuple(f.topics("polygons")) if "polygons" in f.data else (),
        frame=f.text("frame", frames.odom, choices=(frames.map, frames.odom, frames.base)),
        lethal=f.integer("lethal", 100, least=1, most=100),
        unknown=f.boolean("unknown", False),
        timeout=f.number("timeout", 1.0, above=0.0, most=10.0, unit="s"),
        reach=f.number("reach", 3.0, above=0.0, most=10.0, unit="m"),
        lidar=f.topic("lidar") if "lidar" in f.data else "",
    )
    f.done()
    if not found.sources:
        raise f.error("topic", "expected a topic, polygons, or both")
    needed = {frames.map: "pose", frames.odom: "odom"}.get(found.frame)
    if needed is not None and needed not in state:
        what = "a localised robot" if needed == "pose" else "odometry"
        raise f.error("frame", f"cells in '{found.frame}' need {what}: declare state.{needed}, or take another frame")
    return found


def plain_costmap(costmap: Costmap) -> dict[str, Any]:
    """A costmap as plain data."""
    return {k: list(v) if isinstance(v, tuple) else v for k, v in vars(costmap).items() if v not in ("", ())}


def _words(f: Fields, key: str, known: tuple[str, ...]) -> tuple[str, ...]:
    raw = f.raw(key)
    if not isinstance(raw, list) or not all(word in known for word in raw):
        raise f.error(key, f"expected a list of some of {', '.join(known)}, found {raw!r:.60}")
    return tuple(raw)


def check_noise(top: Fields, state: dict[str, StateTopic], axes: tuple[ActionDim, ...]) -> None:
    """Noise is told of axes of the command; one that is not named has none."""
    names = [axis.name for axis in axes]
    for key, topic in state.items():
        for name in topic.noise or {}:
            if name not in names:
                known = ", ".join(names)
                raise top.error(f"state.{key}.noise.{name}", f"no axis is called so; expected some of {known}")


def check_topics(
    top: Fields, cameras: tuple[Camera, ...], command: Command, state: dict[str, StateTopic], estop_topic: str,
    costmap: Costmap | None,
) -> None:  # fmt: skip
    """A topic carries one type: what the robot takes must not be called as what it gives."""
    seen = dict.fromkeys(OWN_TOPICS, "a topic of jepa_ros itself")
    named = [(f"cameras[{i}].topic", c.image_topic) for i, c in enumerate(cameras)]
    named += [(f"state.{key}.topic", s.topic) for key, s in state.items()]
    if costmap is not None:
        named += [("costmap", topic) for topic in (*costmap.sources, *([costmap.lidar] if costmap.lidar else []))]
    for key, topic in [*named, ("estop_topic", estop_topic), ("command.topic", command.topic)]:
        plain = topic.lstrip("/")
        if plain in seen:
            raise top.error(key, f"'{topic}' is {seen[plain]} too: expected a topic of its own")
        seen[plain] = key


def arrival_of(f: Fields, kind: str) -> Nearness:
    """When the goal counts as reached; the defaults are those of the kind of body."""
    near = ARRIVAL.get(kind, Nearness(0.05, 0.09))
    arrive = f.number("arrive", near.arrive, above=0.0, unit="m")
    leave = f.number("leave", max(near.leave, arrive), least=arrive, unit="m")
    f.done()
    return Nearness(arrive, leave)


def watchdog_of(f: Fields) -> Watchdog:
    """Times and counts of the gate."""
    watchdog = Watchdog(
        command_timeout=f.number("command_timeout", 0.5, above=0.0, unit="s"),
        image_timeout=f.number("image_timeout", 0.5, above=0.0, unit="s"),
        heartbeat_timeout=f.number("heartbeat_timeout", 1.0, above=0.0, unit="s"),
        rearm_time=f.number("rearm_time", 0.5, least=0.0, unit="s"),
        stamp_tolerance=f.number("stamp_tolerance", 0.1, least=0.0, unit="s"),
        max_stamp_age=f.number("max_stamp_age", 0.5, above=0.0, unit="s"),
        exit_duration=f.number("exit_duration", 1.0, least=0.0, most=30.0, unit="s"),
        estop_required=f.boolean("estop_required", False),
        estop_timeout=f.number("estop_timeout", 0.5, above=0.0, unit="s"),
        bad_command_latch=f.integer("bad_command_latch", 10, least=1),
        resume_latch_count=f.integer("resume_latch_count", 10, least=1),
        resume_latch_window=f.number("resume_latch_window", 30.0, above=0.0, unit="s"),
        stop_motion_timeout=f.number("stop_motion_timeout", 1.0, above=0.0, unit="s"),
    )
    f.done()
    return watchdog


def guardrails_of(top: Fields) -> tuple[dict[str, Any], ...]:
    """Guardrails are checked by their own schema, which stands in ``safety/`` for planner and gate alike."""
    raw = top.raw("guardrails", [])
    if not isinstance(raw, list):
        raise top.error("guardrails", f"expected a list, found {type(raw).__name__}")
    if not raw:
        return ()
    from jepa_ros.safety.guardrails import GuardrailError, parse_guardrails

    try:
        parse_guardrails(raw)
    except GuardrailError as error:
        raise top.error("guardrails", str(error)) from None
    return tuple(raw)
