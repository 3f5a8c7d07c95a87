# SPDX-License-Identifier: Apache-2.0
"""PyBullet's window, as a mirror in a process of its own.

A window waits for its picture at every call, tens of milliseconds where no graphics card draws it; physics that waited
with it would no longer keep up with the clock. So the physics runs without one, and tells the window now and then what
there is and where it is. Closing the window closes the window, not the simulation.
"""

from __future__ import annotations

import multiprocessing
import os
import queue
import sys
from typing import Any

from jepa_ros.workers import thread_environment

from ..common.engine import pybullet as p
from ..common.errors import SimError
from .body import make_body
from .camera import PERSON_COLOUR, PERSON_HEIGHT, add_box, add_cylinder, build_static
from .layout import Layout
from .scene import Draw

SIZE = "--width=720 --height=720"
OPEN_TIME = 60.0  # s: a window drawn by the processor alone takes its time to open
CLOSE_TIME = 3.0  # s
#: The window draws a link in one colour, however many its parts have. A box shows where the front is.
FRONT, FRONT_HALF, FRONT_COLOUR = (0.045, 0.0, 0.09), (0.03, 0.05, 0.025), (1.0, 0.8, 0.05)


class Window:
    """A window on one simulation.

    Raises:
        SimError: there is no display, or the window cannot be opened.
    """

    def __init__(self) -> None:
        if sys.platform == "linux" and not os.environ.get("DISPLAY"):  # PyBullet would end the process
            raise SimError("the simulator's window needs a display: set DISPLAY, or run with gui=False")
        context = multiprocessing.get_context("spawn")
        self._queue: Any = context.Queue()
        self._sent, self._shown = 0, context.Value("L", 0)
        opened = context.Event()
        arguments = (self._queue, self._shown, opened, os.getpid())
        self._process = context.Process(target=_run, args=arguments, daemon=True)
        with thread_environment():
            self._process.start()
        if not opened.wait(OPEN_TIME) or not self._process.is_alive():
            self.close()
            raise SimError(f"PyBullet could not open its window on display {os.environ.get('DISPLAY')}")

    def build(self, layout: Layout, draw: Draw, person_radius: float | None) -> None:
        """Show another scene."""
        self._send("build", layout, draw, person_radius)

    def show(self, robot: tuple, person: tuple[float, float] | None) -> None:
        """Move the robot, (position, orientation) as PyBullet gives them, and the person; not while others wait."""
        if self._sent - self._shown.value <= 1:
            self._send("show", robot, person)

    def _send(self, *message: Any) -> None:
        if self._process.is_alive():
            self._queue.put(message)
            self._sent += 1

    def close(self) -> None:
        """Close the window."""
        self._process.kill()
        self._process.join(CLOSE_TIME)
        self._queue.cancel_join_thread()
        self._queue.close()


def _run(messages: Any, shown: Any, opened: Any, parent: int) -> None:
    """The mirror's process; ends with its parent."""
    client = p.connect(p.GUI, options=SIZE)
    if client < 0:
        return
    opened.set()
    for flag in (p.COV_ENABLE_GUI, p.COV_ENABLE_SHADOWS):
        p.configureDebugVisualizer(flag, 0, physicsClientId=client)
    p.resetDebugVisualizerCamera(1.6, 0, -75, (0, 0, 0), physicsClientId=client)
    robot, front, someone = -1, -1, None
    while os.getppid() == parent and p.isConnected(client):
        try:
            kind, *rest = messages.get(timeout=1.0)
        except queue.Empty:
            continue
        if kind == "build":
            layout, draw, radius = rest
            p.configureDebugVisualizer(p.COV_ENABLE_RENDERING, 0, physicsClientId=client)
            p.resetSimulation(physicsClientId=client)
            build_static(client, layout, draw.look, solid=True)
            floor = p.createMultiBody(0, physicsClientId=client)
            robot = make_body(client, floor, (0.0, 0.0, 0.0), draw).id
            front = add_box(client, FRONT_HALF, FRONT, 0.0, FRONT_COLOUR, False)
            someone = None if radius is None else add_cylinder(client, radius, PERSON_HEIGHT, PERSON_COLOUR)
            p.configureDebugVisualizer(p.COV_ENABLE_RENDERING, 1, physicsClientId=client)
        elif robot >= 0:
            (position, orientation), person = rest
            p.resetBasePositionAndOrientation(robot, position, orientation, physicsClientId=client)
            place = p.multiplyTransforms(position, orientation, FRONT, (0, 0, 0, 1), physicsClientId=client)
            p.resetBasePositionAndOrientation(front, *place, physicsClientId=client)
            if someone is not None and person is not None:
                place = (*person, PERSON_HEIGHT / 2)
                p.resetBasePositionAndOrientation(someone, place, (0, 0, 0, 1), physicsClientId=client)
        shown.value += 1
