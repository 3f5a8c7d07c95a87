# SPDX-License-Identifier: Apache-2.0
"""What a benchmark leaves behind: its table on the terminal, and the files that it was asked for."""

from __future__ import annotations

import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

from jepa_ros.processor import usable_cores


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
    sys.stdout.write(text)
    for path, content in ((json_path, json.dumps(report, indent=1) + "\n"), (markdown_path, text)):
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")


def say(benchmark: str, what: str) -> None:
    """Tell what is under way, where somebody looks."""
    if sys.stderr.isatty():
        print(f"\r\033[Kbench {benchmark}: {what}", end="", file=sys.stderr, flush=True)
