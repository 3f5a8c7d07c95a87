# SPDX-License-Identifier: Apache-2.0
"""What the gate's node tells of itself: its state at every tick, its log, /diagnostics, and the hardware stop."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node
from std_msgs.msg import Bool

from jepa_ros.messages.commands import command_mark
from jepa_ros.nodes import qos
from jepa_ros.nodes.convert import to_stamp
from jepa_ros.safety.inputs import CommandIn, GateInputs
from jepa_ros.safety.output import MOVING, GateOutput, Mode

#: Seconds between two /diagnostics.
DIAGNOSTICS_PERIOD = 1.0
#: Seconds between two accounts of ages and counts in ~/state (the decision itself stands in every message).
COUNTS_PERIOD = 0.1
#: Seconds between two hardware_estop messages while its value stays; a change leaves at once.
ESTOP_PERIOD = 0.1


@dataclass
class TickFacts:
    """What a replay needs to repeat a tick, besides its inputs.

    Attributes:
        steady, ros: its two clocks [s]. inputs: what it saw. number: of the tick. slowest: the longest gap of late [s].
        guardrail_hash: of the set in force.
    """

    steady: float
    ros: float
    inputs: GateInputs
    number: int
    slowest: float
    guardrail_hash: str


class GateReport:
    """Publishes and logs what the gate decided.

    Args:
        robot: name of the contract.
    """

    def __init__(self, node: Node, robot: str) -> None:
        self._node, self._robot = node, robot
        self._state_out = qos.publisher(node, DiagnosticArray, "~/state", qos.LATCHED)
        self._estop_out = qos.publisher(node, Bool, "hardware_estop", qos.LATCHED)
        self._diagnostics_out = qos.publisher(node, DiagnosticArray, "/diagnostics", qos.STATUS)
        self._next_counts = self._next_diagnostics = self._next_estop = 0.0
        self._told_estop: bool | None = None
        self._said: tuple[Mode, str] | None = None

    def tell(self, output: GateOutput, facts: TickFacts, stamp: float) -> None:
        """The account of a tick whose command has left at the ROS time ``stamp`` [s]."""
        sent, now = time.monotonic(), facts.steady
        if output.hardware_estop != self._told_estop or now >= self._next_estop:
            self._next_estop, self._told_estop = now + ESTOP_PERIOD, output.hardware_estop
            self._estop_out.publish(Bool(data=output.hardware_estop))
        changed = (output.mode, output.reason) != self._said
        message = DiagnosticArray(status=[self._account(output, facts, stamp, sent)])
        message.header.stamp = to_stamp(stamp)
        if changed or now >= self._next_counts:
            self._next_counts = now + COUNTS_PERIOD
            message.status.append(self._counts(output))
        self._state_out.publish(message)
        if now >= self._next_diagnostics and len(message.status) > 1:
            self._next_diagnostics = now + DIAGNOSTICS_PERIOD
            self._diagnostics_out.publish(message)
        if changed:
            self._log(output)
            self._said = (output.mode, output.reason)

    def tell_fault(self, fault: str, stamp: float, now: float) -> None:
        """The account of a tick that could not be computed: steady time ``now``, ROS time ``stamp`` [s]."""
        pairs = {"mode": Mode.ESTOP.name, "reason": "internal_fault", "monotonic": f"{now:.6f}"}
        message = DiagnosticArray(status=[self._status("", 2, f"fault in the gate: {fault}", pairs)])
        message.header.stamp = to_stamp(stamp)
        self._state_out.publish(message)

    def _log(self, output: GateOutput) -> None:
        """One line for a change of mode or reason. (A line of code may not change its severity: rclpy refuses.)"""
        said, logger = f"{output.mode.name}: {output.sentence}", self._node.get_logger()
        if output.mode in MOVING and self._said is not None and self._said[0] in MOVING:
            logger.debug(said)  # a ramp at every new command is no news
        elif output.level:
            logger.warning(said)
        else:
            logger.info(said)

    def _account(self, output: GateOutput, facts: TickFacts, stamp: float, sent: float) -> DiagnosticStatus:
        # The image behind the command: its stamp, and its age as the command left.
        image = math.nan if output.image_age is None else facts.ros - output.image_age
        publishers = facts.inputs.output_publishers
        pairs = {
            "mode": output.mode.name,
            "reason": output.reason,
            "reasons": " ".join(output.reasons),
            "scale": f"{output.scale:.4f}",
            "source": output.source,
            "published": str(output.publish).lower(),
            "values": " ".join(f"{v:.6g}" for v in output.values),
            "decided": " ".join(map(repr, output.decided.tolist())),  # all digits: a replay goes on from held joints
            "image_age": f"{stamp - image:.6f}",
            "image_stamp": f"{image:.6f}",
            "monotonic": f"{sent:.6f}",
            "ticks": str(facts.number),
            # What a replay needs to repeat this tick: its two clocks, which inputs it had and since when, and the rest.
            # All digits: a simulation's times are whole ticks apart, and so may be a stamp's age and its limit.
            "tick": repr(facts.steady),
            "tick_ros": repr(facts.ros),
            "slowest": f"{facts.slowest:.9g}",
            "inputs": _told_inputs(output, facts.inputs),
            "asked": " ".join(output.answers),
            "publishers": "" if publishers is None else str(publishers),
            "guardrail_hash": facts.guardrail_hash,
        }
        return self._status("", output.level, output.sentence, pairs)

    def _counts(self, output: GateOutput) -> DiagnosticStatus:
        pairs = {f"age/{name}": f"{value:.3f}" for name, value in output.ages.items()}
        pairs |= {f"count/{name}": str(value) for name, value in output.counts.items()}
        return self._status("/inputs", output.level, output.sentence, pairs)

    def _status(self, part: str, level: int, message: str, pairs: dict[str, str]) -> DiagnosticStatus:
        values = [KeyValue(key=key, value=value) for key, value in pairs.items()]
        name = f"{self._node.get_fully_qualified_name()[1:]}{part}"  # aggregators tell robots apart by it
        return DiagnosticStatus(
            level=bytes([level]), name=name, message=message, hardware_id=self._robot, values=values
        )


def _told_inputs(output: GateOutput, inputs: GateInputs) -> str:
    """The newest of each input as ``name=age@stamp#mark`` (s), which says exactly which message it was."""
    told = []
    for name, age in output.ages.items():
        taken = getattr(inputs, name, None)
        stamp = getattr(taken, "stamp", None)
        mark = command_mark(taken) if isinstance(taken, CommandIn) else ""
        told.append(f"{name}={age:.6f}" + ("" if stamp is None else f"@{stamp:.6f}") + (mark and f"#{mark}"))
    return " ".join(told)
