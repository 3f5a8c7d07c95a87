# SPDX-License-Identifier: Apache-2.0
"""Where things lie in a LeRobot dataset on disk, in version 2.1 (a file an episode) and 3.0 (many episodes a file)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jepa_ros.bags.lerobot import OWN, LeRobotError

READ = ("v2.0", "v2.1", "v3.0")


@dataclass(frozen=True)
class Clip:
    """An episode's part of a video file, in s from the file's begin."""

    path: Path
    start: float


@dataclass(frozen=True)
class EpisodePlace:
    """Where an episode lies: its Parquet file, and of each video feature its clip."""

    index: int
    length: int
    tasks: tuple[str, ...]
    data: Path
    clips: dict[str, Clip]


class LeRobotSet:
    """The description of a dataset on disk, checked; pictures and tables are read by an episode at a time.

    Attributes:
        folder, version, fps.
        features: as ``meta/info.json`` has them, {name: {dtype, shape, names}}.
        episodes: in their order.
        own: what jepa_ros wrote beside LeRobot's files; empty in other people's sets.

    Raises:
        LeRobotError: not such a dataset, a version that is not read, a file that is missing.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        info = self._json("meta/info.json")
        self.version = str(info.get("codebase_version"))
        if self.version not in READ:
            found = f"'{self.version}', expected one of {', '.join(READ)}"
            raise LeRobotError(f"{self.folder / 'meta/info.json'}: codebase_version: {found}; convert it with lerobot")
        self.features: dict[str, dict[str, Any]] = info.get("features") or {}
        self.fps = self._fps(info.get("fps"))
        self._info = info
        self.episodes = self._episodes() if self.version == "v3.0" else self._old_episodes()
        if not self.episodes:
            raise LeRobotError(f"{self.folder}: the dataset has no episode")
        self.own: dict[str, Any] = self._json(OWN) if (self.folder / OWN).is_file() else {}

    @property
    def cameras(self) -> list[str]:
        """The features that are pictures."""
        return [name for name, f in self.features.items() if f.get("dtype") in ("image", "video")]

    def is_video(self, feature: str) -> bool:
        """Whether a feature's pictures are in MP4 files (else in the table)."""
        return self.features[feature]["dtype"] == "video"

    def names(self, feature: str) -> list[str]:
        """The names of a vector's dimensions; their numbers where the set has no names."""
        told: Any = self.features[feature].get("names")
        if isinstance(told, dict):  # {"motors": [...]}, as older sets have it; {"x": 0, "y": 1} exists too
            lists = [v for v in told.values() if isinstance(v, list)]
            told = lists[0] if lists else sorted(told, key=lambda n: told[n])
        size = int(np.prod(self.features[feature].get("shape") or [1]))
        return [str(n) for n in told] if isinstance(told, list) and len(told) == size else [str(i) for i in range(size)]

    def missing(self) -> list[Path]:
        """The files that the description names and that are not there."""
        named = [e.data for e in self.episodes] + [c.path for e in self.episodes for c in e.clips.values()]
        return [path for path in dict.fromkeys(named) if not path.is_file()]

    def table(self, episode: EpisodePlace, columns: list[str]) -> dict[str, Any]:
        """Columns of an episode, in the order of its frames: arrays (T, ...), or of pictures a list of file contents.

        Raises:
            LeRobotError: a column is missing, or the file holds another number of frames than the description says.
        """
        import pyarrow.parquet as parquet
        from pyarrow import ArrowException

        wanted = list(dict.fromkeys([*columns, "timestamp", "frame_index", "episode_index"]))
        try:
            present = parquet.read_schema(episode.data).names
            absent = [c for c in wanted if c not in present]
            if absent:
                raise LeRobotError(f"{episode.data}: no column {', '.join(absent)}; it has {', '.join(present)}")
            found = parquet.read_table(episode.data, columns=wanted, filters=[("episode_index", "=", episode.index)])
        except (ArrowException, OSError) as error:
            raise LeRobotError(f"{episode.data}: cannot be read: {error}") from None
        if len(found) != episode.length:
            raise LeRobotError(
                f"{episode.data}: episode {episode.index} has {len(found)} frames, meta/ says {episode.length}"
            )
        found = found.sort_by("frame_index")
        columns_of = {name: found.column(name).combine_chunks() for name in wanted}
        return {name: _values(name, column, self.features.get(name, {})) for name, column in columns_of.items()}

    def _json(self, name: str) -> dict[str, Any]:
        path = self.folder / name
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            what = f"is {self.folder} a LeRobot dataset?"
            raise LeRobotError(f"{path}: cannot be read: {error.strerror}; {what}") from None
        except ValueError as error:
            raise LeRobotError(f"{path}: not valid JSON: {error}") from None
        if not isinstance(data, dict):
            raise LeRobotError(f"{path}: expected a mapping, found {type(data).__name__}")
        return data

    def _fps(self, raw: Any) -> float:
        if isinstance(raw, bool) or not isinstance(raw, (int, float)) or not 0 < raw <= 1000:
            raise LeRobotError(f"{self.folder / 'meta/info.json'}: fps: expected a rate in Hz, found {raw!r:.40}")
        return float(raw)

    def _episodes(self) -> list[EpisodePlace]:
        import pyarrow.parquet as parquet
        from pyarrow import ArrowException

        rows: list[dict[str, Any]] = []
        for path in sorted((self.folder / "meta" / "episodes").glob("*/*.parquet")):
            try:
                names = [n for n in parquet.read_schema(path).names if not n.startswith("stats/")]
                rows += parquet.read_table(path, columns=names).to_pylist()
            except (ArrowException, OSError) as error:
                raise LeRobotError(f"{path}: cannot be read: {error}") from None
        videos = [name for name in self.cameras if self.is_video(name)]
        try:
            return [self._place(row, videos) for row in sorted(rows, key=lambda r: r["episode_index"])]
        except KeyError as error:
            raise LeRobotError(f"{self.folder / 'meta/episodes'}: no column {error}") from None

    def _place(self, row: dict[str, Any], videos: list[str]) -> EpisodePlace:
        where = {"chunk_index": row["data/chunk_index"], "file_index": row["data/file_index"]}
        clips = {}
        for name in videos:
            at = {key: row[f"videos/{name}/{key}"] for key in ("chunk_index", "file_index")}
            path = self.folder / str(self._info["video_path"]).format(video_key=name, **at)
            clips[name] = Clip(path, float(row[f"videos/{name}/from_timestamp"]))
        data = self.folder / str(self._info["data_path"]).format(**where)
        return EpisodePlace(row["episode_index"], row["length"], tuple(row.get("tasks") or ()), data, clips)

    def _old_episodes(self) -> list[EpisodePlace]:
        path = self.folder / "meta" / "episodes.jsonl"
        try:
            rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        except OSError as error:
            raise LeRobotError(f"{path}: cannot be read: {error.strerror}") from None
        except ValueError as error:
            raise LeRobotError(f"{path}: not lines of JSON: {error}") from None
        places, chunk = [], int(self._info.get("chunks_size") or 1000)
        videos = [name for name in self.cameras if self.is_video(name)]
        for row in rows:
            index = int(row["episode_index"])
            at = {"episode_chunk": index // chunk, "episode_index": index}
            clips = {n: Clip(self.folder / self._info["video_path"].format(video_key=n, **at), 0.0) for n in videos}
            data = self.folder / str(self._info["data_path"]).format(**at)
            places.append(EpisodePlace(index, int(row["length"]), tuple(row.get("tasks") or ()), data, clips))
        return places


def _values(name: str, column: Any, feature: dict[str, Any]) -> Any:
    """A column as an array (T,) or (T, n); of pictures the contents of their files."""
    if feature.get("dtype") == "image":
        return [entry["bytes"] if isinstance(entry, dict) else entry for entry in column.to_pylist()]
    array = np.array(column.to_pylist())
    return array.reshape(len(array), -1) if array.ndim > 1 else array
