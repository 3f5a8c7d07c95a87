# SPDX-License-Identifier: Apache-2.0
"""Planner on one machine, gate and robot on another: what the gate does while the link between them is impaired."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.rigs.network.network import ENVIRONMENT, Network, NetworkError
from jepa_ros.ros_env import ros_environment
from jepa_ros.statistics import quantile

#: The planner never arrives, for there is nowhere to go in a picture of noise; it searches a little.
PLANNER = "{arrival.arrive: 1.0e-9, arrival.leave: 1.0e-9, search.samples: 64, search.elites: 8}\n"


@dataclass(frozen=True)
class Said:
    """One state of the gate: when it came [s, monotonic], mode, reason word, age of the image behind the command."""

    time: float
    mode: str
    reason: str
    image_age: float | None
    moving: bool


class TwoMachines:
    """The stack on two namespaces, as a context manager.

    Args:
        folder: for logs and the planner's settings. model: checkpoint for the arena.
    """

    def __init__(self, folder: Path, model: str = "arena") -> None:
        self.network = Network()
        self.said: list[Said] = []
        self._folder, self._model = folder, model
        self._children: list[subprocess.Popen[str]] = []

    def __enter__(self) -> TwoMachines:
        """Start both sides; returns before they are ready (see :meth:`until`)."""
        self.network.__enter__()
        try:
            settings = self._folder / "planner.yaml"
            settings.write_text(PLANNER, encoding="utf-8")
            brain, robot = self.network.sides
            up = ["-m", "jepa_ros.commands.cli", "up", "robot", "robot:=arena", "camera:=false"]
            model = [f"model:={self._model}", f"planner_params:={settings}", "composed:=true"]
            self._start(robot, "gate", [*up, "brain:=false", "auto_enable:=true"])
            self._start(brain, "brain", [*up, "gate:=false", *model])
            self._robot = self._start(robot, "robot", ["-m", "benchmarks.rigs.network.network_robot"], pipe=True)
            threading.Thread(target=self._read, daemon=True).start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """End the processes, then the network."""
        for child in reversed(self._children):
            child.terminate()
        for child in self._children:
            try:
                child.wait(10.0)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        self.network.__exit__()

    def skew(self, seconds: float) -> None:
        """From now on the camera's clock is ahead by so much."""
        assert self._robot.stdin is not None
        self._robot.stdin.write(f"{seconds}\n")
        self._robot.stdin.flush()

    def until(self, condition: Callable[[Said], bool], what: str, timeout: float = 60.0) -> Said:
        """The next state of the gate that meets a condition.

        Raises:
            NetworkError: none came in time; it says what came last, and what the processes wrote.
        """
        end, seen = time.monotonic() + timeout, len(self.said)
        while True:
            for said in self.said[seen:]:
                if condition(said):
                    return said
            seen = max(seen, len(self.said) - 1)
            if time.monotonic() > end:
                logs = "\n".join(path.read_text()[-1500:] for path in sorted(self._folder.glob("*.log")))
                raise NetworkError(f"not within {timeout:.0f} s: {what}; last: {self.said[-1:]}\n{logs}")
            time.sleep(0.01)

    def driving(self, timeout: float = 60.0) -> Said:
        """Wait until the robot drives; a gate that latched on what was done to the link is reset first, and again."""
        end = time.monotonic() + timeout
        while True:
            if self.said and self.said[-1].mode == "ESTOP":
                self._reset()
            said = self.until(
                lambda s: s.mode == "ESTOP" or (s.mode in ("ACTIVE", "LIMITED") and s.moving),
                "a robot that drives",
                end - time.monotonic(),
            )
            if said.mode != "ESTOP":
                return said

    def during(self, seconds: float) -> list[Said]:
        """What the gate says in the next `seconds`."""
        first = len(self.said)
        time.sleep(seconds)
        return self.said[first:]

    # ------------------------------------------------------------ details

    def _reset(self) -> None:
        words = [sys.executable, "-m", "jepa_ros.commands.cli", "gate", "reset"]
        done = subprocess.run(self.network.inside(self.network.sides[1], words), env=self._environment(),
                              capture_output=True, text=True, timeout=30.0)  # fmt: skip
        if done.returncode:
            raise NetworkError(f"the gate could not be reset: {(done.stderr or done.stdout).strip()[-300:]}")

    def _start(self, side: str, name: str, words: list[str], pipe: bool = False) -> subprocess.Popen[str]:
        with open(self._folder / f"{name}.log", "w", encoding="utf-8") as log:
            child = subprocess.Popen(
                self.network.inside(side, [sys.executable, *words]),
                stdin=subprocess.PIPE if pipe else subprocess.DEVNULL,
                stdout=subprocess.PIPE if pipe else log,
                stderr=log,
                text=True,
                env=self._environment(),
            )
        self._children.append(child)
        return child

    @staticmethod
    def _environment() -> dict[str, str]:
        return ros_environment({**os.environ, **ENVIRONMENT}, ROS_DOMAIN_ID="1", PYTHONUNBUFFERED="1")

    def _read(self) -> None:
        assert self._robot.stdout is not None
        for line in self._robot.stdout:
            if line.startswith("{"):
                self.said.append(Said(**json.loads(line)))


