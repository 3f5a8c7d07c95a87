# SPDX-License-Identifier: Apache-2.0
"""``jepa-ros memory merge A B ... --out C``: the long-term memories of several robots become one."""

from __future__ import annotations

import argparse
from contextlib import ExitStack, closing
from pathlib import Path

from jepa_ros.memory.store import FILE, Store, StoreError, identity_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="memories whose planners have ended")
    parser.add_argument("--out", type=Path, required=True, help="folder of the merged memory; it must not hold one")


def main(args: argparse.Namespace) -> int:
    """Run the command."""
    from jepa_ros.memory.merge import merge
    from jepa_ros.planning.bodies import new_memory

    folders: list[Path] = args.folders
    names = [folder.resolve().name for folder in folders]
    if len(folders) < 2 or len({folder.resolve() for folder in folders}) < len(folders):
        raise StoreError("merge: expected two folders or more, each given once")
    if (args.out / FILE).exists():
        raise StoreError(f"{args.out} holds a memory already: choose another folder")
    labels = [name if names.count(name) == 1 else str(folder) for name, folder in zip(names, folders, strict=True)]
    model, contract, size = identity_of(folders[0])
    with ExitStack() as opened:
        memories = []
        for label, folder in zip(labels, folders, strict=True):
            identity_of(folder)  # refuse what is not there or damaged, before the store would set it aside
            memory = new_memory(contract, size)
            opened.enter_context(closing(Store(folder, model, contract, memory)))
            memories.append((label, memory))
        merged = new_memory(contract, size)
        out = opened.enter_context(closing(Store(args.out, model, contract, merged)))
        told = merge(merged, memories)
    if out.trouble:
        raise StoreError(out.trouble)
    for label, (_, memory), taken in zip(labels, memories, told.states, strict=True):
        print(f"{label}: {taken} of {len(memory)} states told something new, {len(memory.tags)} places")
    for old, new in told.renamed.items():
        print(f"  place {old} is now '{new}': another memory has a newer one of that name")
    for name in told.left_out:
        print(f"  place {name} is left out: there is no room for it, or no name")
    print(f"{args.out}: {len(merged)} states, {len(merged.tags)} places")
    return 0
