# SPDX-License-Identifier: Apache-2.0
"""Faults of the topics, against a gate in a process of its own: floods, clock jumps, broken bytes."""

from __future__ import annotations

import contextlib
import random
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from geometry_msgs.msg import TwistStamped
from sensor_msgs.msg import Image

from benchmarks.rigs.gate.graph import MOVING, Account, Accounts, cpu_load
from benchmarks.rigs.ros_probe import GateWorld, Probe
from jepa_ros.nodes import qos
from jepa_ros.nodes.convert import fill

#: Publishes a good command again and again; argv: topic, rate [1/s], seconds. Prints how many it sent a second.
FLOOD = """
import sys, time, rclpy
from geometry_msgs.msg import TwistStamped
from jepa_ros.nodes import qos
rclpy.init()
node = rclpy.create_node("flood")
out = node.create_publisher(TwistStamped, sys.argv[1], qos.COMMAND)
message, period, begin, sent = TwistStamped(), 1.0 / float(sys.argv[2]), time.monotonic(), 0
due, end = begin, begin + float(sys.argv[3])
while (now := time.monotonic()) < end:
    if now < due:
        continue
    due = max(due + period, now - 0.01)
    stamp = node.get_clock().now().to_msg()
    message.header.stamp = stamp
    message.twist.linear.x = 0.2
    out.publish(message)
    sent += 1
print(sent / (time.monotonic() - begin), flush=True)
"""


class Alone:
    """One gate, driven by a world of inputs; every namespace is used once."""

    _count = 0

    def __init__(self, *parameters: str, clock: bool = False) -> None:
        Alone._count += 1
        self.space = f"/alone_{Alone._count}"
        self.probe = Probe(self.space)
        self.accounts = Accounts(self.probe)
        self.world = GateWorld(self.probe, clock=clock)
        given = ["auto_enable:=true", *(["use_sim_time:=true"] if clock else []), *parameters]
        words = [word for text in given for word in ("-p", text)]
        self.popen = subprocess.Popen(
            [sys.executable, "-m", "jepa_ros.nodes.safety_gate", "--ros-args", "--log-level", "fatal",
             "-r", f"__ns:={self.space}", *words], start_new_session=True,
        )  # fmt: skip
        self.accounts.until(MOVING, moves=True, timeout=60.0)

    def close(self) -> None:
        """End the gate."""
        self.popen.terminate()
        try:
            self.popen.wait(6.0)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()
        self.probe.close()

    def __enter__(self) -> Alone:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


def tick_times(intervals: list[float], period: float) -> dict[str, float]:
    """Jitter of the ticks [ms]: how far the time between two is from the period."""
    off = np.abs(np.array(intervals) - period) * 1e3
    if not off.size:
        return {"ticks": 0}
    q = np.percentile(off, [50, 99, 99.9])
    return {"ticks": off.size, "p50_ms": float(q[0]), "p99_ms": float(q[1]), "p99_9_ms": float(q[2]),
            "worst_ms": float(off.max())}  # fmt: skip


def jitter(seconds: float, priority: str, loaded: bool) -> dict[str, Any]:
    """Ticks of a driving gate over a time, idle or with a busy process for each core; and command in to command out."""
    with Alone(f"priority:={priority}") as alone, cpu_load() if loaded else contextlib.nullcontext():
        latency: list[float] = []
        sent: dict[int, float] = {}
        begin = time.monotonic()
        alone.world.on_command = lambda stamp: sent.update({_micro(stamp): time.monotonic()})
        read = len(alone.accounts.kept)
        end = begin + seconds
        while time.monotonic() < end:
            alone.probe.spin(0.2)
            for a in alone.accounts.kept[read:]:
                came = sent.pop(_micro(a.image_stamp), None) if a.image_stamp == a.image_stamp else None
                if came is not None:
                    latency.append(a.sent - came)
            read = len(alone.accounts.kept)
        intervals = alone.accounts.intervals(begin)
        late = np.array(latency) * 1e3
        modes = [a.mode for a in alone.accounts.kept if a.tick > begin]
    return {
        "priority": priority, "load": "cpu" if loaded else "", "seconds": seconds,
        **tick_times(intervals, 0.02), "expected_ticks": round(seconds / 0.02),
        "command_ms": {f"p{q}": float(np.percentile(late, q)) for q in (50, 99)} if late.size else {},
        "moving_share": sum(m in MOVING for m in modes) / max(len(modes), 1),
    }  # fmt: skip


