# SPDX-License-Identifier: Apache-2.0
"""Reading a dataset, see :mod:`jepa_ros.learning.data.layout`."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jepa_ros.contract import RobotContract
from jepa_ros.learning.data.layout import ARRAYS, LOCK, META, further_arrays, input_arrays, read_meta
from jepa_ros.learning.data.storage import (
    EPISODES,
    INDEX,
    Arrays,
    DatasetError,
    LocalShards,
    RemoteShards,
    Rows,
    check_sizes,
    is_remote,
    load_array,
    open_remote,
    read_layout,
    read_remote,
    shard_names,
)


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
        meta = read_meta(self.folder)
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
