# SPDX-License-Identifier: Apache-2.0
"""The queue between the loop and the disk never blocks, and the ring buffer writes what came before a stop."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from itertools import pairwise

import pytest
from bag_helpers import START, string
from rosbags.highlevel import AnyReader

from jepa_ros.bags import BagError
from jepa_ros.bags.format.message_types import typestore
from jepa_ros.bags.format.reader import BagReader
from jepa_ros.bags.format.schema import default_qos, definition
from jepa_ros.bags.format.writer import BagWriter, WriterConfig
from jepa_ros.bags.record.ring_buffer import RingWriter, gate_mode, gate_watch
from jepa_ros.bags.record.writer_thread import WriterThread

STRING = definition("std_msgs/msg/String")


def gate_state(mode: str) -> bytes:
    """A gate's state message, as the node publishes it."""
    store = typestore()
    types = store.types
    pair = types["diagnostic_msgs/msg/KeyValue"]
    status = types["diagnostic_msgs/msg/DiagnosticStatus"](
        level=0, name="safety_gate", message="", hardware_id="", values=[pair(key="mode", value=mode)]
    )
    from bag_helpers import header

    message = types["diagnostic_msgs/msg/DiagnosticArray"](header=header(START), status=[status])
    return bytes(store.serialize_cdr(message, "diagnostic_msgs/msg/DiagnosticArray"))


class SlowWriter:
    """A disk that takes its time."""

    def __init__(self, gate: threading.Event) -> None:
        self.gate, self.written = gate, []

    def add_topic(self, name, msgtype, qos):
        return name

    def write(self, topic, log_time, data, publish_time, sequence):
        self.gate.wait(60)
        self.written.append(data)

    def tick(self):
        pass

    def close(self, report=None):
        self.report = report


def test_a_slow_disk_never_blocks_and_drops_are_counted():
    gate = threading.Event()
    writer = SlowWriter(gate)
    thread = WriterThread(writer, max_bytes=10_000)
    thread.start()
    thread.declare("/a", STRING, [])
    began = time.monotonic()
    taken = sum(thread.offer("/a", k, k, b"x" * 800) for k in range(100))
    assert time.monotonic() - began < 1.0
    assert 10 <= taken <= 12
    assert thread.dropped == {"/a": 100 - taken}
    thread.hand_over()
    assert thread.offer("/a", 100, 100, b"x" * 800) is False  # handed over is not yet written
    thread.dropped["/a"] -= 1
    gate.set()
    thread.finish(lambda: {"dropped": thread.dropped["/a"]})
    assert len(writer.written) == taken and writer.report == {"dropped": 100 - taken}
    assert thread.pending_bytes == 0


def test_a_writer_that_fails_stops_the_thread_from_writing_and_tells(tmp_path):
    writer = BagWriter(tmp_path / "bag", WriterConfig(min_free_bytes=1 << 60))
    thread = WriterThread(writer)
    thread.start()
    thread.declare("/a", STRING, [default_qos()])
    thread.offer("/a", START, START, string("x"))
    thread.hand_over()
    end = time.monotonic() + 60
    while thread.error is None and time.monotonic() < end:
        time.sleep(0.01)
    assert isinstance(thread.error, BagError) and "left on the disk" in str(thread.error)
    assert thread.offer("/a", START, START, string("y")) is False
    thread.finish()


def ring(tmp_path, seconds=2.0, after=0.5, **kwargs) -> RingWriter:
    config = WriterConfig(min_free_bytes=0, chunk_bytes=4000)
    watch = gate_watch("/safety_gate/state", {"STOPPED", "ESTOP"})
    return RingWriter(tmp_path / "ring", seconds, after, watch, config, **kwargs)


