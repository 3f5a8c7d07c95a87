# SPDX-License-Identifier: Apache-2.0
"""Batches of windows from a dataset; a batch follows from the seed and its number, so that training resumes exactly."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from jepa_ros.learning.data.dataset import Dataset


@dataclass(frozen=True)
class BatchShape:
    """``episodes`` x ``windows`` of ``frames`` consecutive frames; several windows an episode, since the
    anti-collapse statistics are centred within episodes."""

    episodes: int = 12
    windows: int = 4
    frames: int = 6

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
    """

    def __init__(self, data: Dataset, episodes: np.ndarray, shape: BatchShape, seed: int) -> None:
        self.data, self.shape, self.seed = data, shape, seed
        self.episodes = episodes[data.index[episodes, 2] >= shape.frames]
        # Every window is as likely as any other; where all episodes are alike this draws as without weights.
        windows = data.index[self.episodes, 2] - shape.frames + 1
        self._weights = windows / windows.sum() if len(set(windows.tolist())) > 1 else None

    def batch(self, number: int) -> tuple[Tensor, Tensor]:
        """Batch ``number``: images (E, W, F, size, size, 3) uint8, normalised actions (E, W, F, A) float32."""
        rng = np.random.default_rng([self.seed, number])
        s = self.shape
        chosen = rng.choice(self.episodes, s.episodes, replace=len(self.episodes) < s.episodes, p=self._weights)
        images, actions = [], []
        for episode in chosen:
            length = int(self.data.index[episode, 2])
            for start in rng.integers(0, length - s.frames + 1, s.windows):
                images.append(self.data.slice("images", episode, int(start), s.frames))
                actions.append(self.data.slice("actions", episode, int(start), s.frames))
        lead = (s.episodes, s.windows, s.frames)
        stacked = torch.from_numpy(np.stack(images))
        unit = self.data.contract.normalise(np.stack(actions)).astype(np.float32)
        return stacked.view(*lead, *stacked.shape[2:]), torch.from_numpy(unit).view(*lead, -1)

    def batches(self, first: int, last: int) -> Iterator[tuple[int, Tensor, Tensor]]:
        """Yield (number, images, actions) for the numbers first..last-1, read ahead by a thread."""
        ahead: queue.Queue[tuple[int, Tensor, Tensor] | BaseException | None] = queue.Queue(maxsize=3)
        stop = threading.Event()

        def put(item: tuple[int, Tensor, Tensor] | BaseException | None) -> None:
            while not stop.is_set():
                try:
                    ahead.put(item, timeout=0.2)
                    return
                except queue.Full:
                    continue

        def read() -> None:
            try:
                for number in range(first, last):
                    if stop.is_set():
                        return
                    put((number, *self.batch(number)))
                put(None)
            except BaseException as error:  # handed to the consumer, who raises it where it is seen
                put(error)

        thread = threading.Thread(target=read, daemon=True, name="sampler")
        thread.start()
        try:
            while (item := ahead.get()) is not None:
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            stop.set()
            thread.join()
