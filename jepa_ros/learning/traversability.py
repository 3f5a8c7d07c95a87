# SPDX-License-Identifier: Apache-2.0
"""Fits the traversability map on frozen features, from what the robot went through: where it was, and where it bumped.

Labels come from the robot's own sensors. A place is free when the robot's centre was there without a contact. It is
blocked when it lies just ahead of a robot that was touching, was sent on and came less than half as far as it should.
Both hold for every picture of the same layout.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from jepa_ros.learning.dataset import Dataset
from jepa_ros.learning.readouts import Report, optimizer_for
from jepa_ros.learning.representation import cosine
from jepa_ros.robot import RobotContract
from jepa_ros.world_model import WorldModel
from jepa_ros.world_model.traversability import cell_centres, look_up

#: Sent on: at least this share of the full speed. Held: came less far than this share of what was executed.
SENT, HELD = 0.25, 0.5
#: m ahead of a held robot's centre, least and most: what is taken for blocked.
AHEAD = (0.03, 0.13)
#: m between the outermost place that the robot reached and the edge of the map.
BORDER = 0.15
PICTURES, PLACES, BLOCKED = 32, 96, 32  # of a batch; of each picture; of these at most
#: Share of the variance of the robot's place that a keypoint must explain to tell where places lie in the picture.
FOLLOWS = 0.9


@dataclass(frozen=True)
class Bumps:
    """Of one episode: free (F, 2), and held robots' places (H, 2) with the unit directions (H, 2) they were sent in."""

    free: np.ndarray
    held: np.ndarray
    ahead: np.ndarray


def body_velocity(contract: RobotContract, actions: np.ndarray) -> np.ndarray | None:
    """(T, 2) forward and leftward velocity [m/s] of actions (T, A); None where the robot is not driven by these."""
    names = [a.name for a in contract.action]
    if "linear.x" not in names:
        return None
    left = actions[:, names.index("linear.y")] if "linear.y" in names else np.zeros(len(actions))
    return np.stack([actions[:, names.index("linear.x")], left], axis=1)


def read_bumps(contract: RobotContract, poses: np.ndarray, actions: np.ndarray, contacts: np.ndarray) -> Bumps:
    """Labels of one episode: poses (T, 3), executed actions (T, A) in physical units, contacts (T,)."""
    velocity = body_velocity(contract, actions)
    assert velocity is not None  # checked by can_fit
    speed = np.linalg.norm(velocity[:-1], axis=1)
    yaw = poses[:-1, 2] + 0.5 * ((poses[1:, 2] - poses[:-1, 2] + np.pi) % (2 * np.pi) - np.pi)
    yaw = yaw + np.arctan2(velocity[:-1, 1], velocity[:-1, 0])
    ahead = np.stack([np.cos(yaw), np.sin(yaw)], axis=1)
    came = ((poses[1:, :2] - poses[:-1, :2]) * ahead).sum(1)
    full = float(np.abs(contract.action_high).max()) if len(contract.action) == 1 else _full_speed(contract)
    held = contacts[:-1] & (speed > SENT * full) & (came < HELD * speed * contract.period)
    touching = contacts.copy()
    touching[1:] |= contacts[:-1]
    return Bumps(poses[~touching, :2], poses[1:, :2][held], ahead[held])


def _full_speed(contract: RobotContract) -> float:
    return max(abs(float(a.high)) for a in contract.action if a.name.startswith("linear."))


def can_fit(contract: RobotContract, has_pose: bool) -> bool:
    """Whether a robot's data can teach a map: a base that knows its place and feels its bumps."""
    names = [a.name for a in contract.action]
    return has_pose and "contact" in contract.state and "linear.x" in names


def map_extent(data: Dataset, episodes: np.ndarray) -> tuple[float, float, float, float]:
    """Extent [m] of a map of all places that the robot reached, as ModelConfig.map_extent."""
    places = np.concatenate([data.slice("poses", int(e))[:, :2] for e in episodes])
    low, high = places.min(axis=0) - BORDER, places.max(axis=0) + BORDER
    x0, y0, x1, y1 = (round(float(v), 3) for v in (*low, *high))
    return x0, y0, x1, y1


