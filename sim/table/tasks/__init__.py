# SPDX-License-Identifier: Apache-2.0
"""Tasks at the table, a file each: what is asked for, when it counts as done, who knows the way."""

from .base import TableSpec, TableTask
from .reach import Reach

#: {name: task}. A task that is added here is known to every command.
TASKS: dict[str, type[TableTask]] = {"reach": Reach}

__all__ = ["TASKS", "TableSpec", "TableTask"]
