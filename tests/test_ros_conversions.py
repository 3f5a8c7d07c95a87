# SPDX-License-Identifier: Apache-2.0
"""Messages become arrays and back without a pixel, a stamp or a number changed; what cannot is refused by name."""

from __future__ import annotations

import contextlib
import math

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CompressedImage, Image

from jepa_ros.agent.step_clock import CommandLog, StepClock
from jepa_ros.contract import load_contract
from jepa_ros.messages import MessageError
from jepa_ros.messages.commands import command_in
from jepa_ros.messages.images import CHANNELS, latent_of, pixels, raw_image
from jepa_ros.messages.rotation import yaw_of
from jepa_ros.messages.stamps import seconds as seconds_of
from jepa_ros.nodes import convert
from jepa_ros.nodes.commands import CommandCodec
from jepa_ros.nodes.params import ParameterError
from jepa_ros.perception.preprocess import to_rgb


@pytest.fixture
def picture():
    return np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)


@pytest.mark.parametrize("encoding", list(CHANNELS))
def test_every_encoding_comes_back_as_it_was(encoding, picture):
    code = {"rgb8": None, "bgr8": cv2.COLOR_RGB2BGR, "mono8": cv2.COLOR_RGB2GRAY, "rgba8": cv2.COLOR_RGB2RGBA,
            "bgra8": cv2.COLOR_RGB2BGRA}[encoding]  # fmt: skip
    sent = picture if code is None else cv2.cvtColor(picture, code)
    message = convert.fill(Image(), sent, encoding)
    found, said = pixels(message)
    assert said == encoding and found.shape == (6, 8, CHANNELS[encoding])
    assert np.array_equal(found.reshape(sent.shape), sent)
    rgb = to_rgb(found, encoding)
    if encoding != "mono8":
        assert np.array_equal(rgb, picture)


def test_rows_may_be_padded(picture):
    message = convert.fill(Image(), np.pad(picture.reshape(6, 24), ((0, 0), (0, 5))), "mono8")
    message.encoding, message.width = "rgb8", 8
    assert np.array_equal(pixels(message)[0], picture)


def test_a_message_is_filled_again_without_growing(picture):
    message = convert.fill(Image(), picture, "rgb8")
    convert.fill(message, picture[:3], "rgb8")
    assert len(message.data) == 3 * 8 * 3


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
@pytest.mark.parametrize("channels", [1, 3])
def test_compressed_images_are_decoded(suffix, channels, picture):
    smooth = cv2.resize(picture, (64, 48), interpolation=cv2.INTER_CUBIC)
    sent = smooth if channels == 3 else cv2.cvtColor(smooth, cv2.COLOR_BGR2GRAY)
    message = CompressedImage(format=suffix)
    message.data.frombytes(cv2.imencode(suffix, sent)[1].tobytes())
    found, encoding = pixels(message)
    assert encoding == {1: "mono8", 3: "bgr8"}[channels]
    error = np.abs(found.reshape(sent.shape).astype(int) - sent).mean()
    assert error == 0 if suffix == ".png" else error < 12


@pytest.mark.parametrize(
    ("break_it", "said"),
    [
        (lambda m: setattr(m, "encoding", "16UC1"), "16UC1"),
        (lambda m: setattr(m, "height", 100), "bytes"),
        (lambda m: setattr(m, "width", 0), "0 x 6"),
        (lambda m: setattr(m, "step", 3), "step 3"),
    ],
)
def test_a_broken_image_is_refused_with_what_was_found(break_it, said, picture):
    message = convert.fill(Image(), picture, "rgb8")
    break_it(message)
    with pytest.raises(MessageError, match=said):
        pixels(message)


@pytest.mark.parametrize("data", [b"", b"GIF89a....", b"\xff\xd8garbage", b"\x89PNG\r\n\x1a\n"])
def test_a_broken_compressed_image_is_refused(data):
    message = CompressedImage(format="x")
    message.data.frombytes(data)
    with pytest.raises(MessageError):
        pixels(message)


def test_a_latent_comes_back_bit_for_bit():
    latent = np.random.default_rng(1).standard_normal((4, 16)).astype(np.float32)
    message = convert.latent_to_image(Image(), latent)
    assert (message.encoding, message.height, message.width) == ("32FC1", 4, 16)
    assert np.array_equal(latent_of(message), latent)
    message.encoding = "rgb8"
    with pytest.raises(MessageError, match="rgb8"):
        latent_of(message)


@pytest.mark.parametrize("frame", ["", "a", "camera", "a_long_name_of_a_frame"])
def test_header_and_checksum_are_read_from_the_bytes(frame, picture):
    message = convert.fill(Image(), picture, "rgb8")
    message.header.frame_id = frame
    message.header.stamp = convert.to_stamp(1234.5)
    first = raw_image(bytes(serialize_message(message)))
    assert (first.stamp, first.frame_id) == (1234.5, frame)
    message.header.stamp = convert.to_stamp(1234.6)
    assert raw_image(bytes(serialize_message(message))).checksum == first.checksum
    picture[3, 3, 1] ^= 1
    convert.fill(message, picture, "rgb8")
    assert raw_image(bytes(serialize_message(message))).checksum != first.checksum


