# SPDX-License-Identifier: Apache-2.0
"""What a benchmark leaves behind: its table on the terminal, and the files that it was asked for."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path
from typing import Any

from jepa_ros.files import write_json, write_text
from jepa_ros.processor import usable_cores
from jepa_ros.progress import StatusLine

_LINE = StatusLine(redraw=0.0)


def machine() -> dict[str, Any]:
    """What timings depend on: the processor, its cores, how busy it is, the Python."""
    name, info = platform.processor(), Path("/proc/cpuinfo")
    if info.is_file():
        lines = [x for x in info.read_text(encoding="utf-8").splitlines() if x.startswith("model name")]
        name = lines[0].split(":", 1)[1].strip() if lines else name
    return {
        "processor": name, "cores": usable_cores(), "python": platform.python_version(),
        "load_before": os.getloadavg()[0],
    }  # fmt: skip


def deliver(report: dict[str, Any], text: str, json_path: Path | None, markdown_path: Path | None) -> None:
    """Print the tables ``text``; write ``report`` as JSON and the tables as markdown where a path is given."""
    _LINE.end()
    sys.stdout.write(text)
    if json_path is not None:
        write_json(json_path, report)
    if markdown_path is not None:
        write_text(markdown_path, text)


def say(benchmark: str, what: str) -> None:
    """Tell what is under way."""
    _LINE.tell(f"bench {benchmark}: {what}")
