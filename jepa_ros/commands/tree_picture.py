# SPDX-License-Identifier: Apache-2.0
"""The tree of a deliberation as a picture: edges by cost, the way, states as the nearest pictures that were seen."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

#: Pictures of states along the way, at most.
SHOWN = 10
ZOOM = 0.55  # of a picture of 64 px


def shown(tree: Mapping[str, Any]) -> list[int]:
    """Rows of the states whose pictures are shown: along the way, evenly by steps, both ends among them."""
    way = tree["way"]
    at = np.unique(np.linspace(0, len(way) - 1, min(SHOWN, len(way))).round().astype(int))
    return [way[i] for i in at]


def draw(tree: Mapping[str, Any], path: Path, pictures: Mapping[int, np.ndarray], goal: np.ndarray | None) -> None:
    """Write a PNG.

    Args:
        tree: see jepa_ros.planning.deliberate.view.tree_of. pictures: {row: (H, W, 3) uint8}. goal: the goal picture.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.collections import LineCollection
    from matplotlib.offsetbox import AnnotationBbox, OffsetImage

    nodes = np.array(tree["nodes"], dtype=float)
    parents, places = nodes[1:, 0].astype(int), nodes[:, 3:5]
    figure, axis = plt.subplots(figsize=(11, 8.5), layout="constrained")
    lines = LineCollection(
        np.stack([places[parents], places[1:]], 1), cmap="viridis", array=nodes[1:, 1] + nodes[1:, 2], linewidths=0.8
    )
    axis.add_collection(lines)
    figure.colorbar(lines, ax=axis, label="steps so far + steps to go", shrink=0.8)
    way = places[tree["way"]]
    axis.plot(*way.T, color="crimson", lw=2.5, marker="o", ms=4, label="best way")
    axis.plot(*places[0], "s", color="black", ms=9, label="start")
    axis.plot(*tree["goal"], "*", color="black", ms=15, label="goal")
    axis.autoscale_view()
    for row, picture in pictures.items():
        axis.add_artist(_thumb(AnnotationBbox, OffsetImage, picture, places[row], "crimson"))
    if goal is not None:
        axis.add_artist(_thumb(AnnotationBbox, OffsetImage, goal, np.array(tree["goal"]), "black"))
    said = "solved" if tree["solved"] else "not solved"
    dropped = f", {tree['dropped']} dropped" if tree["dropped"] else ""
    axis.set_title(f"{said}: {len(nodes)} states{dropped}, {tree['calls']} calls of the model, seed {tree['seed']}")
    unit = "m" if tree["axes"] == "m" else "plane of the cost-to-go, steps"
    axis.set(xlabel=unit, ylabel=unit, aspect="equal")
    axis.legend(loc="upper right")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _thumb(box: Any, image: Any, picture: np.ndarray, place: np.ndarray, colour: str) -> Any:
    zoom = ZOOM * 64 / max(picture.shape[:2])
    return box(
        image(picture, zoom=zoom), tuple(place), xybox=(26, 26), boxcoords="offset points", pad=0.15,
        bboxprops={"edgecolor": colour, "lw": 1.2}, arrowprops={"arrowstyle": "-", "color": colour, "lw": 0.8},
    )  # fmt: skip
