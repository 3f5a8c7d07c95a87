# SPDX-License-Identifier: Apache-2.0
"""What stands on a topic: several types, each read as its own; and what is no message of ROS 2, refused by name."""

from __future__ import annotations

import argparse
import math
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from bag_helpers import START, image, merged, string, write_bag
from drive_bag import Drive, write_drive
from mcap.writer import Writer as McapWriter
from rosbags.rosbag2 import StoragePlugin, Writer

from jepa_ros.bags import BagError, info
from jepa_ros.bags.dataset import build
from jepa_ros.bags.dataset import command as dataset
from jepa_ros.bags.dataset.segments import CutSettings
from jepa_ros.bags.format.message_types import typestore
from jepa_ros.bags.format.reader import BagReader
from jepa_ros.bags.format.repair import repair
from jepa_ros.bags.replay.read import read_recording
from jepa_ros.contract import load_contract
from jepa_ros.learning.data.dataset import Dataset

SHORT = CutSettings(min_length=5)
ARENA = load_contract("arena")


@pytest.fixture(params=[StoragePlugin.MCAP, StoragePlugin.SQLITE3], ids=["mcap", "sqlite3"])
def two(request, tmp_path) -> Path:
    """A drive whose commands were TwistStamped for 6 s, and Twist from then on."""
    late = Drive(twist=True, silent={"/cmd_vel": (0.0, 6.0)})
    late.silent |= dict.fromkeys(("/image", "/pose", "/contact", "/safety_gate/state", "/command_raw"), (0.0, math.inf))
    write_drive(tmp_path / "early", Drive(silent={"/cmd_vel": (6.0, math.inf)}))
    write_drive(tmp_path / "late", late)
    merged(tmp_path / "bag", request.param, tmp_path / "early", tmp_path / "late")
    return tmp_path / "bag"


def test_messages_of_two_types_on_a_topic_are_each_read_as_their_own(two):
    with BagReader(two) as reader:
        names = [type(reader.deserialize(m)).__name__ for m in reader.messages(["/cmd_vel"])]
        assert [name.split("__")[-1] for name in names] == ["TwistStamped"] * 300 + ["Twist"] * 300
        assert reader.topics["/cmd_vel"].types == {
            "geometry_msgs/msg/TwistStamped": 300, "geometry_msgs/msg/Twist": 300,
        }  # fmt: skip
        assert len(read_recording(reader, ARENA).gated) == 600


def test_a_drive_whose_commands_changed_their_type_is_not_standing_still(two, tmp_path, capsys):
    parser = argparse.ArgumentParser()
    dataset.add_arguments(parser)
    args = parser.parse_args([str(two), "--out", str(tmp_path / "data"), "--min-length", "5", "--workers", "1"])
    assert dataset.main(args) == 0
    data = Dataset(tmp_path / "data", ARENA)
    assert len(data) == 1 and data.index[0, 2] == 59
    ticks = np.array([[Drive().velocity(k * 0.2 + j * 0.02) for j in range(10)] for k in range(59)])
    np.testing.assert_allclose(data.slice("actions", 0), ticks.mean(1), atol=2e-3)
    said = "/cmd_vel: 2 types on one topic: geometry_msgs/msg/TwistStamped (300), geometry_msgs/msg/Twist (300)"
    assert said in capsys.readouterr().out
    infos = argparse.ArgumentParser()
    info.add_arguments(infos)
    assert info.main(infos.parse_args([str(two)])) == 0
    assert said in capsys.readouterr().out


def test_a_bag_with_two_types_on_a_topic_is_mended_with_both(two):
    (two / "metadata.yaml").unlink()
    repair(two)
    with BagReader(two) as reader:
        assert reader.complete and reader.topics["/cmd_vel"].count == 600 and len(reader.topics["/cmd_vel"].types) == 2


def test_files_of_a_split_bag_may_differ_in_the_type_of_a_topic(tmp_path):
    write_drive(tmp_path / "bag", Drive(seconds=2.0))
    write_drive(tmp_path / "other", Drive(seconds=2.0, twist=True))
    (tmp_path / "other/other_0.mcap").rename(tmp_path / "bag/bag_1.mcap")
    with BagReader(tmp_path / "bag") as reader:
        kinds = {type(reader.deserialize(m)).__name__.split("__")[-1] for m in reader.messages(["/cmd_vel"])}
        assert kinds == {"Twist", "TwistStamped"}


