# SPDX-License-Identifier: Apache-2.0
"""Fits the map of places on frozen features, from what the robot went through, and judges it.

Where the robot was and where it bumped are the labels (bump_labels.py). How the camera hangs is told by the robot too:
where it is seen, against where it knows to be, throughout an episode.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from jepa_ros.contract import RobotContract
from jepa_ros.learning.data.dataset import Dataset
from jepa_ros.learning.data.sampler import tensors
from jepa_ros.learning.parallel import ranks
from jepa_ros.learning.parallel.layers import whole_batches
from jepa_ros.learning.parallel.watch import at
from jepa_ros.learning.representation.representation import cosine
from jepa_ros.learning.settings import TrainError
from jepa_ros.learning.stages.bump_labels import SENT, LabelledPlaces, body_velocity, full_speed
from jepa_ros.learning.stages.order import Order
from jepa_ros.learning.stages.readouts import Report, descend, optimizer_for
from jepa_ros.planar.map_head import Extent, MapHead, look_up, map_of, map_part, on_map, project
from jepa_ros.world_model import ModelConfig, WorldModel, load_checkpoint

#: m between the outermost place that the robot reached and the edge of the map.
BORDER = 0.15
PICTURES = 32  # of a batch
MAP_CELLS = 40  # edge of the map
#: Of the loss of where the robot is seen in other pictures of the episode [edges of the picture / 2], beside the map's.
VIEW = 10.0
#: Share of the variance of the robot's place that a keypoint must explain to tell where places lie in the picture.
FOLLOWS = 0.9
TRACK = 24  # pictures of an episode in which the robot is sought, to tell how the camera hangs


def can_fit(contract: RobotContract, has_pose: bool) -> bool:
    """Whether a robot's data can teach a map: a base that knows its place and feels its bumps."""
    names = [a.name for a in contract.action]
    return has_pose and "contact" in contract.state and "linear.x" in names


def map_extent(data: Dataset, episodes: np.ndarray) -> tuple[float, float, float, float]:
    """Extent [m] of a map of all places that the robot reached, see Extent."""
    places = np.concatenate([data.slice("poses", int(e))[:, :2] for e in episodes])
    low, high = places.min(axis=0) - BORDER, places.max(axis=0) + BORDER
    x0, y0, x1, y1 = (round(float(v), 3) for v in (*low, *high))
    return x0, y0, x1, y1


@torch.inference_mode()
def picture_of_map(model: WorldModel, images: Tensor, places: Tensor) -> tuple[Tensor, float, int]:
    """Where places lie in the picture, told by the keypoint that follows the robot best.

    Args:
        images: (N, H, W, 3) uint8. places: (N, 2), of the robot in them.

    Returns:
        Homography (3, 3) from (x, y, 1) to picture coordinates in [-1, 1]; R2 of that keypoint; which it is.
    """
    encoder = model.encoder
    where = torch.cat([encoder.keypoint_positions(encoder.features(part)) for part in images.split(256)])
    ones = torch.ones(len(places), 1, dtype=torch.float64)
    xy1 = torch.cat([places.double().cpu(), ones], dim=1)
    best, best_r2, follower = torch.eye(3, dtype=torch.float64), -np.inf, 0
    for k in range(where.shape[1]):
        uv = where[:, k].double().cpu()
        fit = torch.linalg.lstsq(xy1, uv).solution
        r2 = float((1.0 - (xy1 @ fit - uv).square().sum(0) / (uv - uv.mean(0)).square().sum(0)).min())
        if r2 > best_r2:
            best, best_r2, follower = _homography(xy1, uv), r2, k
    return best, best_r2, follower


@dataclass(frozen=True)
class Sighting:
    """Of one episode: poses (T, 3) m, m, rad, in the frame of the model's pose readout; of TRACK pictures of it, where
    the robot is, (TRACK, 2) m, and where in the picture the keypoint that follows it is, (TRACK, 2).
    """

    poses: np.ndarray
    robot: Tensor
    where: Tensor


