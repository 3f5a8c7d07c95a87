# SPDX-License-Identifier: Apache-2.0
"""Where the robot can drive, read from a picture: a readout of the encoder's frozen feature maps.

The latent says where the robot is, and little of what stands about: a prediction passes through a box. What stands
about does not move with the robot, so that it need not be rolled out: one picture gives a map of the places at which
the robot's centre cannot be (its configuration space), and every predicted place is looked up in it. It is learned from
the robot's own bumps, as in Kahn et al., "BADGR: an autonomous self-supervised learning-based navigation system", 2021.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from jepa_ros.world_model.context import ContextPart, part_of


class MapHead(nn.Module):
    """Feature maps of the picture -> logits that a place is blocked, on a grid in the contract's map frame.

    A small U-Net over the picture; its maps, twice as fine as the encoder's, are then seen from above. The camera hangs
    a little different each time, and a few degrees move what it sees by as much as a robot's radius: the way from map
    to picture is the mean one, corrected by what the picture tells (Jaderberg et al., "Spatial transformer networks",
    2015).

    Row 0 of the map is its lower edge (least y), column 0 its left edge (least x), as in nav_msgs/OccupancyGrid.

    Args:
        width: channels of the feature maps. grid: their rows and columns. cells: edge of the map.
        channels, fine: inner widths.
    """

    xy: Tensor
    places: Tensor
    homography: Tensor
    warp: Tensor

    def __init__(self, width: int, grid: tuple[int, int], cells: int, channels: int = 48, fine: int = 24) -> None:
        super().__init__()

        def block(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
            return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, 1), nn.ReLU())

        self.register_buffer("xy", _coordinates(*grid)[None], persistent=False)
        self.register_buffer("places", _coordinates(cells, cells)[None] * (1.0 - 1.0 / cells), persistent=False)
        # From map to picture, each in [-1, 1], and where that puts each cell: see learning/stages/place_map.py.
        self.register_buffer("homography", torch.eye(3))
        self.register_buffer("warp", torch.zeros(1, cells, cells, 2))
        self.first = block(2 * width + 2, channels)
        self.down = block(channels, 64, stride=2)
        self.quarter = block(64, 96, stride=2)
        self.whole = nn.Sequential(nn.Linear(96, 96), nn.ReLU())
        self.camera = nn.Sequential(
            nn.Conv2d(width, 16, 1), nn.Flatten(), nn.Linear(16 * grid[0] * grid[1], 64), nn.ReLU(), nn.Linear(64, 8)
        )
        self.middle = block(96, 96)
        self.up_half = block(96 + 64, 64)
        self.up_whole = block(64 + channels, channels)
        self.up_fine = nn.Sequential(nn.Conv2d(channels, 4 * fine, 1), nn.ReLU(), nn.PixelShuffle(2))
        self.dropout = nn.Dropout2d(0.1)
        self.out = nn.Sequential(block(fine + 2, fine), block(fine, fine), nn.Conv2d(fine, 1, 1))
        nn.init.zeros_(self.camera[-1].weight)  # type: ignore[arg-type]
        nn.init.zeros_(self.camera[-1].bias)  # type: ignore[arg-type]

    def look_from(self, homography: Tensor) -> None:
        """Set the mean way from map to picture, (3, 3), each in [-1, 1]."""
        self.homography.copy_(homography)
        cells = self.places.shape[-1]
        self.warp.copy_(project(self.homography[None], self.places[0].flatten(1).T).view(1, cells, cells, 2))

    def read(self, images: Tensor, early: Tensor, late: Tensor) -> Tensor:
        """As a part of an embedding: see :data:`jepa_ros.world_model.context.HEADS`."""
        return self(early, late)

    def forward(self, early: Tensor, late: Tensor) -> Tensor:
        """Args: feature maps (B, width, rows, columns) of the encoder's first and last block.

        Returns:
            Logits (B, cells, cells), float32.
        """
        return self.map_and_view(early, late)[0]

    def map_and_view(self, early: Tensor, late: Tensor) -> tuple[Tensor, Tensor]:
        """As :meth:`forward`, and the homographies (B, 3, 3) from map to picture, each in [-1, 1], that it used."""
        xy = self.xy.to(late.dtype).expand(len(late), -1, -1, -1)
        x0 = self.first(torch.cat([early, late, xy], dim=1))
        x1 = self.down(x0)
        x2 = self.quarter(x1)
        view = self.homography + torch.nn.functional.pad(0.1 * self.camera(late).float(), (0, 1)).view(-1, 3, 3)
        x2 = self.middle(self.dropout(x2 + self.whole(x2.mean((2, 3)))[:, :, None, None]))
        x1 = self.up_half(torch.cat([_twice(x2), x1], dim=1))
        x0 = self.up_fine(self.up_whole(torch.cat([_twice(x1), x0], dim=1)))
        # The maps are twice as fine as those that `view` counts in: the middle of a corner cell lies further out.
        edges = torch.tensor([late.shape[-1], late.shape[-2]], device=late.device)
        where = 2 * (edges - 1) / (2 * edges - 1) * project(view, self.places[0].flatten(1).T)
        where = where.view(len(view), *self.places.shape[2:], 2)
        flat = nn.functional.grid_sample(x0, where.to(x0.dtype), padding_mode="border", align_corners=True)
        places = self.places.to(flat.dtype).expand(len(flat), -1, -1, -1)
        return self.out(torch.cat([flat, places], dim=1)).squeeze(1).float(), view


#: Of a map [m]: x and y of its lower corner and of its upper one.
Extent = tuple[float, float, float, float]


def map_part(cells: int, extent: Extent) -> ContextPart:
    """The declaration of a map of ``cells`` x ``cells`` places."""
    return ContextPart("map", (cells, cells), {"extent": [float(v) for v in extent]})


def map_of(config: Any) -> tuple[int, Extent] | None:
    """Cells and extent of the map in a model's embeddings; None where they have none."""
    part = part_of(config, "map")
    if part is None:
        return None
    x0, y0, x1, y1 = part.about["extent"]
    return part.shape[0], (x0, y0, x1, y1)


