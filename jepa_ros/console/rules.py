# SPDX-License-Identifier: Apache-2.0
"""The guardrails in force: asked of the gate whenever it has another set, and changed at gate and planner alike."""

from __future__ import annotations

import threading
import time
from typing import Any

import yaml

from jepa_ros.console.asking import Asking
from jepa_ros.console.desk import Refused
from jepa_ros.console.hearing import GATE, Hearing
from jepa_ros.contract import RobotContract
from jepa_ros.messages.diagnostics import raw_value
from jepa_ros.yaml_text import load_yaml

#: Seconds between two questions to a gate that does not answer.
AGAIN = 3.0


class Rules:
    """The guardrails of one robot.

    Args:
        contract: of the robot. hearing: what is heard of it, which is given the rules. asking: its services.
    """

    def __init__(self, contract: RobotContract, hearing: Hearing, asking: Asking) -> None:
        self._contract, self._hearing, self._asking = contract, hearing, asking
        self._known, self._next = "", 0.0
        self._thread: threading.Thread | None = None

    def follow(self) -> None:
        """Ask for the rules, in a thread, if the gate says that it has others than those that are known."""
        told, now = self._told(), time.monotonic()
        busy = self._thread is not None and self._thread.is_alive()
        if told == self._known or busy or now < self._next:
            return
        self._next = now + AGAIN
        self._thread = threading.Thread(target=self._ask, name="console-rules", daemon=True)
        self._thread.start()

    def _told(self) -> str:
        """The hash that the gate tells of its set; empty before it has told one."""
        data = self._hearing.kept[GATE].data
        return "" if data is None else raw_value(data, "guardrail_hash") or ""

    def _ask(self) -> None:
        try:
            self.guardrails()
        except Refused:
            return  # it is asked again later

    def guardrails(self) -> list[dict[str, Any]]:
        """The guardrails in force at the gate, as they are written in YAML.

        Raises:
            Refused: the gate does not answer.
        """
        told = self._told()
        found = load_yaml(self._asking.parameter("safety_gate", "guardrails"), "guardrails")
        rules: list[dict[str, Any]] = list(self._contract.guardrails) if found is None else found
        self._hearing.put_rules(rules)
        self._known = told
        return rules

    def put(self, rules: list[dict[str, Any]]) -> str:
        """Give gate and planner another guardrail set; if either refuses, both keep the old one.

        Raises:
            Refused: with the node's own words.
        """
        text = yaml.safe_dump(rules, default_flow_style=None)
        before = self._asking.parameter("safety_gate", "guardrails")
        self._asking.set_parameter("safety_gate", "guardrails", text)
        try:
            self._asking.set_parameter("planner", "guardrails", text)
        except Refused:
            self._asking.set_parameter("safety_gate", "guardrails", before)
            raise
        return "guardrails changed"
