# SPDX-License-Identifier: Apache-2.0
"""Datasets on disk: episodes of model inputs, executed actions and what the robot's own sensors said.

The ONE format, whoever writes it: driving in simulation (``collect``), bags (``dataset``), other people's
environments. A dataset is a folder::

    dataset.json            contract, settings, seed, format
    shard_00000/            a few episodes each; appears whole (written aside, then renamed)
        images.npy          (N, height, width, 3) uint8  the model's picture of the camera that begins steps at t_k
        actions.npy         (N, A) float32             the mean of the gate's output over [t_k, t_k+1), physical units
        commands.npy        (N, A) float32             what the policy asked for at step k, physical units
        poses.npy           (N, 3) float32             localisation x, y, yaw at t_k (NaN where the robot has none)
        contacts.npy        (N,) bool                  bumper during [t_k, t_k+1)
        images_NAME.npy     (N, height, width, 3) uint8  the same of each further camera that the model sees
        state_NAME.npy      (N, n) float32             a state vector at t_k: what the model takes or labels come from
        episodes.npy        (E, 3) int64               start, length, layout of each episode within the shard
    index.json, index.npy   once it is whole: see :mod:`jepa_ros.learning.data.storage`

Data may be larger than memory, and lie in object storage: what is read is the rows of a batch. Localisation and bumper are the robot's own sensors
with their noise; a simulator's ground truth never enters a dataset.
"""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from jepa_ros.contract import RobotContract
from jepa_ros.contract.parts import ODOMETRY
from jepa_ros.learning.data.storage import (
    EPISODES,
    INDEX,
    Arrays,
    DatasetError,
    LocalShards,
    RemoteShards,
    Rows,
    check_sizes,
    drop_index,
    is_remote,
    load_array,
    open_remote,
    read_layout,
    read_remote,
    shard_names,
    write_index,
)

#: Version of the format. Version 1 has one camera and no state; its contracts name no more, so it is read as it stands.
FORMAT, READ = 2, (1, 2)
META = "dataset.json"
LOCK = "writing"
ARRAYS = ("images", "actions", "commands", "poses", "contacts", "episodes")


def input_arrays(contract: RobotContract) -> dict[str, str]:
    """{input of the model: name of the array that holds it}."""
    pictures = {c.name: "images" if c is contract.step_camera else f"images_{c.name}" for c in contract.model_cameras}
    return pictures | {s.name: f"state_{s.name}" for s in contract.model_state}


def further_arrays(contract: RobotContract) -> dict[str, tuple[int, ...]]:
    """{array beside ARRAYS: shape of one of its rows} of a contract's datasets."""
    others = [c for c in contract.model_cameras if c is not contract.step_camera]
    pictures: dict[str, tuple[int, ...]] = {f"images_{c.name}": (c.size[1], c.size[0], 3) for c in others}
    return pictures | {f"state_{s.name}": (len(s.values),) for s in contract.kept_state}


def keeps_odometry(contract: RobotContract) -> bool:
    """Whether a contract's datasets hold where the odometry was, as ``state_odom``."""
    return any(s.name == "odom" and s.values == ODOMETRY for s in contract.kept_state)


@dataclass
class Episode:
    """One episode in memory, T steps; shapes as the module says, without the leading N."""

    images: np.ndarray
    actions: np.ndarray
    commands: np.ndarray
    poses: np.ndarray
    contacts: np.ndarray
    layout: int = 0
    further: dict[str, np.ndarray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.actions)

    def check(self, contract: RobotContract) -> None:
        """Refuse what would spoil a training hours later.

        Raises:
            DatasetError: frames of another size, lengths that differ, an array that is missing, or values that are not
                finite.
        """
        steps, action_dim, size = len(self.actions), contract.action_dim, contract.step_camera.size
        shape = (steps, size[1], size[0], 3)
        if self.images.shape != shape or self.images.dtype != np.uint8:
            raise DatasetError(f"images of shape {self.images.shape} {self.images.dtype}: expected {shape} uint8")
        for name in ("actions", "commands"):
            array = getattr(self, name)
            if array.shape != (steps, action_dim):
                raise DatasetError(f"{name} of shape {array.shape}: expected ({steps}, {action_dim})")
            if not np.isfinite(array).all():
                raise DatasetError(
                    f"{name} hold values that are not finite at step {int(np.argwhere(~np.isfinite(array))[0, 0])}"
                )
        if self.poses.shape != (steps, 3) or self.contacts.shape != (steps,):
            raise DatasetError(
                f"poses {self.poses.shape} and contacts {self.contacts.shape}: expected ({steps}, 3) and ({steps},)"
            )
        for name, row in further_arrays(contract).items():
            found = self.further.get(name)
            if found is None or found.shape != (steps, *row) or not np.isfinite(found).all():
                what = "none" if found is None else f"shape {found.shape}, finite: {bool(np.isfinite(found).all())}"
                raise DatasetError(f"{name}: {what}; expected finite values of shape {(steps, *row)}")


