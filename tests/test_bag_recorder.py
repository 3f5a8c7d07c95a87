# SPDX-License-Identifier: Apache-2.0
"""The recorder as a process among ROS processes: every byte, every end."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.duration import Duration
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.serialization import serialize_message
from rosbags.highlevel import AnyReader
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image
from std_msgs.msg import String

from jepa_ros.bags import CONTRACT_KEY, BagError
from jepa_ros.bags.format.reader import BagReader
from jepa_ros.bags.format.repair import repair
from jepa_ros.bags.record.command import run_module
from jepa_ros.bags.record.recorder import Recorder
from jepa_ros.bags.record.simulated_time import DEPTH, SimulatedTime
from jepa_ros.messages.stamps import raw_stamp

BEST_EFFORT = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class Graph:
    """A node that publishes steadily from a thread of its own, and remembers the bytes it sent."""

    def __init__(self) -> None:
        self.context = rclpy.Context()
        rclpy.init(context=self.context)
        self.node = rclpy.create_node("talker", context=self.context)
        self.sent: dict[str, list[bytes]] = defaultdict(list)
        self.publishers: dict[str, object] = {}
        self._steady: dict[str, object] = {}
        self._running = True
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def advertise(self, topic: str, kind: type, qos=10) -> None:
        self.publishers[topic] = self.node.create_publisher(kind, topic, qos)

    def publish(self, topic: str, message) -> None:
        data = serialize_message(message)  # published as bytes: padding inside a message is not the same twice
        self.sent["/" + topic].append(data)
        self.publishers[topic].publish(data)

    def steady(self, topic: str, make) -> None:
        """Publish make(k) at 50 Hz."""
        with self._lock:
            self._steady[topic] = make

    def _run(self) -> None:
        k = 0
        while self._running:
            with self._lock:
                for topic, make in self._steady.items():
                    self.publish(topic, make(k))
            k += 1
            time.sleep(0.02)

    def stop_publishing(self) -> None:
        with self._lock:
            self._steady.clear()

    def close(self) -> None:
        self._running = False
        self._thread.join()
        self.node.destroy_node()
        self.context.shutdown()

    def wait_heard(self, topic: str, count: int = 1, timeout: float = 60.0) -> None:
        """Wait until `topic` has `count` subscriptions."""
        end = time.monotonic() + timeout
        while self.publishers[topic].get_subscription_count() < count:
            assert time.monotonic() < end, f"{topic} was not subscribed to"
            time.sleep(0.02)


@pytest.fixture
def graph():
    made = Graph()
    yield made
    made.close()


def image(k: int, edge: int = 64) -> Image:
    message = Image(height=edge, width=edge, encoding="rgb8", step=3 * edge)
    message.header.frame_id = str(k)
    message.data.frombytes(os.urandom(edge * edge * 3))
    return message


def wait_for(check, what: str, timeout: float = 60.0) -> None:
    end = time.monotonic() + timeout
    while not check():
        assert time.monotonic() < end, what
        time.sleep(0.02)


def received(path: Path) -> dict[str, list[bytes]]:
    found: dict[str, list[bytes]] = defaultdict(list)
    with AnyReader([path]) as reader:
        for connection, _, data in reader.messages():
            found[connection.topic].append(bytes(data))
    return found


def contiguous(part: list[bytes], whole: list[bytes]) -> bool:
    """True when `part` is an unbroken piece of `whole`."""
    first = next((k for k, sent in enumerate(whole) if part and same(part[:1], [sent])), None)
    return first is not None and same(part, whole[first : first + len(part)])


def in_order(part: list[bytes], whole: list[bytes], lost: int = 3) -> bool:
    """True when `part` is in the order of `whole`, with at most `lost` left out in between.

    On a busy machine the middleware itself may drop a message on its way; the recorder cannot.
    """
    first = next((k for k, sent in enumerate(whole) if part and same(part[:1], [sent])), None)
    if first is None:
        return False
    rest, gaps = iter(whole[first:]), 0
    for message in part:
        for sent in rest:
            if same([message], [sent]):
                break
            gaps += 1
        else:
            return False
    return gaps <= lost


def same(recorded: list[bytes], sent: list[bytes]) -> bool:
    """True when message for message is the same; on the wire the middleware pads to a multiple of four bytes."""
    return len(recorded) == len(sent) and all(
        r[: len(s)] == s and len(r) == -(-len(s) // 4) * 4 for r, s in zip(recorded, sent, strict=True)
    )


def test_the_bytes_of_every_topic_are_recorded_late_and_latched_ones_too(graph, tmp_path):
    graph.advertise("image", Image, BEST_EFFORT)
    graph.advertise("model_id", String, LATCHED)
    graph.publish("model_id", String(data="abc"))
    with Recorder(tmp_path / "bag", robot="arena") as recorder:
        graph.wait_heard("image")
        graph.steady("image", image)
        graph.advertise("late", String)
        graph.wait_heard("late")
        for k in range(20):
            graph.publish("late", String(data=str(k)))
        wait_for(lambda: len(graph.sent["/image"]) > 50, "no images were sent")
        graph.stop_publishing()
        for topic, count in (("/model_id", 1), ("/late", 20)):
            wait_for(lambda t=topic, c=count: recorder.heard(t) == c, "it was not told how much the recorder heard")
        assert recorder.heard("/no_such") == 0
    report = recorder.report
    assert report["dropped"] == 0 and report["lost"] == 0 and report["error"] is None
    found = received(tmp_path / "bag")
    assert same(found["/late"], graph.sent["/late"])
    assert same(found["/model_id"], graph.sent["/model_id"])
    assert contiguous(found["/image"], graph.sent["/image"]) and len(found["/image"]) > 40
    with BagReader(tmp_path / "bag") as bag:
        assert bag.complete and report["messages"] == bag.message_count
        assert bag.topics["/image"].qos[0]["reliability"] == "best_effort"
        assert bag.topics["/model_id"].qos[0]["durability"] == "transient_local"
        assert '"name": "arena"' in bag.custom_data[CONTRACT_KEY]
        assert "contract.json" in bag.attachments()
        for message in bag.messages(["/late"]):
            assert 0 <= message.time - message.publish_time < 1e9
            assert abs(message.time - time.time_ns()) < 60e9


def test_a_list_of_topics_is_all_that_is_recorded_and_missing_ones_are_named(graph, tmp_path):
    graph.advertise("wanted", String)
    graph.advertise("other", String)
    with Recorder(tmp_path / "bag", topics=["wanted", "nobody"]) as recorder:
        graph.wait_heard("wanted")
        graph.publish("wanted", String(data="x"))
        graph.publish("other", String(data="x"))
        wait_for(lambda: recorder.heard("/wanted") == 1, "the recorder did not hear it")
    assert list(received(tmp_path / "bag")) == ["/wanted"]
    assert recorder.report["never_seen"] == ["/nobody"]


def test_a_publisher_with_weaker_qos_that_comes_later_is_heard(graph, tmp_path):
    graph.advertise("topic", String)
    with Recorder(tmp_path / "bag", topics=["topic"]) as recorder:
        graph.wait_heard("topic")
        graph.publish("topic", String(data="reliable"))
        wait_for(lambda: recorder.heard("/topic") == 1, "the recorder did not hear it")
        first = graph.publishers["topic"]
        graph.advertise("topic", String, BEST_EFFORT)
        graph.wait_heard("topic")
        graph.steady("topic", lambda k: String(data="best effort"))  # the first may come before it is known there
        wait_for(lambda: recorder.heard("/topic") > 1, "the recorder does not hear the second publisher")
        assert first is not graph.publishers["topic"]
    found, sent = received(tmp_path / "bag")["/topic"], graph.sent["/topic"]
    assert same(found[:1], sent[:1]) and len(found) > 1 and contiguous(found[1:], sent[1:])


@pytest.mark.parametrize("qos", [10, LATCHED], ids=["volatile", "latched"])
def test_the_one_message_of_a_short_lived_publisher_is_recorded_once(graph, tmp_path, qos):
    """A goal: somebody listens, a process says it once and ends before a recorder could look for it."""
    graph.node.create_subscription(String, "goal", lambda message: None, 10)
    with Recorder(tmp_path / "bag"):
        wait_for(lambda: graph.node.count_subscribers("goal") == 2, "the recorder does not listen yet")
        graph.advertise("goal", String, qos)
        graph.wait_heard("goal", 2)
        graph.publish("goal", String(data="there"))
        if qos == 10:
            graph.publishers["goal"].wait_for_all_acked(Duration(seconds=10))
            graph.node.destroy_publisher(graph.publishers["goal"])
        else:
            wait_for(lambda: graph.node.count_subscribers("goal") == 3, "the recorder asks for no latched message")
            wait_for(lambda: graph.node.count_subscribers("goal") == 2, "the recorder keeps both subscriptions")
    assert same(received(tmp_path / "bag")["/goal"], graph.sent["/goal"])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_recording_with_a_whole_bag(graph, tmp_path, number):
    graph.advertise("a", String)
    graph.steady("a", lambda k: String(data=str(k)))
    recorder = Recorder(tmp_path / "bag").start()
    graph.wait_heard("a")
    time.sleep(0.5)
    os.kill(recorder.pid, number)
    recorder.stop()
    with BagReader(tmp_path / "bag") as bag:
        assert bag.complete
    assert contiguous(received(tmp_path / "bag")["/a"], graph.sent["/a"])


def test_an_existing_folder_is_a_clear_error(tmp_path):
    (tmp_path / "bag").mkdir()
    with pytest.raises(BagError, match="exists already"):
        Recorder(tmp_path / "bag").start()
    command = [sys.executable, "-m", "jepa_ros.bags.record", "-o", str(tmp_path / "bag")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2 and done.stderr.startswith("error: ") and "exists already" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--max-size", "-3"], "--max-size: expected a number of at least 0, found '-3'"),
        (["--duration", "nan"], "--duration: expected a finite number of at least 0"),
        (["--queue", "0"], "--queue: expected a number of at least 1, found '0'"),
        (["--level", "0"], "--level: expected a whole number from 1 to 22"),
        (["--regex", "image("], "--regex 'image(' is no regular expression"),
        (["--exclude", "*"], "--exclude '*' is no regular expression"),
    ],
)
def test_a_value_that_means_nothing_is_refused_before_anything_is_recorded(tmp_path, capsys, words, says):
    assert run_module(["-o", str(tmp_path / "bag"), *words]) == 2
    assert says in capsys.readouterr().err
    assert not (tmp_path / "bag").exists()


def test_a_full_disk_ends_the_recorder_with_an_error_and_a_readable_bag(graph, tmp_path):
    graph.advertise("image", Image)
    graph.steady("image", image)
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(small)], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting is not allowed here")
    try:
        # Random pixels do not compress; 12 kB at 50 Hz fill a megabyte in under two seconds.
        recorder = Recorder(small / "bag", extra=["--min-free", "0"]).start()
        wait_for(lambda: not recorder.alive(), "the recorder did not end")
        with pytest.raises(BagError, match="No space left on device"):
            recorder.stop()
        assert recorder.report["error"]
        with BagReader(small / "bag") as bag:
            assert bag.complete and bag.message_count > 20
        assert contiguous(received(small / "bag")["/image"], graph.sent["/image"])
    finally:
        subprocess.run(["umount", str(small)], check=True)


@pytest.mark.parametrize("edge", [64, 320])
def test_kill_9_loses_at_most_the_last_second(graph, tmp_path, edge):
    graph.advertise("image", Image)
    graph.steady("image", lambda k: image(k, edge))
    lost = []
    for attempt in range(2):
        path = tmp_path / f"bag{attempt}"
        recorder = Recorder(path).start()
        wait_for(lambda p=path: (p / f"{p.name}_0.mcap").stat().st_size > 30_000, "nothing was recorded")
        time.sleep(random.uniform(0.2, 1.2))
        killed = time.time_ns()
        recorder.kill()
        with BagReader(path) as bag:
            assert (not bag.complete and "without a summary" in bag.problems[0]) or "inside a record" in bag.problems[0]
            lost.append((killed - bag.end) * 1e-9)
            count = bag.message_count
            assert sum(1 for _ in bag.messages()) == count > 0
        repair(path)
        found = received(path)
        assert sum(map(len, found.values())) == count
        assert in_order(found["/image"], graph.sent["/image"])
    assert min(lost) < 1.0  # a busy machine may keep the recorder, of low priority, from running for a while


def test_the_ring_buffer_is_written_when_the_gate_stops(graph, tmp_path):
    def state(mode: str) -> DiagnosticArray:
        return DiagnosticArray(status=[DiagnosticStatus(values=[KeyValue(key="mode", value=mode)])])

    graph.advertise("safety_gate/state", DiagnosticArray, LATCHED)
    graph.advertise("a", String)
    mode = ["ACTIVE"]
    graph.steady("a", lambda k: String(data=str(k)))
    graph.steady("safety_gate/state", lambda k: state(mode[0]))
    with Recorder(tmp_path / "ring", extra=["--ring", "1.5", "--after", "0.5"]) as recorder:
        graph.wait_heard("a")
        graph.wait_heard("safety_gate/state")
        wait_for(lambda: recorder.heard("/a") >= 150, "3 s were not heard")
        mode[0] = "STOPPED"
        time.sleep(2.5)
    (bag_path,) = map(Path, recorder.report["bags"])
    with BagReader(bag_path) as bag:
        assert bag.complete
        times = [m.time for m in bag.messages(["/a"])]
        trigger = int(bag.custom_data["jepa_ros.trigger_time_ns"])
        assert 1.4 < (trigger - times[0]) * 1e-9 < 2.7
        assert 0.4 < (times[-1] - trigger) * 1e-9 < 2.0


def test_the_recorder_ends_when_its_parent_dies(tmp_path):
    code = (
        "import os, sys; from jepa_ros.bags.record import Recorder; "
        f"r = Recorder({str(tmp_path / 'bag')!r}).start(); print(r.pid, flush=True); os._exit(0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    pid = int(done.stdout)

    def gone() -> bool:
        try:
            return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
        except FileNotFoundError:
            return True

    wait_for(gone, "the recorder outlived its parent")
    with BagReader(tmp_path / "bag") as bag:
        assert bag.complete


def stamp_of(ns: int) -> Clock:
    message = Clock()
    message.clock.sec, message.clock.nanosec = divmod(ns, 10**9)
    return message


def test_log_times_of_a_simulation_are_what_clock_said(graph, tmp_path):
    """Half of the real time: /clock and images come 0.02 s apart, 0.01 s by the clock."""
    graph.advertise("clock", Clock, BEST_EFFORT)
    graph.advertise("image", Image, BEST_EFFORT)

    def stamped(k: int) -> Image:
        message = image(k, 8)
        message.header.stamp = stamp_of(k * 10_000_000).clock
        return message

    graph.steady("clock", lambda k: stamp_of(k * 10_000_000))
    graph.steady("image", stamped)
    with Recorder(tmp_path / "bag", extra=["--use-sim-time"]):
        wait_for(lambda: (tmp_path / "bag/bag_0.mcap").stat().st_size > 20_000, "nothing was recorded")
    with BagReader(tmp_path / "bag") as bag:
        late = np.array([m.time - raw_stamp(m.data) for m in bag.messages(["/image"])])
    assert len(late) > 20 and abs(np.median(late)) <= 20_000_000


def test_a_backlog_has_the_simulated_times_of_its_receipt_and_not_of_when_it_was_taken():
    words: list[tuple[bytes, dict]] = []

    class Handle(contextlib.nullcontext):
        def take_message(self, *_: object):
            return words.pop(0) if words else None

    node = SimpleNamespace(create_subscription=lambda *_, **__: SimpleNamespace(handle=Handle()))
    times = SimulatedTime(node)
    times.listen()
    assert times.at(1000) == 0
    for k in range(3 * DEPTH):
        words.append((serialize_message(stamp_of(5_000 + 10 * k)), {"received_timestamp": 1_000 + 100 * k}))
        if k % 4000 == 3999:
            times.listen()
    times.listen()
    last = 3 * DEPTH - 1
    for k in (last, last - 1, last - 4000):
        assert times.at(1_000 + 100 * k) == times.at(1_099 + 100 * k) == 5_000 + 10 * k
    assert times.at(0) > 0  # what came before anything that is remembered
