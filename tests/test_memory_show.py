# SPDX-License-Identifier: Apache-2.0
"""What a memory holds, for people: numbers, a picture of its places, and clear words where there is nothing to show."""

import json
from contextlib import closing
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
from toy_world import planar_config

from jepa_ros.commands.cli import main
from jepa_ros.contract import load_contract
from jepa_ros.memory import Store
from jepa_ros.memory.long_term import CONTACT
from jepa_ros.memory.thumbnail import thumbnail
from jepa_ros.planar.place_graph import PlaceGraph
from jepa_ros.planar.way_memory import WayMemory
from jepa_ros.planning.bodies import new_memory
from jepa_ros.world_model import WorldModel, save_checkpoint

ROVER, ARENA = load_contract("rover"), load_contract("arena")
SVG = "{http://www.w3.org/2000/svg}"


def shade(value):
    return thumbnail(np.full((64, 96, 3), value, np.uint8))


@pytest.fixture
def tour(tmp_path):
    """A memory of two drives: a square whose loop was closed, with a way that failed, and a place apart."""
    folder = tmp_path / "tour"
    with closing(Store(folder, "model-a", ROVER, new_memory(ROVER, 4))) as store:
        memory = store.memory
        graph = memory.annex(PlaceGraph)
        for k in range(16):
            graph.add(np.full(4, k), np.zeros(3), 1000.0 + k, shade(10 * k))
            if k:
                graph.join(k - 1, k, np.array([0.4, 0.0, np.pi / 2 * (k % 4 == 0)]), 4, 0.05, 1)
        graph.join(15, 0, np.array([0.4, 0.0, np.pi / 2]), 4, 0.1)
        graph.failed(2, 3, 1020.0)
        graph.add(np.full(4, 50.0), np.zeros(3), 2000.0)
        memory.observe(np.zeros(4))
        memory.tag("dock", np.full(4, 5.2), thumbnail=shade(9))
    return folder


@pytest.fixture
def hall(tmp_path):
    """A memory without a graph: a planar robot that was held back once, and had a contact."""
    folder = tmp_path / "hall"
    with closing(Store(folder, "model-b", ARENA, new_memory(ARENA, 4))) as store:
        store.memory.observe(np.zeros(4), (0.1, 0.2, 0.0))
        store.memory.mark(np.full(4, 9.0), (0.3, 0.2, 0.0), CONTACT)
        store.memory.annex(WayMemory).note((0.4, 0.2))
        store.memory.tag("sink", np.ones(4), (0.0, 0.0, 0.0))
    return folder


def test_the_numbers_of_a_graph_are_told(tour, tmp_path, capsys):
    assert main(["memory", "show", str(tour), "--json", str(tmp_path / "told.json")]) == 0
    told = json.loads((tmp_path / "told.json").read_text())
    expected = {"places": 17, "ways": 16, "closed_loops": 1, "failed_ways": 1, "parts": 2, "thumbnails": 16}
    assert {key: told[key] for key in expected} == expected
    assert told["seen"] == {"oldest": 1000.0, "newest": 2000.0} and told["tags"]["dock"]["thumbnail"]
    said = capsys.readouterr().out
    assert "1 closed loops, 1 failed" in said and "1970-01-01T00:16:40Z to 1970-01-01T00:33:20Z" in said
    assert "dock: 20" in said and "model-a, robot 'rover'" in said


def test_the_picture_shows_places_ways_loops_tags_and_what_was_seen(tour, tmp_path):
    plain, pictured = tmp_path / "plain.svg", tmp_path / "pictured.svg"
    assert main(["memory", "show", str(tour), "--out", str(plain)]) == 0
    assert main(["memory", "show", str(tour), "--out", str(pictured), "--thumbnails"]) == 0
    text = plain.read_text()
    for wanted in ("17 places in 2 parts", "1 closed loops", "1 ways that failed", "dock"):
        assert wanted in text, wanted
    images = [len(list(ElementTree.parse(path).iter(f"{SVG}image"))) for path in (plain, pictured)]
    assert images[1] - images[0] >= 4, "thumbnails where they fit"


def test_a_png_is_a_picture_and_the_memory_stays_as_it_was(tour, tmp_path):
    before = (tour / "memory.safetensors").read_bytes()
    out = tmp_path / "deep" / "graph.png"
    with closing(Store(tour, "model-a", ROVER, new_memory(ROVER, 4))):  # a planner has it
        assert main(["memory", "show", str(tour), "--out", str(out), "--thumbnails"]) == 0
    assert cv2.imread(str(out)).shape[0] > 500
    assert (tour / "memory.safetensors").read_bytes() == before


def test_a_memory_without_a_graph_is_drawn_where_its_states_were(hall, tmp_path, capsys):
    assert main(["memory", "show", str(hall), "--out", str(tmp_path / "hall.svg")]) == 0
    assert "sink" in capsys.readouterr().out
    text = (tmp_path / "hall.svg").read_text()
    assert "1 states: contact" in text and "held back at 1" in text and "sink" in text


def test_what_cannot_be_shown_is_said(tour, hall, tmp_path, capsys):
    def refused(*words):
        assert main(["memory", "show", *map(str, words)]) == 2
        return capsys.readouterr().err

    save_checkpoint(tmp_path / "other", WorldModel(planar_config()), {"contract": ARENA.to_dict()})
    assert "was made by model model-a; this is model" in refused(tour, "--model", tmp_path / "other")
    assert "no memory is there" in refused(tmp_path / "nobody")
    assert "does nothing without --out" in refused(tour, "--thumbnails")
    assert "ends in .png or .svg" in refused(tour, "--out", tmp_path / "graph.gif")
    (hall / "memory.safetensors").write_bytes(b"nothing")
    assert "no memory that can be read" in refused(hall)
    assert (hall / "memory.safetensors").read_bytes() == b"nothing"


def test_a_memory_of_which_nothing_has_a_place_is_counted_and_not_drawn(tmp_path, capsys):
    with closing(Store(tmp_path / "m", "model-a", ROVER, new_memory(ROVER, 4))) as store:
        store.memory.observe(np.zeros(4))
    assert main(["memory", "show", str(tmp_path / "m")]) == 0
    assert main(["memory", "show", str(tmp_path / "m"), "--out", str(tmp_path / "m.png")]) == 2
    assert "nothing to draw" in capsys.readouterr().err


def test_a_memory_that_is_only_read_is_not_set_aside_where_its_parts_do_not_fit(tour, monkeypatch, capsys):
    before = (tour / "memory.safetensors").read_bytes()

    def unfit(self, found):
        raise ValueError("graph of another kind")

    monkeypatch.setattr(PlaceGraph, "restore", unfit)
    assert main(["memory", "show", str(tour)]) == 2
    assert "graph of another kind" in capsys.readouterr().err
    assert [path.name for path in tour.iterdir() if path.name != "lock"] == ["memory.safetensors"]
    assert (tour / "memory.safetensors").read_bytes() == before
