# SPDX-License-Identifier: Apache-2.0
"""`jepa-ros dataset --from lerobot PATH`: other people's episodes become a dataset that `jepa-ros train` reads.

Frame k of a set is what was seen at k / fps, and its action what was done from then on, as in our own datasets. Where
the set is faster than the contract, every n-th frame begins a step and the step's action is the mean of its n frames.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from jepa_ros.bags.lerobot import LeRobotError
from jepa_ros.bags.lerobot.layout import EpisodePlace, LeRobotSet
from jepa_ros.bags.lerobot.mapping import Mapping, resolve
from jepa_ros.bags.lerobot.video import frames
from jepa_ros.contract import Camera, RobotContract, load_contract
from jepa_ros.learning.data.layout import Episode
from jepa_ros.learning.data.shards import Job, in_shards, write_shards
from jepa_ros.learning.data.writer import DatasetWriter
from jepa_ros.perception.preprocess import ImageError, model_input

#: As LeRobot itself: a stamp further than this [s] from its place on the grid is no stamp of this rate.
STAMP_TOLERANCE = 1e-4
#: Of an action's values so many may lie outside the contract's range before the report asks about the unit.
OUTSIDE = 0.05


@dataclass(frozen=True)
class _Job(Job):
    """One shard: some episodes of the set."""

    set: LeRobotSet
    mapping: Mapping
    every: int
    episodes: tuple[EpisodePlace, ...]
    layouts: tuple[int, ...]


def contract_for(data: LeRobotSet, robot: str | None) -> RobotContract:
    """The contract that a set is read by: the one that is named, else the one that came with the set.

    Raises:
        LeRobotError: neither is there.
    """
    if robot is not None:
        return load_contract(robot)
    if "contract" not in data.own:
        raise LeRobotError(f"{data.folder}: no robot contract in it: name one by --robot (docs/contract.md)")
    return RobotContract.from_dict(data.own["contract"], f"{data.folder}: contract")


def frames_a_step(data: LeRobotSet, contract: RobotContract) -> int:
    """How many frames of the set make a control step.

    Raises:
        LeRobotError: the rates do not divide.
    """
    every = round(data.fps / contract.rate)
    if every < 1 or abs(every * contract.rate - data.fps) > 1e-6 * data.fps:
        fit = ", ".join(f"{data.fps / n:g}" for n in range(1, 9))
        raise LeRobotError(
            f"{data.folder} has {data.fps:g} frames a second, and the contract '{contract.name}' a rate of "
            f"{contract.rate:g} Hz: a step begins on a frame only where the rate divides. Give the contract one of "
            f"{fit} Hz"
        )
    return every


def read(
    path: str | Path,
    folder: str | Path,
    robot: str | None = None,
    mapping: dict[str, Any] | None = None,
    *,
    min_length: int = 20,
    static: bool = False,
    workers: int = 1,
    progress=None,
) -> dict[str, Any]:
    """Build a dataset from a LeRobot set; returns the report that is also in its `report.json`.

    Args:
        mapping: content of a mapping file (:mod:`jepa_ros.bags.lerobot.mapping`).
        min_length: shorter episodes [steps] are left out. static: what stands about was the same in all episodes.
        progress: called with (shards done, shards in all).

    Raises:
        LeRobotError: files are missing, rates or names do not fit, stamps are not on the grid.
        DatasetError: the folder holds something else.
    """
    data = LeRobotSet(path)
    contract = contract_for(data, robot)
    every, found = frames_a_step(data, contract), resolve(data, contract, mapping)
    if missing := data.missing():
        listed = "\n  ".join(map(str, missing[:5])) + (f"\n  and {len(missing) - 5} more" if len(missing) > 5 else "")
        told = f"{len(missing)} files that meta/ names are not there; fetch them:\n  {listed}"
        raise LeRobotError(f"{data.folder}: {told}")
    kept = [e for e in data.episodes if e.length // every >= min_length]
    short = len(data.episodes) - len(kept)
    if not kept:
        longest = max(e.length // every for e in data.episodes)
        raise LeRobotError(f"{data.folder}: no episode of {min_length} steps; the longest has {longest} (--min-length)")
    settings = {
        "source": "lerobot", "path": str(path), "fps": data.fps, "mapping": found.plain(), "min_length": min_length,
        "static": static,
    }  # fmt: skip
    writer = DatasetWriter(folder, contract, settings)
    jobs = _jobs(str(writer.folder), contract, settings, data, found, every, kept, static)
    write_shards(writer, jobs, _write_shard, workers, progress)
    steps = sum(e.length // every for e in kept)
    tasks = [e.tasks[0] if e.tasks else "" for e in kept]
    report = {
        "steps": steps, "episodes": len(kept), "robot_minutes": steps * contract.period / 60.0, "too_short": short,
        "frames_a_step": every, "tasks": sorted(set(tasks)), "episode_tasks": tasks,
        "notes": _notes(writer.folder, contract),
    }  # fmt: skip
    writer.finish(report)
    return report


def _jobs(folder, contract, settings, data, mapping, every, kept, static) -> list[_Job]:
    own = {int(k): v for k, v in (data.own.get("layouts") or {}).items()}
    jobs = []
    for number, group in enumerate(in_shards(kept, lambda e: e.length // every)):
        layouts = tuple(0 if static else own.get(e.index, e.index + 1) for e in group)
        jobs.append(_Job(folder, contract.to_dict(), settings, number, data, mapping, every, group, layouts))
    return jobs


def _write_shard(job: _Job) -> int:
    contract = job.robot()
    episodes = [
        _episode(job.set, place, job.mapping, contract, job.every, layout)
        for place, layout in zip(job.episodes, job.layouts, strict=True)
    ]
    return job.write(contract, episodes)


def _episode(
    data: LeRobotSet, place: EpisodePlace, mapping: Mapping, contract: RobotContract, every: int, layout: int
) -> Episode:
    steps = place.length // every
    stored = [f for f in mapping.cameras.values() if not data.is_video(f)]
    table = data.table(place, [*stored, *(c.feature for c in mapping.columns)])
    _check_stamps(data, place, table["timestamp"])

    def at_steps(columns) -> np.ndarray:
        return np.stack([c.of(table) for c in columns], axis=1)[::every][:steps]

    def over_steps(columns) -> np.ndarray:
        all_frames = np.stack([c.of(table) for c in columns], axis=1)[: steps * every]
        return all_frames if every == 1 else all_frames.reshape(steps, every, -1).mean(1)

    pictures = {
        camera.name: _pictures(data, place, mapping.cameras[camera.name], camera, table, every)[:steps]
        for camera in contract.model_cameras
    }
    first = contract.step_camera
    further = {f"images_{name}": p for name, p in pictures.items() if name != first.name}
    further |= {f"state_{name}": at_steps(columns) for name, columns in mapping.state.items()}
    actions = over_steps(mapping.action)
    return Episode(
        images=pictures[first.name],
        actions=actions,
        commands=over_steps(mapping.command) if mapping.command else actions,
        poses=at_steps(mapping.pose) if mapping.pose else np.full((steps, 3), np.nan, np.float32),
        contacts=over_steps((mapping.contact,))[:, 0] > 0 if mapping.contact else np.zeros(steps, bool),
        layout=layout,
        further=further,
    )


def _check_stamps(data: LeRobotSet, place: EpisodePlace, stamps: np.ndarray) -> None:
    grid = np.arange(place.length) / data.fps
    off = np.abs(stamps.astype(np.float64) - stamps[0] - grid)
    # A float32 stamp of a long episode cannot be nearer to its place than its own spacing.
    wrong = np.flatnonzero(off > STAMP_TOLERANCE + np.spacing(stamps.max(), dtype=np.float32))
    if len(wrong):
        k = int(wrong[0])
        raise LeRobotError(
            f"{place.data}: episode {place.index}: frame {k} has the stamp {stamps[k]:.4f} s, {data.fps:g} frames a "
            f"second put it at {stamps[0] + grid[k]:.4f} s: frames are missing, or the fps in meta/info.json is wrong"
        )


def _pictures(
    data: LeRobotSet, place: EpisodePlace, feature: str, camera: Camera, table: dict[str, Any], every: int
) -> np.ndarray:
    """What the model sees of an episode, (steps, height, width, 3) uint8."""
    if data.is_video(feature):
        raw = list(frames(place.clips[feature], place.length, data.fps, every))
    else:
        raw = [_decoded(content, place, feature) for content in table[feature][::every]]
    if data.own:  # our own export: the pictures are the model's already
        return np.stack(raw)
    try:
        return np.stack([model_input(picture, camera) for picture in raw])
    except ImageError as error:
        raise LeRobotError(f"{data.folder}: {feature}: {error}") from None


def _decoded(content: bytes | None, place: EpisodePlace, feature: str) -> np.ndarray:
    found = cv2.imdecode(np.frombuffer(content or b"", np.uint8), cv2.IMREAD_COLOR) if content else None
    if found is None:
        raise LeRobotError(f"{place.data}: episode {place.index}: {feature}: a picture that cannot be decoded")
    return cv2.cvtColor(found, cv2.COLOR_BGR2RGB)


def _notes(folder: Path, contract: RobotContract) -> list[str]:
    """Actions that lie outside of the contract's range: most often another unit."""
    shards = [np.load(p / "actions.npy", mmap_mode="r") for p in sorted(folder.glob("shard_*"))]
    actions, notes = np.concatenate(shards), []
    outside = ((actions < contract.action_low - 1e-6) | (actions > contract.action_high + 1e-6)).mean(0)
    for axis, share, values in zip(contract.action, outside, actions.T, strict=True):
        if share > OUTSIDE:
            seen = f"{values.min():.3g} to {values.max():.3g}"
            range_ = f"{axis.low:g} to {axis.high:g} {axis.unit}"
            notes.append(
                f"action {axis.name}: {100 * share:.0f} % outside the contract's {range_} ({seen}): another unit? "
                "A mapping file may give a scale"
            )
    return notes
