# SPDX-License-Identifier: Apache-2.0
"""Writes the tables of the nodes' parameters into docs/ros.md, from where the nodes declare them.

    python tools/parameter_tables.py

A table stands between ``<!-- parameters of NODE -->`` and ``<!-- end -->``; a test compares it with the nodes.
"""

from __future__ import annotations

import importlib
import re
from pathlib import Path

PAGE = Path(__file__).resolve().parents[1] / "docs" / "ros.md"
_TABLE = re.compile(r"(<!-- parameters of (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def table(node: str) -> str:
    """The parameters of a node as a markdown table."""
    from jepa_ros.nodes.lifecycle import AUTOSTART
    from jepa_ros.nodes.params import Param

    declared = importlib.import_module(f"jepa_ros.nodes.{node}").PARAMS
    rows = [*declared, *([AUTOSTART] if node in ("perception", "planner") else [])]

    def kind(p: Param) -> str:
        low, high = ("" if v is None else f"{v:g}" for v in (p.low, p.high))
        bounds = f", {low}..{high}" if low or high else ""
        return {str: "text", int: "whole number", float: "number", bool: "bool", list: "numbers"}[
            type(p.default)
        ] + bounds

    lines = ["| parameter | default | type | what |", "|---|---|---|---|"]
    for p in rows:
        default = str(p.default).lower() if isinstance(p.default, bool) else str(p.default)
        what = p.description + (f" One of {', '.join(c for c in p.choices if c)}." if p.choices else "")
        what += " May change while the node runs." if p.live else ""
        lines.append(f"| `{p.name}` | {f'`{default}`' if default else ''} | {kind(p)} | {what} |")
    return "\n".join(lines) + "\n"


def written(page: str) -> str:
    """The page with the tables as they are to be."""
    return _TABLE.sub(lambda m: m[1] + table(m[2]) + m[3], page)


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
