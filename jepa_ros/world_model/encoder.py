# SPDX-License-Identifier: Apache-2.0
"""The encoder: a small convolutional net whose head pools the picture at a few soft keypoints."""

from __future__ import annotations

import torch
from torch import Tensor, nn

#: Factor on the attention's logits. Attention that begins nearly flat sees every position as the middle of the
#: picture, and its gradient is as flat; sharper from the start, it finds the robot in a fraction of the time.
SHARPNESS = 8.0


class KeypointEncoder(nn.Module):
    """Image -> latent.

    Space-to-depth by 4 puts a 64x64 picture on a 16x16 grid at once (cheap on a CPU, and nothing is thrown away);
    convolutions keep that grid; each of ``keypoints`` attention maps then pools ``values`` channels and its own mean
    position. Positions are what a robot's motion changes, so that the latent finds *where* things are instead of
    *which* scene it is; a flat head learns the heading only partly when layouts change every episode.
    """

    positions: Tensor

    def __init__(self, size: int, latent_dim: int, width: int = 48, keypoints: int = 8, values: int = 16) -> None:
        super().__init__()
        self.unshuffle = nn.PixelUnshuffle(4)
        grid = size // 4

        def block(inputs: int, kernel: int) -> nn.Sequential:
            return nn.Sequential(
                nn.Conv2d(inputs, width, kernel, padding=kernel // 2, bias=False), nn.BatchNorm2d(width), nn.ReLU()
            )

        self.trunk = nn.Sequential(block(48, 1), block(width, 3), block(width, 3))
        self.attention = nn.Conv2d(width, keypoints, 1)
        self.value = nn.Conv2d(width, values, 1)
        axis = torch.linspace(-1.0, 1.0, grid)
        ys, xs = torch.meshgrid(axis, axis, indexing="ij")
        self.register_buffer("positions", torch.stack([xs.flatten(), ys.flatten()], dim=1), persistent=False)
        self.head = nn.Sequential(nn.Linear(keypoints * (values + 2), 256), nn.ReLU(), nn.Linear(256, latent_dim))

    def features(self, images: Tensor) -> Tensor:
        """Images (B, H, W, 3) uint8 -> feature maps (B, width, H / 4, W / 4)."""
        return self.early_and_late(images)[1]

    def early_and_late(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images (B, H, W, 3) uint8 -> feature maps (B, width, H / 4, W / 4) of the first block and of the last.

        The first block's have the detail that telling where the robot is does not need.
        """
        x = images.permute(0, 3, 1, 2)
        kind = x.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else torch.float32
        x = (x.to(dtype) - 128.0) / 64.0
        early = self.trunk[0](self.unshuffle(x))
        return early, self.trunk[2](self.trunk[1](early))

    def pool(self, x: Tensor) -> Tensor:
        """Feature maps, as :meth:`features` gives them -> latents (B, latent_dim)."""
        weights = self._weights(x)
        values = self.value(x).flatten(2).transpose(1, 2)  # (B, cells, V)
        pooled = torch.matmul(weights.to(values.dtype), values)  # (B, K, V)
        where = torch.matmul(weights, self.positions)  # (B, K, 2), in fp32: positions are what control needs
        return self.head(torch.cat([pooled.float(), where], dim=2).flatten(1)).float()

    def keypoint_positions(self, x: Tensor) -> Tensor:
        """Feature maps -> where each attention map looks: (B, K, 2), x to the right and y down, in [-1, 1]."""
        return torch.matmul(self._weights(x), self.positions)

    def _weights(self, x: Tensor) -> Tensor:
        """(B, K, cells), in fp32."""
        return (SHARPNESS * self.attention(x).flatten(2).float()).softmax(dim=2)

    def forward(self, images: Tensor) -> Tensor:
        """Args: images (B, H, W, 3) uint8. Returns: (B, latent_dim)."""
        return self.pool(self.features(images))
