# SPDX-License-Identifier: Apache-2.0
"""A bag is mended for every tool, whatever it is compressed by, and never becomes less readable."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
import zstandard
from bag_helpers import START, string
from mcap.reader import make_reader
from mcap.writer import CompressionType
from mcap.writer import Writer as McapWriter
from rosbags.highlevel import AnyReader
from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

from jepa_ros.bags import BagError, info
from jepa_ros.bags.format import repair as module
from jepa_ros.bags.format.mcap_scan import scan
from jepa_ros.bags.format.message_types import typestore
from jepa_ros.bags.format.reader import BagReader
from jepa_ros.bags.format.repair import STAGING, repair

COUNT = 200
STORAGES = pytest.mark.parametrize("storage", [StoragePlugin.MCAP, StoragePlugin.SQLITE3], ids=["mcap", "sqlite3"])
MODES = pytest.mark.parametrize(
    "mode", [None, CompressionMode.FILE, CompressionMode.MESSAGE], ids=["plain", "file", "message"]
)


def qos(reliability: QosReliability, durability: QosDurability) -> Qos:
    forever = QosTime(9223372036, 854775807)
    return Qos(
        QosHistory.KEEP_LAST, 7, reliability, durability, forever, forever, QosLiveliness.AUTOMATIC, forever, False
    )


OFFERED = {
    "/a": [qos(QosReliability.RELIABLE, QosDurability.TRANSIENT_LOCAL)],
    "/b": [
        qos(QosReliability.BEST_EFFORT, QosDurability.VOLATILE),
        qos(QosReliability.RELIABLE, QosDurability.VOLATILE),
    ],
}


def write(
    path: Path,
    storage: StoragePlugin,
    mode: CompressionMode | None = None,
    version: int = 9,
    first: int = 0,
    size: int = 100,
) -> list[tuple[str, int, bytes]]:
    """A bag of `COUNT` texts of `size` letters on /a and /b by the library rosbags; returns [(topic, time, bytes)]."""
    rng = random.Random(first)
    writer = Writer(path, version=version, storage_plugin=storage)
    if mode:
        writer.set_compression(mode, CompressionFormat.ZSTD)
    sent = []
    with writer:
        topics = {
            name: writer.add_connection(
                name, "std_msgs/msg/String", typestore=typestore(), offered_qos_profiles=offered
            )
            for name, offered in OFFERED.items()
        }
        for k in range(first, first + COUNT):
            name = "/a" if k % 3 else "/b"
            sent.append((name, START + k * 1_000_000, string(f"message {k} message {rng.randbytes(size // 2).hex()}")))
            writer.write(topics[name], *sent[-1][1:])
    return sent


def data_file(bag: Path) -> Path:
    return next(p for p in sorted(bag.iterdir()) if p.name.startswith(bag.name))


def ours(path: Path) -> list[tuple[str, int, bytes]]:
    with BagReader(path) as reader:
        return [(m.topic, m.time, m.data) for m in reader.messages()]


def check(path: Path, sent: list[tuple[str, int, bytes]], *, profiles: bool = True) -> None:
    """The bag is whole for this package, for rosbags, and where it is plain MCAP for the library mcap."""
    assert ours(path) == sent
    with BagReader(path) as reader:
        assert reader.complete, reader.problems
        mine = {name: [entry["reliability"] for entry in info.qos] for name, info in reader.topics.items()}
    with AnyReader([path]) as reader:
        assert [(c.topic, t, bytes(d)) for c, t, d in reader.messages()] == sent
        for connection, _, data in reader.messages():
            assert reader.deserialize(data, connection.msgtype).data.startswith("message")
        if profiles:
            assert {c.topic: c.ext.offered_qos_profiles for c in reader.connections} == OFFERED
            assert {name: len(entries) for name, entries in mine.items()} == {"/a": 1, "/b": 2}
    plain = sorted(path.glob("*.mcap"))
    found = 0
    for file in plain:
        with file.open("rb") as stream:
            found += sum(1 for _ in make_reader(stream, validate_crcs=True).iter_messages())
    assert not plain or found == len(sent)
    assert not list(path.glob(".*"))


@MODES
@STORAGES
@pytest.mark.parametrize("text", [None, "", "rosbag2_bagfile_information: {version: 9}"], ids=["none", "empty", "part"])
def test_a_bag_without_metadata_is_given_one_that_every_tool_reads(tmp_path, storage, mode, text):
    sent = write(tmp_path / "bag", storage, mode)
    (tmp_path / "bag/metadata.yaml").unlink()
    if text is not None:
        (tmp_path / "bag/metadata.yaml").write_text(text)
    assert repair(tmp_path / "bag") == ["metadata.yaml: written anew"]
    check(tmp_path / "bag", sent)
    assert repair(tmp_path / "bag") == []


@MODES
@STORAGES
def test_metadata_that_lost_compression_names_and_profiles_is_renewed(tmp_path, storage, mode):
    """As an earlier version of this command left it."""
    sent = write(tmp_path / "bag", storage, mode)
    path = tmp_path / "bag/metadata.yaml"
    data = yaml.safe_load(path.read_text())
    information = data["rosbag2_bagfile_information"]
    information |= {"compression_mode": "", "compression_format": ""}
    information["relative_file_paths"] = [name.removesuffix(".zstd") for name in information["relative_file_paths"]]
    for topic in information["topics_with_message_count"]:
        topic["topic_metadata"]["offered_qos_profiles"] = []
    path.write_text(yaml.safe_dump(data))
    assert ours(tmp_path / "bag") == sent
    assert repair(tmp_path / "bag") == ["metadata.yaml: written anew"]
    check(tmp_path / "bag", sent)


@MODES
@STORAGES
@pytest.mark.parametrize("keep", [True, False], ids=["metadata", "no metadata"])
def test_a_file_that_was_cut_is_mended_as_far_as_it_goes(tmp_path, storage, mode, keep):
    sent = write(tmp_path / "bag", storage, mode, size=20_000)
    file = data_file(tmp_path / "bag")
    file.write_bytes(file.read_bytes()[: file.stat().st_size * 4 // 5])
    if not keep:
        (tmp_path / "bag/metadata.yaml").unlink()
    before = ours(tmp_path / "bag")
    assert COUNT // 4 < len(before) < COUNT and set(before) < set(sent)
    with BagReader(tmp_path / "bag") as reader:
        assert any(file.name in problem for problem in reader.problems)
    done = repair(tmp_path / "bag")
    assert f"{file.name}: {len(before)} messages kept" in done[0]
    check(tmp_path / "bag", before)
    assert repair(tmp_path / "bag") == []


@STORAGES
def test_a_recorder_killed_while_it_compressed_leaves_the_whole_file_beside_a_part(tmp_path, storage):
    sent = write(tmp_path / "bag", storage, CompressionMode.FILE)
    packed = data_file(tmp_path / "bag")
    content = packed.read_bytes()
    packed.with_suffix("").write_bytes(zstandard.ZstdDecompressor().decompressobj().decompress(content))
    packed.write_bytes(content[: len(content) // 3])
    assert ours(tmp_path / "bag") == sent
    with BagReader(tmp_path / "bag") as reader:
        assert any("beside it was read in its place" in problem for problem in reader.problems)
    repair(tmp_path / "bag")
    check(tmp_path / "bag", sent)
    assert [p.name for p in sorted((tmp_path / "bag").iterdir())] == [packed.name, "metadata.yaml"]


@STORAGES
@pytest.mark.parametrize("listed", [True, False])
def test_the_last_file_of_a_split_bag_that_was_not_compressed_any_more(tmp_path, storage, listed):
    sent = write(tmp_path / "bag", storage, CompressionMode.FILE)
    sent += write(tmp_path / "bag_1", storage, first=COUNT)
    last = data_file(tmp_path / "bag_1")
    shutil.move(last, tmp_path / "bag" / last.name)
    if not listed:
        (tmp_path / "bag/metadata.yaml").unlink()
    assert ours(tmp_path / "bag") == sent
    done = repair(tmp_path / "bag")
    assert done[0] == f"{last.name}: compressed as the others are"
    check(tmp_path / "bag", sent)
    assert not (tmp_path / "bag" / last.name).exists()


@STORAGES
def test_files_that_were_unpacked_by_hand_are_listed_under_their_names(tmp_path, storage):
    sent = write(tmp_path / "bag", storage, CompressionMode.FILE)
    packed = data_file(tmp_path / "bag")
    packed.with_suffix("").write_bytes(zstandard.ZstdDecompressor().decompressobj().decompress(packed.read_bytes()))
    packed.unlink()
    assert ours(tmp_path / "bag") == sent
    repair(tmp_path / "bag")
    check(tmp_path / "bag", sent)


KILLED = """
import os, signal, sqlite3, sys
database = sqlite3.connect(sys.argv[1])
rows = database.execute("SELECT * FROM messages ORDER BY id").fetchall()[100:]
database.execute("PRAGMA journal_mode=DELETE")
database.execute("DELETE FROM messages WHERE id > 100")
database.commit()
database.execute("VACUUM")
database.execute(f"PRAGMA journal_mode={sys.argv[2]}")
database.execute("PRAGMA wal_autocheckpoint=0")
database.execute("PRAGMA cache_spill=1")
database.execute("PRAGMA cache_size=2")
database.executemany("INSERT INTO messages VALUES (?, ?, ?, ?)", rows)
if sys.argv[2] == "wal":
    database.commit()
