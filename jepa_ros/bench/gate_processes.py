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
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from nav_msgs.msg import Odometry
from sensor_msgs.msg import Image
from std_srvs.srv import Trigger

from jepa_ros.bench.gate_graph import MOVING, Accounts, cpu_load, memory_load
from jepa_ros.bench.ros_probe import Probe
from jepa_ros.errors import JepaRosError
from jepa_ros.nodes import qos
from jepa_ros.nodes.convert import fill
from jepa_ros.stack import MAX_RESPAWNS, RESPAWN_WINDOW, Stack

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
        self._paused = -math.inf

    def ready(self) -> None:
        """Wait until the stack runs."""
        self.stack.wait_ready()
        self.accounts.until(MOVING, timeout=60.0)

    def drive(self) -> None:
        """Wait until it drives, from where there is room, whatever went on before."""
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

        A fault costs up to three counted stops: its own, the clock that stands or jumps, and the simulator that is put
        back, which no world model foresees.
        """
        w = self.watchdog
        apart = 3.0 * w.resume_latch_window / w.resume_latch_count
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


def trial(driving: Driving, node: str, fault: str) -> dict[str, Any]:
    """One fault of one node of a stack that drives, and what the gate did.

    Args:
        fault: "kill" (SIGKILL, started again by the supervisor) or "halt" (SIGSTOP, then SIGCONT).

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
    stop = account.sent - when
    begun = max(when, account.tick - account.command_age) if node != "sim" else when
    return {
        "node": node,
        "fault": fault,
        "stop_s": stop,
        "over_s": account.sent - begun - limit,
        "reason": account.reason,
    }


def gate_trial(driving: Driving) -> dict[str, Any]:
    """The gate itself halted: the base's own time-out has to stop it (s until it stands, by the true speed).

    A killed gate is as silent as a halted one; but the supervisor then ends everything, and the simulator with it.
    """
    driving.probe.until(lambda: driving.true_speed() > 0.05, "true motion", 20.0)
    pid = driving.stack.pid("safety_gate")
    assert pid is not None
    when = time.monotonic()
    os.kill(pid, signal.SIGSTOP)
    found: dict[str, Any] = {"node": "safety_gate", "fault": "halt", "over_s": None, "stop_s": None}
    with contextlib.suppress(AssertionError):
        driving.probe.until(lambda: driving.true_speed() < 0.01, "the base to stand", 3.0)
        found["stop_s"] = time.monotonic() - when
    os.kill(pid, signal.SIGCONT)
    first = driving.accounts.stop_after(time.monotonic(), 2.0)
    return {**found, "reason": f"the base's time-out; on its return: {'nothing' if first is None else first.reason}"}


#: What is done to which node.
ALL_FAULTS = (
    ("planner", "halt"), ("perception", "halt"), ("sim", "halt"), ("planner", "kill"), ("perception", "kill"),
    ("safety_gate", "halt"),
)  # fmt: skip
#: s between two kills of a node, so that its supervisor does not give it up.
PACE = 1.2 * RESPAWN_WINDOW / MAX_RESPAWNS


def _rarity(fault: tuple[str, str]) -> int:
    """One trial of so many: that of the gate shows the base's time-out, not the gate."""
    return 5 if fault[0] == "safety_gate" else 1


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

    ``recovered`` is false where the stack did not drive again by itself (``why`` is what gate and planner said); it is
    then started anew. The faults take turns: a node that is killed too often within a minute is given up by its
    supervisor.
    """
    plan = [(load, *fault) for load in loads for k in range(trials) for fault in faults if k % _rarity(fault) == 0]
    at, last, killed = 0, dict[str, Any](), dict[str, float]()
    while at < len(plan):
        with Driving() as driving:
            driving.ready()
            while at < len(plan):
                load, node, fault = plan[at]
                driving.pause()
                if fault == "kill":
                    driving.probe.spin(max(0.0, killed.get(node, -PACE) + PACE - time.monotonic()))
                    killed[node] = time.monotonic()
                with LOADS[load]():
                    found = _one(driving, node, fault)
                if isinstance(found, str):  # it does not drive: because of the fault before
                    if not last:
                        raise AssertionError(f"the stack does not drive, before any fault: {found}")
                    yield {**last, "recovered": False, "why": found}
                    last = {}
                    break
                if last:
                    yield {**last, "recovered": True}
                last, at = {"load": load, **found}, at + 1
    if last:
        yield {**last, "recovered": True}


def _one(driving: Driving, node: str, fault: str) -> dict[str, Any] | str:
    """One trial; where the stack does not drive, what is the matter."""
    try:
        driving.drive()
    except AssertionError as error:
        return str(error)
    return gate_trial(driving) if node == "safety_gate" else trial(driving, node, fault)
