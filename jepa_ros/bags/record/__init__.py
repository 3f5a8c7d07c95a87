# SPDX-License-Identifier: Apache-2.0
"""Recording: the command `jepa-ros record` and the recorder's process; `Recorder` starts and ends one from Python."""

from jepa_ros.bags.record.command import add_arguments, main
from jepa_ros.bags.record.recorder import Recorder

__all__ = ["Recorder", "add_arguments", "main"]
