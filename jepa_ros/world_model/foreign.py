# SPDX-License-Identifier: Apache-2.0
"""Other people's world models for our search, and ours for other people's solvers.

The seam is stable-worldmodel's protocol (0.1): a model has ``encode(info) -> info`` with ``info["emb"]``, and
``rollout(info, actions) -> info`` with ``info["predicted_emb"]``, or at the least ``get_cost(info, actions)``. ``info``
is a dictionary of tensors (B, S, T, ...): environments, candidates, frames. Nothing of theirs is imported here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from jepa_ros.cost.goal import Goal
from jepa_ros.cost.task import TaskCost, TaskWeights
from jepa_ros.errors import JepaRosError

#: For a model that tells costs alone: our task cost reads them as a temporal distance, and nothing else counts.
COST_ALONE = TaskWeights(latent=0.0, steps=1.0, final=0.0, position=0.0, heading=0.0)


class ForeignModelError(JepaRosError):
    """A model that does not satisfy the protocol; the message says which call failed, and how."""


@dataclass(frozen=True)
class ForeignConfig:
    """The sizes that a search asks for."""

    latent_dim: int
    action_dim: int
    noise_dim: int = 1
    state_dim: int = 1
    max_distance: float = 0.0


class _Foreign(nn.Module):
    config: ForeignConfig

    def has_readout(self, name: str) -> bool:
        """None: their latents come without heads."""
        return False

    def initial_state(self, batch: int) -> Tensor:
        """Their models keep no state between pictures: (B, 1) zeros."""
        parameter = next(iter(self.parameters()), torch.zeros(0))
        return torch.zeros(batch, 1, device=parameter.device)


class LatentWorld(_Foreign):
    """A model with encode and rollout, as :class:`~jepa_ros.planning.Search` takes it.

    Rollouts start from one picture. Noise is passed over: their predictors have none, so that every future is the same.

    Args:
        model: has ``encode`` and ``rollout`` as above. action_dim: of one step, normalised.
        picture: (3, H, W) a picture as the model wants it, to learn the sizes from.

    Raises:
        ForeignModelError: a call failed, or its answer has another shape than the protocol's.
    """

    def __init__(self, model: nn.Module, action_dim: int, picture: Tensor) -> None:
        super().__init__()
        self.model = model.eval().requires_grad_(False)
        self.shape: tuple[int, ...] = ()
        self.config = ForeignConfig(1, action_dim)
        z = self.encode_pictures(picture[None])
        self.config = ForeignConfig(z.shape[1], action_dim)
        zs, _ = self.rollout(z.expand(2, -1), self.initial_state(2), torch.zeros(2, 3, action_dim))
        if tuple(zs.shape) != (2, 3, z.shape[1]) or not bool(torch.isfinite(zs).all()):
            raise ForeignModelError(
                f"rollout of {type(model).__name__}: 3 actions from one picture gave {tuple(zs.shape)}, finite: "
                f"{bool(torch.isfinite(zs).all())}; expected finite values of shape {(2, 3, z.shape[1])}"
            )

    def encode_pictures(self, pictures: Tensor) -> Tensor:
        """Pictures (B, 3, H, W) as the model wants them -> latents (B, D), tokens and all."""
        info = _call("encode", self.model, {"pixels": pictures[:, None]})
        emb = info.get("emb") if isinstance(info, dict) else None
        if not isinstance(emb, Tensor) or emb.ndim < 3 or tuple(emb.shape[:2]) != (len(pictures), 1):
            found = tuple(emb.shape) if isinstance(emb, Tensor) else type(emb).__name__
            raise ForeignModelError(
                f"encode of {type(self.model).__name__}: info['emb'] is {found}; expected (B, T, ...) = "
                f"({len(pictures)}, 1, ...)"
            )
        self.shape = tuple(emb.shape[2:])
        return emb.flatten(1).float()

    def rollout(self, z: Tensor, h: Tensor, actions: Tensor, noise: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """See :meth:`jepa_ros.world_model.WorldModel.rollout`."""
        rows, steps = actions.shape[:2]
        # The picture is there for its shape alone: with ``emb`` given, none of their models encodes again.
        info = {
            "pixels": torch.zeros(1, rows, 1, device=z.device),
            "emb": z.reshape(1, rows, 1, *self.shape),
        }
        info = _call("rollout", self.model, info, actions[None].to(z.dtype))
        predicted = info.get("predicted_emb") if isinstance(info, dict) else None
        shape = tuple(predicted.shape) if isinstance(predicted, Tensor) else ()
        if predicted is None or shape[:2] != (1, rows) or shape[2:3] < (steps,):
            raise ForeignModelError(
                f"rollout of {type(self.model).__name__}: info['predicted_emb'] is "
                f"{shape or type(predicted).__name__}; expected (1, {rows}, at least {steps}, ...)"
            )
        return predicted[0, :, -steps:].flatten(2).float(), h


class CostWorld(_Foreign):
    """A model with get_cost alone, as Search takes it: what it "predicts" is the cost. Search with :data:`COST_ALONE`.

    Args:
        model: has ``get_cost(info, actions (1, C, T, A)) -> (1, C)``. action_dim: of one step, normalised.

    Attributes:
        goal: what to give the search as a goal; the real one is in the ``info`` of :meth:`observe`.
    """

    def __init__(self, model: nn.Module, action_dim: int) -> None:
        super().__init__()
        self.model = model
        self.config = ForeignConfig(1, action_dim)
        self.goal = Goal.from_latent(torch.zeros(1).numpy())
        self._info: dict[str, Any] = {}
        self._expanded: dict[int, dict[str, Any]] = {}

    def observe(self, info: dict[str, Any]) -> None:
        """Take what is seen and wanted: tensors (1, ...) as their solvers take them, goal included."""
        self._info, self._expanded = dict(info), {}

    def has_readout(self, name: str) -> bool:
        """The cost is read as a distance."""
        return name == "distance"

    def rollout(self, z: Tensor, h: Tensor, actions: Tensor, noise: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Costs (B, T, 1), the same at every step."""
        rows, steps = actions.shape[:2]
        if not self._info:
            return z.new_zeros(rows, steps, 1), h
        if rows not in self._expanded:  # kept: their models leave the embeddings that they made in it
            self._expanded[rows] = {
                k: v[:, None].expand(v.shape[0], rows, *v.shape[1:]) if isinstance(v, Tensor) else v
                for k, v in self._info.items()
            }
        cost = _call("get_cost", self.model, self._expanded[rows], actions[None])
        if not isinstance(cost, Tensor) or tuple(cost.shape) != (1, rows):
            found = tuple(cost.shape) if isinstance(cost, Tensor) else type(cost).__name__
            raise ForeignModelError(f"get_cost of {type(self.model).__name__} gave {found}; expected (1, {rows})")
        return cost[0, :, None, None].expand(rows, steps, 1).float(), h

    def distance(self, z: Tensor, goal: Tensor) -> Tensor:
        """The cost itself."""
        return z[..., 0]


