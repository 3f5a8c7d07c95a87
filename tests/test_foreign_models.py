# SPDX-License-Identifier: Apache-2.0
"""Other people's models are searched by our planner, ours by their solvers; real classes, small, random weights."""

import contextlib
import io
import json
import types

import numpy as np
import pytest
import torch
from test_search_bench import small_model
from toy_world import ToyWorld, toy_contract

from jepa_ros.commands import cli
from jepa_ros.contract import load_contract
from jepa_ros.cost import Goal, TaskCost
from jepa_ros.perception import Perception
from jepa_ros.perception.vjepa2 import VJepa2Encoder, VJepa2Error
from jepa_ros.planning import Search, SearchConfig
from jepa_ros.world_model import ModelConfig, WorldModel
from jepa_ros.world_model.foreign import COST_ALONE, Costable, CostWorld, ForeignModelError, LatentWorld

SETTINGS = SearchConfig(samples=64, iterations=6, deadline=10.0, converge_tol=0.0)


class ByProtocol(torch.nn.Module):
    """A point that the actions move, behind stable-worldmodel's protocol: two tokens of one value each."""

    def __init__(self):
        super().__init__()
        self.encoded = 0

    def encode(self, info):
        self.encoded += 1
        info["emb"] = info["pixels"].mean((-1, -2))[..., :2, None]  # (B, T, 2 tokens, 1)
        return info

    def rollout(self, info, action_sequence):
        if "emb" not in info:
            info["emb"] = self.encode({"pixels": info["pixels"][:, 0]})["emb"][:, None].expand(
                -1, action_sequence.shape[1], -1, -1, -1
            )
        moved = info["emb"][:, :, -1:] + 0.1 * action_sequence.cumsum(2)[..., None]
        info["predicted_emb"] = torch.cat([info["emb"], moved], dim=2)
        return info

    def get_cost(self, info, action_candidates):
        goal = info["goal"].mean((-1, -2))[:, :, -1, :2]  # (B, S, 2)
        end = self.rollout(info, action_candidates)["predicted_emb"][:, :, -1, :, 0]
        return (end - goal).square().sum(-1) - 5.0  # a cost may be negative


def picture(x, y):
    return torch.tensor([x, y, 0.0])[:, None, None].expand(3, 8, 8).clone()


def end_of(actions, start=(0.0, 0.0)):
    return np.array(start) + 0.1 * actions.sum(0)


def test_a_model_with_encode_and_rollout_is_searched():
    world = LatentWorld(ByProtocol(), 2, picture(0, 0))
    search = Search(world, SETTINGS, toy_contract())
    goal = Goal.from_latent(world.encode_pictures(picture(0.4, -0.3)[None])[0].numpy())
    result = search.plan(world.encode_pictures(picture(0, 0)[None])[0], world.initial_state(1)[0], goal)
    assert result.reason == "ok" and search.backend == "model"
    assert np.abs(end_of(result.actions) - (0.4, -0.3)).max() < 0.1
    assert result.cost < 0.7 * result.history[0][1] or result.cost < 0.05


def test_a_model_with_get_cost_alone_is_searched():
    world = CostWorld(ByProtocol(), 2)
    search = Search(world, SearchConfig(samples=64, iterations=8, deadline=10.0, weights=COST_ALONE), toy_contract())
    world.observe({"pixels": picture(0, 0)[None, None], "goal": picture(0.4, -0.3)[None, None]})
    result = search.plan(torch.zeros(1), world.initial_state(1)[0], world.goal)
    assert np.abs(end_of(result.actions) - (0.4, -0.3)).max() < 0.1
    assert result.cost == pytest.approx(-5.0, abs=0.05)


def test_a_picture_is_encoded_once_a_plan():
    model = ByProtocol()
    world = CostWorld(model, 2)
    search = Search(world, SearchConfig(samples=16, elites=4, iterations=5, deadline=10.0, weights=COST_ALONE),
                    toy_contract())  # fmt: skip
    world.observe({"pixels": picture(0, 0)[None, None], "goal": picture(0.4, 0)[None, None]})
    search.plan(torch.zeros(1), world.initial_state(1)[0], world.goal, iterations=5)
    assert model.encoded == 1


@pytest.mark.parametrize("wrong", ["encode", "rollout", "get_cost"])
def test_a_model_that_breaks_the_protocol_is_named_with_what_it_did(wrong):
    model = ByProtocol()
    setattr(model, wrong, lambda *_: {"emb": torch.zeros(3), "predicted_emb": torch.zeros(1, 2)})
    with pytest.raises(ForeignModelError, match=f"{wrong} of ByProtocol"):
        LatentWorld(model, 2, picture(0, 0))
        world = CostWorld(model, 2)
        world.observe({"pixels": picture(0, 0)[None, None], "goal": picture(0.4, 0)[None, None]})
        world.rollout(torch.zeros(4, 1), torch.zeros(4, 1), torch.zeros(4, 3, 2))


