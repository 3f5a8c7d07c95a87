# SPDX-License-Identifier: Apache-2.0
"""Where the shards of a dataset lie, and how rows of them are read: a folder here, or object storage by fsspec.

A finished dataset has an index: ``index.json`` (names of shards; type, shape of a row and place of the first row of each
array) and ``index.npy`` (the episodes). With it a dataset opens in the time of two files, however many shards it has,
and nothing but the rows of a batch is ever in memory.
"""

from __future__ import annotations

import json
import math
import os
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from jepa_ros.errors import JepaRosError

INDEX, EPISODES = "index.json", "index.npy"
#: Memory maps that are open at a time; a process may have some 65,000.
OPEN = 1024
#: Threads that read ahead. One request of object storage takes long, whatever it brings.
READERS_HERE, READERS_REMOTE = 2, 6

#: Rows [first, last) of an array of a shard.
Rows = tuple[int, str, int, int]


class DatasetError(JepaRosError):
    """A dataset that cannot be used; the message names the folder or file and what to do."""


class Storage(Protocol):
    """Reads rows."""

    readers: int

    def read(self, wanted: Sequence[Rows]) -> list[np.ndarray]:
        """Copies of rows, read at once."""
        ...

    def view(self, wanted: Rows) -> np.ndarray:
        """Rows of one array; a view where that is possible."""
        ...


class Layout:
    """What the index says of the files: names of shards, and of each array type, shape of a row and first byte."""

    def __init__(self, shards: Sequence[str], files: dict[str, dict[str, Any]]) -> None:
        self.shards, self._files = shards, files
        self.types = {name: (np.dtype(f["type"]), tuple(f["row"])) for name, f in files.items()}

    def span(self, wanted: Rows) -> tuple[str, int, int]:
        """The file, and the bytes of it [first, last) that hold some rows."""
        shard, name, first, last = wanted
        kind, row = self.types[name]
        size, begin = kind.itemsize * math.prod(row), int(self._files[name]["offset"])
        return f"{self.shards[shard]}/{name}.npy", begin + first * size, begin + last * size

    def array(self, wanted: Rows, data: Any) -> np.ndarray:
        """Bytes as the rows that they are."""
        kind, row = self.types[wanted[1]]
        return np.frombuffer(data, kind).reshape(wanted[3] - wanted[2], *row)

    def to_plain(self) -> dict[str, Any]:
        """For ``index.json``."""
        return {"shards": list(self.shards), "files": self._files}


class LocalShards:
    """Shards in a folder. Batches are read and not mapped: a thread that waits for the disk holds nobody up."""

    readers = READERS_HERE

    def __init__(self, folder: Path, shards: Sequence[str], layout: Layout | None) -> None:
        self.folder, self.shards, self._layout = folder, shards, layout
        self._open: OrderedDict[tuple[int, str], np.ndarray] = OrderedDict()

    def map(self, shard: int, name: str) -> np.ndarray:
        """A whole array, memory-mapped."""
        key = shard, name
        found = self._open.pop(key, None)
        if found is None:
            found = load_array(self.folder / self.shards[shard] / f"{name}.npy")
        self._open[key] = found
        while len(self._open) > OPEN:
            self._open.popitem(last=False)
        return found

    def view(self, wanted: Rows) -> np.ndarray:
        """See :class:`Storage`."""
        shard, name, first, last = wanted
        return self.map(shard, name)[first:last]

    def read(self, wanted: Sequence[Rows]) -> list[np.ndarray]:
        """See :class:`Storage`."""
        if self._layout is None:
            return [np.array(self.view(rows)) for rows in wanted]
        return [self._layout.array(rows, self._bytes(*self._layout.span(rows))) for rows in wanted]

    def _bytes(self, name: str, first: int, last: int) -> bytearray:
        data, path = bytearray(last - first), self.folder / name
        try:
            with path.open("rb", buffering=0) as file:
                file.seek(first)
                found = file.readinto(data)
        except OSError as error:
            raise DatasetError(f"{path}: cannot be read: {error.strerror}; the same command resumes") from None
        if found != len(data):
            raise DatasetError(f"{path}: cannot be read: it ends early: the shard is damaged; collect it again")
        return data


class RemoteShards:
    """Shards in object storage. All rows of a batch are asked for at once: it takes as long as the slowest answer."""

    readers = READERS_REMOTE

    def __init__(self, url: str, fs: Any, root: str, layout: Layout) -> None:
        self.url, self._fs, self._root, self._layout = url, fs, root, layout

    def map(self, shard: int, name: str) -> np.ndarray:
        """A whole array is not mapped from there."""
        raise DatasetError(f"{self.url}: needs a copy of the dataset on this machine")

    def view(self, wanted: Rows) -> np.ndarray:
        """See :class:`Storage`."""
        return self.read([wanted])[0]

    def read(self, wanted: Sequence[Rows]) -> list[np.ndarray]:
        """See :class:`Storage`."""
        spans = [self._layout.span(rows) for rows in wanted]
        names, firsts, lasts = ([f"{self._root}/{n}" for n, _, _ in spans], [a for _, a, _ in spans],
                                [b for _, _, b in spans])  # fmt: skip
        try:
            found = self._fs.cat_ranges(names, firsts, lasts, on_error="raise")
        except Exception as error:  # each store has errors of its own
            raise _gone(self.url, error) from None
        for (name, first, last), data in zip(spans, found):
            if len(data) != last - first:
                raise DatasetError(f"{self.url}/{name}: ends early: copy the dataset there again")
        return [self._layout.array(rows, data) for rows, data in zip(wanted, found)]


