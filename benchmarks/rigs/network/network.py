# SPDX-License-Identifier: Apache-2.0
"""Two machines on one: network namespaces, joined by a relay that delays, loses and cuts what passes (Linux, root).

Each namespace has one Ethernet device; the relay holds the other ends and hands frames over, so that discovery,
multicast and data are impaired alike. ``netem`` is not needed, and processes in the namespaces know nothing of it.
Both namespaces see the same ``/dev/shm``: shared-memory transport must be off in them (:data:`ENVIRONMENT`), or a cut
link would not be felt.
"""

from __future__ import annotations

import contextlib
import fcntl
import heapq
import os
import random
import select
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Sequence

from jepa_ros.errors import JepaRosError

#: What ROS processes in the namespaces need: the other "machine" is found, and only UDP is used.
ENVIRONMENT = {"ROS_AUTOMATIC_DISCOVERY_RANGE": "SUBNET", "FASTDDS_BUILTIN_TRANSPORTS": "UDPv4"}
ALL_FRAMES = 3  # ETH_P_ALL
SIOCETHTOOL, ETHTOOL_STXCSUM, ETHTOOL_STSO, ETHTOOL_SGSO = 0x8946, 0x17, 0x1F, 0x24
FRAME = 65536
BUFFER = 16_000_000  # bytes that a socket may hold while the relay is busy
PREFIX = "10.77.0"


class NetworkError(JepaRosError):
    """The namespaces cannot be made here; the message says what is missing."""


def why_not() -> str:
    """Why namespaces cannot be made on this machine; empty when they can."""
    if not sys.platform.startswith("linux"):
        return "network namespaces need Linux"
    if os.geteuid() != 0:
        return "network namespaces need root"
    name = f"jr{os.getpid()}t"
    try:
        with contextlib.ExitStack() as stack:
            _ip("netns", "add", name)
            stack.callback(_ip, "netns", "del", name)
            _ip("link", "add", f"{name}0", "type", "veth", "peer", "name", f"{name}1")
            stack.callback(_ip, "link", "del", f"{name}0")
            socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0).close()
    except (NetworkError, OSError) as error:
        return str(error)
    return ""


def _ip(*words: str) -> None:
    try:
        done = subprocess.run(["ip", *words], capture_output=True, text=True)
    except FileNotFoundError:
        raise NetworkError("the command 'ip' (iproute2) is not installed") from None
    if done.returncode:
        raise NetworkError(f"ip {' '.join(words)}: {done.stderr.strip()}")


class Network:
    """Two namespaces and the relay between them, as a context manager.

    Args:
        name: begins the names of the namespaces (at most 8 letters).
    """

    def __init__(self, name: str = "") -> None:
        name = name or f"jr{os.getpid() % 100000}"
        self.sides = (f"{name}a", f"{name}b")
        self._stack = contextlib.ExitStack()
        self._relay: subprocess.Popen[str] | None = None

    def __enter__(self) -> Network:
        """Make it.

        Raises:
            NetworkError: it cannot be made.
        """
        try:
            for number, side in enumerate(self.sides, 1):
                self._make(side, number)
            outer = [f"{side}1" for side in self.sides]
            command = [sys.executable, "-m", "benchmarks.rigs.network.network", *outer]
            self._relay = subprocess.Popen(command, stdin=subprocess.PIPE, text=True)
            self._stack.callback(self._end_relay)
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Take it away."""
        self._stack.close()

    def _make(self, side: str, number: int) -> None:
        _ip("netns", "add", side)
        self._stack.callback(_ip, "netns", "del", side)
        inner, outer = f"{side}0", f"{side}1"
        _ip("link", "add", inner, "type", "veth", "peer", "name", outer)
        _ip("link", "set", inner, "netns", side)
        _plain_frames(outer)
        _ip("link", "set", outer, "up")
        code = f"from benchmarks.rigs.network.network import _plain_frames; _plain_frames({inner!r})"
        plain = [sys.executable, "-c", code]
        for words in (
            ["ip", "addr", "add", f"{PREFIX}.{number}/24", "dev", inner], ["ip", "link", "set", "lo", "up"],
            ["ip", "link", "set", inner, "up"], ["ip", "route", "add", "default", "dev", inner], plain,
        ):  # fmt: skip
            done = subprocess.run(self.inside(side, words), capture_output=True, text=True)
            if done.returncode:
                raise NetworkError(f"{' '.join(words[:4])} in {side}: {done.stderr.strip()[-300:]}")

    @staticmethod
    def inside(side: str, words: Sequence[str]) -> list[str]:
        """The command line that runs `words` in a namespace."""
        return ["ip", "netns", "exec", side, *words]

    def set(self, delay: float = 0.0, loss: float = 0.0, jitter: float = 0.0, cut: bool = False) -> None:
        """Impair the link from now on, each way.

        Args:
            delay: s a frame is held back. jitter: up to so much more, drawn anew for each (frames may overtake).
            loss: share of the frames that are dropped. cut: all are.
        """
        assert self._relay is not None and self._relay.stdin is not None
        self._relay.stdin.write(f"{delay} {1.0 if cut else loss} {jitter}\n")
        self._relay.stdin.flush()

    def _end_relay(self) -> None:
        assert self._relay is not None and self._relay.stdin is not None
        self._relay.stdin.close()
        self._relay.wait(5.0)


def _plain_frames(device: str) -> None:
    """Let the kernel finish checksums and segments before a frame reaches the device, as the relay copies bytes."""
    import array

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        for command in (ETHTOOL_STXCSUM, ETHTOOL_STSO, ETHTOOL_SGSO):
            value = array.array("B", struct.pack("II", command, 0))
            request = struct.pack("16sP", device.encode(), value.buffer_info()[0])
            fcntl.ioctl(control, SIOCETHTOOL, request)


def relay(devices: Sequence[str]) -> None:
    """Hand frames from one device to the other until standard input ends; its lines are ``delay loss jitter``."""
    ends = []
    for device in devices:
        end = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ALL_FRAMES))
        end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        end.bind((device, 0))
        end.setblocking(False)
        ends.append(end)
    other = {ends[0]: ends[1], ends[1]: ends[0]}
    delay = loss = jitter = 0.0
    held: list[tuple[float, int, socket.socket, bytes]] = []
    count, control = 0, sys.stdin.fileno()
    while True:
        wait = max(0.0, held[0][0] - time.monotonic()) if held else None
        ready, _, _ = select.select([*ends, control], [], [], wait)
        if control in ready:
            text = os.read(control, 4096).decode()
            if not text:
                return
            delay, loss, jitter = (float(word) for word in text.splitlines()[-1].split())
        now = time.monotonic()
        for end in ends:
            if end not in ready:
                continue
            for _ in range(64):
                try:
                    frame, address = end.recvfrom(FRAME)
                except BlockingIOError:
                    break
                if address[2] == socket.PACKET_OUTGOING or (loss and random.random() < loss):
                    continue
                count += 1
                due = now + delay + (random.random() * jitter if jitter else 0.0)
                heapq.heappush(held, (due, count, other[end], frame))
        now = time.monotonic()
        while held and held[0][0] <= now:
            _, _, end, frame = heapq.heappop(held)
            with contextlib.suppress(OSError):
                end.send(frame)


if __name__ == "__main__":
    relay(sys.argv[1:3])
