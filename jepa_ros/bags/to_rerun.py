# SPDX-License-Identifier: Apache-2.0
"""`jepa-ros info BAG --rerun [FILE]`: a bag as a recording of rerun (https://rerun.io), to scrub through.

Each topic becomes an entity of the same name: pictures, paths, maps, poses and scans as such, numbers as curves, words
as a log. rerun is large, and imported when it is asked for.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from jepa_ros.bags.format.reader import BagReader
from jepa_ros.contract.topics import COMMAND_TYPES, STATE_TYPES
from jepa_ros.errors import JepaRosError
from jepa_ros.messages import MessageError
from jepa_ros.messages.diagnostics import key_values
from jepa_ros.messages.images import pixels
from jepa_ros.messages.rotation import yaw_of
from jepa_ros.progress import Progress

#: Pictures with more pixels than this are kept as JPEG.
SMALL = 40_000
#: Words of diagnostics that are logged when they change; other texts are identities and lists.
WORDS = ("mode", "reason", "goal", "goal_name", "goal_refused", "arrived")
TIMELINE = "received"


class _Writer:
    """Logs messages into a stream of rerun."""

    def __init__(self, rerun: Any, stream: Any) -> None:
        self._rr, self._stream = rerun, stream
        self._words: dict[str, str] = {}
        self.skipped: Counter[str] = Counter()
        self._by_type: dict[str, Callable[[str, Any], None]] = {
            "sensor_msgs/msg/Image": self._image,
            "sensor_msgs/msg/CompressedImage": self._image,
            "nav_msgs/msg/Path": self._path,
            "visualization_msgs/msg/MarkerArray": self._markers,
            "nav_msgs/msg/OccupancyGrid": self._grid,
            "geometry_msgs/msg/PoseStamped": lambda name, m: self._pose(name, m.pose),
            STATE_TYPES["pose"]: lambda name, m: self._pose(name, m.pose.pose),
            STATE_TYPES["odom"]: lambda name, m: self._pose(name, m.pose.pose),
            STATE_TYPES["scan"]: self._scan,
            "diagnostic_msgs/msg/DiagnosticArray": self._diagnostics,
            STATE_TYPES["joint_states"]: self._joints,
            STATE_TYPES["contact"]: lambda name, m: self._number(name, float(m.data)),
            COMMAND_TYPES["twist_stamped"]: lambda name, m: self._twist(name, m.twist),
            COMMAND_TYPES["twist"]: self._twist,
            "std_msgs/msg/String": lambda name, m: self._say(name, m.data),
        }

    def takes(self, msgtype: str) -> bool:
        """Whether messages of a type are shown."""
        return msgtype in self._by_type

    def put(self, name: str, msgtype: str, time: int, message: Any) -> None:
        """Log one message, received at ``time`` [ns]; what cannot be shown is counted."""
        self._stream.set_time(TIMELINE, timestamp=np.datetime64(time, "ns"))
        try:
            self._by_type[msgtype](name.strip("/"), message)
        except (MessageError, ValueError):
            self.skipped[name] += 1

    # ------------------------------------------------------------ kinds

    def _log(self, name: str, what: Any) -> None:
        self._stream.log(name, what)

    def _image(self, name: str, message: Any) -> None:
        array, encoding = pixels(message)
        if encoding.startswith("bgr"):
            array = array[..., [2, 1, 0]]
        picture = self._rr.Image(array[..., :3].squeeze())
        self._log(name, picture.compress(jpeg_quality=90) if array.shape[0] * array.shape[1] > SMALL else picture)

    def _path(self, name: str, message: Any) -> None:
        points = [[p.pose.position.x, p.pose.position.y, p.pose.position.z] for p in message.poses]
        lines = [points] if len(points) > 1 else []
        self._log(name, self._rr.LineStrips3D(lines, colors=[[0, 114, 178]] * len(lines), radii=0.008))

    def _markers(self, name: str, message: Any) -> None:
        drawn = [m for m in message.markers if len(m.points) > 1]
        lines = [[[p.x, p.y, p.z] for p in m.points] for m in drawn]
        colours = [[m.color.r, m.color.g, m.color.b, m.color.a] for m in drawn]
        self._log(name, self._rr.LineStrips3D(lines, colors=np.array(colours).reshape(-1, 4), radii=0.003))

    def _grid(self, name: str, message: Any) -> None:
        cells = np.asarray(message.data, np.int8).reshape(message.info.height, message.info.width)[::-1]
        shade = np.where(cells < 0, 128, 245 - 2 * np.clip(cells, 0, 100)).astype(np.uint8)
        self._log(name, self._rr.Image(shade))

    def _pose(self, name: str, pose: Any) -> None:
        at, yaw = pose.position, yaw_of(pose.orientation)
        ahead = [[0.15 * math.cos(yaw), 0.15 * math.sin(yaw), 0.0]]
        self._log(name, self._rr.Arrows3D(origins=[[at.x, at.y, at.z]], vectors=ahead, colors=[[213, 94, 0]]))

    def _scan(self, name: str, message: Any) -> None:
        ranges = np.asarray(message.ranges, float)
        angles = message.angle_min + message.angle_increment * np.arange(len(ranges))
        hit = np.isfinite(ranges)
        points = np.stack([ranges * np.cos(angles), ranges * np.sin(angles)], axis=1)[hit]
        self._log(name, self._rr.Points2D(points))

    def _diagnostics(self, name: str, message: Any) -> None:
        for key, text in key_values(message).items():
            if key in WORDS:
                self._word(f"{name}/{key}", text)
                continue
            try:
                value = float(text)
            except ValueError:
                continue
            if math.isfinite(value):
                self._number(f"{name}/{key}", value)

    def _joints(self, name: str, message: Any) -> None:
        for joint, value in zip(message.name, message.position, strict=False):
            self._number(f"{name}/{joint}", float(value))

    def _twist(self, name: str, twist: Any) -> None:
        for part in ("linear", "angular"):
            for axis in "xyz":
                value = getattr(getattr(twist, part), axis)
                if value or f"{name}/{part}.{axis}" in self._words:  # an axis that never moves has no curve
                    self._words[f"{name}/{part}.{axis}"] = ""
                    self._number(f"{name}/{part}.{axis}", value)

    def _number(self, name: str, value: float) -> None:
        self._log(name, self._rr.Scalars(value))

    def _word(self, name: str, text: str) -> None:
        if self._words.get(name, "") != text:
            self._words[name] = text
            self._say(name, text or "-")

    def _say(self, name: str, text: str) -> None:
        self._log(name, self._rr.TextLog(text))


def write(reader: BagReader, path: str) -> list[str]:
    """Write a bag as a recording, or open it in the viewer.

    Args:
        reader: the bag. path: of the file (.rrd); empty opens the viewer.

    Returns:
        What a person should know of it, one line each.

    Raises:
        JepaRosError: rerun is not installed, or its viewer does not start.
        BagError: the bag is damaged where it is read.
    """
    try:
        import rerun
    except ModuleNotFoundError:
        raise JepaRosError("--rerun needs rerun-sdk (170 MB): pip install 'jepa_ros[rerun]'") from None
    stream = rerun.RecordingStream("jepa_ros", recording_id=f"{reader.path.name}-{reader.start}")
    if path:
        stream.save(path)
    else:
        try:
            stream.spawn()
        except (OSError, RuntimeError) as error:
            raise JepaRosError(f"rerun's viewer does not start ({error}): give --rerun a file instead") from None
    writer = _Writer(rerun, stream)
    stream.send_blueprint(_blueprint(reader))
    shown = {name for name, info in reader.topics.items() if writer.takes(info.msgtype)}
    count = 0
    with Progress() as progress:
        task = progress.task("rerun", total=sum(reader.topics[name].count for name in shown))
        for message in reader.messages(shown):
            writer.put(message.topic, message.msgtype, message.time, reader.deserialize(message))
            count += 1
            task.advance()
    stream.flush()
    stream.disconnect()
    lines = [f"rerun: {count} messages of {len(shown)} topics in {Path(path) if path else 'the viewer'}"]
    left = sorted(set(reader.topics) - shown)
    if left:
        lines.append(f"rerun: not shown: {', '.join(left)}")
    lines += [f"rerun: {name}: {n} messages could not be shown" for name, n in writer.skipped.items()]
    return lines


def _blueprint(reader: BagReader) -> Any:
    """Pictures and space on the left, curves and words on the right."""
    import rerun.blueprint as rrb

    names = {info.msgtype: name.strip("/") for name, info in reversed(list(reader.topics.items()))}
    camera = names.get("sensor_msgs/msg/Image") or names.get("sensor_msgs/msg/CompressedImage") or ""
    signals = next((n.strip("/") for n in reader.topics if n.strip("/").split("/")[-1] == "signals"), "")
    curves = [rrb.TimeSeriesView(name="Surprise and novelty", contents=[f"{signals}/surprise", f"{signals}/novelty"])]
    status = next((n.strip("/") for n in reader.topics if n.endswith("planner/status")), "")
    if status:
        curves.append(rrb.TimeSeriesView(name="Plan", contents=[f"{status}/cost", f"{status}/distance"]))
    see = rrb.Vertical(
        rrb.Spatial2DView(name="Camera", origin=camera), rrb.Spatial3DView(name="Space", contents="$origin/**")
    )
    return rrb.Blueprint(rrb.Horizontal(see, rrb.Vertical(*curves, rrb.TextLogView(name="What was said"))))