def test_raw_compressed_images_are_read_by_the_same_reader():
    message = CompressedImage(format="jpeg")
    message.header.stamp = convert.to_stamp(7.25)
    message.data.frombytes(b"abcdef")
    assert raw_image(bytes(serialize_message(message))).stamp == 7.25


@given(st.binary(max_size=64))
def test_bytes_that_are_no_image_never_do_worse_than_a_conversion_error(data):
    with contextlib.suppress(MessageError):
        raw_image(data)


@given(st.floats(min_value=0.0, max_value=4.0e9))
def test_stamps_keep_the_microsecond(seconds):
    stamp = convert.to_stamp(seconds)
    assert 0 <= stamp.nanosec < 10**9
    assert abs(seconds_of(stamp) - seconds) < 1e-6


@given(st.floats(min_value=-3.14, max_value=3.14))
def test_yaw_survives_the_quaternion(yaw):
    from geometry_msgs.msg import Quaternion

    quaternion = Quaternion()
    convert.set_yaw(quaternion, yaw)
    assert yaw_of(quaternion) == pytest.approx(yaw, abs=1e-9)
    assert math.isnan(yaw_of(Quaternion(x=0.0, y=0.0, z=0.0, w=0.0)))


# ---------------------------------------------------------------- commands


@pytest.mark.parametrize("kind", ["twist_stamped", "twist"])
def test_a_command_survives_its_message(kind):
    codec = CommandCodec(load_contract("arena"), kind)
    message = codec.write_output([0.25, -1.5], 12.5)
    reading = codec.read_output(message)
    assert reading.values.tolist() == [0.25, -1.5]
    assert reading.stamp == (12.5 if kind == "twist_stamped" else None)
    asked = command_in(codec.write_input([0.25, -1.5], 3.0), load_contract("arena"))
    assert (asked.values, asked.stamp, asked.frame_id) == ([0.25, -1.5], 3.0, "base_link")


def test_nan_on_an_axis_that_is_not_driven_shows():
    codec = CommandCodec(load_contract("arena"))
    message = codec.write_input([0.1, 0.0], 1.0)
    message.twist.linear.y = math.nan
    assert np.isnan(command_in(message, load_contract("arena")).values).all()


def test_a_kind_of_command_that_does_not_fit_the_robot_is_refused():
    with pytest.raises(ParameterError, match="joint_trajectory"):
        CommandCodec(load_contract("arena"), "joint_trajectory")


# ---------------------------------------------------------------- steps


def chosen(stamps, rate=5.0, camera=10.0):
    clock = StepClock(rate, camera)
    return [s for s in stamps if clock.begins_step(s)]


def test_every_second_image_of_a_camera_twice_as_fast_begins_a_step():
    stamps = [round(1.1 + 0.1 * i, 3) for i in range(20)]
    assert chosen(stamps) == stamps[::2]


def test_steps_keep_their_rate_under_jitter():
    rng = np.random.default_rng(3)
    stamps = np.arange(0, 60, 1 / 30) + rng.uniform(-0.005, 0.005, 1800)
    steps = chosen(stamps.tolist(), camera=30.0)
    assert len(steps) == 300
    assert np.abs(np.diff(steps) - 0.2).max() < 0.03


def test_a_lost_image_does_not_move_the_grid():
    stamps = [round(0.1 * i, 3) for i in range(20) if i != 4]
    steps = chosen(stamps)
    assert 0.5 in steps and steps[-3:] == [1.4, 1.6, 1.8]


def test_the_same_image_twice_begins_one_step_and_a_jump_back_begins_anew():
    assert chosen([1.0, 1.0, 1.2, 1.2]) == [1.0, 1.2]
    assert chosen([5.0, 5.2, 1.0, 1.1, 1.2]) == [5.0, 5.2, 1.0, 1.2]


def test_the_executed_action_is_the_mean_over_time_of_what_was_in_force():
    log = CommandLog(1, 5.0)
    for stamp, value in ((0.0, 1.0), (0.1, 3.0), (0.15, 5.0), (0.2, 9.0)):
        log.add(stamp, np.array([value]))
    assert log.mean(0.0, 0.2).item() == pytest.approx(0.5 * 1 + 0.25 * 3 + 0.25 * 5)
    assert log.at(0.12).item() == 3.0
    assert log.at(-0.1) is None and log.mean(-0.1, 0.1) is None
    log.add(0.3, np.array([math.nan]))
    log.add(0.3, np.array([1.0, 2.0]))
    assert log.at(1.0).item() == 9.0


@given(st.lists(st.tuples(st.floats(0.001, 0.3), st.floats(-1, 1)), min_size=3, max_size=30))
def test_the_mean_lies_between_the_least_and_the_largest_command(steps):
    log, now, values = CommandLog(1, 5.0), 0.0, []
    for delay, value in steps:
        log.add(now, np.array([value]))
        values.append(value)
        now += delay
    mean = log.mean(max(0.0, now - 1.0), now).item()
    assert min(values) - 1e-9 <= mean <= max(values) + 1e-9
