# SPDX-License-Identifier: Apache-2.0
"""Broken, odd and foreign bags: what can be read is read, and the error says where the rest is lost."""

from __future__ import annotations

import argparse
import random
import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pytest
import yaml
import zstandard
from bag_helpers import START, header, string, write_bag
from rosbags.highlevel import AnyReader
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

from jepa_ros.bags import BagError, info
from jepa_ros.bags.format.mcap_scan import scan
from jepa_ros.bags.format.message_types import typestore
from jepa_ros.bags.format.reader import BagReader
from jepa_ros.bags.format.repair import repair
from jepa_ros.bags.format.schema import Definition, default_qos
from jepa_ros.bags.format.writer import BagWriter, WriterConfig


def read(path: Path) -> list[tuple[str, int, bytes]]:
    with BagReader(path) as reader:
        return [(m.topic, m.time, m.data) for m in reader.messages()]


def run_info(*args: str) -> int:
    parser = argparse.ArgumentParser()
    info.add_arguments(parser)
    return info.main(parser.parse_args([str(a) for a in args]))


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> tuple[Path, list]:
    path = tmp_path_factory.mktemp("whole") / "bag"
    return path, write_bag(path)


def copy(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "bag"))


def test_a_file_cut_anywhere_gives_back_all_whole_chunks(whole, tmp_path):
    path, sent = whole
    bag = copy(path, tmp_path)
    file = bag / "bag_0.mcap"
    data = file.read_bytes()
    chunks = scan(file).chunks
    cuts = [*random.Random(1).sample(range(600, len(data) - 1), 60), chunks[3].index.chunk_start_offset]
    for cut in cuts:
        file.write_bytes(data[:cut])
        expected = sum(
            sum(c.counts.values()) for c in chunks if c.index.chunk_start_offset + c.index.chunk_length <= cut
        )
        try:
            found = read(bag)
        except BagError as error:
            assert "byte" in str(error) and expected == 0
            continue
        if not found:
            assert expected == 0
        assert found == sent[:expected], cut
        with BagReader(bag) as reader:
            assert "byte" in reader.problems[0] and "bag_0.mcap" in reader.problems[0]


def test_repair_makes_a_cut_bag_readable_for_others(whole, tmp_path):
    path, sent = whole
    bag = copy(path, tmp_path)
    file = bag / "bag_0.mcap"
    last = scan(file).chunks[-1].index
    file.write_bytes(file.read_bytes()[: last.chunk_start_offset + 100])
    kept = f"bag_0.mcap: {len(sent) - 10} messages kept, 100 bytes behind them cut"
    assert repair(bag) == [kept, "metadata.yaml: written anew"]
    with AnyReader([bag]) as reader:
        assert [(c.topic, t, bytes(d)) for c, t, d in reader.messages()] == sent[:-10]
        assert reader.message_count == len(sent) - 10
    assert repair(bag) == []


def test_a_damaged_chunk_is_named_and_the_rest_is_recovered(whole, tmp_path, capsys):
    path, sent = whole
    bag = copy(path, tmp_path)
    file = bag / "bag_0.mcap"
    middle = scan(file).chunks[4].index
    data = bytearray(file.read_bytes())
    data[middle.chunk_start_offset + 80] ^= 0xFF
    file.write_bytes(data)
    with pytest.raises(BagError, match=f"byte {middle.chunk_start_offset}: the chunk is damaged"):
        read(bag)
    assert run_info(bag) == 1
    assert f"byte {middle.chunk_start_offset}" in capsys.readouterr().out
    found = scan(file, walk=True)
    assert len(found.damaged) == 1 and sum(found.counts.values()) == len(sent) - 10


def test_repair_refuses_a_bag_that_is_being_recorded(tmp_path):
    writer = BagWriter(tmp_path / "bag", WriterConfig(min_free_bytes=0))
    topic = writer.add_topic("/a", "std_msgs/msg/String", [default_qos()])
    writer.write(topic, START, string("x"))
    writer.flush()
    with pytest.raises(BagError, match="being recorded right now"):
        repair(tmp_path / "bag")
    writer.write(topic, START + 1, string("y"))
    writer.close()
    assert [data for *_, data in read(tmp_path / "bag")] == [string("x"), string("y")]


