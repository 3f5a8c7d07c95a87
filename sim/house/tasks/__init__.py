# SPDX-License-Identifier: Apache-2.0
"""Tasks in a house: where a goal picture lies, and when the base has come there."""

from .go import TASKS, Go, HouseSpec

__all__ = ["TASKS", "Go", "HouseSpec"]
