# SPDX-License-Identifier: Apache-2.0
"""What the ROS tests share: a probe that waits on conditions, children that always end, and a gate's whole world."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

from std_srvs.srv import Trigger

from benchmarks.rigs.ros_probe import GateWorld, Probe, is_zero

__all__ = ["Child", "GateWorld", "Probe", "ask", "forgive_chatter", "is_zero"]


class Child:
    """A process of the test: its output is kept, and it is gone when the test ends."""

    def __init__(self, *command: str) -> None:
        self.popen = subprocess.Popen(
            [sys.executable, *command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"}, start_new_session=True,
        )  # fmt: skip
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        self.lines.extend(line.rstrip("\n") for line in self.popen.stdout)

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def wait(self, timeout: float = 60.0) -> int:
        """Its exit code."""
        code = self.popen.wait(timeout)
        self._reader.join(2.0)
        return code

    def end(self) -> None:
        if self.popen.poll() is None:
            self.popen.send_signal(signal.SIGTERM)
            try:
                self.popen.wait(6.0)
            except subprocess.TimeoutExpired:
                self.popen.kill()
                self.popen.wait()
        self._reader.join(2.0)


def forgive_chatter(probe: Probe, space: str = "") -> None:
    """Let a probe that listens to a gate's state reset it where it latched for having stopped and resumed too often.

    That is what a busy machine does to a gate: images and commands come late again and again.
    """
    state, client = f"{space}safety_gate/state", probe.node.create_client(Trigger, f"{space}safety_gate/reset")
    again = 0.0

    def look() -> None:
        nonlocal again
        now = time.monotonic()
        if now > again and probe.values(state).get("reason") == "resume_chatter" and client.service_is_ready():
            again = now + 1.0
            client.call_async(Trigger.Request())

    probe.each_spin.append(look)


def ask(script: str, *words: object) -> str:
    """What a script of the tests prints until it ends."""
    client = Child(script, *map(str, words))
    try:
        client.wait(120)
    finally:
        client.end()
    return client.text
