# SPDX-License-Identifier: Apache-2.0
"""The base of the managed nodes (perception, planner), and the client that watches them from outside.

A managed node does its work only while ``active``. With its parameter ``autostart`` it configures and activates
itself as soon as it spins: bringup sets it, so that a node that was started again after a crash comes back without
anybody's help, under ``ros2 launch`` and ``jepa-ros up`` alike. Without it an operator or a manager drives it.
"""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Iterable, Sequence
from typing import Any

import rclpy
from lifecycle_msgs.srv import GetState
from rclpy.clock import Clock, ClockType
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from std_msgs.msg import Header

from jepa_ros.errors import JepaRosError
from jepa_ros.nodes import params, qos
from jepa_ros.ros_env import starting_ros

AUTOSTART = params.Param("autostart", False, "Configure and activate as soon as the process runs.")


#: Loading and compiling are of the whole process; nodes of several threads take turns.
_one_at_a_time = threading.Lock()


class ManagedNode(LifecycleNode):
    """A lifecycle node with parameters, a heartbeat and errors that are told in one line.

    Subclasses implement :meth:`configure` (build everything; may raise
    :class:`~jepa_ros.errors.JepaRosError`), :meth:`release` (the opposite), and :meth:`apply` (live parameters).
    They do their work only while ``self.active``.

    Args:
        name: of the node.
        declared: its parameters; ``autostart`` is added.
        also_known: parameters of another node in the same process, which share the command line.
    """

    def __init__(
        self,
        name: str,
        declared: Sequence[params.Param],
        also_known: Iterable[str] = (),
        **options: Any,
    ) -> None:
        super().__init__(name, **options)
        self._params = (*declared, AUTOSTART)
        self.active = False
        self.values = params.declare(self, self._params, also_known)
        self._live = params.LiveParameters(self, self._params, self.apply, lambda: self._configured)
        self._configured = False
        self._heartbeat_out = qos.publisher(self, Header, "~/heartbeat", qos.HEARTBEAT)
        self.failure: JepaRosError | None = None
        if self.values.autostart:
            self._autostart = self.create_timer(0.0, self._start, clock=Clock(clock_type=ClockType.STEADY_TIME))

    # ------------------------------------------------------------ for subclasses

    def configure(self) -> None:
        """Build what the node needs from ``self.values``."""
        raise NotImplementedError

    def release(self) -> None:
        """Let go of what :meth:`configure` built."""

    def apply(self, changes: dict[str, Any]) -> None:
        """Take new values of live parameters, or raise to refuse all of them."""

    def on_active(self, active: bool) -> None:
        """Called after the node became active or inactive."""

    def beat(self, identity: str) -> None:
        """Publish the heartbeat: call it from the thread that does the work, after work is done.

        Args:
            identity: the model's id; it travels as the header's ``frame_id``.
        """
        message = Header(frame_id=identity)
        message.stamp = self.get_clock().now().to_msg()
        self._heartbeat_out.publish(message)

    # ------------------------------------------------------------ transitions

    def _start(self) -> None:
        self._autostart.cancel()
        if self.trigger_configure() != TransitionCallbackReturn.SUCCESS:
            raise self.failure or JepaRosError("configuring failed")
        if self.trigger_activate() != TransitionCallbackReturn.SUCCESS:
            raise self.failure or JepaRosError("activating failed")

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Read the parameters and build the node; a mistake in them leaves it unconfigured, with the reason logged."""
        self.failure = None
        self.values = params.read(self, self._params)
        try:
            with _one_at_a_time:
                started = time.monotonic()
                self.configure()
        except JepaRosError as error:
            self.failure = error
            self.get_logger().error(f"cannot be configured: {error}")
            self.release()
            return TransitionCallbackReturn.FAILURE
        except Exception:
            self.get_logger().error(f"cannot be configured:\n{traceback.format_exc()}")
            self.release()
            return TransitionCallbackReturn.FAILURE
        self._configured = True
        self.get_logger().info(f"configured in {time.monotonic() - started:.1f} s")
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Begin to work."""
        self.active = True
        self.on_active(True)
        self.get_logger().info("active")
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop working; the gate misses the heartbeat and stops the robot."""
        self.active = False
        self.on_active(False)
        self.get_logger().info("inactive")
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Let go of everything; it can be configured anew."""
        self._configured = False
        self.release()
        return super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """End for good."""
        self.active = self._configured = False
        self.release()
        return super().on_shutdown(state)


class Watcher:
    """Asks managed nodes for their state, and the graph for its nodes, from a process that is no part of it.

    Args:
        domain_id: None for ``ROS_DOMAIN_ID``.
    """

    def __init__(self, name: str, domain_id: int | None = None) -> None:
        self._context = Context()
        with starting_ros():
            rclpy.init(args=[], context=self._context, domain_id=domain_id)
            self.node = rclpy.create_node(
                name, context=self._context, start_parameter_services=False, enable_rosout=False
            )
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._clients: dict[str, Any] = {}
        self._asked: dict[str, tuple[Any, float]] = {}
        self._states: dict[str, str] = {}

    def spin(self, seconds: float) -> None:
        """Handle what arrives for ``seconds``."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._executor.spin_once(timeout_sec=left)

    def nodes(self) -> set[str]:
        """Full names of the nodes that are known now."""
        pairs = self.node.get_node_names_and_namespaces()
        return {f"{space.rstrip('/')}/{name}" for name, space in pairs} - {f"/{self.node.get_name()}"}

    def state(self, full_name: str) -> str | None:
        """The last known state of a managed node ("active", ...), and ask for it anew; None before an answer.

        A request to a server that died is never answered, so one that is older than 0.5 s is given up.
        """
        client = self._clients.get(full_name)
        if client is None:
            client = self._clients[full_name] = self.node.create_client(GetState, f"{full_name}/get_state")
        future, asked = self._asked.get(full_name, (None, 0.0))
        now = time.monotonic()
        if future is not None and future.done():
            self._states[full_name] = future.result().current_state.label
        if (future is None or future.done() or now - asked > 0.5) and client.service_is_ready():
            if future is not None and not future.done():
                client.remove_pending_request(future)
            self._asked[full_name] = (client.call_async(GetState.Request()), now)
        return self._states.get(full_name)

    def close(self) -> None:
        """Leave the graph."""
        self._executor.shutdown(timeout_sec=1.0)
        self.node.destroy_node()
        self._context.try_shutdown()
