# SPDX-License-Identifier: Apache-2.0
"""Fused rollouts do what the model does, on one thread and on several, and their absence costs speed only."""

import multiprocessing
import shutil
import threading
import time

import numpy as np
import pytest
import torch
from test_search_plans import GOAL, START, STATE, make
from torch import nn
from toy_world import planar_config, task_cost

from jepa_ros.contract import load_contract
from jepa_ros.cost import Goal
from jepa_ros.planning import Planner, PlannerConfig, SearchConfig, SearchError, native
from jepa_ros.planning.rollout import ModelRollout, make_engine
from jepa_ros.world_model import WorldModel

needs_compiler = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler here: the fall-back is tested")
DTYPES = ["float32", pytest.param("bfloat16", marks=pytest.mark.skipif(not native.has_bfloat16(), reason="no bf16"))]
TOLERANCE = {"float32": 2e-6, "bfloat16": 0.02}
USUAL = planar_config()
ODD = planar_config(latent_dim=24, noise_dim=3, state_dim=5, width=96, encoder_width=8)


def model_of(config=None, seed=0):
    torch.manual_seed(seed)
    return WorldModel(config or planar_config()).eval().requires_grad_(False)


def case(config, candidates, samples, horizon):
    g = torch.Generator().manual_seed(1)
    z, h = torch.randn(config.latent_dim, generator=g), 0.3 * torch.randn(config.state_dim, generator=g)
    actions = 2 * torch.rand(candidates, horizon, config.action_dim, generator=g) - 1
    noise = torch.randn(samples, horizon, config.noise_dim, generator=g) if samples > 1 else None
    return z, h, actions, noise


@needs_compiler
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize(
    ("config", "candidates", "samples", "horizon"),
    [(USUAL, 128, 1, 10), (USUAL, 33, 4, 3), (ODD, 7, 1, 5), (ODD, 50, 3, 2), (USUAL, 1, 1, 1)],
)
def test_fused_rollouts_agree_with_the_model(dtype, threads, config, candidates, samples, horizon):
    model = model_of(config)
    z, h, actions, noise = case(config, candidates, samples, horizon)
    fast = native.NativeRollout(model, candidates, samples, horizon, dtype, threads)
    zs, truth = fast(z, h, actions, noise), ModelRollout(model)(z, h, actions, noise)
    assert zs.shape == truth.shape == (candidates, samples, horizon, config.latent_dim)
    assert (zs - truth).abs().max() < TOLERANCE[dtype] * (1 + truth.abs().max())


@needs_compiler
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("config", [planar_config(), ODD])
def test_fused_readouts_agree_with_the_model(dtype, config):
    model = model_of(config)
    fast = native.NativeReadouts(model, dtype, 2)
    zs, goal = torch.randn(5, 2, 3, config.latent_dim), torch.randn(config.latent_dim)
    for name, args in (("distance", (zs, goal)), ("pose", (zs,)), ("contact", (zs,))):
        mine, truth = fast.read(name, *args).clone(), model.read(name, *args)
        assert mine.shape == truth.shape
        assert (mine - truth).abs().max() < TOLERANCE[dtype]
    zs = zs.flatten(0, 1)
    costs = [task_cost(m, zs, Goal.from_latent(goal.numpy()))[0] for m in (fast, model)]
    assert (costs[0] - costs[1]).abs().max() < TOLERANCE[dtype]


@needs_compiler
@pytest.mark.parametrize("dtype", DTYPES)
def test_fused_results_do_not_depend_on_threads_or_on_the_rows_beside(dtype):
    model = model_of()
    z, h, actions, _ = case(model.config, 77, 1, 4)
    one = native.NativeRollout(model, 77, 1, 4, dtype, 1)(z, h, actions, None).clone()
    many = native.NativeRollout(model, 77, 1, 4, dtype, 4)(z, h, actions, None)
    alone = native.NativeRollout(model, 77, 1, 4, dtype, 1)(z, h, actions[40:41], None)
    assert torch.equal(one, many)
    assert torch.equal(one[40], alone[0])


@needs_compiler
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_model_that_breaks_is_not_hidden_by_the_fused_code(dtype):
    model = model_of()
    z, h, actions, _ = case(model.config, 4, 1, 3)
    fast = native.NativeRollout(model, 4, 1, 3, dtype)
    actions[2, 1, 0] = torch.nan
    zs = fast(z, h, actions, None)
    assert torch.isnan(zs[2, 0, 1:]).all()
    assert torch.isfinite(zs[[0, 1, 3]]).all()
    assert torch.isnan(native.NativeReadouts(model, dtype).read("distance", zs, z)[2, 0, 1:]).all()


@needs_compiler
def test_two_threads_may_plan_at_once():
    model = model_of()
    z, h, actions, _ = case(model.config, 64, 1, 5)
    truth = native.NativeRollout(model, 64, 1, 5, "float32", 1)(z, h, actions, None).clone()
    wrong = []

    def work():
        fast = native.NativeRollout(model, 64, 1, 5, "float32", 2)
        wrong.extend(None for _ in range(100) if not torch.equal(fast(z, h, actions, None), truth))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not wrong
    assert not any(thread.is_alive() for thread in threads)


def _child(queue):
    model = model_of()
    z, h, actions, _ = case(model.config, 64, 1, 5)
    queue.put(native.NativeRollout(model, 64, 1, 5, "float32", 3)(z, h, actions, None).sum().item())


