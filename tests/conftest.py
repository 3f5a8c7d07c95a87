# SPDX-License-Identifier: Apache-2.0
"""What every test runs in: localhost only, a ROS domain of its own for each test process, one compute thread."""

from __future__ import annotations

import contextlib
import os

import pytest

from jepa_ros.ros_env import reserved_domain, ros_environment

_held = contextlib.ExitStack()
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
os.environ["OMP_NUM_THREADS"] = "1"
os.environ.update(ros_environment(ROS_DOMAIN_ID=str(_held.enter_context(reserved_domain()))))


def pytest_unconfigure() -> None:
    _held.close()


@pytest.fixture
def ros_domain() -> str:
    """The domain id that this test process holds; child processes inherit it."""
    return os.environ["ROS_DOMAIN_ID"]
