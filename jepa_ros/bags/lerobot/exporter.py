# SPDX-License-Identifier: Apache-2.0
"""`jepa-ros dataset DATASET --to lerobot`: a dataset as LeRobot v3 reads it.

Pictures are the model's (cropped and resampled), in MP4 or as PNG in the tables. ``observation.state`` holds the pose,
where the robot has one throughout, then the state vectors that the dataset keeps.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from jepa_ros.bags.lerobot import OWN, LeRobotError, statistics
from jepa_ros.bags.lerobot.mapping import ACTION, COMMAND, CONTACT, COUNTERS, POSE, STATE
from jepa_ros.bags.lerobot.video import PIXELS, VideoFile
from jepa_ros.learning.data.dataset import Dataset
from jepa_ros.learning.data.layout import input_arrays

VERSION, CHUNK, DATA_MB, VIDEO_MB = "v3.0", 1000, 100, 200
DATA_PATH = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO_PATH = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"


def write(
    source: str | Path, folder: str | Path, *, video: bool = True, task: str | None = None, progress=None
) -> dict[str, Any]:
    """Write a dataset as a LeRobot v3 set; the folder appears whole or not at all.

    Args:
        video: pictures as MP4 (small, nearly exact), else as PNG (exact).
        task: what all episodes were about; None takes what an import kept, else the contract's description.
        progress: called with (episodes done, episodes in all).

    Returns:
        A report: episodes, steps, bytes.

    Raises:
        LeRobotError: the folder exists. DatasetError: the source is no dataset.
    """
    data, folder = Dataset(source), Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise LeRobotError(f"{folder} exists: choose another folder")
    temporary = folder.with_name(folder.name + ".partial")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        told = _Writer(data, temporary, video, _tasks(data, task)).write(progress)
        if folder.exists():
            folder.rmdir()
        os.replace(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return told


def _tasks(data: Dataset, task: str | None) -> list[str]:
    """What each episode was about."""
    if task is None:
        try:
            kept = json.loads((data.folder / "report.json").read_text(encoding="utf-8")).get("episode_tasks")
        except (OSError, ValueError, AttributeError):
            kept = None
        if isinstance(kept, list) and len(kept) == len(data):
            return [str(t) for t in kept]
    return [task or data.contract.description or data.contract.name] * len(data)


class _Files:
    """Numbers of files: a new one after so many MB, a new chunk after so many files."""

    def __init__(self) -> None:
        self.number = 0

    @property
    def at(self) -> dict[str, int]:
        return {"chunk_index": self.number // CHUNK, "file_index": self.number % CHUNK}


class _Writer:
    """One export under way."""

    def __init__(self, data: Dataset, folder: Path, video: bool, tasks: list[str]) -> None:
        self.data, self.folder, self.video, self.tasks = data, folder, video, tasks
        self.contract = data.contract
        arrays, seen = input_arrays(self.contract), self.contract.model_cameras
        self.cameras = {f"observation.images.{c.name}": (arrays[c.name], c.size) for c in seen}
        self.numbers = list(dict.fromkeys(tasks))
        self.posed = all(np.isfinite(a).all() for a in data.arrays["poses"])
        self.states = [f"pose.{n}" for n in POSE] if self.posed else []
        self.states += [f"{s.name}.{value}" for s in self.contract.kept_state for value in s.values]
        self.features = self._features()
        self.parquet: Any = None
        self.parquet_files, self.parquet_bytes = _Files(), 0
        self.videos: dict[str, tuple[_Files, VideoFile]] = {}

    def _features(self) -> dict[str, dict[str, Any]]:
        names = [a.name for a in self.contract.action]
        features: dict[str, dict[str, Any]] = {}
        for name, (_, (width, height)) in self.cameras.items():
            kind = "video" if self.video else "image"
            features[name] = {"dtype": kind, "shape": [height, width, 3], "names": ["height", "width", "channels"]}
            if self.video:
                features[name]["info"] = {
                    "video.height": height, "video.width": width, "video.codec": "h264",
                    "video.pix_fmt": PIXELS, "video.is_depth_map": False, "video.fps": _whole(self.contract.rate),
                    "video.channels": 3, "has_audio": False,
                }  # fmt: skip
        if self.states:
            features[STATE] = {"dtype": "float32", "shape": [len(self.states)], "names": self.states}
        features[ACTION] = {"dtype": "float32", "shape": [len(names)], "names": names}
        features[COMMAND] = {"dtype": "float32", "shape": [len(names)], "names": names}
        features[CONTACT] = {"dtype": "bool", "shape": [1], "names": None}
        kinds = {name: "float32" if name == "timestamp" else "int64" for name in COUNTERS}
        return features | {name: {"dtype": kind, "shape": [1], "names": None} for name, kind in kinds.items()}

    def write(self, progress) -> dict[str, Any]:
        (self.folder / "meta").mkdir(parents=True)
        rows, told, index = [], [], 0
        try:
            for number in range(len(self.data)):
                row, stats = self._episode(number, index)
                for feature, values in stats.items():
                    row |= {f"stats/{feature}/{key}": v for key, v in statistics.plain(values).items()}
                rows.append(row)
                told.append(stats)
                index += row["length"]
                if progress is not None:
                    progress(number + 1, len(self.data))
        finally:
            if self.parquet is not None:
                self.parquet.close()
            for _, file in self.videos.values():
                file.close()
        self._meta(rows, told, index)
        files = [p for p in self.folder.rglob("*") if p.is_file()]
        return {"episodes": len(rows), "steps": index, "bytes": sum(p.stat().st_size for p in files)}

    def _episode(self, number: int, first: int) -> tuple[dict[str, Any], dict[str, dict[str, np.ndarray]]]:
        """Write one episode; returns its row of meta/episodes and its statistics."""
        import pyarrow as pa

        data, task = self.data, self.numbers.index(self.tasks[number])
        steps = int(data.index[number, 2])
        stamps = (np.arange(steps) / self.contract.rate).astype(np.float32)
        values: dict[str, np.ndarray] = {
            ACTION: data.slice("actions", number), COMMAND: data.slice("commands", number),
            CONTACT: data.slice("contacts", number), "timestamp": stamps,
            "frame_index": np.arange(steps), "episode_index": np.full(steps, number), "index": first + np.arange(steps),
            "task_index": np.full(steps, task),
        }  # fmt: skip
        if self.states:
            parts = [data.slice("poses", number)] if self.posed else []
            parts += [data.slice(f"state_{s.name}", number) for s in self.contract.kept_state]
            values[STATE] = np.concatenate(parts, axis=1)
        stats = {name: statistics.of_vector(v.reshape(steps, -1)) for name, v in values.items()}
        row: dict[str, Any] = {"episode_index": number, "tasks": [self.tasks[number]], "length": steps}
        columns: dict[str, Any] = {}
        for name, (array, size) in self.cameras.items():
            pictures = np.asarray(data.slice(array, number))
            stats[name] = statistics.of_pictures(pictures)
            if self.video:
                row |= self._film(name, pictures, size)
            else:
                columns[name] = [{"bytes": _png(p), "path": None} for p in pictures]
        arrays = [pa.array(columns[n], self._type(n)) if n in columns else self._column(n, values[n])
                  for n in self.features if n in columns or n in values]  # fmt: skip
        table = pa.table(arrays, schema=self._schema())
        self._table(table)
        row |= {f"data/{key}": v for key, v in self.parquet_files.at.items()}
        row |= {"dataset_from_index": first, "dataset_to_index": first + steps}
        return row | {"meta/episodes/chunk_index": 0, "meta/episodes/file_index": 0}, stats

    def _type(self, name: str) -> Any:
        import pyarrow as pa

        told = self.features[name]
        if told["dtype"] == "image":
            return pa.struct([("bytes", pa.binary()), ("path", pa.string())])
        scalar = {"float32": pa.float32(), "int64": pa.int64(), "bool": pa.bool_()}[told["dtype"]]
        return scalar if told["names"] is None else pa.list_(scalar, told["shape"][0])

    def _schema(self) -> Any:
        import pyarrow as pa

        return pa.schema([(n, self._type(n)) for n, f in self.features.items() if f["dtype"] != "video"])

    def _column(self, name: str, values: np.ndarray) -> Any:
        import pyarrow as pa

        kind = self._type(name)
        if values.ndim == 1:
            return pa.array(np.ascontiguousarray(values), kind)
        flat = pa.array(np.ascontiguousarray(values, np.float32).reshape(-1))
        return pa.FixedSizeListArray.from_arrays(flat, values.shape[1])

    def _table(self, table: Any) -> None:
        import pyarrow.parquet as parquet

        if self.parquet is not None and self.parquet_bytes + table.nbytes > DATA_MB * 2**20:
            self.parquet.close()
            self.parquet, self.parquet_bytes = None, 0
            self.parquet_files.number += 1
        if self.parquet is None:
            path = self.folder / DATA_PATH.format(**self.parquet_files.at)
            path.parent.mkdir(parents=True, exist_ok=True)
            self.parquet = parquet.ParquetWriter(path, table.schema, compression="snappy")
        self.parquet.write_table(table)
        self.parquet_bytes += table.nbytes

    def _film(self, name: str, pictures: np.ndarray, size: tuple[int, int]) -> dict[str, Any]:
        files, file = self.videos.get(name) or (_Files(), None)
        if file is not None and file.bytes > VIDEO_MB * 2**20:
            file.close()
            file = None
            files.number += 1
        if file is None:
            path = self.folder / VIDEO_PATH.format(video_key=name, **files.at)
            file = VideoFile(path, self.contract.rate, size)
            self.videos[name] = (files, file)
        began = file.append(pictures)
        times = {"from_timestamp": began, "to_timestamp": began + len(pictures) / self.contract.rate}
        return {f"videos/{name}/{key}": v for key, v in (files.at | times).items()}

    def _meta(self, rows: list[dict[str, Any]], told: list[dict[str, dict[str, np.ndarray]]], frames: int) -> None:
        import pyarrow as pa
        import pyarrow.parquet as parquet

        episodes = self.folder / "meta" / "episodes" / "chunk-000"
        episodes.mkdir(parents=True)
        parquet.write_table(pa.Table.from_pylist(rows), episodes / "file-000.parquet")
        parquet.write_table(_task_table(self.numbers), self.folder / "meta" / "tasks.parquet")
        stats = {name: statistics.plain(statistics.together([t[name] for t in told])) for name in told[0]}
        _json(self.folder / "meta" / "stats.json", stats)
        layouts = {str(k): int(layout) for k, layout in enumerate(self.data.index[:, 3])}
        _json(self.folder / OWN, {"contract": self.contract.to_dict(), "layouts": layouts})
        _json(self.folder / "meta" / "info.json", {
            "codebase_version": VERSION, "robot_type": self.contract.name, "total_episodes": len(rows),
            "total_frames": frames, "total_tasks": len(self.numbers), "chunks_size": CHUNK,
            "data_files_size_in_mb": DATA_MB, "video_files_size_in_mb": VIDEO_MB, "fps": _whole(self.contract.rate),
            "splits": {"train": f"0:{len(rows)}"}, "data_path": DATA_PATH,
            "video_path": VIDEO_PATH if self.video else None, "features": self.features,
        })  # fmt: skip


def _task_table(tasks: list[str]) -> Any:
    """The tasks as pandas would write them: LeRobot looks a task up by the table's index."""
    import pyarrow as pa

    index = "__index_level_0__"
    table = pa.table({"task_index": pa.array(range(len(tasks)), pa.int64()), index: pa.array(tasks, pa.string())})
    column: dict[str, Any] = {"metadata": None, "pandas_type": "int64", "numpy_type": "int64"}
    described = {
        "index_columns": [index], "column_indexes": [], "pandas_version": "2.0.0", "creator": {"library": "pyarrow"},
        "columns": [
            {"name": "task_index", "field_name": "task_index", **column},
            {"name": None, "field_name": index, **column, "pandas_type": "unicode", "numpy_type": "object"},
        ],
    }  # fmt: skip
    return table.replace_schema_metadata({"pandas": json.dumps(described)})


def _png(picture: np.ndarray) -> bytes:
    return cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1].tobytes()


def _whole(rate: float) -> int | float:
    return int(rate) if rate == int(rate) else rate


def _json(path: Path, data: dict[str, Any]) -> None:
    path.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