def _call(name: str, model: nn.Module, *args: Any) -> Any:
    try:
        return getattr(model, name)(*args)
    except JepaRosError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise ForeignModelError(f"{name} of {type(model).__name__} failed: {type(error).__name__}: {reason}") from error


class Costable(nn.Module):
    """Our model as stable-worldmodel's solvers take it.

    ``info`` has ``z`` (B, S, D) and ``goal_z`` (B, S, D), latents of the picture and of the goal's, or in their place
    ``pixels`` and ``goal``, pictures (B, S, T, H, W, 3) uint8 as :func:`jepa_ros.perception.model_input` makes them, of
    which the last is taken. S candidates of one environment share them.

    Args:
        model: a :class:`~jepa_ros.world_model.WorldModel`. weights: of the task cost.
    """

    def __init__(self, model: Any, weights: TaskWeights | None = None) -> None:
        super().__init__()
        self.model, self.task = model, TaskCost(model, weights)

    def encode(self, info: dict[str, Any]) -> dict[str, Any]:
        """Pictures (B, T, H, W, 3) -> ``emb`` (B, T, D)."""
        pixels = info["pixels"]
        emb = self.model.encode(pixels.flatten(0, 1).to(torch.uint8))
        return info | {"emb": emb.unflatten(0, pixels.shape[:2])}

    def _latents(self, info: dict[str, Any], name: str, pictures: str) -> Tensor:
        """(B, D)."""
        if name not in info:
            info[name] = self.model.encode(info[pictures][:, 0, -1].to(torch.uint8))[:, None]
        return info[name][:, 0]

    def rollout(self, info: dict[str, Any], action_sequence: Tensor) -> dict[str, Any]:
        """Actions (B, S, T, A) -> ``predicted_emb`` (B, S, T, D)."""
        batch, samples = action_sequence.shape[:2]
        z = self._latents(info, "z", "pixels")[:, None].expand(batch, samples, -1).flatten(0, 1)
        h = self.model.initial_state(batch * samples)
        zs, _ = self.model.rollout(z, h, action_sequence.flatten(0, 1).clamp(-1.0, 1.0))
        return info | {"predicted_emb": zs.unflatten(0, (batch, samples))}

    def criterion(self, info: dict[str, Any]) -> Tensor:
        """Costs (B, S) of ``predicted_emb``: the task cost that our own search has."""
        goals = self._latents(info, "goal_z", "goal")
        costs = []
        for predicted, latent in zip(info["predicted_emb"], goals, strict=True):
            costs.append(self.task(predicted, Goal.from_latent(latent.detach().cpu().numpy()))[0])
        return torch.stack(costs)

    def get_cost(self, info: dict[str, Any], action_candidates: Tensor) -> Tensor:
        """Candidates (B, S, T, A) -> costs (B, S)."""
        self._latents(info, "goal_z", "goal")
        return self.criterion(self.rollout(info, action_candidates))
