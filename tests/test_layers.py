# SPDX-License-Identifier: Apache-2.0
"""Imports run one way: the core below, bodies beside it, shells above, and no circle."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
#: From below; folders of one row may import each other.
ROWS = (
    ("contract",),
    ("safety",),
    ("messages", "world_model", "perception"),
    ("cost", "memory"),
    ("planar", "arm"),
    ("planning",),
    ("agent", "worlds"),
    ("learning", "evaluation", "bags"),
    ("nodes", "bringup", "console", "commands"),
)
#: A contract carries guardrails, and their schema stands with the gate that keeps them.
BESIDES = {("jepa_ros.contract.sections", "jepa_ros.safety.guardrails"),
           ("jepa_ros.contract.sections", "jepa_ros.safety.geometry")}  # fmt: skip


def modules() -> dict[str, Path]:
    """Every module of the package and of the simulated worlds, and its file."""
    found = {}
    for folder, name in (("jepa_ros", "jepa_ros"), ("sim", "jepa_ros_sim")):
        for file in (ROOT / folder).rglob("*.py"):
            parts = (name, *file.relative_to(ROOT / folder).with_suffix("").parts)
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


def imports(name: str, file: Path, known: dict[str, Path]) -> Iterator[str]:
    """The modules that one imports when it runs, in functions too; not those for type checkers alone."""
    here = name.split(".") if file.name == "__init__.py" else name.split(".")[:-1]
    nodes: list[ast.AST] = [ast.parse(file.read_text(encoding="utf-8"))]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = here[: len(here) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield from (inside if (inside := f"{base}.{alias.name}") in known else base for alias in node.names)
        nodes.extend(ast.iter_child_nodes(node))


@pytest.fixture(scope="module")
def tree() -> dict[str, set[str]]:
    known = modules()
    return {name: {m for m in imports(name, file, known) if m in known and m != name} for name, file in known.items()}


def test_no_module_imports_itself_by_a_detour(tree):
    try:
        TopologicalSorter(tree).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_nobody_imports_what_stands_above(tree):
    floor = {room: number for number, row in enumerate(ROWS) for room in row}

    def height(module: str) -> int | None:
        package, _, rest = module.partition(".")
        return floor.get(rest.partition(".")[0]) if package == "jepa_ros" else None

    up = []
    for module, used in tree.items():
        for other in used:
            low, high = height(module), height(other)
            if low is not None and high is not None and high > low and (module, other) not in BESIDES:
                up.append(f"{module} -> {other}")
    assert not up


def test_the_core_names_no_room_of_a_body(tree):
    core = tuple(f"jepa_ros.{room}." for room in ("cost", "memory", "planning", "agent", "world_model", "perception"))
    rooms = ("jepa_ros.planar", "jepa_ros.arm")
    ours = {m: used for m, used in tree.items() if m.startswith(core)}
    named = [f"{m} -> {o}" for m, used in ours.items() for o in used if o.startswith(rooms)]
    assert not named


def test_the_gate_needs_no_torch_and_the_core_no_ros():
    for room, barred in (("safety", "torch"), *((core, "rclpy") for core in ("cost", "planning", "agent", "learning"))):
        for file in (ROOT / "jepa_ros" / room).rglob("*.py"):
            assert barred not in {m.split(".")[0] for m in imports("x.y", file, {})}, file
