# SPDX-License-Identifier: Apache-2.0
"""What the processes of one training share: rows of a batch, sums, gradients, items of a list.

Every process ("rank") draws the same random numbers and computes on its own rows of a batch. Sums over rows are then
taken over all ranks, those in a loss in a way that gradients pass through. So loss and weights are those of one
process, but for the order in which numbers are added. In a process that ``torchrun`` did not start all of this does
nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
from torch.nn.parallel import DistributedDataParallel

from jepa_ros.learning.parallel.watch import meets

T = TypeVar("T")
R = TypeVar("R")


def size() -> int:
    """How many processes train."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """The number of this one, from 0."""
    return dist.get_rank() if size() > 1 else 0


def writes() -> bool:
    """Whether this process writes files and tells progress; one does."""
    return rank() == 0


def share(rows: int) -> slice:
    """This rank's rows of a batch; ranks differ by one at most."""
    return slice(rows * rank() // size(), rows * (rank() + 1) // size())


def weight(rows: int) -> float:
    """What the mean of a loss over :func:`share` of so many rows counts for, so that the mean over ranks is right."""
    mine = share(rows)
    return (mine.stop - mine.start) * size() / rows


class _Sum(torch.autograd.Function):
    """A sum over all ranks in a loss: what each rank's loss says of the sum counts for each rank's part of it."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        total = value.clone(memory_format=torch.contiguous_format)
        meets()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:  # type: ignore[override]
        return _Sum.apply(grads[0])


def summed(value: Tensor) -> Tensor:
    """The sum over all ranks; gradients pass."""
    return value if size() == 1 else _Sum.apply(value)


@torch.no_grad()
def averaged(values: dict[str, Tensor], rows: int) -> dict[str, float]:
    """Means over :func:`share` of so many rows -> means over all rows, to be told."""
    if not values:
        return {}
    stacked = torch.stack([v.detach().double() for v in values.values()])
    if size() > 1:
        stacked = stacked * (weight(rows) / size())
        meets()
        dist.all_reduce(stacked)
    return dict(zip(values, stacked.tolist()))


def same(value: T) -> T:
    """What the first rank has: for decisions that all must take alike."""
    if size() == 1:
        return value
    box = [value]
    meets()
    dist.broadcast_object_list(box, src=0)
    return box[0]


def each(function: Callable[[T], R], items: Sequence[T]) -> list[R]:
    """``function`` of every item, each computed by one rank; all ranks get all results, in the items' order."""
    if size() == 1:
        return [function(item) for item in items]
    found: list[Any] = [None] * size()
    own = [function(item) for item in items[rank() :: size()]]
    meets()
    dist.all_gather_object(found, own)
    return [found[i % size()][i // size()] for i in range(len(items))]


class _Loss(nn.Module):
    """A loss as a module, as DistributedDataParallel wants it."""

    def __init__(self, function: Callable[..., Any], modules: Sequence[nn.Module]) -> None:
        super().__init__()
        self.trained = nn.ModuleList(modules)
        self.function = function

    def forward(self, *args: Any) -> Any:
        return self.function(*args)


def learned(function: Callable[..., Any], *modules: nn.Module) -> Callable[..., Any]:
    """``function`` (a loss), whose gradients on ``modules`` are averaged over the ranks while it is passed back.

    At the call all ranks take over the weights of the first.
    """
    if size() == 1:
        return function
    meets()
    found = DistributedDataParallel(_Loss(function, modules), forward_sync_buffers=False)
    found.register_comm_hook(None, _averaged_gradients)
    return found


def _averaged_gradients(_, bucket):  # type: ignore[no-untyped-def]  # torch wants no annotations that are strings
    """torch's own averaging, told to the watch."""
    meets()
    return allreduce_hook(None, bucket)  # type: ignore[arg-type]  # None: of all
