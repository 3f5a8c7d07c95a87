# SPDX-License-Identifier: Apache-2.0
"""Tries a world model: does it do what :class:`~jepa_ros.world_model.seam.AnyWorldModel` says? For anybody's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from jepa_ros.errors import JepaRosError
from jepa_ros.world_model.readouts import Readout
from jepa_ros.world_model.seam import Embedding, device_of

#: What a model has to have; the sizes stand in its ``config``.
METHODS = ("encode", "initial_state", "rollout", "read")
SIZES = ("latent_dim", "action_dim", "noise_dim", "state_dim")


class ModelCheckError(JepaRosError):
    """A model that does not do what a search needs of it; the message names the call and what it gave."""


def check_world_model(model: Any, inputs: Mapping[str, Tensor] | None = None, steps: int = 3) -> list[str]:
    """Try all that a search, costs and planner call.

    Args:
        model: anybody's. inputs: what it sees, of a batch of 2; None leaves ``encode`` out. steps: of the rollouts.

    Returns:
        What was tried, one line each.

    Raises:
        ModelCheckError: the first thing that is missing or wrong.
    """
    sizes = _sizes(model)
    d, a, n, s = sizes
    device, generator = device_of(model), torch.Generator().manual_seed(0)
    tried = [f"sizes: latent {d}, action {a}, noise {n}, state {s}"]
    z = torch.randn(2, d, generator=generator).to(device)
    with torch.inference_mode():
        if inputs is not None:
            z = _encoded(model, inputs, d)
            tried.append("encode: a latent and its context, of a batch of 2")
        h = model.initial_state(2)
        _expect("initial_state", h, (2, s))
        actions = (2.0 * torch.rand(2, steps, a, generator=generator) - 1.0).to(device)
        rolled, last = model.rollout(z, h, actions, None)
        _expect("rollout", rolled, (2, steps, d))
        _expect("rollout's state", last, (2, s))
        still, _ = model.rollout(z, h, actions, torch.zeros(2, steps, n, device=device))
        _same("a rollout with zero noise", still, "one without noise", rolled)
        drawn, _ = model.rollout(z, h, actions, torch.randn(2, steps, n, generator=generator).to(device))
        _expect("rollout with noise", drawn, (2, steps, d))
        one, middle = model.rollout(z, h, actions[:, :1], None)
        rest, _ = model.rollout(one[:, -1], middle, actions[:, 1:], None)
        _same("a rollout in two parts", torch.cat([one, rest], 1), "the whole", rolled)
        tried.append(f"rollout: {steps} steps, with and without noise, in one part and in two")
        for name, readout in _readouts(model).items():
            if readout.loss == "actions":
                proposed = model.read(name, z, z)
                _expect(f"read '{name}'", proposed, (2, proposed.shape[1], a))
            else:
                shape = (2, steps) if len(readout.dims) == 1 else (2, steps, len(readout.dims))
                _expect(f"read '{name}'", model.read(name, rolled, z[0] if readout.pair else None), shape)
            tried.append(f"read '{name}': {', '.join(readout.dims)} [{readout.unit}]")
    return tried


def _sizes(model: Any) -> tuple[int, ...]:
    """D, A, N, S'."""
    kind = type(model).__name__
    for name in (*METHODS, "config", "readouts"):
        if not hasattr(model, name):
            raise ModelCheckError(f"{kind} has no '{name}'; a world model has {', '.join(METHODS)}, config, readouts")
    found = []
    for name in SIZES:
        value = getattr(model.config, name, None)
        if not isinstance(value, int) or value < (0 if name in ("noise_dim", "state_dim") else 1):
            raise ModelCheckError(f"config.{name} of {kind} is {value!r}; expected a whole number")
        found.append(value)
    return tuple(found)


def _readouts(model: Any) -> dict[str, Readout]:
    for name, readout in model.readouts.items():
        if not isinstance(readout, Readout) or readout.name != name:
            raise ModelCheckError(f"readouts['{name}'] is {readout!r}; expected the declaration of '{name}'")
    return dict(model.readouts)


def _encoded(model: Any, inputs: Mapping[str, Tensor], size: int) -> Tensor:
    embedding = model.encode(inputs)
    if not isinstance(embedding, Embedding):
        raise ModelCheckError(f"encode gave {type(embedding).__name__}; expected an Embedding")
    _expect("encode's latent", embedding.latent, (2, size))
    for name, value in embedding.context.items():
        _expect(f"encode's context '{name}'", value, (2, *value.shape[1:]))
    return embedding.latent


def _expect(what: str, value: Any, shape: tuple[int, ...]) -> None:
    """Refuse what is no finite tensor of a shape."""
    if not isinstance(value, Tensor):
        raise ModelCheckError(f"{what}: expected a tensor of shape {shape}, found {type(value).__name__}")
    finite = bool(torch.isfinite(value).all())
    if tuple(value.shape) != shape or not finite:
        raise ModelCheckError(
            f"{what}: expected finite values of shape {shape}, found shape {tuple(value.shape)}, finite: {finite}"
        )


def _same(what: str, value: Tensor, other: str, wanted: Tensor) -> None:
    if not torch.allclose(value, wanted, atol=1e-4):
        off = float((value - wanted).abs().max())
        raise ModelCheckError(f"{what} differs from {other} by {off:.2g} for the same inputs")