@torch.inference_mode()
def sight(
    model: WorldModel, data: Dataset, episodes: np.ndarray, keypoint: int, rng: np.random.Generator
) -> dict[int, Sighting]:
    """{episode: where the robot was, as the planner would say}.

    The planner looks up what the pose readout tells. All over an episode that is off by about the same, because of how
    the camera hangs (1.7 cm along each axis, where the readout scatters by 1.3). So the map is learned in that frame:
    the robot's own localisation, moved by what the two differ by in the mean.
    """
    drawn = [(e, np.sort(rng.integers(int(data.index[e, 2]), size=TRACK))) for e in episodes.tolist()]

    def seen(item: tuple[int, np.ndarray]) -> Sighting:
        (e, steps), poses = item, np.array(data.slice("poses", item[0]))
        at(f"places of episode {e}")
        inputs = tensors(data.inputs(e), model.device, steps)
        early, features = model.encoder.early_and_late(inputs[model.encoder.camera])
        read = model.read("pose", model.encoder.finish(early, features, inputs))[:, :2].cpu().numpy()
        poses[:, :2] += (read - poses[steps, :2]).mean(axis=0)
        robot = torch.from_numpy(poses[steps, :2]).float()
        return Sighting(poses, robot, model.encoder.keypoint_positions(features)[:, keypoint].cpu())

    return dict(zip(episodes.tolist(), ranks.each(seen, drawn)))


def _homography(xy1: Tensor, uv: Tensor) -> Tensor:
    """Direct linear transform by least squares with the last entry 1 (Hartley and Zisserman, 2004, section 4.1)."""
    zero = torch.zeros_like(xy1)
    rows_u = torch.cat([xy1, zero, -uv[:, :1] * xy1[:, :2]], dim=1)
    rows_v = torch.cat([zero, xy1, -uv[:, 1:] * xy1[:, :2]], dim=1)
    solution = torch.linalg.lstsq(torch.cat([rows_u, rows_v]), torch.cat([uv[:, 0], uv[:, 1]])[:, None]).solution
    return torch.cat([solution.flatten(), torch.ones(1, dtype=solution.dtype)]).view(3, 3)


def fit_map(
    model: WorldModel, data: Dataset, episodes: np.ndarray, steps: int, seed: int, report: Report, bf16: bool = False
) -> bool:
    """Fit the model's map; the encoder stays as it is.

    Returns:
        Whether there is one: false where no keypoint follows the robot, so that places cannot be found in the picture.
    """
    head, extent = _head(model)
    device = model.device
    rng = np.random.default_rng(seed)
    sample = [(int(e), int(rng.integers(data.index[e, 2]))) for e in rng.choice(episodes, 2000)]
    images = torch.from_numpy(np.stack([np.array(data.slice("images", e, t, 1))[0] for e, t in sample]))
    places = torch.from_numpy(np.stack([np.array(data.slice("poses", e, t, 1))[0, :2] for e, t in sample]))
    homography, follows, keypoint = picture_of_map(model, images.to(device), on_map(places, extent))
    report("traversability", 0, steps, {"keypoint_r2": follows})
    if ranks.same(follows < FOLLOWS):
        return False
    head.look_from(ranks.same(homography))
    seen = sight(model, data, episodes, keypoint, rng)
    batches = LabelledPlaces(data, episodes, {e: s.poses for e, s in seen.items()}, seed)
    optimizer = optimizer_for(head.parameters(), 1e-3, weight_decay=1e-2)
    head.train().requires_grad_(True)

    def losses(images: Tensor, places: Tensor, blocked: Tensor, robot: Tensor, where: Tensor) -> dict[str, Tensor]:
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=bf16):
            with torch.no_grad():
                features = model.encoder.early_and_late(images)
            grid, view = head.map_and_view(*features)
        logits = look_up(grid, places, extent)
        loss = nn.functional.binary_cross_entropy_with_logits(logits, blocked)
        off = (project(view, on_map(robot, extent)) - where).norm(dim=-1).mean()
        return {"": loss + VIEW * off, "loss": loss, "view": off}

    with whole_batches(head) as dropouts:
        learned = ranks.learned(losses, head)
        for step in range(steps):
            at(f"map, step {step}")
            for group in optimizer.param_groups:
                group["lr"] = 1e-3 * cosine(step, steps)
            images, places, blocked, whose = batches.draw(PICTURES, ranks.share)
            for layer in dropouts:
                layer.rows = len(whose)
            mine = [seen[int(e)] for e in whose[ranks.share(len(whose))]]
            robot, where = (torch.stack([getattr(s, name) for s in mine]) for name in ("robot", "where"))
            given = (v.to(device) for v in (images, places, blocked, robot, where))
            terms = descend(learned, optimizer, len(whose), None, *given)
            if step % 50 == 0:
                told = ranks.averaged(terms, len(whose))
                report("traversability", step, steps, {k: v for k, v in told.items() if k})
    head.eval().requires_grad_(False)
    return True


