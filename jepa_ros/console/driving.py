# SPDX-License-Identifier: Apache-2.0
"""Hold to drive: a command for as long as somebody says so, then standing still, then silence.

A base is told so on ``command_teleop``. An arm is moved by its tip: what is said goes to the node ``jog``, which makes
joint commands of it for the gate.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Sequence

import numpy as np
from geometry_msgs.msg import TwistStamped
from numpy.typing import NDArray
from rclpy.node import Node

from jepa_ros.console.desk import Refused
from jepa_ros.contract import RobotContract
from jepa_ros.nodes import qos
from jepa_ros.nodes.commands import CommandCodec
from jepa_ros.nodes.convert import to_stamp

#: A page that drives speaks ten times a second; after this long without a word the robot is told to stand still.
DEAD_MAN = 0.2
#: Seconds for which standing still is said after that; then the console is silent and the planner has the robot again.
STILL = 0.5
PERIOD = 0.05
#: What the node that moves an arm by hand listens to.
JOG = "jog/delta_twist_cmds"


class Driving:
    """The teleoperation of one robot. Its thread sleeps while nobody drives.

    Args:
        node: the console's. contract: of the robot.
    """

    def __init__(self, node: Node, contract: RobotContract) -> None:
        self._node, self._contract = node, contract
        self._codec = CommandCodec(contract)
        self._out = (
            qos.publisher(node, self._codec.input_type, "command_teleop", qos.COMMAND)
            if self._codec.is_base
            else qos.publisher(node, TwistStamped, JOG, qos.COMMAND)
        )
        self._command: tuple[NDArray[np.float64] | None, float] = (None, -math.inf)
        self._lock = threading.RLock()
        self._held, self._ended = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._repeat, name="console-drive", daemon=True)
        self._thread.start()

    @property
    def possible(self) -> bool:
        """Whether this robot is driven by hand from here: a base, or an arm whose node ``jog`` runs."""
        return self._codec.is_base or (self._by_tip and self._out.get_subscription_count() > 0)

    @property
    def _by_tip(self) -> bool:
        return self._contract.kinematics.kind == "arm"

    @property
    def axes(self) -> list[dict[str, object]]:
        """The axes of a command, for JSON; those of an arm's tip are called as a base's."""
        return [
            {"name": a.name.removeprefix("tip."), "unit": a.unit, "low": float(a.low), "high": float(a.high)}
            for a in self._contract.action
        ]

    @property
    def active(self) -> bool:
        """Whether somebody drives, or has just let go."""
        return self._command[0] is not None

    def drive(self, shares: Sequence[float]) -> None:
        """One word of somebody who holds the handle. See :data:`DEAD_MAN`.

        Args:
            shares: of the range of each axis, -1 to 1.

        Raises:
            Refused: the robot is no base, or the numbers do not fit.
        """
        share = np.clip(np.asarray(shares, dtype=float), -1.0, 1.0)
        if share.shape != (self._contract.action_dim,):
            raise Refused(f"expected {self._contract.action_dim} numbers")
        low, high = self._range()
        self.command(np.where(share >= 0.0, share * high, -share * low))

    def command(self, values: Sequence[float] | NDArray[np.float64]) -> None:
        """The same in the units of the axes; what is beyond their range is cut to it.

        Raises:
            Refused: as for :meth:`drive`.
        """
        if not self.possible:
            lacking = ": its node jog does not run" if self._by_tip else ""
            raise Refused(f"this robot is not driven by hand from here{lacking}")
        command = np.asarray(values, dtype=float)
        if command.shape != (self._contract.action_dim,) or not np.isfinite(command).all():
            raise Refused(f"expected {self._contract.action_dim} finite numbers")
        with self._lock:
            first = self._command[0] is None
            self._command = np.clip(command, *self._range()), time.monotonic()
            if first:
                self._say()
                self._held.set()

    def _range(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        low, high = (np.array([getattr(a, side) for a in self._contract.action]) for side in ("low", "high"))
        return low, high

    def let_go(self) -> None:
        """The handle was let go: stand still now."""
        with self._lock:
            if self._command[0] is not None:
                still = np.zeros(self._contract.action_dim)
                self._command = still, min(self._command[1], time.monotonic() - DEAD_MAN)
                self._say()

    def drop(self) -> None:
        """Say no more: something stronger, a stop, has the robot."""
        with self._lock:
            self._command = None, -math.inf

    def close(self) -> None:
        """End; a robot that was being driven is told to stand still first."""
        self.let_go()
        self._ended.set()
        self._held.set()
        self._thread.join(timeout=2.0)

    def _repeat(self) -> None:
        while not self._ended.is_set():
            self._held.wait()
            while not self._ended.wait(PERIOD):
                with self._lock:
                    if not self._say():
                        self._held.clear()
                        break

    def _say(self) -> bool:
        """Say the command that holds just now; whether there is one."""
        command, since = self._command
        if command is None:
            return False
        silent = time.monotonic() - since
        if silent > DEAD_MAN + STILL:
            self._command = None, -math.inf
            return False
        now = self._node.get_clock().now().nanoseconds * 1e-9
        said = command if silent <= DEAD_MAN else np.zeros_like(command)
        self._out.publish(self._codec.write_input(said, now) if self._codec.is_base else self._twist(said, now))
        return True

    def _twist(self, values: NDArray[np.float64], now: float) -> TwistStamped:
        """A twist of the tip in the arm's base frame; its gripper is not moved by hand."""
        message = TwistStamped()
        message.header.stamp, message.header.frame_id = to_stamp(now), self._contract.frames.base
        for axis, value in zip(self._contract.action, values, strict=True):
            part, _, along = axis.name.removeprefix("tip.").partition(".")
            if part in ("linear", "angular"):
                setattr(getattr(message.twist, part), along, float(value))
        return message