def link(machines: TwoMachines, seconds: float, **impairment: float) -> dict[str, Any]:
    """The age of the image behind the gate's output [ms], and the share of the time that the robot may drive."""
    machines.driving()
    machines.network.set(**impairment)
    time.sleep(1.0)
    said = machines.during(seconds)
    machines.network.set()
    let_through = [s for s in said if s.mode in ("ACTIVE", "LIMITED")]
    ages = [1e3 * s.image_age for s in let_through if s.image_age is not None]
    reasons = sorted({s.reason for s in said if s.mode == "STOPPED"})
    return {
        "driving": len(let_through) / max(1, len(said)),
        "image_age_ms": {"p50": quantile(ages, 0.5), "p99": quantile(ages, 0.99)},
        "stopped_by": reasons,
    }


def cut(machines: TwoMachines, seconds: float) -> dict[str, Any]:
    """Cut the link for `seconds`: when the gate stops and the last zero leaves, and when it drives again [s].

    ``waited_for``: seconds by the reasons for which it stood after the link was back.
    """
    machines.driving()
    begun = time.monotonic()
    machines.network.set(cut=True)
    stopped = machines.until(lambda s: s.mode == "STOPPED", "a stop")
    zero = machines.until(lambda s: not s.moving, "zeros")
    while time.monotonic() < begun + seconds:
        time.sleep(0.01)
    first = len(machines.said)
    joined = time.monotonic()
    before = [s for s in machines.said[:first] if s.time > zero.time]
    machines.network.set()
    again = machines.driving()
    in_the_way = [s for s in machines.said[first:] if s.time <= again.time and s.mode == "STOPPED"]
    reasons = {s.reason: 0.0 for s in in_the_way}
    for earlier, later in pairwise([*in_the_way, again]):
        reasons[earlier.reason] += later.time - earlier.time
    return {
        "stopped_after": stopped.time - begun,
        "zero_after": zero.time - begun,
        "reason": stopped.reason,
        "moved_while_cut": any(s.moving for s in before),
        "drives_after_joining": again.time - joined,
        "waited_for": reasons,
    }


def skewed(machines: TwoMachines, seconds: float, skew: float) -> dict[str, Any]:
    """The share of the time that the robot may drive while the camera's clock is ahead by `skew` [s]."""
    machines.driving()
    machines.skew(skew)
    time.sleep(1.5)
    said = machines.during(seconds)
    machines.skew(0.0)
    time.sleep(1.0)
    stops = [s for s in said if s.mode not in ("ACTIVE", "LIMITED")]
    return {"driving": 1.0 - len(stops) / max(1, len(said)), "stopped_by": sorted({s.reason for s in stops})}