@torch.inference_mode()
def judge_map(model: WorldModel, data: Dataset, episodes: np.ndarray, seed: int = 0) -> dict[str, Any]:
    """How well the map tells free from blocked places on held-out episodes, and how well it foretells contacts.

    Returns:
        ``auc`` and ``cross_entropy`` of labelled places; ``contact``: of the steps in which the robot was sent on, how
        often it touched something, by what the map said of the place where the step would end: rows of (mean
        probability, share of contacts, steps), ``auc``, and the expected calibration error.
    """
    seen = {e: s.poses for e, s in sight(model, data, episodes, 0, np.random.default_rng(seed)).items()}
    places = LabelledPlaces(data, episodes, seen, seed)
    images, points, blocked, _ = places.draw(min(256, 4 * len(episodes)))
    maps, (_, extent) = _maps(model, images), _head(model)
    logits = look_up(maps, points.to(maps.device), extent).cpu()
    labels = blocked.flatten().numpy()
    result: dict[str, Any] = {
        "auc": area_under_curve(logits.flatten().numpy(), labels),
        "cross_entropy": float(nn.functional.binary_cross_entropy_with_logits(logits, blocked)),
    }
    said, touched = [], []
    for e in episodes:
        actions, contacts = (np.array(data.slice(n, int(e))) for n in ("actions", "contacts"))
        poses = seen[int(e)]
        velocity = body_velocity(data.contract, actions)
        assert velocity is not None
        before = np.concatenate([[False], contacts[:-1]])
        steps = np.flatnonzero((np.linalg.norm(velocity, axis=1) > SENT * full_speed(data.contract)) & ~before)[::4]
        if not len(steps):
            continue
        yaw = poses[steps, 2]
        turn = np.stack([np.cos(yaw), -np.sin(yaw), np.sin(yaw), np.cos(yaw)], axis=1).reshape(-1, 2, 2)
        ends = poses[steps, :2] + data.contract.period * np.einsum("nij,nj->ni", turn, velocity[steps])
        maps = _maps(model, torch.from_numpy(np.array(data.slice("images", int(e)))[steps]))
        p = look_up(maps, torch.from_numpy(ends).float()[:, None].to(maps.device), extent)
        said.append(torch.sigmoid(p[:, 0]).cpu().numpy())
        touched.append(contacts[steps])
    if said:
        result["contact"] = calibration_table(np.concatenate(said), np.concatenate(touched).astype(float))
    return result


def _head(model: WorldModel) -> tuple[MapHead, Extent]:
    """The head of the model's map, and the map's extent."""
    head, found = model.context["map"], map_of(model.config)
    assert isinstance(head, MapHead) and found is not None
    return head, found[1]


def _maps(model: WorldModel, images: Tensor) -> Tensor:
    encoder, (head, _) = model.encoder, _head(model)
    return torch.cat([head(*encoder.early_and_late(p.to(model.device))) for p in images.split(128)])


def renew_map(order: Order) -> dict[str, Any]:
    """Fit a checkpoint's map anew on its frozen encoder, in place; nothing else changes. Returns the card as written.

    Raises:
        TrainError: the checkpoint has no map, or its encoder does not tell where the robot is.
    """
    folder, data, seed = order.folder, order.data, order.seed
    model, card = load_checkpoint(folder, data.contract, unread=("map",))
    found = map_of(ModelConfig.from_dict(card["model"]))
    if found is None:
        raise TrainError(
            f"{folder} has no map to fit anew: the robot does not feel its bumps, or does not know its place"
        )
    training, held_out = order.split(card)
    torch.manual_seed(seed)
    model.add_context(map_part(MAP_CELLS, found[1]))
    if not fit_map(model, data, training, order.steps, seed + 3, order.report, order.bf16):
        raise TrainError(f"{folder}: no keypoint of the encoder follows the robot in {data.folder}; train longer")
    metrics = {**card.get("metrics", {}), "traversability": judge_map(model, data, held_out)}
    return order.save(model, {**card, "metrics": metrics})


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