class Arrays(Sequence[np.ndarray]):
    """The arrays of one name, one a shard, each opened when it is asked for."""

    def __init__(self, storage: LocalShards | RemoteShards, name: str, count: int) -> None:
        self._storage, self._name, self._count = storage, name, count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, shard: Any) -> Any:
        if not 0 <= shard < self._count:
            raise IndexError(shard)
        return self._storage.map(shard, self._name)

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[i] for i in range(self._count))


def is_remote(place: Path | str) -> bool:
    """Whether a dataset's place is a URL and no folder."""
    return "://" in str(place)


def open_remote(url: str) -> tuple[Any, str]:
    """The file system of a URL and the path in it.

    Raises:
        DatasetError: nobody knows the protocol, or what it needs is not installed.
    """
    import fsspec

    try:
        fs, root = fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise DatasetError(f"{url}: {' '.join(str(error).split())[:200]} (for s3: pip install 'jepa_ros[s3]')") from None
    return fs, root.rstrip("/")


def read_remote(url: str, fs: Any, path: str, missing: str = "") -> bytes:
    """A small file; ``missing`` says what to do where it is not there.

    Raises:
        DatasetError: it is not there, or the store does not answer.
    """
    try:
        return bytes(fs.cat_file(path))
    except FileNotFoundError:
        raise DatasetError(f"{url}: has no {path.rpartition('/')[2]}: {missing}") from None
    except Exception as error:  # each store has errors of its own
        raise _gone(url, error) from None


def _gone(url: str, error: Exception) -> DatasetError:
    reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
    return DatasetError(f"{url}: the store does not answer as it should ({reason}); the same command resumes")


def load_array(path: Path) -> np.ndarray:
    """A file's array, memory-mapped.

    Raises:
        DatasetError: it cannot be read.
    """
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DatasetError(
            f"{path}: cannot be read ({error}): the shard is damaged; delete its folder and collect again"
        ) from None


def shard_names(folder: Path) -> list[str]:
    """The finished shards of a folder, in order."""
    with os.scandir(folder) as entries:
        return sorted(
            e.name for e in entries if e.name.startswith("shard_") and ".partial" not in e.name and e.is_dir()
        )


def write_index(folder: Path, arrays: Iterable[str]) -> None:
    """Write the index of a finished dataset; none where shards differ in what the index says once for all."""
    names, shards = list(arrays), shard_names(folder)
    files: dict[str, dict[str, Any]] = {}
    rows = []
    for i, shard in enumerate(shards):
        for name in names:
            found = load_array(folder / shard / f"{name}.npy")
            said = {"type": found.dtype.str, "row": list(found.shape[1:]), "offset": int(getattr(found, "offset", 0))}
            if files.setdefault(name, said) != said:
                return
        rows += [(i, *map(int, row)) for row in load_array(folder / shard / "episodes.npy")]
    if not shards:
        return
    temporary = folder / (EPISODES + ".partial")
    with temporary.open("wb") as file:
        np.save(file, np.array(rows, dtype=np.int64))
    os.replace(temporary, folder / EPISODES)
    temporary = folder / (INDEX + ".partial")
    temporary.write_text(json.dumps(Layout(shards, files).to_plain()) + "\n", encoding="utf-8")
    os.replace(temporary, folder / INDEX)


def drop_index(folder: Path) -> None:
    """Take the index away: the dataset changes."""
    (folder / INDEX).unlink(missing_ok=True)


def read_layout(text: str | bytes, where: str) -> Layout:
    """The layout of an ``index.json``.

    Raises:
        DatasetError: it is none.
    """
    try:
        plain = json.loads(text)
        return Layout(plain["shards"], plain["files"])
    except (ValueError, KeyError, TypeError) as error:
        raise DatasetError(f"{where}: is no index of a dataset ({error}): delete it; it is made anew") from None


def check_sizes(folder: Path, layout: Layout, index: np.ndarray) -> None:
    """Refuse files that are shorter than their episodes.

    Raises:
        DatasetError: names the first.
    """
    ends = np.zeros(len(layout.shards), np.int64)
    np.maximum.at(ends, index[:, 0], index[:, 1] + index[:, 2])
    for shard, rows in enumerate(ends.tolist()):
        for name in layout.types:
            file, _, end = layout.span((shard, name, 0, rows))
            try:
                size = os.stat(folder / file).st_size
            except OSError as error:
                raise DatasetError(f"{folder / file}: cannot be read: {error.strerror}") from None
            if size < end:
                raise DatasetError(
                    f"{folder / file}: cannot be read (it has {size} of {end} bytes): the shard is damaged; delete its "
                    "folder and collect again"
                )
