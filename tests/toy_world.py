# SPDX-License-Identifier: Apache-2.0
"""A world whose best plan is known: a point that moves by 0.1 per unit of action. The latent is its position."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import nn

from jepa_ros.contract import load_contract
from jepa_ros.cost import Futures, Target, TaskCost, model_terms
from jepa_ros.planar.settings import PlanarConfig
from jepa_ros.planning import Planner, PlannerConfig, SearchConfig
from jepa_ros.world_model import ModelConfig, WorldModel, save_checkpoint
from jepa_ros.world_model.readouts import declare
from jepa_ros.world_model.seam import Embedding


@dataclass(frozen=True)
class ToyConfig:
    latent_dim: int = 2
    action_dim: int = 2
    noise_dim: int = 2
    state_dim: int = 1


class ToyWorld(nn.Module):
    """z' = z + speed * a + spread * noise * slippery(z), h' = h + 1. Pose is (z, 1, 0)."""

    def __init__(self, spread: float = 0.0, speed: float = 0.1, readouts=("distance", "pose")) -> None:
        super().__init__()
        self.config = ToyConfig()
        self.spread, self.speed, self.readouts = spread, speed, declare(*readouts)
        self.poison = None  # a test sets a function of z (B, D) -> (B,) bool: where the model breaks
        self.calls = 0

    def initial_state(self, batch):
        return torch.zeros(batch, 1)

    def encode(self, inputs):
        return Embedding(inputs["image"].float()[:, 0, 0, :2])

    def rollout(self, z, h, actions, noise=None):
        self.calls += 1
        zs = []
        for t in range(actions.shape[1]):
            z = z + self.speed * actions[:, t]
            if noise is not None:
                z = z + self.spread * noise[:, t]
            if self.poison is not None:
                z = torch.where(self.poison(z)[:, None], torch.nan, z)
            h = h + 1
            zs.append(z)
        return torch.stack(zs, 1), h

    def read(self, name, latent, goal=None):
        if name == "distance":
            return (latent - goal).norm(dim=-1) / self.speed
        return torch.cat([latent, torch.ones_like(latent[..., :1]), torch.zeros_like(latent[..., :1])], dim=-1)


def save_onboard_model(folder):
    """Save an untrained model of the rover, whose camera is on board and to which many views look alike."""
    contract = load_contract("rover")
    (camera,) = contract.model_cameras
    torch.manual_seed(0)
    made = WorldModel(ModelConfig(
        cameras=(("image", *camera.size),), latent_dim=16, width=32, encoder_width=8, encoder="view",
        readouts=("relative", "same"),
    ))  # fmt: skip
    save_checkpoint(folder, made, {"contract": contract.to_dict()})
    return folder


def planar_config(**sizes) -> ModelConfig:
    """Sizes of a model of a base that tells where it is and what it touches, as the arena's does."""
    return ModelConfig(readouts=("distance", "pose", "contact"), **sizes)


def toy_contract(latency: float = 0.0):
    """The arena's contract with another actuation latency."""
    return replace(load_contract("arena"), actuation_latency=latency)


def toy_planner(model=None, contract=None, guardrails=(), proposal=None, clock=None, memory=None, card=None, **config):
    """A planner over a toy world with settings of its search and its body; `think` searches for one plan."""
    extra = {"clock": clock} if clock else {}
    body = PlanarConfig(**{name: config.pop(name) for name in ("contact_limit", "region_margin") if name in config})
    settings = PlannerConfig(SearchConfig(**{"deadline": 10.0} | config), body=body)
    model, contract = ToyWorld() if model is None else model, contract or toy_contract()
    return Planner(model, contract, settings, card, guardrails, proposal, memory, **extra)


def task_cost(model, zs, goal, weights=None):
    """The model's own task cost of latents (C, T, D), one future each, towards a goal: (C,), {term: (C,)}."""
    futures = Futures(model, zs[:, None], torch.zeros(*zs.shape[:2], model.config.action_dim), zs[0, 0])
    cost, terms = TaskCost(model_terms(model.readouts), weights)(futures, Target(goal, model))
    return cost[:, 0], {name: value[:, 0] for name, value in terms.items()}
