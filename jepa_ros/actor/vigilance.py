# SPDX-License-Identifier: Apache-2.0
"""Whether the world does what was predicted (surprise), and whether the input is like the training data (novelty).

Three measures, each judged by levels that were calibrated on held-out episodes (jepa_ros/learning/vigilance.py) and are
carried by the model card:

- ``motion``: open-loop predictions begun a few control steps ago, from what was really executed, against what is seen.
  A wheel that is stuck shows here, and so does a picture that stands still while the robot drives. How far a prediction
  is off by itself depends on how the robot was driven; it is measured in units of that.
- ``scene``: what stands about stays as it was (jepa_ros/memory/scene.py).
- ``familiar``: Mahalanobis distance of a description of the whole picture from those that the model was trained on (of
  the latent, where there are no scene maps).

Every measure is told on a scale on which 1 is the level to slow down at and 2 the level to stop at.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from jepa_ros.errors import JepaRosError
from jepa_ros.memory.scene import SceneMemory
from jepa_ros.world_model.scene import picture_of_places, summarise

#: Control steps over which motion is predicted: one shows a jolt, four what adds up slowly.
SPANS = (1, 2, 4)


def on_scale(value: float, levels: tuple[float, float]) -> float:
    """A measure on the scale of 1 (slow) and 2 (stop), linear in between and beyond; NaN stays NaN."""
    slow, stop = levels
    return value / slow if value < slow else 1.0 + (value - slow) / (stop - slow)


class Motion:
    """Open-loop predictions begun in the last steps, carried on by what was executed.

    Args:
        model: the world model.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self.reset()

    def reset(self) -> None:
        """Forget the predictions under way."""
        # Rows of predictions under way: latents, states, sums of what was driven, and for how many steps.
        self._z: Any = None
        self._h: Any = None
        self._driven: Any = None
        self._age: Any = None
        self._last: torch.Tensor | None = None

    @torch.no_grad()
    def observe(
        self, z: torch.Tensor, h: torch.Tensor, action: torch.Tensor | None, steps: int
    ) -> dict[int, tuple[np.ndarray, np.ndarray]]:
        """Take the latent of a new image.

        Args:
            z: (D,), h: (S,) recurrent state with it. action: (A,) executed since the last image over ``steps`` steps.

        Returns:
            {span: (residual (R,), drive (1 + 2 A,))} of the predictions that were due; see :func:`residual`, and
            the mean squares of the actions and of their changes that led here, after a 1.
        """
        due: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        if action is None or steps < 1:
            self.reset()
        elif self._z is not None:
            for _ in range(steps):
                n = len(self._z)
                change = action - (action if self._last is None else self._last)
                self._last = action
                self._driven = self._driven + torch.cat([action.abs(), change.abs()])
                zs, self._h = self.model.rollout(self._z, self._h, action.expand(n, 1, -1).to(z.device), None)
                self._z = zs[:, 0]
                self._age += 1
            at = np.flatnonzero(np.isin(self._age, SPANS))
            if len(at):
                found = residual(self.model, self._z[at], z.expand(len(at), -1))
                for i, r in zip(at, found, strict=True):
                    span = int(self._age[i])
                    mean = (self._driven[i] / span).square().cpu().numpy()
                    due[span] = (r, np.concatenate([[1.0], mean]))
        size = 2 * (len(action) if action is not None else self.model.config.action_dim)
        start = (z[None], h[None], torch.zeros(1, size), np.zeros(1, dtype=int))
        if self._z is None:
            self._z, self._h, self._driven, self._age = start
        else:
            keep = torch.from_numpy(self._age < max(SPANS))
            old = (self._z[keep], self._h[keep], self._driven[keep])
            self._z, self._h, self._driven = (torch.cat(pair) for pair in zip(old, start[:3], strict=True))
            self._age = np.concatenate([self._age[keep.numpy()], start[3]])
        return due


def residual(model: Any, predicted: torch.Tensor, seen: torch.Tensor) -> np.ndarray:
    """What is seen less what was predicted, latents (N, D) each: (N, R).

    With a pose readout it is forward [m], leftward [m] and turned [rad], in the predicted robot's frame (R = 3): what
    else changes in a latent from picture to picture only hides it. Without one it is the latent's (R = D).
    """
    if not model.has_readout("pose"):
        return (seen - predicted).cpu().numpy().astype(np.float64)
    p, q = (model.pose(v).cpu().numpy().astype(np.float64) for v in (predicted, seen))
    yaw = np.arctan2(p[:, 3], p[:, 2])
    turned = (np.arctan2(q[:, 3], q[:, 2]) - yaw + np.pi) % (2.0 * np.pi) - np.pi
    dx, dy = q[:, 0] - p[:, 0], q[:, 1] - p[:, 1]
    return np.stack([np.cos(yaw) * dx + np.sin(yaw) * dy, np.cos(yaw) * dy - np.sin(yaw) * dx, turned], axis=1)


