# SPDX-License-Identifier: Apache-2.0
"""A robot for Foxglove and Lichtblick: their WebSocket protocol, by the package foxglove-sdk.

It listens on this machine alone, because the protocol knows neither tokens nor origins. Clients look, and may stop the
robot; the rest of what an operator says is let through only when asked for, and goes to gate and planner.

:mod:`~jepa_ros.console.foxglove.bridge` carries topics, :mod:`~jepa_ros.console.foxglove.commands` is what clients may
say, :mod:`~jepa_ros.console.foxglove.layout` makes the panels, :mod:`~jepa_ros.console.foxglove.installed` runs the
``foxglove_bridge`` of a ROS installation in its place.
"""

#: Where the bridge listens; one above the console's own port.
PORT = 8766
#: Topics that the bridge itself makes: paths in the camera's picture, and where the robot is.
ANNOTATIONS, FRAMES = "planner/annotations", "console/frame"
#: Topics that clients may publish on when they may command.
CLIENT_TOPICS = ("command_teleop", "goal_pose", "goal_tag")
#: The service that every client may call, of :data:`jepa_ros.console.asking.SERVICES`.
STOP = "stop"