def _micro(seconds: float) -> int:
    return round(seconds * 1e5)


# ---------------------------------------------------------------- one case each


def flood(alone: Alone, rate: float = 10_000.0, seconds: float = 5.0) -> dict[str, Any]:
    """The command topic flooded with good commands: the gate keeps its rate and its limits."""
    words = [sys.executable, "-c", FLOOD, f"{alone.space}/command_raw", str(rate), str(seconds)]
    begin = time.monotonic()
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as child:
        try:
            alone.probe.until(lambda: child.poll() is not None, "the flood to end", seconds + 30.0)
        finally:
            child.kill()
        assert child.stdout is not None
        sent = float(child.stdout.read())
    kept = [a for a in alone.accounts.kept if a.tick > begin]
    ticks, passed = kept[-1].ticks - kept[0].ticks, kept[-1].tick - kept[0].tick
    assert ticks > 45 * passed, f"{ticks} ticks in {passed:.1f} s"
    assert all(abs(a.values[0]) <= 0.4 + 1e-6 for a in kept)
    share = sum(a.moves for a in kept) / len(kept)
    assert share > 0.95, f"it drove in {100 * share:.0f} % of the ticks: {alone.accounts.last}"
    return {"sent_per_s": sent, **tick_times(alone.accounts.intervals(begin), 0.02), "ticks_per_s": ticks / passed}


def second_publisher(alone: Alone) -> dict[str, Any]:
    """Somebody else publishes on the gate's output."""
    when = time.monotonic()
    other = alone.probe.node.create_publisher(TwistStamped, "cmd_vel", qos.COMMAND)
    account = alone.accounts.stop_after(when, 5.0)
    alone.probe.node.destroy_publisher(other)
    assert account is not None and account.reason == "second_publisher", account
    return {"stop_s": account.sent - when}


#: Topic: the words of which one has to be the reason when it brings nothing but broken bytes.
BROKEN = {
    "command": ("command_timeout", "command_stamp", "command_shape", "command_not_finite", "input_error"),
    "image": ("image_stale", "image_frozen", "input_error"),
    "odom": ("state_stale", "state_not_finite", "input_error"),
    "pose": ("pose_lost", "input_error"),
    "signals": ("signals_lost", "identity", "guardrail_cost", "input_error"),
    "planner": ("heartbeat", "input_error"),
    "perception": ("heartbeat", "input_error"),
}
#: The same when ROS time stands: every stamp is soon in its future.
STOOD = ("clock", "state_stale", "pose_lost", "image_stale", "signals_lost", "command_stamp", "command_timeout")


def _because(account: Account | None, reasons: tuple[str, ...]) -> Account:
    """The account of a stop for one of the reasons that were expected."""
    assert account is not None, "it drove on"
    assert account.reason in reasons, f"it stopped for another reason: {account.reason}, {account.sentence}"
    return account


def _bytes(topic: str, make: Callable[[random.Random], bytes]) -> Callable[[Alone], dict[str, Any]]:
    def case(alone: Alone) -> dict[str, Any]:
        rng = random.Random(0)
        alone.world.silent.add(topic)
        begin = time.monotonic()
        for _ in range(20):
            alone.world.outs[topic][0].publish(make(rng))
            alone.probe.spin(0.05)
        account = alone.accounts.stop_after(begin, 3.0)
        alone.world.silent.discard(topic)
        assert alone.popen.poll() is None, "the gate's process ended"
        account = _because(account, BROKEN[topic])
        return {"stop_s": account.sent - begin, "reason": account.reason,
                **tick_times(alone.accounts.intervals(begin), 0.02)}  # fmt: skip

    return case


