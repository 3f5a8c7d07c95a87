# SPDX-License-Identifier: Apache-2.0
"""What the pages say of the nodes' parameters is what the nodes declare."""

from __future__ import annotations

import importlib.util
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_the_tables_of_parameters_are_those_of_the_nodes():
    spec = importlib.util.spec_from_file_location("parameter_tables", ROOT / "tools" / "parameter_tables.py")
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    page = tool.PAGE.read_text(encoding="utf-8")
    assert tool.written(page) == page, "docs/ros.md: run `python tools/parameter_tables.py`"
    for node in ("perception", "planner", "safety_gate", "camera", "sim"):
        assert f"<!-- parameters of {node} -->\n| parameter" in page
