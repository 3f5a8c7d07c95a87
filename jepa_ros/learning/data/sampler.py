# SPDX-License-Identifier: Apache-2.0
"""Batches of windows from a dataset as a model takes them; a batch follows from the seed and its number, so that training resumes exactly."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from jepa_ros.learning.data.dataset import Dataset
from jepa_ros.learning.data.layout import input_arrays, keeps_odometry

#: {input of the model: (...)}: as jepa_ros.world_model.seam.Inputs, with leading axes of their own.
Batch = dict[str, Tensor]
#: Control steps over which odometry tells how two views lie to each other: it drifts.
LONGEST = 120
#: rad that views are turned by at most which see much the same, and m within which two are as far away as wanted.
FACING, ALIKE = 0.9, 0.05
#: Batches that wait to be trained on, beside those that are being read.
AHEAD = 2


def tensors(
    inputs: Mapping[str, np.ndarray], device: torch.device | str = "cpu", at: slice | np.ndarray | None = None
) -> dict[str, Tensor]:
    """Inputs as tensors, copies, all of their steps or those ``at``."""
    chosen = slice(None) if at is None else at
    return {name: torch.from_numpy(np.array(values[chosen])).to(device) for name, values in inputs.items()}


@dataclass(frozen=True)
class BatchShape:
    """``episodes`` x ``windows`` of ``frames`` consecutive frames; several windows an episode, since the
    anti-collapse statistics are centred within episodes.

    Attributes:
        near: m from the first window of its episode that the others begin at most, facing much the same way, near and
            far ones alike, by odometry; 0: anywhere.
    """

    episodes: int = 12
    windows: int = 4
    frames: int = 6
    near: float = 0.0

    @property
    def images(self) -> int:
        """Pictures in a batch."""
        return self.episodes * self.windows * self.frames


class WindowSampler:
    """Draws windows.

    Args:
        data: the dataset.
        episodes: numbers of the episodes to draw from.
        shape: of a batch.
        seed: with the batch's number it decides the batch.
        share: which of a batch's episodes are read; the others are for other processes.
    """

    def __init__(
        self, data: Dataset, episodes: np.ndarray, shape: BatchShape, seed: int, share: slice = slice(None)
    ) -> None:
        self.data, self.shape, self.seed = data, shape, seed
        #: {name in a batch: array} of what the model does not see and its readouts of pairs learn from.
        self._beside = {"odometry": "state_odom"} if keeps_odometry(data.contract) else {}
        self._odometry: dict[int, np.ndarray] = {}
        self._read = range(shape.episodes)[share]
        self.episodes = episodes[data.index[episodes, 2] >= shape.frames]
        # Every window is as likely as any other; where all episodes are alike this draws as without weights.
        windows = data.index[self.episodes, 2] - shape.frames + 1
        self._weights = windows / windows.sum() if len(set(windows.tolist())) > 1 else None

    def batch(self, number: int) -> tuple[Batch, Tensor]:
        """Batch ``number``: inputs {name: (E, W, F, ...)}, normalised actions (E, W, F, A) float32, E of this share.

        Where the data keeps odometry there are ``odometry`` (E, W, F, 3) and ``step`` (E, W, F), too.
        """
        rng = np.random.default_rng([self.seed, number])
        s = self.shape
        chosen = rng.choice(self.episodes, s.episodes, replace=len(self.episodes) < s.episodes, p=self._weights)
        windows: list[tuple[int, int]] = []
        for i, episode in enumerate(chosen.tolist()):
            last = int(self.data.index[episode, 2]) - s.frames
            starts = rng.integers(0, last + 1, s.windows)
            if s.near:
                starts[1:] = [self._in_view(episode, int(starts[0]), last, rng) for _ in starts[1:]]
            windows += [(episode, start) for start in starts.tolist()] if i in self._read else []
        arrays = {**input_arrays(self.data.contract), **self._beside, "": "actions"}
        found = self.data.slices([(name, e, start, s.frames) for name in arrays.values() for e, start in windows])
        inputs = {name: found[i * len(windows) : (i + 1) * len(windows)] for i, name in enumerate(arrays)}
        actions = inputs.pop("")
        lead = (len(self._read), s.windows, s.frames)
        stacked = {name: torch.from_numpy(np.stack(values)) for name, values in inputs.items()}
        unit = self.data.contract.normalise(np.stack(actions)).astype(np.float32)
        given = {name: values.view(*lead, *values.shape[2:]) for name, values in stacked.items()}
        if self._beside:
            begun = torch.tensor([start for _, start in windows]).view(*lead[:2], 1)
            given["step"] = begun + torch.arange(s.frames)
        return given, torch.from_numpy(unit).view(*lead, -1)

    def _in_view(self, episode: int, first: int, last: int, rng: np.random.Generator) -> int:
        """Where in an episode, up to ``last``, a window begins that sees much of what is seen at ``first``: as far away
        as drawn, where the robot came there at all. What was driven next to each other long after is among them."""
        if episode not in self._odometry:
            self._odometry[episode] = np.array(self.data.slice("state_odom", episode), np.float64)
        places = self._odometry[episode][: last + 1]
        away = np.hypot(*(places[:, :2] - places[first, :2]).T)
        turned = np.abs((places[:, 2] - places[first, 2] + np.pi) % (2 * np.pi) - np.pi)
        late = np.abs(np.arange(last + 1) - first) > LONGEST
        off = np.abs(away - rng.uniform(0.0, self.shape.near))
        off[(away > self.shape.near) | (turned > FACING) | late] = np.inf
        return int(rng.choice(np.flatnonzero(off <= off.min() + ALIKE)))

    def batches(self, first: int, last: int) -> Iterator[tuple[int, Batch, Tensor]]:
        """Yield (number, inputs, actions) for the numbers first..last-1, read ahead by threads."""
        numbers = iter(range(first, last))
        ahead: deque[tuple[int, Future[tuple[Batch, Tensor]]]] = deque()
        pool = ThreadPoolExecutor(self.data.readers, thread_name_prefix="sampler")
        try:
            while True:
                for number in itertools.islice(numbers, self.data.readers + AHEAD - len(ahead)):
                    ahead.append((number, pool.submit(self.batch, number)))
                if not ahead:
                    return
                number, read = ahead.popleft()
                yield number, *read.result()
        finally:
            pool.shutdown(cancel_futures=True)
