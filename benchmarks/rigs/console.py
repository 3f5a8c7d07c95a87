# SPDX-License-Identifier: Apache-2.0
"""The stack in simulation with its console: started as an operator would, watched at the gate's output, and a page."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import TwistStamped
from websockets.asyncio.client import connect as connect_later
from websockets.sync.client import connect

from benchmarks.rigs.listener import Listener
from jepa_ros.errors import JepaRosError
from jepa_ros.nodes import qos

START, PATIENCE = 120.0, 30.0
WORDS = 0.09  # s between two words of a page that is held to drive, as the page has it


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextlib.contextmanager
def command(*words: str, says: str) -> Iterator[int]:
    """`jepa-ros WORDS` as a process until the block ends; its process id, once it has said ``says``.

    Raises:
        JepaRosError: it did not say it in time; with what it said instead.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log"
        with path.open("w", encoding="utf-8") as log:
            child = subprocess.Popen(
                [sys.executable, "-m", "jepa_ros.commands.cli", *words], stdout=log, stderr=log,
                env={**os.environ, "PYTHONUNBUFFERED": "1"}, start_new_session=True,
            )  # fmt: skip
        try:
            end = time.monotonic() + START
            while says not in (text := path.read_text(encoding="utf-8", errors="replace")):
                if time.monotonic() > end or child.poll() is not None:
                    raise JepaRosError(f"jepa-ros {words[0]} did not start:\n{text[-2000:]}")
                time.sleep(0.1)
            yield child.pid
        finally:
            child.send_signal(signal.SIGTERM)
            try:
                child.wait(10.0)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


class Output(Listener):
    """What leaves the gate and what it says, with the time of receipt, heard in a thread of its own.

    Attributes:
        moving: (time [s], whether the command moves) of the newest command. mode: (time, mode) since it is so.
        ticks: number and the gate's own time [s] of each tick that was heard.
    """

    def __init__(self) -> None:
        super().__init__("console_bench")
        self.moving: tuple[float, bool] = (0.0, False)
        self.mode: tuple[float, str] = (0.0, "")
        self.ticks: list[tuple[int, float]] = []
        self.node.create_subscription(TwistStamped, "cmd_vel", self._command, qos.COMMAND)
        self.node.create_subscription(DiagnosticArray, "safety_gate/state", self._state, qos.LATCHED)
        self.listen()

    def _command(self, message: TwistStamped) -> None:
        self.moving = time.monotonic(), bool(message.twist.linear.x or message.twist.angular.z)

    def _state(self, message: DiagnosticArray) -> None:
        values = {pair.key: pair.value for pair in message.status[0].values}
        if "tick" in values:
            self.ticks.append((int(values["ticks"]), float(values["tick"])))
        if values.get("mode", "") != self.mode[1]:
            self.mode = time.monotonic(), values.get("mode", "")


class Page:
    """A page by its WebSocket: says what a person would, and knows what it was told last.

    Attributes:
        state: the newest state; at: when it came [s]. number: the page's own.
        refused: why its last request was not granted that was not.
    """

    def __init__(self, port: int) -> None:
        end = time.monotonic() + 10.0
        while True:  # a console says where it will be a moment before it is there
            try:
                self.socket = connect(f"ws://127.0.0.1:{port}/ws", max_size=None)
                break
            except ConnectionRefusedError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.1)
        self.state: dict[str, Any] = {}
        self.at = 0.0
        self.number = 0
        self.refused = ""
        self._asked = itertools.count(1)
        self._driven: list[float] | None = None
        self._gone = threading.Event()
        threading.Thread(target=self._hear, daemon=True).start()
        threading.Thread(target=self._word, daemon=True).start()

    def _hear(self) -> None:
        with contextlib.suppress(Exception):  # the line was closed, by one side or the other
            for text in self.socket:
                found = json.loads(text) if isinstance(text, str) else {}
                if found.get("kind") == "state":
                    self.at, self.state = time.monotonic(), {**self.state, **found}
                elif found.get("kind") == "hello":
                    self.number = found["page"]
                elif found.get("error"):
                    self.refused = found["error"]
        self._gone.set()

    def _word(self) -> None:
        while not self._gone.wait(WORDS):
            if (driven := self._driven) is not None:
                with contextlib.suppress(Exception):
                    self.socket.send(json.dumps({"do": "drive", "command": driven}))

    def take(self) -> None:
        """Take the controls, as soon as the page before has left them."""
        end = time.monotonic() + PATIENCE
        while not self.number or self.state.get("desk", {}).get("holder") != self.number:
            if time.monotonic() > end:
                raise JepaRosError(f"the controls stay with page {self.state.get('desk', {}).get('holder')}")
            self.say("take")
            time.sleep(0.3)

    def reset(self) -> None:
        """Press Reset until the gate lets go: it refuses while the robot still moves."""
        end = time.monotonic() + PATIENCE
        while self.state["gate"]["mode"] == "ESTOP":
            if time.monotonic() > end:
                raise JepaRosError(f"the gate is not reset: {self.refused}")
            self.say("reset")
            time.sleep(0.5)

    def say(self, what: str, **more: Any) -> float:
        """Ask for something; when [s]."""
        began = time.monotonic()
        self.socket.send(json.dumps({"do": what, "id": next(self._asked), **more}))
        return began

    def hold(self, command: list[float]) -> None:
        """Hold to drive: shares of the axes."""
        self._driven = command

    def fall_silent(self) -> float:
        """Say no more words of the handle, as a page that hangs or whose network is gone; when [s]."""
        self._driven = None
        return time.monotonic()

    def let_go(self) -> float:
        """Let go of the handle; when [s]."""
        self._driven = None
        return self.say("drive", command=None)

    def close(self) -> float:
        """Close the page; when [s]."""
        self._driven = None
        began = time.monotonic()
        self.socket.close()
        self._gone.set()
        return began


def until(condition: Callable[[], Any], what: str, seconds: float = PATIENCE, told: Page | None = None) -> None:
    """Wait, looking every millisecond.

    Raises:
        JepaRosError: it did not come true; with ``what``, and what the page ``told`` shows of gate and planner.
    """
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            known = {} if told is None else told.state
            parts = [(name, known[name]) for name in ("gate", "planner") if name in known]
            shown = "".join(f"; the {name}: {part['reason']}, {part['sentence']}" for name, part in parts)
            shown += f"; refused: {told.refused}" if told is not None and told.refused else ""
            raise JepaRosError(f"not within {seconds:g} s: {what}{shown}")
        time.sleep(0.001)


class Viewers:
    """Pages that look on, some of which take one message a second.

    Attributes:
        open: how many are still connected.
    """

    def __init__(self, port: int, count: int, slow: int) -> None:
        self.open = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._tasks = [
            asyncio.run_coroutine_threadsafe(self._look(port, 1.0 if k < slow else 0.0), self._loop)
            for k in range(count)
        ]

    async def _look(self, port: int, pause: float) -> None:
        async with connect_later(f"ws://127.0.0.1:{port}/ws", max_size=None, max_queue=2) as page:
            self.open += 1
            try:
                async for _ in page:
                    if pause:
                        await asyncio.sleep(pause)
            finally:
                await page.close()
                self.open -= 1

    def close(self) -> None:
        """All of them leave."""
        for task in self._tasks:
            task.cancel()
        end = time.monotonic() + 10.0
        while self.open and time.monotonic() < end:
            time.sleep(0.01)
        time.sleep(0.5)  # what their connections still have to say
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5.0)
