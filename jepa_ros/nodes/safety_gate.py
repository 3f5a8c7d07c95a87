# SPDX-License-Identifier: Apache-2.0
"""The ``safety_gate`` node: the robot's last line, a process of its own that publishes at every tick, come what may.

All decisions are :class:`jepa_ros.safety.gate.Gate`'s, a pure step function; this shell gives it the newest inputs and
two clocks, and publishes what it answers. It runs on a steady clock (a paused ``/clock`` cannot silence it), in a
single-threaded executor. Whatever ends the process and can be answered (signals, an error in its loop): stops for
``exit_duration`` first, then the end.
An exception, wherever it comes from, stops the robot and latches until ``~/reset``.
"""

from __future__ import annotations

import json
import sys
import time
import traceback
from collections.abc import Sequence
from typing import Any

import numpy as np
import rclpy
from numpy.typing import NDArray
from rclpy.clock import Clock, ClockType
from rclpy.executors import SingleThreadedExecutor
from rclpy.logging import get_logger
from rclpy.node import Node
from std_srvs.srv import SetBool, Trigger

from jepa_ros.contract import load_contract
from jepa_ros.contract.topics import COMMAND_TYPES
from jepa_ros.errors import JepaRosError
from jepa_ros.messages.joints import positions_of, robot_joints
from jepa_ros.nodes import params, qos
from jepa_ros.nodes.commands import CommandCodec
from jepa_ros.nodes.gate_inputs import InputCollector
from jepa_ros.nodes.gate_report import GateReport, TickFacts
from jepa_ros.nodes.models import card_id, read_card
from jepa_ros.nodes.process import Signals, begin, ending_signals
from jepa_ros.nodes.rate_points import Point, RatePoints
from jepa_ros.nodes.scheduling import Collector, raise_priority
from jepa_ros.nodes.slow_parameters import SlowParameterService
from jepa_ros.safety import settings
from jepa_ros.safety.config import watched
from jepa_ros.safety.gate import Gate, GateConfig, describe
from jepa_ros.safety.guardrails import guardrails_for
from jepa_ros.safety.inputs import Requests
from jepa_ros.safety.output import GateOutput, Mode
from jepa_ros.safety.reading import SetReader

#: Seconds between two looks at who else publishes on the gate's output topic.
LOOK_PERIOD = 0.1
#: Modes in which what the joints do is the gate's doing; in the others somebody may move them by hand.
DRIVEN = (Mode.ACTIVE, Mode.LIMITED, Mode.STOPPED)

PARAMS = (
    params.ROBOT,
    params.Param("model", "", "Checkpoint that planner and perception must run. The gate watches surprise and novelty "
                 "at its levels. Empty accepts any model and watches neither."),
    params.Param("auto_enable", False, "Arm at the start, without waiting for ~/enable."),
    params.Param("guardrails", "", "Guardrail set as YAML text; empty for the contract's.", live=True),
    params.Param("settings", "", "Further settings of the gate as YAML text ({name: value}); see docs/safety.md."),
    params.Param("command_kind", "", "Type of the output; empty for the contract's.",
                 choices=("", *COMMAND_TYPES)),
    params.Param("command_topic", "", "Topic of the output; empty for the contract's.", topic=True),
    params.Param("compressed", False, "The camera publishes image/compressed."),
    params.Param("priority", "raised", "Scheduling: raised is real time, or nice -10, if the system permits it.",
                 choices=("raised", "normal")),
)  # fmt: skip


