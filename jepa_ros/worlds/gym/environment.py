# SPDX-License-Identifier: Apache-2.0
"""Any Gymnasium environment with a Box action and RGB rendering, as a robot: the ONE module that knows gymnasium.

The environment gets a contract (:func:`contract_for`), so that datasets, checkpoints and their refusals work as for a
robot. There is no gate between planner and environment: nothing can be broken, and there is no geometry to guard.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from jepa_ros.contract import RobotContract
from jepa_ros.perception.preprocess import to_rgb
from jepa_ros.worlds.gym import setup
from jepa_ros.worlds.protocols import WorldError

#: What the two methods of an environment give, in order.
RESET, STEP = ("observation", "info"), ("observation", "reward", "terminated", "truncated", "info")


class GymError(WorldError):
    """An environment that cannot be used; the message says why and what to do."""


class GymEnv:
    """A Gymnasium environment behind control steps, pictures and a contract.

    Args:
        env_id: as ``gymnasium.make`` takes it (``module:ID`` imports the module that registers it).
        args: its further arguments. repeat: steps for which an action is held (None: see ``usual_repeat``).
        own_limit: keep its time limit.

    Attributes:
        contract: see :func:`contract_for`. done: the episode is over. total: sum of rewards.
        success: what the environment says of itself (None: it says nothing). observation, info: its last ones.
    """

    def __init__(
        self, env_id: str, args: dict[str, Any] | None = None, repeat: int | None = 1, own_limit: bool = False
    ) -> None:  # fmt: skip
        setup.quiet_display()
        import gymnasium

        self.id, options = env_id, dict[str, Any](render_mode="rgb_array", disable_env_checker=True)
        options |= ({} if own_limit else {"max_episode_steps": -1}) | (args or {})
        try:
            setup.register(env_id)
            self.env: Any = gymnasium.make(env_id, **options)
            self.space = self.env.action_space
            if why := setup.unusable(self.env, repeat):
                raise GymError(why)
            self.reset(0)
            if smaller := setup.smaller_pictures(self.env, self.image().shape, options):
                self.env.close()
                self.env = gymnasium.make(env_id, **options, **smaller)
                self.reset(0)
            fps = min(float(self.env.metadata.get("render_fps") or 30.0), 100.0)
            self.repeat = repeat or setup.usual_repeat(self.env.unwrapped.spec.id, fps)
            self.contract = contract_for(self.env, self.image().shape, fps, self.repeat)
        except (gymnasium.error.UnregisteredEnv, gymnasium.error.DependencyNotInstalled, ImportError) as error:
            where = setup.how_to_install(env_id) or "install what registers it, and give --env MODULE:ID"
            raise GymError(f"--env {env_id} is not there: {setup.one_line(error)} To mend it: {where}") from None
        except Exception as error:  # whatever goes wrong in other people's code is a line, not a traceback of ours
            name = "" if isinstance(error, GymError) else f"cannot be started: {type(error).__name__}: "
            said = setup.one_line(error).removeprefix(f"--env {env_id}: ")
            raise GymError(f"--env {env_id}: {name}{said}") from None

    def _call(self, name: str, *args: Any, **kwargs: Any) -> Any:
        try:
            return getattr(self.env, name)(*args, **kwargs)
        except Exception as error:
            kind = type(error).__name__
            raise GymError(f"--env {self.id}: its {name}() failed: {kind}: {setup.one_line(error)}") from None

    def _values(self, name: str, wanted: tuple[str, ...], *args: Any, **kwargs: Any) -> tuple[Any, ...]:
        """What ``reset`` or ``step`` gives, as Gymnasium has it; before 2022 both gave one value less."""
        found = self._call(name, *args, **kwargs)
        if not isinstance(found, tuple) or len(found) != len(wanted) or not isinstance(found[-1], dict):
            gave = ", ".join(type(v).__name__ for v in found) if isinstance(found, tuple) else type(found).__name__
            old = "it follows the old API of gym: bring it to Gymnasium's, or wrap it with shimmy"
            raise GymError(f"--env {self.id}: its {name}() gave ({gave}), expected ({', '.join(wanted)}); {old}")
        return found

    def _number(self, what: str, value: Any) -> float:
        array = np.asarray(value)
        if array.size != 1 or array.dtype.kind not in "biuf":
            found = f"{type(value).__name__} {array.tolist()!r}"[:80]
            raise GymError(f"--env {self.id}: its step() gave {found} as '{what}'; one number is needed")
        return float(array.reshape(()))

    def reset(self, seed: int, options: dict[str, Any] | None = None) -> None:
        """Begin an episode; equal seeds and options (as the environment's ``reset`` takes them) begin equally."""
        asked = {"options": options} if options else {}
        self.observation, info = self._values("reset", RESET, seed=seed, **asked)
        self.done, self.total = False, 0.0
        self._judge(info)

    def image(self) -> np.ndarray:
        """The picture now, (H, W, 3) uint8."""
        return self.picture(self._call("render"))

    def picture(self, drawn: Any) -> np.ndarray:
        """A picture that the environment drew, as (H, W, 3) uint8.

        Raises:
            GymError: it is none.
        """
        picture = np.asarray(drawn)
        kind = "mono8" if picture.ndim == 2 else {1: "mono8", 3: "rgb8", 4: "rgba8"}.get((picture.shape or (0,))[-1])
        if picture.ndim not in (2, 3) or kind is None or picture.dtype != np.uint8:
            found = f"{picture.dtype} of shape {picture.shape}" if picture.dtype != object else str(picture)[:80]
            raise GymError(f"--env {self.id}: its render() gave {found}; a picture (H, W, 3) of type uint8 is needed")
        return to_rgb(picture, kind)

    def step(self, command: np.ndarray) -> np.ndarray:
        """Hold a command (A,) for one control step; returns what was executed: the command within the bounds."""
        if not np.isfinite(command).all():
            raise GymError(f"--env {self.id}: action {np.asarray(command).tolist()} is not finite")
        executed = np.clip(command, self.contract.action_low, self.contract.action_high)
        action = executed.reshape(self.space.shape).astype(self.space.dtype)
        for _ in range(self.repeat):
            self.observation, reward, ended, cut, info = self._values("step", STEP, action)
            self.total += self._number("reward", reward)
            self.done = bool(self._number("terminated", ended) or self._number("truncated", cut))
            self._judge(info)
            if self.done:
                break
        return executed

    def _judge(self, info: dict[str, Any]) -> None:
        self.info = info
        threshold = self.env.spec.reward_threshold if self.env.spec else None
        by_return = (
            None if threshold is None else self.done and self.total >= threshold
        )  # a return is of a whole episode
        said = next((bool(np.all(info[key])) for key in ("is_success", "success") if key in info), None)
        self.success: bool | None = by_return if said is None else said


def contract_for(env: Any, shape: tuple[int, ...], fps: float, repeat: int) -> RobotContract:
    """A contract for an environment with pictures of ``shape``; its actions carry its name: no other's model fits."""
    name, rate = env.spec.id, fps / repeat
    low, high = (np.asarray(b, np.float64).ravel().tolist() for b in (env.action_space.low, env.action_space.high))
    bounds = {f"{name}.{i}": [a, b] for i, (a, b) in enumerate(zip(low, high))}
    span = {key: b - a for key, (a, b) in bounds.items()}
    return RobotContract.from_dict({
        "contract": 1, "name": name, "rate": rate, "gate_rate": max(50.0, rate),
        "description": f"Gymnasium environment {name}. Units are its own: 'rad' and the footprint only fill places.",
        "footprint": {"kind": "circle", "radius": 1.0}, "kinematics": {"kind": "joints"},
        "cameras": [{"name": "image", "width": shape[1], "height": shape[0], "rate": rate, "size": 64}],
        "action": [{"name": key, "unit": "rad", "low": a, "high": b} for key, (a, b) in bounds.items()],
        "command": {"kind": "float64_multiarray", "topic": "commands", "joints": list(bounds)},
        "limits": {"velocity": span, "acceleration": span, "braking": span, "position": bounds},
    }, f"--env {name}")  # fmt: skip


def read_state(env: GymEnv) -> np.ndarray:
    """The environment's state, (K,), as far as it tells.

    ``achieved_goal`` of its observation where there is one, otherwise the whole observation, flat. An observation that
    is a picture is taken as 16x16 grey values.
    """
    seen: Any = env.observation
    return flat(seen["achieved_goal"] if isinstance(seen, dict) and "achieved_goal" in seen else seen)


def flat(seen: Any) -> np.ndarray:
    """An observation as numbers (K,); what cannot be a number counts as one that never changes."""
    if isinstance(seen, dict):
        return flat([seen[key] for key in sorted(seen)])
    if isinstance(seen, (list, tuple)):
        return np.concatenate([flat(part) for part in seen] or [np.zeros(0)])
    array = np.asarray(seen)
    if array.ndim >= 2 and array.dtype == np.uint8:
        return grey(array, 16)
    return array.astype(np.float64).ravel() if array.dtype.kind in "biuf" else np.zeros(1)


def grey(image: np.ndarray, size: int) -> np.ndarray:
    """A picture (H, W) or (H, W, 3) as (size * size,) grey values from 0 to 1."""
    small = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)
    return (small if small.ndim == 2 else small.mean(axis=2)).ravel() / 255.0
