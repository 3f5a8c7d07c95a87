# SPDX-License-Identifier: Apache-2.0
"""Distances, arcs and free ways: checked against brute force, on random shapes and motions."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from jepa_ros.safety.geometry import Circle, Polygon, advance, box
from jepa_ros.safety.obstacles import free_ahead
from jepa_ros.safety.outlines import convex_hull, outline_clear

coordinate = st.floats(-3.0, 3.0)


@settings(max_examples=200, deadline=None)
@given(st.integers(3, 9), coordinate, coordinate, st.integers(0, 10_000))
def test_polygon_distance_is_the_distance_to_the_outline(n: int, x: float, y: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    angles = np.sort(rng.uniform(0, 2 * math.pi, n))
    if np.min(np.diff(np.append(angles, angles[0] + 2 * math.pi))) < 0.05:
        return
    radii = rng.uniform(0.5, 2.0, n)  # star-shaped round the origin: simple, often not convex
    if np.max(np.diff(np.append(angles, angles[0] + 2 * math.pi))) > 3.0:
        return
    points = np.stack([radii * np.cos(angles), radii * np.sin(angles)], -1)
    found = Polygon([(float(a), float(b)) for a, b in points]).signed_distance(x, y)
    share = np.linspace(0, 1, 2001)[:, None, None]
    outline = points + share * (np.roll(points, -1, axis=0) - points)
    nearest = np.hypot(outline[..., 0] - x, outline[..., 1] - y).min()
    assert abs(abs(found) - nearest) < 5e-3
    crossings = 0  # inside: an odd number of edges to the right
    for (ax, ay), (bx, by) in zip(points, np.roll(points, -1, axis=0), strict=True):
        if (ay > y) != (by > y) and x < ax + (y - ay) * (bx - ax) / (by - ay):
            crossings += 1
    if nearest > 1e-6:
        assert (found < 0) == (crossings % 2 == 1)


@settings(max_examples=200, deadline=None)
@given(coordinate, coordinate)
def test_the_gate_s_floats_and_the_planner_s_arrays_mean_the_same_distance(x: float, y: float) -> None:
    shape = Polygon([(-1.0, -1.0), (1.2, -0.8), (0.2, 0.1), (0.9, 1.0), (-0.8, 0.7)])
    assert abs(shape.signed_distance(x, y) - shape.signed_distance(np.array([x]), np.array([y]))[0]) < 1e-9


def test_a_place_that_is_no_number_has_no_distance() -> None:
    shape = box(0.0, 0.0, 1.0, 1.0)
    assert math.isnan(shape.signed_distance(math.nan, 0.0)) and math.isnan(shape.signed_distance(0.0, math.nan))


@settings(max_examples=500, deadline=None)
@given(st.integers(0, 100_000), st.sampled_from(["circle", "box", "polygon"]), st.booleans())
def test_what_an_outline_plainly_keeps_is_what_a_walk_along_it_finds(seed: int, kind: str, inside: bool) -> None:
    rng = np.random.default_rng(seed)
    x, y, turn = rng.uniform(-1, 1, 3).tolist()
    if kind == "circle":
        shape: Circle | Polygon = Circle(x, y, float(rng.uniform(0.1, 3)))
    elif kind == "box":
        shape = box(x, y, rng.uniform(0.1, 3), rng.uniform(0.1, 3), turn)
    else:  # convex or not
        angles = np.sort(rng.uniform(-math.pi, math.pi, 5)) + turn
        radii = rng.uniform(0.5, 2, 5)
        try:
            shape = Polygon([(x + r * math.cos(a), y + r * math.sin(a)) for a, r in zip(angles, radii, strict=True)])
        except ValueError:
            return
    reach, room = float(rng.uniform(0.0, 1.5)), float(rng.uniform(-0.1, 0.5))
    points = rng.uniform(-1, 1, (int(rng.integers(1, 9)), 2)) * reach + rng.uniform(-2, 2, 2)
    corners = convex_hull([(float(a), float(b)) for a, b in points])
    sign = -1.0 if inside else 1.0
    plainly = (shape.keeps_in if inside else shape.keeps_off)(corners, room)
    walked = outline_clear(lambda a, b: sign * shape.signed_distance(a, b), corners, room, 1e-4)
    assert plainly is None or plainly is walked


def test_a_polygon_that_is_far_from_a_shape_needs_no_walk() -> None:
    corners = [(0.0, 0.0), (0.4, 0.0), (0.4, 0.3), (0.0, 0.3)]
    room, pillar = box(0.0, 0.0, 2.0, 2.0), Circle(1.5, 0.0, 0.3)
    assert room.keeps_in(corners, 1.5) is True
    assert room.keeps_in(corners, 1.7) is False
    assert room.keeps_in(corners, 1.6) is None  # as good as touched
    assert pillar.keeps_off(corners, 0.7) is True
    assert pillar.keeps_off(corners, 0.9) is False
    assert box(1.5, 0.0, 0.3, 0.3).keeps_off(corners, 0.7) is True


def test_box_and_circle() -> None:
    turned = box(1.0, 2.0, 0.5, 0.25, math.pi / 2)
    assert math.isclose(turned.signed_distance(1.0, 2.0), -0.25)
    assert math.isclose(turned.signed_distance(1.0, 3.0), 0.5)
    assert math.isclose(Circle(1.0, 0.0, 0.5).signed_distance(3.0, 0.0), 1.5)


@settings(max_examples=100, deadline=None)
@given(st.floats(-1, 1), st.floats(-1, 1), st.floats(-4, 4), st.floats(0, 3))
def test_arc_is_what_small_steps_add_up_to(vx: float, vy: float, w: float, time: float) -> None:
    x = y = yaw = 0.0
    n = 4000
    for _ in range(n):
        c, s = math.cos(yaw + 0.5 * w * time / n), math.sin(yaw + 0.5 * w * time / n)
        x, y = x + (c * vx - s * vy) * time / n, y + (s * vx + c * vy) * time / n
        yaw += w * time / n
    ax, ay, ayaw = advance(0.0, 0.0, 0.0, vx, vy, w, time)
    assert math.hypot(ax - x, ay - y) < 1e-5 and math.isclose(ayaw, yaw, abs_tol=1e-9)
    arrays = advance(np.zeros(2), np.zeros(2), np.zeros(2), vx, vy, w, np.array([time, 0.0]))
    assert abs(arrays[0][0] - ax) < 1e-9 and arrays[0][1] == 0.0


@settings(max_examples=200, deadline=None)
@given(st.floats(-0.5, 0.5), st.floats(-3, 3), st.integers(0, 10_000))
def test_free_ahead_meets_the_nearest_point(vx: float, w: float, seed: int) -> None:
    if abs(vx) < 0.05:
        return
    rng = np.random.default_rng(seed)
    px, py = rng.uniform(-1.5, 1.5, (2, 8))
    keep = np.hypot(px, py) > 0.21
    px, py = px[keep], py[keep]
    found, touched = free_ahead(px, py, (vx, 0.0, w), 0.2)
    assert not touched
    ways = np.linspace(0, min(1.5, 2 * math.pi * abs(vx) / max(abs(w), 1e-9) * 0.95), 3000)
    xs, ys, _ = advance(np.zeros(3000), np.zeros(3000), np.zeros(3000), vx, 0.0, w, ways / abs(vx))
    if not px.size:
        assert found == math.inf
        return
    gap = np.hypot(xs[:, None] - px, ys[:, None] - py).min(1) - 0.2
    met = np.flatnonzero(gap <= 0.0)
    if met.size:
        assert abs(found - ways[met[0]]) < 5e-3
    elif gap.min() > 1e-3:
        assert found >= ways[-1] - 5e-3


def test_points_that_are_touched_stop_motion_towards_them_alone() -> None:
    x, y = np.array([0.1]), np.array([0.0])
    assert free_ahead(x, y, (0.3, 0.0, 0.0), 0.2) == (0.0, True)
    assert free_ahead(x, y, (-0.3, 0.0, 0.0), 0.2) == (math.inf, True)
    wall = np.linspace(-1.0, 1.0, 201)
    beside = np.full(201, 0.19)
    assert free_ahead(wall, beside, (0.3, 0.0, 0.0), 0.2) == (math.inf, True), "along a wall that it touches"
    assert free_ahead(wall, beside, (0.3, 0.0, -0.5), 0.2)[0] > 1.0, "away from it"
    assert free_ahead(wall, beside, (0.3, 0.0, 0.5), 0.2)[0] < 0.1, "into it"