def test_a_failing_call_is_one_error_with_its_reason():
    with pytest.raises(ForeignModelError, match="rollout of ByProtocol failed: RuntimeError"):
        LatentWorld(ByProtocol(), 5, picture(0, 0))


def test_our_model_costs_the_same_through_their_protocol():
    model = small_model()
    costable = Costable(model)
    z, goal = torch.randn(3, model.config.latent_dim), torch.randn(3, model.config.latent_dim)
    actions = 2 * torch.rand(3, 5, 4, 2) - 1
    info = {"z": z[:, None].expand(-1, 5, -1), "goal_z": goal[:, None].expand(-1, 5, -1)}
    costs = costable.get_cost(info, actions)
    assert costs.shape == (3, 5)
    zs, _ = model.rollout(z[1].expand(5, -1), model.initial_state(5), actions[1])
    assert torch.allclose(costs[1], TaskCost(model)(zs, Goal.from_latent(goal[1].numpy()))[0], atol=1e-6)


def test_our_model_takes_pictures_through_their_protocol():
    model = small_model()
    pictures = torch.randint(0, 255, (2, 64, 64, 3), dtype=torch.uint8)
    info = {"pixels": pictures[:1, None], "goal": pictures[1:, None]}
    info = {k: v[:, None].expand(1, 6, *v.shape[1:]) for k, v in info.items()}
    by_picture = Costable(model).get_cost(info, torch.zeros(1, 6, 4, 2))
    z = model.encode(pictures)
    by_latent = Costable(model).get_cost({"z": z[:1, None], "goal_z": z[1:, None]}, torch.zeros(1, 6, 4, 2))
    assert torch.allclose(by_picture, by_latent, atol=1e-5)


@pytest.fixture
def their_package():
    """stable-worldmodel without its top-level module, which imports data sets and simulators."""
    pytest.importorskip("loguru", reason="stable-worldmodel is not installed")
    import importlib.util
    import sys

    spec = importlib.util.find_spec("stable_worldmodel")
    if spec is None:
        pytest.skip("stable-worldmodel is not installed")
    package = types.ModuleType("stable_worldmodel")
    package.__path__ = list(spec.submodule_search_locations)
    kept = {name: sys.modules.pop(name) for name in list(sys.modules) if name.startswith("stable_worldmodel")}
    sys.modules["stable_worldmodel"] = package
    yield package
    for name in [name for name in sys.modules if name.startswith("stable_worldmodel")]:
        del sys.modules[name]
    sys.modules.update(kept)


def test_their_cem_plans_in_our_model(their_package):
    pytest.importorskip("gymnasium")
    from gymnasium.spaces import Box
    from stable_worldmodel.solver.cem import CEMSolver

    class Toy(ToyWorld):
        def encode(self, images):
            raise AssertionError("latents were given")

    solver = CEMSolver(Costable(Toy()), num_samples=64, n_steps=8, topk=8)
    solver.configure(
        action_space=Box(-1, 1, (1, 2)), n_envs=1, config=types.SimpleNamespace(horizon=10, action_block=1)
    )
    with contextlib.redirect_stdout(io.StringIO()):
        plan = solver.solve({"z": torch.zeros(1, 2), "goal_z": torch.tensor([[0.4, -0.3]])})["actions"][0]
    assert np.abs(end_of(plan.clamp(-1, 1).numpy()) - (0.4, -0.3)).max() < 0.15


def tiny_lewm(actions):
    """Their LeWM class around a small ViT and their own predictor, weights random."""
    pytest.importorskip("einops")
    transformers = pytest.importorskip("transformers")
    from stable_worldmodel.wm.lewm.lewm import LeWM
    from stable_worldmodel.wm.lewm.module import Embedder, Predictor

    torch.manual_seed(0)
    vit = transformers.ViTModel(
        transformers.ViTConfig(
            hidden_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=64,
            image_size=32,
            patch_size=8,
        ),
        add_pooling_layer=False,
    )
    predictor = Predictor(num_frames=3, depth=1, heads=2, mlp_dim=64, input_dim=32, hidden_dim=32, dim_head=16)
    return LeWM(vit, predictor, Embedder(input_dim=actions, smoothed_dim=actions, emb_dim=32)).eval()


@pytest.fixture
def wm_package(their_package):
    """The folder of their models, without the imports of its __init__ (data sets again)."""
    import sys

    package = types.ModuleType("stable_worldmodel.wm")
    package.__path__ = [f"{their_package.__path__[0]}/wm"]
    sys.modules["stable_worldmodel.wm"] = package
    return package


