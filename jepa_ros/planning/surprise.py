# SPDX-License-Identifier: Apache-2.0
"""Whether the world does what was predicted (surprise), and whether the input is like the training data (novelty).

Four measures, each judged by levels that were calibrated on held-out episodes
(jepa_ros/learning/stages/alarm_levels.py) and are carried by the model card:

- ``motion``: open-loop predictions begun a few control steps ago, from what was really executed, against what is seen.
  A motor that is stuck shows here, and so does a picture that stands still while the robot moves. How far a prediction
  is off by itself depends on how the robot was driven; it is measured in units of that.
- ``close``: the same where the robot was close to something that stands about: there it may have rubbed along it, which
  no collision switch tells, so that more is normal. (A body whose room knows no such place has none.)
- ``scene``: what stands about stays as it was (jepa_ros/memory/picture_memory.py).
- ``familiar``: Mahalanobis distance of a description of the whole picture from those that the model was trained on (of
  the latent, where there are no scene maps).

Every measure is told on a scale on which 1 is the level to slow down at and 2 the level to stop at.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

from jepa_ros.errors import JepaRosError
from jepa_ros.memory.picture_memory import PictureMemory
from jepa_ros.world_model.context import read_part
from jepa_ros.world_model.picture_maps import summarise

#: Control steps over which motion is predicted: one shows a jolt, more what adds up slowly.
SPANS = (1, 2, 3, 4)

#: What is due at an image, {span: (residual (R,), drive (1 + 2 A,), close)}: see BodyWatch.residual; the mean squares
#: of the actions and of their changes that led here, after a 1; whether the robot was close to something meanwhile.
Due = dict[int, tuple[np.ndarray, np.ndarray, bool]]


def on_scale(value: float, levels: tuple[float, float]) -> float:
    """A measure on the scale of 1 (slow) and 2 (stop), linear in between and beyond; NaN stays NaN."""
    slow, stop = levels
    return value / slow if value < slow else 1.0 + (value - slow) / (stop - slow)


class BodyWatch(Protocol):
    """What a body's room knows of it that tells surprise better than the latent alone."""

    #: Whether :meth:`cell` knows where the robot is in the picture, so that places can be compared.
    sees_places: bool

    def residual(self, predicted: torch.Tensor, seen: torch.Tensor) -> np.ndarray:
        """What is seen less what was predicted, of latents (N, D) each: (N, R)."""
        ...

    def close(self, embeddings: np.ndarray) -> np.ndarray:
        """Whether the robot is close to something (N,), by its own embeddings (N, E)."""
        ...

    def cell(self, z: torch.Tensor) -> np.ndarray:
        """Column and row (N, 2) of the robot in the scene maps, of latents (N, D)."""
        ...


class LatentWatch:
    """A body of which nothing is known: see :class:`BodyWatch`."""

    sees_places = False

    def residual(self, predicted: torch.Tensor, seen: torch.Tensor) -> np.ndarray:
        """The latent's."""
        return (seen - predicted).cpu().numpy().astype(np.float64)

    def close(self, embeddings: np.ndarray) -> np.ndarray:
        """Never, as far as is known."""
        return np.zeros(len(embeddings), dtype=bool)

    def cell(self, z: torch.Tensor) -> np.ndarray:
        """Nobody knows."""
        raise NotImplementedError("where this body is in a picture is not known")


class Motion:
    """Open-loop predictions begun in the last steps, carried on by what was executed.

    Args:
        model: the world model. watch: of the body, None where nothing is known of it.
    """

    def __init__(self, model: Any, watch: BodyWatch | None = None) -> None:
        self.model, self.watch = model, watch or LatentWatch()
        self.reset()

    def reset(self) -> None:
        """Forget the predictions under way."""
        # Rows of predictions under way: latents, states, sums of what was driven, and for how many steps.
        self._z: Any = None
        self._h: Any = None
        self._driven: Any = None
        self._age: Any = None
        self._close: Any = None  # whether the robot was close to something since
        self._last: torch.Tensor | None = None

    @torch.no_grad()
    def observe(
        self, z: torch.Tensor, h: torch.Tensor, action: torch.Tensor | None, steps: int, close: bool = False
    ) -> Due:
        """Take the latent of a new image.

        Args:
            z: (D,), h: (S,) recurrent state with it. action: (A,) executed since the last image over ``steps`` steps.
            close: the robot is close to something.

        Returns:
            The predictions that were due.
        """
        due: Due = {}
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
                found = self.watch.residual(self._z[at], z.expand(len(at), -1))
                for i, r in zip(at, found, strict=True):
                    span = int(self._age[i])
                    mean = (self._driven[i] / span).square().cpu().numpy()
                    due[span] = (r, np.concatenate([[1.0], mean]), close or bool(self._close[i]))
        size = 2 * (len(action) if action is not None else self.model.config.action_dim)
        start = (z[None], h[None], torch.zeros(1, size), np.zeros(1, dtype=int), np.array([close]))
        if self._z is None:
            self._z, self._h, self._driven, self._age, self._close = start
        else:
            keep = torch.from_numpy(self._age < max(SPANS))
            old = (self._z[keep], self._h[keep], self._driven[keep])
            self._z, self._h, self._driven = (torch.cat(pair) for pair in zip(old, start[:3], strict=True))
            self._age = np.concatenate([self._age[keep.numpy()], start[3]])
            self._close = np.concatenate([self._close[keep.numpy()] | close, start[4]])
        return due


