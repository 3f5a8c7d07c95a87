# SPDX-License-Identifier: Apache-2.0
"""What the console hears of a running robot, kept until somebody asks; :mod:`jepa_ros.console.showing` shows it.

Messages are fetched :data:`POLLS` times a second and kept as bytes. An executor would wake for every message and build
its wait set anew each time, which costs six times as much. While nobody looks, only the goal and the signals are heard.
"""

from __future__ import annotations

import json
import time
from collections import OrderedDict, deque
from functools import partial
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseArray, PoseWithCovarianceStamped
from nav_msgs.msg import OccupancyGrid, Path
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.serialization import deserialize_message
from rclpy.subscription import Subscription
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, LaserScan
from std_msgs.msg import Float32MultiArray, String, UInt8MultiArray
from visualization_msgs.msg import MarkerArray

from jepa_ros.console.album import Album
from jepa_ros.console.areas import Area, areas_of
from jepa_ros.console.kept import Kept, numbers
from jepa_ros.console.pictures import jpeg, parts_of, thumbnail
from jepa_ros.console.projection import Projection
from jepa_ros.console.stops import Stops
from jepa_ros.contract import RobotContract
from jepa_ros.errors import JepaRosError
from jepa_ros.messages.diagnostics import raw_value
from jepa_ros.messages.images import latent_of
from jepa_ros.messages.images import pixels as pixels_of
from jepa_ros.messages.rotation import yaw_of
from jepa_ros.nodes import qos

#: Times a second that messages are fetched, and how many of a topic wait at most meanwhile: the gate speaks at 50 Hz.
POLLS, DEPTH = 25.0, 5
#: Points of the curves of surprise and novelty that are kept, one a control step: a minute of 10 Hz.
CURVE = 600
#: Pictures that wait for their latents, and seconds between two that are looked at for the album.
WAITING, LOOK = 8, 0.3
ALWAYS = ("signals",)
DELIBERATION = "planner/deliberation"
#: Spoken when something changes, so that their age says nothing.
LATCHED = ("planner/memory", DELIBERATION, "planner/_places", "planner/_thumbnails")
GATE = "safety_gate/state"
#: Heard only while somebody looks at imagined futures.
FUTURES, EMBEDDING = "planner/_futures", "embedding"
#: Heard only while somebody looks at the planner's memory.
PLACES, THUMBNAILS = "planner/_places", "planner/_thumbnails"
#: Inputs of the gate that tell of the surroundings; drawn where the robot has a place.
AROUND = (("people", PoseArray), ("scan", LaserScan))
#: Topics that may rightly never come, and are told of only once they have: of other bodies, or of a later moment.
OPTIONAL = (
    "camera_info", "plan", "planner/candidates", "planner/traversability", "planner/memory", DELIBERATION, FUTURES,
    "perception/status",
)  # fmt: skip
#: Spoken only while the planner plans.
PLANNED = ("plan", "planner/candidates", "planner/traversability", FUTURES)
#: Seconds after which a planner that says nothing is not taken to be at rest.
STALE = 2.0


