# SPDX-License-Identifier: Apache-2.0
"""A bag of the whole stack without ROS: perception, planner and gate run here, and publish as their nodes do."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from bag_helpers import START, header, image
from rclpy.serialization import serialize_message
from toy_world import planar_config

from jepa_ros.agent.step_clock import CommandLog, StepClock
from jepa_ros.bags import CONTRACT_KEY
from jepa_ros.bags.format.message_types import typestore
from jepa_ros.bags.format.schema import default_qos
from jepa_ros.bags.format.writer import BagWriter, WriterConfig
from jepa_ros.contract import load_contract
from jepa_ros.cost.goal import Goal
from jepa_ros.messages.images import image_in
from jepa_ros.nodes import planner_messages
from jepa_ros.perception import Perception
from jepa_ros.planning.config import SearchConfig
from jepa_ros.planning.planner import Planner, PlannerConfig
from jepa_ros.safety.gate import Gate, GateConfig
from jepa_ros.safety.inputs import CommandIn, GateInputs, OdomIn, PeopleIn, PoseIn, SignalsIn
from jepa_ros.safety.settings import of_node
from jepa_ros.world_model.checkpoint import load_checkpoint, model_id, save_checkpoint
from jepa_ros.world_model.model import WorldModel

ARENA = load_contract("arena")
ROS = 100.0  # ROS time at the start, s
STEADY = 50.0  # the gate's steady time at the start, s
CONFIG = PlannerConfig(SearchConfig(samples=16, elites=4, keep=2, horizon=5, iterations=2, backend="model", seed=7))
GOAL_NS = 101_200_000_000
TYPES = {
    "/image": "sensor_msgs/msg/Image",
    "/embedding": "sensor_msgs/msg/Image",
    "/goal_image": "sensor_msgs/msg/Image",
    "/planner/goal": "sensor_msgs/msg/Image",
    "/model_id": "std_msgs/msg/String",
    "/command_raw": "geometry_msgs/msg/TwistStamped",
    "/cmd_vel": "geometry_msgs/msg/TwistStamped",
    "/signals": "diagnostic_msgs/msg/DiagnosticArray",
    "/planner/status": "diagnostic_msgs/msg/DiagnosticArray",
    "/safety_gate/state": "diagnostic_msgs/msg/DiagnosticArray",
    "/odom": "nav_msgs/msg/Odometry",
    "/pose": "geometry_msgs/msg/PoseWithCovarianceStamped",
    "/people": "geometry_msgs/msg/PoseArray",
}


def make_model(folder: Path, seed: int = 0) -> Path:
    """An untrained checkpoint that fits the arena."""
    torch.manual_seed(seed)
    save_checkpoint(folder, WorldModel(planar_config()), {"contract": ARENA.to_dict()})
    return folder


class _Watch:
    """The planner's clock: so many seconds pass from one look to the next."""

    now = passes = 0.0

    def __call__(self) -> float:
        self.now += self.passes
        return self.now


class _Out:
    """Serialises and writes messages, and keeps their order."""

    def __init__(self, writer: BagWriter) -> None:
        self.store, self.types, self.rows = typestore(), typestore().types, []
        self.topics = {name: writer.add_topic(name, kind, [default_qos()]) for name, kind in TYPES.items()}
        self.writer, self.sequence = writer, dict.fromkeys(TYPES, 0)

    def send(self, topic: str, time: float, message) -> None:
        data = message if isinstance(message, bytes) else bytes(self.store.serialize_cdr(message, TYPES[topic]))
        self.sequence[topic] += 1
        self.rows.append((START + round(time * 1e9), self.sequence[topic], topic, data))

    def vector(self, x=0.0, y=0.0, z=0.0):
        return self.types["geometry_msgs/msg/Vector3"](x=float(x), y=float(y), z=float(z))

    def twist(self, values):
        return self.types["geometry_msgs/msg/Twist"](linear=self.vector(values[0]), angular=self.vector(z=values[1]))

    def stamped(self, stamp: float, values):
        head = header(round(stamp * 1e9), "base_link")
        return self.types["geometry_msgs/msg/TwistStamped"](header=head, twist=self.twist(values))

    def pairs(self, stamp: float, values: dict[str, str]):
        pair = self.types["diagnostic_msgs/msg/KeyValue"]
        status = self.types["diagnostic_msgs/msg/DiagnosticStatus"](
            level=0, name="", message="", hardware_id="", values=[pair(key=k, value=v) for k, v in values.items()]
        )
        head = header(round(stamp * 1e9), "")
        return self.types["diagnostic_msgs/msg/DiagnosticArray"](header=head, status=[status])

    def place(self, x: float, y: float, yaw: float):
        turn = self.types["geometry_msgs/msg/Quaternion"](x=0.0, y=0.0, z=math.sin(yaw / 2), w=math.cos(yaw / 2))
        spot = self.types["geometry_msgs/msg/Point"](x=x, y=y, z=0.0)
        pose = self.types["geometry_msgs/msg/Pose"](position=spot, orientation=turn)
        return self.types["geometry_msgs/msg/PoseWithCovariance"](pose=pose, covariance=np.zeros(36))

    def flush(self, drop: Callable[[str, int], bool]) -> None:
        for time, sequence, topic, data in sorted(self.rows):
            if not drop(topic, sequence):
                self.writer.write(self.topics[topic], time, data, sequence=sequence)