os.kill(os.getpid(), signal.SIGKILL)
"""


def kill_writer(file: Path, mode: str) -> None:
    """Take the second half of a database away, write it again, and be killed before it is in the file."""
    subprocess.run([sys.executable, "-c", KILLED, str(file), mode], check=False, timeout=60)


@pytest.mark.parametrize("shared", [True, False], ids=["with -shm", "copied without"])
@pytest.mark.parametrize("keep", [True, False], ids=["metadata", "no metadata"])
def test_a_write_ahead_log_is_taken_in(tmp_path, shared, keep):
    sent = write(tmp_path / "bag", StoragePlugin.SQLITE3)
    file = data_file(tmp_path / "bag")
    kill_writer(file, "wal")
    assert file.with_name(file.name + "-wal").stat().st_size
    if not shared:
        file.with_name(file.name + "-shm").unlink()
    if not keep:
        (tmp_path / "bag/metadata.yaml").unlink()
    left = {p.name: p.read_bytes() for p in (tmp_path / "bag").iterdir()}
    assert ours(tmp_path / "bag") == sent
    assert {p.name: p.read_bytes() for p in (tmp_path / "bag").iterdir()} == left, "reading changes nothing"
    with BagReader(tmp_path / "bag") as reader:
        assert any("-wal holds" in problem for problem in reader.problems)
    assert repair(tmp_path / "bag")[0] == f"{file.name}: {COUNT} messages kept, in one file without a log"
    check(tmp_path / "bag", sent)
    assert sorted(p.name for p in (tmp_path / "bag").iterdir()) == [file.name, "metadata.yaml"]


def test_a_transaction_that_was_not_ended_is_rolled_back(tmp_path):
    """The pages of half a transaction are in the file already; the journal beside it says what they were."""
    sent = write(tmp_path / "bag", StoragePlugin.SQLITE3)
    file = data_file(tmp_path / "bag")
    kill_writer(file, "delete")
    assert file.with_name(file.name + "-journal").stat().st_size
    assert ours(tmp_path / "bag") == sent[:100]
    repair(tmp_path / "bag")
    check(tmp_path / "bag", sent[:100])


def test_a_database_that_is_all_in_its_log_is_read(tmp_path):
    """rosbag2's preset `resilient` sets the log before it makes the tables."""
    write(tmp_path / "other", StoragePlugin.SQLITE3)
    (tmp_path / "bag").mkdir()
    code = (
        "import os, signal, sqlite3, sys; db = sqlite3.connect(sys.argv[1]); db.execute('PRAGMA journal_mode=wal'); "
        "db.execute('PRAGMA wal_autocheckpoint=0'); db.executescript(sys.argv[2]); os.kill(os.getpid(), signal.SIGKILL)"
    )
    with sqlite3.connect(data_file(tmp_path / "other")) as database:
        script = "\n".join(database.iterdump())
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "bag/bag_0.db3"), script], check=False, timeout=60)
    assert len(ours(tmp_path / "bag")) == COUNT
    repair(tmp_path / "bag")
    check(tmp_path / "bag", ours(tmp_path / "other"))


