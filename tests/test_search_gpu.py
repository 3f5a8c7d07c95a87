# SPDX-License-Identifier: Apache-2.0
"""CUDA graphs do what the model does; without a GPU, the choice between them and the model's own code."""

import numpy as np
import pytest
import torch
from test_search_native import ODD, case, model_of
from toy_world import planar_config

from jepa_ros.contract import load_contract
from jepa_ros.cost import Goal
from jepa_ros.perception import Perception
from jepa_ros.planning import Planner, PlannerConfig, SearchConfig, SearchError, graphs
from jepa_ros.planning.rollout import ModelRollout, _graph_engine, make_engine
from jepa_ros.world_model import load_checkpoint

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
CPU = torch.device("cpu")


@pytest.fixture
def captured(monkeypatch):
    """Captures without a GPU: what was captured runs as it is, and is counted."""
    calls = []

    def capture(function, inputs):
        shapes = [value.shape for value in inputs]

        def replay(*values):
            assert [value.shape for value in values] == shapes
            calls.append(shapes)
            return function(*values)

        return replay

    monkeypatch.setattr(graphs, "capture", capture)
    return calls


@pytest.mark.parametrize("samples", [1, 3])
def test_a_graph_serves_the_shape_of_an_iteration_and_the_model_the_others(captured, samples):
    model = model_of(ODD)
    plain = ModelRollout(model)
    rollout = graphs.GraphRollout(plain, ODD, 7, samples, 4, CPU)
    usual = case(ODD, 7, samples, 4)
    torch.testing.assert_close(rollout(*usual), plain(*usual))
    assert len(captured) == 1
    for other in (case(ODD, 5, samples, 4), case(ODD, 7, 5, 4), case(ODD, 7, samples, 3)):
        torch.testing.assert_close(rollout(*other), plain(*other))
    assert len(captured) == 1


def test_readouts_of_the_futures_are_graphs_and_others_are_not(captured):
    model = model_of(ODD)
    readouts = graphs.GraphReadouts(model, (7, 1, 4, ODD.latent_dim), CPU)
    zs, goal = torch.randn(7, 1, 4, ODD.latent_dim), torch.randn(ODD.latent_dim)
    torch.testing.assert_close(readouts.read("distance", zs, goal), model.read("distance", zs, goal))
    torch.testing.assert_close(readouts.read("pose", zs), model.read("pose", zs))
    assert len(captured) == 2
    torch.testing.assert_close(readouts.read("pose", goal[None]), model.read("pose", goal[None]))
    assert len(captured) == 2
    assert readouts.config is model.config


def test_graphs_on_a_cpu_are_refused_by_name_and_otherwise_not_asked_for():
    model = model_of()
    with pytest.raises(SearchError, match="model is on cpu; CUDA graphs run on a GPU"):
        make_engine(model, 8, 1, 3, backend="graph")
    assert make_engine(model, 8, 1, 3).rollout.name != graphs.GraphRollout.name


def test_a_model_that_cannot_be_captured_is_searched_by_its_own_code(monkeypatch):
    def refuse(*_):
        raise graphs.GraphError("no CUDA graph of this model: it waits for the device")

    monkeypatch.setattr(graphs, "capture", refuse)
    model, gpu = model_of(), torch.device("cuda")
    monkeypatch.setattr(graphs.torch, "zeros", lambda *shape, device=None: torch.empty(*shape))
    engine = _graph_engine(model, 8, 1, 3, gpu, insist=False)
    assert engine.rollout.name == "model" and "waits for the device" in engine.note
    with pytest.raises(graphs.GraphError, match="waits for the device"):
        _graph_engine(model, 8, 1, 3, gpu, insist=True)


@needs_gpu
@pytest.mark.parametrize("samples", [1, 4])
@pytest.mark.parametrize("config", [planar_config(), ODD])
def test_graphs_agree_with_the_model_on_a_gpu(config, samples):
    model = model_of(config).to("cuda")
    engine = make_engine(model, 33, samples, 6)
    assert engine.rollout.name == "CUDA graph"
    for _ in range(3):  # a replay must not remember the one before
        inputs = [None if x is None else torch.randn_like(x).cuda() for x in case(config, 33, samples, 6)]
        zs, goal = engine.rollout(*inputs), torch.randn(config.latent_dim, device="cuda")
        torch.testing.assert_close(zs, ModelRollout(model)(*inputs), rtol=1e-4, atol=1e-4)
        for name, args in (("distance", (zs, goal)), ("pose", (zs,))):
            fast, own = engine.readouts.read(name, *args), model.read(name, *args)
            torch.testing.assert_close(fast, own, rtol=1e-4, atol=1e-4)


@needs_gpu
@pytest.mark.parametrize("method", ["icem", "mppi", "random", "gradient"])
def test_a_plan_on_a_gpu_costs_what_it_costs_on_a_cpu(method):
    contract, costs = load_contract("arena"), {}
    z, goal = np.random.default_rng(0).normal(size=(2, 64)).astype(np.float32)
    for device in ("cpu", "cuda"):
        model, _ = load_checkpoint("arena", contract, device)
        search = Planner(model, contract, PlannerConfig(SearchConfig(method=method, dtype="float32", backend="auto")))
        search.warm_up()
        result = search.think(z, np.zeros(model.config.state_dim, np.float32), Goal.from_latent(goal), iterations=1)
        costs[device] = result.cost
    assert costs["cuda"] == pytest.approx(costs["cpu"], rel=1e-3)


@needs_gpu
def test_the_planner_drives_on_a_gpu_with_map_guardrails_noise_and_vigilance():
    contract = load_contract("arena")
    model, card = load_checkpoint("arena", contract, "cuda")
    config = PlannerConfig(search=SearchConfig(noise_samples=4, samples=32))
    planner = Planner(model, contract, config, card)
    perception = Perception(model, contract)
    rng = np.random.default_rng(0)
    height, width = contract.cameras[0].height, contract.cameras[0].width
    pictures = rng.integers(0, 255, (6, height, width, 3), dtype=np.uint8)
    planner.set_goal(Goal.from_latent(perception.encode(pictures[-1])[0]))
    outputs = [planner.step(perception.encode(p), 0.2 * i) for i, p in enumerate(pictures[:-1])]
    assert all(o.status["reason"] in ("ok", "infeasible", "arrived") for o in outputs)
    assert planner.search.backend == "CUDA graph"
