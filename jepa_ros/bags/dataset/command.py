# SPDX-License-Identifier: Apache-2.0
"""`jepa-ros dataset BAG... --robot NAME --out DIR`: bags become a dataset that `jepa-ros train` reads.

LeRobot's datasets come and go by `--from lerobot` and `--to lerobot` (:mod:`jepa_ros.bags.lerobot`).
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from jepa_ros.bags.dataset.from_bags import build
from jepa_ros.bags.dataset.segments import CutSettings
from jepa_ros.bags.lerobot import command as lerobot
from jepa_ros.errors import JepaRosError
from jepa_ros.files import add_json, write_json
from jepa_ros.options import duration, positive, refuse_given, whole
from jepa_ros.processor import usable_cores
from jepa_ros.progress import Progress


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("bags", nargs="+", metavar="PATH", help="bags (folders or files), or one dataset")
    parser.add_argument("--out", type=Path, required=True, help="folder of the dataset; the same command resumes")
    parser.add_argument("--robot", help="contract: a name or a YAML file (default: the one in the bag)")
    parser.add_argument("--namespace", default="", help="namespace of the robot in the bag")
    for name, what in (
        ("image", "images"), ("command", "executed commands (the gate's output)"), ("pose", "localisation"),
        ("contact", "bumper"), ("gate", "gate's state"),
    ):  # fmt: skip
        parser.add_argument(f"--{name}", default="", metavar="TOPIC", help=f"topic of the {what}")
    parser.add_argument(
        "--min-length", type=whole(2), default=20, help="shortest episode in steps (default: %(default)s)"
    )
    parser.add_argument(
        "--max-length", type=whole(2), default=600, help="longest episode in steps (default: %(default)s)"
    )
    parser.add_argument(
        "--max-idle", type=duration, default=2.0, help="cut standstills longer than this [s] (default: %(default)s)"
    )
    parser.add_argument(
        "--static", action="store_true", help="obstacles were the same in all of these bags and never moved"
    )
    parser.add_argument("--workers", type=positive, default=usable_cores(), help="worker processes")
    lerobot.add_arguments(parser)
    add_json(parser)


def main(args: argparse.Namespace) -> int:
    """Run the command."""
    if args.source == "lerobot" and args.target == "lerobot":
        raise JepaRosError("--from lerobot and --to lerobot at once: make a dataset first, then write it")
    if args.target == "lerobot":
        others = (*lerobot.OF_BAGS, *lerobot.OF_IMPORT, "robot", "static", "min_length")
        refuse_given(args, add_arguments, others, "does nothing with --to lerobot")
        return lerobot.export_set(args)
    refuse_given(args, add_arguments, lerobot.OF_EXPORT, "is for --to lerobot")
    if args.source == "lerobot":
        refuse_given(args, add_arguments, lerobot.OF_BAGS, "is for bags")
        return lerobot.import_set(args)
    refuse_given(args, add_arguments, lerobot.OF_IMPORT, "is for --from lerobot")
    if args.max_length < args.min_length:
        raise JepaRosError(f"--max-length {args.max_length} is below --min-length {args.min_length}")
    settings = CutSettings(args.min_length, args.max_length, args.max_idle, args.static)
    topics = {name: getattr(args, name) for name in ("image", "command", "pose", "contact", "gate")}
    with Progress() as progress:
        shards = progress.task("shards")
        report = build(
            args.bags, args.out, args.robot, settings=settings, namespace=args.namespace,
            topics={k: v for k, v in topics.items() if v}, workers=args.workers,
            progress=shards.update,
        )  # fmt: skip
    print(summary(args.out, report))
    if args.json:
        write_json(args.json, report)
    return 0


def summary(folder: Path, report: dict[str, Any]) -> str:
    """The report as text: what was kept, what was dropped and why."""
    speed = report["images_per_second"]
    rate = f", {speed:.0f} images of the bags a second" if speed else " (already there)"
    lines = [
        f"{folder}: {report['episodes']} episodes, {report['steps']} steps, "
        f"{report['robot_minutes']:.1f} minutes of robot time{rate}"
    ]
    for path, entry in report["bags"].items():
        lines.append(f"{path}: {entry['images']} images, {entry['steps']} steps, {entry['kept']} kept")
        for reason, dropped in sorted(entry["dropped"].items(), key=lambda item: -item[1]["count"]):
            where = ", ".join(f"{at:.1f}" for at in dropped["at"][:6])
            more = " ..." if len(dropped["at"]) > 6 else ""
            lines.append(f"  dropped {dropped['count']:6d}  {reason}  (at {where}{more} s)")
        lines += [f"  note: {note}" for note in entry["notes"]]
        lines += [f"  problem: {problem}" for problem in entry["problems"]]
    return "\n".join(lines)
