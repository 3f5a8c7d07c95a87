# SPDX-License-Identifier: Apache-2.0
"""Faults of real processes: each node of the running stack killed, halted and starved in turn; fault to stop."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from nav_msgs.msg import Odometry
from sensor_msgs.msg import Image
from std_srvs.srv import Trigger

from benchmarks.rigs.gate.graph import MOVING, Accounts, cpu_load, memory_load
from benchmarks.rigs.ros_probe import Probe
from jepa_ros.bringup.stack import MAX_RESPAWNS, RESPAWN_WINDOW, Stack
from jepa_ros.errors import JepaRosError
from jepa_ros.nodes import qos
from jepa_ros.nodes.convert import fill

#: Loads beside the stack while a fault is made.
LOADS = {"": contextlib.nullcontext, "cpu": cpu_load, "memory": memory_load}
#: An arrival that never comes, so that the robot drives on.
RESTLESS = "{arrival.arrive: 1.0e-9, arrival.leave: 1.0e-9}\n"


class Driving:
    """The whole simulated stack, driving towards a goal that it cannot reach.

    Args:
        given: arguments of ``jepa-ros up sim``; ``model`` at least may be of interest.
    """

    def __init__(self, given: dict[str, str] | None = None) -> None:
        self._folder = tempfile.TemporaryDirectory()
        settings = Path(self._folder.name) / "planner.yaml"
        settings.write_text(RESTLESS, encoding="utf-8")
        self.stack = Stack("sim", {"planner_params": str(settings), **(given or {})})
        self.stack.start()
        self.probe = Probe()
        self.accounts = Accounts(self.probe)
        self.probe.listen(Odometry, "sim/truth", qos.STATE)
        self.probe.listen(DiagnosticArray, "planner/status", qos.STATUS)
        self._goal = self.probe.node.create_publisher(Image, "goal_image", qos.LATCHED)
        self.watchdog = self.stack.graph.contract.watchdog
        self._paused, self.latched = -math.inf, False

    def ready(self) -> None:
        """Wait until the stack runs."""
        self.stack.wait_ready()
        self.accounts.until(MOVING, timeout=60.0)

    def drive(self) -> None:
        """Wait until it drives, from where there is room, whatever went on before; ``latched`` tells whether the gate
        needed its reset for that."""
        self.latched = self.accounts.last is not None and self.accounts.last.mode == "ESTOP"
        for name in ("sim/reset", "safety_gate/reset"):
            self.probe.call(Trigger, name)
        camera = self.stack.graph.contract.cameras[0]
        pixels = np.random.default_rng(5).integers(0, 255, (camera.height, camera.width, 3), dtype=np.uint8)
        end = time.monotonic() + 60.0
        while True:  # a planner that was started again has no goal
            self._goal.publish(fill(Image(), pixels, "rgb8"))
            with contextlib.suppress(AssertionError):
                self.accounts.until(MOVING, moves=True, timeout=2.0)
                return
            if time.monotonic() > end:
                raise AssertionError(self.standing())

    def pause(self) -> None:
        """Wait until a fault does not come so soon after the last that the gate latches as one that chatters.

        A fault costs two or three counted stops: its own, that of the clock that stood or jumps, one until the planner
        follows its new goal.
        """
        w = self.watchdog
        apart = 2.5 * w.resume_latch_window / w.resume_latch_count
        self.probe.spin(max(0.0, self._paused + apart - time.monotonic()))
        self._paused = time.monotonic()

    def standing(self) -> str:
        """What gate and planner say, and how often the gate said what in the last 500 ticks."""
        met = Counter(f"{a.mode} {a.reason}" for a in self.accounts.kept[-500:])
        planner = self.probe.last("planner/status")
        says = "nothing" if planner is None else "; ".join(s.message for s in planner.status)
        gate = self.accounts.last
        return f"gate: {'nothing' if gate is None else gate.sentence} {dict(met)}; planner: {says}"

    def true_speed(self) -> float:
        """m/s and rad/s, whichever is more, by the simulator's truth."""
        message = self.probe.last("sim/truth")
        return 0.0 if message is None else max(abs(message.twist.twist.linear.x), abs(message.twist.twist.angular.z))

    def close(self) -> None:
        """End every process."""
        self.stack.stop()
        self.probe.close()
        self._folder.cleanup()

    def __enter__(self) -> Driving:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


def time_out_of(driving: Driving, node: str) -> float:
    """The time-out [s] that a silent node runs into first."""
    contract = driving.stack.graph.contract
    if node == "sim":  # everything comes from there
        return min(contract.state["odom"].timeout, 0.3)  # the latter is the gate's clock_timeout
    return contract.watchdog.command_timeout  # without perception the planner has nothing to plan from


