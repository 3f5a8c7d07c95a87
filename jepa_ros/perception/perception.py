# SPDX-License-Identifier: Apache-2.0
"""Perception: one image in, one embedding out. Stateless; the planner owns every history."""

from __future__ import annotations

import numpy as np
import torch

from jepa_ros.contract import RobotContract
from jepa_ros.perception.preprocess import model_input
from jepa_ros.world_model import WorldModel


class Perception:
    """The encoder of a world model behind the image preprocessing of a contract.

    Args:
        model: a trained model, in evaluation mode.
        contract: the robot's contract; its first camera is used.
    """

    def __init__(self, model: WorldModel, contract: RobotContract) -> None:
        self.model = model.eval()
        self.camera = contract.cameras[0]
        self.tokens = model.config.tokens

    def preprocess(self, image: np.ndarray, encoding: str = "rgb8") -> np.ndarray:
        """The model's input, (size, size, 3) uint8 RGB. See :func:`~jepa_ros.perception.preprocess.model_input`."""
        return model_input(image, self.camera, encoding)

    @torch.inference_mode()
    def encode(self, image: np.ndarray, encoding: str = "rgb8") -> np.ndarray:
        """Return the embedding of one image: the latent, and what the model tells beside it.

        Returns:
            (rows, D) float32; the first row is the latent.

        Raises:
            ImageError: an image that does not fit the camera.
        """
        pixels = torch.from_numpy(self.preprocess(image, encoding))[None]
        embedding = self.model.pack(self.model.encode({self.camera.name: pixels.to(self.model.device)}))
        return embedding.float().cpu().numpy().reshape(self.tokens, -1)
