# SPDX-License-Identifier: Apache-2.0
"""A deliberation can be looked at: as a picture with the nearest pictures that were seen, and in the film."""

import json

import numpy as np
import pytest
import torch

from jepa_ros.commands import cli
from jepa_ros.commands.demo.video import TREE, _draw_tree
from jepa_ros.commands.tree_picture import draw, shown

#: A start, two states on the way, and one that leads nowhere.
FOUND = {
    "seed": 3, "solved": True, "calls": 512, "dropped": 2, "axes": "m",
    "nodes": [[-1, 0, 8, 0.0, 0.0], [0, 4, 4, 0.4, 0.0], [1, 8, 0, 0.8, 0.1], [0, 4, 9, -0.4, 0.2]],
    "way": [0, 1, 2], "goal": [0.8, 0.1],
}  # fmt: skip


def test_pictures_are_shown_of_both_ends_and_evenly_between():
    long = FOUND | {"way": list(range(40))}
    rows = shown(long)
    assert rows[0] == 0 and rows[-1] == 39
    assert 8 <= len(rows) <= 10
    assert shown(FOUND) == [0, 1, 2]


def test_picture_is_written_with_the_pictures_of_states(tmp_path):
    plain, full = tmp_path / "plain.png", tmp_path / "full.png"
    draw(FOUND, plain, {}, None)
    red = np.full((64, 64, 3), (255, 0, 0), np.uint8)
    draw(FOUND, full, {0: red, 2: red}, red)
    import matplotlib.image as reader

    def reds(path):
        image = reader.imread(path)[..., :3]
        return int(((image[..., 0] > 0.95) & (image[..., 1:].max(-1) < 0.05)).sum())

    assert reds(full) > reds(plain) + 1000


def test_film_shows_the_tree_in_its_corner():
    square = np.full((TREE, TREE, 3), 200, np.uint8)
    _draw_tree(square, FOUND)
    assert (square == (255, 120, 20)).all(-1).sum() > 100  # the way
    assert (square == (230, 30, 110)).all(-1).sum() > 40  # the goal


def test_think_says_what_came_of_it_and_draws_the_tree(tmp_path, capsys):
    torch.set_num_threads(1)
    picture, plain = tmp_path / "tree.png", tmp_path / "tree.json"
    given = ["think", "--robot", "arena", "--task", "blocked", "--distance", "distance", "--calls", "9000"]
    code = cli.main([*given, "--draw", str(picture), "--json", str(plain)])
    told = capsys.readouterr().out
    found = json.loads(plain.read_text())
    assert code == int(not found["tree"]["solved"])
    assert ("solved; " in told) == found["tree"]["solved"]
    assert f"{found['counts']['calls']} calls" in told
    assert picture.stat().st_size > 5000
    assert found["tree"]["axes"] == "m"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--calls", "100", "--distance", "distance"], "below one expansion"),
        (["--data", "somewhere"], "--data does nothing without --draw"),
        ([], "no readout 'way'"),
    ],
)
def test_think_that_cannot_be_done_is_one_line(given, said, capsys):
    assert cli.main(["think", "--robot", "arena", *given]) == 2
    assert said in capsys.readouterr().err