class SafetyGateNode(Node):
    """See the module."""

    def __init__(self, **options: Any) -> None:
        super().__init__("safety_gate", start_parameter_services=False, **options)
        values = params.declare(self, PARAMS)
        self._contract = load_contract(values.robot)
        self._codec = CommandCodec(self._contract, values.command_kind)
        self._card = self._own_card(values.model)
        self._config = self._make_config(values)
        self._gate = Gate(self._config)
        self._state = self._gate.initial_state()
        output_topic = values.command_topic or self._contract.command.topic
        self._command_out = qos.publisher(self, self._codec.output_type, output_topic, qos.COMMAND)
        self._report = GateReport(self, self._contract.name)
        own_model = None if self._card is None else card_id(self._card)
        self._inputs = InputCollector(self, self._contract, self._codec, values.compressed, own_model)
        self._joints = robot_joints(self._contract)
        self._rate_points = RatePoints.of(self._contract) if self._codec.needs_points else None
        self._reader = SetReader(self._contract)
        self._prepared: tuple[str, Gate | None] = ("", None)  # a guardrail set that is read and not yet in force
        self._setters = SlowParameterService(self, self._prepare)
        self._live = params.LiveParameters(self, PARAMS, self._apply)
        self.create_service(SetBool, "~/enable", self._on_enable)
        self.create_service(Trigger, "~/reset", self._on_reset)
        self.create_service(Trigger, "~/estop", self._on_estop)
        self.create_service(Trigger, "~/interventions", self._on_interventions)
        self.wants_priority = values.priority == "raised"
        self._fault: str | None = None
        self._last = np.zeros(len(self._contract.axes))
        self._on_output: int | None = None
        self._next_look = 0.0
        self._end_by: float | None = None  # the process ends at this steady time at the latest
        self.ended = False
        self._ticks = 0  # so far; two accounts that follow each other tell the time between their ticks
        self.period = 1.0 / self._contract.gate_rate
        self.last_tick = time.monotonic()
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = self.create_timer(self.period, self.tick, clock=steady)

    # ------------------------------------------------------------ the tick

    def tick(self, requests: Requests | None = None) -> GateOutput | None:
        """One step of the gate and its publication; None when it could not even be computed (a fault, latched)."""
        self.last_tick = now = time.monotonic()
        self._ticks += 1
        if self._end_by is not None and now > self._end_by:
            self.ended = True
        try:
            if self._fault is not None and not (requests is not None and requests.reset):
                raise _Latched(self._fault)
            self._fault = None
            output = self._step(requests or Requests(), now)
            self._publish(output)
            if output.exit_complete:
                self.ended = True
            return output
        except Exception as error:
            self._stop_on(error, now)
            return None

    def _step(self, requests: Requests, now: float) -> GateOutput:
        if self._end_by is not None:
            requests.shutdown = True
        if now >= self._next_look:
            self._next_look = now + LOOK_PERIOD
            self._on_output = self.count_publishers(self._command_out.topic_name)  # as it was remapped
        inputs = self._inputs.collect(requests, self._on_output)
        ros = self._ros_now()
        self._state, output = self._gate.step(self._state, inputs, now, ros)
        self._facts = TickFacts(now, ros, inputs, self._ticks, self._state.slowest, self._guardrail_hash)
        return output

    def _ros_now(self) -> float:
        return self.get_clock().now().nanoseconds * 1e-9

    def _publish(self, output: GateOutput) -> None:
        """The command first, then the account of it."""
        stamp = self._ros_now()
        if output.publish:
            self._send(output.values, stamp, held=output.mode not in DRIVEN)
            self._last = output.values
        self._report.tell(output, self._facts, stamp)

    def _send(self, values: NDArray[np.float64], stamp: float, *, held: bool) -> None:
        """The robot's command. Rates for a controller that follows positions say nothing before a joint is known."""
        points: list[Point] = []
        if self._rate_points is not None:
            points = self._rate_points.points(values, positions_of(self._inputs.joint_states, self._joints), held=held)
            if not points:
                return
        self._command_out.publish(self._codec.write_output(values, stamp, points))

    # ------------------------------------------------------------ when all else fails

    def fail(self, error: BaseException) -> None:
        """Latch a fault that was found outside a tick, and publish the stop now."""
        self._stop_on(error, time.monotonic())

    def _stop_on(self, error: BaseException, now: float) -> None:
        if self._fault is None:
            self._fault = f"{type(error).__name__}: {error}"
            self.get_logger().fatal(
                f"fault in the gate, the robot is stopped until ~/reset: {self._fault}\n"
                + "".join(traceback.format_exception(error))
            )
        # Velocities stop with zeros; a joint that is commanded by position stays where it was sent last.
        positions = np.array([dim.unit in ("rad", "m") for dim in self._contract.axes])
        values = np.where(positions, self._last, 0.0)
        try:
            stamp = self._ros_now()
            leaves = not (self._config.shadow or self._config.dry_run)
            if leaves and (not positions.any() or self._last.any()):
                self._send(values, stamp, held=True)
            self._report.tell_fault(self._fault, stamp, now)
        except Exception as second:  # the last resort has no resort
            print(f"[safety_gate] cannot publish the stop: {second}", file=sys.stderr, flush=True)

    # ------------------------------------------------------------ services and parameters

    def _ask(self, requests: Requests, name: str, response: Any) -> Any:
        """Put a request to the gate at once, in a tick of its own, and answer with what the gate says."""
        output = self.tick(requests)
        granted, why = (False, self._fault or "") if output is None else output.answers.get(name, (False, "no answer"))
        response.success, response.message = granted, why
        return response

    def _on_enable(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        return self._ask(Requests(enable=bool(request.data)), "enable", response)

    def _on_reset(self, _request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        return self._ask(Requests(reset=True), "reset", response)

    def _on_estop(self, _request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        return self._ask(Requests(estop=True), "estop", response)

    def _on_interventions(self, _request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        """The counts and the last interventions as JSON in ``message``."""
        response.success, response.message = True, json.dumps(describe(self._state))
        return response

    def end(self) -> None:
        """Begin to end: stops for ``exit_duration``, then ``ended`` is true. Called from a signal handler."""
        if self._end_by is None:
            self._end_by = time.monotonic() + self._contract.watchdog.exit_duration + 1.0

    def last_stops(self) -> None:
        """Send stops for ``exit_duration`` without an executor, unless they were sent."""
        self.end()
        while not self.ended:
            self.tick()
            time.sleep(self.period)

    def _make_config(self, values: Any) -> GateConfig:
        config = GateConfig.from_contract(
            self._contract,
            **settings.of_node(values.settings, watched(self._card)),
            guardrails=guardrails_for(self._contract, values.guardrails),
            auto_enable=values.auto_enable,
        )
        self._guardrail_hash = str(config.guardrails.hash)
        if self._card is not None and not (config.surprise or config.novelty):
            self.get_logger().warning(
                "surprise and novelty are not watched: "
                + (
                    "the settings say so"
                    if watched(self._card)
                    else f"the model {values.model} has no levels for them; jepa-ros train --data DATA --out MODEL "
                    "--only alarms gives it some"
                )
            )
        self._tell_of_people(config)
        return config

    @staticmethod
    def _own_card(folder: str) -> dict[str, Any] | None:
        """The card of the model that planner and perception are to run, None where none was named. One that was named
        and cannot be read is an error: without it nobody would check what is run."""
        return read_card(folder) if folder else None

    def _tell_of_people(self, config: GateConfig) -> None:
        """A speed limit near people is one everywhere, where the contract knows of no people."""
        for guardrail in config.guardrails.of("near_person"):
            if "people" not in config.states:
                self.get_logger().warning(
                    f"guardrail '{guardrail.name}': the contract declares no state topic 'people', so that its "
                    f"{guardrail.bound:g} m/s hold everywhere"
                )

    def _prepare(self, changes: dict[str, Any]) -> None:
        """In a thread, beside the ticks: read another guardrail set and build the gate that keeps it."""
        text = changes.get("guardrails")
        if isinstance(text, str):
            self._prepared = (text, self._read(text))

    def _read(self, text: str) -> Gate:
        return Gate(self._config.replace(guardrails=self._reader.read(text, self._config)))

    def _apply(self, changes: dict[str, Any]) -> None:
        """Take another guardrail set, whole or not at all; the state (latches, what is followed) is kept."""
        text, gate = self._prepared
        if gate is None or text != changes["guardrails"]:  # set from inside this process, not by the service
            gate = self._read(changes["guardrails"])
        self._prepared = ("", None)
        self._gate, self._config = gate, gate.config
        chosen = gate.config.guardrails
        self._guardrail_hash = str(chosen.hash)
        self._tell_of_people(gate.config)
        self.get_logger().info(f"guardrails changed: {len(chosen)} in force, set {self._guardrail_hash}")

    def destroy_node(self) -> None:
        """End the process that reads guardrails, and the node."""
        self._setters.close()
        self._reader.close()
        super().destroy_node()


class _Latched(Exception):
    """The fault of an earlier tick, which no reset has cleared."""


def main(args: Sequence[str] | None = None) -> int:
    """Run the gate until a signal asks it to end, and return the exit code. However it ends, stops go out first."""
    node: SafetyGateNode | None = None
    signals = Signals(lambda: node.end() if node is not None else None, ending_signals())
    try:
        begin(args)
        node = SafetyGateNode()
    except JepaRosError as error:
        get_logger("safety_gate").fatal(str(error))
        rclpy.try_shutdown()
        return 2
    code = 1  # unless it ends as it was asked to
    try:
        if signals.asked:
            node.end()
        _spin(node)
        code = 0
    except BaseException:  # whatever it is (somebody's sys.exit in a callback): the robot is stopped first
        node.get_logger().fatal(f"unexpected error, the process ends:\n{traceback.format_exc()}")
    finally:
        node.last_stops()
    node.get_logger().info("stopped the robot and ended")
    node.destroy_node()
    rclpy.try_shutdown()
    return code


def _spin(node: SafetyGateNode) -> None:
    """Tick until the node has ended."""
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    if node.wants_priority:
        granted, said = raise_priority()
        (node.get_logger().info if granted else node.get_logger().warning)(said)
    collector = Collector()
    while not node.ended:
        try:
            executor.spin_once(timeout_sec=node.period)
        except Exception as error:
            node.fail(error)
            time.sleep(node.period)  # one that comes again at once must not flood the robot with stops
        collector.after_tick(time.monotonic())
        if time.monotonic() - node.last_tick > 2.0 * node.period:
            node.tick()  # the timer did not fire (a broken executor, a long callback): tick all the same


if __name__ == "__main__":
    raise SystemExit(main())
