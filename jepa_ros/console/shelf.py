# SPDX-License-Identifier: Apache-2.0
"""The recorded bags that the page of a running robot offers: a list of them, and one that is open."""

from __future__ import annotations

import hashlib
import itertools
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jepa_ros.console.bag_process import BagProcess
from jepa_ros.console.desk import Refused

#: Folders below the one that is given, and folders looked into; more bags than this are not listed, the newest first.
DEPTH, FOLDERS, BAGS = 3, 5000, 200
FILES = (".mcap", ".db3", ".mcap.zstd", ".db3.zstd")
#: Seconds after which an open bag may be closed for another one, and after which it is closed for want of use.
BUSY, IDLE = 30.0, 600.0
#: A bag that was written to within so many seconds is probably being recorded.
FRESH = 10.0


class Shelf:
    """Bags under one folder. One is open at a time: it takes memory, and thinking takes time from the robot.

    Args:
        folder: where bags are looked for. model: checkpoint with which moments are thought over; empty for the shipped
            one of the bag's robot. namespace: of the robot's nodes.
    """

    def __init__(self, folder: Path, model: str = "", namespace: str = "") -> None:
        self._folder, self._model, self._namespace = folder, model, namespace
        self._lock = threading.Lock()
        self._open: tuple[str, BagProcess] | None = None
        self._used = 0.0
        self._timer: threading.Timer | None = None

    # ------------------------------------------------------------ the list

    def bags(self) -> dict[str, Any]:
        """For JSON: the folder, and of each bag its key, name, size [MB], time [s, epoch] and whether it grows."""
        now = time.time()
        found: list[dict[str, Any]] = []
        for path in self._paths():
            files = [file.stat() for file in path.iterdir() if file.is_file()]
            when = max(file.st_mtime for file in files)
            found.append({
                "key": self._key(path), "name": self._name(path), "when": when, "grows": now - when < FRESH,
                "mb": round(sum(file.st_size for file in files) / 1e6, 1),
            })  # fmt: skip
        found.sort(key=lambda bag: -bag["when"])
        return {"folder": str(self._folder.resolve()), "bags": found[:BAGS]}

    def _paths(self) -> Iterator[Path]:
        for place, folders, files in itertools.islice(os.walk(self._folder), FOLDERS):
            path = Path(place)
            if any(name.endswith(FILES) for name in files):
                yield path
            deep = len(path.relative_to(self._folder).parts)
            folders[:] = [] if deep >= DEPTH else sorted(name for name in folders if not name.startswith((".", "_")))

    def _name(self, path: Path) -> str:
        return str(path.relative_to(self._folder)) if path != self._folder else path.resolve().name

    def _key(self, path: Path) -> str:
        return hashlib.sha256(self._name(path).encode()).hexdigest()[:12]

    # ------------------------------------------------------------ one of them

    def bag(self, key: str) -> BagProcess:
        """The bag of a key of the list, opened if it is not open.

        Raises:
            Refused: there is none, or somebody looks at another one. JepaRosError: it cannot be opened.
        """
        with self._lock:
            now = time.monotonic()
            if self._open is not None and (self._open[0] != key or not self._open[1].alive):
                if self._open[0] != key and self._open[1].alive and now - self._used < BUSY:
                    raise Refused(f"somebody looks at another bag: try again {BUSY:.0f} s after they have left it")
                self._close()
            if self._open is None:
                path = next((path for path in self._paths() if self._key(path) == key), None)
                if path is None:
                    raise Refused("there is no such bag (any more)")
                self._open = key, BagProcess(str(path), self._model, self._namespace)
            self._used = now
            if self._timer is not None:
                self._timer.cancel()
            self._timer = threading.Timer(IDLE, self.close)
            self._timer.daemon = True
            self._timer.start()
            return self._open[1]

    def close(self) -> None:
        """Close the bag that is open."""
        with self._lock:
            self._close()

    def _close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._open is not None:
            self._open[1].close()
            self._open = None