@torch.inference_mode()
def picture_of_map(model: WorldModel, images: Tensor, places: Tensor) -> tuple[Tensor, float]:
    """Where places of the map lie in the picture, told by the keypoint that follows the robot best.

    Args:
        images: (N, H, W, 3) uint8. places: (N, 2) m, of the robot in them.

    Returns:
        Homography (3, 3) from (x, y, 1) to picture coordinates in [-1, 1]; R2 of that keypoint.
    """
    encoder = model.encoder
    where = torch.cat([encoder.keypoint_positions(encoder.features(part)) for part in images.split(256)])
    ones = torch.ones(len(places), 1, dtype=torch.float64)
    xy1 = torch.cat([places.double().cpu(), ones], dim=1)
    best, best_r2 = torch.eye(3, dtype=torch.float64), -np.inf
    for k in range(where.shape[1]):
        uv = where[:, k].double().cpu()
        fit = torch.linalg.lstsq(xy1, uv).solution
        r2 = float((1.0 - (xy1 @ fit - uv).square().sum(0) / (uv - uv.mean(0)).square().sum(0)).min())
        if r2 > best_r2:
            best, best_r2 = _homography(xy1, uv), r2
    return best, best_r2


def _homography(xy1: Tensor, uv: Tensor) -> Tensor:
    """Direct linear transform by least squares with the last entry 1 (Hartley and Zisserman, 2004, section 4.1)."""
    zero = torch.zeros_like(xy1)
    rows_u = torch.cat([xy1, zero, -uv[:, :1] * xy1[:, :2]], dim=1)
    rows_v = torch.cat([zero, xy1, -uv[:, 1:] * xy1[:, :2]], dim=1)
    solution = torch.linalg.lstsq(torch.cat([rows_u, rows_v]), torch.cat([uv[:, 0], uv[:, 1]])[:, None]).solution
    return torch.cat([solution.flatten(), torch.ones(1, dtype=solution.dtype)]).view(3, 3)


def warp_of(homography: Tensor, cells: int, extent: tuple[float, float, float, float]) -> Tensor:
    """(1, cells, cells, 2): picture coordinates in [-1, 1] of each cell of the map."""
    xy = cell_centres(cells, extent).double()
    uvw = torch.cat([xy, torch.ones_like(xy[..., :1])], dim=-1) @ homography.T
    return (uvw[..., :2] / uvw[..., 2:])[None].float()


class _Places:
    """Draws pictures, and places with their labels."""

    def __init__(self, data: Dataset, episodes: np.ndarray, seed: int) -> None:
        self.data, self.episodes = data, episodes
        self.rng = np.random.default_rng(seed)
        self.bumps = {
            int(e): read_bumps(
                data.contract,
                *(np.array(data.slice(name, int(e))) for name in ("poses", "actions", "contacts")),
            )
            for e in episodes
        }
        self.mates: dict[int, list[int]] = {}
        for e in episodes:
            self.mates.setdefault(int(data.index[e, 3]), []).append(int(e))

    def draw(self, pictures: int) -> tuple[Tensor, Tensor, Tensor]:
        """images (B, H, W, 3) uint8, places (B, N, 2) m, blocked (B, N) 0 or 1."""
        rng = self.rng
        images, places, labels = [], [], []
        for e in rng.choice(self.episodes, pictures):
            image = self.data.slice("images", int(e), int(rng.integers(self.data.index[e, 2])), 1)[0]
            mates = self.mates[int(self.data.index[e, 3])]
            chosen = [self.bumps[int(m)] for m in [e, *rng.choice(mates, min(2, len(mates) - 1))]]
            free = np.concatenate([b.free for b in chosen])
            held, ahead = (np.concatenate([getattr(b, name) for b in chosen]) for name in ("held", "ahead"))
            if not len(free):
                continue
            blocked = min(BLOCKED, 4 * len(held))
            points = free[rng.integers(len(free), size=PLACES - blocked)]
            if blocked:
                i = rng.integers(len(held), size=blocked)
                points = np.concatenate([points, held[i] + ahead[i] * rng.uniform(*AHEAD, (blocked, 1))])
            images.append(np.array(image))
            places.append(points)
            labels.append(np.arange(PLACES) >= PLACES - blocked)
        return (
            torch.from_numpy(np.stack(images)),
            torch.from_numpy(np.stack(places)).float(),
            torch.from_numpy(np.stack(labels)).float(),
        )


def fit_traversability(
    model: WorldModel, data: Dataset, episodes: np.ndarray, steps: int, seed: int, report: Report, bf16: bool = False
) -> bool:
    """Fit the model's map; the encoder stays as it is.

    Returns:
        Whether there is one: false where no keypoint follows the robot, so that places cannot be found in the picture.
    """
    head, config = model.traversability, model.config
    assert head is not None
    device = model.device
    rng = np.random.default_rng(seed)
    sample = [(int(e), int(rng.integers(data.index[e, 2]))) for e in rng.choice(episodes, 2000)]
    images = torch.from_numpy(np.stack([np.array(data.slice("images", e, t, 1))[0] for e, t in sample]))
    places = torch.from_numpy(np.stack([np.array(data.slice("poses", e, t, 1))[0, :2] for e, t in sample]))
    homography, follows = picture_of_map(model, images.to(device), places)
    report("traversability", 0, steps, {"keypoint_r2": follows})
    if follows < FOLLOWS:
        return False
    head.warp.copy_(warp_of(homography, config.map_cells, config.map_extent))
    batches = _Places(data, episodes, seed)
    optimizer = optimizer_for(head.parameters(), 1e-3, weight_decay=1e-2)
    head.train().requires_grad_(True)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * cosine(step, steps)
        images, places, blocked = (t.to(device) for t in batches.draw(PICTURES))
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=bf16):
            with torch.no_grad():
                features = model.encoder.features(images)
            grid = head(features)
        logits = look_up(grid, places, config.map_extent)
        loss = nn.functional.binary_cross_entropy_with_logits(logits, blocked)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        if step % 50 == 0:
            report("traversability", step, steps, {"loss": loss.item()})
    head.eval().requires_grad_(False)
    return True