def test_a_bag_that_grows_while_it_is_read(tmp_path):
    writer = BagWriter(tmp_path / "bag", WriterConfig(min_free_bytes=0))
    topic = writer.add_topic("/a", "std_msgs/msg/String", [default_qos()])
    for k in range(10):
        writer.write(topic, START + k, string(str(k)))
        writer.flush()
    with BagReader(tmp_path / "bag") as reader:
        stream = reader.messages()
        first = next(stream)
        for k in range(10, 20):
            writer.write(topic, START + k, string(str(k)))
            writer.flush()
        assert [first.data, *(m.data for m in stream)] == [string(str(k)) for k in range(10)]
        assert "without a summary" in reader.problems[0]
    writer.close()
    assert len(read(tmp_path / "bag")) == 20


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "the file is empty"),
        (b"not a bag at all, but some text", "byte 0: not an MCAP file"),
        (b"\x89MCAP0\r\n", "byte 8"),
        (b"\x89MCAP0\r\n" + b"\x01\xff\xff\xff\xff\xff\xff\xff\x00", "byte 8: the file ends inside a record"),
    ],
)
def test_a_file_that_is_no_mcap_says_where(tmp_path, content, says):
    (tmp_path / "x.mcap").write_bytes(content)
    with pytest.raises(BagError, match=says):
        BagReader(tmp_path / "x.mcap")


def test_a_path_that_holds_no_bag(tmp_path):
    with pytest.raises(BagError, match="no such bag"):
        BagReader(tmp_path / "none")
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(BagError, match=r"no metadata.yaml, no .mcap, no .db3 \(it holds notes.txt\)"):
        BagReader(tmp_path)


def test_metadata_that_is_missing_or_not_yaml_is_done_without(whole, tmp_path):
    path, sent = whole
    bag = copy(path, tmp_path)
    for content in (None, "a: [1, 2\nb: }", "rosbag2_bagfile_information: {version: 9}", ""):
        (bag / "metadata.yaml").unlink(missing_ok=True)
        if content is not None:
            (bag / "metadata.yaml").write_text(content)
        with BagReader(bag) as reader:
            assert len(reader.problems) == 1 and "metadata.yaml" in reader.problems[0]
        assert read(bag) == sent
    repair(bag)
    with BagReader(bag) as reader:
        assert reader.complete and reader.version == 9


def test_a_missing_file_of_a_split_bag_is_named(tmp_path):
    sent = write_bag(tmp_path / "bag", 100, WriterConfig(max_file_bytes=12_000, min_free_bytes=0))
    (tmp_path / "bag/bag_1.mcap").unlink()
    with BagReader(tmp_path / "bag") as reader:
        assert reader.problems == ["bag_1.mcap: listed in metadata.yaml, but the file is missing"]
        assert 0 < len(list(reader.messages())) < len(sent)


def test_a_topic_that_is_not_there_lists_what_is(whole):
    says = r"no topic /cam.*/a \(std_msgs/msg/String\), /image"
    with BagReader(whole[0]) as reader, pytest.raises(BagError, match=says):
        list(reader.messages(["/cam"]))


def foreign(path: Path, *, version: int, storage: StoragePlugin, mode: CompressionMode | None) -> list:
    """A bag by the library rosbags: 40 Strings."""
    store, sent = typestore(), []
    writer = Writer(path, version=version, storage_plugin=storage)
    if mode:
        writer.set_compression(mode, CompressionFormat.ZSTD)
    with writer:
        a = writer.add_connection("/a", "std_msgs/msg/String", typestore=store)
        for k in range(40):
            writer.write(a, START + k * 1000, string(f"{k}"))
            sent.append(("/a", START + k * 1000, string(f"{k}")))
    return sent


