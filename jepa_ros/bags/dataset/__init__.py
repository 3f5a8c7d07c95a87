# SPDX-License-Identifier: Apache-2.0
"""Bags become datasets: episodes of control steps, cut where a drive was interrupted."""

from jepa_ros.bags.dataset.command import add_arguments, main
from jepa_ros.bags.dataset.from_bags import build

__all__ = ["add_arguments", "build", "main"]
