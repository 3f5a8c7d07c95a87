# SPDX-License-Identifier: Apache-2.0
"""The camera node: every frame once, at the source's pace; a source that is missing is named and tried again."""

from __future__ import annotations

import http.server
import threading
import time

import cv2
import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from ros_harness import Child, Probe
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from jepa_ros.messages.images import pixels as pixels_of
from jepa_ros.messages.stamps import stamp_of
from jepa_ros.nodes import qos
from jepa_ros.nodes.camera import Grabber

FRAMES, RATE = 100, 20.0


def video(folder, width: int, height: int):
    """A film of 5 s whose frames differ: each is brighter than the one before."""
    path = folder / f"film_{width}x{height}.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), RATE, (width, height))
    assert writer.isOpened()
    for i in range(FRAMES):
        writer.write(np.full((height, width, 3), 20 + 2 * i, np.uint8))
    writer.release()
    return path


class Scene:
    _count = 0

    def __init__(self, **params: str) -> None:
        Scene._count += 1
        space = f"/camera_{Scene._count}"
        self.probe = Probe(space)
        self.probe.listen(Image, "image", qos.IMAGE)
        self.probe.listen(CompressedImage, "image/compressed", qos.IMAGE)
        self.probe.listen(CameraInfo, "camera_info", qos.STATE)
        self.probe.listen(DiagnosticArray, "/diagnostics", qos.STATUS)
        words = [w for k, v in params.items() for w in ("-p", f"{k}:={v}")]
        self.node = Child("-m", "jepa_ros.nodes.camera", "--ros-args", "-r", f"__ns:={space}", *words)

    @property
    def images(self) -> list:
        return [m for _, m in self.probe.received["image"]]

    def close(self) -> None:
        self.node.end()
        self.probe.close()


@pytest.fixture
def start():
    scenes = []

    def make(**params: str) -> Scene:
        scenes.append(Scene(**params))
        return scenes[-1]

    yield make
    for scene in scenes:
        scene.close()


def test_a_film_is_published_at_its_pace_each_frame_once_and_then_nothing(start, tmp_path):
    # A film of 256 x 256 for a camera of 128 x 128: the same aspect ratio, so it is resampled.
    scene = start(device=f"'{video(tmp_path, 256, 256)}'")
    scene.probe.until(lambda: scene.probe.values("/diagnostics") and "end of the file" in
                      scene.probe.last("/diagnostics").status[0].message, "the end of the film", 40)  # fmt: skip
    images = scene.images
    assert 5 <= len(images) <= FRAMES  # best effort, and the first may come before the probe is matched
    grey = [int(pixels_of(m)[0].mean()) for m in images]
    assert (np.diff(grey) > 0).all()  # newer each time, none twice
    stamps = [stamp_of(m) for m in images]
    assert (np.diff(stamps) > 0).all()
    # Frame k is of brightness 20 + 2 k: time passes with the frames, whether some are lost on the way or not.
    assert (stamps[-1] - stamps[0]) / (0.5 * (grey[-1] - grey[0])) == pytest.approx(1 / RATE, rel=0.5)
    assert (images[0].width, images[0].height, images[0].encoding) == (128, 128, "bgr8")
    assert scene.probe.last("camera_info").width == 128
    count = len(images)
    scene.probe.spin(0.5)
    assert len(scene.images) == count


def test_compressed_images_can_be_published_instead(start, tmp_path):
    scene = start(device=f"'{video(tmp_path, 128, 128)}'", compressed="true", loop="true")
    kept = scene.probe.received["image/compressed"]
    scene.probe.until(lambda: len(kept) > 3, "compressed images", 40)
    pixels, encoding = pixels_of(kept[-1][1])
    assert pixels.shape == (128, 128, 3) and encoding == "bgr8"
    assert not scene.images


def test_a_picture_of_another_aspect_ratio_is_refused_and_both_sizes_are_named(start, tmp_path):
    scene = start(device=f"'{video(tmp_path, 160, 120)}'", loop="true")
    scene.probe.until(lambda: "160x120" in scene.node.text and "128x128" in scene.node.text, "both sizes", 40)
    assert not scene.images


@pytest.mark.parametrize("device", ["/no/such/film.mp4", "97"])
def test_a_missing_camera_is_named_and_the_node_goes_on_trying(start, device):
    scene = start(device=f"'{device}'")
    scene.probe.until(lambda: f"camera '{device}' cannot be opened" in scene.node.text, "the camera's name", 40)
    scene.probe.until(lambda: scene.probe.last("/diagnostics"), "diagnostics")
    assert scene.probe.last("/diagnostics").status[0].level == b"\x02"
    assert scene.node.popen.poll() is None


class _Stream(http.server.BaseHTTPRequestHandler):
    """An MJPEG stream that hangs after 20 frames; each visit is brighter than the one before."""

    visits, spans = 0, []  # how often it was asked; for how long each delivered [s]

    def do_GET(self) -> None:
        _Stream.visits += 1
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        _, picture = cv2.imencode(".jpg", np.full((128, 128, 3), 40 * min(_Stream.visits, 5), np.uint8))
        data, began = picture.tobytes(), time.monotonic()
        for _ in range(20):
            self.wfile.write(b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(data) + data)
            self.wfile.write(b"\r\n")
            time.sleep(1.0 / RATE)
        _Stream.spans.append(time.monotonic() - began)
        time.sleep(30.0)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_a_stream_that_hangs_is_opened_again_and_its_last_frame_is_not_sent_as_new(start):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Stream)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        scene = start(device=f"http://127.0.0.1:{server.server_port}/camera.mjpg")
        bright = lambda: [int(pixels_of(m)[0].mean()) for m in scene.images]  # noqa: E731
        scene.probe.until(lambda: scene.images, "the first frames")
        scene.probe.until(lambda: bright()[-1] > bright()[0] + 20, "frames of the next visit")
    finally:
        server.shutdown()
    stamps = np.array([stamp_of(m) for m in scene.images])
    first = [stamp for stamp, value in zip(stamps, bright(), strict=True) if value < bright()[0] + 20]
    assert len(first) <= 20
    assert first[-1] - first[0] < _Stream.spans[0] + 1.0  # as long as it delivered, and not while it hung
    assert "stopped delivering frames; opening it again" in scene.node.text


def test_a_file_without_a_frame_is_named_and_not_opened_without_a_pause(tmp_path):
    path = tmp_path / "no_film.avi"
    path.write_bytes(video(tmp_path, 64, 64).read_bytes()[:3000])  # a header and no picture
    said: list[str] = []
    grabber = Grabber(str(path), (64, 64), RATE, True, said.append)
    end = time.monotonic() + 60.0
    while not said and time.monotonic() < end:
        time.sleep(0.02)
    time.sleep(0.3)
    grabber.close()
    assert said and str(path) in said[0]
    assert grabber.opened <= 1