@dataclass(frozen=True)
class Normal:
    """What is normal, as the model card carries it; see jepa_ros/learning/stages/alarm_levels.py for how it is found.

    Attributes:
        motion: {span: (precision (R, R), coefficients (1 + 2 A,))}: the squared Mahalanobis length of a residual is
            divided by what the drive lets expect.
        spread: see PictureMemory. mean, precision: of the description of a picture; both empty without scene maps.
        levels: (slow, stop) of "motion", "close", "scene" and "familiar".
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

    def motion_of(self, due: Due) -> dict[str, float]:
        """The largest relative length of the residuals, 0 without any: "motion", and "close" where it has levels."""
        worst = {name: 0.0 for name in ("motion", "close") if name in self.levels or not self.levels}
        for span, (r, drive, close) in due.items():
            precision, coefficients = self.motion[span]
            value = float(np.sqrt(r @ precision @ r / (drive @ coefficients)))
            name = "close" if close and "close" in worst else "motion"
            worst[name] = value if not value <= worst[name] else worst[name]  # NaN has to win
        return worst

    def familiar_of(self, scene: np.ndarray) -> float:
        """Mahalanobis distance of a picture's scene maps (C, g, g) from the training data."""
        off = summarise(scene) - self.mean
        return float(np.sqrt(off @ self.precision @ off))


class InputMonitor:
    """Judges image by image.

    Args:
        model: the world model. normal: from its card. period: of a control step [s]. watch: see BodyWatch.

    Attributes:
        found: the newest measures on the scale of 1 (slow) and 2 (stop), by name.
    """

    def __init__(self, model: Any, normal: Normal, period: float, watch: BodyWatch | None = None) -> None:
        self.model, self.normal, self.period, self.watch = model, normal, period, watch or LatentWatch()
        self.motion = Motion(model, self.watch)
        levels = normal.levels
        places = "scene" in levels and self.watch.sees_places
        self.memory = PictureMemory(normal.spread, levels["scene"][0]) if places else None
        self.reset()

    def reset(self) -> None:
        """Forget everything: the robot was moved, or the clock jumped."""
        self.motion.reset()
        if self.memory is not None:
            self.memory.reset()
        self.found: dict[str, float] = {}

    def observe(self, embedding: np.ndarray, z: torch.Tensor, history: Any, steps: int, touched: bool = False) -> None:
        """Take an image.

        Args:
            embedding: (E,). z: (D,) the latent in it. history: the planner's, which has seen it.
            steps: control steps since the last one; less than 0: the past counts no more.
            touched: the collision switch has told of a contact: what comes of that is no surprise.
        """
        if steps < 0:
            self.reset()
        levels = self.normal.levels
        if touched:
            self.motion.reset()
        due = self.motion.observe(z, history.h, history.action, steps, bool(self.watch.close(embedding[None])[0]))
        self.found = {k: on_scale(v, levels[k]) for k, v in self.normal.motion_of(due).items()}
        if self.memory is not None:
            scene = read_part(self.model.config, embedding, "scene")
            robot = self.watch.cell(z[None])[0]
            change = self.memory.observe(scene, robot, max(steps, 0) * self.period)
            self.found["scene"] = on_scale(change, levels["scene"])
            self.found["familiar"] = on_scale(self.normal.familiar_of(scene), levels["familiar"])
        elif "novelty" in self.model.readouts:
            self.found["familiar"] = on_scale(float(self.model.read("novelty", z)), levels["familiar"])

    def signals(self) -> dict[str, float]:
        """``surprise`` and ``novelty`` for the gate, and the parts of the first for people."""
        if not self.found:
            return {}
        motion = float(np.max([self.found[name] for name in ("motion", "close") if name in self.found]))
        told = {"surprise": motion, "surprise/motion": motion}
        if "scene" in self.found:
            told["surprise/scene"] = self.found["scene"]
            told["surprise"] = float(np.max([motion, self.found["scene"]]))
        if "familiar" in self.found:
            told["novelty"] = self.found["familiar"]
        return told
