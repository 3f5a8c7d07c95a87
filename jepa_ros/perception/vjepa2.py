# SPDX-License-Identifier: Apache-2.0
"""A V-JEPA 2 encoder (Assran et al., 2025) from Hugging Face transformers in the place of our own.

Its tokens are pooled to a coarse grid, so that where things are is kept, and brought to the latent's size by a fixed
random projection (Johnson and Lindenstrauss, 1984), so that nothing needs to be trained before the predictor is.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from jepa_ros.errors import JepaRosError

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of the pictures that it was trained on (ImageNet's)


class VJepa2Error(JepaRosError):
    """An encoder that cannot be loaded or does not fit; the message says what was found."""


class VJepa2Encoder(nn.Module):
    """Image -> latent, as :class:`~jepa_ros.world_model.encoder.KeypointEncoder`.

    Args:
        backbone: a ``transformers.VJEPA2Model``. latent_dim: D.
        grid: edge of the grid that the tokens are pooled to. seed: of the projection.

    Raises:
        VJepa2Error: the backbone is of another kind.
    """

    mean: Tensor
    std: Tensor
    projection: Tensor

    def __init__(self, backbone: Any, latent_dim: int, grid: int = 4, seed: int = 0) -> None:
        super().__init__()
        kind = getattr(getattr(backbone, "config", None), "model_type", type(backbone).__name__)
        if kind != "vjepa2":
            raise VJepa2Error(f"encoder of kind '{kind}'; expected a V-JEPA 2 model ('vjepa2')")
        c = backbone.config
        self.backbone = backbone.eval().requires_grad_(False)
        self.size, self.frames = int(c.crop_size), int(c.tubelet_size)
        self.tokens_edge, self.grid = int(c.crop_size) // int(c.patch_size), grid
        inputs = grid * grid * int(c.hidden_size)
        generator = torch.Generator().manual_seed(seed)
        self.register_buffer("projection", torch.randn(inputs, latent_dim, generator=generator) * inputs**-0.5)
        self.register_buffer("mean", torch.tensor(MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(3, 1, 1), persistent=False)

    @classmethod
    def from_folder(cls, folder: Path | str, latent_dim: int, grid: int = 4) -> VJepa2Encoder:
        """An encoder from a folder that ``save_pretrained`` wrote; nothing is fetched.

        Raises:
            VJepa2Error: no such folder, no V-JEPA 2 model in it, or transformers is not installed.
        """
        try:
            from transformers import VJEPA2Model
        except ImportError as error:
            raise VJepa2Error(f"V-JEPA 2 needs Hugging Face transformers ({error}): pip install transformers") from None
        try:
            backbone = VJEPA2Model.from_pretrained(str(folder), local_files_only=True)
        except Exception as error:
            raise VJepa2Error(f"{folder}: no V-JEPA 2 model: {' '.join(str(error).split())[:300]}") from None
        return cls(backbone, latent_dim, grid)

    def features(self, images: Tensor) -> Tensor:
        """Images (B, H, W, 3) uint8 -> tokens (B, edge, edge, width). One picture is a clip that stands still."""
        x = images.permute(0, 3, 1, 2).float() / 255.0
        if x.shape[-2:] != (self.size, self.size):
            x = nn.functional.interpolate(x, (self.size, self.size), mode="bilinear", antialias=True)
        clip = ((x - self.mean) / self.std)[:, None].expand(-1, self.frames, -1, -1, -1)
        tokens = self.backbone(pixel_values_videos=clip, skip_predictor=True).last_hidden_state
        return tokens.float().unflatten(1, (self.tokens_edge, self.tokens_edge))

    def pool(self, features: Tensor) -> Tensor:
        """Tokens (B, edge, edge, width) -> latents (B, D), about unit variance."""
        pooled = nn.functional.adaptive_avg_pool2d(features.permute(0, 3, 1, 2), self.grid)
        return nn.functional.layer_norm(pooled, pooled.shape[1:]).flatten(1) @ self.projection

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Args: images (B, H, W, 3) uint8. Returns: (B, latent_dim)."""
        return self.pool(self.features(images))