def _noise(rng: random.Random) -> bytes:
    return b"\x00\x01\x00\x00" + rng.randbytes(rng.choice((0, 3, 40, 400, 4000)))


def _huge(_rng: random.Random) -> bytes:
    """A header that promises a string of 4 GB."""
    return b"\x00\x01\x00\x00" + b"\x00" * 8 + b"\xff\xff\xff\xff" + b"a" * 64


def images(pixels: np.ndarray | None) -> Callable[[Alone], dict[str, Any]]:
    """Images that are empty (None), or of a size that nobody expects: the gate only reads header and checksum, and
    leaves it to perception to refuse them. It must outlive them and be on time."""

    def case(alone: Alone) -> dict[str, Any]:
        alone.world.silent.add("image")
        begin = time.monotonic()
        for _ in range(15):
            message = Image() if pixels is None else fill(Image(), pixels, "rgb8")
            message.header.stamp = alone.world.now
            alone.world.outs["image"][0].publish(message)
            alone.probe.spin(0.1)
        alone.world.silent.discard("image")
        assert alone.popen.poll() is None, "the gate's process ended"
        kept = [a for a in alone.accounts.kept if a.tick > begin]
        return {"reasons": sorted({a.reason for a in kept}), **tick_times(alone.accounts.intervals(begin), 0.02)}

    return case


def clock_jump(by: float) -> Callable[[Alone], dict[str, Any]]:
    """/clock jumps (needs a gate on /clock)."""

    def case(alone: Alone) -> dict[str, Any]:
        when = time.monotonic()
        alone.world.offset += by
        account = _because(alone.accounts.stop_after(when, 3.0), ("clock",))
        return {"stop_s": account.sent - when, "reason": account.reason}

    return case


def clock_pause(alone: Alone) -> dict[str, Any]:
    """/clock falls silent."""
    when = time.monotonic()
    alone.world.silent.add("clock")
    account = alone.accounts.stop_after(when, 3.0)
    alone.world.silent.discard("clock")
    account = _because(account, STOOD)
    return {"stop_s": account.sent - when, "reason": account.reason}


CASES: dict[str, Callable[[Alone], dict[str, Any]]] = {
    "flood of commands, 10 kHz": flood,
    "second publisher": second_publisher,
    "empty image": images(None),
    "image of 48 MB": images(np.zeros((4000, 4000, 3), dtype=np.uint8)),
    **{f"random bytes: {topic}": _bytes(topic, _noise) for topic in BROKEN},
    **{f"a string of 4 GB: {topic}": _bytes(topic, _huge) for topic in ("command", "image", "odom")},
}
CLOCK_CASES: dict[str, Callable[[Alone], dict[str, Any]]] = {
    "clock 5 s back": clock_jump(-5.0),
    "clock 5 s ahead": clock_jump(5.0),
    "clock paused": clock_pause,
}


def topic_faults(names: tuple[str, ...] | None = None) -> dict[str, dict[str, Any]]:
    """Every case against a gate that drives; a case that fails says so under ``failed``."""
    from std_srvs.srv import Trigger

    found: dict[str, dict[str, Any]] = {}
    for clock, cases in ((False, CASES), (True, CLOCK_CASES)):
        chosen = {n: f for n, f in cases.items() if names is None or n in names}
        if not chosen:
            continue
        with Alone(clock=clock) as alone:
            for name, case in chosen.items():
                try:
                    alone.accounts.until(MOVING, moves=True, timeout=3.0)  # or a stop would show nothing
                    found[name] = case(alone)
                    with contextlib.suppress(AssertionError):
                        alone.accounts.until(MOVING, moves=True, timeout=3.0)
                    alone.probe.call(Trigger, "safety_gate/reset")
                    alone.accounts.until(MOVING, moves=True, timeout=20.0)
                except AssertionError as error:
                    found[name] = {"failed": str(error)}
                    if alone.popen.poll() is not None:
                        break
    return found
