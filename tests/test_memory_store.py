# SPDX-License-Identifier: Apache-2.0
"""Long-term memory: what is asked and kept, and a folder that comes back, is refused, or is set aside."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jepa_ros.contract import RobotContract, load_contract
from jepa_ros.memory import LongTerm, RecallError, Store, StoreError
from jepa_ros.memory.long_term import CONTACT, NOTHING, OBSTRUCTED, TAGS
from jepa_ros.planar.way_memory import WayMemory

HERE = (0.1, 0.2, 0.3)


@pytest.fixture(scope="module")
def contract():
    return load_contract("arena")


@pytest.fixture
def memory():
    return LongTerm(4, [WayMemory(0.1)])


def ways(memory):
    return memory.annex(WayMemory)


def held(memory, latent, point, outcome):
    """The robot was held back at HERE by something at a point."""
    memory.mark(latent, HERE, outcome)
    ways(memory).note(point)


def latents(count, dim=4, seed=0):
    return np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32)


def open_store(folder, contract, memory=None, model="model-a"):
    return Store(folder, model, contract, LongTerm(4, [WayMemory(0.1)]) if memory is None else memory)


# ---------------------------------------------------------------- what is remembered


@given(st.integers(1, 60), st.integers(1, 7), st.integers(1, 20), st.integers(0, 9))
@settings(max_examples=50, deadline=None)
def test_the_nearest_are_those_that_looking_at_all_of_them_finds(count, k, capacity, seed):
    memory = LongTerm(3, [WayMemory(0.1)], states=capacity)
    for z in latents(count, 3, seed):
        memory.observe(z + 100.0)  # far from the origin, where squares of norms are of no use
    asked = latents(5, 3, seed + 1) + 100.0
    index, distance = memory.nearest(asked, k)
    every = np.linalg.norm(memory.latents[None].astype(np.float64) - asked[:, None], axis=-1)
    assert index.shape == (5, min(k, len(memory)))
    np.testing.assert_allclose(distance, np.sort(every, axis=1)[:, :k], rtol=1e-6)
    np.testing.assert_allclose(np.take_along_axis(every, index, 1), distance, rtol=1e-6)


@given(st.lists(st.tuples(st.floats(-3, 3, width=32), st.booleans()), max_size=60), st.integers(1, 8))
@settings(max_examples=60, deadline=None)
def test_it_never_grows_beyond_its_size_and_comes_back_as_it_was(events, capacity):
    memory = LongTerm(2, [WayMemory(0.1)], states=capacity)
    for value, stopped in events:
        z = np.array([value, value * value], np.float32)
        if stopped:
            held(memory, z, (value, 0.0), OBSTRUCTED)
            assert (memory.outcomes == OBSTRUCTED).any()
        else:
            memory.observe(z, HERE)
        assert len(memory) <= capacity
    again = LongTerm(2, [WayMemory(0.1)], states=capacity)
    again.restore(list(memory.tags), memory.tensors())
    for key, value in memory.tensors().items():
        np.testing.assert_array_equal(again.tensors()[key], value)


def test_what_is_seen_again_is_not_taken_twice_and_what_lies_apart_outlives_the_rest():
    memory = LongTerm(2, [WayMemory(0.1)], states=8)
    for angle in np.linspace(0.0, 2.0 * np.pi, 8, endpoint=False):
        assert memory.observe(np.array([np.cos(angle), np.sin(angle)]) * (1.0 + angle))
    before = len(memory), memory.version
    assert not memory.observe(memory.latents[3] + 1e-4)
    assert (len(memory), memory.version) == before
    assert memory.observe(np.array([50.0, 50.0]))
    assert len(memory) == 8 and (memory.latents == 50.0).all(axis=1).any()


def test_states_with_an_outcome_outlive_those_that_nothing_came_of(memory):
    memory.capacity = 3
    held(memory, np.zeros(4), (0.5, 0.0), CONTACT)
    for z in latents(20):
        memory.observe(10.0 * z)
    assert len(memory) == 3 and CONTACT in memory.outcomes and NOTHING in memory.outcomes


def test_an_obstruction_is_believed_the_more_the_more_often_it_was_met(memory):
    points = np.array([[0.5, 0.0], [0.5, 0.09], [0.5, 0.2]])
    assert not ways(memory).obstructed(points).any()
    held(memory, np.zeros(4), (0.5, 0.0), OBSTRUCTED)
    np.testing.assert_allclose(ways(memory).obstructed(points), [0.2, 0.2, 0.0])
    held(memory, np.zeros(4), (0.51, 0.0), OBSTRUCTED)
    assert len(ways(memory).obstructions) == 1
    np.testing.assert_allclose(ways(memory).obstructed(points), [0.36, 0.36, 0.0])


def test_a_robot_that_drives_through_an_obstruction_shows_that_it_is_gone(memory):
    held(memory, np.zeros(4), (0.5, 0.0), OBSTRUCTED)
    ways(memory).refute(0.4, 0.0)
    assert len(ways(memory).obstructions) == 1  # as near as it was when it was held back
    ways(memory).refute(0.47, 0.0)
    assert len(ways(memory).obstructions) == 0 and not ways(memory).obstructed(np.array([[0.5, 0.0]])).any()


def test_tags_are_places_by_name_and_an_unknown_one_lists_the_known(memory):
    memory.tag("dock", np.arange(4), HERE)
    memory.tag("a window", np.ones(4))
    assert memory.tagged("dock").where == HERE and memory.tagged("a window").where is None
    memory.tag("dock", np.zeros(4))
    assert not memory.tagged("dock").latent.any() and len(memory.tags) == 2
    with pytest.raises(RecallError, match="'sink'; known: a window, dock"):
        memory.tagged("sink")


@pytest.mark.parametrize("name", ["", " dock", "a\nb", "x" * 65])
def test_names_that_cannot_be_told_apart_are_refused(memory, name):
    with pytest.raises(RecallError, match="printable"):
        memory.tag(name, np.zeros(4))
    with pytest.raises(RecallError, match="3 values"):
        memory.tag("dock", np.zeros(3))


def test_there_is_room_for_so_many_tags(memory):
    for i in range(TAGS):
        memory.tag(str(i), np.zeros(4))
    memory.tag("0", np.ones(4))
    with pytest.raises(RecallError, match="room"):
        memory.tag("one more", np.zeros(4))


# ---------------------------------------------------------------- the folder


def fill(memory):
    for z in latents(30):
        memory.observe(z, HERE)
    held(memory, np.full(4, 9.0), (0.5, 0.0), CONTACT)
    memory.tag("dock", np.arange(4), HERE)
    memory.tag("door", np.ones(4))
    ways(memory).map = np.linspace(-6.0, 6.0, 9, dtype=np.float32).reshape(3, 3)


def test_what_was_remembered_is_there_after_a_restart(tmp_path, contract, memory):
    store = open_store(tmp_path / "m", contract, memory)
    fill(memory)
    store.close()
    again = LongTerm(4, [WayMemory(0.1)])
    store = open_store(tmp_path / "m", contract, again)
    store.close()
    assert not store.note and list(again.tags) == ["dock", "door"] and again.tags["dock"].where == HERE
    for key, value in memory.tensors().items():
        np.testing.assert_array_equal(again.tensors()[key], value)


def test_a_tag_is_on_disk_when_kept_says_so_and_survives_a_kill(tmp_path, contract):
    script = """