#: Reasons when the planner says nothing any more.
SILENT = ("signals_lost", "command_timeout", "command_stamp", "heartbeat")
#: Node: the reasons of which one stops the robot when the node is dead. A stop for another is a coincidence.
EXPECTED = {
    "planner": SILENT,
    "perception": SILENT,
    # "exit": when it was killed, the supervisor tells the gate to end
    "sim": (*SILENT, "clock", "state_stale", "pose_lost", "scan_lost", "image_stale", "command_not_obeyed", "exit"),
}


class CoincidenceError(Exception):
    """The gate stopped the robot for another reason just then, so that the trial shows nothing."""


def trial(driving: Driving, node: str, fault: str) -> dict[str, Any]:
    """One fault of one node of a stack that drives, and what the gate did.

    Args:
        fault: "kill" (SIGKILL; the supervisor starts planner and perception again, and ends everything without the
            simulator) or "halt" (SIGSTOP, then SIGCONT).

    Raises:
        CoincidenceError: it was stopped for another reason.

    Returns:
        ``stop_s``: from the fault to the stop that left, None where none did. ``over_s``: beyond the time-out, which
        runs from the fault or from a command that came in later (others may still have been at work on one).
    """
    pid = driving.stack.pid(node)
    assert pid is not None, f"{node} does not run"
    limit = time_out_of(driving, node)
    when = time.monotonic()
    os.kill(pid, signal.SIGKILL if fault == "kill" else signal.SIGSTOP)
    account = driving.accounts.stop_after(when, limit + 2.0)
    if fault == "halt":
        os.kill(pid, signal.SIGCONT)
    if account is None:
        return {"node": node, "fault": fault, "stop_s": None, "over_s": None, "reason": "none"}
    if account.reason not in EXPECTED[node]:
        raise CoincidenceError(account.sentence)
    stop = account.sent - when
    begun = max(when, account.tick - account.command_age) if node != "sim" else when
    return {
        "node": node,
        "fault": fault,
        "stop_s": stop,
        "over_s": account.sent - begun - limit,
        "reason": account.reason,
    }


def gate_trial(driving: Driving, fault: str) -> dict[str, Any]:
    """The gate itself halted or killed: the base's own time-out has to stop it (s until it stands, by the true speed).

    When it is killed, the supervisor ends everything: the robot may stand because its simulator has ended.
    """
    driving.probe.until(lambda: driving.true_speed() > 0.05, "true motion", 20.0)
    pid = driving.stack.pid("safety_gate")
    assert pid is not None
    when = time.monotonic()
    os.kill(pid, signal.SIGKILL if fault == "kill" else signal.SIGSTOP)
    found: dict[str, Any] = {"node": "safety_gate", "fault": fault, "over_s": None, "stop_s": None}
    ended = False

    def stands() -> bool:
        nonlocal ended
        ended = driving.stack.pid("sim") is None
        return ended or driving.true_speed() < 0.01

    with contextlib.suppress(AssertionError):
        driving.probe.until(stands, "the base to stand", 3.0)
        found["stop_s"] = time.monotonic() - when
    if fault == "kill":
        return {**found, "reason": "the supervisor ended the simulator" if ended else "the base's time-out"}
    os.kill(pid, signal.SIGCONT)
    first = driving.accounts.stop_after(time.monotonic(), 2.0)
    return {**found, "reason": f"the base's time-out; on its return: {'nothing' if first is None else first.reason}"}


def broken_images(driving: Driving) -> dict[str, Callable[[], Image | bytes]]:
    """Images that no camera should send, beside the camera's: {what is wrong: makes one}."""
    camera = driving.stack.graph.contract.cameras[0]
    shape = (camera.height, camera.width, 3)
    good, rng = np.zeros(shape, dtype=np.uint8), np.random.default_rng(0)

    def spoilt(pixels: np.ndarray = good, **fields: Any) -> Image:
        message = fill(Image(), pixels, "rgb8")
        message.header.stamp = driving.probe.node.get_clock().now().to_msg()
        for name, value in fields.items():
            setattr(message, name, value)
        return message

    def short() -> Image:
        message = spoilt()
        message.data = message.data[:100]
        return message

    return {
        "empty": Image,
        "half its size": lambda: spoilt(good[::2, ::2]),
        "48 MB": lambda: spoilt(np.zeros((4000, 4000, 3), dtype=np.uint8)),
        "fewer bytes than it says": short,
        "a wrong step": lambda: spoilt(step=7),
        "an unknown encoding": lambda: spoilt(encoding="rainbow16"),
        "of no height": lambda: spoilt(height=0),
        "random bytes": lambda: b"\x00\x01\x00\x00" + rng.bytes(int(rng.choice((0, 3, 40, 4000)))),
    }


