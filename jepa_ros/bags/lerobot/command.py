# SPDX-License-Identifier: Apache-2.0
"""The part of `jepa-ros dataset` that speaks with LeRobot: `--from lerobot` and `--to lerobot`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from jepa_ros.bags.lerobot import LeRobotError
from jepa_ros.files import write_json
from jepa_ros.progress import Progress
from jepa_ros.yaml_text import load_mapping

#: Options of `jepa-ros dataset` that are about bags, and those of each direction.
OF_BAGS = ("namespace", "image", "command", "pose", "contact", "gate", "max_length", "max_idle")
OF_IMPORT, OF_EXPORT = ("mapping",), ("pictures", "about")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options that choose another format."""
    parser.add_argument("--from", dest="source", choices=("bags", "lerobot"), default="bags", help="what to read")
    parser.add_argument(
        "--to", dest="target", choices=("jepa_ros", "lerobot"), default="jepa_ros",
        help="what to write; with lerobot, PATH is one of our datasets",
    )  # fmt: skip
    parser.add_argument(
        "--mapping", type=Path, metavar="FILE", help="--from lerobot: which feature is which input (YAML)"
    )
    parser.add_argument(
        "--pictures", choices=("video", "png"), default="video", help="--to lerobot: video is small, png is exact"
    )
    parser.add_argument("--about", metavar="TEXT", help="--to lerobot: name of the task of all episodes")


def import_set(args: argparse.Namespace) -> int:
    """Run `jepa-ros dataset --from lerobot PATH`."""
    from jepa_ros.bags.lerobot.importer import read

    told = None
    if args.mapping is not None:
        try:
            told = load_mapping(args.mapping.read_text(encoding="utf-8"), str(args.mapping), LeRobotError)
        except (OSError, UnicodeDecodeError) as error:
            raise LeRobotError(f"{args.mapping}: cannot be read: {error}") from None
    with Progress() as progress:
        shards = progress.task("shards")
        report = read(
            _one(args.bags, "LeRobot set"), args.out, args.robot, told, min_length=args.min_length, static=args.static,
            workers=args.workers, progress=shards.update,
        )  # fmt: skip
    print(
        f"{args.out}: {report['episodes']} episodes, {report['steps']} steps of {report['frames_a_step']} frames, "
        f"{report['robot_minutes']:.1f} minutes of robot time"
    )
    if report["too_short"]:
        print(f"  left out {report['too_short']} episodes of less than {args.min_length} steps (--min-length)")
    for note in report["notes"]:
        print(f"  note: {note}")
    return _leave(args, report)


def export_set(args: argparse.Namespace) -> int:
    """Run `jepa-ros dataset DATASET --to lerobot`."""
    from jepa_ros.bags.lerobot.exporter import write

    with Progress() as progress:
        episodes = progress.task("episodes")
        report = write(
            _one(args.bags, "dataset"), args.out, video=args.pictures == "video", task=args.about,
            progress=episodes.update,
        )  # fmt: skip
    size = report["bytes"] / 1e6
    print(f"{args.out}: {report['episodes']} episodes, {report['steps']} steps, {size:.1f} MB, as LeRobot v3")
    return _leave(args, report)


def _one(paths: list[str], what: str) -> str:
    if len(paths) != 1:
        raise LeRobotError(f"expected one {what}, found {len(paths)}")
    return paths[0]


def _leave(args: argparse.Namespace, report: dict[str, Any]) -> int:
    if args.json:
        write_json(args.json, report)
    return 0
