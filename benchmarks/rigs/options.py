# SPDX-License-Identifier: Apache-2.0
"""Options that benchmarks have in common."""

from __future__ import annotations

import argparse


def add_model(parser: argparse.ArgumentParser) -> None:
    """``--robot`` and ``--model``: whose search is measured."""
    parser.add_argument("--robot", default="arena", help="contract: a name or a file (default: %(default)s)")
    parser.add_argument("--model", help="checkpoint: a folder or a shipped name (default: the robot's name)")