def test_their_lewm_is_searched_by_rollout_and_by_cost(wm_package):
    model = tiny_lewm(2)
    here, goal = torch.rand(2, 3, 32, 32)
    world = LatentWorld(model, 2, here)
    settings = SearchConfig(samples=16, elites=4, iterations=3, horizon=4, deadline=10.0)
    search = Search(world, settings, load_contract("arena"))
    z, target = world.encode_pictures(torch.stack([here, goal]))
    result = search.plan(z, world.initial_state(1)[0], Goal.from_latent(target.numpy()))
    assert result.reason == "ok" and result.history[-1][1] <= result.history[0][1]
    costs = CostWorld(model, 2)
    costs.observe({"pixels": here[None, None], "goal": goal[None, None], "action": torch.zeros(1, 1, 2)})
    search = Search(costs, SearchConfig(samples=16, elites=4, iterations=3, horizon=4, deadline=10.0,
                                        weights=COST_ALONE), toy_contract())  # fmt: skip
    result = search.plan(torch.zeros(1), costs.initial_state(1)[0], costs.goal)
    info = {"pixels": here[None, None, None], "goal": goal[None, None, None], "action": torch.zeros(1, 1, 1, 2)}
    theirs = float(model.get_cost(info, torch.from_numpy(result.actions)[None, None])[0, 0])
    assert result.cost == pytest.approx(theirs, rel=1e-4)


def tiny_vjepa2(**changes):
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.VJEPA2Config(
        **{"crop_size": 32, "patch_size": 8, "frames_per_clip": 2, "tubelet_size": 2, "hidden_size": 48,
           "num_hidden_layers": 2, "num_attention_heads": 4, "pred_hidden_size": 24, "pred_num_hidden_layers": 1,
           "pred_num_attention_heads": 2, **changes}
    )  # fmt: skip
    return transformers.VJEPA2Model(config)


def test_a_vjepa2_encoder_stands_in_for_perception(tmp_path):
    tiny_vjepa2().save_pretrained(tmp_path)
    contract = load_contract("arena")
    model = WorldModel(ModelConfig(width=32, encoder_width=8)).eval().requires_grad_(False)
    model.encoder = VJepa2Encoder.from_folder(tmp_path, model.config.latent_dim)
    perception = Perception(model, contract)
    camera = contract.cameras[0]
    images = np.random.default_rng(0).integers(0, 255, (2, camera.height, camera.width, 3), dtype=np.uint8)
    here, goal = (perception.encode(image) for image in images)
    assert here.size == model.config.latent_dim and np.isfinite(here).all() and 0.1 < here.std() < 10.0
    assert np.array_equal(here, perception.encode(images[0])) and not np.allclose(here, goal)
    result = Search(model, SearchConfig(samples=16, elites=4, deadline=10.0), contract).plan(
        here.reshape(-1), np.zeros(model.config.state_dim), Goal.from_latent(goal)
    )
    assert result.reason == "ok"


def test_what_is_no_vjepa2_is_refused(tmp_path):
    with pytest.raises(VJepa2Error, match="expected a V-JEPA 2 model"):
        VJepa2Encoder(torch.nn.Linear(2, 2), 8)
    pytest.importorskip("transformers")
    with pytest.raises(VJepa2Error, match="no V-JEPA 2 model"):
        VJepa2Encoder.from_folder(tmp_path, 8)


def check(folder, capsys):
    code = cli.main(["check", "model", str(folder)])
    captured = capsys.readouterr()
    return code, captured.out + captured.err


def test_a_vjepa2_folder_is_checked_against_the_contract_and_timed(tmp_path, capsys):
    tiny_vjepa2().save_pretrained(tmp_path)
    capsys.readouterr()
    code, said = check(tmp_path, capsys)
    assert code == 0 and "V-JEPA 2 encoder" in said and "budget" in said and "ok" in said.splitlines()


def test_a_folder_of_theirs_is_checked_against_the_contract_and_timed(wm_package, tmp_path, capsys):
    torch.save(tiny_lewm(2).state_dict(), tmp_path / "weights.pt")
    part = {"_target_": "stable_worldmodel.wm.lewm.module.Embedder", "input_dim": 2, "smoothed_dim": 2, "emb_dim": 32}
    vit = {"_target_": "transformers.ViTConfig", "image_size": 64, "patch_size": 8}
    (tmp_path / "config.json").write_text(
        json.dumps({"_target_": "stable_worldmodel.wm.lewm.lewm.LeWM", "action_encoder": part, "encoder": vit})
    )
    code, said = check(tmp_path, capsys)
    assert code == 2 and "LeWM" in said and "predictor" in said  # one argument is missing


def test_a_config_cannot_name_any_class(tmp_path, capsys):
    (tmp_path / "config.json").write_text(json.dumps({"_target_": "os.system", "command": "true"}))
    (tmp_path / "weights.pt").write_bytes(b"")
    code, said = check(tmp_path, capsys)
    assert code == 2 and "config.json._target_: 'os.system' is none of" in said


def test_weights_are_loaded_without_running_code(wm_package, tmp_path, capsys):
    class Evil:
        def __reduce__(self):
            return (print, ("ran",))

    torch.save({"x": Evil()}, tmp_path / "weights.pt")
    (tmp_path / "config.json").write_text(
        json.dumps({"_target_": "torch.nn.Linear", "in_features": 2, "out_features": 2})
    )
    code, said = check(tmp_path, capsys)
    assert code == 2 and "weights.pt" in said and "\nran" not in said
