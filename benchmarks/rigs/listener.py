# SPDX-License-Identifier: Apache-2.0
"""A node that listens in a thread of its own, beside the stack that is measured."""

from __future__ import annotations

import threading

import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor


class Listener:
    """A subclass subscribes with ``node``, then calls :meth:`listen`.

    Args:
        name: of the node.
    """

    def __init__(self, name: str) -> None:
        self._context = Context()
        rclpy.init(args=[], context=self._context)
        self.node = rclpy.create_node(name, context=self._context)
        self._ended = threading.Event()

    def listen(self) -> None:
        """Begin to hear."""
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()

    def _spin(self) -> None:
        while not self._ended.is_set():
            self._executor.spin_once(timeout_sec=0.1)

    def close(self) -> None:
        """Leave the graph."""
        self._ended.set()
        self._thread.join(2.0)
        self.node.destroy_node()
        self._context.try_shutdown()
