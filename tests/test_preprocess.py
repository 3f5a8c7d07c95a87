# SPDX-License-Identifier: Apache-2.0
"""Image preprocessing: encodings, crops and sizes end in the same model input."""

import cv2
import numpy as np
import pytest

from jepa_ros.contract import RobotContract, load_contract
from jepa_ros.perception import ImageError, model_input


@pytest.fixture
def camera():
    return load_contract("arena").cameras[0]


@pytest.fixture
def picture():
    y, x = np.mgrid[0:128, 0:128]
    return np.stack([x * 2, y * 2, (x + y)], axis=-1).astype(np.uint8)


@pytest.mark.parametrize(
    ("encoding", "code"),
    [("bgr8", cv2.COLOR_RGB2BGR), ("rgba8", cv2.COLOR_RGB2RGBA), ("bgra8", cv2.COLOR_RGB2BGRA)],
)
def test_every_colour_encoding_gives_the_same_input(camera, picture, encoding, code):
    expected = model_input(picture, camera)
    assert expected.shape == (64, 64, 3)
    assert expected.dtype == np.uint8
    np.testing.assert_array_equal(model_input(cv2.cvtColor(picture, code), camera, encoding), expected)


def test_mono_is_spread_over_the_channels(camera, picture):
    out = model_input(picture[..., 0], camera, "mono8")
    assert (out[..., 0] == out[..., 2]).all()


def test_shrinking_averages_what_falls_into_a_pixel(camera, picture):
    blocks = picture.reshape(64, 2, 64, 2, 3).mean((1, 3))
    assert np.abs(model_input(picture, camera).astype(float) - blocks).max() <= 0.5


def test_the_same_aspect_ratio_in_another_size_is_accepted(camera, picture):
    large = cv2.resize(picture, (512, 512), interpolation=cv2.INTER_NEAREST)
    difference = model_input(large, camera).astype(int) - model_input(picture, camera)
    assert np.abs(difference).max() <= 1


def test_the_crop_is_scaled_with_the_picture(picture):
    data = load_contract("arena").to_dict()
    data["cameras"][0]["crop"] = [64, 0, 64, 64]
    camera = RobotContract.from_dict(data).cameras[0]
    np.testing.assert_array_equal(model_input(picture, camera), picture[:64, 64:])
    large = cv2.resize(picture, (256, 256), interpolation=cv2.INTER_NEAREST)
    assert np.abs(model_input(large, camera).astype(int) - picture[:64, 64:]).max() <= 1


@pytest.mark.parametrize(
    ("shape", "encoding", "expected"),
    [
        ((128, 128, 3), "yuv422", "'yuv422' is not supported; expected one of rgb8"),
        ((128, 128, 3), "mono8", "does not fit encoding 'mono8'"),
        ((128, 96, 3), "rgb8", "96x128 px for camera 'image' of 128x128 px: the aspect ratios differ"),
        ((0, 0, 3), "rgb8", "does not fit"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(camera, shape, encoding, expected):
    with pytest.raises(ImageError, match=expected):
        model_input(np.zeros(shape, np.uint8), camera, encoding)


def test_floats_are_refused(camera):
    with pytest.raises(ImageError, match="expected uint8"):
        model_input(np.zeros((128, 128, 3), np.float32), camera)
