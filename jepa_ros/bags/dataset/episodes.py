# SPDX-License-Identifier: Apache-2.0
"""From a bag's messages to control steps: which images begin a step, what was executed in it, and where to cut.

The live planner's own step clock and command log decide (:mod:`jepa_ros.agent.step_clock`), so that a dataset built
from a bag has the steps that the planner took. Everything that is left out is counted with its reason and its time.
"""

from __future__ import annotations

import numpy as np

from jepa_ros.bags import stamps as header_stamps
from jepa_ros.bags.dataset.control_steps import Run
from jepa_ros.bags.dataset.segments import CutReport, CutSettings, Segment
from jepa_ros.bags.dataset.series import Series, Topics, read_series
from jepa_ros.bags.format.reader import BagReader
from jepa_ros.bags.info import JUMP_SECONDS
from jepa_ros.contract import RobotContract

STRAY_SECONDS = 0.25
"""A message whose stamp is further than this from where the images' stamps put it belongs to another run of time."""
UNORDERED_SECONDS = 0.5
"""An image whose stamp is older by less than this came out of order and is skipped; by more, time has jumped."""
WORTH_SAYING = 0.1
"""A topic of which more than this share was left out for its stamps is named."""


def cut(
    reader: BagReader, contract: RobotContract, topics: Topics, settings: CutSettings, first_layout: int = 1
) -> tuple[list[Segment], CutReport]:
    """The episodes in a bag, without their pixels; their layouts count from `first_layout`."""
    series = read_series(reader, contract, topics)
    report = CutReport(images=len(series["image"].times))
    if not topics.gate:
        report.notes.append("no gate state in the bag: stops of the gate cannot be told from driving")
    if not topics.pose:
        report.notes.append("no localisation in the bag: poses are NaN")
    if not topics.contact:
        report.notes.append("no bumper in the bag: contacts are false")
    report.notes += reader.notes
    segments: list[Segment] = []
    used = {name: np.zeros(len(values.times), bool) for name, values in series.items()}
    for images in _spans(series["image"], reader.start, report):
        chosen = {name: _belonging(values, images) for name, values in series.items()}
        for name, rows in chosen.items():
            used[name] |= rows
        part = {name: series[name].at(rows) for name, rows in chosen.items()}
        first = first_layout + (segments[-1].layout - first_layout + 1 if segments else 0)
        segments += Run(contract, settings, part, images, reader.start, report).segments(first)
    report.notes += _about_stamps(series, topics, used)
    report.kept = sum(map(len, segments))
    report.episodes = len(segments)
    return segments, report


def _about_stamps(series: dict[str, Series], topics: Topics, used: dict[str, np.ndarray]) -> list[str]:
    """What is wrong with the stamps: of the images, by which steps are told, and of what was left out for its stamps.

    Args:
        used: by field of Topics, which messages belong to a run of images.
    """
    times, stamps = series["image"].arrays()
    found = header_stamps.fault(times, stamps)
    lines = [f"{topics.image}: {found}. Steps begin by these stamps"] if found else []
    for name, values in series.items():
        others, theirs = values.arrays()
        left = ~used[name] & (theirs != 0)
        if name == "image" or found or not len(others) or left.mean() < WORTH_SAYING:
            continue
        if own := header_stamps.fault(others[theirs != 0], theirs[theirs != 0]):
            lines.append(f"{getattr(topics, name)}: {own}")
            continue
        delay = np.interp(others, times, (times - stamps).astype(np.float64))
        offset = float(np.median((others - theirs - delay)[left])) * 1e-9
        lines.append(header_stamps.strays(getattr(topics, name), int(left.sum()), len(others), offset))
    return lines


def _spans(images: Series, origin: int, report: CutReport) -> list[np.ndarray]:
    """Runs of images (log time, stamp) between jumps of time; (n, 2) int64 each."""
    spans: list[list[tuple[int, int]]] = [[]]
    for time, stamp in zip(images.times, images.stamps, strict=True):
        run = spans[-1]
        if run:
            moved, passed = (stamp - run[-1][1]) * 1e-9, (time - run[-1][0]) * 1e-9
            if -UNORDERED_SECONDS < moved < 0:
                report.drop("image out of order", (time - origin) * 1e-9)
                continue
            if moved < 0 or abs(moved - passed) > JUMP_SECONDS:
                report.drop("time jump", (time - origin) * 1e-9)
                spans.append([])
        spans[-1].append((time, stamp))
    return [np.array(run, np.int64) for run in spans if run]


def _belonging(series: Series, images: np.ndarray) -> np.ndarray:
    """Which messages belong to a run of images: received during it (1 s around), with stamps on the same clock."""
    times, stamps = series.arrays()
    here = (times >= images[0, 0] - 1_000_000_000) & (times <= images[-1, 0] + 1_000_000_000)
    if len(images) > 1 and images[0, 0] == images[-1, 0]:
        # The log's clock stood (a simulation's /clock had not come yet): the stamps alone say what was when.
        return here & (stamps >= images[0, 1] - 1_000_000_000) & (stamps <= images[-1, 1] + 1_000_000_000)
    base = images[0, 0]
    delay = np.interp((times - base) * 1e-9, (images[:, 0] - base) * 1e-9, (images[:, 0] - images[:, 1]) * 1e-9)
    return here & ((stamps == 0) | (np.abs((times - stamps) * 1e-9 - delay) < STRAY_SECONDS))