class Hearing:
    """The topics of one robot.

    Args:
        node: the console's. contract: of the robot. pictures: hear the camera and goal pictures, too.

    Attributes:
        curve: JSON of the newest points of surprise and novelty; curve_count: how many came so far.
        rules: guardrails as they are written in YAML; areas: those that have a place on the ground;
            rules_version grows when they are asked for.
        album: pictures by latents, None before the planner has told how long its latents are.
        pose_topic: where the robot tells its place, None where it does not.
        futures_wanted, places_wanted: somebody looks at imagined futures, or at the planner's memory.
        thumbnails: pictures (JPEG) of the planner's memory, by key.
        stops: those of late.
    """

    def __init__(self, node: Node, contract: RobotContract, pictures: bool = True) -> None:
        self._node, self.contract, self._pictures = node, contract, pictures
        self.curve: deque[str] = deque(maxlen=CURVE)
        self.curve_count = 0
        self.rules: list[dict[str, Any]] = []
        self.areas: list[Area] = []
        self.rules_version = 0
        self.album: Album | None = None
        self.stops, self._imagines = Stops(), ""
        self._goal_picture: tuple[int, bytes] | None = None
        self._picture: tuple[int, bytes] = (0, b"")
        self._projection: Projection | None = None
        self._listening: dict[str, Subscription] = {}
        self._wanted = self.futures_wanted = self.places_wanted = False
        self.thumbnails: dict[str, bytes] = {}
        self._waiting: OrderedDict[bytes, bytes] = OrderedDict()  # pictures by their stamps
        self._looked = 0.0
        self._camera_topic = contract.cameras[0].topic
        self.pose_topic = contract.state["pose"].topic if "pose" in contract.state else None
        self._optional = [state.topic for state in contract.state.values() if not state.required]
        self._rows = self._table()
        self.kept = {topic: Kept(kind, topic in LATCHED) for topic, kind, _ in self._rows}
        goals = (("goal_image", Image), ("goal_image/compressed", CompressedImage)) if pictures else ()
        self._goals = [
            sub
            for topic, kind in goals
            for sub in qos.subscribe_goal(node, kind, topic, self._on_goal)
        ]
        self._clock = [sub for sub in node.subscriptions if sub.topic_name == "/clock"]  # of a node with simulated time
        self._follow()

    def _table(self) -> list[tuple[str, type, QoSProfile]]:
        rows: list[tuple[str, type, QoSProfile]] = []
        if self._pictures:
            rows.append((self._camera_topic, Image, qos.IMAGE))
            rows.append((f"{self._camera_topic}/compressed", CompressedImage, qos.IMAGE))
        rows += [
            ("camera_info", CameraInfo, qos.STATE),
            ("plan", Path, qos.STATUS),
            ("planner/candidates", MarkerArray, qos.STATUS),
            ("planner/status", DiagnosticArray, qos.STATUS),
            ("planner/traversability", OccupancyGrid, qos.LATCHED),
            ("planner/memory", DiagnosticArray, qos.LATCHED),
            (DELIBERATION, String, qos.LATCHED),
            ("signals", DiagnosticArray, qos.SIGNALS),
            ("perception/status", DiagnosticArray, qos.STATUS),
            (GATE, DiagnosticArray, qos.LATCHED),
        ]
        if self._pictures:
            rows += [(FUTURES, Float32MultiArray, qos.STATUS), (EMBEDDING, Image, qos.EMBEDDING)]
            rows += [(PLACES, String, qos.LATCHED), (THUMBNAILS, UInt8MultiArray, qos.LATCHED)]
        if self.pose_topic is not None:
            rows.append((self.pose_topic, PoseWithCovarianceStamped, qos.STATE))
            told = ((name, kind) for name, kind in AROUND if name in self.contract.state)
            rows += [(self.contract.state[name].topic, kind, qos.STATE) for name, kind in told]
        return rows

    # ------------------------------------------------------------ fetching

    def look(self, on: bool) -> None:
        """Somebody looks, or nobody does any more; taken up at the next :meth:`fetch`."""
        self._wanted = on

    def look_at_futures(self, on: bool) -> None:
        """Somebody looks at imagined futures, or nobody does; taken up at the next :meth:`fetch`."""
        self.futures_wanted = on

    def look_at_places(self, on: bool) -> None:
        """Somebody looks at the planner's memory, or nobody does; taken up at the next :meth:`fetch`."""
        self.places_wanted = on

    def _asked(self, topic: str) -> bool:
        """Whether a part of the page shows a topic that only it needs, or all do."""
        if topic in (FUTURES, EMBEDDING):
            return self.futures_wanted
        return self.places_wanted if topic in (PLACES, THUMBNAILS) else True

    def _wants(self, topic: str) -> bool:
        if not self._asked(topic):
            return False
        return self._wanted or topic in ALWAYS

    def _follow(self) -> None:
        for topic, kind, profile in self._rows:
            wanted = self._wants(topic)
            if wanted and topic not in self._listening:
                deep, take = qos.with_depth(profile, DEPTH), partial(self.put, topic)
                self._listening[topic] = qos.subscription(self._node, kind, topic, take, deep, raw=True)
            elif not wanted and topic in self._listening:
                self._node.destroy_subscription(self._listening.pop(topic))

    def fetch(self) -> None:
        """Fetch what came; from the one thread that the node's executor runs in."""
        if len(self._listening) != sum(self._wants(topic) for topic, _, _ in self._rows):
            self._follow()
        for sub in self._listening.values():
            qos.fetch(sub)
        for sub in self._goals:
            qos.fetch(sub, with_info=True)
        for sub in self._clock:
            qos.fetch(sub)

    def put(self, topic: str, data: bytes) -> None:
        """Keep a message of a topic."""
        kept = self.kept[topic]
        kept.put(data)
        if topic == GATE:
            mode, reason = (raw_value(data, key) or "" for key in ("mode", "reason"))
            self.stops.note(mode, reason, lambda: kept.values().get("message", ""))
        elif topic == FUTURES:
            self._open_album(kept.get())
        elif topic == EMBEDDING:
            self._remember(data)
        elif topic == THUMBNAILS:
            self.thumbnails = parts_of(kept.get())
        elif self.futures_wanted and topic.startswith(self._camera_topic):
            self._waiting[data[4:12]] = data
            if len(self._waiting) > WAITING:
                self._waiting.popitem(last=False)
        elif topic == "signals":
            values = kept.values()
            point = {name: v for name in ("surprise", "novelty") if (v := numbers(values, name).get("")) is not None}
            if point:
                self.curve.append(json.dumps(point | {"at": round(time.time(), 2)}))
                self.curve_count += 1

    def _open_album(self, message: Float32MultiArray) -> None:
        """Begin an album for the model that imagines: latents of another one tell nothing."""
        signals = self.kept["signals"].data
        model = "" if signals is None else raw_value(signals, "model_id") or ""
        size = message.layout.dim[-1].size if message.layout.dim else 0
        if size and (self.album is None or (size, model) != (self.album.latent_dim, self._imagines)):
            self.album, self._imagines = Album(size), model

    def _remember(self, data: bytes) -> None:
        """Put the picture of a latent into the album: both have the same stamp, the first of their bytes."""
        picture, now = self._waiting.pop(data[4:12], None), time.monotonic()
        if picture is None or self.album is None or now - self._looked < LOOK:
            return
        self._looked = now
        try:
            latent = latent_of(self.kept[EMBEDDING].get()).reshape(-1)[: self.album.latent_dim]
            topic = self._camera_topic if self.kept[self._camera_topic].version else f"{self._camera_topic}/compressed"
            kind = self.kept[topic].kind
            self.album.see(latent, lambda: thumbnail(*pixels_of(deserialize_message(picture, kind))))
        except (JepaRosError, ValueError):  # a latent or picture that nobody can read: the planner says so
            return

    def put_rules(self, rules: list[dict[str, Any]]) -> None:
        """The guardrails in force, as they are written in YAML."""
        self.rules, self.areas = rules, areas_of(rules, self.contract.frames.map)
        self.rules_version += 1

    def account(self) -> dict[str, dict[str, Any]]:
        """Rate [Hz] and age [s] of each topic that came or is missed; of one that is missed, why it never came.

        ``rests``: it need not come just now, since the planner does not plan.
        """
        status, found = self.kept["planner/status"], {}
        rests = status.values().get("reason") != "ok" and (status.age() or 0.0) < STALE
        for topic, kept in self.kept.items():
            if not self._asked(topic) or topic in (PLACES, THUMBNAILS) or not self._is_missed(topic):
                continue
            found[topic] = kept.account() | {"rests": rests and topic in PLANNED}
            if not kept.version:
                published = self._node.count_publishers(topic) > 0
                found[topic]["never"] = "it is published, but nothing comes" if published else "nobody publishes it"
        return found

    def _is_missed(self, topic: str) -> bool:
        """Whether a topic came, or should have."""
        if self.kept[topic].version:
            return True
        raw, packed = self._camera_topic, f"{self._camera_topic}/compressed"
        if topic in (raw, packed):  # a camera sends the one or the other
            return topic == raw and not self.kept[packed].version
        return topic not in OPTIONAL and topic not in self._optional

    def _on_goal(self, message: Image | CompressedImage) -> None:
        try:
            pixels, encoding = pixels_of(message)
        except ValueError:
            return
        version = self._goal_picture[0] + 1 if self._goal_picture else 1
        self._goal_picture = version, jpeg(pixels, encoding)

    # ------------------------------------------------------------ pictures

    def picture(self, seen: int) -> tuple[int, bytes] | None:
        """(version, JPEG) of the newest camera picture, or None if version ``seen`` is the newest."""
        raw, packed = self.kept[self._camera_topic], self.kept[f"{self._camera_topic}/compressed"]
        kept = raw if raw.version else packed
        if kept.version == 0 or kept.version == seen:
            return None
        if self._picture[0] != kept.version:
            version, message = kept.version, kept.get()
            try:
                packed_already = isinstance(message, CompressedImage)
                data = bytes(message.data) if packed_already else jpeg(*pixels_of(message))
            except ValueError:  # a picture of an encoding that nobody can read: perception says so, the page shows none
                return None
            self._picture = version, data
        return self._picture

    def goal_picture(self, seen: int) -> tuple[int, bytes] | None:
        """(version, JPEG) of the newest goal picture, or None if version ``seen`` is the newest."""
        found = self._goal_picture
        return None if found is None or found[0] == seen else found

    # ------------------------------------------------------------ places

    def pose(self) -> tuple[float, float, float] | None:
        """Where the robot is, x, y [m], yaw [rad]; None where nobody says."""
        message = self.kept[self.pose_topic].get() if self.pose_topic else None
        if message is None:
            return None
        at = message.pose.pose
        return at.position.x, at.position.y, yaw_of(at.orientation)

    def around(self, name: str) -> Any:
        """The newest message of a row of :data:`AROUND`; None where there is none, or an old one."""
        kept = self.kept.get(self.contract.state[name].topic) if name in self.contract.state else None
        return kept.get() if kept is not None and kept.version and (kept.age() or 0.0) < STALE else None

    def camera(self) -> Projection | None:
        """The camera in the map; None where it has no fixed place there."""
        if self._projection is None and (info := self.kept["camera_info"].get()) is not None:
            camera = self.contract.cameras[0]
            if camera.frame == self.contract.frames.map:
                size = (info.width, info.height)
                self._projection = Projection.of(camera.position, camera.orientation, list(info.k), size)
        return self._projection
