# SPDX-License-Identifier: Apache-2.0
"""The log of a training: lines of JSON, and TensorBoard where it is installed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


class Log:
    """One line of JSON a record, and TensorBoard where it is installed. Resuming drops what comes after the state."""

    def __init__(self, folder: Path, step: int) -> None:
        self.path = folder / "log.jsonl"
        kept = []
        if self.path.exists() and step:
            lines = self.path.read_text(encoding="utf-8").splitlines()
            records = [json.loads(line) for line in lines if line.endswith("}")]
            # What comes after the representation begins anew after a kill.
            kept = [json.dumps(r) for r in records if r["phase"] in ("representation", "judged") and r["step"] < step]
        self.path.write_text("".join(line + "\n" for line in kept), encoding="utf-8")
        self.board: Any = None
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            return
        self.board = SummaryWriter(str(folder / "tensorboard"), purge_step=step)

    def write(self, phase: str, step: int, values: dict[str, Any]) -> None:
        """Append one record."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"phase": phase, "step": step, **values}) + "\n")
        if self.board is not None:
            for name, value in _flat(values):
                self.board.add_scalar(f"{phase}/{name}", value, step)

    def close(self) -> None:
        """Flush TensorBoard."""
        if self.board is not None:
            self.board.close()


class NoLog:
    """In the place of :class:`Log` in processes that write nothing."""

    def write(self, phase: str, step: int, values: dict[str, Any]) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


def _flat(values: dict[str, Any], prefix: str = "") -> list[tuple[str, float]]:
    flat: list[tuple[str, float]] = []
    for key, value in values.items():
        if isinstance(value, dict):
            flat += _flat(value, f"{prefix}{key}/")
        elif value is not None and not isinstance(value, list):  # a table is no curve
            flat.append((prefix + key, float(value)))
    return flat
