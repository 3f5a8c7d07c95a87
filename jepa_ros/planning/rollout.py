# SPDX-License-Identifier: Apache-2.0
"""Batched rollouts of candidates x noise samples from one state: the inner loop of the search.

`make_engine` gives the fastest that this machine and model allow; all have the same calls and agree to rounding.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Protocol

import psutil
import torch

from jepa_ros.planning import graphs, native
from jepa_ros.planning.problem import SearchError
from jepa_ros.world_model.seam import device_of

BACKENDS = ("auto", "native", "graph", "model")
DTYPES = ("auto", "float32", "bfloat16")


class Rollout(Protocol):
    """Predicts the futures of candidates that start in one state."""

    name: str

    def __call__(
        self, z: torch.Tensor, h: torch.Tensor, actions: torch.Tensor, noise: torch.Tensor | None
    ) -> torch.Tensor:
        """Latents (C, S, T, D) after each step, valid until the next call.

        Args:
            z: (D,) latent, h: (S',) recurrent state. actions: (C, T, A) executed, normalised.
            noise: (S, T, N), the same futures for every candidate; None is zero noise and S = 1.
        """
        ...


class ModelRollout:
    """Any model's own `rollout`, batched: works everywhere, also on a GPU; the reference for the others."""

    name = "model"

    def __init__(self, model) -> None:
        self.model = model

    def __call__(self, z, h, actions, noise):
        count, horizon, _ = actions.shape
        samples = 1 if noise is None else noise.shape[0]
        rows = count * samples
        if noise is not None:
            noise = noise[None].expand(count, -1, -1, -1).reshape(rows, horizon, -1)
        if samples > 1:
            actions = actions[:, None].expand(-1, samples, -1, -1).reshape(rows, horizon, -1)
        zs, _ = self.model.rollout(z.expand(rows, -1), h.expand(rows, -1), actions, noise)
        return zs.view(count, samples, horizon, -1)


@dataclass(frozen=True)
class Engine:
    """What a search computes with: rollouts, and a model whose readouts are as fast; `note` says why not faster."""

    rollout: Rollout
    readouts: Any
    note: str = ""


def check_memory(config, sizes, device: torch.device) -> None:
    """Refuse a search whose futures do not fit into the memory that is free now.

    Args:
        config: a SearchConfig. sizes: a model's config.

    Raises:
        SearchError: with what is needed and what there is.
    """
    rows = config.samples * max(config.noise_samples, config.verify_samples if config.noise_samples > 1 else 1)
    # Latents, and about as much again while they are rolled out, and while readouts and cost are computed.
    needed = 4 * rows * config.horizon * (3 * sizes.latent_dim + sizes.action_dim + 8)
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else psutil.virtual_memory().available
    if needed > free:
        raise SearchError(
            f"search of {config.samples} samples x {config.noise_samples} noise_samples x {config.horizon} steps needs "
            f"about {needed / 1e9:.1f} GB of memory; {free / 1e9:.1f} GB are free: take fewer samples or noise_samples"
        )


def make_engine(
    model, candidates: int, samples: int, horizon: int, backend: str = "auto", dtype: str = "auto", threads: int = 0,
) -> Engine:  # fmt: skip
    """The fastest engine for the model on this machine; where it has to compile, that happens now.

    A native engine is taken only after it has agreed with the model's own rollout, and by "auto" only if it is not much
    slower than that: what the compiler makes of it depends on the processor.

    Args:
        model: has `config`, `rollout` and readouts.
        candidates, samples, horizon: sizes to make room for.
        backend: "native" (native.c, on the CPU), "graph" (CUDA graphs, on a GPU), "model" (the model's own code,
            anywhere), or "auto": native or graph where it can be had.
        dtype: "float32", "bfloat16", or "auto": bfloat16 where the processor has it. The model's own code, and a graph
            of it, compute in the model's type.
        threads: of native code; 0 is as many as torch has.

    Raises:
        SearchError: unknown backend or dtype, or "graph" was asked for and cannot be had. NativeError: "native" or
            "bfloat16" was asked for and cannot be had.
    """
    if backend not in BACKENDS or dtype not in DTYPES:
        raise SearchError(
            f"search backend {backend!r}, dtype {dtype!r}; expected one of {', '.join(BACKENDS)}, and of "
            f"{', '.join(DTYPES)}"
        )
    if backend == "model":
        return Engine(ModelRollout(model), model)
    device = device_of(model)
    if backend == "graph" or (backend == "auto" and device.type == "cuda"):
        return _graph_engine(model, candidates, samples, horizon, device, backend == "graph")
    threads = threads or torch.get_num_threads()
    kind = ("bfloat16" if native.has_bfloat16() else "float32") if dtype == "auto" else dtype
    try:
        if device.type != "cpu":
            raise native.NativeError(f"the model is on {device}; native code runs on the CPU")
        rollout = native.NativeRollout(model, candidates, samples, horizon, kind, threads)
        _compare(model, rollout, horizon, kind)
        if backend == "auto":
            _race(model, rollout, candidates, horizon)
        return Engine(rollout, native.NativeReadouts(model, kind, threads))
    except native.NativeError as error:
        if backend == "native":
            raise
        return Engine(ModelRollout(model), model, str(error))


def _graph_engine(model, candidates: int, samples: int, horizon: int, device: torch.device, insist: bool) -> Engine:
    """CUDA graphs of the model's own code; that code itself where there can be none, unless they are insisted on.

    Raises:
        SearchError: they are insisted on, and cannot be had.
    """
    plain = ModelRollout(model)
    try:
        if device.type != "cuda":
            raise graphs.GraphError(f"the model is on {device}; CUDA graphs run on a GPU (parameter device: cuda)")
        return Engine(
            graphs.GraphRollout(plain, model.config, candidates, samples, horizon, device),
            graphs.GraphReadouts(model, (candidates, samples, horizon, model.config.latent_dim), device),
        )
    except graphs.GraphError as error:
        if insist:
            raise
        return Engine(plain, model, str(error))


@torch.no_grad()
def _compare(model, rollout: Rollout, horizon: int, dtype: str) -> None:
    """Refuse a rollout that does not do what the model does.

    Raises:
        NativeError: the latents differ by more than rounding explains.
    """
    c, generator = model.config, torch.Generator().manual_seed(0)
    z, h = torch.randn(c.latent_dim, generator=generator), 0.3 * torch.randn(c.state_dim, generator=generator)
    actions = 2.0 * torch.rand(3, horizon, c.action_dim, generator=generator) - 1.0
    truth = ModelRollout(model)(z, h, actions, None)
    error = float((rollout(z, h, actions, None) - truth).square().mean().sqrt())
    moved = float((truth - z).square().mean().sqrt())
    allowed = (0.05 if dtype == "bfloat16" else 1e-3) * moved + 1e-5
    if not error <= allowed:
        raise native.NativeError(f"native rollouts differ from the model's by {error:.2g} (allowed {allowed:.2g})")


#: Rejected where it takes over so many times as long as the model: a busy machine does not tip this, so that a replay
#: takes the same engine as what it repeats.
SLOWER = 2.0
#: Candidates of one future that are rolled out to find out: enough to tell, soon done at any size of a search.
RACED = 64


@torch.no_grad()
def _race(model, rollout: Rollout, candidates: int, horizon: int) -> None:
    """Refuse a rollout that is much slower than the model's own.

    Raises:
        NativeError: with both times.
    """
    c = model.config
    z, h = torch.zeros(c.latent_dim), torch.zeros(c.state_dim)
    actions = torch.zeros(min(candidates, RACED), horizon, c.action_dim)

    def least(engine: Rollout) -> float:
        times = []
        for _ in range(4):
            began = time.perf_counter()
            engine(z, h, actions, None)
            times.append(time.perf_counter() - began)
        return min(times)

    fused, own = least(rollout), least(ModelRollout(model))
    if fused > SLOWER * own:
        raise native.NativeError(
            f"native rollouts take {1e3 * fused:.1f} ms on this processor, the model's own {1e3 * own:.1f} ms"
        )
