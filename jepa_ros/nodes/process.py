# SPDX-License-Identifier: Apache-2.0
"""How a node's process runs: start, spin single-threaded, end cleanly on a signal, say what went wrong.

Exit codes: 0 after a signal, 2 for a mistake in an input (one line, no traceback), 1 for a bug (with its traceback).
The gate is not run by this module: it answers a signal with stops (:mod:`jepa_ros.nodes.safety_gate`).
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import NoReturn

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.logging import get_logger
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from jepa_ros.errors import JepaRosError
from jepa_ros.interrupts import ASKING
from jepa_ros.ros_env import ready_for_ros

#: Seconds after which a signal is noticed at the latest, when nothing else wakes the executor.
PATIENCE = 0.1


#: Signals that do not end a process, that cannot be answered, or after which its code cannot go on.
_OTHERS = (
    "SIGKILL", "SIGSTOP", "SIGCONT", "SIGCHLD", "SIGURG", "SIGWINCH", "SIGPIPE", "SIGTTIN", "SIGTTOU", "SIGSEGV",
    "SIGBUS", "SIGFPE", "SIGILL", "SIGTRAP", "SIGSYS",
)  # fmt: skip


def ending_signals() -> tuple[int, ...]:
    """Every signal that ends or suspends a process unless it is answered, real-time ones included."""
    others = {getattr(signal, name) for name in _OTHERS if hasattr(signal, name)}
    return tuple(sorted(int(number) for number in signal.valid_signals() if number not in others))


class Signals:
    """Notes the signals that ask the process to end, for as long as it lives.

    Ctrl-C under ``ros2 launch`` reaches a node twice, from the terminal and from launch; handlers that are taken down
    when the first has arrived, as rclpy's are, let the second one kill the process in the middle of its ending.

    Args:
        on_signal: called at each of them. numbers: the signals. One that was ignored when the process began stays so
            (``nohup``), but for SIGINT and SIGTERM.
    """

    def __init__(self, on_signal: Callable[[], None] = lambda: None, numbers: Sequence[int] = ASKING) -> None:
        self.asked = False
        self._on_signal = on_signal
        for number in numbers:
            if number in (signal.SIGINT, signal.SIGTERM) or signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, self._note)

    def _note(self, _number: int, _frame: object) -> None:
        self.asked = True
        self._on_signal()


class ArgumentsError(JepaRosError):
    """What follows ``--ros-args`` cannot be read."""


def begin(args: Sequence[str] | None = None) -> None:
    """Start ROS in this process; started by itself (``ros2 run``) it keeps to this machine as all others do.

    Args:
        args: command line (``--ros-args ...``); default ``sys.argv``.

    Raises:
        ArgumentsError: ROS cannot read it.
    """
    ready_for_ros()
    try:
        rclpy.init(args=list(args) if args is not None else None, signal_handler_options=SignalHandlerOptions.NO)
    except RuntimeError as error:  # rcl's, with the place in its source
        raise ArgumentsError(str(error).partition(", at /")[0]) from None


def spin(nodes: Sequence[Node], signals: Signals) -> None:
    """Answer whatever arrives, in this thread, until a signal."""
    executor = SingleThreadedExecutor()
    for node in nodes:
        executor.add_node(node)
    while not signals.asked:
        executor.spin_once(timeout_sec=PATIENCE)


def run(
    build: Callable[[], Sequence[Node]],
    name: str,
    args: Sequence[str] | None = None,
    spinning: Callable[[Sequence[Node], Signals], None] = spin,
) -> int:
    """Build the nodes of one process and spin them until a signal or a fault; return the exit code.

    Args:
        build: makes the nodes; it may raise :class:`~jepa_ros.errors.JepaRosError`.
        name: for messages before a node exists.
        args: command line (``--ros-args ...``); default ``sys.argv``.
        spinning: spins the nodes until the signals ask for the end, and raises what a node raised.
    """
    signals = Signals()
    nodes: Sequence[Node] = ()
    code = 0
    try:
        begin(args)
        nodes = build()
        spinning(nodes, signals)
    except JepaRosError as error:
        get_logger(name).fatal(str(error))
        code = 2
    except Exception:
        get_logger(name).fatal(f"unexpected error, the process ends:\n{traceback.format_exc()}")
        code = 1
    for node in nodes:
        close = getattr(node, "close", None)
        try:
            if close is not None:
                close()
            node.destroy_node()
        except Exception:
            traceback.print_exc(file=sys.stderr)
    rclpy.try_shutdown()
    return code


def leave(code: int) -> NoReturn:
    """End the process now. Everything is closed; taking torch apart would take another second or more."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
