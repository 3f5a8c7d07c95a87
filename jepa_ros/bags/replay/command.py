# SPDX-License-Identifier: Apache-2.0
"""`jepa-ros replay BAG`: play a bag into running nodes, or run the stack over it in this process and compare.

Over ROS: `jepa-ros up replay` (or replay.launch.py) in one terminal, `jepa-ros replay BAG` in another. In this process
(`--fast`, and whatever asks for results): perception, planner and gate run as fast as the machine allows and decide the
same every time; `--compare` lists where they differ from the recording, `--report` draws it.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from pathlib import Path
from typing import Any

from jepa_ros.bags import BagError
from jepa_ros.bags.format.reader import BagReader
from jepa_ros.errors import JepaRosError
from jepa_ros.files import add_json, write_json
from jepa_ros.options import duration, positive
from jepa_ros.progress import StatusLine
from jepa_ros.ros_env import ready_for_ros, starting_ros


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("bag", metavar="BAG", help="a bag's folder, or one of its files")
    parser.add_argument("--robot", help="contract: a name or a YAML file (default: the one in the bag)")
    parser.add_argument("--namespace", default="", help="namespace of the robot in the bag")
    over = parser.add_argument_group("playing over ROS")
    over.add_argument(
        "--rate", type=duration, default=1.0, help="speed relative to real time; 0: as fast as possible (default: 1)"
    )
    over.add_argument("--loop", action="store_true", help="start again at the end")
    over.add_argument("--step", action="store_true", help="wait for Enter before each image")
    over.add_argument("--start", type=duration, default=0.0, metavar="S", help="start so many seconds into the bag")
    over.add_argument("--duration", type=duration, default=0.0, metavar="S", help="play so many seconds")
    over.add_argument("--all", action="store_true", help="play every topic, including outputs of the stack")
    over.add_argument(
        "--wait", type=duration, default=10.0, metavar="S", help="wait so long for subscribers to the images"
    )
    fast = parser.add_argument_group("running the stack over the bag, in this process")
    fast.add_argument("--fast", action="store_true", help="run it, as fast as possible")
    fast.add_argument("--compare", action="store_true", help="list differences from the recording (exit code 1 if any)")
    fast.add_argument("--report", metavar="FILE", help="write a page (HTML) with plots and pictures")
    add_json(fast, "write the comparison and the hashes for machines")
    fast.add_argument("--model", default="", help="checkpoint: a folder or a shipped name (default: the robot's)")
    fast.add_argument("--guardrails", default="", metavar="FILE", help="another guardrail set (YAML)")
    fast.add_argument("--image", default="", metavar="TOPIC", help="topic of the images (default: the contract's)")
    fast.add_argument("--no-brain", action="store_true", help="run only the gate, on the recorded commands")
    fast.add_argument("--no-gate", action="store_true", help="run only perception and planner")
    fast.add_argument("--free-iterations", action="store_true", help="do not use the recorded numbers of iterations")
    fast.add_argument("--threads", type=positive, default=1, help="compute threads (default: 1)")


def main(args: argparse.Namespace) -> int:
    """Run the command; 1 when `--compare` found a difference."""
    fast = args.fast or args.compare or bool(args.report) or bool(args.json)
    _refuse_the_other_ways(args, fast)
    return _run_fast(args) if fast else _play(args)


_PLAYING = {"rate": 1.0, "loop": False, "step": False, "start": 0.0, "duration": 0.0, "all": False, "wait": 10.0}
_RUNNING = {
    "model": "", "guardrails": "", "image": "", "no_brain": False, "no_gate": False, "free_iterations": False,
    "threads": 1,
}  # fmt: skip


def _refuse_the_other_ways(args: argparse.Namespace, fast: bool) -> None:
    """An option that would do nothing is refused: the two ways of replaying have their own."""
    for name, default in (_PLAYING if fast else _RUNNING).items():
        if getattr(args, name) != default:
            option = "--" + name.replace("_", "-")
            what = "is for playing over ROS" if fast else "is for running the stack in this process: give --fast too"
            raise JepaRosError(f"{option} {what}")


# ---------------------------------------------------------------- in this process


def _run_fast(args: argparse.Namespace) -> int:
    from jepa_ros.bags.replay.cases import path_of
    from jepa_ros.bags.replay.compare import summary
    from jepa_ros.bags.replay.stack import Changes

    changes = Changes(
        robot=args.robot, model=args.model, guardrails=args.guardrails, namespace=args.namespace, image=args.image,
        threads=args.threads, brain=not args.no_brain, gate=not args.no_gate, free_iterations=args.free_iterations,
    )  # fmt: skip
    line = StatusLine()

    def progress(done: float, total: float) -> None:
        line.tell(f"{done:.1f} of {total:.1f} s")

    result, comparison = replay(args.bag, changes, progress, report=args.report)
    line.end()
    hashes = " ".join(f"{name} {value}" for name, value in result["digest"].items())
    print(f"{args.bag}: {result['seconds']:.1f} s in {result['took']:.1f} s ({result['speed']:.1f}x), {hashes}")
    for line in result["changed"]:
        print(f"changed  {line}")
    for line in result["notes"]:
        print(f"note  {line}")
    if args.compare:
        print(summary(comparison))
        if result["cases"]:
            print(f"{result['cases']} saved moments of {path_of(args.bag)} were thought over again")
    if args.report:
        print(f"report: {args.report}")
    if args.json:
        write_json(args.json, result)
    return 1 if args.compare and not comparison.agree else 0


def replay(bag: str | Path, changes, progress=None, *, report: str | None = None) -> tuple[dict[str, Any], Any]:
    """Run the stack over a bag.

    Args:
        changes: a jepa_ros.bags.replay.stack.Changes. progress: called with (seconds done, in all).
        report: file for a page with plots and pictures.

    Returns:
        (plain result, Comparison with the recording).

    Raises:
        JepaRosError: the bag, the model or a setting does not fit.
    """
    from jepa_ros.bags.replay.cases import load, run
    from jepa_ros.bags.replay.compare import compare
    from jepa_ros.bags.replay.stack import prepare

    with BagReader(bag) as reader:
        began = time.monotonic()
        prepared = prepare(reader, changes)
        ready = time.monotonic()
        log = prepared.offline.run(progress)
        took = time.monotonic() - ready
        comparison = compare(prepared.recording.log, log, reader.start, brain=changes.brain, gate=changes.gate)
        cases = load(bag) if changes.brain else []
        if cases:
            settings = {"robot": changes.robot, "model": changes.model, "namespace": changes.namespace}
            run(reader, cases, comparison, settings)
        seconds = _seconds(reader)
        result = {
            "bag": str(bag),
            "robot": prepared.contract.name,
            "model_id": prepared.model_id,
            "threads": changes.threads,
            "seconds": seconds,
            "took": took,
            "preparing_took": ready - began,
            "speed": seconds / took if took > 0 else None,
            "digest": log.digest(),
            "changed": prepared.changed,
            "notes": prepared.recording.log.notes + log.notes + reader.notes + reader.problems,
            "cases": len(cases),
            "comparison": comparison.to_dict(),
        }
        if report:
            from jepa_ros.bags.replay.report import write_report

            write_report(Path(report), reader, prepared, log, comparison, result)
    return result, comparison


def _seconds(reader: BagReader) -> float:
    return (reader.end - reader.start) * 1e-9


# ---------------------------------------------------------------- over ROS


def _play(args: argparse.Namespace) -> int:
    ready_for_ros()
    import rclpy
    from rclpy.signals import SignalHandlerOptions

    from jepa_ros.bags.identity import contract_of
    from jepa_ros.bags.image_topic import camera_topic
    from jepa_ros.bags.replay.player import Player, PlaySettings, input_topics

    settings = PlaySettings(args.rate, args.loop, args.start, args.duration, args.all, args.wait)
    ended: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda signum, frame: ended.append(signum))
    with BagReader(args.bag) as reader:
        contract = contract_of(reader, args.robot)
        image = camera_topic(reader, contract, args.namespace)
        if not reader.topics[image].count:
            raise BagError(f"{args.bag}: no image on {image} in this bag")
        if args.start * 1e9 > reader.end - reader.start:
            raise BagError(f"--start {args.start:g} is behind the end: {args.bag} has {_seconds(reader):.1f} s")
        topics = list(reader.topics) if args.all else input_topics(reader, contract, args.namespace)
        with starting_ros():
            rclpy.init(args=getattr(args, "ros_args", None), signal_handler_options=SignalHandlerOptions.NO)
        try:
            player = Player(reader, topics, settings)
            for text in [*(f"problem: {p}" for p in reader.problems), *(f"not played: {p}" for p in player.skipped)]:
                print(text)
            if settings.wait > 0 and not player.wait_for_listeners(image, lambda: bool(ended)) and not ended:
                raise BagError(
                    f"nobody listened to {image} within {settings.wait:g} s: start `jepa-ros up replay` (same "
                    "ROS_DOMAIN_ID), or give --wait 0"
                )
            began = time.monotonic()
            line = StatusLine(quiet=args.step)
            player.play(lambda: bool(ended), _stepper(image) if args.step else _teller(reader, line))
            line.end()
            took = time.monotonic() - began
            print(f"{args.bag}: {player.played} messages of {len(topics)} topics in {took:.1f} s")
            player.destroy_node()
        finally:
            rclpy.try_shutdown()
    return 0


def _teller(reader: BagReader, line: StatusLine):
    """Says how far it is."""
    seconds = _seconds(reader)

    def before(message) -> None:
        line.tell(lambda: f"{(message.time - reader.start) * 1e-9:.1f} of {seconds:.1f} s")

    return before


def _stepper(image: str):
    """Waits for Enter before each image; what lies between two images is played with the first of them."""

    def before(message) -> None:
        if message.topic == image:
            print(f"{message.time * 1e-9:.3f} s  {message.topic}  (Enter plays it)", flush=True)
            sys.stdin.readline()

    return before
