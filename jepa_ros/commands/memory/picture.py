# SPDX-License-Identifier: Apache-2.0
"""A long-term memory as a picture: the graph of places, or where states were seen if there is none."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from jepa_ros.errors import JepaRosError
from jepa_ros.memory.long_term import CONTACT, NOTHING, OBSTRUCTED, LongTerm
from jepa_ros.memory.thumbnail import pixels_of
from jepa_ros.planar.place_graph import PlaceGraph
from jepa_ros.planar.place_layout import error_of, layout, side_by_side
from jepa_ros.planar.way_memory import WayMemory

#: px of a thumbnail's longer side in the picture, and how many there are at most.
THUMB, MOST = 54.0, 40
OUTCOMES = {NOTHING: ("seen", "0.6"), OBSTRUCTED: ("held back", "darkorange"), CONTACT: ("contact", "crimson")}


def draw(memory: LongTerm, path: Path, thumbnails: bool) -> None:
    """Write a PNG or an SVG, as the name ends.

    Raises:
        JepaRosError: nothing that is remembered has a place.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    graph = memory.annex(PlaceGraph)
    figure, axis = plt.subplots(figsize=(10, 8), layout="constrained")
    try:
        if graph is not None and len(graph):
            places = _graph(axis, memory, graph)
            if thumbnails:
                _thumbnails(figure, axis, graph, places)
        else:
            _states(axis, memory)
        axis.set(xlabel="m", ylabel="m", aspect="equal")
        axis.legend(loc="best", fontsize="small")
        figure.savefig(path, dpi=110)
    finally:
        plt.close(figure)


def _graph(axis: Any, memory: LongTerm, graph: PlaceGraph) -> np.ndarray:
    """Draw places and ways; where the places lie in the picture (n, 2) [m]."""
    from matplotlib.collections import LineCollection

    found, now = layout(graph), time.time()
    places = side_by_side(found)
    ways = [(a, b, edge) for a, others in enumerate(graph.edges) for b, edge in others.items() if a < b]
    driven = [way for way in ways if way[2].driven]
    if driven:
        trust = [max(edge.steps, 1e-6) / max(edge.cost(now), 1e-6) for _, _, edge in driven]
        lines = LineCollection(
            [places[[a, b]] for a, b, _ in driven], array=np.array(trust), cmap="RdYlGn", clim=(0.0, 1.0),
            linewidths=[1.0 + min(3.0, 0.5 * edge.driven) for *_, edge in driven],
        )  # fmt: skip
        axis.add_collection(lines)
        axis.figure.colorbar(lines, ax=axis, label="trust: steps of the way / steps to expect now", shrink=0.6)
    closed = [places[[a, b]] for a, b, edge in ways if not edge.driven]
    if closed:
        axis.add_collection(LineCollection(closed, colors="royalblue", linestyles="--", linewidths=1.2, zorder=1))
        axis.plot([], [], "--", color="royalblue", label=f"{len(closed)} closed loops")
    failed = [places[[a, b]].mean(0) for a, b, edge in ways if edge.failed]
    if failed:
        axis.plot(*np.array(failed).T, "x", color="crimson", ms=8, mew=2, label=f"{len(failed)} ways that failed")
    axis.plot(*places.T, "o", color="0.25", ms=3, label=f"{len(graph)} places")
    axis.plot(*places[-1], "s", color="black", ms=8, label="newest place")
    for name, tag in memory.tags.items():
        _tag(axis, name, places[int(graph.nearest(tag.latent, 1)[0])])
    parts = f" in {found.part.max() + 1} parts" if found.part.max() else ""
    axis.set_title(f"{len(graph)} places{parts}; ways disagree by {error_of(graph, found):.2f} m (RMS)")
    axis.autoscale_view()
    return places


def _tag(axis: Any, name: str, place: Any) -> None:
    violet = {"color": "darkviolet", "zorder": 5}  # over thumbnails
    axis.plot(*place, "*", ms=14, **violet)
    axis.annotate(name, place, xytext=(8, -12), textcoords="offset points", weight="bold", **violet)


def _thumbnails(figure: Any, axis: Any, graph: PlaceGraph, places: np.ndarray) -> None:
    """What was seen, at places whose picture covers none that is there already: evenly along the drives."""
    from matplotlib.offsetbox import AnnotationBbox, OffsetImage

    axis.set_aspect("equal")
    axis.margins(0.12)
    figure.canvas.draw()
    at = axis.transData.transform(places)
    taken: list[np.ndarray] = []
    stride = max(1, len(places) // MOST)
    order = [*range(0, len(places), stride), *range(len(places))]
    for place in dict.fromkeys(order):
        if len(taken) == MOST or any((np.abs(at[place] - other) < THUMB * 1.15).all() for other in taken):
            continue
        picture = pixels_of(graph.thumbnails[place])
        if picture is None:
            continue
        taken.append(at[place])
        zoom = THUMB / max(picture.shape[:2]) * 72.0 / figure.dpi
        axis.add_artist(AnnotationBbox(
            OffsetImage(picture, zoom=zoom), tuple(places[place]), xybox=(16, 20), boxcoords="offset points", pad=0.1,
            bboxprops={"edgecolor": "0.3", "lw": 0.8}, arrowprops={"arrowstyle": "-", "color": "0.3", "lw": 0.6},
        ))  # fmt: skip


def _states(axis: Any, memory: LongTerm) -> None:
    """Where states were seen, what came of them, and where the robot was held back."""
    known = np.isfinite(memory.where).all(1)
    ways = memory.annex(WayMemory)
    tags = {name: tag.where for name, tag in memory.tags.items() if tag.where is not None}
    held = np.zeros((0, 4)) if ways is None else ways.obstructions
    if not (known.any() or tags or len(held)):
        raise JepaRosError("nothing that is remembered here has a place, so there is nothing to draw: leave out --out")
    for outcome, (word, colour) in OUTCOMES.items():
        chosen = known & (memory.outcomes == outcome)
        if chosen.any():
            axis.plot(*memory.where[chosen, :2].T, ".", color=colour, label=f"{chosen.sum()} states: {word}")
    if len(held):
        axis.scatter(*held[:, :2].T, s=40 * held[:, 2], marker="x", color="crimson", label=f"held back at {len(held)}")
    for name, where in tags.items():
        _tag(axis, name, where[:2])
    axis.set_title(f"{len(memory)} states, {len(memory.tags)} tags")
