# SPDX-License-Identifier: Apache-2.0
"""The film of a run: the camera's view with the imagined paths in it, the goal picture, and the state beside them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from jepa_ros.commands.demo.log import Episode, Frame
from jepa_ros.errors import JepaRosError

WIDTH, HEIGHT = 1120, 720
VIEW, GOAL = 720, 352  # edges of the two square pictures, px
TREE = 260  # edge of the picture of a deliberation, px
MARGIN = 24
BACKGROUND, TEXT, DIM = (22, 25, 31), (236, 239, 244), (150, 158, 170)
PLAN, CANDIDATE, TRAIL, TARGET = (255, 120, 20), (70, 130, 255), (255, 255, 255), (230, 30, 110)
LEGEND = (("plan", PLAN), ("other candidates", CANDIDATE), ("driven", TRAIL), ("goal", TARGET))
MODE_COLOURS = {
    "ACTIVE": (90, 200, 120),
    "LIMITED": (240, 190, 60),
    "ARMING": (110, 170, 250),
    "DISABLED": (150, 158, 170),
    "STOPPED": (240, 110, 80),
    "ESTOP": (235, 60, 60),
}
SHIFT = 4  # cv2 takes coordinates in 1/16 px, which keeps a slow robot's path smooth

#: Red, green and blue, 0 to 255.
Colour = tuple[int, int, int]
Project = Callable[[np.ndarray], np.ndarray]


class VideoError(JepaRosError):
    """The film cannot be written."""


def save_film(path: Path, episodes: list[Episode], rate: float) -> None:
    """Write an MP4 of the episodes, one after the other, `rate` frames a second; nothing where there are no frames.

    Raises:
        VideoError: OpenCV cannot write it there, or it cannot be read back whole (a full disk gives no other sign).
    """
    total = sum(len(episode.frames) for episode in episodes)
    if not total:
        return
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), rate, (WIDTH, HEIGHT))
    if not writer.isOpened():
        raise VideoError(f"{path}: OpenCV cannot write an MP4 there")
    try:
        for episode in episodes:
            for i, frame in enumerate(episode.frames):
                title = f"episode {episode.index + 1}, {frame.time:.1f} s"
                writer.write(compose(episode, frame, episode.frames[:i], title)[:, :, ::-1])
    finally:
        writer.release()
    reader = cv2.VideoCapture(str(path))
    found = int(reader.get(cv2.CAP_PROP_FRAME_COUNT))
    reader.release()
    if found < total:
        raise VideoError(f"{path}: {total} frames were written but {found} can be read: disk full?")


def save_picture(path: Path, episode: Episode) -> None:
    """Write one picture of the film as PNG: where the robot has gone a third of its way; nothing without frames.

    Raises:
        VideoError: OpenCV cannot write it there.
    """
    if not episode.frames:
        return
    way = episode.frames[0].distance * 2 / 3
    gone = [i for i, f in enumerate(episode.frames) if f.distance < way]
    at = next((i for i in gone if episode.frames[i].plan is not None), gone[0] if gone else 0)
    picture = compose(episode, episode.frames[at], episode.frames[:at], f"{episode.frames[at].time:.1f} s")
    if not cv2.imwrite(str(path), picture[:, :, ::-1]):
        raise VideoError(f"{path}: OpenCV cannot write a PNG there")


def compose(episode: Episode, frame: Frame, past: list[Frame], title: str) -> np.ndarray:
    """One picture of the film, (HEIGHT, WIDTH, 3) uint8 RGB; `past` are the frames before it."""
    canvas = np.empty((HEIGHT, WIDTH, 3), np.uint8)
    canvas[:] = BACKGROUND
    scale, corner = _put(canvas[:, :VIEW], frame.image)
    project = episode.project
    if project is not None and frame.place:
        _draw_paths(canvas[:, :VIEW], episode, frame, past, lambda points: project(points) * scale + corner)
    if frame.tree is not None:
        _draw_tree(canvas[MARGIN : MARGIN + TREE, MARGIN : MARGIN + TREE], frame.tree)
    x = VIEW + MARGIN
    _put(canvas[MARGIN + 28 : MARGIN + 28 + GOAL, x : x + GOAL], episode.goal_image)
    _curve(canvas, [*past, frame], episode.radius, x, HEIGHT - MARGIN - 96, GOAL, 96)
    drawn = any(f.plan is not None for f in episode.frames)  # no plan is, where it tells no places
    return _write(canvas, frame, title, x, episode.radius, LEGEND if drawn else LEGEND[2:])


def _put(square: np.ndarray, image: np.ndarray) -> tuple[float, np.ndarray]:
    """Draw a picture of any aspect into the middle of a square, as large as it fits.

    Returns:
        Factor and corner (column, row) that bring pixels of the picture to pixels of the square.
    """
    edge, (height, width) = len(square), image.shape[:2]
    scale = edge / max(height, width)
    size = (round(width * scale), round(height * scale))
    big = cv2.resize(np.ascontiguousarray(image), size, interpolation=cv2.INTER_CUBIC)
    x, y = (edge - size[0]) // 2, (edge - size[1]) // 2
    square[y : y + size[1], x : x + size[0]] = big if big.ndim == 3 else big[:, :, None]
    return scale, np.array([x, y])


def _draw_paths(view: np.ndarray, episode: Episode, frame: Frame, past: list[Frame], pixels: Project) -> None:
    """Trail of the robot, goal ring, candidates (fainter as they are worse), and the plan on top."""
    dims = len(frame.place)
    trail = np.array([f.place for f in [*past, frame] if f.place])
    if len(trail) > 1:
        _blend(view, lambda v: _line(v, pixels(trail), TRAIL, 3), 0.75)
    here = np.array([frame.place])
    for rank, (path, _) in reversed(list(enumerate(frame.candidates))):
        points = pixels(np.concatenate([here, path[:, :dims]]))
        _blend(view, partial(_line, points=points, colour=CANDIDATE, width=2), 0.75 / (1 + 0.35 * rank))
    if frame.plan is not None:
        points = pixels(np.concatenate([here, frame.plan[:, :dims]]))
        _line(view, points, (40, 20, 0), 7)
        _line(view, points, PLAN, 4)
        for point in points[1:]:
            _disc(view, point, 5, PLAN)
    place = np.array(episode.goal[:dims])
    beside = place + np.eye(dims)[0] * episode.radius
    centre, edge = pixels(np.array([place, beside]))
    radius = float(np.linalg.norm(edge - centre))
    cv2.circle(view, _fixed(centre), int(radius * 2**SHIFT), TARGET, 3, cv2.LINE_AA, SHIFT)
    if len(episode.goal) > dims:  # which way it shall look
        nose = np.array([np.cos(episode.goal[dims]), np.sin(episode.goal[dims])]) * episode.radius + place
        _line(view, np.array([centre, pixels(nose[None])[0]]), TARGET, 3)


def _draw_tree(square: np.ndarray, tree: Mapping[str, Any]) -> None:
    """The last deliberation in a corner: states by their cost (bright is cheap), the way, start and goal."""
    nodes = np.array(tree["nodes"], dtype=float)
    places = np.concatenate([nodes[:, 3:5], [tree["goal"]]]) * (1.0, -1.0)
    low, span = places.min(0), max(float(np.ptp(places, axis=0).max()), 1e-6)
    points = 14 + (places - low) / span * (len(square) - 28)
    square[:] = (square * 0.25).astype(np.uint8)
    promise = nodes[:, 1] + nodes[:, 2]
    worth = 1.0 - (promise - promise.min()) / max(float(np.ptp(promise)), 1e-6)
    for at in range(1, len(nodes)):
        shade = int(70 + 150 * worth[at])
        _line(square, points[[int(nodes[at, 0]), at]], (shade // 3, shade // 2, shade), 1)
    _line(square, points[tree["way"]], PLAN, 3)
    _disc(square, points[0], 5, TRAIL)
    _disc(square, points[-1], 6, TARGET)


def _fixed(point: np.ndarray) -> tuple[int, int]:
    return tuple(int(v) for v in np.rint(np.clip(point, -1e4, 1e4) * 2**SHIFT))  # type: ignore[return-value]


def _line(view: np.ndarray, points: np.ndarray, colour: tuple[int, int, int], width: int) -> None:
    chain = np.rint(np.clip(points, -1e4, 1e4) * 2**SHIFT).astype(np.int32)[:, None]
    cv2.polylines(view, [chain], False, colour, width, cv2.LINE_AA, SHIFT)


def _disc(view: np.ndarray, point: np.ndarray, radius: int, colour: tuple[int, int, int]) -> None:
    cv2.circle(view, _fixed(point), radius * 2**SHIFT, colour, -1, cv2.LINE_AA, SHIFT)


def _blend(view: np.ndarray, draw: Callable[[np.ndarray], None], opacity: float) -> None:
    layer = view.copy()
    draw(layer)
    cv2.addWeighted(layer, opacity, view, 1 - opacity, 0, dst=view)


def _curve(canvas: np.ndarray, frames: list[Frame], radius: float, x: int, y: int, width: int, height: int) -> None:
    """Distance to the goal over the last 30 s, with the radius [m] that counts as arrived as a line."""
    cv2.rectangle(canvas, (x, y), (x + width, y + height), (35, 39, 47), -1)
    recent = [f for f in frames if f.time > frames[-1].time - 30 and np.isfinite(f.distance)]
    if not recent:
        return
    top = max(0.5, max(f.distance for f in recent)) * 1.1
    span = max(10.0, recent[-1].time - recent[0].time)

    def row(metres: float) -> float:
        return y + height - metres / top * height

    limit = round(row(radius))
    cv2.line(canvas, (x, limit), (x + width, limit), TARGET, 1, cv2.LINE_AA)
    points = [(x + (f.time - recent[0].time) / span * width, row(f.distance)) for f in recent]
    _line(canvas, np.array(points), PLAN, 2)


def _write(
    canvas: np.ndarray, frame: Frame, title: str, x: int, radius: float, legend: tuple[tuple[str, Colour], ...]
) -> np.ndarray:
    image = Image.fromarray(canvas)
    pen = ImageDraw.Draw(image)
    pen.text((x, MARGIN - 8), "goal picture", TEXT, _font(20))
    y = MARGIN + 28 + GOAL + 14
    colour = MODE_COLOURS.get(frame.mode, DIM)
    label = frame.mode if frame.reason in ("", "ok", "none") else f"{frame.mode}: {frame.reason}"
    pen.rounded_rectangle((x, y, x + GOAL, y + 34), 6, fill=colour)
    text = f"gate {label}"
    pen.text((x + 12, y + 5), text, (15, 15, 15), _font(20 if len(text) <= 24 else 15, bold=True))
    rows = [
        ("to the goal (true)", f"{frame.distance:.2f} m"),
        ("search", f"{frame.iterations:.0f} iterations, {frame.plan_ms:.0f} ms"),
        ("planner", frame.planner or "-"),
    ]
    for i, (name, value) in enumerate(rows):
        pen.text((x, y + 46 + 27 * i), name, DIM, _font(18))
        pen.text((x + GOAL, y + 46 + 27 * i), value.replace("nan", "-"), TEXT, _font(18, bold=True), anchor="ra")
    pen.text((x, HEIGHT - MARGIN - 96 - 24), f"distance; line: {radius:.2f} m", DIM, _font(15))
    pen.text((x + 8, HEIGHT - MARGIN + 2), title, DIM, _font(15))
    _legend(pen, legend)
    return np.asarray(image)


def _legend(pen: ImageDraw.ImageDraw, entries: tuple[tuple[str, Colour], ...]) -> None:
    wide = [52 + int(pen.textlength(name, _font(16))) for name, _ in entries]
    pen.rounded_rectangle((10, HEIGHT - 38, 14 + sum(wide), HEIGHT - 8), 8, fill=BACKGROUND)
    x = 22
    for (name, colour), width in zip(entries, wide, strict=True):
        pen.line((x, HEIGHT - 23, x + 22, HEIGHT - 23), fill=colour, width=5)
        pen.text((x + 30, HEIGHT - 34), name, TEXT, _font(16))
        x += width


@lru_cache(maxsize=16)
def _font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which matplotlib brings along: no font of the system is needed."""
    import matplotlib

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name), size)
