# SPDX-License-Identifier: Apache-2.0
"""The gate's part of an agent: it keeps the newest of each input, and the gate's state from tick to tick.

The loop and an in-process replay run it; on a robot it is a process of its own (``safety_gate``).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from jepa_ros.safety.gate import Gate
from jepa_ros.safety.guardrails import GuardrailSet
from jepa_ros.safety.inputs import GateInputs, Requests
from jepa_ros.safety.output import GateOutput

SWITCHES = ("estop", "contact")


class GatePart:
    """A gate that remembers.

    Args:
        gate: its pure step function.

    Attributes:
        state: of the gate, see :class:`~jepa_ros.safety.state.GateState`. inputs: what it is told at the next tick.
    """

    def __init__(self, gate: Gate) -> None:
        self.gate = gate
        self.state = gate.initial_state()
        self.inputs = GateInputs()

    def hear(self, name: str, value: Any, earlier: tuple[Any, ...] = ()) -> None:
        """Take the newest of an input, named as in GateInputs, and the ``earlier`` ones since the last tick.

        The gate looks at earlier commands too. A switch that was pressed and let go in between counts as pressed.
        """
        if name in SWITCHES and any(message.value for message in earlier):
            value = dataclasses.replace(value, value=True)
        setattr(self.inputs, name, value)
        if name == "command":
            self.inputs.earlier_commands = earlier
        elif name == "teleop":
            self.inputs.earlier_teleop = earlier

    def change(self, guardrails: GuardrailSet) -> None:
        """Take another guardrail set; the state (latches, what is followed) is kept."""
        self.gate = self.gate.with_guardrails(guardrails)

    def tick(
        self, steady: float, ros: float, *, heartbeats: Mapping[str, float], output_publishers: int | None,
        identities: Mapping[str, str] | None = None, requests: Requests | None = None,
    ) -> GateOutput:  # fmt: skip
        """One tick at the two clocks' times [s]."""
        self.inputs.heartbeats, self.inputs.output_publishers = heartbeats, output_publishers
        self.inputs.identities = identities or {}
        self.inputs.requests = requests or Requests()
        self.state, output = self.gate.step(self.state, self.inputs, steady, ros)
        return output
