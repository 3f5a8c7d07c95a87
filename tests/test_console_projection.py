# SPDX-License-Identifier: Apache-2.0
"""Where a plan lies in the camera's picture, and a click on the ground."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from jepa_ros.console.projection import Projection

K = [140.0, 0.0, 64.0, 0.0, 140.0, 64.0, 0.0, 0.0, 1.0]
OVERHEAD = Projection.of((0.0, 0.0, 2.4), (0.0, math.pi / 2, math.pi / 2), K, (128, 128))


def test_a_camera_that_looks_down_sees_the_middle_of_the_floor_in_the_middle():
    assert OVERHEAD is not None
    assert np.allclose(OVERHEAD.pixels(np.zeros((1, 3))), [[64.0, 64.0]])
    assert np.allclose(OVERHEAD.ground(64.0, 64.0), (0.0, 0.0))


@given(
    x=st.floats(0.5, 3.0), y=st.floats(-1.0, 1.0), roll=st.floats(-0.2, 0.2), pitch=st.floats(0.3, 1.2),
    yaw=st.floats(-0.3, 0.3),
)  # fmt: skip
def test_a_click_on_a_drawn_point_means_that_point(x, y, roll, pitch, yaw):
    camera = Projection.of((0.0, 0.0, 1.0), (roll, pitch, yaw), K, (128, 128))
    assert camera is not None
    ((u, v),) = camera.pixels(np.array([[x, y, 0.0]]))
    if math.isfinite(u):
        assert np.allclose(camera.ground(u, v), (x, y), atol=1e-6)


def test_the_sky_is_no_place_on_the_ground_and_what_lies_behind_has_no_pixel():
    camera = Projection.of((0.0, 0.0, 1.0), (0.0, 0.0, 0.0), K, (128, 128))
    assert camera is not None
    assert camera.ground(64.0, 10.0) is None
    assert np.isnan(camera.pixels(np.array([[-1.0, 0.0, 0.0]]))).all()


def test_a_camera_without_a_focal_length_places_nothing():
    assert Projection.of((0, 0, 1), (0, 0, 0), [0.0] * 9, (128, 128)) is None


def test_the_simulated_camera_agrees_with_its_own_pinhole():
    from jepa_ros.contract import load_contract

    camera = load_contract("arena").cameras[0]
    found = Projection.of(camera.position, camera.orientation, K, (128, 128))
    assert found is not None
    # Ahead in the map (x) is to the right of the picture, to the left (y) is up.
    right, up = found.pixels(np.array([[0.5, 0.0, 0.0], [0.0, 0.5, 0.0]])) - 64.0
    assert right[0] > 10.0 and abs(right[1]) < 1e-4
    assert up[1] < -10.0 and abs(up[0]) < 1e-4
