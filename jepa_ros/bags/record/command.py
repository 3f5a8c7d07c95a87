# SPDX-License-Identifier: Apache-2.0
"""`jepa-ros record`: record topics into a bag, or keep a ring buffer that is written when the gate intervenes.

It runs in a process of its own (`python -m jepa_ros.bags.record`, which `Recorder` starts and ends), so that the
robot's loop never waits for it. SIGINT and SIGTERM end the recording cleanly.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import sys
import time
from pathlib import Path

from jepa_ros.bags import BagError
from jepa_ros.bags.format.writer import BagWriter, WriterConfig
from jepa_ros.bags.identity import identity
from jepa_ros.bags.record.priority import lower_priority
from jepa_ros.bags.record.ring_buffer import RingWriter, gate_watch
from jepa_ros.bags.record.writer_thread import QUEUE_BYTES, WriterThread
from jepa_ros.errors import JepaRosError
from jepa_ros.files import add_json, write_json
from jepa_ros.options import Parser, duration, namespace, number, topic, whole
from jepa_ros.progress import StatusLine
from jepa_ros.ros_env import large_environment, ready_for_ros, starting_ros
from jepa_ros.safety.output import Mode

POLL_SECONDS = 0.04
"""Pause between two looks for messages: a reader's queue (100 messages) fills at 2.5 kHz."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("topics", nargs="*", type=topic, metavar="TOPIC", help="topics to record (default: all)")
    parser.add_argument("-o", "--output", metavar="DIR", help="the bag's folder (default: rosbag2_<time>)")
    parser.add_argument("-e", "--regex", help="also record topics that match")
    parser.add_argument("-x", "--exclude", metavar="REGEX", help="leave out topics that match")
    parser.add_argument("--include-hidden", action="store_true", help="record hidden topics too")
    parser.add_argument("--robot", metavar="NAME|FILE", help="robot contract to put into the bag")
    parser.add_argument("--model", metavar="DIR", help="checkpoint whose model card goes into the bag")
    parser.add_argument("--guardrails", metavar="FILE", help="guardrail set (YAML) in force, to put into the bag")
    parser.add_argument(
        "--gate-params", metavar="FILE", help="settings of the gate (YAML) in force, to put into the bag"
    )
    parser.add_argument("--max-size", type=duration, default=0, metavar="MB", help="start a new file after so many MB")
    parser.add_argument(
        "--max-duration", type=duration, default=0, metavar="S", help="start a new file after so many seconds"
    )
    parser.add_argument("--duration", type=duration, default=0, metavar="S", help="end after so many seconds")
    parser.add_argument("--compression", choices=("zstd", "none"), default="zstd", help="compression of the chunks")
    parser.add_argument("--level", type=whole(1, 22), default=1, metavar="N", help="zstd level (default 1)")
    parser.add_argument("--queue", type=number(1.0), default=QUEUE_BYTES / 1e6, metavar="MB", help="size of the queue")
    parser.add_argument(
        "--min-free", type=duration, default=64, metavar="MB", help="end when the disk has less free space"
    )
    parser.add_argument("--use-sim-time", action="store_true", help="log times from /clock instead of the system clock")
    parser.add_argument("--clock", type=topic, default="/clock", help="topic of the simulated time")
    parser.add_argument(
        "--namespace", type=namespace, default="", help="namespace in which relative topics are resolved"
    )
    parser.add_argument("--ring", type=duration, default=0, metavar="S", help="ring buffer: keep the last S seconds")
    parser.add_argument(
        "--after", type=duration, default=5.0, metavar="S", help="ring buffer: seconds to record after the stop"
    )
    parser.add_argument(
        "--trigger",
        type=topic,
        default="safety_gate/state",
        metavar="TOPIC",
        help="ring buffer: the gate's state topic",
    )
    parser.add_argument(
        "--trigger-modes", default="STOPPED,ESTOP", metavar="MODES", help="gate modes that write the ring buffer"
    )
    add_json(parser)
    parser.add_argument("--quiet", action="store_true", help="no progress line")
    parser.add_argument("--die-with-parent", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--heard", type=Path, help=argparse.SUPPRESS)  # a file that tells so far received messages


def _check(args: argparse.Namespace) -> None:
    """Refuse values that mean nothing.

    Raises:
        BagError: one of them; it names the option.
    """
    for name in ("regex", "exclude"):
        try:
            re.compile(getattr(args, name) or "")
        except re.error as error:
            raise BagError(f"--{name} {getattr(args, name)!r} is no regular expression: {error}") from None
    known = [mode.name for mode in Mode]
    modes = _modes(args.trigger_modes)
    if not modes or not modes <= set(known):
        raise BagError(f"--trigger-modes {args.trigger_modes}: expected some of {', '.join(known)}")


def _modes(text: str) -> set[str]:
    return {mode.strip().upper() for mode in text.split(",") if mode.strip()}


def record(args: argparse.Namespace, ros_args: list[str] | None = None) -> dict:
    """Record until a signal, the duration or an error; returns the report (see RecorderNode.report).

    Raises:
        BagError: a wrong value, the folder exists; the disk refused (the report is written first).
    """
    _check(args)
    ready_for_ros()
    os.environ.update(large_environment())  # a camera that sends large images offers them through shared memory
    import rclpy
    from rclpy.signals import SignalHandlerOptions

    from jepa_ros.bags.record.recorder_node import RecorderNode, Selection

    stop: list[int] = []
    for asking in (signal.SIGINT, signal.SIGTERM):
        signal.signal(asking, lambda signum, frame: stop.append(signum))
    config = WriterConfig(
        compression="zstd" if args.compression == "zstd" else "",
        level=args.level,
        max_file_bytes=int(args.max_size * 1e6),
        max_file_seconds=args.max_duration,
        min_free_bytes=int(args.min_free * 1e6),
    )
    custom, attachments = identity(args.robot, args.model, args.guardrails, args.gate_params)
    output = Path(args.output or time.strftime("rosbag2_%Y_%m_%d-%H_%M_%S"))
    if output.exists():
        raise BagError(f"{output} exists already: choose another folder with -o, or remove it first")
    with starting_ros():
        rclpy.init(args=ros_args, signal_handler_options=SignalHandlerOptions.NO)
    started = time.monotonic()
    try:
        selection = Selection(tuple(args.topics), args.regex, args.exclude, args.include_hidden)
        # The folder is made when the node could be made, so that none is left behind when it could not.
        thread = WriterThread(None, int(args.queue * 1e6))
        if args.ring and (args.topics or args.regex):
            selection.names += (args.trigger,)
        node = RecorderNode(thread, selection, namespace=args.namespace, clock=args.clock if args.use_sim_time else "")
        if args.ring:
            trigger = node.resolve_topic_name(args.trigger)
            modes = _modes(args.trigger_modes)
            thread.writer = RingWriter(
                output,
                args.ring,
                args.after,
                gate_watch(trigger, modes),
                config,
                custom_data=custom,
                attachments=attachments,
            )
        else:
            thread.writer = BagWriter(output, config, custom_data=custom, attachments=attachments)
        thread.start()
        node.look(force=True)
        progress = _Progress(node, thread, started, args.quiet, args.heard)
        while not stop and thread.error is None:
            node.poll()
            node.look()
            time.sleep(POLL_SECONDS)
            progress.tick()
            if args.duration and time.monotonic() - started >= args.duration:
                break
        _drain(node)
        thread.finish(node.report)
        progress.end()
        report = node.report()
        report |= {"path": str(output), "seconds": round(time.monotonic() - started, 3)}
        if isinstance(thread.writer, RingWriter):
            report["bags"] = [str(path) for path in thread.writer.bags]
        report["error"] = str(thread.error) if thread.error is not None else None
        node.destroy_node()
    finally:
        rclpy.try_shutdown()
    if args.json:
        write_json(args.json, report)
    if isinstance(thread.error, JepaRosError) or thread.error is None:
        if thread.error is not None:
            raise thread.error
        return report
    raise thread.error


class _Progress:
    """A status line; and what was received by topic in a file, twice a second."""

    def __init__(self, node, thread: WriterThread, started: float, quiet: bool, heard: Path | None) -> None:
        self._node, self._thread, self._started, self._heard = node, thread, started, heard
        self._line = StatusLine(quiet=quiet)
        self._next_heard = 0.0

    def tick(self) -> None:
        now = time.monotonic()
        if self._heard is not None and now >= self._next_heard:
            self._next_heard = now + 0.5
            write_json(self._heard, {name: state.messages for name, state in self._node.topics.items()})
        self._line.tell(lambda: self._text(now))

    def _text(self, now: float) -> str:
        report = self._node.report()
        return (
            f"{now - self._started:7.1f} s  {len(report['topics'])} topics  {report['messages']} messages  "
            f"{report['dropped']} dropped  {report['lost']} lost  queue {self._thread.pending_bytes / 1e6:.1f} MB"
        )

    def end(self) -> None:
        self._line.end()


def _drain(node) -> None:
    """Take what has already arrived, for at most 0.3 s."""
    end = time.monotonic() + 0.3
    while time.monotonic() < end:
        time.sleep(0.02)
        if not node.poll():
            return


def main(args: argparse.Namespace) -> int:
    """Run the command; 0 when the bag is whole."""
    _die_with_parent(args.die_with_parent)
    lower_priority()
    report = record(args, getattr(args, "ros_args", None))
    if not args.quiet:
        print(summary(report))
    return 0


def summary(report: dict) -> str:
    """The report as a few lines of text."""
    lines = [f"{report['path']}: {report['messages']} messages in {report['seconds']:.1f} s"]
    if report.get("bags") is not None:
        lines = [f"{report['path']}: {len(report['bags'])} interventions written"]
    lines.append(f"dropped (queue full): {report['dropped']}   lost before the recorder: {report['lost']}")
    lines += [f"warning: {text}" for text in report["warnings"]]
    lines += [f"not recorded: {topic}: {why}" for topic, why in report["refused"].items()]
    lines += [f"not recorded: {topic}: nobody published it" for topic in report["never_seen"]]
    return "\n".join(lines)


def _die_with_parent(wanted: bool) -> None:
    if wanted and sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGINT)  # PR_SET_PDEATHSIG


def run_module(argv: list[str]) -> int:
    """Entry of `python -m jepa_ros.bags.record`; what follows --ros-args goes to ROS."""
    at = argv.index("--ros-args") if "--ros-args" in argv else len(argv)
    parser = Parser(prog="jepa-ros record", description=__doc__.splitlines()[0])
    add_arguments(parser)
    try:
        args = parser.parse_args(argv[:at])
        args.ros_args = argv[at:]
        return main(args)
    except JepaRosError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
