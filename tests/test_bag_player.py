# SPDX-License-Identifier: Apache-2.0
"""`jepa-ros replay BAG` over ROS: the recorded bytes, in their order and time, with the bag's clock."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace

import pytest
import rclpy
from bag_helpers import START, merged
from drive_bag import Drive, write_drive
from geometry_msgs.msg import PoseWithCovarianceStamped, TwistStamped
from rclpy.executors import SingleThreadedExecutor
from rosbags.rosbag2 import StoragePlugin
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image

from jepa_ros.bags.format.reader import BagReader
from jepa_ros.bags.replay.player import input_topics
from jepa_ros.contract import load_contract
from jepa_ros.messages.stamps import raw_stamp
from jepa_ros.ros_env import ros_environment


class Listener:
    """Hears the topics of a played bag, as bytes with the time of receipt."""

    def __init__(self) -> None:
        self.context = rclpy.Context()
        rclpy.init(context=self.context)
        self.node = rclpy.create_node("listener", context=self.context)
        self.heard: dict[str, list[tuple[float, bytes]]] = {}
        for topic, kind in (
            ("/image", Image), ("/pose", PoseWithCovarianceStamped), ("/clock", Clock), ("/cmd_vel", TwistStamped),
        ):  # fmt: skip
            self.heard[topic] = []

            def take(data: bytes, topic=topic) -> None:
                self.heard[topic].append((time.monotonic(), bytes(data)))

            self.node.create_subscription(kind, topic, take, 500, raw=True)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self._running = True
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while self._running:
            self.executor.spin_once(timeout_sec=0.05)

    def close(self) -> None:
        self._running = False
        self._thread.join()
        self.executor.shutdown()
        self.node.destroy_node()
        self.context.shutdown()

    def data(self, topic: str) -> list[bytes]:
        return [data for _, data in self.heard[topic]]

    def wait(self, topic: str, count: int, timeout: float = 60.0) -> None:
        end = time.monotonic() + timeout
        while len(self.heard[topic]) < count:
            assert time.monotonic() < end, f"{len(self.heard[topic])} of {count} messages on {topic}"
            time.sleep(0.02)


@pytest.fixture
def listener():
    made = Listener()
    yield made
    made.close()


@pytest.fixture(scope="module")
def bag(tmp_path_factory):
    path = tmp_path_factory.mktemp("player") / "bag"
    write_drive(path, Drive(seconds=3.0))
    return path


@pytest.fixture
def start():
    """Starts the command; what still runs at the end of a test is killed."""
    running: list[subprocess.Popen] = []

    def begin(*words, **options) -> subprocess.Popen:
        command = [sys.executable, "-m", "jepa_ros.commands.cli", "replay", *map(str, words)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        running.append(subprocess.Popen(command, env=ros_environment(), **pipes, **options))
        return running[-1]

    yield begin
    for process in running:
        process.kill()
        process.wait()


def recorded(bag, topic: str) -> list[bytes]:
    with BagReader(bag) as reader:
        return [message.data for message in reader.messages({topic})]


def padded(data: list[bytes]) -> list[bytes]:
    """The middleware pads a message to a multiple of four bytes."""
    return [d + b"\0" * (-len(d) % 4) for d in data]


def test_inputs_are_played_byte_for_byte_and_outputs_are_not(bag, listener, start):
    process = start(bag, "--rate", "4")
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    images = recorded(bag, "/image")
    listener.wait("/image", len(images))
    assert padded(listener.data("/image")) == padded(images)
    assert padded(listener.data("/pose")) == padded(recorded(bag, "/pose"))
    assert listener.data("/cmd_vel") == []
    assert "messages of" in out


def test_of_two_types_on_a_topic_one_is_played_and_the_other_is_named(tmp_path, listener, start):
    """And a bag that begins at log time 0 begins its clock there."""
    late = Drive(seconds=2.0, twist=True, silent={"/cmd_vel": (0.0, 1.5)}, received=lambda t: round((t - 0.001) * 1e9))
    early = replace(late, twist=False, silent={"/cmd_vel": (1.5, 2.0)})
    write_drive(tmp_path / "early", early)
    write_drive(tmp_path / "late", late)
    merged(tmp_path / "bag", StoragePlugin.MCAP, tmp_path / "early", tmp_path / "late")
    process = start(tmp_path / "bag", "--all", "--rate", "2")
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    said = "/cmd_vel: 25 messages of geometry_msgs/msg/Twist, the others are geometry_msgs/msg/TwistStamped"
    assert f"not played: {said}" in out
    with BagReader(tmp_path / "bag") as reader:
        sent = [m.data for m in reader.messages({"/cmd_vel"}) if m.msgtype.endswith("TwistStamped")]
        assert reader.start == 0
    listener.wait("/cmd_vel", 75)
    assert padded(listener.data("/cmd_vel")) == padded(sent)
    assert raw_stamp(listener.data("/clock")[0]) == 0


def test_the_bags_clock_is_played_and_the_rate_is_kept(bag, listener, start):
    for _ in range(3):  # a busy machine may hold up the player, but not each time
        for kept in listener.heard.values():
            kept.clear()
        process = start(bag, "--rate", "2", "--start", "0.5", "--duration", "2")
        assert process.wait(120) == 0
        listener.wait("/clock", 40)
        clock = [raw_stamp(data) for data in listener.data("/clock")]
        assert clock == sorted(clock)
        times = [t for t, _ in listener.heard["/image"]]
        assert 18 <= len(times) <= 21
        whole = clock[-1] - clock[0] == pytest.approx(2e9, rel=0.05)
        if whole and times[-1] - times[0] == pytest.approx(0.95, abs=0.35):  # 1.9 s of images at twice the speed
            break
    assert clock[0] == pytest.approx(START + 0.5e9, abs=0.1e9) and clock[-1] - clock[0] == pytest.approx(2e9, rel=0.05)
    assert times[-1] - times[0] == pytest.approx(0.95, abs=0.35)


def test_as_fast_as_possible_and_everything(bag, listener, start):
    process = start(bag, "--rate", "0", "--all")
    assert process.wait(120) == 0
    listener.wait("/image", 30)
    assert len(listener.data("/cmd_vel")) > 50


def test_a_loop_goes_on_until_a_signal_and_the_clock_jumps_back(bag, listener, start):
    process = start(bag, "--rate", "8", "--loop")
    listener.wait("/image", 70)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0
    clock = [raw_stamp(data) for data in listener.data("/clock")]
    assert any(b < a - 1e9 for a, b in pairwise(clock))


def test_stepping_waits_for_enter_at_each_image(bag, listener, start):
    process = start(bag, "--step", "--rate", "0", stdin=subprocess.PIPE)
    for wanted in (1, 2, 3):
        process.stdin.write("\n")
        process.stdin.flush()
        listener.wait("/image", wanted)
        time.sleep(0.2)
        assert len(listener.data("/image")) == wanted
    process.send_signal(signal.SIGTERM)
    process.stdin.write("\n" * 5)
    process.stdin.close()
    assert process.wait(60) == 0


@pytest.mark.parametrize(
    ("seconds", "words", "says"),
    [
        (0.0, [], "bag: no image on /image in this bag"),
        (3.0, ["--start", "5"], "--start 5 is behind the end: "),
    ],
)
def test_nothing_to_play_is_an_error(tmp_path, start, seconds, words, says):
    write_drive(tmp_path / "bag", Drive(seconds=seconds))
    process = start(tmp_path / "bag", "--wait", "0", *words)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 2 and says in err and "Traceback" not in err


def test_nobody_listening_is_an_error_that_says_what_to_start(bag, start):
    process = start(bag, "--wait", "0.5")
    _, err = process.communicate(timeout=120)
    assert process.returncode == 2
    assert "nobody listened to /image" in err and "jepa-ros up replay" in err and "Traceback" not in err
    assert os.path.isdir(bag)


def test_goals_of_every_kind_are_played_and_what_the_stack_said_is_not():
    inputs = ["/image", "/goal_image", "/goal_pose", "/goal_tag", "/goal_place", "/clock"]
    bag = SimpleNamespace(topics=[*inputs, "/planner/memory", "/planner/goal", "/command_raw"])
    assert input_topics(bag, load_contract("arena")) == inputs
