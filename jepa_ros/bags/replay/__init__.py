# SPDX-License-Identifier: Apache-2.0
"""Replaying: a bag played into running nodes, or the stack run over it in this process and compared."""

from jepa_ros.bags.replay.command import add_arguments, main, replay

__all__ = ["add_arguments", "main", "replay"]
