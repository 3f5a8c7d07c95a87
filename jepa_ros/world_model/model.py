# SPDX-License-Identifier: Apache-2.0
"""The world model: encoder, action-conditioned stochastic predictor, and readout heads on frozen latents.

A JEPA (LeCun, "A path towards autonomous machine intelligence", 2022): the predictor works in representation space
and is never asked for pixels. Predictions take a noise sample for what cannot be known, and carry a recurrent state
for what one picture does not show (velocity).
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn

from jepa_ros.world_model.encoder import KeypointEncoder
from jepa_ros.world_model.reach import Reach
from jepa_ros.world_model.scene import NoveltyHead, SceneHead
from jepa_ros.world_model.traversability import TraversabilityHead

OPTIONAL = ("map_cells", "scene_channels")  # sizes that are 0 where the model lacks the part
READOUTS = ("distance", "pose", "contact")  # and "novelty", and "proposal", which is no readout of a latent alone


@dataclass(frozen=True)
class ModelConfig:
    """Sizes of a model; a checkpoint carries them.

    Attributes:
        image_size: edge of the input picture in pixels.
        latent_dim: D. action_dim: A. noise_dim: N. state_dim: S, the recurrent state.
        width: hidden width of predictor and heads.
        encoder_width, keypoints, keypoint_values: the encoder's.
        max_distance: the temporal distance saturates here [control steps].
        readouts: the heads that the model has.
        proposal_steps: actions that the head "proposal" answers with.
        map_cells: edge of the traversability map in cells; 0: the model has none.
        map_extent: of that map [m], x and y of its lower and of its upper corner.
        scene_channels: of the scene maps by which inputs are judged; 0: the model has none.
    """

    image_size: int = 64
    latent_dim: int = 64
    action_dim: int = 2
    noise_dim: int = 8
    state_dim: int = 16
    width: int = 256
    encoder_width: int = 48
    keypoints: int = 8
    keypoint_values: int = 16
    max_distance: float = 60.0
    readouts: tuple[str, ...] = READOUTS
    proposal_steps: int = 12
    map_cells: int = 0
    map_extent: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    scene_channels: int = 0

    def __post_init__(self) -> None:
        for field in fields(self):
            value, least = getattr(self, field.name), field.name not in ("state_dim", "noise_dim", *OPTIONAL)
            if isinstance(field.default, int) and (type(value) is not int or value < least):
                raise ValueError(f"{field.name}: expected a whole number of at least {int(least)}, found {value!r}")
        if not (isinstance(self.max_distance, (int, float)) and 0.0 < self.max_distance < math.inf):
            raise ValueError(f"max_distance: expected a number above 0, found {self.max_distance!r}")

    @property
    def scene_edge(self) -> int:
        """Edge of the scene maps in cells: that of the encoder's feature maps."""
        return self.image_size // 4

    @property
    def tokens(self) -> int:
        """Rows of an embedding: the latent, and what the model tells beside it in rows as long as it."""
        beside = self.map_cells**2 + self.scene_channels * self.scene_edge**2
        return 1 + -(-beside // self.latent_dim)

    @property
    def embedding_dim(self) -> int:
        """E = tokens * D, the size of an embedding; what is left of the last row is zero."""
        return self.tokens * self.latent_dim

    def to_dict(self) -> dict[str, Any]:
        """Plain data for the model card."""
        return {**asdict(self), "readouts": list(self.readouts), "map_extent": list(self.map_extent)}

    @staticmethod
    def from_dict(data: dict[str, Any]) -> ModelConfig:
        """The inverse of :meth:`to_dict`.

        Raises:
            TypeError: a key that this version does not know. ValueError: a size that no model has.
        """
        extent = tuple(data.get("map_extent", ModelConfig.map_extent))
        return ModelConfig(**{**data, "readouts": tuple(data["readouts"]), "map_extent": extent})


class Predictor(nn.Module):
    """One step of the world: (z, action, noise, h) -> (z', h'), a residual MLP."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        inputs = config.latent_dim + config.action_dim + config.noise_dim + config.state_dim
        self.latent_dim = config.latent_dim
        begin = config.latent_dim + config.action_dim
        self.noise_columns = slice(begin, begin + config.noise_dim)  # of the input
        self.layers = nn.Sequential(
            nn.Linear(inputs, config.width),
            nn.ReLU(),
            nn.Linear(config.width, config.width),
            nn.ReLU(),
            nn.Linear(config.width, config.latent_dim + config.state_dim),
        )

    def forward(self, z: Tensor, action: Tensor, noise: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """Args: z (B, D), action (B, A) in [-1, 1], noise (B, N), h (B, S). Returns: z' (B, D), h' (B, S)."""
        out = self.layers(torch.cat([z, action, noise, h], dim=-1)).float()
        return z + out[..., : self.latent_dim], torch.tanh(out[..., self.latent_dim :])

    @torch.no_grad()
    def scale_noise(self, width: float) -> None:
        """Make standard noise count as noise of standard deviation ``width`` did."""
        first = self.layers[0]
        assert isinstance(first, nn.Linear)
        first.weight[:, self.noise_columns] *= width


def _mlp(inputs: int, width: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, outputs)
    )


class WorldModel(nn.Module):
    """Encoder, predictor and readouts under one roof; what perception, search and training share."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = KeypointEncoder(
            config.image_size, config.latent_dim, config.encoder_width, config.keypoints, config.keypoint_values
        )
        self.predictor = Predictor(config)
        heads: dict[str, nn.Module] = {}
        if "distance" in config.readouts:
            heads["distance"] = _mlp(2 * config.latent_dim, config.width, 1)
        if "pose" in config.readouts:
            heads["pose"] = _mlp(config.latent_dim, 128, 4)
        if "contact" in config.readouts:
            heads["contact"] = _mlp(config.latent_dim, 128, 1)
        if "proposal" in config.readouts:
            heads["proposal"] = Reach(config.latent_dim, config.action_dim, config.proposal_steps, config.width)
        if "novelty" in config.readouts:
            heads["novelty"] = NoveltyHead(config.latent_dim)
        self.heads = nn.ModuleDict(heads)
        self.traversability = (
            TraversabilityHead(config.encoder_width, config.image_size // 4, config.map_cells)
            if config.map_cells
            else None
        )
        self.scene = SceneHead(config.scene_channels) if config.scene_channels else None

    @property
    def device(self) -> torch.device:
        """Where the parameters live."""
        return next(self.parameters()).device

    def parameter_count(self) -> int:
        """Number of trained numbers."""
        return sum(p.numel() for p in self.parameters())

    def has_readout(self, name: str) -> bool:
        """Whether the model has the head ``name``."""
        return name in self.heads

    def encode(self, images: Tensor) -> Tensor:
        """Images (B, H, W, 3) uint8, preprocessed -> latents (B, D)."""
        return self.encoder(images)

    def embed(self, images: Tensor) -> Tensor:
        """Images (B, H, W, 3) uint8, preprocessed -> embeddings (B, E).

        First the latent, then the traversability map's logits row by row, then the scene maps, as far as there are any.
        """
        early, features = self.encoder.early_and_late(images)
        parts = [self.encoder.pool(features)]
        if self.traversability is not None:
            parts.append(self.traversability(early, features).flatten(1))
        if self.scene is not None:
            parts.append(self.scene(images).flatten(1))
        embedding = torch.cat(parts, dim=1)
        return nn.functional.pad(embedding, (0, self.config.embedding_dim - embedding.shape[1]))

    def initial_state(self, batch: int) -> Tensor:
        """The recurrent state of a model that has seen nothing yet, (B, S)."""
        return torch.zeros(batch, self.config.state_dim, device=self.device)

    def predict(self, z: Tensor, action: Tensor, noise: Tensor | None, h: Tensor) -> tuple[Tensor, Tensor]:
        """One control step: z (B, D), action (B, A) in [-1, 1], noise (B, N) or None for zeros, h (B, S)."""
        if noise is None:
            noise = torch.zeros(z.shape[0], self.config.noise_dim, device=z.device)
        return self.predictor(z, action, noise, h)

    def rollout(self, z: Tensor, h: Tensor, actions: Tensor, noise: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Predict open loop.

        Args:
            z: (B, D), the latent at the start. h: (B, S).
            actions: (B, T, A) in [-1, 1]. noise: (B, T, N), or None for zeros.

        Returns:
            The latents after each action (B, T, D), and the last recurrent state (B, S).
        """
        latents = []
        for t in range(actions.shape[1]):
            z, h = self.predict(z, actions[:, t], None if noise is None else noise[:, t], h)
            latents.append(z)
        return torch.stack(latents, dim=1), h

    def distance(self, z: Tensor, goal: Tensor) -> Tensor:
        """Temporal distance [control steps], >= 0, from z (..., D) to goal (..., D), broadcast against each other."""
        z, goal = torch.broadcast_tensors(z, goal)
        return nn.functional.softplus(self.heads["distance"](torch.cat([z, goal], dim=-1)).squeeze(-1).float())

    def pose(self, z: Tensor) -> Tensor:
        """Pose in the contract's map frame, (..., 4): x, y [m], cos and sin of the heading (not normalised)."""
        return self.heads["pose"](z).float()

    def contact(self, z: Tensor) -> Tensor:
        """Probability (...) that the robot touches something in the step that led to z or in the next."""
        return torch.sigmoid(self.heads["contact"](z).squeeze(-1).float())

    def novelty(self, z: Tensor) -> Tensor:
        """How unlike the training data latents (..., D) are, (...), >= 0; 1 is the level to slow down at."""
        return self.heads["novelty"](z)

    def propose(self, z: Tensor, goal: Tensor) -> Tensor:
        """The actions (B, steps, A) in [-1, 1] that look like leading from z (B, D) to goal (B, D); see Reach."""
        return self.heads["proposal"](z, goal)
