# SPDX-License-Identifier: Apache-2.0
"""A gate in a process of its own, with a whole world of inputs, or within the whole stack; watched from outside.

Times are of the machine's monotonic clock, which all its processes share: the gate tells in every account when it
ticked and when the command left, so that no delay of the watcher counts.
"""

from __future__ import annotations

import contextlib
import itertools
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.qos import DurabilityPolicy, QoSProfile

from benchmarks.rigs.ros_probe import Probe
from jepa_ros.processor import usable_cores

STATE = "safety_gate/state"
#: A watcher that is kept from running for seconds still hears every account.
_DEEP = QoSProfile(depth=1000, durability=DurabilityPolicy.TRANSIENT_LOCAL)
MOVING = ("ACTIVE", "LIMITED")


@dataclass(frozen=True)
class Account:
    """What the gate said of one tick. Times in s, monotonic; ``image_stamp`` is the stamp behind the command."""

    tick: float
    sent: float
    ticks: int
    mode: str
    reason: str
    sentence: str
    values: tuple[float, ...]
    image_stamp: float
    command_age: float  # s since the newest command was received, as of the tick

    @property
    def moves(self) -> bool:
        """Whether a command other than zeros left."""
        return any(self.values)


class Accounts:
    """The gate's accounts, one a tick, as they come in at a probe."""

    def __init__(self, probe: Probe) -> None:
        self._messages: list[tuple[float, Any]] = []
        self._probe, self.kept = probe, list[Account]()
        probe.node.create_subscription(DiagnosticArray, STATE, self._note, _DEEP)

    def _note(self, message: DiagnosticArray) -> None:
        v = {pair.key: pair.value for pair in message.status[0].values}
        if "tick" not in v:
            return  # the account of a fault
        values = tuple(float(x) for x in v["values"].split())
        ages = dict(pair.split("=") for pair in v["inputs"].split())
        age = float(ages.get("command", "inf").split("@")[0])
        self.kept.append(
            Account(float(v["tick"]), float(v["monotonic"]), int(v["ticks"]), v["mode"], v["reason"],
                    message.status[0].message, values, float(v["image_stamp"]), age)
        )  # fmt: skip

    @property
    def last(self) -> Account | None:
        """The newest."""
        return self.kept[-1] if self.kept else None

    def until(self, mode: tuple[str, ...], moves: bool | None = None, timeout: float = 30.0) -> Account:
        """Wait for a mode (and for motion, or for zeros)."""

        def found() -> Account | None:
            a = self.last
            return a if a is not None and a.mode in mode and (moves is None or a.moves is moves) else None

        what = f"the gate {' or '.join(mode)}" + ("" if moves is None else ", moving" if moves else ", still")
        found_now: Account = self._probe.until(found, what, timeout)
        return found_now

    def stop_after(self, when: float, timeout: float) -> Account | None:
        """The first account of a tick at or after ``when`` in which the gate stops; None if there is none in time."""
        for a in self.kept:
            if a.tick >= when and a.mode not in MOVING:
                return a
        end = time.monotonic() + timeout
        seen = len(self.kept)
        while time.monotonic() < end:
            self._probe.spin(0.01)
            for a in self.kept[seen:]:
                if a.tick >= when and a.mode not in MOVING:
                    return a
            seen = len(self.kept)
        return None

    def intervals(self, since: float) -> list[float]:
        """Seconds between ticks that follow each other (an account that was lost leaves its two intervals out)."""
        kept = [a for a in self.kept if a.tick >= since]
        return [b.tick - a.tick for a, b in itertools.pairwise(kept) if b.ticks == a.ticks + 1]


BURN = "while True: pass"
#: Takes memory in pieces of 64 MB, touches it, and goes round in it; argv[1] is how many pieces.
FILL = """
import sys
held = [bytearray(1 << 26) for _ in range(int(sys.argv[1]))]
print("full", flush=True)
while True:
    for piece in held:
        for k in range(0, len(piece), 4096):
            piece[k] = (piece[k] + 1) & 255
"""


@contextlib.contextmanager
def beside(code: str, *args: str, count: int = 1) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Run Python code in so many processes beside; they end with the block."""
    words = [sys.executable, "-c", code, *args]
    children = [subprocess.Popen(words, stdout=subprocess.PIPE) for _ in range(count)]
    try:
        yield children
    finally:
        for child in children:
            child.kill()
            child.communicate()


@contextlib.contextmanager
def cpu_load() -> Iterator[None]:
    """A busy process for each core."""
    with beside(BURN, count=usable_cores()):
        yield


@contextlib.contextmanager
def memory_load(share: float = 0.8) -> Iterator[None]:
    """A process that holds and walks through a share of the memory that is free now; the block begins once it does."""
    with open("/proc/meminfo", encoding="ascii") as file:
        free = next(int(line.split()[1]) for line in file if line.startswith("MemAvailable")) * 1024
    with beside(FILL, str(max(1, int(share * free / (1 << 26))))) as (child,):
        assert child.stdout is not None
        child.stdout.readline()  # ends at once where the system ended the process
        if child.poll() is not None:
            raise AssertionError("the load on the memory was ended by the system")
        yield
