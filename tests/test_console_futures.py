# SPDX-License-Identifier: Apache-2.0
"""Imagined futures as pictures: what the planner publishes of them, and which remembered pictures stand for them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import rclpy
import torch
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.context import Context
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import Image
from std_msgs.msg import Float32MultiArray

from jepa_ros.console.album import Album
from jepa_ros.console.hearing import EMBEDDING, FUTURES, LOOK, Hearing
from jepa_ros.console.showing import Showing
from jepa_ros.contract import load_contract
from jepa_ros.nodes import planner_messages
from jepa_ros.nodes.convert import fill

DIM = 8


def shape(message):
    return [dim.size for dim in message.layout.dim]


def sent(latents, size):
    """A message of futures as it arrives."""
    return deserialize_message(serialize_message(planner_messages.futures(latents, size)), Float32MultiArray)


def test_the_plan_comes_first_then_futures_that_end_unlike_it():
    latents = torch.zeros(6, 10, DIM)
    latents[:, :, 0] = torch.linspace(0, 9, 10)
    latents[2, -1, 1], latents[4, -1, 1], latents[5, -1, 1] = 5.0, -5.0, 0.1
    message = sent(latents, DIM)
    assert shape(message) == [4, 6, DIM] and [dim.label for dim in message.layout.dim] == ["future", "state", "latent"]
    found = np.frombuffer(message.data, np.float32).reshape(4, 6, DIM)
    assert found[0, :, 0].tolist() == [0, 2, 4, 5, 7, 9]  # the first and the last state, the others evenly between
    assert found[:, -1, 1].tolist() == pytest.approx([0.0, 5.0, -5.0, 0.1])
    same = sent(torch.ones(3, 4, DIM), DIM)
    assert shape(same) == [1, 4, DIM]  # two that are alike are one


@pytest.mark.parametrize("size", [DIM, 1024, 20_000, 60_000])
def test_the_message_of_futures_is_bounded_whatever_the_latents(size):
    latents = torch.randn(9, 12, size)
    message = sent(latents, size)
    assert 0 < len(message.data) <= planner_messages.MOST_NUMBERS
    assert np.frombuffer(message.data, np.float32)[-size:].tolist() in latents[:, -1].tolist() or shape(message)[1] == 1


def test_without_a_plan_the_message_tells_the_size_of_latents_alone():
    assert shape(sent(None, DIM)) == [0, 0, DIM]


# ------------------------------------------------------------ the album


def test_an_album_finds_the_picture_that_is_nearest_and_says_when_none_is_near():
    album, rng = Album(DIM), np.random.default_rng(0)
    latents = 10.0 * rng.standard_normal((40, DIM)).astype(np.float32)
    for k, latent in enumerate(latents):
        album.see(latent, lambda k=k: b"picture %d" % k)
    assert len(album) > 20
    found = album.like(np.concatenate([latents[:3], np.full((1, DIM), 500.0, np.float32)]))
    assert [album.picture(one.picture) for one in found[:3]] == [b"picture 0", b"picture 1", b"picture 2"]
    assert [one.near for one in found] == [True, True, True, False]


def test_an_album_that_is_full_forgets_pictures_with_their_states():
    album = Album(DIM, most=5)
    for k in range(50):
        album.see(np.full(DIM, 3.0 ** (k % 20) * (1 + k), np.float32), lambda k=k: b"%d" % k)
    assert len(album) == 5
    kept = [album.picture(one.picture) for one in album.like(album._memory.latents)]
    assert len(set(kept)) == 5 and None not in kept and len(album._pictures) == 5


def test_an_empty_album_and_latents_that_do_not_fit():
    album = Album(DIM)
    assert album.like(np.zeros((3, DIM), np.float32)) == []
    assert not album.see(np.zeros(3, np.float32), bytes) and not album.see(np.full(DIM, np.nan, np.float32), bytes)
    assert album.picture(1) is None


# ------------------------------------------------------------ heard of a robot


@pytest.fixture
def hearing():
    context = Context()
    rclpy.init(args=[], context=context)
    node = rclpy.create_node("futures", context=context)
    yield Hearing(node, load_contract("arena"))
    node.destroy_node()
    context.try_shutdown()


def said(message):
    return bytes(serialize_message(message))


def shade_of(data):
    return int(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR).mean())


def strips(hearing):
    return next(section for section in Showing(hearing).sections() if section.name == "strips").build()


def see(hearing, second, latent, shade):
    """A picture and its latent come, in the order in which they do."""
    picture = fill(Image(), np.full((12, 12, 3), shade, np.uint8), "rgb8")
    latent = fill(Image(), np.asarray(latent, np.float32)[None], "32FC1")
    for message in (picture, latent):
        message.header.stamp.sec = second
    hearing.put("image", said(picture))
    hearing._looked = -LOOK
    hearing.put(EMBEDDING, said(latent))


def status(hearing, reason):
    values = [KeyValue(key="reason", value=reason)]
    hearing.put("planner/status", said(DiagnosticArray(status=[DiagnosticStatus(values=values)])))


def test_strips_show_the_remembered_pictures_nearest_to_each_imagined_state(hearing):
    assert strips(hearing) is None  # nobody asked
    hearing.look_at_futures(True)
    assert strips(hearing) == {"remembered": 0, "chosen": False, "rows": []}
    hearing.put(FUTURES, said(planner_messages.futures(None, DIM)))
    status(hearing, "ok")
    places = 4.0 * np.eye(DIM, dtype=np.float32)
    for k, shade in enumerate((10, 90, 170, 250)):
        see(hearing, k, np.concatenate([places[k], [7.0, 7.0]]), shade)  # context comes after the latent
    assert strips(hearing) == {"remembered": 4, "chosen": True, "rows": []}
    futures = torch.from_numpy(np.stack([places[[0, 1, 2]], places[[3, 1, 3]]]))
    hearing.put(FUTURES, said(planner_messages.futures(futures, DIM)))
    rows = strips(hearing)["rows"]
    shades = [[shade_of(hearing.album.picture(one.picture)) for one in row] for row in rows]
    assert np.abs(np.array(shades) - [[10, 90, 170], [250, 90, 250]]).max() <= 3
    assert all(one.near for row in rows for one in row)
    status(hearing, "infeasible")
    assert not strips(hearing)["chosen"]


def test_a_latent_without_its_picture_is_not_remembered_and_another_model_begins_anew(hearing):
    hearing.look_at_futures(True)
    hearing.put(FUTURES, said(planner_messages.futures(None, DIM)))
    see(hearing, 1, np.ones(DIM), 50)
    late = fill(Image(), np.zeros((1, DIM), np.float32), "32FC1")
    late.header.stamp.sec = 77
    hearing._looked = -LOOK
    hearing.put(EMBEDDING, said(late))
    assert len(hearing.album) == 1
    hearing.put(FUTURES, said(planner_messages.futures(None, DIM + 1)))
    assert len(hearing.album) == 0


def test_futures_that_do_not_fit_their_layout_are_not_shown(hearing):
    hearing.look_at_futures(True)
    hearing.put(FUTURES, said(planner_messages.futures(None, DIM)))
    see(hearing, 1, np.ones(DIM), 50)
    broken = planner_messages.futures(torch.ones(2, 3, DIM), DIM)
    broken.layout.dim[0].size = 9
    for message in (broken, Float32MultiArray()):
        hearing.put(FUTURES, said(message))
        assert strips(hearing)["rows"] == []
