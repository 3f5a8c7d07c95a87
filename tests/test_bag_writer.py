# SPDX-License-Identifier: Apache-2.0
"""Bags that are written here are read by other people's readers, message for message."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import yaml
from bag_helpers import START, string, write_bag
from mcap.reader import NonSeekingReader, make_reader
from rosbags.highlevel import AnyReader
from rosbags.rosbag2 import Reader

from jepa_ros.bags import BagError
from jepa_ros.bags.format.mcap_file import McapFile
from jepa_ros.bags.format.reader import BagReader
from jepa_ros.bags.format.schema import default_qos, definition
from jepa_ros.bags.format.writer import BagWriter, WriterConfig


def by_rosbags(path: Path) -> list[tuple[str, int, bytes]]:
    with AnyReader([path]) as reader:
        return [(connection.topic, time, bytes(data)) for connection, time, data in reader.messages()]


def by_mcap(path: Path, streaming: bool = False) -> list[tuple[str, int, bytes]]:
    found = []
    for file in sorted(path.glob("*.mcap")):
        with file.open("rb") as stream:
            make = NonSeekingReader if streaming else make_reader
            reader = make(stream, validate_crcs=True)
            found += [(channel.topic, m.log_time, m.data) for _, channel, m in reader.iter_messages()]
    return sorted(found, key=lambda entry: entry[1])


@pytest.mark.parametrize("compression", ["zstd", ""])
def test_other_readers_give_every_message_back(tmp_path, compression):
    sent = write_bag(tmp_path / "bag", config=WriterConfig(compression=compression, min_free_bytes=0))
    assert by_rosbags(tmp_path / "bag") == sent
    assert by_mcap(tmp_path / "bag") == sent
    assert by_mcap(tmp_path / "bag", streaming=True) == sent
    with BagReader(tmp_path / "bag") as reader:
        assert [(m.topic, m.time, m.data) for m in reader.messages()] == sent
        assert reader.complete and reader.message_count == len(sent)
        assert next(reader.messages(["/a"])).publish_time == START - 500


def test_a_bag_split_by_size_is_read_as_one(tmp_path):
    sent = write_bag(tmp_path / "bag", 100, WriterConfig(max_file_bytes=12_000, min_free_bytes=0))
    files = sorted(p.name for p in (tmp_path / "bag").glob("*.mcap"))
    assert len(files) >= 3
    assert all((tmp_path / "bag" / name).stat().st_size < 20_000 for name in files)
    assert by_rosbags(tmp_path / "bag") == by_mcap(tmp_path / "bag") == sent
    listed = yaml.safe_load((tmp_path / "bag/metadata.yaml").read_text())["rosbag2_bagfile_information"]
    assert listed["relative_file_paths"] == files
    assert sum(entry["message_count"] for entry in listed["files"]) == len(sent) == listed["message_count"]
    for name in files:  # each file stands for itself
        with Reader(tmp_path / "bag" / name) as reader:
            assert {c.topic for c in reader.connections} == {"/a", "/image"}


def test_a_bag_split_by_time_has_files_no_longer_than_asked(tmp_path):
    write_bag(tmp_path / "bag", 100, WriterConfig(max_file_seconds=3.0, min_free_bytes=0))
    listed = yaml.safe_load((tmp_path / "bag/metadata.yaml").read_text())["rosbag2_bagfile_information"]
    assert len(listed["files"]) == 4
    assert max(entry["duration"]["nanoseconds"] for entry in listed["files"]) <= 3.0e9


def test_metadata_has_what_rosbag2_reads(tmp_path):
    write_bag(tmp_path / "bag", custom_data={"jepa_ros.contract": json.dumps({"name": "arena"})})
    listed = yaml.safe_load((tmp_path / "bag/metadata.yaml").read_text())["rosbag2_bagfile_information"]
    assert listed["version"] == 9 and listed["storage_identifier"] == "mcap" and listed["ros_distro"] == "jazzy"
    assert listed["starting_time"]["nanoseconds_since_epoch"] == START
    assert json.loads(listed["custom_data"]["jepa_ros.contract"]) == {"name": "arena"}
    topics = {t["topic_metadata"]["name"]: t for t in listed["topics_with_message_count"]}
    assert topics["/image"]["topic_metadata"]["offered_qos_profiles"][0]["reliability"] == "best_effort"
    assert topics["/image"]["topic_metadata"]["type_description_hash"].startswith("RIHS01_")
    assert topics["/a"]["message_count"] == 50


def test_attachments_and_identity_are_in_every_file(tmp_path):
    write_bag(
        tmp_path / "bag",
        100,
        WriterConfig(max_file_bytes=12_000, min_free_bytes=0),
        custom_data={"k": "v"},
        attachments={"contract.json": ("application/json", b"{}")},
    )
    for file in (tmp_path / "bag").glob("*.mcap"):
        with BagReader(file) as reader:
            assert reader.custom_data["k"] == "v"
            assert reader.attachments() == {"contract.json": ("application/json", b"{}")}


def test_schemas_are_the_installed_definitions():
    text = definition("sensor_msgs/msg/Image").text
    assert "MSG: std_msgs/Header\n" in text and "MSG: builtin_interfaces/Time\n" in text
    assert text.count("=" * 80) == 2
    assert definition("std_msgs/msg/String").type_hash == (
        "RIHS01_df668c740482bbd48fb39d76a70dfd4bd59db1288021743503259e948f6b1a18"
    )
    with pytest.raises(BagError, match="nowhere_msgs/msg/None"):
        definition("nowhere_msgs/msg/None")


def test_an_existing_folder_is_refused_and_left_alone(tmp_path):
    (tmp_path / "bag").mkdir()
    (tmp_path / "bag/mine.txt").write_text("keep")
    with pytest.raises(BagError, match="exists already"):
        BagWriter(tmp_path / "bag")
    assert [p.name for p in (tmp_path / "bag").iterdir()] == ["mine.txt"]


def test_a_topic_keeps_its_type(tmp_path):
    with BagWriter(tmp_path / "bag") as writer:
        first = writer.add_topic("/a", "std_msgs/msg/String")
        assert writer.add_topic("/a", "std_msgs/msg/String") is first
        with pytest.raises(BagError, match="/a is std_msgs/msg/String here"):
            writer.add_topic("/a", "std_msgs/msg/Bool")


def test_an_empty_bag_is_a_bag(tmp_path):
    with BagWriter(tmp_path / "bag") as writer:
        writer.add_topic("/a", "std_msgs/msg/String", [default_qos()])
    assert by_rosbags(tmp_path / "bag") == [] == by_mcap(tmp_path / "bag")
    with BagReader(tmp_path / "bag") as reader:
        assert reader.complete and list(reader.messages()) == []


def fill_until_refused(path: Path) -> tuple[int, str]:
    """Write until the disk refuses; returns (messages written, the error)."""
    writer = BagWriter(path, WriterConfig(min_free_bytes=0, chunk_bytes=20_000))
    topic = writer.add_topic("/a", "std_msgs/msg/String", [default_qos()])
    for k in range(10_000):
        try:
            writer.write(topic, START + k, string(os.urandom(500).hex()))
        except BagError as error:
            return k, str(error)
    raise AssertionError("the disk never refused")


def test_a_full_disk_ends_with_an_error_and_a_readable_bag(tmp_path, monkeypatch):
    room, used, real = 400_000, {}, os.pwrite

    def pwrite(fd: int, data, offset: int) -> int:
        end = offset + len(data)
        if end > room:
            if offset < room:  # what a full disk does: part of it is written
                real(fd, bytes(data[: room - offset]), offset)
            raise OSError(28, "No space left on device")
        used[fd] = end
        return real(fd, data, offset)

    monkeypatch.setattr("jepa_ros.bags.format.mcap_file.os.pwrite", pwrite)
    written, error = fill_until_refused(tmp_path / "bag")
    assert "No space left on device" in error and "messages" in error
    found = by_rosbags(tmp_path / "bag")
    assert found == by_mcap(tmp_path / "bag")
    assert written - 120 < len(found) <= written
    assert f"readable with {len(found)} messages" in error
    with BagReader(tmp_path / "bag") as reader:
        assert reader.complete


def test_a_file_size_limit_of_the_system_ends_it_the_same_way(tmp_path):
    code = f"""
        import resource, signal, sys
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
        from test_bag_writer import fill_until_refused
        from pathlib import Path
        print(fill_until_refused(Path({str(tmp_path / "bag")!r}))[1])
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "the disk refused: File too large" in done.stdout
    assert len(by_rosbags(tmp_path / "bag")) > 200


