# SPDX-License-Identifier: Apache-2.0
"""Run by test_training_processes.py under torchrun: prints how far gradients are from those of a whole batch."""

import copy
import os

import torch
from torch import nn

from jepa_ros.learning.parallel import ranks
from jepa_ros.learning.parallel.layers import whole_batches
from jepa_ros.learning.parallel.start import joined

ROWS = 7  # an odd number: the processes have different shares


def loss_of(net, x):
    return (net(x) ** 3).mean()


def main():
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, bias=False)
    net = nn.Sequential(*layers, nn.BatchNorm2d(8), nn.Dropout2d(0.3)).double().train()
    x = 5.0 + 0.1 * torch.randn(ROWS, 3, 20, 20, dtype=torch.float64)
    whole = copy.deepcopy(net)
    torch.manual_seed(5)
    loss_of(whole, x).backward()
    with joined("cpu", 120.0):
        torch.manual_seed(5)
        with whole_batches(net) as dropouts:
            for layer in dropouts:
                layer.rows = ROWS
            learned = ranks.learned(lambda v: loss_of(net, v), net)
            (ranks.weight(ROWS) * learned(x[ranks.share(ROWS)])).backward()
    pairs = list(zip(net.parameters(), whole.parameters()))
    off = max(float((p.grad - q.grad).abs().max() / q.grad.abs().max()) for p, q in pairs)
    buffers = max(float((p - q).abs().max()) for p, q in zip(net.buffers(), whole.buffers()))
    os.write(1, f"{max(off, buffers)}\n".encode())  # in one piece: two processes write


if __name__ == "__main__":
    main()
