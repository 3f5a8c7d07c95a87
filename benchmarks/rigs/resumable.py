# SPDX-License-Identifier: Apache-2.0
"""Episodes in parallel processes, one line of JSON each: what is in the file is not done again.

Stopped at any moment, the same command goes on where it was.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Hashable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from jepa_ros.workers import worker_pool

Row = dict[str, Any]
Job = tuple[Any, ...]


def folder(out: Path, model: str, settings: Any) -> Path:
    """Where the episodes of a model (its id) lie: others where the search's default ``settings`` have changed since."""
    text = json.dumps(asdict(settings), sort_keys=True)
    return out / f"{model}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def read(path: Path) -> list[Row]:
    """The episodes that a file has; a last line that was cut off by a kill is passed over."""
    rows = []
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                rows.append(json.loads(line))
            except ValueError:
                continue
    return rows


def begin(path: Path) -> list[Row]:
    """What a file has; from now on :func:`keep` may add to it, behind a line that a kill has cut off too."""
    rows = read(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    if text and not text.endswith("\n"):
        path.write_text(f"{text}\n", encoding="utf-8")
    return rows


def keep(path: Path, row: Row) -> None:
    """Add a line."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


def play(
    path: Path, jobs: dict[Hashable, Job], key: Callable[[Row], Hashable], work: Callable[[Job], Row],
    start: Callable[..., None], given: Iterable[Any], workers: int, told: Callable[[str], None],
    ray: str | None = None,
) -> list[Row]:  # fmt: skip
    """Do what is missing, in the order of ``jobs``; returns the lines of these jobs.

    Args:
        path: the file. jobs: {what a line is known by: what to do}. key: of a line.
        work, start: functions of a module; ``start(*given)`` runs once in each process.
        told: hears how far it is. ray: address of a cluster in the place of ``workers`` processes here.
    """
    done = {key(row) for row in begin(path)}
    left = [job for name, job in jobs.items() if name not in done]
    if left:
        with worker_pool(workers, path.stem, start, given, ray=ray) as pool:
            for count, row in enumerate(pool.results(work, left, ordered=False), start=1):
                keep(path, row)
                told(f"{count} of {len(left)}")
    order = {name: i for i, name in enumerate(jobs)}
    return sorted((row for row in read(path) if key(row) in jobs), key=lambda row: order[key(row)])
