# SPDX-License-Identifier: Apache-2.0
"""The command line, ``jepa-ros COMMAND``: which module runs a command, and what an error looks like.

A command's module offers ``add_arguments(parser)`` and ``main(args) -> int``. Only the module of the given command is
imported, so ``jepa-ros --help`` needs neither torch nor ROS.

Exit codes: the command's own (0 is success), 2 for a mistake in the input (one line, ``error: ...``), 130 for Ctrl-C.
``JEPA_ROS_TRACEBACK=1`` shows the traceback behind an error line.
"""

from __future__ import annotations

import errno
import importlib
import os
import sys
import traceback
from collections.abc import Sequence

from jepa_ros import __version__
from jepa_ros.contract.resources import share_dir
from jepa_ros.errors import JepaRosError
from jepa_ros.interrupts import INTERRUPTED, say_interrupted, while_importing
from jepa_ros.options import Parser
from jepa_ros.ros_env import ros_environment

COMMANDS: dict[str, tuple[str, str]] = {
    "demo": (
        "jepa_ros.commands.demo",
        "run the whole stack in PyBullet on one goal picture, with a live table and a verdict",
    ),
    "up": ("jepa_ros.commands.up", "start the nodes (sim, robot, replay or fleet), as ros2 launch would"),
    "collect": (
        "jepa_ros.learning.data.collect",
        "drive a simulated robot and store pictures and actions as a dataset",
    ),
    "train": ("jepa_ros.learning.command", "train a world model on a dataset"),
    "eval": ("jepa_ros.evaluation.evaluate", "score a model, and a random policy and an oracle for comparison"),
    "think": ("jepa_ros.commands.think", "run the deliberate search on one task without driving, and draw its tree"),
    "bench": ("jepa_ros.commands.bench", "measure speed and safety"),
    "record": ("jepa_ros.bags.record", "record a running graph into a rosbag2 bag"),
    "replay": ("jepa_ros.bags.replay", "play a bag through perception, planner and gate"),
    "info": ("jepa_ros.bags.info", "show what is in a bag (topics, rates, gaps), or repair it"),
    "dataset": ("jepa_ros.bags.dataset", "turn bags or LeRobot sets into training data, or data into a LeRobot set"),
    "explore": ("jepa_ros.commands.explore", "drive a real robot at random through its gate, to record training data"),
    "gate": ("jepa_ros.commands.gate", "enable, disable, reset or stop the gate, or show its state"),
    "goal": ("jepa_ros.commands.goal", "give the planner a goal (picture, pose, tag, current view), or clear it"),
    "memory": ("jepa_ros.commands.memory", "show a long-term memory, make one from a bag, or merge several"),
    "check": ("jepa_ros.commands.check", "check a robot contract, a checkpoint or a world"),
    "console": (
        "jepa_ros.commands.console",
        "serve the operator's page in a browser: watch the robot, give goals, stop it",
    ),
    "doctor": ("jepa_ros.commands.doctor", "check a running graph: publishers, QoS, clock, silent topics"),
}

# How to install a missing package. Packages that are not listed have the same name in pip and in import.
INSTALL = {
    "rclpy": "pip install 'jepa_ros[ros]', or source an installed ROS 2",
    "pybullet": "pip install 'jepa_ros[sim]'",
    "matplotlib": "pip install 'jepa_ros[sim]'",
    "PIL": "pip install 'jepa_ros[sim]'",
    "pyarrow": "pip install 'jepa_ros[lerobot]'",
    "av": "pip install 'jepa_ros[lerobot]'",
    "gymnasium": "pip install 'jepa_ros[gym]'",
    "rerun": "pip install 'jepa_ros[rerun]'",
    "foxglove": "pip install 'jepa_ros[foxglove]'",
    "cv2": "pip install opencv-python-headless",
    "yaml": "pip install PyYAML",
}


def build_parser(command: str | None) -> Parser:
    """Return the parser of ``jepa-ros``. Only `command`'s module is imported, and only its arguments are filled in."""
    parser = Parser(
        prog="jepa-ros",
        description="Objective-driven robot control by search in a learned world model, on ROS 2.",
        epilog="jepa-ros COMMAND --help lists the arguments of a command.",
    )
    parser.add_argument("--version", action="version", version=f"jepa_ros {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, (module_name, summary) in COMMANDS.items():
        if name == "bench" and not (share_dir() / "benchmarks").is_dir():
            continue  # an installed package does not hold them
        chosen = name == command
        child = commands.add_parser(name, help=summary, description=summary, add_help=chosen)
        if chosen:
            module = importlib.import_module(module_name)
            module.add_arguments(child)
            child.set_defaults(run=module.main)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    command = next((word for word in arguments if not word.startswith("-")), None)
    os.environ.update(ros_environment())  # every command, and every process that one starts, sees the same graph
    try:
        try:
            with while_importing():
                options = build_parser(command).parse_args(arguments)
            return int(options.run(options) or 0)
        finally:
            sys.stdout.flush()  # here, where a closed pipe is expected, and not when the interpreter ends
    except KeyboardInterrupt:
        say_interrupted()
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output went away, as `jepa-ros info BAG | head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except JepaRosError as error:
        return _fail(str(error))
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in ("", "jepa_ros", "jepa_ros_sim"):  # ours: a bug, not something to install
            raise
        return _fail(f"the Python package {package} is missing: {INSTALL.get(package, f'pip install {package}')}")
    except OSError as error:
        if error.filename is None and error.errno != errno.ENOSPC:
            raise
        return _fail(f"{error.strerror}{f': {error.filename}' if error.filename is not None else ''}")


def _fail(message: str) -> int:
    if os.environ.get("JEPA_ROS_TRACEBACK"):
        traceback.print_exc()
    sys.stdout.flush()
    print(f"error: {message}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