def make_head(part: ContextPart, width: int, grid: tuple[int, int]) -> MapHead:
    """The head of the part ``map``."""
    return MapHead(width, grid, part.shape[0])


def _coordinates(rows: int, columns: int) -> Tensor:
    """(2, rows, columns): the column and the row of each cell, from -1 in the first to 1 in the last."""
    axes = torch.linspace(-1.0, 1.0, rows), torch.linspace(-1.0, 1.0, columns)
    down, across = torch.meshgrid(*axes, indexing="ij")
    return torch.stack([across, down])


def project(homography: Tensor, points: Tensor) -> Tensor:
    """Points (N, 2) or (B, N, 2) through homographies (B, 3, 3): (B, N, 2)."""
    moved = torch.cat([points, torch.ones_like(points[..., :1])], dim=-1) @ homography.transpose(1, 2)
    return moved[..., :2] / moved[..., 2:].clamp_min(0.1)


def _twice(x: Tensor) -> Tensor:
    return nn.functional.interpolate(x, scale_factor=2, mode="bilinear")


def on_map(points: Tensor, extent: tuple[float, float, float, float]) -> Tensor:
    """Points (..., 2) [m] as shares of the map: -1 at its lower, 1 at its upper edge."""
    low, high = points.new_tensor(extent[:2]), points.new_tensor(extent[2:])
    return 2.0 * (points - low) / (high - low) - 1.0


def look_up(grid: Tensor, points: Tensor, extent: tuple[float, float, float, float]) -> Tensor:
    """Bilinear look-up of map values; beyond the map its edge counts.

    Args:
        grid: (B, n, n), row 0 the lower edge. points: (B, N, 2) x, y [m]. extent: see Extent.

    Returns:
        (B, N).
    """
    where = on_map(points, extent)[:, :, None]
    values = nn.functional.grid_sample(grid[:, None], where, padding_mode="border", align_corners=False)
    return values[:, 0, :, 0]


def picture_of_places(model: Any, places: Tensor, grid: tuple[int, int]) -> Tensor:
    """Where places (N, 2) [m] lie in the picture: (N, 2) column and row in cells of a grid of rows x columns."""
    found = map_of(model.config)
    assert found is not None  # asked of models with a map alone
    warp, extent = model.context["map"].warp, found[1]
    uv = torch.stack([look_up(warp[..., i], places[None].to(warp), extent)[0] for i in (0, 1)], dim=-1)
    return (uv + 1.0) * 0.5 * (torch.tensor(grid[::-1], device=uv.device) - 1)