@torch.inference_mode()
def judge_traversability(model: WorldModel, data: Dataset, episodes: np.ndarray, seed: int = 0) -> dict[str, Any]:
    """How well the map tells free from blocked places on held-out episodes, and how well it foretells contacts.

    Returns:
        ``auc`` and ``cross_entropy`` of labelled places; ``contact``: of the steps in which the robot was sent on, how
        often it touched something, by what the map said of the place where the step would end: rows of (mean
        probability, share of contacts, steps), ``auc``, and the expected calibration error.
    """
    places = _Places(data, episodes, seed)
    images, points, blocked = places.draw(min(256, 4 * len(episodes)))
    logits = look_up(_maps(model, images), points, model.config.map_extent).cpu()
    labels = blocked.flatten().numpy()
    result: dict[str, Any] = {
        "auc": area_under_curve(logits.flatten().numpy(), labels),
        "cross_entropy": float(nn.functional.binary_cross_entropy_with_logits(logits, blocked)),
    }
    said, touched = [], []
    for e in episodes:
        poses, actions, contacts = (np.array(data.slice(n, int(e))) for n in ("poses", "actions", "contacts"))
        velocity = body_velocity(data.contract, actions)
        assert velocity is not None
        before = np.concatenate([[False], contacts[:-1]])
        steps = np.flatnonzero((np.linalg.norm(velocity, axis=1) > SENT * _full_speed(data.contract)) & ~before)[::4]
        if not len(steps):
            continue
        yaw = poses[steps, 2]
        turn = np.stack([np.cos(yaw), -np.sin(yaw), np.sin(yaw), np.cos(yaw)], axis=1).reshape(-1, 2, 2)
        ends = poses[steps, :2] + data.contract.period * np.einsum("nij,nj->ni", turn, velocity[steps])
        maps = _maps(model, torch.from_numpy(np.array(data.slice("images", int(e)))[steps]))
        p = look_up(maps, torch.from_numpy(ends).float()[:, None].to(maps.device), model.config.map_extent)
        said.append(torch.sigmoid(p[:, 0]).cpu().numpy())
        touched.append(contacts[steps])
    if said:
        result["contact"] = calibration_table(np.concatenate(said), np.concatenate(touched).astype(float))
    return result


def _maps(model: WorldModel, images: Tensor) -> Tensor:
    assert model.traversability is not None
    return torch.cat([model.traversability(model.encoder.features(p.to(model.device))) for p in images.split(128)])


def area_under_curve(scores: np.ndarray, labels: np.ndarray) -> float:
    """Probability that a positive is scored above a negative (Mann and Whitney); NaN where one kind is missing."""
    positive, negative = int(labels.sum()), int(len(labels) - labels.sum())
    if not positive or not negative:
        return float("nan")
    ranks = np.empty(len(scores))
    ranks[np.argsort(scores, kind="stable")] = np.arange(len(scores))
    return float((ranks[labels > 0].sum() - positive * (positive - 1) / 2) / (positive * negative))


def calibration_table(probability: np.ndarray, outcome: np.ndarray, bins: int = 10) -> dict[str, Any]:
    """Reliability of probabilities (n,) against outcomes (n,) of 0 or 1.

    Returns:
        ``rows``: (mean probability, share of outcomes, count) of each bin that is not empty; ``error``: the expected
        calibration error (Naeini et al., 2015); ``auc``; ``rate``: the share of outcomes.
    """
    place = np.minimum((probability * bins).astype(int), bins - 1)
    rows = []
    for b in range(bins):
        inside = place == b
        if inside.any():
            rows.append([float(probability[inside].mean()), float(outcome[inside].mean()), int(inside.sum())])
    error = sum(abs(p - o) * n for p, o, n in rows) / len(probability)
    return {"rows": rows, "error": error, "auc": area_under_curve(probability, outcome), "rate": float(outcome.mean())}
