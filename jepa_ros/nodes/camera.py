# SPDX-License-Identifier: Apache-2.0
"""The ``camera`` node: frames from a device, a video file or a stream through OpenCV, each stamped once.

A thread reads frames as fast as the source delivers them and keeps only the newest: a slow reader never sees an old
frame as new. A source that fails is opened again, and nothing is published meanwhile (the gate stops the robot).
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from numpy.typing import NDArray
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from jepa_ros.contract import load_contract
from jepa_ros.nodes import params, qos
from jepa_ros.nodes.convert import fill, to_stamp
from jepa_ros.nodes.process import leave, run

#: Seconds between two attempts to open a source; and for which a network stream may hang, and the thread at the end.
#: How long reading a device may take is its driver's to say: meanwhile nothing is published, and the gate stops.
RETRY, STALL = 1.0, 2.0
DIAGNOSTICS_PERIOD = 1.0

PARAMS = (
    params.ROBOT,
    params.Param("device", "0", "A device number or path, a video file, or an address (rtsp://...)."),
    params.Param("fps", 0.0, "Frames per second to request from the device; 0: the contract's.", low=0.0),
    params.Param("resize", True, "Resample to the contract's size if the device delivers the same aspect ratio."),
    params.Param("loop", False, "Start a video file again at its end."),
    params.Param("compressed", False, "Publish image/compressed (JPEG) instead of image."),
    params.Param("jpeg_quality", 90, "JPEG quality.", low=1, high=100),
    params.Param("frame_id", "camera", "Frame of the images."),
    params.Param("latency", 0.0, "Seconds from exposure to reading, subtracted from the stamp.", low=0.0, high=2.0),
)


class Grabber:
    """Reads a source in a thread; :meth:`take` gives the newest frame at most once.

    Args:
        device: see the parameter. size: (width, height) to ask a device for. fps: frames a second to ask for.
        loop: start a file again at its end. say: called with a sentence about what goes wrong.
    """

    def __init__(self, device: str, size: tuple[int, int], fps: float, loop: bool, say: Any) -> None:
        self._device, self._size, self._fps, self._loop, self._say = device, size, fps, loop, say
        self._is_file = Path(device).is_file()
        self._lock = threading.Lock()
        self._fresh = threading.Event()
        self._frame: tuple[NDArray[np.uint8], float] | None = None
        self._stop = threading.Event()
        self.opened = 0
        self.ended = False
        self._thread = threading.Thread(target=self._read, name="camera", daemon=True)
        self._thread.start()

    def take(self) -> tuple[NDArray[np.uint8], float] | None:
        """The newest frame (H, W, 3) BGR and the monotonic time at which it was read; None when there is no new one."""
        with self._lock:
            frame, self._frame = self._frame, None
        return frame

    def close(self) -> None:
        """Stop reading."""
        self._stop.set()
        self._thread.join(STALL)

    def _open(self) -> cv2.VideoCapture | None:
        source: int | str = int(self._device) if self._device.isdecimal() else self._device
        if "://" in self._device:
            # OpenCV's own patience is 30 s, in which a stream that hangs would not be opened again.
            wait = round(1e3 * STALL)
            limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, 2 * wait, cv2.CAP_PROP_READ_TIMEOUT_MSEC, wait]
            capture = cv2.VideoCapture(source, cv2.CAP_FFMPEG, limits)
        else:
            capture = cv2.VideoCapture(source)
        if not capture.isOpened():
            capture.release()
            return None
        if not self._is_file:
            capture.set(cv2.CAP_PROP_FRAME_WIDTH, self._size[0])
            capture.set(cv2.CAP_PROP_FRAME_HEIGHT, self._size[1])
            capture.set(cv2.CAP_PROP_FPS, self._fps)
            capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        return capture

    def _read(self) -> None:
        while not self._stop.is_set():
            capture = self._open()
            if capture is None:
                self._say(f"camera '{self._device}' cannot be opened (no such device, file or stream, or it is in use)")
                self._stop.wait(RETRY)
                continue
            self.opened += 1
            read = self._read_from(capture)
            capture.release()
            if self._is_file and not read:
                self._say(f"camera '{self._device}': no frame of this file can be read")
                self._stop.wait(RETRY)
            if self._is_file and not self._loop:
                self.ended = True
                return
            if not self._is_file and not self._stop.is_set():
                self._say(f"camera '{self._device}' stopped delivering frames; opening it again")
                self._stop.wait(RETRY)

    def _read_from(self, capture: cv2.VideoCapture) -> int:
        """Read until the source gives no more; the number of frames."""
        period = 1.0 / (capture.get(cv2.CAP_PROP_FPS) or self._fps or 30.0)
        due, count = time.monotonic(), 0
        while not self._stop.is_set():
            good, frame = capture.read()
            if not good:
                break
            count += 1
            if self._is_file:
                # A file has no pace of its own.
                due = max(due + period, time.monotonic() - period)
                self._stop.wait(max(0.0, due - time.monotonic()))
            with self._lock:
                self._frame = (np.asarray(frame, dtype=np.uint8), time.monotonic())
        return count


class CameraNode(Node):
    """See the module."""

    def __init__(self, **options: Any) -> None:
        super().__init__("camera", **options)
        self._values = values = params.declare(self, PARAMS)
        self._camera = load_contract(values.robot).watched_camera
        topic = self._camera.topic
        if values.compressed or self._camera.compressed:
            self._out = qos.publisher(self, CompressedImage, f"{topic}/compressed", qos.IMAGE)
        else:
            self._out = qos.publisher(self, Image, topic, qos.IMAGE)
        self._info_out = qos.publisher(self, CameraInfo, "camera_info", qos.STATE)
        self._diagnostics_out = qos.publisher(self, DiagnosticArray, "/diagnostics", qos.STATUS)
        self._live = params.LiveParameters(self, PARAMS, lambda changes: None)
        self._times: deque[float] = deque(maxlen=100)
        self._trouble = ""
        size = (self._camera.width, self._camera.height)
        rate = values.fps or self._camera.rate
        self._grabber = Grabber(values.device, size, rate, values.loop, self._complain)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = self.create_timer(0.25 / rate, self._on_timer, clock=steady)
        self._report = self.create_timer(DIAGNOSTICS_PERIOD, self._on_report, clock=steady)
        self.get_logger().info(f"reading '{values.device}' as '{topic}', {size[0]}x{size[1]} at {rate:g} Hz")

    def _complain(self, text: str) -> None:
        self._trouble = text
        self.get_logger().error(text, throttle_duration_sec=5.0)

    def _on_timer(self) -> None:
        taken = self._grabber.take()
        if taken is None:
            return
        delivered, read_at = taken
        now = self.get_clock().now().nanoseconds * 1e-9
        age = time.monotonic() - read_at + self._values.latency
        stamp = to_stamp(max(0.0, now - age))
        frame = self._fit(delivered)
        if frame is None:
            return
        self._times.append(read_at)
        self._trouble = ""
        height, width = frame.shape[:2]
        if self._values.compressed or self._camera.compressed:
            _, data = cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, self._values.jpeg_quality])
            message: Image | CompressedImage = CompressedImage(format="bgr8; jpeg compressed bgr8")
            message.data.frombytes(data.tobytes())
        else:
            message = fill(Image(), frame, "bgr8")
        message.header.stamp, message.header.frame_id = stamp, self._values.frame_id
        self._out.publish(message)
        self._info_out.publish(CameraInfo(header=message.header, width=width, height=height))

    def _fit(self, frame: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
        """The frame at the contract's size; None (and a complaint) where its aspect ratio is another."""
        want_width, want_height = self._camera.width, self._camera.height
        if frame.ndim == 2:
            frame = np.asarray(cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR), dtype=np.uint8)
        height, width = frame.shape[:2]
        if (width, height) == (want_width, want_height):
            return frame
        if abs(width * want_height - height * want_width) > max(want_width, want_height):
            self._complain(
                f"camera '{self._values.device}' delivers {width}x{height}; the contract's camera is "
                f"{want_width}x{want_height}, of another aspect ratio: set the device or the contract"
            )
            return None
        if not self._values.resize:
            return frame
        shrink = width > want_width
        method = cv2.INTER_AREA if shrink else cv2.INTER_LINEAR
        return np.asarray(cv2.resize(frame, (want_width, want_height), interpolation=method), dtype=np.uint8)

    def _on_report(self) -> None:
        now = time.monotonic()
        recent = [t for t in self._times if now - t < 5.0]
        rate = (len(recent) - 1) / (recent[-1] - recent[0]) if len(recent) > 1 else 0.0
        bad = self._trouble or ("end of the file" if self._grabber.ended else "")
        status = DiagnosticStatus(
            level=DiagnosticStatus.ERROR if bad else DiagnosticStatus.OK,
            name=self.get_fully_qualified_name()[1:],
            message=bad or f"{rate:.1f} Hz",
            hardware_id=self._values.device,
            values=[
                KeyValue(key="rate", value=f"{rate:.2f}"),
                KeyValue(key="wanted_rate", value=f"{self._camera.rate:g}"),
                KeyValue(key="age", value=f"{now - self._times[-1]:.3f}" if self._times else "nan"),
                KeyValue(key="opened", value=str(self._grabber.opened)),
            ],
        )
        message = DiagnosticArray(status=[status])
        message.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics_out.publish(message)

    def close(self) -> None:
        """Stop reading the source."""
        self._grabber.close()


def main(args: Sequence[str] | None = None) -> int:
    """Run the node until a signal; return the exit code."""
    return run(lambda: [CameraNode()], "camera", args)


if __name__ == "__main__":
    leave(main())
