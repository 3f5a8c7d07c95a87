# SPDX-License-Identifier: Apache-2.0
"""Any Gymnasium environment with a Box action and RGB rendering, as a robot: the ONE module that knows gymnasium.

The environment gets a contract (:func:`contract_for`), so that datasets, checkpoints and their refusals work as for a
robot. There is no gate between planner and environment: nothing can be broken, and there is no geometry to guard.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from jepa_ros.errors import JepaRosError
from jepa_ros.loop import Observation, Policy
from jepa_ros.robot import RobotContract

Array = np.ndarray


class GymError(JepaRosError):
    """An environment that cannot be used; the message says why and what to do."""


class GymEnv:
    """A Gymnasium environment behind control steps, pictures and a contract.

    Args:
        env_id: as ``gymnasium.make`` takes it (``module:ID`` imports the module that registers it).
        args: its further arguments. repeat: of its steps for which an action is held. own_limit: keep its time limit.

    Attributes:
        contract: see :func:`contract_for`. done: the episode is over. total: sum of rewards.
        success: what the environment says of itself (None: it says nothing). observation: its last one.
    """

    def __init__(self, env_id: str, args: dict[str, Any] | None = None, repeat: int = 1, own_limit: bool = False):
        # Many environments draw with SDL, which would swallow SIGTERM: a killed command would go on.
        os.environ.setdefault("SDL_NO_SIGNAL_HANDLERS", "1")
        import gymnasium

        options = {"render_mode": "rgb_array", **({} if own_limit else {"max_episode_steps": -1}), **(args or {})}
        try:
            namespace = env_id.partition("/")[0]
            if "/" in env_id and ":" not in env_id and importlib.util.find_spec(namespace):
                importlib.import_module(namespace)  # by custom the package that registers it
            self.env = gymnasium.make(env_id, **options)
            modes = self.env.metadata.get("render_modes") or []
            if "rgb_array" not in modes:
                raise GymError(f"it cannot render to pictures: its render modes are {modes}, and 'rgb_array' is needed")
            self.space = self.env.action_space
            if not isinstance(self.space, gymnasium.spaces.Box):
                raise GymError(f"its action is {self.space}; a Box (a continuous action) is needed")
            if not (np.isfinite([self.space.low, self.space.high]).all() and (self.space.low < self.space.high).all()):
                raise GymError(f"its action is {self.space}; finite bounds, low < high, are needed")
            self.repeat = repeat
            self.reset(0)
            self.contract = contract_for(self.env, self.image().shape, repeat)
        except (gymnasium.error.UnregisteredEnv, ImportError) as error:
            where = "install its package, and give --env MODULE:ID where the package does not register it by itself"
            raise GymError(f"--env {env_id} is not there: {error} To mend it, {where}") from None
        except Exception as error:  # whatever goes wrong in other people's code is a line, not a traceback of ours
            name = "" if isinstance(error, GymError) else f"cannot be started: {type(error).__name__}: "
            raise GymError(f"--env {env_id}: {name}{error}") from None

    def reset(self, seed: int) -> None:
        """Begin an episode; equal seeds begin equally."""
        self.observation, info = self.env.reset(seed=seed)
        self.done, self.total = False, 0.0
        self._judge(info)

    def image(self) -> np.ndarray:
        """The picture now, (H, W, 3) uint8."""
        picture: Any = self.env.render()
        shape = np.shape(picture)
        if len(shape) != 3 or shape[2] != 3 or picture.dtype != np.uint8:
            raise GymError(f"render() gave {type(picture).__name__} of shape {shape}; (H, W, 3) uint8 is needed")
        return picture

    def step(self, command: np.ndarray) -> np.ndarray:
        """Hold a command (A,) for one control step; returns what was executed: the command within the bounds."""
        executed = np.clip(command, self.contract.action_low, self.contract.action_high)
        action = executed.reshape(self.space.shape).astype(self.space.dtype)
        for _ in range(self.repeat):
            self.observation, reward, ended, cut, info = self.env.step(action)
            self.total += float(reward)
            self.done = bool(ended or cut)
            self._judge(info)
            if self.done:
                break
        return executed

    def _judge(self, info: dict[str, Any]) -> None:
        threshold = self.env.spec.reward_threshold if self.env.spec else None
        # A return can be compared with the threshold at the end of an episode alone.
        by_return = None if threshold is None else self.done and self.total >= threshold
        said = [bool(np.all(info[key])) for key in ("is_success", "success") if key in info]
        self.success: bool | None = said[0] if said else by_return

    def drive(self, policy: Policy, steps: int, look: bool = True) -> Iterator[tuple[Observation, Array, Array]]:
        """Run a policy from here for at most ``steps``: yields observation, command and executed action (A,).

        ``look`` is false for a policy that needs no pictures: an empty one is quicker than a rendered one.
        """
        low, high = self.contract.action_low, self.contract.action_high
        executed, in_effect = None, np.clip(np.zeros(len(low)), low, high)
        for k in range(0 if self.done else steps):
            picture = self.image() if look else np.zeros((0, 0, 3), np.uint8)
            seen = Observation(
                step=k, stamp=k * self.contract.period, image=picture, executed=executed, gated=in_effect,
                gate_reason="", pose=None, contact=False,
            )  # fmt: skip
            command = np.asarray(policy.act(seen).command)
            executed = in_effect = self.step(command)
            yield seen, command, executed
            if self.done:
                return


def contract_for(env: Any, shape: tuple[int, ...], repeat: int) -> RobotContract:
    """A contract for an environment with pictures of ``shape``; its actions carry its name: no other's model fits."""
    name, rate = env.spec.id, min(float(env.metadata.get("render_fps") or 30.0), 100.0) / repeat
    low, high = (np.asarray(b, np.float64).ravel().tolist() for b in (env.action_space.low, env.action_space.high))
    bounds = {f"{name}.{i}": [a, b] for i, (a, b) in enumerate(zip(low, high))}
    span = {key: b - a for key, (a, b) in bounds.items()}
    return RobotContract.from_dict({
        "contract": 1, "name": name, "rate": rate, "gate_rate": max(50.0, rate),
        "description": f"Gymnasium environment {name}, an action held for {repeat} of its steps. Units are its own: "
                       "'rad' and the footprint only fill their places.",
        "footprint": {"kind": "circle", "radius": 1.0}, "kinematics": {"kind": "joints"},
        "cameras": [{"name": "image", "width": shape[1], "height": shape[0], "rate": rate, "size": 64}],
        "action": [{"name": key, "unit": "rad", "low": a, "high": b} for key, (a, b) in bounds.items()],
        "command": {"kind": "float64_multiarray", "topic": "commands", "joints": list(bounds)},
        "limits": {"velocity": span, "acceleration": span, "braking": span, "position": bounds},
    }, f"--env {name}")  # fmt: skip
