# SPDX-License-Identifier: Apache-2.0
"""A recorded tour becomes the memory that the robot had on it; where nobody knows how it moved, the tour is cut."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field

import numpy as np
import pytest
from bag_helpers import START, header, image
from drive_bag import Drive as Drive2D
from drive_bag import write_drive
from toy_world import save_onboard_model

from jepa_ros.agent.loop import Loop
from jepa_ros.agent.planner_part import PlannerPart
from jepa_ros.bags import CONTRACT_KEY
from jepa_ros.bags.format.message_types import typestore
from jepa_ros.bags.format.reader import BagReader
from jepa_ros.bags.format.schema import default_qos
from jepa_ros.bags.format.writer import BagWriter, WriterConfig
from jepa_ros.bags.replay.offline import OfflineReplay
from jepa_ros.bags.replay.read import read_recording
from jepa_ros.commands.cli import main
from jepa_ros.contract import load_contract
from jepa_ros.evaluation.tour import Watching
from jepa_ros.memory import LongTerm, Store
from jepa_ros.memory.store import identity_of
from jepa_ros.perception import Perception
from jepa_ros.planar.place_graph import PlaceGraph
from jepa_ros.planning.bodies import new_memory
from jepa_ros.planning.planner import Planner
from jepa_ros.world_model.checkpoint import load_checkpoint
from jepa_ros_sim.house.world import HouseWorld

ROVER = load_contract("rover")
TYPES = {
    "/image": "sensor_msgs/msg/Image",
    "/cmd_vel": "geometry_msgs/msg/TwistStamped",
    "/odom": "nav_msgs/msg/Odometry",
    "/safety_gate/state": "diagnostic_msgs/msg/DiagnosticArray",
}


@dataclass
class Drive:
    """What happened: (stamp [s], value) of each topic, and what of it goes into the bag."""

    images: list = field(default_factory=list)
    odometry: list = field(default_factory=list)
    commands: list = field(default_factory=list)
    modes: list = field(default_factory=list)

    def write(
        self, path, contract=ROVER, image: Callable[[float], bool] = lambda t: True,
        leap: Callable[[float], float] = lambda t: 0.0, odom: Callable[[float], bool] = lambda t: True,
        mode: Callable[[float], str] = lambda t: "",
    ):  # fmt: skip
        """Write the bag: with the images and odometry that are wanted, odometry that leapt, and another gate mode."""
        store = typestore()
        types = store.types
        rows = []

        def add(topic, stamp, message):
            data = message if isinstance(message, bytes) else bytes(store.serialize_cdr(message, TYPES[topic]))
            rows.append((START + round(stamp * 1e9) + 1_000_000 * (topic == "/image"), topic, data))

        def vector(x=0.0, y=0.0, z=0.0):
            return types["geometry_msgs/msg/Vector3"](x=float(x), y=float(y), z=float(z))

        def twist(v, w):
            return types["geometry_msgs/msg/Twist"](linear=vector(v), angular=vector(z=w))

        for stamp, pixels in self.images:
            if image(stamp):
                add("/image", stamp, _image(stamp, pixels))
        for stamp, (v, w) in self.commands:
            head = header(round(stamp * 1e9), "base_link")
            add("/cmd_vel", stamp, types["geometry_msgs/msg/TwistStamped"](header=head, twist=twist(v, w)))
        for stamp, told in self.odometry:
            if not odom(stamp):
                continue
            turn = types["geometry_msgs/msg/Quaternion"](
                x=0.0, y=0.0, z=math.sin(told.yaw / 2), w=math.cos(told.yaw / 2)
            )
            spot = types["geometry_msgs/msg/Point"](x=told.x + leap(stamp), y=told.y, z=0.0)
            pose = types["geometry_msgs/msg/PoseWithCovariance"](
                pose=types["geometry_msgs/msg/Pose"](position=spot, orientation=turn), covariance=np.zeros(36)
            )
            speed = types["geometry_msgs/msg/TwistWithCovariance"](twist=twist(*told.v), covariance=np.zeros(36))
            add("/odom", stamp, types["nav_msgs/msg/Odometry"](
                header=header(round(stamp * 1e9), "odom"), child_frame_id="base_link", pose=pose, twist=speed,
            ))  # fmt: skip
        for stamp, was in self.modes:
            pair = types["diagnostic_msgs/msg/KeyValue"](key="mode", value=mode(stamp) or was)
            status = types["diagnostic_msgs/msg/DiagnosticStatus"](
                level=0, name="safety_gate", message="", hardware_id="", values=[pair]
            )
            head = header(round(stamp * 1e9), "")
            add("/safety_gate/state", stamp, types["diagnostic_msgs/msg/DiagnosticArray"](header=head, status=[status]))
        custom = {CONTRACT_KEY: json.dumps(contract.to_dict())}
        with BagWriter(path, WriterConfig(min_free_bytes=0), custom_data=custom) as writer:
            topics = {name: writer.add_topic(name, kind, [default_qos()]) for name, kind in TYPES.items()}
            for time, topic, data in sorted(rows, key=lambda row: row[0]):
                writer.write(topics[topic], time, data)
        return path


def _image(stamp, pixels):
    return image(round(stamp * 1e9), pixels)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_onboard_model(tmp_path_factory.mktemp("models") / "rover")


@pytest.fixture(scope="module")
def live(model):
    """A short drive through a house, with the memory that grew on it, and what was to be recorded."""
    world, drive = HouseWorld(), Drive()
    scene = world.scene(ROVER)
    command = scene.command

    def recorded(values):
        drive.commands.append((scene.time, values))
        command(values)

    scene.command = recorded
    try:
        task = world.task("near", ROVER, {})
        spec = task.outing(3, 0)
        scene.reset(spec)
        loaded, card = load_checkpoint(model, ROVER)
        memory = new_memory(ROVER, loaded.config.latent_dim)
        with closing(Planner(loaded, ROVER, card=card, memory=memory)) as planner:
            loop = Loop(scene, Watching(task.explore(scene, spec), PlannerPart(planner, Perception(loaded, ROVER))))
            for _ in range(120):
                record = loop.step()
                seen = record.observation
                drive.images.append((seen.stamp, seen.images["image"]))
                drive.odometry.append((seen.stamp, seen.state["odom"]))
                ticks = np.linspace(seen.stamp, seen.stamp + ROVER.period, len(record.modes), endpoint=False)
                drive.modes += [(float(t), mode) for t, mode in zip(ticks, record.modes, strict=True)]
        return drive, memory
    finally:
        scene.close()


def read(folder) -> LongTerm:
    model, contract, size = identity_of(folder)
    memory = new_memory(contract, size)
    Store(folder, model, contract, memory, read_only=True)
    return memory


def graph_of(memory) -> PlaceGraph:
    found = memory.annex(PlaceGraph)
    assert found is not None
    return found


def made_from(bag, model, out, capsys, *words) -> tuple[LongTerm, str]:
    assert main(["memory", "from", str(bag), *words, "--model", str(model), "--out", str(out)]) == 0
    return read(out), capsys.readouterr().out


def test_a_recorded_tour_becomes_the_memory_that_grew_on_it(live, model, tmp_path, capsys):
    drive, grown = live
    begin = drive.images[0][0]
    memory, said = made_from(drive.write(tmp_path / "bag"), model, tmp_path / "memory", capsys)
    mine, theirs = graph_of(memory), graph_of(grown)
    assert len(theirs) > 10 and len(mine) == len(theirs)
    np.testing.assert_array_equal(mine.latents, theirs.latents)
    np.testing.assert_allclose(mine.odometry, theirs.odometry, atol=1e-9)
    assert mine.thumbnails == theirs.thumbnails and all(theirs.thumbnails)
    assert [sorted(ways) for ways in mine.edges] == [sorted(ways) for ways in theirs.edges]
    np.testing.assert_array_equal(memory.latents, grown.latents)
    assert mine.times[0] == pytest.approx((START + 1e6) * 1e-9 + begin, abs=1e-3), "it is as old as the recording"
    assert mine.times == sorted(mine.times) and "120 steps, 0 cuts" in said and f"{len(mine)} places" in said


def parts(memory) -> int:
    from jepa_ros.planar.place_layout import parts_of

    return len(set(parts_of(graph_of(memory)).tolist()))


@pytest.mark.parametrize(
    "fault, why",
    [
        ({"image": lambda t: not 10.0 < t < 13.0}, "no image for"),
        ({"leap": lambda t: 4.0 * (t > 12.0)}, "odom leapt by 4"),
        ({"odom": lambda t: not 10.0 < t < 12.0}, "no odom: nobody knows how the robot moved"),
        ({"mode": lambda t: "DISABLED" if 10.0 < t < 12.0 else ""}, "the gate was disabled"),
    ],
)
def test_where_nobody_knows_how_the_robot_moved_the_tour_is_cut_and_it_is_said(
    live, model, tmp_path, capsys, fault, why
):
    drive, _ = live
    memory, said = made_from(drive.write(tmp_path / "bag", **fault), model, tmp_path / "memory", capsys)
    assert "1 cuts" in said and why in said
    driven = sum(edge.driven for ways in graph_of(memory).edges for edge in ways.values()) // 2
    assert driven == len(graph_of(memory)) - 2, "two drives, and nothing was driven between them"


def test_a_short_gap_that_a_planner_bears_is_no_cut(live, model, tmp_path, capsys):
    drive, _ = live
    bag = drive.write(tmp_path / "bag", image=lambda t: not 10.0 < t < 10.4)
    assert "0 cuts" in made_from(bag, model, tmp_path / "memory", capsys)[1]


def test_two_bags_are_two_drives_of_one_memory(live, model, tmp_path, capsys):
    drive, _ = live
    bags = [drive.write(tmp_path / name, image=when) for name, when in
            (("a", lambda t: t < 14.0), ("b", lambda t: t > 20.0))]  # fmt: skip
    memory, said = made_from(bags[0], model, tmp_path / "memory", capsys, str(bags[1]))
    driven = sum(edge.driven for ways in graph_of(memory).edges for edge in ways.values()) // 2
    assert driven == len(graph_of(memory)) - 2 and said.count("0 cuts") == 2


def test_a_bag_that_does_not_fit_is_refused_by_name_and_no_memory_is_left(live, model, tmp_path, capsys):
    drive, _ = live
    bag, out = drive.write(tmp_path / "bag"), tmp_path / "out"

    def refused(*words):
        assert main(["memory", "from", *map(str, words), "--out", str(out)]) == 2
        assert not out.exists()
        return capsys.readouterr().err

    assert "'rover', which differs from 'arena'" in refused(bag, "--model", model, "--robot", "arena")
    assert "rover" in refused(bag, "--model", "arena"), "a model of another robot"
    nothing = drive.write(tmp_path / "still", mode=lambda t: "DISABLED")
    assert "no image could be taken in" in refused(nothing, "--model", model)
    made_from(bag, model, out, capsys)
    before = (out / "memory.safetensors").read_bytes()
    assert main(["memory", "from", str(bag), "--model", str(model), "--out", str(out)]) == 2
    assert "holds a memory already" in capsys.readouterr().err
    assert (out / "memory.safetensors").read_bytes() == before


def test_a_replay_tells_the_planner_the_odometry_that_it_had(live, model, tmp_path):
    drive, _ = live
    loaded, card = load_checkpoint(model, ROVER)
    with closing(Planner(loaded, ROVER, card=card)) as planner, BagReader(drive.write(tmp_path / "bag")) as reader:
        for whole in (True, False):
            planner.reset()
            OfflineReplay(read_recording(reader, ROVER, whole=whole), Perception(loaded, ROVER), planner, None).run()
            (sight,) = planner.knowledge
            _, last = drive.odometry[-1]
            np.testing.assert_allclose(sight.drive.here, (last.x, last.y, last.yaw), atol=1e-6)


def test_the_drive_of_a_localised_robot_is_cut_where_its_pose_leaps(tmp_path, capsys):
    write_drive(tmp_path / "bag", Drive2D(seconds=6.0, pose=lambda t: (0.1 * t + (t > 3.0), 0.0, 0.05 * t)))
    memory, said = made_from(tmp_path / "bag", "arena", tmp_path / "memory", capsys)
    assert "30 steps, 1 cuts" in said and "cut at 3.2 s: pose leapt by 1.02 m" in said
    assert len(memory) > 0 and memory.annex(PlaceGraph) is None and np.isfinite(memory.where).all()
