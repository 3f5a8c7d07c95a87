# SPDX-License-Identifier: Apache-2.0
"""Judging a representation: linear probes, open-loop error against copying, rank and spread, on held-out episodes.

The loss does not tell a good representation from a collapsed one; these do.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from jepa_ros.contract import RobotContract
from jepa_ros.learning.data.dataset import Dataset
from jepa_ros.learning.data.sampler import tensors
from jepa_ros.learning.parallel import ranks
from jepa_ros.learning.parallel.watch import at
from jepa_ros.world_model import WorldModel

OPEN_LOOP_STEPS = (1, 5, 12)
#: Pictures that are encoded at once.
CHUNK = 128


@dataclass
class Latents:
    """Encoded episodes: z (E, T, D), normalised actions (E, T, A), poses (E, T, 3), contacts (E, T), numbers of their
    layouts (E,), and states {name: (E, T, n)} that the data keeps; ``contract`` is the data's.

    Episodes shorter than the longest are cut into pieces of ``T`` by :class:`Encoded`.
    """

    z: Tensor
    actions: Tensor
    poses: Tensor
    contacts: Tensor
    layouts: np.ndarray
    states: dict[str, Tensor] = field(default_factory=dict)
    contract: RobotContract | None = None

    def halves(self) -> tuple[Latents, Latents]:
        """The first half of the pieces, and the others: what is tuned on the one is judged on the other."""
        middle = len(self.z) // 2
        return self._part(slice(None, middle)), self._part(slice(middle, None))

    def _part(self, which: slice) -> Latents:
        states = {name: values[which] for name, values in self.states.items()}
        return Latents(
            self.z[which], self.actions[which], self.poses[which], self.contacts[which], self.layouts[which],
            states, self.contract,
        )  # fmt: skip


class Encoded:
    """Episodes of a dataset as a frozen model encodes them, each once, however they are cut.

    Args:
        model: not trained on while this is used. bf16: encode under bfloat16 autocast.
    """

    def __init__(self, model: WorldModel, data: Dataset, bf16: bool = False) -> None:
        self.model, self.data, self.bf16 = model, data, bf16
        self._latents: dict[int, Tensor] = {}

    def latents(self, episode: int) -> Tensor:
        """(T, D) of a whole episode."""
        if episode not in self._latents:
            self._latents[episode] = self._encode(episode)
        return self._latents[episode]

    @torch.inference_mode()
    def _encode(self, episode: int) -> Tensor:
        was_training, device = self.model.training, self.model.device
        self.model.eval()
        parts = []
        at(f"encoding episode {episode}")
        for start in range(0, int(self.data.index[episode, 2]), CHUNK):
            length = min(CHUNK, int(self.data.index[episode, 2]) - start)
            inputs = tensors(self.data.inputs(episode, start, length), device)
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=self.bf16):
                parts.append(self.model.latent(inputs).float().cpu())
        self.model.train(was_training)
        return torch.cat(parts)

    def pieces(self, episodes: np.ndarray, length: int) -> Latents:
        """Episodes cut into pieces of ``length`` steps; a shorter rest is left out."""
        data = self.data
        z, actions, poses, contacts, layouts = [], [], [], [], []
        states: dict[str, list[np.ndarray]] = {state.name: [] for state in data.contract.kept_state}
        new = [e for e in dict.fromkeys(episodes.tolist()) if e not in self._latents]
        self._latents.update(zip(new, ranks.each(self._encode, new)))
        for episode in episodes.tolist():
            for start in range(0, int(data.index[episode, 2]) - length + 1, length):
                z.append(self.latents(episode)[start : start + length])
                for name, values in states.items():
                    values.append(data.slice(f"state_{name}", episode, start, length))
                unit = data.contract.normalise(data.slice("actions", episode, start, length))
                actions.append(unit.astype(np.float32))
                poses.append(data.slice("poses", episode, start, length))
                contacts.append(data.slice("contacts", episode, start, length))
                layouts.append(int(data.index[episode, 3]))
        return Latents(
            torch.stack(z),
            torch.from_numpy(np.stack(actions)),
            torch.from_numpy(np.stack(poses).astype(np.float32)),
            torch.from_numpy(np.stack(contacts)),
            np.array(layouts),
            {name: torch.from_numpy(np.stack(values)) for name, values in states.items()},
            data.contract,
        )


def encode_episodes(model: WorldModel, data: Dataset, episodes: np.ndarray, length: int, bf16: bool = False) -> Latents:
    """Encode episodes once and cut them into pieces: see :class:`Encoded`."""
    return Encoded(model, data, bf16).pieces(episodes, length)


def pose_targets(poses: Tensor) -> Tensor:
    """(..., 3) x, y, yaw -> (..., 4) x, y, cos, sin."""
    return torch.stack([poses[..., 0], poses[..., 1], poses[..., 2].cos(), poses[..., 2].sin()], dim=-1)


def linear_probe(train: Latents, test: Latents) -> dict[str, float]:
    """R2 of ridge regression from the latent to x, y, cos and sin of the heading, on other episodes.

    Returns:
        ``x``, ``y``, ``cos``, ``sin``: R2 each; ``position_cm``: mean position error of the probe. Empty without poses.
    """
    if not torch.isfinite(train.poses).all() or not torch.isfinite(test.poses).all():
        return {}
    a, b = train.z.flatten(0, 1).double(), test.z.flatten(0, 1).double()
    ya, yb = pose_targets(train.poses).flatten(0, 1).double(), pose_targets(test.poses).flatten(0, 1).double()
    a, b = (torch.cat([x, torch.ones(len(x), 1, dtype=x.dtype)], dim=1) for x in (a, b))
    weights = torch.linalg.solve(a.T @ a + 1e-3 * len(a) * torch.eye(a.shape[1], dtype=a.dtype), a.T @ ya)
    error = b @ weights - yb
    r2 = 1.0 - error.square().sum(0) / (yb - yb.mean(0)).square().sum(0)
    result = {name: float(v) for name, v in zip(("x", "y", "cos", "sin"), r2, strict=True)}
    result["position_cm"] = float(error[:, :2].norm(dim=1).mean()) * 100.0
    return result


@torch.inference_mode()
def open_loop_error(model: WorldModel, latents: Latents, steps: tuple[int, ...] = OPEN_LOOP_STEPS) -> dict[str, float]:
    """Open-loop error after ``steps`` control steps, and its ratio to that of copying the first latent.

    Only windows in which the robot moves are counted (copying is right by construction where it stands): those whose
    copy error is above a tenth of the median.
    """
    z, actions = latents.z, latents.actions
    longest = max(steps)
    if z.shape[1] < longest + 2:
        return {}
    starts = range(1, z.shape[1] - longest, 4)
    result: dict[str, float] = {}
    first = torch.cat([z[:, s - 1] for s in starts]).to(model.device)
    start = torch.cat([z[:, s] for s in starts]).to(model.device)
    before = torch.cat([actions[:, s - 1] for s in starts]).to(model.device)
    future = torch.cat([actions[:, s : s + longest] for s in starts]).to(model.device)
    target = torch.cat([z[:, s + 1 : s + longest + 1] for s in starts]).to(model.device)
    _, h = model.predict(first, before, None, model.initial_state(len(first)))
    predicted, _ = model.rollout(start, h, future)
    copy_longest = (target[:, longest - 1] - start).square().mean(1)
    moving = copy_longest > 0.1 * copy_longest.median()
    for k in steps:
        error = (predicted[moving, k - 1] - target[moving, k - 1]).square().mean()
        copy = (start[moving] - target[moving, k - 1]).square().mean()
        result[f"error_{k}"] = float(error)
        result[f"copy_{k}"] = float(copy)
        result[f"ratio_{k}"] = float(error / copy)
    return result


def spread_statistics(latents: Latents) -> dict[str, float]:
    """Effective rank (exponential of the spectrum's entropy) and the mean standard deviation, within episodes."""
    z = latents.z
    centred = (z - z.mean(dim=1, keepdim=True)).flatten(0, 1).double()
    spectrum = torch.linalg.eigvalsh(centred.T @ centred / len(centred)).clamp_min(1e-12)
    share = spectrum / spectrum.sum()
    return {"rank": float((-(share * share.log()).sum()).exp()), "std_within": float(centred.std(0).mean())}


def judge(model: WorldModel, train: Latents, test: Latents) -> dict[str, dict[str, float]]:
    """All of the above for one model."""
    return {
        "probe_r2": linear_probe(train, test),
        "open_loop": open_loop_error(model, test),
        "spread": spread_statistics(test),
    }
