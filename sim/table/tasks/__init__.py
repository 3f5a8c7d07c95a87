# SPDX-License-Identifier: Apache-2.0
"""Tasks at the table, a file each: what is asked for, when it counts as done, who knows the way."""

from .base import TableSpec, TableTask
from .push import Push, PushRound, PushUnseen
from .reach import Reach
from .sweep import Sweep

#: {name: task to be scored}. A task that is added here is known to every command.
TASKS: dict[str, type[TableTask]] = {task.name: task for task in (Reach, Push, PushRound, PushUnseen)}
#: {name: task in which data is gathered}.
OUTINGS: dict[str, type[TableTask]] = {"play": Reach, "sweep": Sweep}

__all__ = ["OUTINGS", "TASKS", "TableSpec", "TableTask"]
