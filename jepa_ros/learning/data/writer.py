# SPDX-License-Identifier: Apache-2.0
"""Writing a dataset, see :mod:`jepa_ros.learning.data.layout`."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jepa_ros.contract import RobotContract
from jepa_ros.learning.data.layout import ARRAYS, FORMAT, LOCK, META, Episode, further_arrays, read_meta
from jepa_ros.learning.data.storage import DatasetError, drop_index, write_index


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
            found = read_meta(self.folder)
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
