# SPDX-License-Identifier: Apache-2.0
"""An arm's body: how the planner's action becomes a joint command, and which action a joint command made.

The action is a twist of the tip and the gripper's rate (zeros stand still). The command is what the gate sees:
positions or rates of the arm's joints and then of the gripper's, in the order of ``contract.axes``.
"""

from __future__ import annotations

import numpy as np

from jepa_ros.arm.inverse import InverseKinematics, Motion
from jepa_ros.arm.kinematics import ArmKinematics, Pose
from jepa_ros.arm.urdf import ArmError
from jepa_ros.contract import RobotContract
from jepa_ros.safety.inputs import JointsIn

TWIST = ("linear.x", "linear.y", "linear.z", "angular.x", "angular.y", "angular.z")
#: The tip may cover the room left to the edge of its workspace in 1 / EDGE seconds, no faster [1/s].
EDGE = 4.0
#: Room [rad] that inverse kinematics keeps to the ends of the contract's joint ranges, where the gate would stop it.
ROOM = 0.02
#: The first command of an arm that stands lies no further ahead than this [rad or m]; half of what the gate admits.
FIRST = 0.1


class ArmBody:
    """The arm of a contract.

    Args:
        contract: of kind ``arm``.

    Attributes:
        kinematics, inverse: its kinematics. size: number of values J of a joint command.
        last: what inverse kinematics last said of the motion that was asked for; None before the first.

    Raises:
        ArmError: contract and URDF do not fit.
    """

    def __init__(self, contract: RobotContract) -> None:
        arm = contract.kinematics.arm
        self.kinematics = ArmKinematics.from_contract(contract)
        assert arm is not None and contract.limits.position_low is not None
        assert contract.limits.position_high is not None
        self.contract, self.size, self._n = contract, len(contract.axes), len(arm.joints)
        self.names = tuple(axis.name for axis in contract.axes)
        self.positions = contract.command.values == "position"
        self.period = 1.0 / contract.gate_rate
        self.low, self.high = np.array(arm.workspace)
        parts = [a.name.removeprefix("tip.") for a in contract.action]
        self._rows = [TWIST.index(name) for name in parts if name in TWIST]
        self._moved = [i for i, name in enumerate(parts) if name in TWIST]
        self._grips = parts.index("gripper") if "gripper" in parts else None
        self._range = contract.limits.position_low, contract.limits.position_high
        low, high = (v[: self._n] for v in self._range)
        self.home = np.array(arm.home)
        held = [row for row in range(6) if row not in self._rows]
        limits = low + ROOM, high - ROOM, contract.limits.velocity[: self._n]
        self.inverse = InverseKinematics(self.kinematics, *limits, self.home, held)
        self.last: Motion | None = None

    # ---- what is measured ----------------------------------------------------------------------------------------
    def joints(self, measured: JointsIn) -> np.ndarray:
        """Positions (J,) in the command's order, from joint states in any order that name others too.

        Raises:
            ArmError: a joint is not among them.
        """
        at = {name: value for name, value in zip(measured.names, measured.position, strict=False)}
        missing = [name for name in self.names if name not in at]
        if missing:
            raise ArmError(f"joint_states: no position of {', '.join(missing)}")
        return np.array([at[name] for name in self.names], dtype=float)

    def tip(self, joints: np.ndarray) -> np.ndarray:
        """Position of the tip (3,) [m] in the base frame at joint positions (J,)."""
        return self.kinematics.position(joints[: self._n])

    # ---- action to command ---------------------------------------------------------------------------------------
    def still(self, joints: np.ndarray) -> np.ndarray:
        """The command (J,) that stands still: the positions themselves, or zeros where rates are commanded."""
        return np.array(joints, dtype=float) if self.positions else np.zeros(self.size)

    def command(self, action: np.ndarray, joints: np.ndarray, begins: bool = False) -> np.ndarray:
        """The joint command (J,) of one tick of the gate.

        A position command lies so far along the way that the joint which takes longest just comes to rest there when it
        brakes from its rate: the gate, which moves all joints in step and none faster than it can brake, then moves
        them at the rates that the action asks for, and a command that is the last one ends in a standstill.

        Args:
            action: (A,). joints: (J,) the set-points in force where positions are commanded, else the measured ones.
            begins: the arm stands, see :meth:`ahead`.
        """
        rates = self.rates(action, joints)
        if not self.positions:
            return rates
        low, high = self._range
        return np.minimum(np.maximum(joints + rates * self.ahead(rates, begins), low), high)

    def ahead(self, rates: np.ndarray, begins: bool) -> float:
        """Seconds at rates (J,) that a position command lies ahead: see :meth:`command`.

        Args:
            begins: the arm stands. The gate takes no first command that is far from the arm, and an arm with weak
                brakes would ask for nothing nearer: it would never begin to move.
        """
        seconds = self.period + float(np.max(np.abs(rates) / self.contract.limits.braking)) / 2.0
        return min(seconds, FIRST / max(float(np.max(np.abs(rates))), 1e-9)) if begins else seconds

    def rates(self, action: np.ndarray, joints: np.ndarray) -> np.ndarray:
        """Rates (J,) that make an action (A,) at joint positions (J,), inside the tip's workspace and all limits."""
        twist = np.zeros(6)
        twist[self._rows] = np.asarray(action, dtype=float)[self._moved]
        q = joints[: self._n]
        turn, tip, jacobian = self.kinematics.pose_and_jacobian(q)
        slowest, fastest = -EDGE * np.maximum(tip - self.low, 0.0), EDGE * np.maximum(self.high - tip, 0.0)
        twist[:3] = np.minimum(np.maximum(twist[:3], slowest), fastest)
        self.last = self.inverse.rates_at(q, twist, turn, tip, jacobian)
        rates = np.zeros(self.size)
        rates[: self._n] = self.last.rates
        if self._grips is not None:
            rates[-1] = float(action[self._grips])
        return rates

    # ---- command to action ---------------------------------------------------------------------------------------
    def action(self, before: np.ndarray, after: np.ndarray, duration: float) -> np.ndarray:
        """The mean action (A,) that moved the joints from ``before`` to ``after`` (J,) in ``duration`` [s]."""
        return self.made(self.pose(before), self.pose(after), float(after[-1] - before[-1]), duration)

    def made(self, before: Pose, after: Pose, opened: float, duration: float) -> np.ndarray:
        """:meth:`action` from poses of the tip and by how much the gripper's joint moved."""
        action = np.zeros(len(self.contract.action))
        action[self._moved] = self.kinematics.between(before, after, duration)[self._rows]
        if self._grips is not None:
            action[self._grips] = opened / duration
        return action

    def pose(self, joints: np.ndarray) -> Pose:
        """Rotation and position of the tip at joint positions (J,)."""
        return self.kinematics.pose(joints[: self._n])


class TipMotion:
    """The action that each gated joint command makes: what :class:`jepa_ros.agent.executed.ExecutedLog` asks a body.

    Args:
        body: the arm. One is made for each log: it remembers where the joints were sent last.
    """

    def __init__(self, body: ArmBody) -> None:
        self._body = body
        self._at: np.ndarray | None = None
        self._pose: Pose | None = None  # of the tip there

    def measured(self, name: str, value: JointsIn) -> None:
        """Hear a measurement; rates need the joints' positions, set-points only where the first one starts from."""
        if name == "joint_states" and (self._at is None or not self._body.positions):
            self._at, self._pose = self._body.joints(value), None

    def of(self, stamp: float, values: np.ndarray) -> np.ndarray | None:
        """The action (A,) of a command (J,) that is in force for a tick; None before the joints were heard."""
        if self._at is None:
            return None
        body, before, tick = self._body, self._at, self._body.period
        after = np.asarray(values, dtype=float) if body.positions else before + tick * np.asarray(values)
        begun, ended = body.pose(before) if self._pose is None else self._pose, body.pose(after)
        self._at, self._pose = after, ended
        return body.made(begun, ended, float(after[-1] - before[-1]), tick)
