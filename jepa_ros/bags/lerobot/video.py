# SPDX-License-Identifier: Apache-2.0
"""Frames out of MP4 files and into them, by PyAV."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np

from jepa_ros.bags.lerobot import LeRobotError
from jepa_ros.bags.lerobot.layout import Clip

CODEC, PIXELS = "libx264", "yuv444p"
#: Colour at full resolution and little loss: at the size of a model's input the usual settings blur what is small.
QUALITY = "6"
#: A key frame every other frame, as LeRobot writes them: training reads single frames from anywhere.
KEY_EVERY = "2"


def frames(clip: Clip, count: int, fps: float, every: int = 1) -> np.ndarray:
    """Every so-manieth of the first `count` frames of a clip, (ceil(count / every), H, W, 3) uint8 RGB.

    Raises:
        LeRobotError: the file cannot be decoded, or a frame is not there within half a period of its time.
    """
    import av

    wanted = [clip.start + k / fps for k in range(0, count, every)]
    found: list[np.ndarray] = []
    try:
        with av.open(str(clip.path)) as container:
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            assert stream.time_base is not None
            container.seek(int(max(0.0, clip.start - 1.0 / fps) / stream.time_base), stream=stream)
            for frame in container.decode(stream):
                if len(found) == len(wanted):
                    break
                late = float(frame.time) - wanted[len(found)]
                if abs(late) <= 0.5 / fps:
                    found.append(frame.to_ndarray(format="rgb24"))
                elif late > 0:
                    break
    except (av.FFmpegError, IndexError, OSError) as error:
        raise LeRobotError(f"{clip.path}: cannot be decoded: {error}") from None
    if len(found) < len(wanted):
        raise LeRobotError(f"{clip.path}: no frame at {wanted[len(found)]:.3f} s: the video is cut or has another fps")
    return np.stack(found)


class VideoFile:
    """An MP4 file that episodes are appended to, one after the other."""

    def __init__(self, path: Path, fps: float, size: tuple[int, int]) -> None:
        import av

        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self.fps, self.count = path, fps, 0
        self._container = av.open(str(path), "w")
        options = {"crf": QUALITY, "g": KEY_EVERY, "preset": "medium"}
        stream: av.VideoStream = self._container.add_stream(  # type: ignore[assignment]
            CODEC, Fraction(fps).limit_denominator(1000), options=options
        )
        self._stream = stream
        self._stream.width, self._stream.height = size
        self._stream.pix_fmt = PIXELS

    def append(self, pictures: np.ndarray) -> float:
        """Add frames (T, H, W, 3); returns the time in s at which they begin."""
        import av

        began = self.count / self.fps
        for picture in pictures:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            self._container.mux(self._stream.encode(frame))
        self.count += len(pictures)
        return began

    @property
    def bytes(self) -> int:
        """The size that the file has by now."""
        return self.path.stat().st_size if self.path.exists() else 0

    def close(self) -> None:
        """Write what the encoder still holds, and the file's index."""
        self._container.mux(self._stream.encode())
        self._container.close()
