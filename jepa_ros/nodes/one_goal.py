# SPDX-License-Identifier: Apache-2.0
"""An action server that has one goal at a time: a new one ends the one before it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.node import Node
from rclpy.task import Future


class OneGoal:
    """The server of one action, and the goal that is under way.

    Args:
        node, action, name: whose server of what.
        accept: says of each goal whether it is taken. begin: called with the handle of one that was taken.
        result: what the client is told, from a code of the action and a text.
        noun: what the log calls a goal. replaced: the code of one that another one ended.
    """

    def __init__(
        self, node: Node, action: Any, name: str, *, accept: Callable[[Any], GoalResponse],
        begin: Callable[[Any], None], result: Callable[[int, str], Any], noun: str, replaced: int,
    ) -> None:  # fmt: skip
        self.handle: Any = None  # of the goal that is under way
        self._node, self._begin, self._result, self._noun, self._replaced = node, begin, result, noun, replaced
        self._ended: Future | None = None
        self._ends: dict[bytes, Future] = {}  # one may have ended before it is waited for
        self._server = ActionServer(
            node, action, name, self._execute, goal_callback=accept,
            handle_accepted_callback=self._on_accepted, cancel_callback=lambda _: CancelResponse.ACCEPT,
        )  # fmt: skip

    def end(self, how: str, code: int = 0, text: str = "") -> bool:
        """End the goal: ``how`` is "succeed", "abort" or "canceled"; False where none is under way."""
        if self._ended is None:
            return False
        if text:
            self._node.get_logger().error(f"{self._noun} ended: {text}")
        ended, self._ended, self.handle = self._ended, None, None
        ended.set_result((how, code, text))
        return True

    def _on_accepted(self, handle: Any) -> None:
        self.end("abort", self._replaced, f"another {self._noun} was given")
        self.handle = handle
        self._ended = self._ends[bytes(handle.goal_id.uuid)] = Future()
        handle.execute()
        self._begin(handle)

    async def _execute(self, handle: Any) -> Any:
        """Wait for the end of a goal; who ends it says how."""
        how, code, text = await self._ends.pop(bytes(handle.goal_id.uuid))
        {"succeed": handle.succeed, "abort": handle.abort, "canceled": handle.canceled}[how]()
        return self._result(code, text)