@pytest.mark.parametrize("version", [8, 9])
@pytest.mark.parametrize("storage", [StoragePlugin.SQLITE3, StoragePlugin.MCAP])
@pytest.mark.parametrize("mode", [None, CompressionMode.FILE, CompressionMode.MESSAGE])
def test_bags_of_other_writers_are_read(tmp_path, version, storage, mode):
    sent = foreign(tmp_path / "bag", version=version, storage=storage, mode=mode)
    assert read(tmp_path / "bag") == sent
    with BagReader(tmp_path / "bag") as reader:
        assert reader.version == version and reader.complete
        assert reader.deserialize(next(reader.messages())).data == "0"
    assert run_info(tmp_path / "bag") == 0


@pytest.mark.parametrize("storage", [StoragePlugin.SQLITE3, StoragePlugin.MCAP])
def test_messages_that_are_compressed_are_read_without_metadata_too(tmp_path, storage):
    sent = foreign(tmp_path / "bag", version=9, storage=storage, mode=CompressionMode.MESSAGE)
    (tmp_path / "bag/metadata.yaml").unlink()
    assert read(tmp_path / "bag") == sent
    file = next(p for p in (tmp_path / "bag").iterdir() if p.name != "metadata.yaml")
    assert read(file) == sent


@pytest.mark.parametrize("keep", [True, False], ids=["metadata", "no metadata"])
@pytest.mark.parametrize("storage", [StoragePlugin.SQLITE3, StoragePlugin.MCAP])
def test_what_ros2_bag_play_decompressed_beside_a_file_is_not_read_twice(tmp_path, storage, keep):
    sent = foreign(tmp_path / "bag", version=9, storage=storage, mode=CompressionMode.FILE)
    packed = next(p for p in (tmp_path / "bag").iterdir() if p.suffix == ".zstd")
    packed.with_suffix("").write_bytes(zstandard.ZstdDecompressor().decompressobj().decompress(packed.read_bytes()))
    if not keep:
        (tmp_path / "bag/metadata.yaml").unlink()
    assert read(tmp_path / "bag") == sent


@pytest.mark.parametrize("version", [1, 2, 3, 4, 5, 6, 7])
def test_metadata_of_older_distributions_is_read(tmp_path, version):
    """The keys that each version lacked (see rosbag2's change log) are taken away from a newer one."""
    sent = foreign(tmp_path / "bag", version=8, storage=StoragePlugin.SQLITE3, mode=None)
    path = tmp_path / "bag/metadata.yaml"
    data = yaml.safe_load(path.read_text())
    information = data["rosbag2_bagfile_information"]
    information["version"] = version
    topic = information["topics_with_message_count"][0]["topic_metadata"]
    for since, keys, where in (
        (8, ["ros_distro"], information),
        (7, ["type_description_hash"], topic),
        (6, ["custom_data"], information),
        (5, ["files"], information),
        (4, ["offered_qos_profiles"], topic),
        (3, ["compression_format", "compression_mode"], information),
    ):
        for key in keys if version < since else []:
            where.pop(key, None)
    if version < 4:
        information["relative_file_paths"] = ["bag/" + name for name in information["relative_file_paths"]]
    path.write_text(yaml.safe_dump(data))
    assert read(tmp_path / "bag") == sent
    with BagReader(tmp_path / "bag") as reader:
        assert reader.version == version and reader.complete


def test_a_type_that_is_defined_nowhere_is_named(tmp_path):
    """rosbag2 before Iron wrote no definitions into sqlite3 bags."""
    foreign(tmp_path / "bag", version=8, storage=StoragePlugin.SQLITE3, mode=None)
    with sqlite3.connect(tmp_path / "bag/bag.db3") as database:
        database.execute("UPDATE topics SET type = 'my_robot/msg/Gripper'")
        database.execute("DELETE FROM message_definitions")
    metadata = tmp_path / "bag/metadata.yaml"
    metadata.write_text(metadata.read_text().replace("std_msgs/msg/String", "my_robot/msg/Gripper"))
    with BagReader(tmp_path / "bag") as reader:
        (message, *_) = reader.messages()
        with pytest.raises(BagError, match=r"type my_robot/msg/Gripper is defined neither in the bag nor among"):
            reader.deserialize(message)


