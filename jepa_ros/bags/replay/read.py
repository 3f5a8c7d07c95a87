# SPDX-License-Identifier: Apache-2.0
"""Reading a bag for a replay: of every topic what the stack had of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from jepa_ros.agent.odometry import Odometry
from jepa_ros.agent.scans import Scans
from jepa_ros.bags import BagError
from jepa_ros.bags.format.reader import BagReader
from jepa_ros.bags.image_topic import camera_topic, require_images
from jepa_ros.bags.replay.recording import Arrival, Recording, gated_of
from jepa_ros.bags.replay.run_log import GateTick, Step
from jepa_ros.contract import RobotContract
from jepa_ros.contract.topics import STATE_TYPES
from jepa_ros.messages import MessageError
from jepa_ros.messages.commands import command_in
from jepa_ros.messages.diagnostics import identities, key_values, raw_value, signals_in
from jepa_ros.messages.images import image_in, latent_of
from jepa_ros.messages.stamps import raw_stamp, stamp_ns, stamp_of
from jepa_ros.messages.state import odom_in, people_in, pose_in, scan_in, wrench_in
from jepa_ros.names import full_name
from jepa_ros.safety import inputs as gate_in


def read_recording(
    reader: BagReader, contract: RobotContract, namespace: str = "", image: str = "", whole: bool = True
) -> Recording:
    """Read everything but the pixels.

    Args:
        namespace: of the robot in the bag. image: topic of the images where it is not the contract's.
        whole: False leaves out what only a replay of the gate, or of the whole bag, asks for: embeddings, what the gate
            heard and sent, and all of its ticks but mode and reason. A long bag is read in a tenth of the time.

    Raises:
        BagError: no images in the bag (it lists what is there), or a message that does not fit its type.
    """
    def full(name: str) -> str:
        return full_name(name, namespace)

    camera = image or camera_topic(reader, contract, namespace)
    require_images(reader, camera)
    further = {c.name: camera_topic(reader, contract, namespace, c) for c in contract.model_cameras[1:]}
    recording = Recording(reader, contract, camera, further=further, command_topic=full(contract.command.topic))
    recording.whole = whole
    state_topic, status_topic = full("safety_gate/state"), full("planner/status")
    state = {full(topic.topic): name for name, topic in contract.state.items()}
    takers = {
        camera: _take_image,
        full("embedding"): _take_embedding,
        full("goal_image"): _take_goal,
        full("goal_image/compressed"): _take_goal,
        full("goal_pose"): _take_goal,
        full("planner/goal"): _take_taken,
        full(contract.command.topic): _take_gated,
        full("command_raw"): _take_command,
        full("command_teleop"): lambda r, t, m: _gate(r, "teleop", t, command_in(m, r.contract)),
        full("signals"): _take_signals,
        full("model_id"): lambda r, t, m: r.identities.append(Arrival(t, ("model/perception", m.data))),
        full(contract.estop_topic): lambda r, t, m: _gate(r, "estop", t, gate_in.EstopIn(0.0, bool(m.data))),
        status_topic: _take_status,
        state_topic: _take_tick,
    }
    takers |= {topic: _STATE[name] for topic, name in state.items() if name in _STATE}
    if not whole:
        gates = ("embedding", "command_teleop", contract.estop_topic, contract.command.topic)
        told = [part.topic for part in (Odometry(contract), Scans(contract))]  # what the planner was told of
        left_out = {*map(full, gates), *state} - {full(topic.topic) for topic in told if topic is not None}
        takers = {topic: take for topic, take in takers.items() if topic not in left_out}
    recording.latched_pose = any(
        str(offer.get("durability")) in ("transient_local", "1")
        for topic, name in state.items()
        if name == "pose" and topic in reader.topics
        for offer in reader.topics[topic].qos
    )
    deaf: dict[str, str] = {}
    for message in reader.messages([topic for topic in takers if topic in reader.topics]):
        if message.topic == camera:
            _take_image(recording, message.time, message)
        elif message.topic == state_topic and not whole:
            _take_mode(recording, message.time, message.data)
        elif message.topic in state and message.msgtype != STATE_TYPES[state[message.topic]]:
            deaf[message.topic] = message.msgtype
        else:
            content = reader.deserialize(message)
            try:
                takers[message.topic](recording, message.time, content)
            except MessageError as error:
                where = f"{reader.path}: {message.topic}: the message of time {message.time}"
                raise BagError(f"{where} cannot be read: {error}") from None
            except AttributeError as error:
                raise BagError(
                    f"{reader.path}: {message.topic}: the message of time {message.time} is a {message.msgtype}, which "
                    f"is not what the stack has on this topic: {error}"
                ) from None
            if message.topic == state_topic and recording.log.ticks:
                recording.log.ticks[-1].sequence = message.sequence
            elif message.topic == status_topic:
                _step(recording, content).sequence = message.sequence
    for topic, found in deaf.items():
        heard = f"a gate hears {STATE_TYPES[state[topic]]} alone on this topic"
        recording.log.notes.append(f"{topic}: its messages of type {found} are left out: {heard}")
    if not recording.images:
        raise BagError(f"{reader.path}: no image on {camera} in this bag")
    return recording


def _gate(recording: Recording, name: str, time: int, value: Any) -> None:
    recording.gate.setdefault(name, []).append(Arrival(time, value))


def _take_image(recording: Recording, time: int, message: Any) -> None:
    try:
        recording.images.append((time, raw_stamp(message.data)))
        if recording.whole:
            _gate(recording, "image", time, image_in(message.data, 0.0))
    except MessageError as error:
        raise BagError(f"{recording.reader.path}: {message.topic}: image of time {time}: {error}") from None


def _take_embedding(recording: Recording, time: int, message: Any) -> None:
    recording.log.embeddings[stamp_ns(message) or 0] = latent_of(message).copy()


def _take_goal(recording: Recording, time: int, message: Any) -> None:
    recording.goals.append(Arrival(time, message))


def _take_taken(recording: Recording, time: int, message: Any) -> None:
    from jepa_ros.cost.goal import Goal
    from jepa_ros.planning.bodies import goals_of

    kind = {"32FC1": np.float32, "64FC1": np.float64}.get(message.encoding)
    if kind is None:
        raise BagError(f"the planner's goal of time {time} is {message.encoding!r}; expected 32FC1 or 64FC1")
    values = np.frombuffer(message.data, kind)
    if kind is np.float32:
        goal = Goal.from_latent(values.copy(), name=message.header.frame_id)
    else:
        goal = goals_of(recording.contract).from_values(values.tolist(), message.header.frame_id)
    recording.taken[stamp_ns(message) or 0] = goal


def _take_gated(recording: Recording, time: int, message: Any) -> None:
    recording.gated.append(gated_of(time, message, recording.contract))


def _step(recording: Recording, message: Any) -> Step:
    """The step of the image whose stamp a message carries."""
    stamp = stamp_ns(message) or 0
    return recording.log.steps.setdefault(stamp, Step(stamp))


def _take_command(recording: Recording, time: int, message: Any) -> None:
    taken = command_in(message, recording.contract)
    _gate(recording, "command", time, taken)
    if recording.contract.kinematics.arm is None:  # (inverse kinematics makes many of one: see _take_status)
        step = _step(recording, message)
        step.command = None if taken.still else np.array(taken.values, dtype=np.float64)


def _take_signals(recording: Recording, time: int, message: Any) -> None:
    signals = signals_in(message)
    _gate(recording, "signals", time, signals)
    recording.identities += [Arrival(time, told) for told in identities(signals).items()]
    step = _step(recording, message)
    step.signals = dict(signals.values)


def _take_status(recording: Recording, time: int, message: Any) -> None:
    step = _step(recording, message)
    step.time, step.status = time, key_values(message)
    arm = recording.contract.kinematics.arm is not None
    for name in ("executed", "gated", *(("command",) if arm else ())):
        text = step.status.get(name, "")
        setattr(step, name, np.array([float(v) for v in text.split()]) if text else None)


def _take_tick(recording: Recording, time: int, message: Any) -> None:
    if not message.status:
        return
    pairs = {pair.key: pair.value for pair in message.status[0].values}
    try:
        ages, stamps, marks = _inputs(pairs.get("inputs", ""))
        recording.log.ticks.append(
            GateTick(
                time=time,
                steady=float(pairs.get("tick", pairs.get("monotonic", "nan"))),
                ros=float(pairs.get("tick_ros", stamp_of(message))),
                mode=pairs.get("mode", ""),
                reason=pairs.get("reason", ""),
                values=np.array([float(v) for v in pairs.get("decided", "").split()]),
                scale=float(pairs.get("scale", "1")),
                ages=ages,
                stamps=stamps,
                marks=marks,
                asked=tuple(pairs.get("asked", "").split()),
                publishers=int(pairs["publishers"]) if pairs.get("publishers") else None,
                slowest=float(pairs.get("slowest", "nan")),
            )
        )
    except ValueError as error:
        raise BagError(f"the gate's state of time {time} cannot be read: {error}") from None


def _take_mode(recording: Recording, time: int, data: bytes) -> None:
    """Mode and reason of a tick, without taking the rest of the message apart."""
    mode, reason = (raw_value(data, key) for key in ("mode", "reason"))
    if mode is not None:
        nothing = np.zeros(0)
        recording.log.ticks.append(GateTick(time, math.nan, math.nan, mode, reason or "", nothing))


def _inputs(text: str) -> tuple[dict[str, float], dict[str, float], dict[str, str]]:
    """Ages, stamps and marks of the gate's inputs from `name=age@stamp#mark name=age ...`."""
    ages, stamps, marks = {}, {}, {}
    for entry in text.split():
        name, _, value = entry.partition("=")
        value, _, mark = value.partition("#")
        age, _, stamp = value.partition("@")
        if mark:
            marks[name] = mark
        ages[name] = float(age)
        if stamp:
            stamps[name] = float(stamp)
    return ages, stamps, marks


def _take_joints(recording: Recording, time: int, m: Any) -> None:
    value = recording.joints.take(m, stamp_of(m), 0.0)
    if value is not None:
        _gate(recording, "joint_states", time, value)


def _take_contact(recording: Recording, time: int, m: Any) -> None:
    _gate(recording, "contact", time, gate_in.ContactIn(0.0, 0.0, bool(m.data)))


_STATE: dict[str, Callable[[Recording, int, Any], None]] = {
    "odom": lambda r, t, m: _gate(r, "odom", t, odom_in(m, r.contract)),
    "pose": lambda r, t, m: _gate(r, "pose", t, pose_in(m, latched=r.latched_pose)),
    "joint_states": _take_joints,
    "scan": lambda r, t, m: _gate(r, "scan", t, scan_in(m)),
    "contact": _take_contact,
    "people": lambda r, t, m: _gate(r, "people", t, people_in(m)),
    "wrench": lambda r, t, m: _gate(r, "wrench", t, wrench_in(m)),
}
