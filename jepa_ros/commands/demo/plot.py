# SPDX-License-Identifier: Apache-2.0
"""The plot of a run: distance, cost, plan time and gate mode over time."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # no display is needed, and none is touched
import matplotlib.pyplot as plt
import numpy as np

from jepa_ros.commands.demo.log import Episode
from jepa_ros.commands.demo.video import MODE_COLOURS


def save_plot(path: Path, episodes: list[Episode], title: str) -> None:
    """Write a PNG with four panels; episodes stand one after the other on the time axis."""
    figure, axes = plt.subplots(
        4, 1, figsize=(10, 8), sharex=True, layout="constrained", gridspec_kw={"height_ratios": [3, 2, 2, 0.6]}
    )
    offset = 0.0
    for episode in episodes:
        if episode.frames:
            _episode(axes, episode, offset)
            offset += episode.frames[-1].time + 1.0
    radius = episodes[0].radius if episodes else 0.10
    axes[0].axhline(radius, color="crimson", lw=1, ls="--", label=f"{radius:.2f} m: arrived")
    axes[0].set_ylabel("true distance\nto the goal [m]")
    axes[0].set_ylim(bottom=0)
    axes[1].set_ylabel("as the planner\nsees it")
    axes[2].set_ylabel("plan time [ms]")
    axes[2].set_ylim(bottom=0)
    axes[3].set_yticks([])
    axes[3].set_ylabel("gate")
    axes[3].set_xlabel("time since the goal was sent [s]")
    for axis in axes[:3]:
        axis.grid(alpha=0.3)
        handles, labels = axis.get_legend_handles_labels()
        unique = dict(zip(labels, handles, strict=True))
        if unique:
            axis.legend(unique.values(), unique.keys(), loc="upper right", fontsize=8)
    modes = sorted({f.mode for e in episodes for f in e.frames})
    bars = [plt.Rectangle((0, 0), 1, 1, color=_colour(mode)) for mode in modes]
    axes[3].legend(bars, modes, ncols=max(1, len(modes)), loc="upper right", fontsize=8)
    figure.suptitle(title)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _episode(axes: np.ndarray, episode: Episode, offset: float) -> None:
    frames = episode.frames
    times = np.array([f.time for f in frames]) + offset

    def series(name: str) -> np.ndarray:
        return np.array([getattr(f, name) for f in frames], dtype=float)

    axes[0].plot(times, series("distance"), color="tab:orange", lw=1.5)
    arrived = np.array([f.planner == "arrived" for f in frames])
    if arrived.any():
        axes[0].plot(times[arrived], series("distance")[arrived], ".", color="tab:green", label="planner: arrived")
    axes[1].plot(times, series("cost"), color="tab:blue", lw=1.2, label="cost of the plan")
    axes[1].plot(times, series("steps_to_go"), color="tab:purple", lw=1.2, label="planner's distance to the goal")
    axes[2].plot(times, series("plan_ms"), color="tab:gray", lw=1, marker=".", ms=3)
    at = 0
    for mode, group in groupby(frames, key=lambda f: f.mode):
        last = at + len(list(group))
        end = times[last] if last < len(times) else times[-1] + 0.1
        axes[3].axvspan(times[at], end, color=_colour(mode), lw=0)
        at = last


def _colour(mode: str) -> tuple[float, ...]:
    return tuple(c / 255 for c in MODE_COLOURS.get(mode, (150, 158, 170)))
