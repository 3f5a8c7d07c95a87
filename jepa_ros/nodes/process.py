# SPDX-License-Identifier: Apache-2.0
"""How a node's process runs: start, spin single-threaded, end cleanly on SIGINT and SIGTERM, say what went wrong.

Exit codes: 0 after a signal, 2 for a mistake in an input (one line, no traceback), 1 for a bug (with its traceback).
The gate is not run by this module: it handles signals itself (:mod:`jepa_ros.nodes.safety_gate`).
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Sequence

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.logging import get_logger
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from jepa_ros.errors import JepaRosError


def run(build: Callable[[], Sequence[Node]], name: str, args: Sequence[str] | None = None) -> int:
    """Build the nodes of one process and spin them until a signal or a fault; return the exit code.

    Args:
        build: makes the nodes; it may raise :class:`~jepa_ros.errors.JepaRosError`.
        name: for messages before a node exists.
        args: command line (``--ros-args ...``); default ``sys.argv``.
    """
    nodes: Sequence[Node] = ()
    code = 0
    try:
        rclpy.init(args=list(args) if args is not None else None, signal_handler_options=SignalHandlerOptions.ALL)
        nodes = build()
        executor = SingleThreadedExecutor()
        for node in nodes:
            executor.add_node(node)
        executor.spin()
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except JepaRosError as error:
        get_logger(name).fatal(str(error))
        code = 2
    except Exception:
        # A signal may tear the context down in the middle of a callback; what fails then is no fault.
        if rclpy.ok():
            get_logger(name).fatal(f"unexpected error, the process ends:\n{traceback.format_exc()}")
            code = 1
    finally:
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
