# SPDX-License-Identifier: Apache-2.0
"""The encoder of a camera that the robot carries: what is seen where in the whole picture tells where it looks from.

Keypoints follow one thing that moves in front of a scene. From on board everything moves, and what tells a place is all
that can be seen of it, so the last feature maps are read as a whole.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from jepa_ros.world_model.encoder import CELL


class ViewEncoder(nn.Module):
    """Pictures of one camera -> latent.

    Space-to-depth by CELL puts the picture on a small grid at once, which is cheap and gives nothing away; two strided
    layers make it smaller still.

    Args:
        camera: its name. size: (width, height) of the pictures [px], multiples of CELL. latent_dim: D. width: channels
            of the first feature maps; the others have more.
    """

    scene = None  # nothing of the latent is set aside for what stands about: it changes with every look

    def __init__(self, camera: str, size: tuple[int, int], latent_dim: int, width: int = 64) -> None:
        super().__init__()
        self.camera = camera

        def block(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Sequential:
            conv = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)
            return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU())

        self.first = nn.Sequential(nn.PixelUnshuffle(CELL), block(3 * CELL**2, width, 1))
        wide = 2 * width
        self.trunk = nn.Sequential(
            block(width, 3 * width // 2, 3, 2), block(3 * width // 2, wide, 3, 2), block(wide, wide, 3)
        )
        columns, rows = (-(-edge // CELL // 4) for edge in size)
        self.head = nn.Sequential(
            nn.Flatten(), nn.Linear(wide * columns * rows, 256), nn.BatchNorm1d(256), nn.ReLU(),
            nn.Linear(256, latent_dim),
        )  # fmt: skip

    def early_and_late(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images (B, H, W, 3) uint8 -> feature maps of the first block (B, width, H / 4, W / 4), and of the last."""
        x = images.permute(0, 3, 1, 2)
        kind = x.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else torch.float32
        early = self.first((x.to(dtype) - 128.0) / 64.0)
        return early, self.trunk(early)

    def finish(self, early: Tensor, late: Tensor, inputs: Mapping[str, Tensor]) -> Tensor:
        """The last feature maps -> latents (B, D)."""
        return self.head(late).float()

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """{camera: images (B, H, W, 3) uint8} -> (B, D)."""
        return self.finish(*self.early_and_late(inputs[self.camera]), inputs)
