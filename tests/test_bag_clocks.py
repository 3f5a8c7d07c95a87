# SPDX-License-Identifier: Apache-2.0
"""Clocks in bags: 0 is a time like another, and stamps by which no step can be told are named as the cause."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from bag_helpers import START, string
from drive_bag import SIM, Drive, write_drive
from rosbags.rosbag2 import StoragePlugin, Writer

from jepa_ros.bags import BagError, info
from jepa_ros.bags.dataset import build
from jepa_ros.bags.dataset.segments import CutSettings
from jepa_ros.bags.format.message_types import typestore
from jepa_ros.bags.format.reader import BagReader
from jepa_ros.bags.format.schema import default_qos
from jepa_ros.bags.format.writer import BagWriter, WriterConfig
from jepa_ros.bags.replay.compare import compare
from jepa_ros.bags.replay.run_log import RunLog, Step
from jepa_ros.learning.data.dataset import Dataset

SHORT = CutSettings(min_length=5)


def shown(bag: Path, capsys) -> str:
    parser = argparse.ArgumentParser()
    info.add_arguments(parser)
    info.main(parser.parse_args([str(bag)]))
    return capsys.readouterr().out


def texts(path: Path, storage: StoragePlugin, times: list[int]) -> None:
    with Writer(path, version=9, storage_plugin=storage) as writer:
        topic = writer.add_connection("/a", "std_msgs/msg/String", typestore=typestore())
        for time in times:
            writer.write(topic, time, string(f"at {time}"))


@pytest.mark.parametrize("storage", [StoragePlugin.MCAP, StoragePlugin.SQLITE3])
@pytest.mark.parametrize(
    "times", [[0], [0] * 50, [k * 10**7 for k in range(50)], [0] * 10 + [35 * 10**9 + k for k in range(50)]]
)
def test_messages_of_log_time_0_are_messages(tmp_path, storage, times, capsys):
    texts(tmp_path / "bag", storage, times)
    with BagReader(tmp_path / "bag") as reader:
        assert [m.time for m in reader.messages()] == times and reader.message_count == len(times)
        assert (reader.start, reader.end) == (0, times[-1])
    out = shown(tmp_path / "bag", capsys)
    assert "no messages" not in out and f"{len(times)} messages" in out and "1970-01-01" in out


def test_a_file_whose_messages_are_all_of_time_0_comes_before_the_next(tmp_path):
    with BagWriter(tmp_path / "bag", WriterConfig(min_free_bytes=0)) as writer:
        topic = writer.add_topic("/a", "std_msgs/msg/String", [default_qos()])
        for time in (0, 0, 7):
            if time:
                writer.flush()
                writer.split()
            writer.write(topic, time, string(str(time)))
    with BagReader(tmp_path / "bag") as reader:
        assert [m.time for m in reader.messages()] == [0, 0, 7] and len(reader.files) == 2


def test_a_recording_that_begins_at_0_is_split_as_any_other(tmp_path):
    config = WriterConfig(min_free_bytes=0, max_file_seconds=1.0)
    with BagWriter(tmp_path / "bag", config) as writer:
        topic = writer.add_topic("/a", "std_msgs/msg/String", [default_qos()])
        for k in range(31):
            writer.write(topic, k * 10**8, string(str(k)))
            writer.flush()
    assert len(list((tmp_path / "bag").glob("*.mcap"))) == 3


def test_a_publish_time_of_0_is_kept(tmp_path):
    with BagWriter(tmp_path / "bag", WriterConfig(min_free_bytes=0)) as writer:
        topic = writer.add_topic("/a", "std_msgs/msg/String", [default_qos()])
        writer.write(topic, 5_000_000, string("x"), publish_time=0)
    with BagReader(tmp_path / "bag") as reader:
        assert next(reader.messages()).publish_time == 0


def test_a_step_of_log_time_0_has_a_time_in_the_comparison():
    old, new = RunLog(), RunLog()
    for log, command in ((old, 0.0), (new, 1.0)):
        for k in range(3):
            log.steps[SIM + k * 10**9] = Step(SIM + k * 10**9, k * 10**9, np.array([command]))
    assert [d.at for d in compare(old, new, 0, gate=False).differences] == [0.0, 1.0, 2.0]


def test_a_drive_whose_recorder_had_no_clock_is_cut_by_its_stamps(tmp_path, capsys):
    """--use-sim-time, and /clock came never (all log times are 0), or late."""
    drive = Drive()
    never, late = tmp_path / "never", tmp_path / "late"
    write_drive(never, replace(drive, received=lambda t: 0))
    write_drive(late, replace(drive, received=lambda t: 0 if t < 4.0 else 35 * 10**9 + round(t * 1e9)))
    report = build([never], tmp_path / "a", settings=SHORT)
    assert report["steps"] == 59 and report["bags"][str(never)]["dropped"] == {}
    ticks = np.array([[drive.velocity(k * 0.2 + j * 0.02) for j in range(10)] for k in range(59)])
    np.testing.assert_allclose(Dataset(tmp_path / "a").slice("actions", 0), ticks.mean(1), atol=1e-6)
    report = build([late], tmp_path / "b", settings=SHORT)
    assert list(report["bags"][str(late)]["dropped"]) == ["time jump"] and report["steps"] >= 57
    assert "the recorder's clock stood" in shown(never, capsys)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"/image": lambda ns: SIM + 36 * 10**9}, r"/image: all 120 messages have the same header stamp \(41.000 s\)"),
        ({"/image": lambda ns: 0}, "/image: all 120 messages have no header stamp: the driver does not set it"),
        ({"/image": lambda ns: ns // 1000}, "/image: the header stamps span 0.0119 s, the times of receipt 11.9 s"),
        ({"/image": lambda ns: ns * 1000}, "/image: the header stamps span 1.19e.04 s.*another unit"),
        ({"/cmd_vel": lambda ns: ns - 2 * 10**9}, r"/cmd_vel: 600 of 600 messages left out.* 1\.99. s behind those of"),
        ({"/cmd_vel": lambda ns: START}, "/cmd_vel: all 600 messages have the same header stamp"),
        ({"/image": lambda ns: ns + START}, r"/cmd_vel: 600 of 600 .* 1699999999.993 s behind those of the images"),
    ],
)
def test_stamps_by_which_no_step_can_be_told_are_named(tmp_path, change, says, capsys):
    write_drive(tmp_path / "bag", Drive(own_stamp=change))
    with pytest.raises(BagError, match=says) as caught:
        build([tmp_path / "bag"], tmp_path / "data", settings=SHORT)
    assert "too few images" not in str(caught.value)
    if "all " in says or "span" in says:
        assert "stamps  /" in shown(tmp_path / "bag", capsys)


def test_a_topic_of_another_clock_is_named_though_a_dataset_comes_of_it(tmp_path):
    write_drive(tmp_path / "bag", Drive(own_stamp={"/safety_gate/state": lambda ns: ns + START}))
    report = build([tmp_path / "bag"], tmp_path / "data", settings=replace(SHORT))
    (entry,) = report["bags"].values()
    assert any(note.startswith("/safety_gate/state: 600 of 600 messages left out") for note in entry["notes"])


def test_stamps_as_they_should_be_are_no_fault(tmp_path, capsys):
    for name, drive in (
        ("plain", Drive()),
        ("twist", Drive(twist=True)),
        ("slow", Drive(received=lambda t: START + round(2e9 * t))),
        ("jump", Drive(stamp=lambda t: t + (100.0 if t >= 5.0 else 0.0))),
    ):
        write_drive(tmp_path / name, drive)
        report = build([tmp_path / name], tmp_path / f"{name}_data", settings=SHORT)
        assert report["bags"][str(tmp_path / name)]["notes"] == []
        assert "stamps  /" not in shown(tmp_path / name, capsys)


def test_a_dataset_that_fails_names_the_problems_of_the_bag(tmp_path):
    write_drive(tmp_path / "bag", Drive(seconds=6.0))
    file = tmp_path / "bag/bag_0.mcap"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(BagError, match=r"problem: bag_0.mcap: byte \d+: the file ends inside a record"):
        build([tmp_path / "bag"], tmp_path / "data", settings=CutSettings(min_length=50))
    with pytest.raises(BagError, match=r"(?s)no topic /none.*problem: bag_0.mcap: byte \d+"):
        build([tmp_path / "bag"], tmp_path / "data", settings=SHORT, topics={"image": "/none"})
