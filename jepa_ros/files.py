# SPDX-License-Identifier: Apache-2.0
"""The one way in which a report is written: whole or not at all, as JSON that every reader takes.

A command declares ``--json`` with :func:`add_json`, so that a file that cannot be written is told before the work
begins and not after it, and leaves its report with :func:`write_json`.
"""

from __future__ import annotations

import argparse
import json
import math
import os
from pathlib import Path
from typing import Any


def plain(value: Any) -> Any:
    """`value` with NaN and infinity as None, which JSON does not have."""
    if isinstance(value, dict):
        return {key: plain(v) for key, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def new_file(text: str) -> Path:
    """The argparse type of a file to write: its folder is made and tried at once."""
    path = Path(text)
    try:
        if not text.strip() or path.is_dir():
            raise argparse.ArgumentTypeError(f"'{text}' is a folder; expected the name of a file")
        if not _in_place(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            probe = _beside(path)
            probe.touch()
            probe.unlink()
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{text}: cannot be written: {error.strerror}") from None
    return path


def add_json(parser: Any, what: str = "write the report for machines") -> None:
    """Declare ``--json FILE`` on a parser or a group of one."""
    parser.add_argument("--json", type=new_file, metavar="FILE", help=what)


def write_text(path: Path, text: str) -> None:
    """Write a file that appears whole or not at all; its folder is made."""
    if _in_place(path):
        path.write_text(text, encoding="utf-8")
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _beside(path)
    try:
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write plain data as JSON, as :func:`write_text` does."""
    write_text(path, json.dumps(plain(value), indent=1, allow_nan=False) + "\n")


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.partial")  # two commands may write into one folder


def _in_place(path: Path) -> bool:
    """Whether the name stands for something that must not be replaced: a link, a pipe, a terminal."""
    return path.is_symlink() or (path.exists() and not path.is_file())
