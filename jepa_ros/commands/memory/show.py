# SPDX-License-Identifier: Apache-2.0
"""``jepa-ros memory show FOLDER [--out FILE]``: what a long-term memory holds, in numbers and as a picture.

The memory is only read: a planner may be writing it.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from jepa_ros.errors import JepaRosError
from jepa_ros.files import add_json, new_file, write_json
from jepa_ros.memory.long_term import CONTACT, OBSTRUCTED, LongTerm
from jepa_ros.memory.store import FILE, Store, identity_of

SUFFIXES = (".png", ".svg")


def picture_file(text: str) -> Path:
    """The argparse type of a picture to draw."""
    path = new_file(text)
    if path.suffix.lower() not in SUFFIXES:
        raise argparse.ArgumentTypeError(f"'{text}': expected a name that ends in {' or '.join(SUFFIXES)}")
    return path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="a memory")
    parser.add_argument("--out", type=picture_file, metavar="FILE", help="draw it (PNG or SVG)")
    parser.add_argument(
        "--thumbnails", action="store_true", help="with --out: add pictures of the places, where there is room"
    )
    parser.add_argument("--model", help="refuse a memory of another model than this folder or shipped model")
    add_json(parser, "write the numbers for machines")


def main(args: argparse.Namespace) -> int:
    """Run the command."""
    from jepa_ros.planning.bodies import new_memory
    from jepa_ros.world_model.checkpoint import load_card, model_id, resolve_model

    if args.thumbnails and args.out is None:
        raise JepaRosError("--thumbnails does nothing without --out FILE")
    model, contract, size = identity_of(args.folder)
    memory = new_memory(contract, size)
    wanted = model_id(load_card(resolve_model(args.model))) if args.model else model
    Store(args.folder, wanted, contract, memory, read_only=True)
    told = {"folder": str(args.folder), "model": model, "robot": contract.name, **facts(memory)}
    told["bytes"] = (args.folder / FILE).stat().st_size
    print(summary(told))
    if args.out:
        from jepa_ros.commands.memory.picture import draw

        draw(memory, args.out, args.thumbnails)
        print(f"drawn: {args.out}")
    if args.json:
        write_json(args.json, told)
    return 0


def facts(memory: LongTerm) -> dict[str, Any]:
    """What a memory holds, in numbers; times in s since the epoch."""
    from jepa_ros.planar.place_graph import PlaceGraph
    from jepa_ros.planar.place_layout import parts_of

    found: dict[str, Any] = {
        "states": {
            "count": len(memory),
            "held_back": int((memory.outcomes == OBSTRUCTED).sum()),
            "contacts": int((memory.outcomes == CONTACT).sum()),
            **_span(memory.times.tolist()),
        },
        "tags": {name: {"time": place.time, "thumbnail": bool(place.thumbnail)} for name, place in memory.tags.items()},
    }
    for annex in memory.annexes:
        found |= annex.counts()
    if (graph := memory.annex(PlaceGraph)) is not None:
        ways = [edge for a, others in enumerate(graph.edges) for b, edge in others.items() if a < b]
        found |= {
            "closed_loops": sum(not edge.driven for edge in ways),
            "failed_ways": sum(edge.failed > 0 for edge in ways),
            "parts": len(set(parts_of(graph).tolist())),
            "thumbnails": sum(map(bool, graph.thumbnails)),
            "seen": _span(graph.times),
        }
    return found


def _span(times: Iterable[float]) -> dict[str, float | None]:
    known = [at for at in times if math.isfinite(at)]
    return {"oldest": min(known, default=None), "newest": max(known, default=None)}


def summary(told: dict[str, Any]) -> str:
    """The facts as text."""
    states = told["states"]
    lines = [
        f"{told['folder']}: of model {told['model']}, robot '{told['robot']}', {told['bytes'] / 1e6:.2f} MB",
        f"  states      {states['count']:6d}   {states['held_back']} held back, {states['contacts']} contacts"
        + _when(states),
    ]
    if "places" in told:
        lines += [
            f"  places      {told['places']:6d}   {told['thumbnails']} with a thumbnail" + _when(told["seen"]),
            f"  ways        {told['ways']:6d}   {told['closed_loops']} closed loops, {told['failed_ways']} failed",
        ]
        if told["parts"] > 1:
            lines.append(f"  parts       {told['parts']:6d}   no way joins them: drives that share no known place")
    if "obstructions" in told:
        lines.append(f"  held back at{told['obstructions']:6d}   points")
    lines.append(f"  tags        {len(told['tags']):6d}")
    lines += [f"    {name}: {_at(tag['time'])}" for name, tag in sorted(told["tags"].items())]
    return "\n".join(lines)


def _when(span: dict[str, float | None]) -> str:
    oldest, newest = span["oldest"], span["newest"]
    return "" if oldest is None or newest is None else f"; {_at(oldest)} to {_at(newest)}"


def _at(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
