# SPDX-License-Identifier: Apache-2.0
"""Batches of windows from a dataset as a model takes them; a batch follows from the seed and its number, so that training resumes exactly."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from jepa_ros.learning.data.dataset import Dataset

#: {input of the model: (...)}: as jepa_ros.world_model.seam.Inputs, with leading axes of their own.
Batch = dict[str, Tensor]


def tensors(
    inputs: Mapping[str, np.ndarray], device: torch.device | str = "cpu", at: slice | np.ndarray | None = None
) -> dict[str, Tensor]:
    """Inputs as tensors, copies, all of their steps or those ``at``."""
    chosen = slice(None) if at is None else at
    return {name: torch.from_numpy(np.array(values[chosen])).to(device) for name, values in inputs.items()}


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
        share: which of a batch's episodes are read; the others are for other processes.
    """

    def __init__(
        self, data: Dataset, episodes: np.ndarray, shape: BatchShape, seed: int, share: slice = slice(None)
    ) -> None:
        self.data, self.shape, self.seed = data, shape, seed
        self._read = range(shape.episodes)[share]
        self.episodes = episodes[data.index[episodes, 2] >= shape.frames]
        # Every window is as likely as any other; where all episodes are alike this draws as without weights.
        windows = data.index[self.episodes, 2] - shape.frames + 1
        self._weights = windows / windows.sum() if len(set(windows.tolist())) > 1 else None

    def batch(self, number: int) -> tuple[Batch, Tensor]:
        """Batch ``number``: inputs {name: (E, W, F, ...)}, normalised actions (E, W, F, A) float32, E of this share."""
        rng = np.random.default_rng([self.seed, number])
        s = self.shape
        chosen = rng.choice(self.episodes, s.episodes, replace=len(self.episodes) < s.episodes, p=self._weights)
        inputs: dict[str, list[np.ndarray]] = {}
        actions = []
        for i, episode in enumerate(chosen):
            length = int(self.data.index[episode, 2])
            starts = rng.integers(0, length - s.frames + 1, s.windows)
            for start in starts if i in self._read else ():
                for name, values in self.data.inputs(episode, int(start), s.frames).items():
                    inputs.setdefault(name, []).append(values)
                actions.append(self.data.slice("actions", episode, int(start), s.frames))
        lead = (len(self._read), s.windows, s.frames)
        stacked = {name: torch.from_numpy(np.stack(values)) for name, values in inputs.items()}
        unit = self.data.contract.normalise(np.stack(actions)).astype(np.float32)
        given = {name: values.view(*lead, *values.shape[2:]) for name, values in stacked.items()}
        return given, torch.from_numpy(unit).view(*lead, -1)

    def batches(self, first: int, last: int) -> Iterator[tuple[int, Batch, Tensor]]:
        """Yield (number, inputs, actions) for the numbers first..last-1, read ahead by a thread."""
        ahead: queue.Queue[tuple[int, Batch, Tensor] | BaseException | None] = queue.Queue(maxsize=3)
        stop = threading.Event()

        def put(item: tuple[int, Batch, Tensor] | BaseException | None) -> None:
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
