# SPDX-License-Identifier: Apache-2.0
"""Where the robot can drive, read from a picture: a readout of the encoder's frozen feature maps.

The latent says where the robot is, and little of what stands about: a prediction passes through a box. What stands
about does not move with the robot, so that it need not be rolled out: one picture gives a map of the places at which
the robot's centre cannot be (its configuration space), and every predicted place is looked up in it. It is learned from
the robot's own bumps, as in Kahn et al., "BADGR: an autonomous self-supervised learning-based navigation system", 2021.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class TraversabilityHead(nn.Module):
    """Feature maps of the picture -> logits that a place is blocked, on a grid in the contract's map frame.

    Row 0 of the map is its lower edge (least y), column 0 its left edge (least x), as in nav_msgs/OccupancyGrid.

    Args:
        width: channels of the feature maps. grid: their edge. cells: edge of the map. channels: inner width.
    """

    xy: Tensor
    warp: Tensor

    def __init__(self, width: int, grid: int, cells: int, channels: int = 48) -> None:
        super().__init__()

        def block(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
            return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, 1), nn.ReLU())

        axis = torch.linspace(-1.0, 1.0, grid)
        ys, xs = torch.meshgrid(axis, axis, indexing="ij")
        self.register_buffer("xy", torch.stack([xs, ys])[None], persistent=False)
        # Where each cell lies in the picture, in [-1, 1]: found in training, see learning/traversability.py.
        self.register_buffer("warp", torch.zeros(1, cells, cells, 2))
        self.first = block(width + 2, channels)
        self.down = block(channels, 64, stride=2)
        self.quarter = block(64, 96, stride=2)
        self.whole = nn.Sequential(nn.Linear(96, 96), nn.ReLU())
        self.middle = block(96, 96)
        self.up_half = block(96 + 64, 64)
        self.up_whole = block(64 + channels, channels)
        self.dropout = nn.Dropout2d(0.1)
        self.out = nn.Sequential(block(channels, channels), nn.Conv2d(channels, 1, 1))

    def forward(self, features: Tensor) -> Tensor:
        """Args: features (B, width, grid, grid). Returns: logits (B, cells, cells), float32."""
        x0 = self.first(torch.cat([features, self.xy.to(features.dtype).expand(len(features), -1, -1, -1)], dim=1))
        x1 = self.down(x0)
        x2 = self.quarter(x1)
        x2 = self.middle(self.dropout(x2 + self.whole(x2.mean((2, 3)))[:, :, None, None]))
        x1 = self.up_half(torch.cat([_twice(x2), x1], dim=1))
        x0 = self.up_whole(torch.cat([_twice(x1), x0], dim=1))
        warp = self.warp.to(x0.dtype).expand(len(x0), -1, -1, -1)
        flat = nn.functional.grid_sample(x0, warp, padding_mode="border", align_corners=True)
        return self.out(flat).squeeze(1).float()


def _twice(x: Tensor) -> Tensor:
    return nn.functional.interpolate(x, scale_factor=2, mode="bilinear")


def look_up(grid: Tensor, points: Tensor, extent: tuple[float, float, float, float]) -> Tensor:
    """Bilinear look-up of map values; beyond the map its edge counts.

    Args:
        grid: (B, n, n), row 0 the lower edge. points: (B, N, 2) x, y [m]. extent: as ModelConfig.map_extent.

    Returns:
        (B, N).
    """
    low, high = points.new_tensor(extent[:2]), points.new_tensor(extent[2:])
    where = 2.0 * (points - low) / (high - low) - 1.0
    values = nn.functional.grid_sample(grid[:, None], where[:, :, None], padding_mode="border", align_corners=False)
    return values[:, 0, :, 0]


def cell_centres(cells: int, extent: tuple[float, float, float, float]) -> Tensor:
    """(cells, cells, 2) x, y [m] of the middle of each cell."""
    x0, y0, x1, y1 = extent
    steps = (torch.arange(cells) + 0.5) / cells
    y, x = torch.meshgrid(y0 + steps * (y1 - y0), x0 + steps * (x1 - x0), indexing="ij")
    return torch.stack([x, y], dim=-1)