@needs_compiler
def test_a_forked_process_starts_threads_of_its_own():
    torch.set_num_threads(1)
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    _child(queue)  # the parent has helpers now
    here = queue.get(timeout=60)
    child = context.Process(target=_child, args=(queue,))
    child.start()
    assert queue.get(timeout=60) == here
    child.join(60)


def test_without_a_compiler_the_model_itself_is_searched_and_the_reason_kept(monkeypatch):
    native.load_library.cache_clear()
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(native.shutil, "which", lambda name: None)
    engine = make_engine(model_of(), 8, 1, 4)
    assert engine.rollout.name == "model"
    assert "no C compiler" in engine.note
    with pytest.raises(native.NativeError, match="no C compiler"):
        make_engine(model_of(), 8, 1, 4, backend="native")
    native.load_library.cache_clear()


@needs_compiler
def test_a_compiler_that_fails_is_told_with_its_words(monkeypatch, tmp_path):
    compiler = tmp_path / "cc"
    compiler.write_text("#!/bin/sh\necho 'not today' >&2\nexit 1\n")
    compiler.chmod(0o755)
    native.load_library.cache_clear()
    monkeypatch.setenv("CC", str(compiler))
    monkeypatch.setenv("JEPA_ROS_CACHE", str(tmp_path / "cache"))
    with pytest.raises(native.NativeError, match="not today"):
        native.load_library("float32")
    assert not list((tmp_path / "cache").iterdir())
    native.load_library.cache_clear()


@needs_compiler
def test_compiled_code_is_cached_and_a_cache_that_cannot_be_written_is_no_obstacle(monkeypatch, tmp_path):
    native.load_library.cache_clear()
    monkeypatch.setenv("JEPA_ROS_CACHE", str(tmp_path))
    native.load_library("float32")
    (first,) = tmp_path.iterdir()
    made = first.stat().st_mtime_ns
    native.load_library.cache_clear()
    native.load_library("float32")
    assert [p.stat().st_mtime_ns for p in tmp_path.iterdir()] == [made]
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("JEPA_ROS_CACHE", str(tmp_path / "file" / "below"))
    native.load_library.cache_clear()
    native.load_library("float32")
    native.load_library.cache_clear()


@needs_compiler
def test_fused_code_that_is_much_slower_than_the_model_is_not_taken(monkeypatch):
    monkeypatch.setenv("CC", "cc")
    slow = native.NativeRollout.__call__

    def crawl(self, *args):
        time.sleep(0.05)
        return slow(self, *args)

    monkeypatch.setattr(native.NativeRollout, "__call__", crawl)
    native.load_library.cache_clear()
    engine = make_engine(model_of(), 8, 1, 4)
    assert engine.rollout.name == "model" and "the model's own" in engine.note
    assert make_engine(model_of(), 8, 1, 4, backend="native").rollout.name.startswith("native")
    native.load_library.cache_clear()


@needs_compiler
@pytest.mark.parametrize("dtype", DTYPES)
def test_fused_rollouts_are_about_as_fast_as_the_model_or_faster_on_this_processor(dtype):
    model, (z, h, actions, _) = model_of(), case(planar_config(), 128, 1, 10)
    fast, own = native.NativeRollout(model, 128, 1, 10, dtype, 1), ModelRollout(model)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        times = {fast: [], own: []}
        for k in range(80):  # the best of 8 of each, and of more where the machine is busy with something else
            for engine, taken in times.items():
                begun = time.perf_counter()
                engine(z, h, actions, None)
                taken.append(time.perf_counter() - begun)
            if k >= 7 and min(times[fast]) < 1.2 * min(times[own]):
                break
    finally:
        torch.set_num_threads(threads)
    assert min(times[fast]) < 1.2 * min(times[own])  # processors with wide bfloat16 units leave little to gain


@needs_compiler
def test_a_predictor_of_another_make_falls_back_to_the_model():
    other = model_of()
    other.predictor.layers[1] = nn.Tanh()
    assert "Linear and ReLU" in make_engine(other, 8, 1, 4).note
    other = model_of()
    other.rollout = lambda z, h, a, n: tuple(0.5 * x for x in WorldModel.rollout(other, z, h, a, n))
    assert "differ" in make_engine(other, 8, 1, 4).note  # the layers look right, but the model does something else
    assert make().search.engine.rollout.name == "model"  # the toy has no layers at all
    assert make().think(START, STATE, GOAL).reason == "ok"


@pytest.mark.parametrize("wrong", [{"backend": "cuda9"}, {"dtype": "int3"}])
def test_unknown_backend_or_type_is_refused_with_the_known_ones(wrong):
    with pytest.raises(SearchError, match="expected one of"):
        make_engine(model_of(), 8, 1, 4, **wrong)


@needs_compiler
@pytest.mark.parametrize("dtype", DTYPES)
def test_plans_are_as_good_and_repeat_exactly_with_fused_code(dtype):
    model, contract = model_of(), load_contract("arena")
    z, goal = torch.randn(64), Goal.from_latent(np.random.default_rng(0).normal(size=64))
    results = {}
    for backend in ("model", "native"):
        config = SearchConfig(backend=backend, dtype=dtype if backend == "native" else "auto", deadline=10.0)
        search = Planner(model, contract, PlannerConfig(config))
        results[backend] = search.think(z, torch.zeros(16), goal, seed=3)
        again = search.think(z, torch.zeros(16), goal, seed=3, iterations=3)
        assert np.array_equal(again.actions, results[backend].actions)
    assert results["native"].cost == pytest.approx(results["model"].cost, rel=0.01)
