# SPDX-License-Identifier: Apache-2.0
"""Joining the processes that ``torchrun`` started, and leaving them."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Iterator
from datetime import timedelta

import torch
import torch.distributed as dist

from jepa_ros.learning.parallel import ranks
from jepa_ros.learning.parallel.watch import Watch, at, meets, watching
from jepa_ros.learning.settings import TrainError


def launched() -> bool:
    """Whether ``torchrun`` started this process."""
    return dist.is_available() and dist.is_torchelastic_launched()


def here() -> int:
    """How many of the processes run on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1")) if launched() else 1


@contextlib.contextmanager
def joined(device: str, timeout: float) -> Iterator[str]:
    """For a block this process is one of those that ``torchrun`` started, if it started any.

    Args:
        device: ``cpu`` or ``cuda``; each process of a machine takes a GPU of its own. timeout: seconds after which a
            rank that does not go on is named, and the run ends.

    Yields:
        The device of this process.

    Raises:
        TrainError: there are fewer GPUs than processes, or another process ended.
    """
    if not launched():
        yield device
        return
    cuda = device.startswith("cuda")
    if cuda:
        local = int(os.environ["LOCAL_RANK"])
        if local >= torch.cuda.device_count():
            raise TrainError(
                f"--nproc-per-node {here()}: this machine has {torch.cuda.device_count()} GPUs; start as many processes"
            )
        torch.cuda.set_device(local)
        device = f"cuda:{local}"
    # Objects and decisions go over gloo also where gradients go over NCCL.
    backend = "cpu:gloo,cuda:nccl" if cuda else "gloo"
    kept, rank, size = next(iter(dist.rendezvous("env://", timeout=timedelta(seconds=timeout))))
    # torchrun keeps one store over its restarts: what processes of an earlier attempt told is not for this one.
    attempt = f"{os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}/{size}"
    store, watched = dist.PrefixStore(attempt, kept), dist.PrefixStore(attempt, kept.clone())
    # The watch names the rank that hangs; the time-out of torch itself, which names none, comes later.
    dist.init_process_group(
        backend, store=store, rank=rank, world_size=size, timeout=timedelta(seconds=3.0 * timeout + 30.0)
    )
    # Of 1x1 convolutions, whose gradients come in another order of axes: a matter of speed, and none here.
    warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")
    watching.append(Watch(watched, rank, size, timeout))
    try:
        yield device
        at("the end")
        meets()
        dist.barrier()
    except RuntimeError as error:
        if not isinstance(error, dist.DistError) and "gloo" not in str(error):
            raise
        raise TrainError(
            f"rank {ranks.rank()} of {size} lost another process ({' '.join(str(error).split())[:160]}); what torchrun "
            "says of it tells why; the same command resumes"
        ) from None
    finally:
        watching.pop().close()
        with contextlib.suppress(RuntimeError):
            dist.destroy_process_group()
