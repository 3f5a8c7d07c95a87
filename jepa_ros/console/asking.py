# SPDX-License-Identifier: Apache-2.0
"""Services and parameters of the running nodes, asked from any thread, with patience that ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from rcl_interfaces.msg import Parameter as ParameterMessage
from rcl_interfaces.srv import GetParameters, SetParametersAtomically
from rclpy.node import Node
from rclpy.parameter import Parameter
from std_srvs.srv import SetBool, Trigger

from jepa_ros.console.desk import Refused

#: Seconds to wait for an answer; a stop waits shorter, and is repeated by whoever presses again.
PATIENCE, STOP_PATIENCE = 3.0, 1.0
#: Seconds that a service that was not discovered yet is waited for: of nodes that have just started.
DISCOVERY = 0.5
#: What an operator may ask of gate and planner: name, service, type.
SERVICES: tuple[tuple[str, str, type], ...] = (
    ("stop", "safety_gate/estop", Trigger),
    ("reset", "safety_gate/reset", Trigger),
    ("enable", "safety_gate/enable", SetBool),
    ("interventions", "safety_gate/interventions", Trigger),
    ("pause", "planner/pause", SetBool),
    ("clear", "planner/clear_goal", Trigger),
    ("here", "planner/goal_from_current", Trigger),
)


class Asking:
    """Clients of gate and planner.

    Args:
        node: the console's, spun by another thread. wake: called when a request is sent and its answer is waited for.
    """

    def __init__(self, node: Node, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._count, self._lock = 0, threading.Lock()
        self._services = {name: node.create_client(kind, service) for name, service, kind in SERVICES}
        self._parameters = {
            name: (
                node.create_client(GetParameters, f"{name}/get_parameters"),
                node.create_client(SetParametersAtomically, f"{name}/set_parameters_atomically"),
            )
            for name in ("safety_gate", "planner")
        }

    @property
    def waiting(self) -> bool:
        """Whether an answer is waited for."""
        return self._count > 0

    def _call(self, client: Any, request: Any, patience: float = PATIENCE) -> Any:
        end = time.monotonic() + DISCOVERY
        while not client.service_is_ready() and time.monotonic() < end:
            time.sleep(0.02)
        if not client.service_is_ready():
            raise Refused(f"{client.srv_name} is not there: does the stack run?")
        done = threading.Event()
        with self._lock:
            self._count += 1
        try:
            future = client.call_async(request)
            future.add_done_callback(lambda _: done.set())
            self._wake()
            if not done.wait(patience):
                client.remove_pending_request(future)
                raise Refused(f"{client.srv_name} did not answer within {patience:g} s")
            return future.result()
        finally:
            with self._lock:
                self._count -= 1

    def answer(self, name: str, request: Any, patience: float = PATIENCE) -> Any:
        """The answer of one of :data:`SERVICES`.

        Raises:
            Refused: it is not there, or says nothing.
        """
        return self._call(self._services[name], request, STOP_PATIENCE if name == "stop" else patience)

    def ask(self, name: str, on: bool | None = None) -> str:
        """What a service says of having done it.

        Args:
            name: of :data:`SERVICES`. on: for those that take one.

        Raises:
            Refused: it is not there, says nothing, or says no.
        """
        answer = self.answer(name, Trigger.Request() if on is None else SetBool.Request(data=on))
        if not answer.success:
            raise Refused(answer.message)
        return str(answer.message)

    def parameter(self, node: str, name: str) -> str:
        """A text parameter of the planner or the gate."""
        answer = self._call(self._parameters[node][0], GetParameters.Request(names=[name]))
        return str(answer.values[0].string_value) if answer.values else ""

    def set_parameter(self, node: str, name: str, value: Any) -> None:
        """Set it, or say why the node refuses.

        Raises:
            Refused: with the node's own words.
        """
        messages: list[ParameterMessage] = [Parameter(name, value=value).to_parameter_msg()]
        answer = self._call(self._parameters[node][1], SetParametersAtomically.Request(parameters=messages))
        if not answer.result.successful:
            raise Refused(f"{node}: {answer.result.reason}")
