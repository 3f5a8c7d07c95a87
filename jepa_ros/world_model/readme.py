# SPDX-License-Identifier: Apache-2.0
"""The README.md of a checkpoint: what its card says, for people, with the metadata that Hugging Face reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

README = "README.md"
#: A README with this line is ours to write anew; one without is somebody's own.
MARK = "<!-- written by jepa-ros from card.json; without this line it is left alone -->"


def write_readme(folder: Path, card: dict[str, Any]) -> None:
    """Write the README of a checkpoint, unless somebody has written one."""
    path = folder / README
    if path.exists() and MARK not in path.read_text(encoding="utf-8"):
        return
    path.write_text(readme(folder.name, card), encoding="utf-8")


def readme(name: str, card: dict[str, Any]) -> str:
    """The text of a checkpoint's README."""
    contract = card.get("contract", {})
    robot = str(contract.get("name", "?"))
    metadata = {
        "library_name": "jepa_ros",
        "pipeline_tag": "robotics",
        "tags": ["robotics", "world-model", "jepa", "ros2", robot],
    }
    rows = [
        ("robot", robot),
        ("parameters", f"{card.get('parameters', 0):,}"),
        ("weights (SHA-256)", f"`{card.get('weights_sha256', '')[:16]}`"),
        ("trained with", f"`{card['command']}`" if card.get("command") else None),
        ("data", _data(card.get("data") or {})),
    ]
    for key, values in (card.get("metrics") or {}).items():
        if key in ("probe_r2", "open_loop") and values:
            rows.append((key, ", ".join(f"{k} {v:.3f}" for k, v in values.items())))
    table = "\n".join(f"| {key} | {value} |" for key, value in rows if value)
    head = yaml.safe_dump(metadata, sort_keys=False)
    return (
        f"---\n{head}---\n{MARK}\n# {name}\n\n{contract.get('description', '')}\n\n"
        "A world model for [jepa_ros](https://github.com/jepa-ros/jepa_ros). Its weights are in `model.safetensors`,\n"
        "its settings and measured quality in `card.json`. Loading it runs no code from its author.\n\n"
        f"```\njepa-ros check model FOLDER\njepa-ros eval --robot {robot} --model FOLDER\n```\n\n"
        f"| | |\n|---|---|\n{table}\n"
    )


def _data(data: dict[str, Any]) -> str | None:
    if not data:
        return None
    return f"{data.get('episodes')} episodes, {data.get('robot_minutes')} minutes of robot time"
