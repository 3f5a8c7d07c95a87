# SPDX-License-Identifier: Apache-2.0
"""Goals of the planner node: as pictures, in numbers, or as a remembered place by its name or number; and naming the
present one.

What was taken is told on ``~/goal``, latched, so that a recording that began later has it too.
"""

from __future__ import annotations

from typing import Any

from geometry_msgs.msg import PoseStamped
from rclpy.node import Node
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import String

from jepa_ros.contract import RobotContract
from jepa_ros.errors import JepaRosError
from jepa_ros.memory import RecallError
from jepa_ros.messages.images import pixels as pixels_of
from jepa_ros.messages.state import place_of
from jepa_ros.nodes import planner_messages, qos
from jepa_ros.nodes.planner_memory import MemoryTopic, NoMemory


class GoalTopics:
    """See the module.

    Args:
        node: that they are topics of. memory: told when a place gets a name.
    """

    def __init__(self, node: Node, memory: MemoryTopic) -> None:
        self._node, self._memory = node, memory
        self._out = qos.publisher(node, Image, "~/goal", qos.LATCHED)
        self._taken_ns, self._answers, self._refused = 0, 0, ""
        self._entities: list[Any] = []

    def open(self, part: Any, contract: RobotContract) -> None:
        """Listen, for a :class:`~jepa_ros.agent.planner_part.PlannerPart` of a robot."""
        self._part, self._planner, self._contract = part, part.planner, contract
        self._refused = ""
        self._entities = [
            *qos.subscribe_goal(self._node, Image, "goal_image", self.on_image),
            *qos.subscribe_goal(self._node, CompressedImage, "goal_image/compressed", self.on_image),
            *qos.subscribe_goal(self._node, PoseStamped, "goal_pose", self._on_pose),
            *qos.subscribe_goal(self._node, String, "goal_tag", self.on_tag),
            *qos.subscribe_goal(self._node, String, "goal_place", self.on_place),
            qos.subscription(self._node, String, "~/remember", self.on_remember, qos.COMMAND),
        ]

    def close(self) -> None:
        """Listen no more."""
        for entity in self._entities:
            self._node.destroy_subscription(entity)
        self._entities = []

    def take(self, goal: Any, what: str) -> None:
        """Set a goal, and tell it.

        Raises:
            JepaRosError: the planner refuses it.
        """
        self._planner.set_goal(goal)
        self._answers, self._refused = self._answers + 1, ""
        # Latched, and named by its time: a recording that began later, or missed the message, has the goal too.
        self._taken_ns = max(self._taken_ns + 1, self._node.get_clock().now().nanoseconds)
        self._out.publish(planner_messages.goal(self._taken_ns, goal, self._contract))
        self._node.get_logger().info(f"{what} taken")

    def facts(self) -> dict[str, Any]:
        """What the status tells of goals."""
        goal, target = self._planner.goal, self._planner.target
        pose = None if target is None else target.read("pose")
        return {
            "goal": "none" if goal is None else goal.kind,
            "goal_name": "" if goal is None else goal.name,
            "goal_at": [] if pose is None else pose[:2].tolist(),  # x, y in the map [m], where the model tells them
            "goal_ns": self._taken_ns,
            "goal_answers": self._answers,
            "goal_refused": self._refused,
        }

    def on_image(self, message: Image | CompressedImage) -> None:
        """A goal as a picture."""
        try:
            pixels, encoding = pixels_of(message)
            self.take(self._part.goal(pixels, encoding, message.header.frame_id), "goal image")
        except JepaRosError as error:
            self._refuse(f"goal image refused: {error}")

    def _on_pose(self, message: PoseStamped) -> None:
        from jepa_ros.planning.bodies import goals_of

        try:
            goals = goals_of(self._contract)
            wanted, frame = goals.frame(self._contract), message.header.frame_id
            if frame not in ("", wanted):
                self._refuse(f"goal pose refused: it is in frame '{frame}'; expected '{wanted}'")
                return
            self.take(goals.from_place(*place_of(message)), "goal pose")
        except JepaRosError as error:
            self._refuse(f"goal pose refused: {error}")

    def on_tag(self, message: String) -> None:
        """A remembered place as a goal, by its name."""
        try:
            self.take(self._with_memory().remembered_goal(message.data), f"goal '{message.data}'")
        except JepaRosError as error:
            self._refuse(f"goal tag refused: {error}")

    def on_place(self, message: String) -> None:
        """A remembered place as a goal, by its number and key, a blank between; see jepa_ros.memory.overview."""
        number, _, key = message.data.partition(" ")
        try:
            if not number.isdecimal() or len(number) > 9:
                raise RecallError(f"'{message.data[:60]}': expected the number of a place and its key")
            self.take(self._with_memory().place_goal(int(number), key), f"goal 'place {number}'")
        except JepaRosError as error:
            self._refuse(f"goal place refused: {error}")

    def on_remember(self, message: String) -> None:
        """Give the present place a name."""
        refused = ""
        try:
            self._memory.check_writable()
            self._with_memory().remember(message.data)
        except JepaRosError as error:
            refused = f"not remembered: {error}"
            self._node.get_logger().error(refused)
        self._memory.answer(refused)

    def _with_memory(self) -> Any:
        if self._planner.memory is None:
            raise NoMemory
        return self._planner

    def _refuse(self, text: str) -> None:
        self._answers, self._refused = self._answers + 1, text
        self._node.get_logger().error(text)
