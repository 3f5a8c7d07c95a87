# SPDX-License-Identifier: Apache-2.0
"""Before an environment runs: which package registers its ID, how large it draws, how long an action is held."""

from __future__ import annotations

import contextlib
import ctypes.util
import importlib
import importlib.metadata
import importlib.util
import inspect
import os
import re
import sys
import traceback
from typing import Any

import numpy as np

#: pip's names for what IDs begin with, where nothing in the ID tells the package.
FAMILIES = (
    (r"dm_control/", "'shimmy[dm-control]'"),
    (r"ALE/", "ale-py"),
    (r"Panda\w+", "panda-gym"),
    (r"(PointMaze|AntMaze|Fetch|Hand|Adroit|FrankaKitchen)", "gymnasium-robotics"),
    (r"(LunarLander|BipedalWalker|CarRacing)", "'gymnasium[box2d]'"),
    (r"(Ant|HalfCheetah|Hopper|Humanoid|Inverted|Pusher|Reacher|Swimmer|Walker2d)", "'gymnasium[mujoco]'"),
)
EDGE = 128  # pixels: twice what the model sees; drawn larger, where the size can be chosen, pictures only take longer
#: Names that packages have for it.
SIZES = (("width", "height"), ("render_width", "render_height"), ("visualization_width", "visualization_height"))


QUIET = {"SDL_NO_SIGNAL_HANDLERS": "1", "SDL_VIDEODRIVER": "dummy", "PYGAME_HIDE_SUPPORT_PROMPT": "1"}
RATE, LEAST = 10.0, 40  # control steps a second, about, and at least so many before the environment's own time limit


def usual_repeat(spec_id: str, fps: float) -> int:
    """Steps of an environment for which an action is held, where nobody says.

    A plan is some ten control steps deep and has to reach somewhere; but a short episode should not be over in a few.
    """
    import gymnasium

    limit = gymnasium.spec(spec_id).max_episode_steps
    most = limit // LEAST if limit else LEAST
    return max(1, min(round(fps / RATE), most))


def quiet_display() -> None:
    """Draw without a window, and leave signals to us: SDL would swallow SIGTERM, and a killed command would go on."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    if sys.platform == "linux" and not {"MUJOCO_GL", "DISPLAY", "WAYLAND_DISPLAY"} & set(os.environ):
        os.environ["MUJOCO_GL"] = "egl" if ctypes.util.find_library("EGL") else "osmesa"


def register(env_id: str) -> None:
    """Import the installed package that registers ``env_id``, where nobody named it and gymnasium does not know it."""
    import gymnasium

    if ":" in env_id or env_id in gymnasium.registry:
        return
    namespace = env_id.partition("/")[0]
    if "/" in env_id and importlib.util.find_spec(namespace):
        importlib.import_module(namespace)  # by custom the package that registers it
        return
    for package in _users_of_gymnasium():
        with contextlib.suppress(Exception):  # it is not what was asked for, and may lack what it needs
            importlib.import_module(package)
        if env_id in gymnasium.registry:
            return


def _users_of_gymnasium() -> list[str]:
    """Installed top-level modules with "gym" in their name whose package needs gymnasium."""
    needs = re.compile(r"gymnasium(?![\w-])")
    return sorted(
        module
        for module, packages in importlib.metadata.packages_distributions().items()
        if "gym" in module and any(needs.match(r) for p in packages for r in importlib.metadata.requires(p) or ())
    )


def how_to_install(env_id: str) -> str:
    """The command that is likely to bring what ``env_id`` needs; empty where its name does not tell."""
    known = next((package for start, package in FAMILIES if re.match(start, env_id)), "")
    module = re.match(r"([a-z][a-z0-9_]*)[.:/]", env_id)
    package = known or (module[1].replace("_", "-") if module else "")
    return f"pip install {package}" if package else ""


def unusable(env: Any, repeat: int | None) -> str:
    """Why ``env`` cannot be driven by continuous actions and pictures; empty where it can."""
    import gymnasium

    if repeat is not None and repeat < 1:
        return f"--action-repeat {repeat}: expected at least 1"
    modes, space = env.metadata.get("render_modes") or [], env.action_space
    if "rgb_array" not in modes:
        return f"it cannot render to pictures: its render modes are {modes}, and 'rgb_array' is needed"
    if not isinstance(space, gymnasium.spaces.Box):
        continuous = "continuous" in inspect.signature(type(env.unwrapped).__init__).parameters
        hint = " (--env-args '{\"continuous\": true}' may give one)" if continuous else ""
        return f"its action is {space}; a Box (a continuous action) is needed{hint}"
    if not (np.isfinite([space.low, space.high]).all() and (space.low < space.high).all()):
        return f"its action is {space}; finite bounds, low < high, are needed"
    return ""


def smaller_pictures(env: Any, shape: tuple[int, ...], args: dict[str, Any]) -> dict[str, Any]:
    """Arguments with which ``env`` draws smaller pictures than those of ``shape``; none where it cannot be told."""
    small = EDGE / min(shape[:2])
    if small >= 1.0:
        return {}
    inner = env.unwrapped
    takes = inspect.signature(type(inner).__init__).parameters
    anything = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in takes.values())
    for holder in (inner, *vars(inner).values()):  # a window has a width as well, which nobody can ask for
        for width, height in SIZES:
            found = (getattr(holder, width, None), getattr(holder, height, None))
            asked = anything or {width, height} <= set(takes)
            if asked and found == (shape[1], shape[0]) and not {width, height} & set(args):
                return {width: round(small * shape[1]), height: round(small * shape[0])}
    return {}


def one_line(error: BaseException, most: int = 300) -> str:
    """What somebody else's exception says, as one line that ends like a sentence; where it says nothing, its place."""
    text = " ".join(str(error).split())
    if not text:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        text = f"{frame.line} ({frame.filename}, line {frame.lineno})"
    text = text if len(text) <= most else f"{text[:most]} ..."
    return text if text.endswith((".", "!", "?")) else f"{text}."