class DatasetWriter:
    """Writes shards into a folder; several processes may write different shards of one dataset.

    Args:
        folder: made when it does not exist.
        contract: of the robot that the data comes from.
        settings: how the data was made; a folder with other settings is refused, the same settings resume.

    Raises:
        DatasetError: the folder holds something else, or data of another contract or other settings.
    """

    def __init__(self, folder: Path | str, contract: RobotContract, settings: dict[str, Any]) -> None:
        self.folder = Path(folder)
        self.contract = contract
        meta = {"format": FORMAT, "contract": contract.to_dict(), "settings": settings}
        path = self.folder / META
        if path.exists():
            found = _read_meta(self.folder)
            lines = RobotContract.from_dict(found["contract"], f"{path}: contract").differences(contract)
            if lines:
                raise DatasetError(f"{self.folder} holds data of another contract:\n  " + "\n  ".join(lines))
            if found["settings"] != json.loads(json.dumps(settings)):
                changed = sorted(
                    k for k in {**found["settings"], **settings} if found["settings"].get(k) != settings.get(k)
                )
                raise DatasetError(
                    f"{self.folder} was made with other settings ({', '.join(changed)}): choose another folder"
                )
        elif self.folder.exists() and any(self.folder.iterdir()):
            raise DatasetError(f"{self.folder} exists and is not a dataset (no {META}): choose another folder")
        else:
            self.folder.mkdir(parents=True, exist_ok=True)
            temporary = path.with_suffix(".partial")
            temporary.write_text(json.dumps(meta, indent=2) + "\n", encoding="utf-8")
            os.replace(temporary, path)

    def shard_path(self, index: int) -> Path:
        """Folder of shard ``index``."""
        return self.folder / f"shard_{index:05d}"

    def has_shard(self, index: int) -> bool:
        """Whether the shard was written already (a resumed run skips it)."""
        return self.shard_path(index).is_dir()

    def write_shard(self, index: int, episodes: Sequence[Episode]) -> None:
        """Write one shard; it appears whole or not at all.

        Raises:
            DatasetError: an episode that does not fit the contract.
        """
        for episode in episodes:
            episode.check(self.contract)
        starts = np.cumsum([0, *(len(e) for e in episodes)])[:-1]
        table = np.array([(s, len(e), e.layout) for s, e in zip(starts, episodes, strict=True)], dtype=np.int64)
        path = self.shard_path(index)
        temporary = path.with_name(path.name + f".partial{os.getpid()}")
        temporary.mkdir()
        for name in ARRAYS[:-1]:
            np.save(temporary / f"{name}.npy", np.concatenate([getattr(e, name) for e in episodes]))
        for name in further_arrays(self.contract):
            np.save(temporary / f"{name}.npy", np.concatenate([e.further[name] for e in episodes]))
        np.save(temporary / "episodes.npy", table)
        os.replace(temporary, path)

    def begin(self) -> None:
        """Mark the dataset as being written; :meth:`finish` takes the mark away. Left-overs of a kill are cleared."""
        for partial in self.folder.glob("shard_*.partial*"):
            shutil.rmtree(partial, ignore_errors=True)
        drop_index(self.folder)
        (self.folder / LOCK).write_text(f"{os.getpid()}\n", encoding="utf-8")

    def finish(self, report: dict[str, Any] | None = None) -> None:
        """The dataset is whole. ``report`` (what was dropped and why, rates) is kept as ``report.json``."""
        write_index(self.folder, (*ARRAYS[:-1], *further_arrays(self.contract)))
        if report is not None:
            (self.folder / "report.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
        (self.folder / LOCK).unlink(missing_ok=True)


def _read_meta(folder: Path | str) -> dict[str, Any]:
    path = f"{folder}/{META}"
    try:
        if isinstance(folder, Path):
            meta = json.loads((folder / META).read_text(encoding="utf-8"))
        else:
            fs, root = open_remote(folder)
            meta = json.loads(read_remote(folder, fs, f"{root}/{META}", "no dataset lies there"))
    except OSError as error:
        raise DatasetError(
            f"{path}: cannot be read: {error.strerror}; a dataset is made by 'jepa-ros collect' or 'jepa-ros dataset'"
        ) from None
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{path}: not valid JSON: {error}") from None
    if not isinstance(meta, dict) or meta.get("format") not in READ:
        known = " or ".join(map(str, READ))
        raise DatasetError(f"{path}: expected a dataset of format {known}; collect the data again")
    for key in ("contract", "settings"):
        if not isinstance(meta.get(key), dict):
            raise DatasetError(f"{path}: {key}: expected a mapping, found {type(meta.get(key)).__name__}")
    return meta


class Dataset:
    """Read access to a dataset; episodes are numbered through all shards.

    Args:
        folder: the dataset: a folder, or the URL of one in object storage (``s3://BUCKET/NAME``).
        contract: when given, the data must fit it.
        min_length: shorter episodes are refused before hours are spent.

    Attributes:
        contract, settings: as recorded. arrays: {name: one memory map a shard, opened when asked for}.
        index: (E, 4) int64: shard, start, length, layout of each episode.

    Raises:
        DatasetError: no dataset, still being written, other contract, frames of mixed size, short episodes, values
            that are not finite.
    """

    def __init__(self, folder: Path | str, contract: RobotContract | None = None, min_length: int = 1) -> None:
        #: A Path, or the URL of object storage.
        self.folder: Any = str(folder).rstrip("/") if is_remote(folder) else Path(folder)
        meta = _read_meta(self.folder)
        if isinstance(self.folder, Path) and (self.folder / LOCK).exists():
            raise DatasetError(
                f"{self.folder} is being written (file '{LOCK}'): wait, or run the same command again to resume it"
            )
        self.contract = RobotContract.from_dict(meta["contract"], f"{self.folder}/{META}: contract")
        self.settings: dict[str, Any] = meta["settings"]
        if contract is not None:
            lines = self.contract.model_differences(contract)
            if lines:
                raise DatasetError(
                    f"{self.folder} holds data of robot '{self.contract.name}', not '{contract.name}':\n  "
                    + "\n  ".join(lines)
                )
        self.arrays: dict[str, Sequence[np.ndarray]] = {}
        self._storage: LocalShards | RemoteShards
        self.index, self._storage = self._there() if is_remote(folder) else self._here()
        names = (*ARRAYS[:-1], *further_arrays(self.contract))
        count = int(self.index[:, 0].max()) + 1
        self.arrays = {name: Arrays(self._storage, name, count) for name in names}
        short = self.index[:, 2] < min_length
        if short.any():
            raise DatasetError(
                f"{self.folder}: {int(short.sum())} of {len(short)} episodes are shorter than the {min_length} steps "
                f"that training needs (the shortest has {int(self.index[:, 2].min())}): collect longer episodes"
            )

    def _here(self) -> tuple[np.ndarray, LocalShards]:
        """Episodes and files of a folder: by its index, or by all files where it has none or shards came and went."""
        shards = shard_names(self.folder)
        if not shards:
            raise DatasetError(f"{self.folder} holds no data (no shard_* folder)")
        path = self.folder / INDEX
        if path.exists():
            layout = read_layout(path.read_text(encoding="utf-8"), str(path))
            if list(layout.shards) == shards:
                index = np.array(load_array(self.folder / EPISODES))
                check_sizes(self.folder, layout, index)
                return index, LocalShards(self.folder, shards, layout)
        storage = LocalShards(self.folder, shards, None)
        rows: list[tuple[int, ...]] = []
        width, height = self.contract.step_camera.size
        for i, shard in enumerate(shards):
            for name in (*ARRAYS[1:-1], *further_arrays(self.contract)):
                storage.map(i, name)
            images, actions = storage.map(i, "images"), storage.map(i, "actions")
            if images.shape[1:] != (height, width, 3):
                raise DatasetError(
                    f"{shard}: frames of {images.shape[1:]}, expected ({height}, {width}, 3): frames of mixed size"
                )
            if len(images) != len(actions):
                raise DatasetError(f"{shard}: {len(images)} images but {len(actions)} actions")
            if not np.isfinite(actions).all():
                raise DatasetError(f"{shard}/actions.npy: values that are not finite")
            rows += [(i, *map(int, row)) for row in load_array(self.folder / shard / "episodes.npy")]
        return np.array(rows, dtype=np.int64), storage

    def _there(self) -> tuple[np.ndarray, RemoteShards]:
        """Episodes and files of object storage, by its index."""
        url = str(self.folder)
        fs, root = open_remote(url)
        missing = "finish it here first (the command that made it, again), and copy the whole folder"
        layout = read_layout(read_remote(url, fs, f"{root}/{INDEX}", missing), f"{url}/{INDEX}")
        episodes = read_remote(url, fs, f"{root}/{EPISODES}", missing)
        return np.load(io.BytesIO(episodes), allow_pickle=False), RemoteShards(url, fs, root, layout)

    def __len__(self) -> int:
        return len(self.index)

    @property
    def name(self) -> str:
        """The last part of its place."""
        return str(self.folder).rstrip("/").rpartition("/")[2]

    @property
    def readers(self) -> int:
        """Threads that should read ahead."""
        return self._storage.readers

    @property
    def steps(self) -> int:
        """Number of control steps in all episodes."""
        return int(self.index[:, 2].sum())

    def usual_length(self, episodes: np.ndarray) -> int:
        """The length [steps] such that half of all steps lie in episodes at least as long: bags leave episodes of any
        length, and what is taught about far goals has to come from the long ones."""
        lengths = np.sort(self.index[episodes, 2])[::-1]
        return int(lengths[np.searchsorted(np.cumsum(lengths), lengths.sum() / 2.0)])

    def slice(self, name: str, episode: int, start: int = 0, length: int | None = None) -> np.ndarray:
        """Rows of array ``name`` (see the module) of one episode; a view into the memory map of a local file."""
        return self._storage.view(self._rows(name, episode, start, length))

    def slices(self, wanted: Sequence[tuple[str, int, int, int]]) -> list[np.ndarray]:
        """Rows (array, episode, start, length) of many arrays, read at once."""
        return self._storage.read([self._rows(*one) for one in wanted])

    def _rows(self, name: str, episode: int, start: int, length: int | None) -> Rows:
        shard, first, total, _ = (int(v) for v in self.index[episode])
        return shard, name, first + start, first + (total if length is None else start + length)

    def check_source(self, *wanted: str | None) -> None:
        """Refuse data of anything but the robots or environments that are named; None names nothing.

        Raises:
            DatasetError: the data comes from elsewhere.
        """
        sources = (self.contract.name, self.settings.get("env", self.contract.name))
        for name in wanted:
            if name is not None and name not in sources:
                raise DatasetError(f"{self.folder} holds data of {sources[1]}, not of {name}: collect with it first")

    def inputs(self, episode: int, start: int = 0, length: int | None = None) -> dict[str, np.ndarray]:
        """What a model of this contract sees and feels over an episode or a piece of it.

        Returns:
            {camera: pictures (T, H, W, 3) uint8; state: (T, n) float32}, memory-mapped.
        """
        return {name: self.slice(array, episode, start, length) for name, array in input_arrays(self.contract).items()}

    def split(self, held_out: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Episode numbers for training and for validation.

        Whole layouts are held out where layouts differ; of the fixed layout (number 0) single episodes are.
        """
        rng = np.random.default_rng(seed)
        layout = self.index[:, 3]
        drawn = np.unique(layout[layout != 0])
        validation = np.zeros(len(self), bool)
        if len(drawn) >= 10:
            validation |= np.isin(layout, rng.choice(drawn, max(1, round(held_out * len(drawn))), replace=False))
        rest = np.flatnonzero((layout == 0) | (len(drawn) < 10))
        if len(rest) > 1:
            validation[rng.choice(rest, max(1, round(held_out * len(rest))), replace=False)] = True
        return np.flatnonzero(~validation), np.flatnonzero(validation)