def feed(writer: RingWriter, modes: list[str], period: float = 0.05, first: int = 0) -> None:
    """One text and one gate state every `period` seconds."""
    gate = writer.add_topic("/safety_gate/state", definition("diagnostic_msgs/msg/DiagnosticArray"), [default_qos()])
    a = writer.add_topic("/a", STRING, [default_qos()])
    for k, mode in enumerate(modes, first):
        now = START + int(k * period * 1e9)
        writer.write(a, now, string(f"{k} {'x' * 200}"), now, k)
        writer.write(gate, now, gate_state(mode), now, k)


def test_the_ring_buffer_writes_what_came_before_a_stop_and_a_little_after(tmp_path):
    writer = ring(tmp_path)
    latched = writer.add_topic("/model_id", STRING, [default_qos(durability="transient_local")])
    writer.write(latched, START, string("model"), START, 0)
    feed(writer, ["ACTIVE"] * 200 + ["STOPPED"] * 60)  # the stop is at 10 s, the end at 13 s
    writer.close()
    assert [path.name.split("_")[-1] for path in writer.bags] == ["STOPPED"]
    with BagReader(writer.bags[0]) as bag:
        assert bag.complete
        times = [(m.time - START) * 1e-9 for m in bag.messages(["/a"])]
        assert 7.5 < times[0] <= 8.0  # 2 s before, to the chunk
        assert 10.5 <= times[-1] < 10.7  # 0.5 s after
        assert [round(b - a, 6) for a, b in pairwise(times)] == [0.05] * (len(times) - 1)
        assert [m.data for m in bag.messages(["/model_id"])] == [string("model")]  # latched long before
        assert bag.custom_data["jepa_ros.trigger"] == "STOPPED"
    with AnyReader([writer.bags[0]]) as reader:
        assert reader.message_count == len(list(reader.messages())) > 2 * len(times) - 2


def test_every_intervention_has_a_bag_and_none_without(tmp_path):
    writer = ring(tmp_path, seconds=0.5, after=0.2)
    feed(writer, ["STOPPED"] * 20 + ["ACTIVE"] * 20 + ["ESTOP"] * 20 + ["ACTIVE"] * 20 + ["STOPPED"] * 3)
    assert len(writer.bags) == 2  # the mode at the beginning is no intervention
    writer.close()
    with BagReader(writer.bags[1]) as bag:
        assert bag.complete and bag.message_count > 10


def test_the_recorder_loads_no_model_library():
    """Watching the gate's mode took the ring buffer's recorder seconds of loading torch, in the middle of a drive."""
    program = (
        "import sys; from jepa_ros.bags.record.ring_buffer import gate_mode; import jepa_ros.bags.replay.recording\n"
        f"assert gate_mode({gate_state('stopped')!r}) == 'STOPPED'\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], timeout=120).returncode == 0


def test_the_ring_buffer_is_bounded_in_bytes(tmp_path):
    writer = ring(tmp_path, seconds=1e6, max_bytes=20_000)
    writer.config.compression = ""
    feed(writer, ["ACTIVE"] * 2000)
    assert writer._ring_bytes <= 20_000
    writer.close()


def test_a_new_topic_during_an_intervention_is_in_its_bag(tmp_path):
    writer = ring(tmp_path, after=5.0)
    feed(writer, ["ACTIVE"] * 10 + ["STOPPED"] * 10)
    late = writer.add_topic("/late", STRING, [default_qos()])
    writer.write(late, START + 2 * 10**9, string("late"), START, 0)
    writer.close()
    with BagReader(writer.bags[0]) as bag:
        assert [m.data for m in bag.messages(["/late"])] == [string("late")]


@pytest.mark.parametrize("mode", ["ACTIVE", "Estop"])
def test_the_mode_is_read_from_the_gates_state(mode):
    assert gate_mode(gate_state(mode)) == mode.upper()


@pytest.mark.parametrize("data", [b"", b"\0\1\0\0", string("ACTIVE"), b"\0\1\0\0" + b"\xff" * 40])
def test_a_trigger_of_another_type_is_a_clear_error(data):
    with pytest.raises(BagError, match=r"--trigger is no diagnostic_msgs/msg/DiagnosticArray.*the gate's state"):
        gate_mode(data)