def test_events_of_a_service_are_no_damage(tmp_path, capsys):
    """As `ros2 bag record` of Jazzy writes them: the definition is that of the service."""
    kind = Definition("my_robot/srv/Grip_Event", "MSG: my_robot/srv/Grip_Event\nint64 a\n---\nint64 b\n", "")
    with BagWriter(tmp_path / "bag", WriterConfig(min_free_bytes=0)) as writer:
        topic = writer.add_topic("/grip/_service_event", kind, [default_qos()])
        writer.write(topic, START, b"\0\1\0\0" + bytes(40))
    assert run_info(tmp_path / "bag") == 0
    assert "PROBLEM" not in capsys.readouterr().out


def test_a_database_that_is_damaged_is_named(tmp_path):
    foreign(tmp_path / "bag", version=9, storage=StoragePlugin.SQLITE3, mode=None)
    file = tmp_path / "bag/bag.db3"
    file.write_bytes(file.read_bytes()[:3000])
    with pytest.raises(BagError, match=r"bag\.db3"):
        read(tmp_path / "bag")


def test_info_reports_rates_gaps_and_time_jumps(tmp_path, capsys):
    store = typestore()
    odometry = store.types["geometry_msgs/msg/PointStamped"]
    point = store.types["geometry_msgs/msg/Point"](x=0.0, y=0.0, z=0.0)
    with BagWriter(tmp_path / "bag", WriterConfig(min_free_bytes=0)) as writer:
        topic = writer.add_topic("/p", "geometry_msgs/msg/PointStamped", [default_qos()])
        for k in range(200):
            received = START + k * 20_000_000 + (1_500_000_000 if k >= 100 else 0)
            stamp = received - 5_000_000 + (10_000_000_000 if k >= 150 else 0)
            message = odometry(header=header(stamp), point=point)
            writer.write(topic, received, bytes(store.serialize_cdr(message, "geometry_msgs/msg/PointStamped")))
    with BagReader(tmp_path / "bag") as reader:
        (report,) = info.analyse(reader)
    assert report.count == 200 and report.rate == pytest.approx(199 / 5.48, rel=1e-3)
    assert [(round(g.at, 3), round(g.seconds, 3)) for g in report.gaps] == [(1.98, 1.52)]
    assert [(round(j.at, 3), round(j.seconds, 3)) for j in report.jumps] == [(4.5, 10.02)]
    assert report.delay == pytest.approx(0.005, abs=1e-6)
    assert run_info(tmp_path / "bag", "--json", tmp_path / "info.json") == 0
    out = capsys.readouterr().out
    assert "gap  /p: +1.520 s at 1.980 s" in out and "time jump  /p: +10.020 s at 4.500 s" in out
    assert run_info(tmp_path / "bag", "--fast") == 0
    assert "gap  /p: +1.520 s at 1.980 s" in capsys.readouterr().out


def test_messages_in_disorder_are_read_in_the_order_of_time_and_told(tmp_path, capsys):
    with BagWriter(tmp_path / "bag", WriterConfig(min_free_bytes=0)) as writer:
        topic = writer.add_topic("/a", "std_msgs/msg/String", [default_qos()])
        for k in (0, 1, 5, 3, 2, 4, 9, 8, 7, 6):
            writer.write(topic, START + k * 1000, string(f"{k}"))
            if k in (3, 9):
                writer.flush()  # within a chunk, and from one to the next
    assert [time for _, time, _ in read(tmp_path / "bag")] == [START + k * 1000 for k in range(10)]
    assert run_info(tmp_path / "bag") == 0
    assert "unordered  /a: 5 messages stand before earlier ones" in capsys.readouterr().out


def test_steady_jitter_is_no_gap():
    rng = np.random.default_rng(0)
    times = START + np.cumsum(rng.uniform(0.8e8, 1.2e8, 500)).astype(np.int64)
    assert info.find_gaps(times, START) == []
