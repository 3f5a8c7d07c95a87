# SPDX-License-Identifier: Apache-2.0
"""Playing a bag into running nodes over ROS, with the bag's clock: what `jepa-ros replay BAG` does by default.

Only inputs are played (images, state, goals, teleoperation, /clock), byte for byte, with the QoS that they were
recorded with; perception, planner and gate of `jepa-ros up replay` or replay.launch.py answer them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock

from jepa_ros.bags import BagError
from jepa_ros.bags.format.reader import BagReader
from jepa_ros.bags.format.storage import Message, TopicInfo
from jepa_ros.contract import RobotContract
from jepa_ros.messages.types import MessageTypeError, message_class
from jepa_ros.names import full_name

DEPTH = 100
"""Messages of a topic that are kept for listeners that are slower than the player."""
UNPACED = 0.0005
"""As fast as possible still leaves listeners so long (s) after each message. What must not be lost runs in-process."""
CLOCK_PERIOD = 20_000_000
"""Without /clock in the bag the log times are the clock, published so often (ns of the bag)."""


@dataclass
class PlaySettings:
    """How to play. `rate` 0 is as fast as possible; `start` and `duration` in s of the bag."""

    rate: float = 1.0
    loop: bool = False
    start: float = 0.0
    duration: float = 0.0
    everything: bool = False
    wait: float = 10.0


def input_topics(reader: BagReader, contract: RobotContract, namespace: str = "") -> list[str]:
    """The topics of a bag that perception, planner and gate take from outside."""
    cameras = [camera.topic for camera in contract.cameras]
    names = [*cameras, *(f"{name}/compressed" for name in cameras), "camera_info"]
    names += [state.topic for state in contract.state.values()]
    names += ["goal_image", "goal_image/compressed", "goal_pose", "goal_tag", "goal_place"]
    names += ["command_teleop", contract.estop_topic]
    wanted = {full_name(name, namespace) for name in names} | {"/clock", "/tf", "/tf_static"}
    return [topic for topic in reader.topics if topic in wanted]


def offered(info: TopicInfo) -> QoSProfile:
    """The publisher's QoS for a recorded topic: as strong as the strongest that was offered."""
    reliable = any(str(entry.get("reliability")) in ("reliable", "1") for entry in info.qos) or not info.qos
    latched = any(str(entry.get("durability")) in ("transient_local", "1") for entry in info.qos)
    return QoSProfile(
        depth=DEPTH,
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
    )


class Player(Node):
    """Publishes a bag's messages. `play` returns when the bag is at its end, or `stop` says so."""

    def __init__(self, reader: BagReader, topics: list[str], settings: PlaySettings) -> None:
        """Make the publishers.

        Raises:
            BagError: nothing to play.
        """
        super().__init__("replay", start_parameter_services=False, enable_rosout=False)
        if not topics:
            raise BagError(f"{reader.path}: none of its topics is an input of the stack; --all plays every topic")
        self._reader, self._settings = reader, settings
        self.skipped: list[str] = []
        self._out = {}
        for topic in topics:
            reader.require_cdr(topic)
            info = reader.topics[topic]
            # A publisher has one type: messages of another would leave under a name that is not theirs.
            for other, count in list(info.types.items())[1:]:
                if count:
                    self.skipped.append(f"{topic}: {count} messages of {other}, the others are {info.msgtype}")
            try:
                self._out[topic] = self.create_publisher(message_class(info.msgtype), topic, offered(info))
            except MessageTypeError as error:
                self.skipped.append(f"{topic}: {error}")
        self._clock_out = None if "/clock" in self._out else self.create_publisher(Clock, "/clock", 10)
        self.played = 0

    def wait_for_listeners(self, topic: str, stop: Callable[[], bool]) -> bool:
        """Wait until somebody listens to `topic`; False when nobody came in time."""
        end = time.monotonic() + self._settings.wait
        while time.monotonic() < end and not stop():
            if self._out[topic].get_subscription_count():
                return True
            time.sleep(0.05)
        return False

    def play(self, stop: Callable[[], bool], before: Callable[[Message], None] | None = None) -> None:
        """Play once, or for ever with `loop`.

        Args:
            stop: asked often; True ends the play.
            before: called with each message before it leaves (stepping, progress).
        """
        while True:
            self._once(stop, before)
            if stop() or not self._settings.loop:
                return

    def _once(self, stop: Callable[[], bool], before: Callable[[Message], None] | None) -> None:
        reader, settings = self._reader, self._settings
        begin = reader.start + round(settings.start * 1e9)
        end = begin + round(settings.duration * 1e9) if settings.duration else None
        first, wall, clocked = None, 0.0, None
        for message in reader.messages(set(self._out), begin, end):
            if message.msgtype != reader.topics[message.topic].msgtype:
                continue
            if first is None:
                first, wall = message.time, time.monotonic()
            if settings.rate > 0:
                due = wall + (message.time - first) * 1e-9 / settings.rate
                while (left := due - time.monotonic()) > 0 and not stop():
                    time.sleep(min(left, 0.1))
            if stop():
                return
            if before is not None:
                paused = time.monotonic()
                before(message)
                wall += time.monotonic() - paused
            if self._clock_out is not None and (clocked is None or message.time - clocked >= CLOCK_PERIOD):
                clocked = message.time
                tick = Clock()
                tick.clock.sec, tick.clock.nanosec = divmod(message.time, 1_000_000_000)
                self._clock_out.publish(tick)
            self._out[message.topic].publish(message.data)
            self.played += 1
            if settings.rate == 0:
                time.sleep(UNPACED)
        give_up = time.monotonic() + 3.0
        for publisher in self._out.values():
            publisher.wait_for_all_acked(Duration(seconds=max(0.0, give_up - time.monotonic())))
