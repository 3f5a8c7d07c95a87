# SPDX-License-Identifier: Apache-2.0
"""The ``planner`` node: from the latent of each control step's image to ``command_raw``, by search in the world model.

All thinking is :class:`jepa_ros.agent.planner_part.PlannerPart`'s, which the loop and a replay run too. This shell
takes messages in and publishes what was thought. Each embedding begins a step: perception has the step clock.
The command leaves first, with the stamp of its image; without a goal it says "stand still" explicitly.

Goals: ``goal_image`` (raw, or ``goal_image/compressed``), ``goal_pose``. Services: ``~/pause``, ``~/clear_goal`` (which
also forgets the past: call it when the robot was carried elsewhere), ``~/goal_from_current``. With a memory:
``goal_tag`` and ``goal_place`` take a remembered place as goal, ``~/remember`` gives the present one a name,
``~/memory`` tells them.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from nav_msgs.msg import OccupancyGrid, Odometry, Path
from numpy.typing import NDArray
from sensor_msgs.msg import Image, LaserScan
from std_msgs.msg import Float32MultiArray, String
from std_srvs.srv import SetBool, Trigger
from visualization_msgs.msg import MarkerArray

from jepa_ros.contract import load_contract
from jepa_ros.errors import JepaRosError
from jepa_ros.memory.knowledge import Picture
from jepa_ros.messages.diagnostics import raw_value
from jepa_ros.messages.images import latent_of
from jepa_ros.messages.stamps import stamp_of
from jepa_ros.messages.state import odom_in, scan_in
from jepa_ros.nodes import planner_messages, planner_settings, qos
from jepa_ros.nodes.commands import CommandCodec
from jepa_ros.nodes.convert import to_stamp
from jepa_ros.nodes.lifecycle import ManagedNode
from jepa_ros.nodes.models import load
from jepa_ros.nodes.pictures import RecentPictures
from jepa_ros.nodes.planner_goals import GoalTopics
from jepa_ros.nodes.planner_memory import MemoryTopic
from jepa_ros.nodes.planner_places import PlacesTopic
from jepa_ros.nodes.process import leave, run
from jepa_ros.nodes.servo import servo_for
from jepa_ros.nodes.slow_parameters import SlowParameterService
from jepa_ros.safety.reading import SetReader

PARAMS = planner_settings.PARAMS
MAP_EVERY = 5  # control steps between maps of where the robot can drive


class PlannerNode(ManagedNode):
    """See the module.

    Args:
        also_known: parameters of another node in the same process.
        embedded: latents come by :meth:`take_latent` from the same process and not by topic.
    """

    def __init__(self, also_known: Iterable[str] = (), embedded: bool = False, **options: Any) -> None:
        super().__init__("planner", PARAMS, also_known, start_parameter_services=False, **options)
        self._embedded = embedded
        self._planner: Any = None
        self._part: Any = None
        self._entities: list[Any] = []
        self._command_out: Any = None
        self._servo: Any = None
        self._pictures: RecentPictures | None = None  # of a planner that keeps some
        self._read_contract()
        self._reader: SetReader | None = None  # from the first guardrails that are set while it is configured
        self._prepared: tuple[str, Any] = ("", None)  # a guardrail set that is read and not yet in force
        self._setters = SlowParameterService(self, self._prepare)
        self._signals_out = qos.publisher(self, DiagnosticArray, "signals", qos.SIGNALS)
        self._status_out = qos.publisher(self, DiagnosticArray, "~/status", qos.STATUS)
        self._plan_out = qos.publisher(self, Path, "plan", qos.STATUS)
        self._candidates_out = qos.publisher(self, MarkerArray, "~/candidates", qos.STATUS)
        # Latents tell people nothing, but who knows what was seen can look up what they are like. A hidden topic:
        # no recording has it unless it asks.
        self._futures_out = qos.publisher(self, Float32MultiArray, "~/_futures", qos.STATUS)
        self._map_out = qos.publisher(self, OccupancyGrid, "~/traversability", qos.LATCHED)
        self._tree_out = qos.publisher(self, String, "~/deliberation", qos.LATCHED)
        self._memory, self._places = MemoryTopic(self), PlacesTopic(self)
        self.goals = GoalTopics(self, self._memory)
        self.create_service(SetBool, "~/pause", self._on_pause)
        self.create_service(Trigger, "~/clear_goal", self._on_clear_goal)
        self.create_service(Trigger, "~/goal_from_current", self._on_goal_from_current)

    # ------------------------------------------------------------ lifecycle

    def _read_contract(self) -> None:
        """The robot of the present parameters, and the publisher of its commands."""
        self._contract = load_contract(self.values.robot)
        self._codec = CommandCodec(self._contract, self.values.command_kind)
        if self._command_out is not None:
            if self._command_out.msg_type is self._codec.input_type:
                return
            self.destroy_publisher(self._command_out)
        self._command_out = qos.publisher(self, self._codec.input_type, "command_raw", qos.COMMAND)

    def configure(self) -> None:
        """Load the model, make the planner and spend its warm-up time now."""
        from jepa_ros.agent.bodies import body_of
        from jepa_ros.agent.planner_part import PlannerPart
        from jepa_ros.perception import Perception
        from jepa_ros.planning import Planner

        self._read_contract()
        contract = self._contract
        model, card, self._identity = load(self.values, contract)
        config = planner_settings.planner_config(self, self.values, self._contract)
        guardrails = planner_settings.guardrails(self.values.guardrails, contract)
        size, read_only = model.config.latent_dim, self.values.memory_read_only
        memory = self._memory.open(self.values.memory, self._identity, contract, size, read_only)
        self._planner = Planner(model, contract, config, card, guardrails, memory=memory, beside=True)
        self._settings = planner_messages.settings(config)
        self._part = PlannerPart(self._planner, Perception(model, contract))
        self._body = body_of(contract)
        self._servo = servo_for(self, contract, self._body, self._part.log, self._send)
        seconds = self._planner.warm_up()
        self.get_logger().info(f"model {self._identity}; one iteration of the search takes {seconds * 1e3:.1f} ms")
        if self._planner.too_slow:
            self.get_logger().error(f"no plan will be made: {self._planner.too_slow}")
        self._last_stamp: float | None = None
        self._steps = 0
        self._gate_bytes: bytes | None = None
        topic = self.values.command_topic or contract.command.topic
        self._entities = [
            qos.subscription(self, self._codec.output_type, topic, self._on_gated, qos.COMMAND),
            qos.subscription(self, DiagnosticArray, "safety_gate/state", self._on_gate, qos.LATCHED, raw=True),
        ]
        if (told := self._part.odometry.topic) is not None:
            self._entities.append(qos.subscription(self, Odometry, told.topic, self._on_odom, qos.STATE))
        if (shown := self._part.scans.topic) is not None:
            self._entities.append(qos.subscription(self, LaserScan, shown.topic, self._on_scan, qos.STATE))
        self.goals.open(self._part, contract)
        self._places.open(self._planner)
        if not self._embedded:
            if memory is not None and not read_only:
                self._pictures = RecentPictures(self, contract)
            self._entities.append(qos.subscription(self, Image, "embedding", self._on_embedding, qos.EMBEDDING))

    def release(self) -> None:
        """Stop listening and let go of the model; the goal is forgotten."""
        for entity in self._entities:
            self.destroy_subscription(entity)
        self._entities = []
        self.goals.close()
        self._places.close()
        if self._pictures is not None:
            self._pictures.close()
        if self._servo is not None:
            self._servo.close()
        if self._planner is not None:
            self._planner.close()
        if self._reader is not None:
            self._reader.close()
        self._planner = self._part = self._servo = self._reader = self._pictures = None
        self._memory.close()

    def close(self) -> None:
        """The process ends: stop deliberating, and write what is new in the memory."""
        if self._planner is not None:
            self._planner.close()
        self._memory.close()

    def destroy_node(self) -> None:
        """End the process that reads guardrails, and the node."""
        self._setters.close()
        if self._reader is not None:
            self._reader.close()
        super().destroy_node()

    def _prepare(self, changes: dict[str, Any]) -> None:
        """In a thread, beside the steps: read another guardrail set."""
        text = changes.get("guardrails")
        if isinstance(text, str) and self._planner is not None:
            if self._reader is None:
                self._reader = SetReader(self._contract)
            self._prepared = (text, self._reader.read(text).bind(self._contract))

    def on_active(self, active: bool) -> None:
        """Start from nothing when activated, and leave an explicit "stand still" when deactivated."""
        self._part.reset()
        self._last_stamp = None
        if not active:
            now = self.get_clock().now().nanoseconds * 1e-9
            if self._servo is not None:
                self._servo.rest()
            self._send(self._contract.neutral() if self._servo is None else None, now)

    def apply(self, changes: dict[str, Any]) -> None:
        """New guardrails or costs, all of them or none, from the next plan on."""
        text, prepared = self._prepared
        self._prepared = ("", None)
        known = prepared if prepared is not None and text == changes.get("guardrails") else None
        chosen = planner_settings.check(changes, self._contract, known)
        if self._planner is None:
            return
        if "costs" in chosen:
            self._planner.check_weights(chosen["costs"])
        if "search.risk" in chosen:
            self._planner.check_risk(chosen["search.risk"])
        if "guardrails" in chosen:  # the last that can be refused
            self._planner.set_guardrails(chosen["guardrails"])
        if "costs" in chosen:
            self._planner.set_weights(chosen["costs"])
        if "search.risk" in chosen:
            self._planner.set_risk(chosen["search.risk"])
            self._settings = planner_messages.settings(self._planner.config)
        self.get_logger().info(f"changed: {', '.join(chosen)}")

    # ------------------------------------------------------------ one control step

    def _on_embedding(self, message: Image) -> None:
        try:
            latent = latent_of(message)
        except JepaRosError as error:
            self.get_logger().error(str(error), throttle_duration_sec=2.0)
            return
        stamp = stamp_of(message)
        self.take_latent(latent, stamp, None if self._pictures is None else self._pictures.at(stamp))

    def take_latent(self, latent: NDArray[np.float32], stamp: float, picture: Picture | None = None) -> None:
        """Answer the image of ``stamp`` [s], which begins a control step: by topic and from the same process alike.

        Where planning fails the answer is a stop that says why, without a heartbeat.
        """
        if not self.active or stamp == self._last_stamp:
            return
        started = time.monotonic()
        self._last_stamp = stamp
        told = self._part.told(stamp, self._gate_value("reason", ""))
        thought = self._part.think(latent, stamp, told, picture=picture)
        if thought.error:
            self.get_logger().error(f"planning failed: {thought.error}", throttle_duration_sec=2.0)
        (self._send if self._servo is None else self._servo.ask)(thought.output.command, stamp)
        self._steps += 1
        self._tell(thought, stamp, time.monotonic() - started)
        if not thought.error:
            self.beat(self._identity)

    def _send(self, values: NDArray[np.float64] | None, stamp: float) -> None:
        """Publish a command (J,), None to stand still, with the stamp [s] of the image that it came from."""
        self._command_out.publish(self._codec.write_input(values, stamp))

    def _tell(self, thought: Any, stamp: float, busy: float) -> None:
        """Publish what was thought: for the gate first, then for people."""
        from jepa_ros.planning.carried import Carried  # and torch with it: see configure

        output, told = thought.output, thought.told
        when = to_stamp(stamp)
        frame = self._contract.frames.map
        self._signals_out.publish(planner_messages.signals(when, output, self._planner.guardrails.hash, self._identity))
        facts = {
            "step": self._steps,
            "busy_s": busy,
            **self.goals.facts(),
            "gate": self._gate_value("mode", "unknown"),
            # All digits, and the settings: what a replay needs to repeat this plan.
            "executed": planner_messages.exact(told.executed),
            "gated": planner_messages.exact(told.gated),
            "gate_reason": told.reason,
            "command": planner_messages.exact(output.command),
            "carried": Carried.of(self._planner).to_plain(),
            "settings": self._settings,
        }
        self._status_out.publish(planner_messages.status(when, output, facts))
        if output.track is not None:
            self._plan_out.publish(planner_messages.path(when, frame, output.track))
        self._candidates_out.publish(planner_messages.candidates(when, frame, output.candidates))
        if self._futures_out.get_subscription_count():
            size = self._planner.model.config.latent_dim
            self._futures_out.publish(planner_messages.futures(output.futures, size))
        if output.tree is not None:
            self._tree_out.publish(planner_messages.tree(output.tree))
        places = self._planner.view("map")
        if places is not None and (self._steps - 1) % MAP_EVERY == 0:
            self._map_out.publish(planner_messages.traversability(when, frame, places))

    def _on_gated(self, message: Any) -> None:
        reading = self._codec.read_output(message)
        now = self.get_clock().now().nanoseconds * 1e-9
        self._body.gated(reading.values)
        self._part.log.add(now if reading.stamp is None else reading.stamp, reading.values)

    def _on_odom(self, message: Odometry) -> None:
        self._part.odometry.take(odom_in(message, self._contract))

    def _on_scan(self, message: LaserScan) -> None:
        self._part.scans.take(scan_in(message))

    def _on_gate(self, data: bytes) -> None:
        # The gate speaks at 50 Hz; it is read once a step, when it is needed.
        self._gate_bytes = data

    def _gate_value(self, key: str, default: str) -> str:
        """One value of the gate's newest state."""
        if self._gate_bytes is None:
            return default
        found = raw_value(self._gate_bytes, key)
        return default if found is None else found

    # ------------------------------------------------------------ services

    def _on_pause(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        if self._unconfigured(response):
            return response
        self._planner.paused = bool(request.data)
        response.success, response.message = True, "paused" if request.data else "planning"
        return response

    def _on_clear_goal(self, _request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        if self._unconfigured(response):
            return response
        self._planner.set_goal(None)
        self._part.reset()
        response.success, response.message = True, "no goal"
        return response

    def _on_goal_from_current(self, _request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        if self._unconfigured(response):
            return response
        goal = self._planner.goal_from_current()
        if goal is None:
            response.success, response.message = False, "no image has been seen yet"
            return response
        self.goals.take(goal, "the present image as goal")
        response.success, response.message = True, "the goal is what the camera saw last"
        return response

    def _unconfigured(self, response: Any) -> bool:
        if self._planner is None:
            response.success, response.message = False, "the planner is not configured"
            return True
        return False


def main(args: Sequence[str] | None = None) -> int:
    """Run the node until a signal; return the exit code."""
    return run(lambda: [PlannerNode()], "planner", args)


if __name__ == "__main__":
    leave(main())