@pytest.mark.skipif(os.geteuid() != 0 or not Path("/proc/mounts").exists(), reason="mounting needs root")
def test_a_disk_that_is_really_full(tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "none", str(small)], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting is not allowed here")
    try:
        _, error = fill_until_refused(small / "bag")
        assert "No space left on device" in error
        found = by_rosbags(small / "bag")
        assert len(found) > 200 and found == by_mcap(small / "bag")
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_the_last_megabytes_of_a_disk_are_left_to_others(tmp_path, monkeypatch):
    writer = BagWriter(tmp_path / "bag", WriterConfig(min_free_bytes=1 << 60))
    topic = writer.add_topic("/a", "std_msgs/msg/String")
    writer.write(topic, START, string("x"))
    with pytest.raises(BagError, match="MB left on the disk"):
        writer.flush()
    assert by_rosbags(tmp_path / "bag") == []


def test_abort_leaves_a_file_without_summary(tmp_path):
    writer = BagWriter(tmp_path / "bag", WriterConfig(min_free_bytes=0))
    topic = writer.add_topic("/a", "std_msgs/msg/String")
    writer.write(topic, START, string("x"))
    writer.flush()
    writer.abort()
    with BagReader(tmp_path / "bag") as reader:
        assert not reader.complete and [m.data for m in reader.messages()] == [string("x")]
    with pytest.raises(BagError, match="closed"):
        writer.write(topic, START, string("y"))


def test_a_chunk_is_closed_by_time(tmp_path, monkeypatch):
    clock = [100.0]
    monkeypatch.setattr("jepa_ros.bags.format.writer.time.monotonic", lambda: clock[0])
    writer = BagWriter(tmp_path / "bag", WriterConfig(min_free_bytes=0, chunk_seconds=0.4))
    topic = writer.add_topic("/a", "std_msgs/msg/String")
    writer.write(topic, START, string("x"))
    assert writer.counts == {"/a": 0}
    clock[0] += 0.41
    writer.tick()
    assert writer.counts == {"/a": 1}
    writer.close()


def test_a_file_that_is_being_written_is_locked(tmp_path):
    from jepa_ros.bags.format.mcap_scan import scan

    file = McapFile(tmp_path / "x.mcap")
    with pytest.raises(BlockingIOError):
        McapFile.reopen(scan(tmp_path / "x.mcap"), tmp_path / "x.mcap")
    file.finish()
