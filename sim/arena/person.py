# SPDX-License-Identifier: Apache-2.0
"""A person who walks through the arena: from place to place, or round a given path."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .layout import Layout
from .scene import SceneConfig


@dataclass
class Walker:
    """Walks straight to a way point at a steady speed, then to the next; waits for nobody, walks round nothing."""

    layout: Layout
    x: float
    y: float
    speed: float
    radius: float
    path: tuple[tuple[float, float], ...]  # empty: way points are drawn
    target: tuple[float, float]
    index: int = 0

    @classmethod
    def begin(cls, scene: SceneConfig, layout: Layout, robot, rng: np.random.Generator) -> Walker:
        if scene.person == "path":
            path = tuple((float(x), float(y)) for x, y in scene.person_path)
            return cls(layout, *path[0], scene.person_speed, scene.person_radius, path, path[1], 1)
        for _ in range(1000):
            x, y = rng.uniform(-layout.half, layout.half, 2)
            if layout.free((x, y), scene.person_radius + 0.02) and np.hypot(x - robot[0], y - robot[1]) > 0.4:
                break
        walker = cls(layout, float(x), float(y), scene.person_speed, scene.person_radius, (), (0.0, 0.0))
        walker.target = walker.choose(rng)
        return walker

    def choose(self, rng: np.random.Generator) -> tuple[float, float]:
        """A way point that can be walked to in a straight line; the present place if none is found."""
        here = np.array([self.x, self.y])
        for _ in range(50):
            there = rng.uniform(-self.layout.half, self.layout.half, 2)
            line = here + np.linspace(0, 1, 30)[:, None] * (there - here)
            if self.layout.free(line, self.radius + 0.02).all():
                return float(there[0]), float(there[1])
        return self.x, self.y

    def walk(self, dt: float, rng: np.random.Generator) -> None:
        """Walk on for ``dt`` s."""
        dx, dy = self.target[0] - self.x, self.target[1] - self.y
        left = float(np.hypot(dx, dy))
        reach = self.speed * dt
        if left > reach:
            self.x += dx / left * reach
            self.y += dy / left * reach
            return
        self.x, self.y = self.target
        if self.path:
            self.index = (self.index + 1) % len(self.path)
            self.target = self.path[self.index]
        else:
            self.target = self.choose(rng)
