# SPDX-License-Identifier: Apache-2.0
"""Larger encoders of other people's: a folder of Hugging Face's `transformers` looks at the first camera's pictures.

Tried are vision transformers (ViT, DINOv2), ConvNeXt and V-JEPA 2; whatever gives tokens or feature maps of a picture
is taken. Its maps join those of our own first block, which keep the detail that tells where things are. The weights are
part of the checkpoint, and the card carries its configuration: a checkpoint needs `transformers` and no other folder.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from jepa_ros.errors import JepaRosError
from jepa_ros.hub import PREFIX, cached, refuse_pickle
from jepa_ros.world_model.encoder import KeypointEncoder

#: What most image encoders were trained with, where a folder does not say.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
#: Learning rate of a fine-tuned encoder against that of all else.
TUNING = 0.05


class BackboneError(JepaRosError):
    """An encoder that cannot be used; the message names the folder and what to do."""


@dataclass(frozen=True)
class Backbone:
    """An encoder of `transformers`.

    Attributes:
        settings: its configuration, as `config.json` has it. size: edge of the square picture that it sees [px].
        tuned: whether it is trained along, else its weights stay. mean, std: of the channels that it expects.
    """

    settings: Mapping[str, Any]
    size: int
    tuned: bool = False
    mean: tuple[float, ...] = MEAN
    std: tuple[float, ...] = STD
    name: str = field(default="", compare=False)

    def __hash__(self) -> int:
        return hash((self.size, self.tuned, self.settings.get("model_type")))

    @staticmethod
    def from_plain(plain: Mapping[str, Any]) -> Backbone:
        """Of a model card."""
        return Backbone(**{**plain, "mean": tuple(plain["mean"]), "std": tuple(plain["std"])})

    @staticmethod
    def read(place: str, size: int | None = None, tuned: bool = False) -> Backbone:
        """Of a folder, or of ``hf:OWNER/NAME``.

        Raises:
            BackboneError: it has no configuration, or pickled weights.
        """
        folder = folder_of(place)
        try:
            settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
            kind = str(settings["model_type"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BackboneError(f"--encoder {place}: config.json is not that of an encoder: {error}") from None
        if "auto_map" in settings:
            raise BackboneError(f"--encoder {place}: '{kind}' needs code of its author, which is never run")
        path = folder / "preprocessor_config.json"
        seen = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        edge = size or settings.get("image_size") or settings.get("crop_size") or 224
        mean, std = (tuple(seen.get(key) or default) for key, default in (("image_mean", MEAN), ("image_std", STD)))
        return Backbone(settings, int(edge), tuned, mean, std, place)


def folder_of(place: str) -> Path:
    """The folder of an encoder.

    Raises:
        BackboneError: its weights are pickled. HubError: it is not in the cache.
    """
    folder = cached(place) if place.startswith(PREFIX) else Path(place)
    refuse_pickle(folder, f"--encoder {place}")
    return folder


def _transformers() -> Any:
    try:
        import transformers
    except ImportError:
        raise BackboneError("this encoder needs transformers: pip install 'jepa_ros[hf]'") from None
    return transformers


class BackboneEncoder(KeypointEncoder):
    """The encoder of a model with a backbone; arguments as of :class:`KeypointEncoder`."""

    picture_mean: Tensor
    picture_std: Tensor

    def __init__(
        self, backbone: Backbone, cameras: Sequence[tuple[str, int, int]], latent_dim: int, width: int = 48,
        keypoints: int = 8, values: int = 16, states: Sequence[tuple[str, int]] = (), scene_dim: int = 0,
    ) -> None:  # fmt: skip
        super().__init__(cameras, latent_dim, width, keypoints, values, states, scene_dim)
        library, settings = _transformers(), dict(backbone.settings)
        self.about = backbone
        try:
            config = library.AutoConfig.for_model(settings.pop("model_type"), **settings)
            self.backbone = library.AutoModel.from_config(config, trust_remote_code=False)
        except (ValueError, KeyError, TypeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise BackboneError(f"encoder {backbone.name}: transformers cannot make it: {reason}") from None
        for name, values_ in (("mean", backbone.mean), ("std", backbone.std)):
            self.register_buffer(f"picture_{name}", torch.tensor(values_).view(3, 1, 1), persistent=False)
        first = torch.zeros(1, cameras[0][2], cameras[0][1], 3, dtype=torch.uint8)
        seen = self._seen(first, True)
        self.project = nn.Sequential(nn.Conv2d(seen.shape[1], width, 1, bias=False), nn.BatchNorm2d(width))
        seen.sum().backward()
        for parameter in self.backbone.parameters():  # what no gradient reaches (pooling, masks) is not trained
            parameter.requires_grad_(backbone.tuned and parameter.grad is not None)
            parameter.grad = None

    def take_weights(self) -> None:
        """The weights of the folder that the backbone was read from.

        Raises:
            BackboneError: they cannot be read.
        """
        kind = type(self.backbone)
        try:
            found = kind.from_pretrained(
                folder_of(self.about.name), local_files_only=True, use_safetensors=True, trust_remote_code=False
            )
        except (OSError, ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise BackboneError(f"--encoder {self.about.name}: its weights cannot be read: {reason}") from None
        self.backbone.load_state_dict(found.state_dict())

    def save_memory(self) -> None:
        """Compute the backbone's activations again for its gradients, and do not keep them."""
        self.backbone.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})

    def train(self, mode: bool = True) -> BackboneEncoder:
        """A backbone that is not trained stays as it is in use."""
        super().train(mode)
        if not self.about.tuned:
            self.backbone.eval()
        return self

    def early_and_late(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """See :meth:`jepa_ros.world_model.encoder.Keypoints.early_and_late`."""
        early = self._early(images)
        seen = self.project(self._seen(images, self.about.tuned))
        seen = nn.functional.interpolate(seen, size=early.shape[-2:], mode="bilinear", align_corners=False)
        return early, self.trunk[2](self.trunk[1](early) + seen.to(early.dtype))

    def _seen(self, images: Tensor, gradients: bool) -> Tensor:
        """Images (B, H, W, 3) uint8 -> the backbone's maps (B, C, rows, columns)."""
        size, settings = self.about.size, self.backbone.config
        x = images.permute(0, 3, 1, 2).float() / 255.0
        x = nn.functional.interpolate(x, size=(size, size), mode="bilinear", align_corners=False)
        x = (x - self.picture_mean) / self.picture_std
        with torch.set_grad_enabled(gradients and torch.is_grad_enabled()):
            if hasattr(settings, "tubelet_size"):  # of videos: a picture that stands still
                video = x[:, None].expand(-1, int(settings.tubelet_size), -1, -1, -1)
                found = self.backbone(pixel_values_videos=video, skip_predictor=True).last_hidden_state
            elif getattr(settings, "image_size", size) != size and settings.model_type == "vit":
                found = self.backbone(pixel_values=x, interpolate_pos_encoding=True).last_hidden_state
            else:
                found = self.backbone(pixel_values=x).last_hidden_state
        if found.dim() == 4:
            return found
        edge = size // int(settings.patch_size)
        return found[:, -(edge**2) :].transpose(1, 2).unflatten(2, (edge, edge))  # class and registers come first