def test_a_database_that_is_open_elsewhere_is_read_and_not_mended(tmp_path):
    sent = write(tmp_path / "bag", StoragePlugin.SQLITE3)
    file = data_file(tmp_path / "bag")
    code = (
        "import sqlite3, sys; db = sqlite3.connect(sys.argv[1]); db.execute('PRAGMA journal_mode=wal'); "
        "db.execute('UPDATE topics SET id = id'); db.commit(); print('open', flush=True); sys.stdin.read()"
    )
    words = [sys.executable, "-c", code, str(file)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as recorder:
        try:
            assert recorder.stdout.readline() == "open\n"
            assert ours(tmp_path / "bag") == sent
            with pytest.raises(BagError, match="is being recorded right now"):
                repair(tmp_path / "bag")
        finally:
            recorder.stdin.close()


def test_a_page_of_a_database_that_is_damaged_costs_what_stands_on_it(tmp_path):
    sent = write(tmp_path / "bag", StoragePlugin.SQLITE3)
    file = data_file(tmp_path / "bag")
    content = bytearray(file.read_bytes())
    at = content.index(b"message 100 message")
    page = at - at % 4096
    content[page : page + 4096] = bytes([0xA5]) * 4096
    file.write_bytes(content)
    found = ours(tmp_path / "bag")
    assert COUNT * 0.8 < len(found) < COUNT and set(found) < set(sent)
    repair(tmp_path / "bag")
    check(tmp_path / "bag", found)


@pytest.mark.parametrize("compression", [CompressionType.NONE, CompressionType.LZ4, CompressionType.ZSTD])
@pytest.mark.parametrize("chunked", [True, False])
def test_a_cut_file_of_another_writer_is_mended_with_all_its_messages(tmp_path, compression, chunked):
    """Without chunks an index finds nothing: a summary that does not say so hides every message."""
    (tmp_path / "bag").mkdir()
    file, sent = tmp_path / "bag/bag_0.mcap", []
    with file.open("wb") as stream:
        writer = McapWriter(stream, chunk_size=2000, use_chunking=chunked, compression=compression)
        writer.start(profile="ros2", library="somebody's")
        schema = writer.register_schema("std_msgs/msg/String", "ros2msg", b"string data\n")
        channel = writer.register_channel("/a", "cdr", schema, {"offered_qos_profiles": ""})
        writer.add_metadata("note", {"who": "me"})
        writer.add_attachment(1, 2, "log.txt", "text/plain", b"hello")
        for k in range(COUNT):
            sent.append(("/a", START + k, string(f"message {k}")))
            writer.add_message(channel, START + k, sent[-1][2], START + k - 5, k)
        writer.finish()
    content = file.read_bytes()
    file.write_bytes(content[: content.index(string(f"message {COUNT // 2}")) + 3] if not chunked else content[:-900])
    before = ours(tmp_path / "bag")
    assert len(before) > COUNT // 3
    repair(tmp_path / "bag")
    check(tmp_path / "bag", before, profiles=False)
    with BagReader(tmp_path / "bag") as reader:
        assert next(reader.messages()).publish_time == START - 5
        assert reader.attachments()["log.txt"] == ("text/plain", b"hello")
        assert reader.files[0].scan.read_metadata()["note"] == {"who": "me"}


def test_a_damaged_chunk_of_a_file_that_is_otherwise_whole_is_left_out(tmp_path):
    from bag_helpers import write_bag

    sent = write_bag(tmp_path / "bag")
    file = tmp_path / "bag/bag_0.mcap"
    middle = scan(file).chunks[4].index
    content = bytearray(file.read_bytes())
    content[middle.chunk_start_offset + 80] ^= 0xFF
    file.write_bytes(content)
    assert "1 damaged chunks left out" in repair(tmp_path / "bag")[0]
    assert len(ours(tmp_path / "bag")) == len(sent) - 10
    with AnyReader([tmp_path / "bag"]) as reader:
        assert len(list(reader.messages())) == len(sent) - 10


def test_a_damaged_chunk_without_a_checksum_is_named_and_left_out(tmp_path):
    (tmp_path / "bag").mkdir()
    file = tmp_path / "bag/bag_0.mcap"
    with file.open("wb") as stream:
        writer = McapWriter(stream, chunk_size=2000, compression=CompressionType.NONE, enable_crcs=False)
        writer.start(profile="ros2", library="somebody's")
        channel = writer.register_channel("/a", "cdr", writer.register_schema("std_msgs/msg/String", "ros2msg", b""))
        for k in range(COUNT):
            writer.add_message(channel, START + k, string(f"message {k}"), START + k)
        writer.finish()
    content = bytearray(file.read_bytes())
    at = content.index(string(f"message {COUNT // 2}")) - 30  # the length of its record
    content[at : at + 8] = bytes([0xFF] * 7 + [0])
    file.write_bytes(content)
    with pytest.raises(BagError, match=r"byte \d+: the chunk is damaged: a record reaches beyond its chunk"):
        ours(tmp_path / "bag")
    assert "1 damaged chunks left out" in repair(tmp_path / "bag")[0]
    assert COUNT * 0.7 < len(ours(tmp_path / "bag")) < COUNT


def test_a_recording_of_another_profile_is_mended_too(tmp_path):
    file = tmp_path / "x.mcap"
    with file.open("wb") as stream:
        writer = McapWriter(stream, chunk_size=500)
        writer.start(profile="", library="foxglove")
        schema = writer.register_schema("foxglove.Log", "jsonschema", b"{}")
        channel = writer.register_channel("/log", "json", schema)
        for k in range(COUNT):
            writer.add_message(channel, START + k, b'{"message": "hello, hello"}', START + k)
        writer.finish()
    file.write_bytes(file.read_bytes()[:4000])
    before = ours(file)
    assert repair(file)[0].startswith(f"x.mcap: {len(before)} messages kept") and len(before) > 20
    with file.open("rb") as stream:
        reader = make_reader(stream)
        assert reader.get_header().profile == "" and len(list(reader.iter_messages())) == len(before)


def test_one_file_of_a_folder_is_mended_and_its_metadata_named(tmp_path):
    write(tmp_path / "bag", StoragePlugin.SQLITE3)
    file = data_file(tmp_path / "bag")
    kill_writer(file, "wal")
    done = repair(file)
    assert done[0].endswith("in one file without a log") and "metadata.yaml beside it is as it was" in done[1]
    assert len(ours(file)) == COUNT


def humble(bag: Path) -> None:
    """Metadata as Humble writes it: version 5, profiles as text with numbers."""
    path = bag / "metadata.yaml"
    data = yaml.safe_load(path.read_text())
    information = data["rosbag2_bagfile_information"]
    information["version"] = 5
    for key in ("custom_data", "ros_distro"):
        information.pop(key, None)
    for topic in information["topics_with_message_count"]:
        topic["topic_metadata"].pop("type_description_hash")
    information["message_count"] -= 1
    information["topics_with_message_count"][0]["message_count"] -= 1
    path.write_text(yaml.safe_dump(data))


@STORAGES
def test_metadata_stays_in_the_version_of_the_distribution_that_recorded(tmp_path, storage):
    sent = write(tmp_path / "bag", storage, version=8)
    humble(tmp_path / "bag")
    with BagReader(tmp_path / "bag") as reader:
        assert reader.problems == [f"metadata.yaml: says {COUNT - 1} messages, the files hold {COUNT}"]
    repair(tmp_path / "bag")
    check(tmp_path / "bag", sent)
    information = yaml.safe_load((tmp_path / "bag/metadata.yaml").read_text())["rosbag2_bagfile_information"]
    assert information["version"] == 5 and information["message_count"] == COUNT
    assert not {"custom_data", "ros_distro"} & set(information)
    entry = information["topics_with_message_count"][0]["topic_metadata"]
    assert isinstance(entry["offered_qos_profiles"], str) and "reliability: 1" in entry["offered_qos_profiles"]
    (tmp_path / "bag/metadata.yaml").unlink()
    repair(tmp_path / "bag")
    check(tmp_path / "bag", sent)
    told = yaml.safe_load((tmp_path / "bag/metadata.yaml").read_text())["rosbag2_bagfile_information"]
    assert told["version"] == 8, "names of profiles would not be understood before version 9"


def state(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def refuse_reading_back(monkeypatch, bag: Path) -> None:
    monkeypatch.setattr(module, "by_another_library", lambda bag: ("rosbags", "ReaderError: no"))


def refuse_room(monkeypatch, bag: Path) -> None:
    def full(source, target, **options):
        Path(target).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shutil.copyfile", full)


def write_meanwhile(monkeypatch, bag: Path) -> None:
    real = module.by_another_library

    def late(found):
        os.utime(data_file(bag), ns=(1, 1))
        return real(found)

    monkeypatch.setattr(module, "by_another_library", late)


@MODES
@STORAGES
@pytest.mark.parametrize(
    ("hinder", "says"),
    [
        (refuse_reading_back, "the bag is as it was: of the result, rosbags reads: ReaderError: no"),
        (refuse_room, "the bag is as it was: No space left on device"),
        (write_meanwhile, "was written to while it was mended"),
    ],
)
def test_a_bag_that_cannot_be_mended_stays_as_it_was(tmp_path, monkeypatch, storage, mode, hinder: Callable, says: str):
    write(tmp_path / "bag", storage, mode, size=20_000)
    file = data_file(tmp_path / "bag")
    file.write_bytes(file.read_bytes()[: file.stat().st_size * 4 // 5])
    before = state(tmp_path)
    hinder(monkeypatch, tmp_path / "bag")
    with pytest.raises(BagError, match=says):
        repair(tmp_path / "bag")
    assert state(tmp_path) == before and not list((tmp_path / "bag").glob(".*"))


def test_what_an_interrupted_repair_left_is_no_part_of_the_bag_and_goes(tmp_path):
    sent = write(tmp_path / "bag", StoragePlugin.MCAP)
    left = tmp_path / "bag" / STAGING
    left.mkdir()
    shutil.copy(data_file(tmp_path / "bag"), left / "bag.mcap")
    (tmp_path / "bag/metadata.yaml").unlink()
    assert ours(tmp_path / "bag") == sent
    repair(tmp_path / "bag")
    check(tmp_path / "bag", sent)


def test_files_of_two_formats_in_one_folder_are_read_and_not_listed_together(tmp_path):
    sent = write(tmp_path / "bag", StoragePlugin.MCAP)
    sent += write(tmp_path / "other", StoragePlugin.SQLITE3, first=COUNT)
    shutil.move(data_file(tmp_path / "other"), tmp_path / "bag/bag_1.db3")
    (tmp_path / "bag/metadata.yaml").unlink()
    assert ours(tmp_path / "bag") == sent
    with pytest.raises(BagError, match="holds MCAP and sqlite3 files"):
        repair(tmp_path / "bag")


def test_a_missing_file_is_no_longer_listed(tmp_path):
    sent = write(tmp_path / "bag", StoragePlugin.MCAP)
    path = tmp_path / "bag/metadata.yaml"
    data = yaml.safe_load(path.read_text())
    data["rosbag2_bagfile_information"]["relative_file_paths"].append("bag_1.mcap")
    path.write_text(yaml.safe_dump(data))
    repair(tmp_path / "bag")
    check(tmp_path / "bag", sent)


def test_the_command_says_what_it_did_and_that_nothing_is_left(tmp_path, capsys):
    import argparse

    write(tmp_path / "bag", StoragePlugin.SQLITE3, CompressionMode.FILE)
    (tmp_path / "bag/metadata.yaml").unlink()
    parser = argparse.ArgumentParser()
    info.add_arguments(parser)
    assert info.main(parser.parse_args([str(tmp_path / "bag")])) == 1
    assert "info --repair" in capsys.readouterr().out
    assert info.main(parser.parse_args([str(tmp_path / "bag"), "--repair"])) == 0
    out = capsys.readouterr().out
    assert "metadata.yaml: written anew" in out and f"{COUNT} messages" in out and "db3.zstd" in out