def write_stack_bag(
    path: Path,
    model_folder: Path,
    seconds: float = 6.0,
    drop: Callable[[str, int], bool] = lambda topic, number: False,
    custom: dict[str, str] | None = None,
    late: float = 0.0,
    config: PlannerConfig = CONFIG,
    hurried: Callable[[float], bool] = lambda time: False,
) -> None:
    """Run the stack for a while in front of a moving pattern.

    Args:
        drop: names messages that the recorder misses. custom: texts that go into the bag (default: the contract).
        late: seconds by which the gate's eleventh tick comes late, by its own clock.
        config: the planner's.
        hurried: says at which times [s] of the bag the planner finds its deadline over before it searches.
    """
    model, card = load_checkpoint(model_folder, ARENA)
    identity = model_id(card)
    watch = _Watch()
    perception, planner = Perception(model, ARENA), Planner(model, ARENA, config, card, clock=watch)
    gate = Gate(GateConfig.from_contract(ARENA, auto_enable=True, **of_node("", {})))
    state, clock, log = gate.initial_state(), StepClock(ARENA.rate, 10.0), CommandLog(2, 5.0)
    rng = np.random.default_rng(3)
    pattern = np.kron(rng.integers(0, 255, (16, 16, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    custom = custom or {CONTRACT_KEY: json.dumps(ARENA.to_dict())}
    with BagWriter(path, WriterConfig(min_free_bytes=0), custom_data=custom) as writer:
        out = _Out(writer)
        out.send("/model_id", 0.0, out.types["std_msgs/msg/String"](data=identity))
        newest: dict = {}
        identities = {"model/perception": identity}
        pending: list[tuple[float, CommandIn, SignalsIn]] = []
        last = None
        for k in range(round(seconds * 50)):
            t = k * 0.02
            watch.passes = 10.0 if hurried(t) else 0.0
            ros, steady = ROS + t, STEADY + t + (late if k >= 10 else 0.0)
            if k == 60:
                picture = np.roll(pattern, 40, 0)
                out.send("/goal_image", t, image(round(ros * 1e9), picture))
                planner.set_goal(Goal.from_latent(perception.encode(picture, "rgb8"), name="camera"))
                taken = planner_messages.goal(GOAL_NS, planner.goal, planner.contract)
                out.send("/planner/goal", t, bytes(serialize_message(taken)))
            if k % 2 == 0:
                x = 0.1 * t
                odometry = out.types["nav_msgs/msg/Odometry"](
                    header=header(round(ros * 1e9), "odom"),
                    child_frame_id="base_link",
                    pose=out.place(x, 0.0, 0.0),
                    twist=out.types["geometry_msgs/msg/TwistWithCovariance"](
                        twist=out.twist((0.1, 0.0)), covariance=np.zeros(36)
                    ),
                )
                out.send("/odom", t, odometry)
                newest["odom"] = OdomIn(round(ros, 9), steady, x, 0.0, 0.0, np.array([0.1, 0.0]), "odom")
            if k % 5 == 0:
                posed = out.types["geometry_msgs/msg/PoseWithCovarianceStamped"](
                    header=header(round(ros * 1e9), "map"), pose=out.place(0.1 * t, 0.0, 0.0)
                )
                out.send("/pose", t, posed)
                newest["pose"] = PoseIn(ros, steady, 0.1 * t, 0.0, 0.0, np.zeros((3, 3)), "map")
                someone = out.types["geometry_msgs/msg/PoseArray"](
                    header=header(round(ros * 1e9), "map"), poses=[out.place(0.8, 0.7, 0.0).pose]
                )
                out.send("/people", t, someone)
                newest["people"] = PeopleIn(ros, steady, [(0.8, 0.7)], "map")
                picture = np.roll(pattern, k // 5, 1)
                data = image(round(ros * 1e9), picture)
                out.send("/image", t + 0.001, data)
                newest["image"] = image_in(data, steady)
                last = _think(out, perception, planner, clock, log, picture, t, last, pending, identity, state.reason)
            while pending and pending[0][0] <= t:
                _, newest["command"], newest["signals"] = pending.pop(0)
                newest["command"] = replace(newest["command"], received=steady)
                newest["signals"] = replace(newest["signals"], received=steady)
                identities["model/planner"] = identity
                identities["guardrails/planner"] = newest["signals"].guardrail_hash
            inputs = GateInputs(
                heartbeats=dict.fromkeys(("perception", "planner"), steady),
                identities=dict(identities),
                output_publishers=1,
                **newest,
            )
            state, output = gate.step(state, inputs, steady, ros)
            out.send("/cmd_vel", t + 0.0005, out.stamped(ros, output.values))
            log.add(round(ros * 1e9) * 1e-9, np.asarray(output.values))
            told = _account(output, inputs, steady, ros, state.slowest)
            out.send("/safety_gate/state", t + 0.0006, out.pairs(ros, told))
        out.flush(drop)


def _think(out, perception, planner, clock, log, picture, t, last, pending, identity, reason) -> float | None:
    """The planner's answer to an image, if it begins a step; returns the stamp of the last step."""
    stamp_ns = round((ROS + t) * 1e9)
    stamp = stamp_ns * 1e-9
    latent = perception.encode(picture, "rgb8")
    out.send("/embedding", t + 0.003, _embedding(out, stamp_ns, latent))
    if not clock.begins_step(stamp):
        return last
    executed = None if last is None else log.mean(last, stamp)
    gated = log.at(stamp)
    output = planner.step(latent, stamp, executed, gated, gate_reason=reason)
    out.send("/command_raw", t + 0.015, out.stamped(ROS + t, output.command))
    values = {name: repr(float(value)) for name, value in output.signals.items()}
    hashed = str(planner.guardrails.hash)
    out.send("/signals", t + 0.015, out.pairs(ROS + t, values | {"guardrail_hash": hashed, "model_id": identity}))
    facts = {
        "busy_s": 0.01, "goal": "none" if planner.goal is None else "image",
        "goal_ns": 0 if planner.goal is None else GOAL_NS,
        "executed": planner_messages.exact(executed), "gated": planner_messages.exact(gated), "gate_reason": reason,
        "settings": planner_messages.settings(planner.config),
    }  # fmt: skip
    told = {k: planner_messages.text(v) for k, v in {**output.status, **facts}.items() if not isinstance(v, dict)}
    out.send("/planner/status", t + 0.016, out.pairs(ROS + t, told))
    command = CommandIn(np.asarray(output.command), stamp, 0.0, 1 + len(pending), "base_link")
    pending.append((t + 0.015, command, SignalsIn(stamp, 0.0, dict(output.signals), hashed, identity)))
    return stamp


def _embedding(out, stamp_ns: int, latent: np.ndarray):
    return out.types["sensor_msgs/msg/Image"](
        header=header(stamp_ns, "camera"), height=latent.shape[0], width=latent.shape[1], encoding="32FC1",
        is_bigendian=0, step=4 * latent.shape[1], data=np.frombuffer(latent.tobytes(), np.uint8),
    )  # fmt: skip


def _account(output, inputs: GateInputs, steady: float, ros: float, slowest: float) -> dict[str, str]:
    told = []
    for name, age in output.ages.items():
        stamp = getattr(getattr(inputs, name, None), "stamp", None)
        told.append(f"{name}={age:.4f}" if stamp is None else f"{name}={age:.4f}@{stamp:.6f}")
    return {
        "mode": output.mode.name,
        "reason": output.reason,
        "scale": f"{output.scale:.4f}",
        "decided": " ".join(map(repr, output.decided.tolist())),
        "tick": f"{steady:.6f}",
        "tick_ros": f"{ros:.6f}",
        "slowest": f"{slowest:.9g}",
        "inputs": " ".join(told),
        "asked": " ".join(output.answers),
        "publishers": "1",
    }
