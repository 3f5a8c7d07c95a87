# SPDX-License-Identifier: Apache-2.0
"""What a demonstration needs around it: a folder, a ROS domain of its own, and an orderly end on a signal."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jepa_ros.bringup.stack import Stack
from jepa_ros.errors import JepaRosError
from jepa_ros.ros_env import reserved_domain, ros_environment

LEAST_DISK = 200e6  # bytes that must be free before a run


class DemoError(JepaRosError):
    """The demonstration cannot be run; the message says why."""


def make_folder(wanted: Path | None) -> Path:
    """Make the folder of a run; runs/<time> where none is named.

    Raises:
        DemoError: it exists, cannot be made, or the disk is nearly full.
    """
    out = wanted or Path("runs") / time.strftime("%Y-%m-%d_%H-%M-%S")
    try:
        out.mkdir(parents=True)
    except FileExistsError:
        raise DemoError(f"{out} exists already: choose another folder with --out, or remove it first") from None
    except OSError as error:
        raise DemoError(f"{out}: the folder cannot be made: {error.strerror}") from None
    free = shutil.disk_usage(out).free
    if free < LEAST_DISK:
        out.rmdir()
        raise DemoError(f"{out}: only {free / 1e6:.0f} MB are free on that disk, a run needs {LEAST_DISK / 1e6:.0f} MB")
    return out


@contextlib.contextmanager
def run_domain() -> Iterator[str]:
    """The ROS domain of the run, in the environment: the one that is set, else one that nobody here uses."""
    before = dict(os.environ)
    with contextlib.ExitStack() as held:
        given = os.environ.get("ROS_DOMAIN_ID")
        domain = given or str(held.enter_context(reserved_domain()))
        os.environ.update(ros_environment(ROS_DOMAIN_ID=domain))
        try:
            yield domain
        finally:
            os.environ.clear()
            os.environ.update(before)


@contextlib.contextmanager
def ordered_stop(stack: Stack) -> Iterator[None]:
    """The first SIGINT or SIGTERM leaves the block, which stops everything in order; a second one hurries that."""
    seen: list[int] = []

    def on_signal(number: int, _frame: Any) -> None:
        seen.append(number)
        if len(seen) == 1:
            raise KeyboardInterrupt
        stack.hurry()
        print("stopping at once", file=sys.stderr)

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
