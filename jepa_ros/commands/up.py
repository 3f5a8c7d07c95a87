# SPDX-License-Identifier: Apache-2.0
"""``jepa-ros up sim|robot|replay key:=value ...``: what ``ros2 launch`` does, where there is no ``ros2 launch``."""

from __future__ import annotations

import argparse
import contextlib
import os
import shlex
import signal
import sys
import threading
from types import FrameType

from jepa_ros.bringup.arguments import KINDS, BringupError, arguments
from jepa_ros.bringup.graph import graph
from jepa_ros.bringup.process import Fault
from jepa_ros.bringup.stack import Stack, StackError
from jepa_ros.errors import JepaRosError
from jepa_ros.interrupts import ASKING
from jepa_ros.ros_env import ready_for_ros
from jepa_ros.suggest import did_you_mean

__all__ = ["Fault", "Stack", "StackError", "add_arguments", "main"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``jepa-ros up``."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("kind", choices=KINDS, help="what to start")
    # REMAINDER, for argparse takes no positional arguments on both sides of an option.
    parser.add_argument(
        "settings", nargs=argparse.REMAINDER, metavar="key:=value", help="arguments, as ros2 launch takes them"
    )
    parser.add_argument("--show-args", action="store_true", help="list the arguments of KIND and exit")
    parser.add_argument(
        "--print", dest="show", action="store_true", help="print the commands of the processes and exit"
    )


def parse_settings(words: list[str]) -> dict[str, str]:
    """``["a:=1"]`` -> ``{"a": "1"}``.

    Raises:
        BringupError: a word is not ``key:=value``, or a key comes twice.
    """
    given: dict[str, str] = {}
    for word in words:
        key, mark, value = word.partition(":=")
        if not mark or not key:
            options = did_you_mean(word, ("--show-args", "--print")) if word.startswith("-") else ""
            raise BringupError(f"'{word}': expected key:=value{options}")
        if key in given:
            raise BringupError(f"'{key}' is given twice")
        given[key] = value
    return given


def _show_arguments(kind: str) -> None:
    for argument in arguments(kind):
        choices = f" [{', '.join(c or repr('') for c in argument.choices)}]" if argument.choices else ""
        print(f"  {argument.name}:={argument.default_text or repr('')}{choices}\n      {argument.description}")


def main(args: argparse.Namespace) -> int:
    """Run the graph until Ctrl-C (exit code 0) or until a process fails (1)."""
    words = set(args.settings)
    if args.show_args or words & {"--show-args", "-s"}:
        _show_arguments(args.kind)
        return 0
    given = parse_settings([word for word in args.settings if word != "--print"])
    if args.show or "--print" in words:
        for node in graph(args.kind, given).nodes:
            print(shlex.join(["python", "-m", *node.words]))
        return 0
    return _run(args.kind, given)


def _run(kind: str, given: dict[str, str]) -> int:
    lock = threading.Lock()

    def show(process: str, line: str) -> None:
        # A terminal that was closed must not end the threads that read what the nodes write.
        with lock, contextlib.suppress(OSError):
            sys.stdout.write(f"[{process}] {line}\n")
            sys.stdout.flush()

    ready_for_ros()
    stack = Stack(kind, given, on_line=show)
    interrupted = threading.Event()
    trouble: list[StackError] = []

    def on_signal(number: int, _frame: FrameType | None) -> None:
        if interrupted.is_set() and number in (signal.SIGINT, signal.SIGTERM):
            stack.hurry()  # (a terminal that closes sends SIGHUP more than once)
        interrupted.set()

    def announce() -> None:
        try:
            stack.wait_ready()
            show("up", f"ready (ROS_DOMAIN_ID {os.environ.get('ROS_DOMAIN_ID', '0')})")
        except JepaRosError as error:
            trouble.append(StackError(str(error)))

    asking = [s for s in ASKING if s != signal.SIGHUP or signal.getsignal(s) != signal.SIG_IGN]  # nohup
    before = {s: signal.signal(s, on_signal) for s in asking}
    try:
        show("up", f"{kind}: {', '.join(n.executable for n in stack.graph.nodes)}; Ctrl-C stops, the gate last")
        stack.start()
        announcer = threading.Thread(target=announce, daemon=True)
        announcer.start()
        while not interrupted.is_set() and not trouble and not stack.wait(0.2):
            pass
        stack.stop()
        announcer.join()
        stack.check()
        if trouble and not interrupted.is_set():
            raise trouble[0]
        show("up", "every process has ended")
        return 0
    except StackError as error:
        show("up", f"error: {error}")
        return 1
    finally:
        stack.stop()
        for number, handler in before.items():
            signal.signal(number, handler)
