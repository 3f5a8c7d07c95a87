# SPDX-License-Identifier: Apache-2.0
"""The encoder: small convolutional nets that pool pictures at a few soft keypoints; states join them at the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

#: Factor on the attention's logits. Attention that begins nearly flat sees every position as the middle of the
#: picture, and its gradient is as flat; sharper from the start, it finds the robot in a fraction of the time.
SHARPNESS = 8.0
#: Pixels of the model's picture along the edge of a cell of its feature maps.
CELL = 4


class Keypoints(nn.Module):
    """Pictures of one camera -> what is seen at its keypoints, and where they are.

    Space-to-depth by 4 puts a 64x64 picture on a 16x16 grid at once (cheap on a CPU, and nothing is thrown away);
    convolutions keep that grid; each of ``keypoints`` attention maps then pools ``values`` channels and its own mean
    position. Positions are what a robot's motion changes, so that the latent finds *where* things are instead of
    *which* scene it is; a flat head learns the heading only partly when layouts change every episode.

    Args:
        size: (width, height) of the pictures [px], multiples of CELL.
    """

    positions: Tensor

    def __init__(self, size: tuple[int, int], width: int = 48, keypoints: int = 8, values: int = 16) -> None:
        super().__init__()
        self.unshuffle = nn.PixelUnshuffle(CELL)
        columns, rows = (edge // CELL for edge in size)

        def block(inputs: int, kernel: int) -> nn.Sequential:
            return nn.Sequential(
                nn.Conv2d(inputs, width, kernel, padding=kernel // 2, bias=False), nn.BatchNorm2d(width), nn.ReLU()
            )

        self.trunk = nn.Sequential(block(3 * CELL**2, 1), block(width, 3), block(width, 3))
        self.attention = nn.Conv2d(width, keypoints, 1)
        self.value = nn.Conv2d(width, values, 1)
        self.outputs = keypoints * (values + 2)
        axes = torch.linspace(-1.0, 1.0, rows), torch.linspace(-1.0, 1.0, columns)
        ys, xs = torch.meshgrid(*axes, indexing="ij")
        self.register_buffer("positions", torch.stack([xs.flatten(), ys.flatten()], dim=1), persistent=False)

    def features(self, images: Tensor) -> Tensor:
        """Images (B, H, W, 3) uint8 -> feature maps (B, width, H / 4, W / 4)."""
        return self.early_and_late(images)[1]

    def early_and_late(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images (B, H, W, 3) uint8 -> feature maps (B, width, H / 4, W / 4) of the first block and of the last.

        The first block's have the detail that telling where the robot is does not need.
        """
        early = self._early(images)
        return early, self.trunk[2](self.trunk[1](early))

    def _early(self, images: Tensor) -> Tensor:
        """The feature maps of the first block."""
        x = images.permute(0, 3, 1, 2)
        kind = x.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else torch.float32
        x = (x.to(dtype) - 128.0) / 64.0
        return self.trunk[0](self.unshuffle(x))

    def pooled(self, x: Tensor) -> Tensor:
        """Feature maps, as :meth:`features` gives them -> (B, outputs): values at the keypoints, then positions."""
        weights = self._weights(x)
        values = self.value(x).flatten(2).transpose(1, 2)  # (B, cells, V)
        pooled = torch.matmul(weights.to(values.dtype), values)  # (B, K, V)
        where = torch.matmul(weights, self.positions)  # (B, K, 2), in fp32: positions are what control needs
        return torch.cat([pooled.float(), where], dim=2).flatten(1)

    def keypoint_positions(self, x: Tensor) -> Tensor:
        """Feature maps -> where each attention map looks: (B, K, 2), x to the right and y down, in [-1, 1]."""
        return torch.matmul(self._weights(x), self.positions)

    def _weights(self, x: Tensor) -> Tensor:
        """(B, K, cells), in fp32."""
        return (SHARPNESS * self.attention(x).flatten(2).float()).softmax(dim=2)


def scene_head(size: tuple[int, int], width: int, scene_dim: int) -> nn.Sequential:
    """The first feature maps (B, width, H / 4, W / 4) -> what stands about, (B, scene_dim).

    Keypoints look for what moves. Walls are read by a layer that sees the whole picture at once, before much of its
    detail is given up.
    """
    columns, rows = (-(-edge // CELL // 2) for edge in size)
    return nn.Sequential(
        nn.Conv2d(width, 16, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten(),
        nn.Linear(16 * columns * rows, 128), nn.ReLU(), nn.Linear(128, scene_dim),
    )  # fmt: skip


class KeypointEncoder(Keypoints):
    """Pictures of one or several cameras, and states -> latent.

    Args:
        cameras: (name, width, height) of each; the first is this net's own, the others have one each in ``further``.
        latent_dim: D. states: (name, n) of each state vector, brought to mean 0 and variance 1 as training saw them.
        scene_dim: the last values of the latent, which tell what stands about.
    """

    def __init__(
        self, cameras: Sequence[tuple[str, int, int]], latent_dim: int, width: int = 48, keypoints: int = 8,
        values: int = 16, states: Sequence[tuple[str, int]] = (), scene_dim: int = 0,
    ) -> None:  # fmt: skip
        sizes = width, keypoints, values
        (self.camera, *edges), *others = cameras
        super().__init__((edges[0], edges[1]), *sizes)
        self.further = nn.ModuleDict({name: Keypoints((w, h), *sizes) for name, w, h in others})
        self.states = nn.ModuleDict({name: nn.BatchNorm1d(n, affine=False) for name, n in states})
        inputs = self.outputs * len(cameras) + sum(n for _, n in states)
        self.head = nn.Sequential(nn.Linear(inputs, 256), nn.ReLU(), nn.Linear(256, latent_dim - scene_dim))
        self.scene = scene_head((edges[0], edges[1]), width, scene_dim) if scene_dim else None

    def finish(self, early: Tensor, late: Tensor, inputs: Mapping[str, Tensor]) -> Tensor:
        """First and last feature maps of the first camera, and the other inputs -> latents (B, latent_dim)."""
        parts = [self.pooled(late)]
        for name, net in self.further.items():
            assert isinstance(net, Keypoints)
            parts.append(net.pooled(net.features(inputs[name])))
        parts += [norm(inputs[name].float()) for name, norm in self.states.items()]
        latent = self.head(torch.cat(parts, dim=1)).float()
        return latent if self.scene is None else torch.cat([latent, self.scene(early).float()], dim=1)

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """{camera: images (B, H, W, 3) uint8; state: (B, n)} -> (B, latent_dim)."""
        return self.finish(*self.early_and_late(inputs[self.camera]), inputs)
