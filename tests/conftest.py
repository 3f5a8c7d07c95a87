# SPDX-License-Identifier: Apache-2.0
"""What every test runs in: localhost only, a ROS domain of its own for each test process, one compute thread.

Tests that start ROS processes or measure time are marked ``alone`` by the name of their file: they run one after the
other, when nothing else runs. All others run side by side.
"""

from __future__ import annotations

import contextlib
import gc
import os
import shutil
import signal
from pathlib import Path

import pytest

from jepa_ros.ros_env import listeners, reserved_domain, ros_environment

#: Files, by the beginning of their name, whose tests want the machine for themselves.
ALONE = (
    "test_ros_", "test_demo", "test_doctor", "test_other_robot", "test_two_machines", "test_bag_recorder",
    "test_bag_player", "test_bag_writer", "test_console_browser", "test_console_foxglove", "test_console_server",
    "test_gate_faults", "test_gate_processes", "test_gate_reading", "test_one_recording", "test_progress",
    "test_workers", "test_search_native", "test_training_processes", "test_cluster",
)  # fmt: skip

#: Files whose tests train something, build something or play many episodes: `make test-fast` leaves them out.
SLOW = (
    "test_gate_histories", "test_gate_reach", "test_gate_directed", "test_gate_episodes", "test_training",
    "test_readouts", "test_place_map", "test_world_registry", "test_packaging", "test_release", "test_gym_world",
    "test_lerobot",
    "test_bag_dataset", "test_bag_replay", "test_bag_repair", "test_guardrail_bench", "test_arena_episodes", "test_cli",
)  # fmt: skip

# What nohup or a shell's & made ignored would be ignored by the processes of the tests too.
for _number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
    if signal.getsignal(_number) == signal.SIG_IGN:
        signal.signal(_number, signal.default_int_handler if _number == signal.SIGINT else signal.SIG_DFL)

_held = contextlib.ExitStack()
_files: dict[str, Path] = {}  # the file of the last test
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
os.environ["OMP_NUM_THREADS"] = "1"
os.environ.update(ros_environment(ROS_DOMAIN_ID=str(_held.enter_context(reserved_domain()))))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.name.startswith(ALONE):
            item.add_marker("alone")
        if item.path.name.startswith(SLOW):
            item.add_marker("slow")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """A node that a file leaves in this process would answer for the stacks of the files after it."""
    before, _files["last"] = _files.get("last", item.path), item.path
    if before != item.path:
        gc.collect()
        own, _ = listeners(int(os.environ["ROS_DOMAIN_ID"]))
        assert not own, f"{before.name} left a ROS node in this process: destroy it where it was made"


def pytest_unconfigure() -> None:
    _held.close()


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """A copy of the sources as a clone would have them, so that no build leaves anything in the checkout."""
    root = Path(__file__).parents[1]
    left = {"runs", "data", "build", "install", "log", "dist"}  # in the root alone: jepa_ros/learning/data is code

    def ignored(folder: str, names: list[str]) -> set[str]:
        made = {n for n in names if n.startswith(".") or n == "__pycache__" or n.endswith(".egg-info")}
        return made | (left if Path(folder) == root else set())

    folder = tmp_path_factory.mktemp("ws") / "src" / "jepa_ros"
    shutil.copytree(root, folder, ignore=ignored)
    return folder


@pytest.fixture
def ros_domain() -> str:
    """The domain id that this test process holds; child processes inherit it."""
    return os.environ["ROS_DOMAIN_ID"]


@pytest.fixture(scope="module")
def browser():
    """Of the tests that look at the operator's page."""
    from console_browser import browsing

    with browsing() as chromium:
        yield chromium
