# SPDX-License-Identifier: Apache-2.0
"""Rollouts and readouts on a GPU as CUDA graphs: hundreds of small kernels started by one call.

At the sizes of a robot's plan a GPU waits for the processor to start each kernel. A graph is captured when the search
is configured, for the shapes that every iteration has; other shapes go through the model's own code.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from jepa_ros.cost.futures import latent_rms
from jepa_ros.planning.problem import SearchError

#: Runs before the capture: libraries allocate and choose their kernels in the first ones, which a capture forbids.
WARM_UP = 3


class GraphError(SearchError):
    """The model cannot be captured on this machine; the message says why."""


def capture(function: Callable[..., torch.Tensor], inputs: tuple[torch.Tensor, ...]) -> Callable[..., torch.Tensor]:
    """``function`` of CUDA tensors of these shapes as a graph; its answer is valid until the next call.

    Raises:
        GraphError: CUDA refuses the capture (the function waits for the device, or the memory does not suffice).
    """
    rooms = [value.clone() for value in inputs]
    try:
        side = torch.cuda.Stream(rooms[0].device)
        side.wait_stream(torch.cuda.current_stream(rooms[0].device))
        with torch.cuda.stream(side):
            for _ in range(WARM_UP):
                function(*rooms)
        torch.cuda.current_stream(rooms[0].device).wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        # Other threads of the process (perception) may use the device meanwhile.
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            answer = function(*rooms)
    except RuntimeError as error:
        raise GraphError(f"no CUDA graph of this model: {' '.join(str(error).split())[:200]}") from None

    def replay(*values: torch.Tensor) -> torch.Tensor:
        for room, value in zip(rooms, values):
            room.copy_(value)
        graph.replay()
        return answer

    return replay


class GraphRollout:
    """`Rollout` (see rollout.py) of one shape as a CUDA graph, others as the plain rollout does them.

    Args:
        plain: rolls out any shape. config: sizes of the model. candidates, samples, horizon: what is captured.

    Raises:
        GraphError: see :func:`capture`.
    """

    name = "CUDA graph"

    def __init__(self, plain, config, candidates: int, samples: int, horizon: int, device: torch.device) -> None:
        self._plain = plain
        z, h = torch.zeros(config.latent_dim, device=device), torch.zeros(config.state_dim, device=device)
        actions = torch.zeros(candidates, horizon, config.action_dim, device=device)
        self._shape, self._noise_shape = actions.shape, None
        with torch.no_grad():
            if samples == 1:
                self._graph = capture(lambda z, h, a: plain(z, h, a, None), (z, h, actions))
            else:
                noise = torch.zeros(samples, horizon, config.noise_dim, device=device)
                self._noise_shape = noise.shape
                self._graph = capture(plain, (z, h, actions, noise))

    def __call__(self, z, h, actions, noise):
        shape = None if noise is None else noise.shape
        if actions.shape != self._shape or shape != self._noise_shape:
            return self._plain(z, h, actions, noise)
        return self._graph(z, h, actions) if noise is None else self._graph(z, h, actions, noise)


class GraphReadouts:
    """A model's readouts of futures of one shape (C, S, T, D) as CUDA graphs; everything else is the model's own.

    Args:
        model: see jepa_ros.world_model.seam.AnyWorldModel. shape: of the futures.

    Raises:
        GraphError: see :func:`capture`.
    """

    def __init__(self, model: Any, shape: tuple[int, int, int, int], device: torch.device) -> None:
        self._model = model
        self._shape = torch.Size(shape)
        zs, goal = torch.zeros(shape, device=device), torch.zeros(shape[-1], device=device)
        with torch.no_grad():
            self._rms = capture(latent_rms, (zs, goal))
            self._graphs = {
                name: capture(partial(model.read, name), (zs, goal) if readout.pair else (zs,))
                for name, readout in model.readouts.items()
                if readout.plain
            }

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def latent_rms(self, z: torch.Tensor, goal: torch.Tensor) -> torch.Tensor:
        """RMS difference between latents (..., D) and one goal (D,)."""
        return self._rms(z, goal) if z.shape == self._shape else latent_rms(z, goal)

    def read(self, name: str, z: torch.Tensor, goal: torch.Tensor | None = None) -> torch.Tensor:
        """See AnyWorldModel.read; a goal is (D,)."""
        if z.shape != self._shape or name not in self._graphs:
            return self._model.read(name, z, goal)
        return self._graphs[name](z) if goal is None else self._graphs[name](z, goal)
