# SPDX-License-Identifier: Apache-2.0
"""The tree of a deliberation as plain values, for people to look at: on a topic, in a file, as a picture."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from jepa_ros.planning.deliberate.deliberation import Deliberation


def plane_of(codes: np.ndarray) -> np.ndarray:
    """Codes (n, K) laid out in a plane, (n, 2), so that their distances are kept as well as may be."""
    centred = codes - codes.mean(0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    plane: np.ndarray = centred @ axes[:2].T
    return np.pad(plane, ((0, 0), (0, 2 - plane.shape[1])))


@torch.no_grad()
def tree_of(thought: Deliberation, places: Callable[[torch.Tensor], np.ndarray | None] | None = None) -> dict[str, Any]:
    """A tree as JSON takes it.

    Args:
        places: where latents (n, D) are in the plane, (n, 2) m, if something tells; otherwise codes are laid out.

    Returns:
        ``seed``, ``solved``, ``calls``, ``dropped``; ``axes`` ("m" or "codes"); ``nodes``, a list of [row of the
        parent (-1 of the first), steps so far, steps to go, x, y]; ``way``, rows from the start to the end of the best
        way; ``goal``, [x, y].
    """
    tree, n = thought.tree, len(thought.tree)
    goal = thought.problem.goal.latent
    assert goal is not None  # one without was refused
    latents = torch.cat([tree.latents[:n], goal[None]])
    where = None if places is None else places(latents)
    axes = "codes" if where is None else "m"
    if where is None:
        where = plane_of(torch.cat([tree.codes[:n], thought.search.to_go.code(goal[None])]).cpu().double().numpy())
    end = n - 1 if thought.solved else tree.best()
    nodes = [
        [int(tree.parent[i]), round(float(tree.cost[i]), 1), round(float(tree.to_go[i]), 2),
         round(float(where[i, 0]), 3), round(float(where[i, 1]), 3)]
        for i in range(n)
    ]  # fmt: skip
    return {
        "seed": thought.seed, "solved": thought.solved, "calls": thought.counts.calls, "dropped": tree.dropped,
        "axes": axes, "nodes": nodes, "way": tree.path(end), "goal": [round(float(v), 3) for v in where[n]],
    }  # fmt: skip