@pytest.mark.parametrize(
    ("topic", "says"),
    [
        ("/image", "/image is std_msgs/msg/String; expected sensor_msgs/msg/Image"),
        ("/cmd_vel", "/cmd_vel: the message of time .* is a std_msgs/msg/String, which is no command"),
        ("/pose", "/pose: the message of time .* is a std_msgs/msg/String, which is no localisation"),
        ("/contact", "/contact: the message of time .* is a std_msgs/msg/String, which is no bumper"),
        ("/safety_gate/state", "/safety_gate/state: .* is a std_msgs/msg/String, which is no state of a gate"),
    ],
)
def test_a_second_type_that_says_nothing_of_the_kind_is_refused(tmp_path, topic, says):
    write_drive(tmp_path / "drive", Drive(seconds=4.0))
    with Writer(tmp_path / "text", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        there = writer.add_connection(topic, "std_msgs/msg/String", typestore=typestore())
        writer.write(there, START + 10**9, string("hello"))
    merged(tmp_path / "bag", StoragePlugin.MCAP, tmp_path / "drive", tmp_path / "text")
    with pytest.raises(BagError, match=says):
        build([tmp_path / "bag"], tmp_path / "data", settings=SHORT)


def foreign(file: Path, profile: str, encoding: str, kind: str, data: bytes) -> None:
    with file.open("wb") as stream:
        writer = McapWriter(stream)
        writer.start(profile=profile, library="somebody's")
        schema = writer.register_schema(kind, "", b"")
        channels = [writer.register_channel(topic, encoding, schema) for topic in ("/image", "/cmd_vel")]
        for k in range(80):
            for channel in channels:
                writer.add_message(channel, START + k * 10**8, data, START + k * 10**8)
        writer.finish()


@pytest.mark.parametrize(
    ("profile", "encoding", "kind"),
    [("ros1", "ros1", "sensor_msgs/Image"), ("", "json", "foxglove.RawImage"), ("", "json", "sensor_msgs/msg/Image")],
)
def test_what_is_not_serialised_as_in_ros_2_is_refused_by_name(tmp_path, profile, encoding, kind, capsys):
    """Bytes of another serialisation look like stamps and pixels, too."""
    foreign(tmp_path / "x.mcap", profile, encoding, kind, b'{"header": {"stamp": {"sec": 1700000000, "nanosec": 0}}}')
    says = f"/image holds {kind} serialised as '{encoding}'; expected 'cdr'"
    with pytest.raises(BagError, match=says):
        build([tmp_path / "x.mcap"], tmp_path / "data", "arena", settings=SHORT)
    with BagReader(tmp_path / "x.mcap") as reader:
        with pytest.raises(BagError, match=says):
            reader.deserialize(next(reader.messages(["/image"])))
        with pytest.raises(BagError, match=says):
            read_recording(reader, ARENA)
        assert [report.delay for report in info.analyse(reader)] == [None, None]


def test_a_bag_of_ros_1_is_named(tmp_path):
    (tmp_path / "old.bag").write_bytes(b"#ROSBAG V2.0\n" + bytes(100))
    with pytest.raises(BagError, match=r"a bag of ROS 1; `rosbags-convert --src .*old.bag --dst FOLDER`"):
        BagReader(tmp_path / "old.bag")


def test_a_valid_file_without_an_index_has_no_problem(tmp_path):
    from mcap.writer import IndexType

    with (tmp_path / "x.mcap").open("wb") as stream:
        writer = McapWriter(stream, index_types=IndexType.NONE, use_statistics=False)
        writer.start(profile="ros2", library="somebody's")
        schema = writer.register_schema("sensor_msgs/msg/Image", "ros2msg", b"")
        channel = writer.register_channel("/image", "cdr", schema)
        for k in range(20):
            data = image(START + k, np.zeros((4, 4, 3), np.uint8))
            writer.add_message(channel, START + k, data, START + k)
        writer.finish()
    before = (tmp_path / "x.mcap").read_bytes()
    with BagReader(tmp_path / "x.mcap") as reader:
        assert reader.complete and len(list(reader.messages())) == 20
    assert repair(tmp_path / "x.mcap") == [] and (tmp_path / "x.mcap").read_bytes() == before


def test_two_rows_of_one_topic_and_type_are_one_topic(tmp_path):
    """rosbag2 adds a row when a publisher with another QoS appears."""
    with Writer(tmp_path / "bag", version=9, storage_plugin=StoragePlugin.SQLITE3) as writer:
        topic = writer.add_connection("/a", "std_msgs/msg/String", typestore=typestore())
        for k in range(10):
            writer.write(topic, START + k, string(str(k)))
    with sqlite3.connect(tmp_path / "bag/bag.db3") as database:
        database.execute("INSERT INTO topics SELECT 2, name, type, serialization_format, '', '' FROM topics")
        database.execute("UPDATE messages SET topic_id = 2 WHERE id > 5")
    with BagReader(tmp_path / "bag") as reader:
        assert list(reader.topics) == ["/a"] and reader.notes == []
        assert [m.data for m in reader.messages()] == [string(str(k)) for k in range(10)]


def test_a_bag_as_recorded_has_no_notes(tmp_path):
    write_bag(tmp_path / "bag")
    with BagReader(tmp_path / "bag") as reader:
        assert reader.notes == [] and reader.problems == []
