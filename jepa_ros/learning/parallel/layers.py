# SPDX-License-Identifier: Apache-2.0
"""Layers that speak of a whole batch, for processes that each have a part of it.

torch's SyncBatchNorm computes on GPUs only; :class:`GatheredBatchNorm` is the same for CPUs.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from jepa_ros.learning.parallel import ranks
from jepa_ros.learning.parallel.watch import meets


class _Normalise(torch.autograd.Function):
    """Batch normalisation by statistics over all ranks; the passes over the data are torch's own kernels."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> tuple[Tensor, ...]:
        mean, variance = torch.batch_norm_update_stats(x, None, None, 0.0)  # of this rank's rows; var_mean is slow
        rows = torch.full_like(mean[:1], x.numel() // x.shape[1])
        found = torch.cat([mean * rows, rows])
        meets()
        dist.all_reduce(found)
        count = found[-1]
        middle = found[:-1] / count
        square = (variance + (mean - middle).square()) * rows
        meets()
        dist.all_reduce(square)
        spread = square / count
        y = nn.functional.batch_norm(x, middle, spread, weight, bias, training=False, eps=eps)
        ctx.save_for_backward(x, weight, middle, spread, count)
        ctx.eps = eps
        ctx.mark_non_differentiable(middle, spread, count)
        return y, middle, spread, count

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        x, weight, mean, variance, count = ctx.saved_tensors
        scale = torch.rsqrt(variance + ctx.eps)
        dx, dw, db = torch.ops.aten.native_batch_norm_backward(
            grads[0], x, weight, mean, variance, mean, scale, False, ctx.eps, [True, True, True]
        )
        both = torch.stack([dw, db]).to(mean.dtype)
        meets()
        dist.all_reduce(both)
        slope = scale if weight is None else scale * weight
        along, level = both * (slope / count)
        along = along * scale
        shape = (1, -1, *[1] * (x.dim() - 2))
        dx = dx - (x * along.view(shape) + (level - along * mean).view(shape)).to(dx.dtype)
        return dx, None if weight is None else dw, None if weight is None else db, None


class GatheredBatchNorm(nn.modules.batchnorm._BatchNorm):
    """BatchNorm1d and 2d over the rows of all ranks."""

    def _check_input_dim(self, x: Tensor) -> None:
        if x.dim() < 2:
            raise ValueError(f"expected at least 2 axes, found {x.dim()}")

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, ...) -> the same."""
        if not self.training or ranks.size() == 1:
            return super().forward(x)
        y, mean, variance, count = _Normalise.apply(x, self.weight, self.bias, self.eps)
        with torch.no_grad():
            assert self.running_mean is not None and self.running_var is not None and self.momentum is not None
            assert self.num_batches_tracked is not None
            self.num_batches_tracked.add_(1)
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * count / (count - 1.0), self.momentum)
        return y


class WholeDropout2d(nn.Dropout2d):
    """Drops the channels that one process with the whole batch would drop. ``rows``: of the whole batch."""

    rows = 0

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same."""
        if not self.training or ranks.size() == 1:
            return super().forward(x)
        keep = 1.0 - self.p
        noise = torch.empty(self.rows, x.shape[1], 1, 1, dtype=x.dtype, device=x.device).bernoulli_(keep).div_(keep)
        return x * noise[ranks.share(self.rows)]


@contextlib.contextmanager
def whole_batches(*modules: nn.Module) -> Iterator[list[WholeDropout2d]]:
    """For a block the layers of ``modules`` speak of the batch of all ranks; their parameters stay the same objects.

    Yields:
        Layers that have to be told how many ``rows`` the whole batch has.
    """
    dropouts: list[WholeDropout2d] = []
    put_back: list[tuple[nn.Module, str, nn.Module]] = []
    if ranks.size() > 1:
        for parent in [m for module in modules for m in module.modules()]:
            for name, child in list(parent.named_children()):
                new = _counterpart(child)
                if new is not None:
                    put_back.append((parent, name, child))
                    setattr(parent, name, new)
                    dropouts += [new] if isinstance(new, WholeDropout2d) else []
    try:
        yield dropouts
    finally:
        for parent, name, child in put_back:
            child.train(getattr(parent, name).training)
            setattr(parent, name, child)


def _counterpart(layer: nn.Module) -> nn.Module | None:
    """The layer over all ranks that shares the parameters and buffers of one; None where it needs none."""
    if isinstance(layer, nn.Dropout2d):
        return WholeDropout2d(layer.p)
    if not isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d)):
        return None
    where = next((t.device.type for t in (*layer.parameters(), *layer.buffers())), "cpu")
    kind = GatheredBatchNorm if where == "cpu" else nn.SyncBatchNorm
    new = kind(layer.num_features, layer.eps, layer.momentum, layer.affine, layer.track_running_stats)
    new._parameters, new._buffers = layer._parameters, layer._buffers  # the same objects
    new.train(layer.training)
    return new
