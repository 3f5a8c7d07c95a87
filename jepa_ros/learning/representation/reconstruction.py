# SPDX-License-Identifier: Apache-2.0
"""The other way to learn a representation: drawing the picture again. Only for comparison, never shipped.

Encoder, predictor, data and second phase are those of the JEPA; in place of anti-collapse and inverse dynamics stands
a decoder that draws the picture from the latent. The predictor learns along, without a say in the latents.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from jepa_ros.learning.data.sampler import Batch
from jepa_ros.learning.representation.losses import open_loop
from jepa_ros.learning.representation.representation import RepresentationTrainer
from jepa_ros.learning.settings import TrainError, TrainSettings
from jepa_ros.world_model import WorldModel


class Decoder(nn.Module):
    """Latent (B, D) -> picture (B, 3, size, size), values as the encoder takes them."""

    def __init__(self, latent_dim: int, size: int, width: int = 32) -> None:
        super().__init__()
        self.grid, self.width = size // 8, width
        self.spread = nn.Linear(latent_dim, width * self.grid**2)
        blocks: list[nn.Module] = []
        for _ in range(2):
            blocks += [nn.ReLU(), nn.Upsample(scale_factor=2), nn.Conv2d(width, width, 3, padding=1)]
        # The last doubling is a rearrangement: cheap at full resolution.
        self.layers = nn.Sequential(*blocks, nn.ReLU(), nn.Conv2d(width, 12, 3, padding=1), nn.PixelShuffle(2))

    def forward(self, z: Tensor) -> Tensor:
        """Draw."""
        return self.layers(self.spread(z).view(-1, self.width, self.grid, self.grid))


class ReconstructionTrainer(RepresentationTrainer):
    """Trains encoder and decoder to draw what was seen, and the predictor on latents that it cannot move."""

    whole = ()

    def __init__(self, model: WorldModel, settings: TrainSettings, bf16: bool) -> None:
        super().__init__(model, settings, bf16)
        (_, edge, height), *others = model.config.cameras
        if others or edge != height:
            raise TrainError("reconstruction draws the picture of one camera, and a square one")
        self.decoder = Decoder(model.config.latent_dim, edge).to(model.device)
        self.trained = nn.ModuleList([model.encoder, model.predictor, self.decoder])
        self.optimizer = torch.optim.AdamW(
            self.trained.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
        )

    @property
    def modules(self) -> dict[str, nn.Module]:
        """What a saved state holds."""
        return {"model": self.model, "decoder": self.decoder}

    @property
    def weights(self) -> dict[str, float]:
        """What each term counts for in the loss."""
        return {"prediction": 1.0, "reconstruction": 1.0}

    def losses(self, inputs: Batch, actions: Tensor, beside: tuple[Tensor, ...] = ()) -> dict[str, Tensor]:
        """The loss terms of a part of a batch: ``reconstruction`` trains the latents, ``prediction`` the predictor."""
        lead = actions.shape[:3]
        flat = inputs[self.model.encoder.camera].flatten(0, 2)
        with torch.autocast(actions.device.type, dtype=torch.bfloat16, enabled=self.bf16):
            z = self.model.latent({name: v.flatten(0, 2) for name, v in inputs.items()})
            drawn = self.decoder(z)
            prediction = open_loop(self.model, z.detach().view(*lead, -1), actions)
        wanted = (flat.permute(0, 3, 1, 2).float() - 128.0) / 64.0
        terms = {"prediction": prediction, "reconstruction": (drawn.float() - wanted).square().mean()}
        with torch.no_grad():
            windows = z.float().view(*lead, -1).flatten(0, 1)
            terms["copy"] = (windows[:, 2:] - windows[:, 1:2]).square().mean()
        return terms