import os, sys, time
import numpy as np
from jepa_ros.memory import LongTerm, Store
from jepa_ros.contract import load_contract
from jepa_ros.planar.way_memory import WayMemory
memory = LongTerm(4, [WayMemory(0.1)])
store = Store(sys.argv[1], "model-a", load_contract("arena"), memory)
memory.tag("dock", np.arange(4))
assert not store.kept
store.save_soon()
end = time.monotonic() + 20.0
while not store.kept and time.monotonic() < end:
    time.sleep(0.01)
assert store.kept
os.kill(os.getpid(), 9)
"""
    ended = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, timeout=180)
    assert ended.returncode == -9, ended.stderr
    memory = LongTerm(4, [WayMemory(0.1)])
    open_store(tmp_path, contract, memory).close()  # and the dead one's lock is free
    assert memory.tagged("dock").latent.tolist() == [0.0, 1.0, 2.0, 3.0]


def test_the_memory_of_another_model_or_robot_is_refused_and_left_alone(tmp_path, contract, memory):
    store = open_store(tmp_path, contract, memory)
    memory.tag("dock", np.zeros(4))
    store.close()
    before = store.path.read_bytes()
    with pytest.raises(StoreError, match=r"made by model model-a; this is model model-b"):
        open_store(tmp_path, contract, model="model-b")
    data = contract.to_dict()
    data["rate"] = 4.0
    with pytest.raises(StoreError, match=r"does not fit[\s\S]*rate"):
        open_store(tmp_path, RobotContract.from_dict(data, "other"))
    assert store.path.read_bytes() == before and len(list(tmp_path.glob("*.damaged*"))) == 0
    open_store(tmp_path, contract).close()  # nobody kept the lock


@pytest.mark.parametrize("where", [0, 8, 40, 0.5, -1, "short", "empty", "text"])
def test_a_damaged_memory_is_set_aside_with_a_word_and_the_robot_goes_on(tmp_path, contract, memory, where):
    store = open_store(tmp_path, contract, memory)
    fill(memory)
    store.close()
    data = bytearray(store.path.read_bytes())
    if isinstance(where, str):
        data = {"short": data[: len(data) // 2], "empty": b"", "text": b"{}" * 40}[where]
    else:
        data[int(where * len(data)) if isinstance(where, float) else where] ^= 0xFF
    store.path.write_bytes(data)
    again = LongTerm(4, [WayMemory(0.1)])
    for number in (1, 2):
        store = open_store(tmp_path, contract, again)
        assert "damaged" in store.note and f"damaged-{number}" in store.note and not again.tags and not len(again)
        again.tag("new", np.zeros(4))
        store.close()
        assert (tmp_path / f"memory.safetensors.damaged-{number}").read_bytes() == bytes(data)
        again = LongTerm(4, [WayMemory(0.1)])
        open_store(tmp_path, contract, again).close()
        assert list(again.tags) == ["new"]
        store.path.write_bytes(data)
        again = LongTerm(4, [WayMemory(0.1)])


def test_one_folder_is_one_planners(tmp_path, contract):
    store = open_store(tmp_path, contract)
    with pytest.raises(StoreError, match="another planner is using it"):
        open_store(tmp_path, contract)
    store.close()
    open_store(tmp_path, contract).close()


def test_a_folder_that_cannot_be_is_refused_and_a_write_that_fails_is_told(tmp_path, contract, memory):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be written"):
        open_store(tmp_path / "file", contract)
    store = open_store(tmp_path / "m", contract, memory)
    (tmp_path / "m" / "memory.partial").mkdir()  # where it would write
    memory.tag("dock", np.zeros(4))
    store.close()
    assert "cannot be written" in store.trouble and not store.kept
    assert os.listdir(tmp_path / "m" / "memory.partial") == []


def test_many_read_one_memory_that_nobody_of_them_writes(tmp_path, contract, memory):
    memory.tag("dock", np.ones(4))
    store = open_store(tmp_path, contract, memory)
    memory.tag("desk", np.zeros(4))
    store.save_soon()
    end = time.monotonic() + 60
    while not store.kept:
        assert time.monotonic() < end
        time.sleep(0.01)
    before = store.path.read_bytes()
    readers = [LongTerm(4, [WayMemory(0.1)]) for _ in range(2)]
    # Beside the one who writes:
    shared = [Store(tmp_path, "model-a", contract, reader, read_only=True) for reader in readers]
    assert all(sorted(reader.tags) == ["desk", "dock"] for reader in readers)
    readers[0].tag("mine", np.zeros(4))
    for one in shared:
        one.save_soon()
        one.close()
        assert one.kept and not one.trouble
    store.close()
    assert store.path.read_bytes() == before


def test_a_memory_that_is_only_read_has_to_be_there_whole_and_of_this_model(tmp_path, contract):
    with pytest.raises(StoreError, match="no memory is there"):
        Store(tmp_path / "none", "model-a", contract, LongTerm(4, [WayMemory(0.1)]), read_only=True)
    assert not (tmp_path / "none").exists()
    store = open_store(tmp_path, contract, LongTerm(4, [WayMemory(0.1)]))
    store.memory.tag("dock", np.ones(4))
    store.close()
    again = LongTerm(4, [WayMemory(0.1)])
    with pytest.raises(StoreError, match="was made by model"):
        Store(tmp_path, "another", contract, again, read_only=True)
    path = tmp_path / "memory.safetensors"
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(StoreError, match="no memory that can be read"):
        Store(tmp_path, "model-a", contract, again, read_only=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["lock", "memory.safetensors"]  # nothing was set aside
