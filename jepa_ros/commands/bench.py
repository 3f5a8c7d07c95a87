# SPDX-License-Identifier: Apache-2.0
"""``jepa-ros bench NAME``: the measurements of ``benchmarks/``, one file each, run from a checkout.

A benchmark is a file ``benchmarks/NAME.py`` whose docstring begins with what it measures and which offers
``add_arguments(parser)`` and ``main(args) -> int``, as every command does. Without a name they are listed: all of them
together take hours.
"""

from __future__ import annotations

import argparse
import ast
import importlib.util
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from jepa_ros.contract import share_dir
from jepa_ros.errors import JepaRosError
from jepa_ros.options import Parser
from jepa_ros.suggest import did_you_mean


class BenchError(JepaRosError):
    """A benchmark that is not there."""


def benchmarks() -> dict[str, Path]:
    """The benchmarks by name; none in an installed package, which does not hold them."""
    folder = share_dir() / "benchmarks"
    return {path.stem: path for path in sorted(folder.glob("[a-z]*.py"))}


def load(path: Path) -> ModuleType:
    """Import a benchmark's file; its rigs are found by this process and by those that it starts."""
    root = str(path.parent.parent)
    if root not in sys.path:
        sys.path.insert(0, root)
    kept = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if root not in kept:
        os.environ["PYTHONPATH"] = os.pathsep.join([root, *filter(None, kept)])
    spec = importlib.util.spec_from_file_location(f"benchmarks.{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # so that its worker processes can find what they are given by name
    spec.loader.exec_module(module)
    return module


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the name; what follows it is the benchmark's own."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    rows = [f"  {name:12} {_summary(path)}" for name, path in benchmarks().items()]
    parser.epilog = "\n".join(["benchmarks:", *rows])
    parser.add_argument("name", nargs="?", help="benchmark to run (default: list them)")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="its arguments; NAME --help lists them")


def main(args: argparse.Namespace) -> int:
    """Run one benchmark, or list them; returns its exit code."""
    known = benchmarks()
    if args.name is not None and args.name not in known:
        hint = did_you_mean(args.name, known)
        raise BenchError(f"no benchmark '{args.name}'{hint}; known: {', '.join(known)}")
    if args.name is None:
        print("\n".join(f"{name:12} {_summary(path)}" for name, path in known.items()))
        return 0
    return run(known[args.name], args.arguments)


def run(path: Path, arguments: Sequence[str] = ()) -> int:
    """Run one benchmark's file with its arguments."""
    module = load(path)
    parser = Parser(prog=f"jepa-ros bench {path.stem}", description=_summary(path))
    module.add_arguments(parser)
    return int(module.main(parser.parse_args(list(arguments))) or 0)


def _summary(path: Path) -> str:
    """The first line of a file's docstring, without importing it."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return text.partition("\n")[0]
