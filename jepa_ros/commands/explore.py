# SPDX-License-Identifier: Apache-2.0
"""`jepa-ros explore`: drive a robot about under its gate, as an operator would, so that it can be learned from.

It needs the gate and the camera, not a model (`jepa-ros up robot robot:=FILE brain:=false record:=true`), publishes on
`command_teleop`, and moves nothing while the gate is not enabled. Stand by: it drives wherever the gate lets it.
"""

from __future__ import annotations

import argparse
import signal
import time
from typing import Any

from jepa_ros.errors import JepaRosError
from jepa_ros.options import namespace, seed, share, time_span
from jepa_ros.progress import StatusLine
from jepa_ros.ros_env import ready_for_ros, starting_ros
from jepa_ros.worlds import contract_of

#: Seconds without a gate or without images after which it gives up.
PATIENCE = 10.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--robot", default="arena", help="contract: a name or a YAML file (default: %(default)s)")
    parser.add_argument(
        "--minutes", type=time_span, default=10.0, help="driving time, counted in control steps (default: %(default)s)"
    )
    parser.add_argument(
        "--speed", type=share, default=1.0, help="fraction of the contract's range (default: %(default)s)"
    )
    parser.add_argument("--seed", type=seed, default=0, help="seed of the policy (default: %(default)s)")
    parser.add_argument("--namespace", type=namespace, default="", help="namespace of the robot's nodes")
    parser.add_argument("--use-sim-time", action="store_true", help="take the time from /clock")


def main(args: argparse.Namespace) -> int:
    """Drive until the time is full or a signal; 0 when it was driven."""
    contract = contract_of(args.robot)
    ready_for_ros()
    ended: list[int] = []
    before = {s: signal.signal(s, lambda number, _: ended.append(number)) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        with Explorer(contract, args.seed, args.speed, args.namespace, args.use_sim_time) as explorer:
            steps = round(args.minutes * 60.0 * contract.rate)
            driven = explorer.drive(steps, lambda: bool(ended), StatusLine())
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    print(f"drove {driven * contract.period / 60.0:.1f} minutes ({driven} steps) in namespace '{args.namespace}'")
    return 0 if driven else 1


class Explorer:
    """The explorer's node in this process, as a context manager; the robot is asked to stand when it ends."""

    def __init__(self, contract: Any, seed: int, scale: float, namespace: str = "", sim_time: bool = False) -> None:
        import rclpy
        from rclpy.context import Context
        from rclpy.executors import SingleThreadedExecutor
        from rclpy.parameter import Parameter

        from jepa_ros.nodes.explorer import ExplorerNode

        self._contract = contract
        self._context = Context()
        with starting_ros():
            rclpy.init(args=[], context=self._context)
        options = {"namespace": namespace, "parameter_overrides": [Parameter("use_sim_time", value=sim_time)]}
        self.node = ExplorerNode(contract, seed, scale, context=self._context, **options)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)

    def drive(self, steps: int, stop: Any = lambda: False, line: StatusLine | None = None) -> int:
        """Drive until the gate has let `steps` more control steps through, or until `stop()`; returns how many.

        Raises:
            JepaRosError: no image, no gate, or a gate that lets nothing through for too long; it says which.
        """
        node = self.node
        first = node.driven
        mark, since = node.driven, time.monotonic()
        while node.driven - first < steps and not stop():
            self._executor.spin_once(timeout_sec=0.1)
            now = time.monotonic()
            if node.driven != mark:
                mark, since = node.driven, now
            elif now - since > PATIENCE + 2.0 * self._contract.period:
                raise JepaRosError(self._why())
            if line is not None:
                line.tell(f"{node.driven - first} of {steps} steps, gate {node.mode} {node.reason}")
        if line is not None:
            line.end()
        self.halt()
        return node.driven - first

    def halt(self) -> None:
        """Ask for a standstill for a while, then fall silent."""
        end = time.monotonic() + 0.3
        while time.monotonic() < end:
            self.node.stop()
            self._executor.spin_once(timeout_sec=0.05)

    def _why(self) -> str:
        node, topic = self.node, self._contract.cameras[0].image_topic
        if not node.steps:
            return f"no image on '{topic}' for {PATIENCE:g} s: is the camera running? `jepa-ros doctor` looks"
        if not node.mode:
            return f"no gate was heard on 'safety_gate/state' for {PATIENCE:g} s: is the stack running?"
        hint = ": `jepa-ros gate enable`" if node.mode == "DISABLED" else ""
        return f"the gate has let nothing through for {PATIENCE:g} s ({node.mode}, {node.reason}){hint}"

    def __enter__(self) -> Explorer:
        """The explorer itself."""
        return self

    def __exit__(self, *_: Any) -> None:
        """Leave the graph."""
        self._executor.shutdown(timeout_sec=1.0)
        self.node.destroy_node()
        self._context.try_shutdown()
