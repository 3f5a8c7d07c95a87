# SPDX-License-Identifier: Apache-2.0
"""What a house looks like: surfaces with a texture of their own, and the light. All of it follows from a seed."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass

import cv2
import numpy as np

from .plan import House

EDGE = 64  # texels along a texture, which covers TILE metres
TILE = 1.0  # m
Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Light:
    """How bright it is, and from where the light comes."""

    ambient: float = 0.62
    diffuse: float = 0.38
    direction: tuple[float, float, float] = (0.4, 0.7, 1.5)
    tint: Colour = (1.0, 1.0, 1.0)


@dataclass(frozen=True)
class Look:
    """Surfaces of one house: (EDGE, EDGE, 3) uint8 RGB each."""

    walls: tuple[np.ndarray, ...]  # one a room
    floors: tuple[np.ndarray, ...]
    things: tuple[np.ndarray, ...]
    pictures: tuple[np.ndarray, ...]
    frame: np.ndarray  # of the doorways
    leaf: np.ndarray  # of a shut door
    light: Light


def draw_look(house: House, seed: int, light: bool = True) -> Look:
    """The look of a house from a seed; ``light`` False keeps the nominal light."""
    rng = np.random.default_rng([seed, 32])
    walls = tuple(_surface(rng, (0.05, 0.55), (0.55, 0.95), 0.14) for _ in house.rooms)
    floors = tuple(_surface(rng, (0.05, 0.6), (0.25, 0.7), 0.18) for _ in house.rooms)
    things = tuple(_surface(rng, (0.2, 0.9), (0.25, 0.95), 0.25) for _ in house.things)
    pictures = tuple(_painting(rng) for _ in house.pictures)
    frame = _surface(rng, (0.0, 0.6), (0.2, 1.0), 0.0)
    leaf = _surface(rng, (0.1, 0.7), (0.3, 0.9), 0.12)
    return Look(walls, floors, things, pictures, frame, leaf, draw_light(rng) if light else Light())


def draw_light(rng: np.random.Generator) -> Light:
    """Light of a random strength, colour and direction."""
    turn, lift = rng.uniform(-np.pi, np.pi), np.radians(rng.uniform(35.0, 75.0))
    direction = (np.cos(turn) * np.cos(lift), np.sin(turn) * np.cos(lift), np.sin(lift))
    tint = tuple(rng.uniform(0.88, 1.0, 3).tolist())
    x, y, z = (float(v) for v in direction)
    return Light(float(rng.uniform(0.45, 0.7)), float(rng.uniform(0.25, 0.5)), (x, y, z), tint)  # type: ignore[arg-type]


def _surface(rng: np.random.Generator, saturation: tuple[float, float], value: tuple[float, float],
             contrast: float) -> np.ndarray:  # fmt: skip
    """A surface of one colour with a pattern that repeats every tile. Patterns are coarse: fine ones would flicker in a
    small picture."""
    base = np.array(colorsys.hsv_to_rgb(rng.random(), rng.uniform(*saturation), rng.uniform(*value)))
    other = np.array(colorsys.hsv_to_rgb(rng.random(), rng.uniform(*saturation), rng.uniform(*value)))
    share = contrast * rng.uniform(0.4, 1.6) * _pattern(rng)[..., None]
    colour = base * (1.0 - share) + other * share + 0.03 * _clouds(rng, 8)[..., None]
    return np.asarray((np.clip(colour, 0, 1) * 255).astype(np.uint8))


def _pattern(rng: np.random.Generator) -> np.ndarray:
    """One of several patterns (EDGE, EDGE) between -1 and 1 that join up at their ends."""
    u, v = np.meshgrid(np.arange(EDGE) / EDGE, np.arange(EDGE) / EDGE)
    kind, n = int(rng.integers(6)), int(rng.integers(1, 4))
    if kind == 0:
        return np.sin(2 * np.pi * n * u)
    if kind == 1:
        return np.sin(2 * np.pi * n * v)
    if kind == 2:
        return np.sign(np.sin(2 * np.pi * n * u) * np.sin(2 * np.pi * n * v))
    if kind == 3:  # bricks
        rows = np.floor(v * 2 * n)
        seam = (np.abs((u * n + 0.5 * (rows % 2)) % 1.0 - 0.5) > 0.44) | (np.abs((v * 2 * n) % 1.0 - 0.5) > 0.40)
        return np.where(seam, 1.0, -0.2)
    if kind == 4:  # planks
        shades = rng.uniform(-1, 1, 2 * n)
        return np.asarray(shades[np.floor(u * 2 * n).astype(int)])
    return _clouds(rng, 4)


def _clouds(rng: np.random.Generator, cells: int) -> np.ndarray:
    """Smooth noise that joins up at its ends, about -1 to 1."""
    grid = rng.standard_normal((cells, cells))
    wide = cv2.resize(np.tile(grid, (3, 3)), (3 * EDGE, 3 * EDGE), interpolation=cv2.INTER_CUBIC)
    return np.asarray(np.clip(wide[EDGE : 2 * EDGE, EDGE : 2 * EDGE], -2, 2) / 2)


def _painting(rng: np.random.Generator) -> np.ndarray:
    """A picture of a few strong patches of colour, in a frame."""
    colours = [colorsys.hsv_to_rgb(rng.random(), rng.uniform(0.5, 1.0), rng.uniform(0.3, 1.0)) for _ in range(6)]
    image = np.empty((EDGE, EDGE, 3))
    image[:] = colours[0]
    for colour in colours[1:5]:
        a, b = sorted(rng.integers(0, EDGE, 2).tolist())
        c, d = sorted(rng.integers(0, EDGE, 2).tolist())
        if rng.random() < 0.5:
            image[a : b + 8, c : d + 8] = colour
        else:
            cv2.circle(image, (a, c), int(rng.integers(8, 22)), colour, -1)
    image[:4] = image[-4:] = image[:, :4] = image[:, -4:] = np.array(colours[5]) * 0.5
    return np.asarray((image * 255).astype(np.uint8))
