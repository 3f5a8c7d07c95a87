# SPDX-License-Identifier: Apache-2.0
"""Running a graph of :mod:`jepa_ros.bringup.graph` as processes: start, watch, start again, stop in order.

:class:`Stack` is what ``jepa-ros up``, the demonstration and the tests use where there is no ``ros2 launch``. One
supervisor thread owns the processes. The gate starts first and is stopped last; every child dies with its parent.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from jepa_ros.bringup import graph as bringup
from jepa_ros.bringup.process import Fault, Process, exit_text
from jepa_ros.bringup.spec import END_TIMEOUT, RESPAWN_DELAY, NodeSpec, absolute
from jepa_ros.errors import JepaRosError
from jepa_ros.ros_env import listeners

#: A node that dies more often than this within the window stays dead, and the whole graph stops.
MAX_RESPAWNS, RESPAWN_WINDOW = 5, 60.0
#: Seconds between the end of planner and perception and that of the rest, in which the gate brings the robot to rest.
SETTLE = 0.4
#: Exit code of a node that was given something wrong (see nodes/process.py): starting it again cannot help.
INPUT_ERROR = 2
#: Seconds to look for another stack where other ROS processes are. Discovery takes 0.1 to 0.3 s, and just over 3 s
#: where the first announcements were lost: participants repeat them every 3 s.
DISCOVERY = 3.5


class StackError(JepaRosError):
    """The graph could not be started, or a process of it failed; the text names the process and its last words."""


class Stack:
    """A graph of processes, as a context manager::

        with Stack("sim", {"seed": "3"}) as stack:
            stack.wait_ready()
            ...                      # talk to the nodes
            stack.check()            # raises StackError when a process failed
        # here every process has ended, the gate last

    Args:
        kind: "sim", "robot" or "replay".
        given: arguments as text, as on the command line of ``jepa-ros up``.
        on_line: called with (process, line) for every line of output, from other threads; None keeps silent.
        extra: further processes to run beside the graph.
        environment: variables for the processes, on top of the present ones.

    Raises:
        BringupError, ContractError: the arguments are wrong.
    """

    def __init__(
        self,
        kind: str,
        given: Mapping[str, str] | None = None,
        *,
        on_line: Callable[[str, str], None] | None = None,
        extra: tuple[NodeSpec, ...] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.graph = bringup.graph(kind, given)
        self.faults: list[Fault] = []
        self._on_line = on_line
        self._environment = {**os.environ, **bringup.environment(self.graph.contract), **(environment or {})}
        self._processes = {spec.executable: Process(spec) for spec in (*self.graph.nodes, *extra)}
        self._lock = threading.Lock()
        self._fatal = threading.Event()
        self._stopping = threading.Event()
        self._hurry = threading.Event()
        self._supervisor = threading.Thread(target=self._supervise, name="supervisor", daemon=True)

    # ------------------------------------------------------------ use

    def __enter__(self) -> Stack:
        self.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self.stop()

    def start(self) -> None:
        """Start every process, the gate first.

        Raises:
            StackError: a gate runs already in this namespace and domain.
        """
        os.environ.update(bringup.environment())
        self._refuse_a_second_stack()
        self._supervisor.start()

    def wait_ready(self, timeout: float = 90.0) -> None:
        """Wait until the gate is there and every managed node is active.

        Raises:
            StackError: a process failed, or is not ready after ``timeout`` seconds; names it.
        """
        waiting = {
            f"{self._space}/{name}": process.name
            for process in self._processes.values()
            for name in process.spec.lifecycle
            if process.spec.parameters.get("autostart")
        }
        gate = None if self.graph.gate is None else f"{self._space}/{self.graph.gate.node_name}"
        watcher = self._watcher()
        end = time.monotonic() + timeout
        try:
            while True:
                self.check()
                if self._stopping.is_set():
                    raise StackError("the stack was stopped before it was ready")
                states = {name: watcher.state(name) for name in waiting}
                watcher.spin(0.05)
                missing = [n for n in waiting if states[n] != "active"]
                if not missing and (gate is None or gate in watcher.nodes()):
                    return
                if time.monotonic() > end:
                    name = missing[0] if missing else str(gate)
                    process = self._processes.get(waiting.get(name, self.graph.nodes[0].executable))
                    lines = tuple(process.lines) if process else ()
                    what = f"not ready after {timeout:.0f} s (state: {states.get(name) or 'no answer'})"
                    raise StackError(str(Fault(name.lstrip("/"), what, lines)))
        finally:
            watcher.close()

    def check(self) -> None:
        """Raise :class:`StackError` if the graph had to stop, with the process that failed and its last lines."""
        if self._fatal.is_set():
            fault = next(f for f in self.faults if f.fatal)
            raise StackError(str(fault))

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the graph has failed; True when it has, False after ``timeout`` seconds."""
        return self._fatal.wait(timeout)

    def pid(self, process: str) -> int | None:
        """Process id, or None while it does not run."""
        found = self._processes[process]
        return found.popen.pid if found.popen is not None and found.alive else None

    def pids(self) -> dict[str, int]:
        """Ids of the processes that run now."""
        return {name: pid for name in self._processes if (pid := self.pid(name)) is not None}

    def lines(self, process: str) -> tuple[str, ...]:
        """The last lines that a process wrote."""
        return tuple(self._processes[process].lines)

    def hurry(self) -> None:
        """While it stops: kill all but the gate at once. Returns immediately; safe in a signal handler."""
        self._hurry.set()

    def stop(self) -> None:
        """End every process in order, the gate last, and wait for it; calling it twice is harmless."""
        self._stopping.set()
        if self._supervisor.is_alive():
            self._supervisor.join()

    # ------------------------------------------------------------ supervision (in its own thread)

    def _supervise(self) -> None:
        try:
            for process in self._processes.values():
                self._spawn(process)
            while not self._stopping.wait(0.05):
                for process in self._processes.values():
                    self._look_at(process)
                if self._fatal.is_set():
                    break
        finally:
            self._end_all()

    def _spawn(self, process: Process) -> None:
        try:
            process.start(self._environment, self._on_line)
        except OSError as error:
            self._fault(process, f"cannot be started: {error.strerror}", fatal=True)

    def _look_at(self, process: Process) -> None:
        now = time.monotonic()
        if process.start_at is not None:
            if now >= process.start_at:
                self._spawn(process)
            return
        if process.popen is None or process.popen.poll() is None:
            return
        if process.reader is not None:
            process.reader.join(1.0)
        code = process.popen.returncode
        if code == 0 and process.spec.command:
            process.popen = None  # a player at the end of its bag
            return
        what = "ended without being asked to" if code == 0 else f"died: {exit_text(code)}"
        recent = [t for t in process.starts if now - t < RESPAWN_WINDOW]
        respawn = process.spec.respawn and code != INPUT_ERROR and len(recent) <= MAX_RESPAWNS
        process.popen = None
        if respawn:
            process.start_at = now + RESPAWN_DELAY
            what += f"; it is started again in {RESPAWN_DELAY:g} s"
        elif process.spec.respawn and code != INPUT_ERROR:
            what += f", for the {len(recent)}th time within {RESPAWN_WINDOW:.0f} s; given up"
        self._fault(process, what, fatal=process.spec.required or (process.spec.respawn and not respawn))

    def _fault(self, process: Process, what: str, fatal: bool) -> None:
        fault = Fault(process.name, what, tuple(process.lines), fatal)
        with self._lock:
            self.faults.append(fault)
        if self._on_line is not None:
            self._on_line("up", f"{fault.process}: {what}")
        if fatal:
            self._fatal.set()

    def _end_all(self) -> None:
        """The brain first; then, once the gate has brought the robot to rest, the rest; the gate last."""
        gate = None if self.graph.gate is None else self._processes[self.graph.gate.executable]
        others = [p for p in self._processes.values() if p is not gate]
        brain = [p for p in others if p.spec.lifecycle]
        self._end(brain)
        if gate is not None and gate.alive and any(p.alive for p in others) and not self._hurry.is_set():
            self._hurry.wait(SETTLE)
        self._end([p for p in others if p not in brain])
        if gate is not None:
            self._end([gate], END_TIMEOUT + self.graph.contract.watchdog.exit_duration)
        for process in self._processes.values():
            if process.reader is not None:
                process.reader.join(1.0)

    def _end(self, processes: list[Process], timeout: float = END_TIMEOUT) -> None:
        gate = "" if self.graph.gate is None else self.graph.gate.executable
        for process in processes:
            if process.popen is not None and process.alive:
                kill = self._hurry.is_set() and process.name != gate
                process.popen.send_signal(signal.SIGKILL if kill else signal.SIGTERM)
        end = time.monotonic() + timeout
        for process in processes:
            if process.popen is None:
                continue
            while process.alive and time.monotonic() < end:
                if self._hurry.is_set() and process.name != gate:
                    break
                time.sleep(0.02)
            if process.alive:
                process.popen.kill()
                process.popen.wait()
                if not self._hurry.is_set():
                    self._fault(process, f"did not end within {timeout:.0f} s and was killed", fatal=False)

    # ------------------------------------------------------------ the ROS side

    @property
    def _space(self) -> str:
        return absolute(self.graph.nodes[0].namespace).rstrip("/")

    def _watcher(self) -> Any:
        from jepa_ros.nodes.lifecycle import Watcher

        domain = self._environment.get("ROS_DOMAIN_ID", "")
        return Watcher(f"jepa_up_{os.getpid()}", int(domain) if domain.isdigit() else None)

    def _refuse_a_second_stack(self) -> None:
        if self.graph.gate is None:
            return
        domain = self._environment.get("ROS_DOMAIN_ID", "") or "0"
        alone = self._environment["ROS_AUTOMATIC_DISCOVERY_RANGE"] in ("LOCALHOST", "OFF")
        if alone and domain.isdecimal() and sys.platform == "linux" and not listeners(int(domain))[1]:
            return
        gate = f"{self._space}/{self.graph.gate.node_name}"
        watcher = self._watcher()
        try:
            end = time.monotonic() + DISCOVERY
            while gate not in watcher.nodes() and time.monotonic() < end:
                watcher.spin(0.1)
            if gate in watcher.nodes():
                raise StackError(
                    f"a gate '{gate}' runs already in ROS_DOMAIN_ID {domain}: stop the other stack, or choose another "
                    "domain (export ROS_DOMAIN_ID=...) or another namespace (namespace:=...)"
                )
        finally:
            watcher.close()