@dataclass(frozen=True)
class Normal:
    """What is normal, as the model card carries it; see jepa_ros/learning/vigilance.py for how it is found.

    Attributes:
        motion: {span: (precision (R, R), coefficients (1 + 2 A,))}: the squared Mahalanobis length of a residual is
            divided by what the drive lets expect.
        spread: see SceneMemory. mean, precision: of the description of a picture; both empty without scene maps.
        levels: (slow, stop) of "motion", "scene" and "familiar".
    """

    motion: dict[int, tuple[np.ndarray, np.ndarray]]
    spread: np.ndarray
    mean: np.ndarray
    precision: np.ndarray
    levels: dict[str, tuple[float, float]]

    @staticmethod
    def from_card(card: dict[str, Any] | None) -> Normal | None:
        """Read it; None where the card has none.

        Raises:
            JepaRosError: it is there and cannot be used.
        """
        data = ((card or {}).get("calibration") or {}).get("vigilance")
        if data is None:
            return None
        try:
            normal = Normal(
                {
                    int(k): (np.array(v["precision"], dtype=float), np.array(v["drive"], dtype=float))
                    for k, v in data["motion"].items()
                },
                np.array(data["spread"], dtype=float),
                np.array(data["mean"], dtype=float),
                np.array(data["precision"], dtype=float),
                {k: (float(v[0]), float(v[1])) for k, v in data["levels"].items()},
            )
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise JepaRosError(f"model card: calibration.vigilance: {type(error).__name__}: {error}") from None
        for name, (slow, stop) in normal.levels.items():
            if not 0.0 < slow < stop < np.inf:
                raise JepaRosError(
                    f"model card: calibration.vigilance.levels.{name}: expected 0 < slow < stop, found {slow}, {stop}"
                )
        return normal

    def motion_of(self, due: dict[int, tuple[np.ndarray, np.ndarray]]) -> float:
        """The largest relative length of the residuals at hand; 0 without any."""
        worst = 0.0
        for span, (r, drive) in due.items():
            precision, coefficients = self.motion[span]
            value = float(np.sqrt(r @ precision @ r / (drive @ coefficients)))
            worst = value if not value <= worst else worst  # NaN has to win
        return worst

    def familiar_of(self, scene: np.ndarray) -> float:
        """Mahalanobis distance of a picture's scene maps (C, g, g) from the training data."""
        off = summarise(scene) - self.mean
        return float(np.sqrt(off @ self.precision @ off))


class Vigilance:
    """Judges image by image.

    Args:
        model: the world model. normal: from its card. period: of a control step [s].

    Attributes:
        found: the newest measures on the scale of 1 (slow) and 2 (stop), by name.
    """

    def __init__(self, model: Any, normal: Normal, period: float) -> None:
        self.model, self.normal, self.period = model, normal, period
        self.motion = Motion(model)
        levels = normal.levels
        self.memory = SceneMemory(normal.spread, levels["scene"][0]) if "scene" in levels else None
        self.reset()

    def reset(self) -> None:
        """Forget everything: the robot was moved, or the clock jumped."""
        self.motion.reset()
        if self.memory is not None:
            self.memory.reset()
        self.found: dict[str, float] = {}

    def observe(self, embedding: np.ndarray, z: torch.Tensor, history: Any, steps: int) -> None:
        """Take an image.

        Args:
            embedding: (E,). z: (D,) the latent in it. history: the planner's, which has seen it.
            steps: control steps since the last one; less than 0: the past counts no more.
        """
        if steps < 0:
            self.reset()
        levels = self.normal.levels
        due = self.motion.observe(z, history.h, history.action, steps)
        self.found = {"motion": on_scale(self.normal.motion_of(due), levels["motion"])}
        if self.memory is not None:
            scene = scene_of(self.model.config, embedding)
            robot = robot_cell(self.model, z[None], scene.shape[-1])[0]
            change = self.memory.observe(scene, robot, max(steps, 0) * self.period)
            self.found["scene"] = on_scale(change, levels["scene"])
            self.found["familiar"] = on_scale(self.normal.familiar_of(scene), levels["familiar"])
        elif self.model.has_readout("novelty"):
            self.found["familiar"] = on_scale(float(self.model.novelty(z)), levels["familiar"])

    def signals(self) -> dict[str, float]:
        """``surprise`` and ``novelty`` for the gate, and the parts of the first for people."""
        if not self.found:
            return {}
        parts = [self.found[name] for name in ("motion", "scene") if name in self.found]
        told = {"surprise": float(np.max(parts)), "surprise/motion": self.found["motion"]}
        if "scene" in self.found:
            told["surprise/scene"] = self.found["scene"]
        if "familiar" in self.found:
            told["novelty"] = self.found["familiar"]
        return told


def scene_of(config: Any, embedding: np.ndarray) -> np.ndarray:
    """The scene maps (..., C, g, g) in embeddings (..., E)."""
    first, shape = (
        config.latent_dim + config.map_cells**2,
        (config.scene_channels, config.scene_edge, config.scene_edge),
    )
    return embedding[..., first : first + int(np.prod(shape))].reshape(*embedding.shape[:-1], *shape)


@torch.no_grad()
def robot_cell(model: Any, z: torch.Tensor, edge: int) -> np.ndarray:
    """(N, 2) column and row of the robot in a grid of ``edge`` cells, by the pose readout of latents (N, D)."""
    return picture_of_places(model, model.pose(z)[:, :2], edge).cpu().numpy()
