# SPDX-License-Identifier: Apache-2.0
"""Perception: what a body sees and feels in, one embedding out. Stateless; the planner owns every history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from jepa_ros.contract import RobotContract
from jepa_ros.perception.preprocess import ImageError, model_input
from jepa_ros.world_model import WorldModel

#: A picture as a camera delivers it, or with its encoding.
Picture = np.ndarray | tuple[np.ndarray, str]


class Perception:
    """The encoder of a world model behind the preprocessing of a contract.

    Args:
        model: a trained model, in evaluation mode.
        contract: the robot's contract; it says which cameras the model sees, and which states it takes.
    """

    def __init__(self, model: WorldModel, contract: RobotContract) -> None:
        self.model = model.eval()
        self.cameras = {camera.name: camera for camera in contract.model_cameras}
        self.states = {state.name: len(state.values) for state in contract.model_state}
        self.tokens = model.config.tokens

    def inputs(
        self, pictures: Picture | Mapping[str, Picture], encoding: str = "rgb8",
        state: Mapping[str, np.ndarray] | None = None,
    ) -> dict[str, torch.Tensor]:  # fmt: skip
        """The model's inputs, a batch of one.

        Args:
            pictures: {camera: picture}; those of cameras that the model does not see are passed over. A picture alone
                is that of the first camera.
            encoding: of pictures that come without one.
            state: {name: (n,)}, the states that the contract gives the model.

        Raises:
            ImageError: a picture that does not fit its camera, or one that is missing; likewise a state.
        """
        if not isinstance(pictures, Mapping):
            pictures = {next(iter(self.cameras)): pictures}
        found: dict[str, torch.Tensor] = {}
        for name, camera in self.cameras.items():
            if name not in pictures:
                raise ImageError(f"no picture of camera '{name}', which the model sees; there is {', '.join(pictures)}")
            picture = pictures[name]
            image, of = picture if isinstance(picture, tuple) else (picture, encoding)
            found[name] = torch.from_numpy(model_input(image, camera, of))[None]
        for name, size in self.states.items():
            values = None if state is None or name not in state else np.asarray(state[name], np.float32).reshape(-1)
            if values is None or values.size != size or not np.isfinite(values).all():
                what = "none" if values is None else f"{values.tolist()}"
                raise ImageError(f"state '{name}', which the model takes: expected {size} finite values, found {what}")
            found[name] = torch.from_numpy(values)[None]
        return {name: values.to(self.model.device) for name, values in found.items()}

    @torch.inference_mode()
    def encode(
        self, pictures: Picture | Mapping[str, Picture], encoding: str = "rgb8",
        state: Mapping[str, np.ndarray] | None = None,
    ) -> np.ndarray:  # fmt: skip
        """The embedding of what is seen and felt: the latent, and what the model tells beside it.

        Args:
            pictures, encoding, state: as in :meth:`inputs`, with its errors.

        Returns:
            (rows, D) float32; the first row is the latent.
        """
        return self.encode_together([self.inputs(pictures, encoding, state)])[0]

    @torch.inference_mode()
    def encode_together(self, several: Sequence[Mapping[str, torch.Tensor]]) -> np.ndarray:
        """The embeddings of what several bodies see and feel, in one pass of the encoder.

        Args:
            several: the inputs of each, as :meth:`inputs` makes them.

        Returns:
            (n, rows, D) float32, in their order. They differ from those of single passes by rounding.
        """
        joined = several[0] if len(several) == 1 else {n: torch.cat([s[n] for s in several]) for n in several[0]}
        embedding = self.model.pack(self.model.encode(dict(joined)))
        return embedding.float().cpu().numpy().reshape(len(several), self.tokens, -1)
