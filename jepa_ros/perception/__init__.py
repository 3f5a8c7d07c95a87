# SPDX-License-Identifier: Apache-2.0
"""Perception: image -> latent, by an encoder that was learned by self-supervision."""

from jepa_ros.perception.perception import Perception
from jepa_ros.perception.preprocess import ENCODINGS, ImageError, model_input, to_rgb

__all__ = ["ENCODINGS", "ImageError", "Perception", "model_input", "to_rgb"]
