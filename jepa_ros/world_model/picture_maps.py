# SPDX-License-Identifier: Apache-2.0
"""What a picture shows, place by place: colours and edges of small patches, for judging inputs.

The latent says where the robot is; a box that was not there a moment ago, or a lens that is covered, hardly moves it.
The encoder's feature maps do tell, but each of their places takes in its neighbours, so that whatever the robot does
reaches far around it. So patches of the picture itself are read, each by itself, and a few linear combinations of their
values are enough: those in which places differ most, in units of what one place varies by itself while nothing happens
(Fisher's discriminant between places). They stand in the embedding, so that whoever keeps a memory (perception does
not) can compare places with what they were.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from jepa_ros.world_model.context import ContextPart

#: RMS of a place's own noise in each channel: places differ by up to some hundred times as much, which is then about 1.
NOISE = 0.01
#: Pixels of the model's input along the edge of a place.
PATCH = 4


class PictureMaps(nn.Module):
    """Images (B, H, W, 3) uint8 -> scene maps (B, channels, H / 4, W / 4), float32; the noise of a place is NOISE.

    Args:
        channels: of the scene maps.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        # Fitted in closed form, see learning/stages/alarm_levels.py.
        self.register_buffer("weight", torch.zeros(channels, 3, PATCH, PATCH))
        self.register_buffer("bias", torch.zeros(channels))

    def read(self, images: Tensor, early: Tensor, late: Tensor) -> Tensor:
        """As a part of an embedding: see :data:`jepa_ros.world_model.context.HEADS`."""
        return self(images)

    def forward(self, images: Tensor) -> Tensor:
        """See the class."""
        x = (images.permute(0, 3, 1, 2).float() - 128.0) / 64.0
        return nn.functional.conv2d(x, self.weight, self.bias, stride=PATCH)


def make_head(part: ContextPart, width: int, grid: tuple[int, int]) -> PictureMaps:
    """The head of the part ``scene``, (channels, rows, columns)."""
    return PictureMaps(part.shape[0])


def patches(images: Tensor) -> Tensor:
    """Images (B, H, W, 3) uint8 -> each patch's values in the order of PictureMaps.weight, (B, 48, H / 4, W / 4)."""
    x = (images.permute(0, 3, 1, 2).float() - 128.0) / 64.0
    return nn.functional.pixel_unshuffle(x, PATCH)


class NoveltyHead(nn.Module):
    """Latents (..., D) -> their Mahalanobis distance (...) from the training data; 1 is the level to slow down at."""

    mean: Tensor
    root: Tensor

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        # Fitted in closed form, see learning/stages/alarm_levels.py; root @ root.T is the precision.
        self.register_buffer("mean", torch.zeros(latent_dim))
        self.register_buffer("root", torch.zeros(latent_dim, latent_dim))

    def forward(self, z: Tensor) -> Tensor:
        """See the class."""
        return ((z.float() - self.mean) @ self.root).norm(dim=-1)


def summarise(scene: np.ndarray) -> np.ndarray:
    """What describes a whole picture: scene maps (..., C, g, g) -> (..., 6 C).

    Mean and spread of each channel over the picture, and its mean along each of the four edges: what hangs over the
    arena and looks down sees its walls there, and nowhere else.
    """
    parts = [scene.mean((-2, -1)), scene.std((-2, -1))]
    parts += [scene[..., 0, :].mean(-1), scene[..., -1, :].mean(-1), scene[..., 0].mean(-1), scene[..., -1].mean(-1)]
    return np.concatenate(parts, axis=-1)
