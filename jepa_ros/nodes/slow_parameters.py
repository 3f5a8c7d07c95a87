# SPDX-License-Identifier: Apache-2.0
"""The services that set parameters, for a node that must not be held up by a value that takes long to read.

rclpy answers a request in one call of the executor. Here the value is prepared in a thread meanwhile, and the request
waits for it without holding anything up; another request waits for the first.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from rcl_interfaces.msg import SetParametersResult
from rcl_interfaces.srv import (
    DescribeParameters,
    GetParameters,
    GetParameterTypes,
    ListParameters,
    SetParameters,
    SetParametersAtomically,
)
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.parameter_service import ParameterService
from rclpy.qos import qos_profile_parameters

from jepa_ros.errors import JepaRosError

#: A reason that is longer is cut: it may quote a text of any length.
LONGEST_REASON = 500


class SlowParameterService(ParameterService):  # type: ignore[misc]
    """In the place of rclpy's, for a node that is made with ``start_parameter_services=False``.

    Args:
        prepare: called in a thread with a parameter's new values, ``{name: value}``, before they are set; it may take
            its time, and raises a :class:`~jepa_ros.errors.JepaRosError` to refuse them.
    """

    def __init__(self, node: Node, prepare: Callable[[dict[str, Any]], None]) -> None:
        self._node_weak_ref = weakref.ref(node)
        self._prepare = prepare
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="parameters")
        # A request that waits holds up its callback group: the node's own goes on.
        waiting = MutuallyExclusiveCallbackGroup()
        for kind, name, callback, group in (
            (DescribeParameters, "describe_parameters", self._describe_parameters_callback, None),
            (GetParameters, "get_parameters", self._get_parameters_callback, None),
            (GetParameterTypes, "get_parameter_types", self._get_parameter_types_callback, None),
            (ListParameters, "list_parameters", self._list_parameters_callback, None),
            (SetParameters, "set_parameters", self._on_set, waiting),
            (SetParametersAtomically, "set_parameters_atomically", self._on_set_atomically, waiting),
        ):
            topic = f"{node.get_name()}/{name}"
            node.create_service(kind, topic, callback, qos_profile=qos_profile_parameters, callback_group=group)

    def close(self) -> None:
        """Wait for nothing that is still being prepared."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _on_set(self, request: Any, response: Any) -> Any:
        for message in request.parameters:
            response.results.append(await self._set([message]))
        return response

    async def _on_set_atomically(self, request: Any, response: Any) -> Any:
        response.result = await self._set(request.parameters)
        return response

    async def _set(self, messages: list[Any]) -> SetParametersResult:
        """Set some parameters, all or none."""
        try:
            changes = [Parameter.from_parameter_msg(message) for message in messages]
            await _Waiting(self._thread.submit(self._prepare, {p.name: p.value for p in changes}))
            result: SetParametersResult = self._get_node().set_parameters_atomically(changes)
        except JepaRosError as error:
            self._get_node().get_logger().warning(f"parameter change refused: {str(error)[:LONGEST_REASON]}")
            result = SetParametersResult(successful=False, reason=str(error))
        except Exception as error:  # a parameter that is not declared, a value that is none
            result = SetParametersResult(successful=False, reason=str(error))
        result.reason = result.reason[:LONGEST_REASON]
        return result


class _Waiting:
    """A thread's future, awaited the way rclpy's executor looks at what waits: once a round."""

    def __init__(self, future: Future[None]) -> None:
        self._future = future

    def __await__(self) -> Generator[None, None, None]:
        while not self._future.done():
            yield
        return self._future.result()
