# SPDX-License-Identifier: Apache-2.0
"""``jepa-ros memory show|from|merge``: look at a long-term memory, make one of a bag, or one of several."""

from __future__ import annotations

import argparse
from importlib import import_module

WHAT = {
    "show": "what a memory holds: counts, and a picture of its places",
    "from": "recorded drives become a memory",
    "merge": "several memories become one",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what can be done."""
    kinds = parser.add_subparsers(dest="what", metavar="|".join(WHAT), required=True)
    for name, summary in WHAT.items():
        child = kinds.add_parser(name, help=summary, description=summary)
        _module(name).add_arguments(child)


def main(args: argparse.Namespace) -> int:
    """Run the command."""
    return int(_module(args.what).main(args))


def _module(name: str):
    return import_module(f"{__name__}.{'from_bag' if name == 'from' else name}")
