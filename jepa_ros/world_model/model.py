# SPDX-License-Identifier: Apache-2.0
"""The world model: encoder, action-conditioned stochastic predictor, and readout heads on frozen latents.

A JEPA (LeCun, "A path towards autonomous machine intelligence", 2022): the predictor works in representation space
and is never asked for pixels. Predictions take a noise sample for what cannot be known, and carry a recurrent state
for what one picture does not show (velocity).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor, nn

from jepa_ros.contract import RobotContract
from jepa_ros.ranges import Range
from jepa_ros.world_model.backbone import Backbone, BackboneEncoder
from jepa_ros.world_model.context import ContextPart, without
from jepa_ros.world_model.encoder import CELL, KeypointEncoder
from jepa_ros.world_model.inverse_model import InverseModel
from jepa_ros.world_model.picture_maps import NoveltyHead
from jepa_ros.world_model.readouts import Readout, declare
from jepa_ros.world_model.seam import Embedding, Inputs
from jepa_ros.world_model.view_encoder import ViewEncoder
from jepa_ros.world_model.way_head import WayHead

#: How the first camera's pictures are read: things that move in a scene, or the whole view from on board.
ENCODERS = ("keypoints", "view")
#: Name of a contract's first camera.
IMAGE = "image"
#: Hidden width of the heads on a single latent.
HEAD_WIDTH = 128


@dataclass(frozen=True)
class ModelConfig:
    """Sizes of a model; a checkpoint carries them.

    Attributes:
        cameras: (name, width, height) of each picture that the model sees [px], multiples of 16.
        states: (name, n) of each state vector that it takes.
        latent_dim: D. action_dim: A. noise_dim: N. state_dim: S, the recurrent state.
        scene_dim: values of the latent, the last ones, that tell what stands about: no prediction changes them.
        width: hidden width of predictor and heads.
        encoder_width, keypoints, keypoint_values: the encoder's.
        max_distance: the temporal distance saturates here [control steps].
        readouts: the heads that the model has: declarations, or names of known ones.
        proposal_steps: actions that the head "proposal" answers with.
        encoder: of ENCODERS. backbone: another encoder that looks at the first camera too; None: ours alone.
        context: what embeddings tell beside the latent, in this order.
    """

    cameras: tuple[tuple[str, int, int], ...] = (("image", 64, 64),)
    states: tuple[tuple[str, int], ...] = ()
    latent_dim: int = 64
    scene_dim: int = 0
    action_dim: int = 2
    noise_dim: int = 8
    state_dim: int = 16
    width: int = 256
    encoder_width: int = 48
    keypoints: int = 8
    keypoint_values: int = 16
    max_distance: float = 60.0
    readouts: tuple[Readout, ...] = ("distance",)  # type: ignore[assignment]
    proposal_steps: int = 12
    context: tuple[ContextPart, ...] = ()
    backbone: Backbone | None = None
    encoder: str = "keypoints"

    def __post_init__(self) -> None:
        object.__setattr__(self, "readouts", tuple(declare(*self.readouts).values()))
        if not self.cameras or any(w < 16 or h < 16 or w % CELL or h % CELL for _, w, h in self.cameras):
            raise ValueError(f"cameras: expected at least one of at least 16x16 px, found {self.cameras}")
        if self.encoder not in ENCODERS:
            raise ValueError(f"encoder: found {self.encoder!r}, expected one of {', '.join(ENCODERS)}")
        if self.encoder == "view" and (len(self.cameras) > 1 or self.states or self.scene_dim or self.backbone):
            raise ValueError("encoder 'view' takes one camera, no states, no scene_dim and no backbone")
        if any(n < 1 for _, n in self.states):
            raise ValueError(f"states: expected at least one value each, found {self.states}")
        for field in fields(self):
            least = int(field.name not in ("state_dim", "noise_dim", "scene_dim"))
            wanted = Range(least, whole=True) if isinstance(field.default, int) else None
            if wanted is not None and (problem := wanted.problem(getattr(self, field.name))):
                raise ValueError(f"{field.name}: {problem}")
        if self.scene_dim >= self.latent_dim:
            raise ValueError(f"scene_dim: found {self.scene_dim}, expected less than latent_dim, {self.latent_dim}")
        if problem := Range(0.0, above=True).problem(self.max_distance):
            raise ValueError(f"max_distance: {problem}")

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of the first camera's feature maps, and of the scene maps."""
        _, width, height = self.cameras[0]
        return height // CELL, width // CELL

    @property
    def tokens(self) -> int:
        """Rows of an embedding: the latent, and what the model tells beside it in rows as long as it."""
        beside = sum(part.size for part in self.context)
        return 1 + -(-beside // self.latent_dim)

    @property
    def embedding_dim(self) -> int:
        """E = tokens * D, the size of an embedding; what is left of the last row is zero."""
        return self.tokens * self.latent_dim

    def to_dict(self) -> dict[str, Any]:
        """Plain data for the model card."""
        lists = {name: [list(v) for v in getattr(self, name)] for name in ("cameras", "states")}
        declared = {name: [v.to_plain() for v in getattr(self, name)] for name in ("readouts", "context")}
        return {**asdict(self), **lists, **declared}

    @staticmethod
    def from_dict(data: dict[str, Any]) -> ModelConfig:
        """The inverse of :meth:`to_dict`; reads the names of sizes that earlier cards have, too.

        Raises:
            TypeError: a key that this version does not know. ValueError: a size that no model has.
            ReadoutError, ContextError: a readout or a part of an embedding that nobody knows.
        """
        data = earlier_sizes(data)
        for name in ("cameras", "states"):
            data[name] = tuple(tuple(v) for v in data.get(name, getattr(ModelConfig, name)))
        if data.get("backbone") is not None:
            data["backbone"] = Backbone.from_plain(data["backbone"])
        context = tuple(ContextPart.from_plain(part) for part in data.get("context", ()))
        return ModelConfig(**{**data, "readouts": tuple(data["readouts"]), "context": context})

    @staticmethod
    def inputs_of(contract: RobotContract) -> dict[str, Any]:
        """``cameras`` and ``states`` of a model that sees and feels what a contract says."""
        cameras = tuple((c.name, *c.size) for c in contract.model_cameras)
        return {"cameras": cameras, "states": tuple((s.name, len(s.values)) for s in contract.model_state)}


def earlier_sizes(data: dict[str, Any]) -> dict[str, Any]:
    """Sizes of a card of one square camera (``image_size``), whose context was not declared, as they are told now."""
    data = dict(data)
    edge = data.pop("image_size", None)
    cells, extent = data.pop("map_cells", 0), data.pop("map_extent", ())
    channels = data.pop("scene_channels", 0)
    if edge is not None:
        data["cameras"] = ((IMAGE, edge, edge),)
    context = []
    if cells:
        context.append({"name": "map", "shape": [cells, cells], "about": {"extent": list(extent)}})
    if channels:
        _, width, height = data["cameras"][0]
        context.append({"name": "scene", "shape": [channels, height // CELL, width // CELL]})
    return {"context": context, **data}


class Predictor(nn.Module):
    """One step of the world: (z, action, noise, h) -> (z', h'), a residual MLP."""

    moving: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        inputs = config.latent_dim + config.action_dim + config.noise_dim + config.state_dim
        self.latent_dim = config.latent_dim
        begin = config.latent_dim + config.action_dim
        self.noise_columns = slice(begin, begin + config.noise_dim)  # of the input
        self.layers = nn.Sequential(
            nn.Linear(inputs, config.width),
            nn.ReLU(),
            nn.Linear(config.width, config.width),
            nn.ReLU(),
            nn.Linear(config.width, config.latent_dim + config.state_dim),
        )
        # What tells of the surroundings stays as it is: its rows of the last layer are zero, and learn nothing.
        moving = torch.ones(config.latent_dim)
        moving[config.latent_dim - config.scene_dim :] = 0.0
        self.register_buffer("moving", moving, persistent=False)
        last = self.layers[-1]
        assert isinstance(last, nn.Linear)
        with torch.no_grad():
            last.weight[: config.latent_dim] *= moving[:, None]
            last.bias[: config.latent_dim] *= moving

    def forward(self, z: Tensor, action: Tensor, noise: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """Args: z (B, D), action (B, A) in [-1, 1], noise (B, N), h (B, S). Returns: z' (B, D), h' (B, S)."""
        out = self.layers(torch.cat([z, action, noise, h], dim=-1)).float()
        return z + self.moving * out[..., : self.latent_dim], torch.tanh(out[..., self.latent_dim :])

    @torch.no_grad()
    def scale_noise(self, width: float) -> None:
        """Make standard noise count as noise of standard deviation ``width`` did."""
        first = self.layers[0]
        assert isinstance(first, nn.Linear)
        first.weight[:, self.noise_columns] *= width


def _mlp(inputs: int, width: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, outputs)
    )


def head_for(readout: Readout, config: ModelConfig) -> nn.Module:
    """A fresh head of a declared readout."""
    if readout.loss == "closed_form":
        return NoveltyHead(config.latent_dim)
    if readout.loss == "actions":
        return InverseModel(config.latent_dim, config.action_dim, config.proposal_steps, config.width)
    if readout.loss == "metric":
        return WayHead(config.latent_dim, config.width)
    if readout.pair:
        return _mlp(2 * config.latent_dim, config.width, len(readout.dims))
    return _mlp(config.latent_dim, HEAD_WIDTH, len(readout.dims))


class WorldModel(nn.Module):
    """Encoder, predictor and readouts under one roof; what perception, search and training share."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        c = config
        sizes = c.cameras, c.latent_dim, c.encoder_width, c.keypoints, c.keypoint_values, c.states, c.scene_dim
        self.encoder: Any
        if c.encoder == "view":
            (camera, width, height), = c.cameras
            self.encoder = ViewEncoder(camera, (width, height), c.latent_dim, c.encoder_width)
        else:
            self.encoder = KeypointEncoder(*sizes) if c.backbone is None else BackboneEncoder(c.backbone, *sizes)
        self.predictor = Predictor(config)
        self.heads = nn.ModuleDict({readout.name: head_for(readout, config) for readout in config.readouts})
        self.context = nn.ModuleDict({part.name: part.make_head(c.encoder_width, c.grid) for part in c.context})

    @property
    def device(self) -> torch.device:
        """Where the parameters live."""
        return next(self.parameters()).device

    def parameter_count(self) -> int:
        """Number of trained numbers."""
        return sum(p.numel() for p in self.parameters())

    @property
    def readouts(self) -> dict[str, Readout]:
        """The declared readouts, by name."""
        return {readout.name: readout for readout in self.config.readouts}

    def latent(self, inputs: Inputs) -> Tensor:
        """The latents (B, D) of inputs, without what they tell beside it."""
        return self.encoder(inputs)

    def encode(self, inputs: Inputs) -> Embedding:
        """What the model makes of its inputs: the latent, and the parts that ``config.context`` declares."""
        images = inputs[self.encoder.camera]
        early, late = self.encoder.early_and_late(images)
        heads: dict[str, Any] = {part.name: self.context[part.name] for part in self.config.context}
        context = {name: head.read(images, early, late) for name, head in heads.items()}
        return Embedding(self.encoder.finish(early, late, inputs), context)

    def add_context(self, part: ContextPart) -> nn.Module:
        """Tell one more thing beside the latent, in the place of one of the same name; its head, still to be fitted."""
        kept = without(self.config.context, part.name)
        self.config = replace(self.config, context=(*kept, part))
        self.context[part.name] = part.make_head(self.config.encoder_width, self.config.grid).to(self.device)
        return self.context[part.name]

    def drop_context(self, name: str) -> None:
        """Tell a thing no more."""
        self.config = replace(self.config, context=without(self.config.context, name))
        if name in self.context:
            del self.context[name]

    def pack(self, embedding: Embedding) -> Tensor:
        """An embedding as rows of numbers (B, E), for a message: the latent, then its context, zeros at the end."""
        flat = torch.cat([embedding.latent, *(part.flatten(1) for part in embedding.context.values())], dim=1)
        return nn.functional.pad(flat, (0, self.config.embedding_dim - flat.shape[1]))

    def initial_state(self, batch: int) -> Tensor:
        """The recurrent state of a model that has seen nothing yet, (B, S)."""
        return torch.zeros(batch, self.config.state_dim, device=self.device)

    def predict(self, z: Tensor, action: Tensor, noise: Tensor | None, h: Tensor) -> tuple[Tensor, Tensor]:
        """One control step: z (B, D), action (B, A) in [-1, 1], noise (B, N) or None for zeros, h (B, S)."""
        if noise is None:
            noise = torch.zeros(z.shape[0], self.config.noise_dim, device=z.device)
        return self.predictor(z, action, noise, h)

    def rollout(self, z: Tensor, h: Tensor, actions: Tensor, noise: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Predict open loop.

        Args:
            z: (B, D), the latent at the start. h: (B, S).
            actions: (B, T, A) in [-1, 1]. noise: (B, T, N), or None for zeros.

        Returns:
            The latents after each action (B, T, D), and the last recurrent state (B, S).
        """
        latents = []
        for t in range(actions.shape[1]):
            z, h = self.predict(z, actions[:, t], None if noise is None else noise[:, t], h)
            latents.append(z)
        return torch.stack(latents, dim=1), h

    def read(self, name: str, latent: Tensor, goal: Tensor | None = None) -> Tensor:
        """A readout of latents (..., D): see :meth:`jepa_ros.world_model.seam.AnyWorldModel.read`."""
        readout, head = self.readouts[name], self.heads[name]
        if readout.loss == "closed_form":
            return head(latent)
        if not readout.pair:
            return readout.activate(head(latent))
        assert goal is not None  # a pair has one
        if readout.loss in ("actions", "metric"):
            return head(latent, goal)
        latent, goal = torch.broadcast_tensors(latent, goal)
        return readout.activate(head(torch.cat([latent, goal], dim=-1)))
