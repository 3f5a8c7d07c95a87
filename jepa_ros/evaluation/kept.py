# SPDX-License-Identifier: Apache-2.0
"""Finished episodes of an evaluation in a file, one line of JSON each: whatever ends it, they are not played again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TextIO

from jepa_ros.errors import JepaRosError

Rows = dict[str, dict[str, Any]]


class Kept:
    """The finished episodes, for a ``with`` block.

    Args:
        path: the file, made when it does not exist; None keeps them in memory alone. what: all that they follow from.

    Attributes:
        episodes: {number: {policy: result}}. described: what the task says of itself.

    Raises:
        JepaRosError: the file holds something else, or episodes of another evaluation.
    """

    def __init__(self, path: Path | None, what: dict[str, Any]) -> None:
        self.path = path
        self.episodes: dict[int, Rows] = {}
        self.described: dict[str, Any] = {}
        self._file: TextIO | None = None
        if path is None:
            return
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        whole = [json.loads(line) for line in lines if _is_whole(line)]
        if lines and (not whole or "scored" not in whole[0]):
            raise JepaRosError(f"--keep {path}: this file was not written by --keep: choose another name")
        if whole and whole[0]["scored"] != what:
            found = whole[0]["scored"]
            changed = sorted(key for key in {**found, **what} if found.get(key) != what.get(key))
            raise JepaRosError(f"--keep {path}: holds episodes of another evaluation ({', '.join(changed)} differ)")
        for row in whole[1:]:
            self.episodes[row["number"]], self.described = row["rows"], row["task"]
        # A line that a kill has cut off would spoil the next one.
        text = "".join(json.dumps(row) + "\n" for row in (whole or [{"scored": what}]))
        path.write_text(text, encoding="utf-8")
        self._file = path.open("a", encoding="utf-8")

    def add(self, number: int, rows: Rows, described: dict[str, Any]) -> None:
        """An episode is finished."""
        self.episodes[number], self.described = rows, described
        if self._file is not None:
            self._file.write(json.dumps({"number": number, "rows": rows, "task": described}) + "\n")
            self._file.flush()

    def __enter__(self) -> Kept:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()


def _is_whole(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False