def image_faults() -> dict[str, dict[str, Any]]:
    """The whole stack, driving, while broken images come in beside the camera's for 2 s: nothing may end, and after a
    reset it has to drive again; a case that fails says so under ``failed``."""
    found: dict[str, dict[str, Any]] = {}
    with Driving() as driving:
        driving.ready()
        topic = driving.stack.graph.contract.cameras[0].topic
        out = driving.probe.node.create_publisher(Image, topic, qos.IMAGE)
        for name, make in broken_images(driving).items():
            title = f"images beside the camera's, whole stack: {name}"
            try:
                driving.drive()
                before, begin = driving.stack.pids(), time.monotonic()
                for _ in range(20):
                    out.publish(make())
                    driving.probe.spin(0.1)
                met = {a.reason for a in driving.accounts.kept if a.tick > begin}
                driving.drive()
                assert driving.stack.pids() == before, f"ended: {before.keys() - driving.stack.pids().keys() or 'one'}"
                found[title] = {"reasons": sorted(met)}
            except AssertionError as error:
                found[title] = {"failed": str(error)}
    return found


#: What is done to which node.
ALL_FAULTS = (
    ("planner", "halt"), ("perception", "halt"), ("sim", "halt"), ("planner", "kill"), ("perception", "kill"),
    ("safety_gate", "halt"), ("sim", "kill"), ("safety_gate", "kill"),
)  # fmt: skip
#: Those after which the supervisor ends everything, so that nothing drives again by itself.
ENDS = (("sim", "kill"), ("safety_gate", "kill"))
#: Coincidences in a row that are borne.
MOST_COINCIDENCES = 5
#: s between two kills of a node, so that its supervisor does not give it up.
PACE = 1.2 * RESPAWN_WINDOW / MAX_RESPAWNS


def _rarity(fault: tuple[str, str]) -> int:
    """One trial of so many: those of the gate show the base's time-out, not the gate, and others end the stack."""
    return 5 if fault[0] == "safety_gate" or fault in ENDS else 1


def chosen(names: list[str] | None) -> tuple[tuple[str, str], ...]:
    """The faults called "NODE:KIND"; all where none is named.

    Raises:
        JepaRosError: there is no such fault.
    """
    known = {f"{node}:{fault}": (node, fault) for node, fault in ALL_FAULTS}
    unknown = [name for name in names or () if name not in known]
    if unknown:
        raise JepaRosError(f"no fault {', '.join(unknown)}; known: {', '.join(known)}")
    return tuple(known[name] for name in names or known)


def process_faults(
    trials: int, loads: tuple[str, ...] = tuple(LOADS), faults: tuple[tuple[str, str], ...] = ALL_FAULTS
) -> Iterator[dict[str, Any]]:
    """Every node killed and halted so many times under each load; yields one result a trial.

    ``recovered`` is false where the stack did not drive again, its gate reset and its simulator put back (``why`` is
    what gate and planner said); it is then started anew. ``latched``: it would not have without the gate's reset. Both
    are None where the supervisor ends everything. The faults take turns: a node that is killed too often within a
    minute is given up by its supervisor. A trial that a coincidence spoils is made again (``coincidences`` before it).
    """
    plan = [(load, *fault) for load in loads for k in range(trials) for fault in faults if k % _rarity(fault) == 0]
    at, last, killed, spoilt = 0, dict[str, Any](), dict[str, float](), 0
    while at < len(plan):
        with Driving() as driving:
            driving.ready()
            while at < len(plan):
                load, node, fault = plan[at]
                if fault == "kill":
                    driving.probe.spin(max(0.0, killed.get(node, -PACE) + PACE - time.monotonic()))
                    killed[node] = time.monotonic()
                try:
                    with LOADS[load]():
                        driving.pause()
                        found = _one(driving, node, fault)
                except CoincidenceError:
                    spoilt += 1
                    if spoilt > MOST_COINCIDENCES:
                        raise
                    if (node, fault) in ENDS:
                        break
                    continue
                if isinstance(found, str):  # it does not drive: because of the fault before
                    if not last:
                        raise AssertionError(f"the stack does not drive, before any fault: {found}")
                    yield {**last, "recovered": False, "latched": driving.latched, "why": found}
                    last = {}
                    break
                if last:
                    yield {**last, "recovered": True, "latched": driving.latched}
                last, at = {"load": load, **found, "coincidences": spoilt}, at + 1
                spoilt = 0
                if (node, fault) in ENDS:
                    yield {**last, "recovered": None, "latched": None}
                    last = {}
                    break
    if last:  # nothing came after it that would tell
        yield {**last, "recovered": None, "latched": None}


def _one(driving: Driving, node: str, fault: str) -> dict[str, Any] | str:
    """One trial; where the stack does not drive, what is the matter."""
    try:
        driving.drive()
    except AssertionError as error:
        return str(error)
    return gate_trial(driving, fault) if node == "safety_gate" else trial(driving, node, fault)
