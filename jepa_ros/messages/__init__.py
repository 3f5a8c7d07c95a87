# SPDX-License-Identifier: Apache-2.0
"""What a message says, whichever library took it apart: rclpy or rosbags. No ROS is needed.

The ONE place where message fields become arrays and numbers: the nodes, replay and datasets all read by it. Bytes that
were not taken apart are read here too. Nothing is judged: the gate and perception say what will not do.
"""

from jepa_ros.errors import JepaRosError


class MessageError(JepaRosError):
    """A message that cannot be read; the text says what was found and what is accepted."""


__all__ = ["MessageError"]
