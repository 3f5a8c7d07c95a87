# SPDX-License-Identifier: Apache-2.0
"""Memories of several robots as one: nothing new is lost, what came of states is kept, names stay apart."""

from __future__ import annotations

from contextlib import closing

import numpy as np
import pytest

from jepa_ros.commands.cli import main
from jepa_ros.contract import load_contract
from jepa_ros.memory import LongTerm, Store
from jepa_ros.memory.long_term import CONTACT, NOTHING
from jepa_ros.memory.merge import merge
from jepa_ros.planar.way_memory import WayMemory
from jepa_ros.planning.bodies import new_memory

ARENA = load_contract("arena")


class Time:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


def memory(clock=None) -> LongTerm:
    clock = clock or Time()
    return LongTerm(4, [WayMemory(0.1, clock)], clock=clock)


def ways(of: LongTerm) -> WayMemory:
    found = of.annex(WayMemory)
    assert found is not None
    return found


def latents(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 4)).astype(np.float32)


def test_all_that_either_robot_alone_knows_is_known_with_its_time():
    one, other, both = memory(), memory(), memory()
    for z in latents(20, 0):
        one.observe(z, (0.1, 0.2, 0.3))
    for z in latents(20, 1) + 50.0:  # another room
        other.observe(z)
    told = merge(both, [("one", one), ("other", other)])
    assert told.states == [len(one), len(other)]
    for source in (one, other):
        index, distance = both.nearest(source.latents)
        assert (distance[:, 0] == 0).all()
        np.testing.assert_array_equal(both.times[index[:, 0]], source.times)
        np.testing.assert_array_equal(both.where[index[:, 0]], source.where)


def test_what_both_know_is_kept_once_and_a_contact_that_one_of_them_had_is_not_forgotten():
    one, other, both = memory(), memory(), memory()
    for z in latents(10, 0):
        one.observe(z)
        other.observe(z)
    other.mark(other.latents[3], None, CONTACT)
    merge(both, [("one", one), ("other", other)])
    assert len(both) == len(one)
    where = both.nearest(other.latents[3:4])[0][0, 0]
    assert both.outcomes[where] == CONTACT and (np.delete(both.outcomes, where) == NOTHING).all()


def test_places_where_both_were_held_back_count_together():
    one, other, both = memory(), memory(), memory()
    ways(one).note((0.5, 0.5))
    ways(other).note((0.51, 0.5))
    ways(other).note((-0.7, 0.0))
    merge(both, [("one", one), ("other", other)])
    assert sorted(ways(both).obstructions[:, 2]) == [1.0, 2.0]


def test_a_name_that_two_have_goes_to_the_newest_and_the_other_keeps_its_robots_name():
    clock = Time()
    one, other, both = memory(clock), memory(clock), memory(clock)
    one.tag("dock", latents(1, 0)[0])
    other.tag("dock", latents(1, 1)[0])
    other.tag("door", latents(1, 2)[0])
    told = merge(both, [("left", one), ("right", other)])
    assert set(both.tags) == {"dock", "dock (left)", "door"}
    assert both.tags["dock"] == other.tags["dock"] or (both.tags["dock"].latent == other.tags["dock"].latent).all()
    assert told.renamed == {"dock of left": "dock (left)"}
    again = memory(clock)
    assert merge(again, [("both", both), ("right", other)]).renamed == {}  # merged before: one place
    assert set(again.tags) == set(both.tags)


@pytest.fixture
def folders(tmp_path):
    for number, name in enumerate(("left", "right")):
        with closing(Store(tmp_path / name, "model-a", ARENA, new_memory(ARENA, 4))) as store:
            for z in latents(12, number) + 30.0 * number:
                store.memory.observe(z)
            store.memory.tag("dock", latents(1, number)[0])
    return tmp_path


def test_the_command_merges_folders_and_leaves_them_as_they_are(folders, capsys):
    before = [(folders / name / "memory.safetensors").read_bytes() for name in ("left", "right")]
    words = ["memory", "merge", str(folders / "left"), str(folders / "right"), "--out", str(folders / "hall")]
    assert main(words) == 0
    assert "2 places" in capsys.readouterr().out
    assert [(folders / name / "memory.safetensors").read_bytes() for name in ("left", "right")] == before
    with closing(Store(folders / "hall", "model-a", ARENA, new_memory(ARENA, 4))) as store:
        assert set(store.memory.tags) in ({"dock", "dock (left)"}, {"dock", "dock (right)"})
    assert main(words) == 2 and "holds a memory already" in capsys.readouterr().err


def test_memories_that_do_not_belong_together_are_refused_by_name(folders, capsys):
    with closing(Store(folders / "other", "model-b", ARENA, new_memory(ARENA, 4))) as store:
        store.memory.observe(latents(1, 0)[0])
    out = ["--out", str(folders / "out")]
    assert main(["memory", "merge", str(folders / "left"), str(folders / "other"), *out]) == 2
    assert "made by model model-b" in capsys.readouterr().err
    assert main(["memory", "merge", str(folders / "left"), str(folders / "nobody"), *out]) == 2
    assert "no memory is there" in capsys.readouterr().err
    assert main(["memory", "merge", str(folders / "left"), str(folders / "left"), *out]) == 2
    assert "each given once" in capsys.readouterr().err
    (folders / "right" / "memory.safetensors").write_bytes(b"nothing")
    assert main(["memory", "merge", str(folders / "left"), str(folders / "right"), *out]) == 2
    assert "no memory that can be read" in capsys.readouterr().err
    assert (folders / "right" / "memory.safetensors").read_bytes() == b"nothing"
    with closing(Store(folders / "left", "model-a", ARENA, new_memory(ARENA, 4))):
        assert main(["memory", "merge", str(folders / "left"), str(folders / "other"), *out]) == 2
    assert "another planner is using it" in capsys.readouterr().err
