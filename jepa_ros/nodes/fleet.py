# SPDX-License-Identifier: Apache-2.0
"""The ``fleet`` process: perception and planner of several robots around one model, each robot in its own namespace.

A robot's two nodes are those that it would have by itself: names, topics, parameters, lifecycle. Its gate, camera and
drivers run elsewhere, in the same namespace. Each of ``workers`` threads has a fixed share of the robots, so that a
robot's nodes are never in two threads at once. A thread encodes the images that wait in one pass, plans for the oldest
first, and between two plans hears what has come meanwhile. ``fleet/status`` says once a second how it goes.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock, ClockType
from rclpy.executors import ConditionReachedException, ShutdownException, SingleThreadedExecutor, TimeoutException
from rclpy.node import Node
from rclpy.parameter import Parameter

from jepa_ros.memory.knowledge import Picture
from jepa_ros.names import is_namespace
from jepa_ros.nodes import params, perception, planner, qos
from jepa_ros.nodes.lifecycle import AUTOSTART
from jepa_ros.nodes.process import PATIENCE, Signals, leave, run
from jepa_ros.processor import SWITCH

PARAMS = (
    params.Param("robots", "", "Namespaces of the robots, with commas between them."),
    params.Param("workers", 2, "Threads that share the robots among them; best is one a core.", low=1, high=256),
    params.Param("memory", "", "Folder of the robots' long-term memories, one folder a robot; empty keeps nothing."),
    params.Param("memory_read_only", False, "The folder is one memory that all robots read and none writes."),
)
#: Answers that the figures of the status are taken over.
KEPT = 500


class Hearing(SingleThreadedExecutor):
    """An executor that tells whether there was something to do."""

    def hear(self, timeout: float) -> bool:
        """Do the next thing that is ready within `timeout` seconds."""
        try:
            handler, _, _ = self.wait_for_ready_callbacks(timeout_sec=timeout)
        except (TimeoutException, ConditionReachedException, ShutdownException):
            return False
        handler()
        if (error := handler.exception()) is not None:
            raise error
        return True


class Share:
    """The robots of one thread.

    Attributes:
        together: how many images each pass of the encoder had, the last ones. late: seconds from an image's arrival
            until its command left, the last ones.
    """

    def __init__(self) -> None:
        self.executor = Hearing()
        self.together: deque[int] = deque(maxlen=KEPT)
        self.late: deque[float] = deque(maxlen=KEPT)
        self._waiting: list[perception.Begun] = []
        self._came: dict[perception.PerceptionNode, float] = {}
        self._latents: deque[tuple[perception.PerceptionNode, planner.PlannerNode, Any, float, Picture]] = deque()

    def add(self, eye: perception.PerceptionNode, mind: planner.PlannerNode) -> None:
        """Take a robot's two nodes."""
        eye.gather = self._gather
        eye.listener = lambda latent, stamp, picture: self._latents.append((eye, mind, latent, stamp, picture))
        self.executor.add_node(eye)
        self.executor.add_node(mind)

    def _gather(self, begun: perception.Begun) -> None:
        # A robot whose last image still waits has a newer one now: an answer to the old one would come too late.
        self._waiting = [b for b in self._waiting if b.node is not begun.node]
        self._waiting.append(begun)
        self._came[begun.node] = time.monotonic()

    def spin_once(self, timeout: float) -> None:
        """Hear what comes within `timeout` seconds, and answer all images that then wait."""
        if self.executor.hear(timeout):
            self._hear_all()
        while self._waiting or self._latents:
            if self._waiting:
                batch, self._waiting = self._waiting, []
                self.together.append(len(batch))
                perception.answer(batch)
            if self._latents:
                eye, mind, latent, stamp, picture = self._latents.popleft()
                mind.take_latent(latent, stamp, picture)
                self.late.append(time.monotonic() - self._came[eye])
            self._hear_all()

    def _hear_all(self) -> None:
        while self.executor.hear(0.0):
            pass


class FleetNode(Node):
    """Says which robots there are, and how the threads keep up."""

    def __init__(self) -> None:
        super().__init__("fleet")
        known = {p.name for p in (*perception.PARAMS, *planner.PARAMS, AUTOSTART)}
        self.values = params.declare(self, PARAMS, known)
        names = [name.strip().strip("/") for name in self.values.robots.split(",")]
        wrong = [n for n in names if not n or not is_namespace(n)]
        if wrong or len(set(names)) != len(names):
            raise params.ParameterError(
                f"robots: expected different namespaces with commas between them, found '{self.values.robots}'"
            )
        self.robots = names
        self.shares = [Share() for _ in range(min(self.values.workers, len(names)))]
        self._status_out = qos.publisher(self, DiagnosticArray, "fleet/status", qos.STATUS)
        self._timer = self.create_timer(1.0, self._tell, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def _tell(self) -> None:
        late = np.array([v for share in self.shares for v in list(share.late)])
        together = [v for share in self.shares for v in list(share.together)]
        facts = {"robots": len(self.robots), "workers": len(self.shares), "answers": len(late)}
        if len(late):
            facts |= {"answer_p50_s": f"{np.median(late):.4f}", "answer_p99_s": f"{np.quantile(late, 0.99):.4f}"}
            facts |= {"together_mean": f"{np.mean(together):.2f}"}
        pairs = [KeyValue(key=key, value=str(value)) for key, value in facts.items()]
        message = DiagnosticArray(status=[DiagnosticStatus(name="fleet", message="", values=pairs)])
        message.header.stamp = self.get_clock().now().to_msg()
        self._status_out.publish(message)


def build() -> list[Node]:
    """The fleet's node, then perception and planner of each robot, joined."""
    fleet = FleetNode()
    known = {p.name for p in (*perception.PARAMS, *planner.PARAMS, *PARAMS, AUTOSTART)}
    nodes: list[Node] = [fleet]
    for number, robot in enumerate(fleet.robots):
        own = []
        if fleet.values.memory and not fleet.values.memory_read_only:
            own = [Parameter("memory", value=str(Path(fleet.values.memory) / robot.replace("/", "_")))]
        eye = perception.PerceptionNode(also_known=known, namespace=robot)
        mind = planner.PlannerNode(also_known=known, embedded=True, namespace=robot, parameter_overrides=own)
        fleet.shares[number % len(fleet.shares)].add(eye, mind)
        nodes += [eye, mind]
    return nodes


def spin(nodes: Sequence[Node], signals: Signals) -> None:
    """Each share in a thread of its own, the fleet's node in this one, until a signal or a fault in any of them."""
    sys.setswitchinterval(SWITCH)
    fleet = nodes[0]
    assert isinstance(fleet, FleetNode)
    faults: list[BaseException] = []

    def work(share: Share) -> None:
        try:
            while not signals.asked and not faults:
                share.spin_once(PATIENCE)
        except BaseException as error:
            faults.append(error)

    threads = [threading.Thread(target=work, args=(share,), name=f"share-{k}") for k, share in enumerate(fleet.shares)]
    for thread in threads:
        thread.start()
    executor = Hearing()
    executor.add_node(fleet)
    while not signals.asked and not faults:
        executor.hear(PATIENCE)
    for thread in threads:
        thread.join()
    if faults:
        raise faults[0]


def main(args: Sequence[str] | None = None) -> int:
    """Run the fleet until a signal; return the exit code."""
    return run(build, "fleet", args, spin)


if __name__ == "__main__":
    leave(main())
