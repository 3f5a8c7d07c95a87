# SPDX-License-Identifier: Apache-2.0
"""`jepa-ros check`: good files pass, and what is wrong is said in one line."""

from __future__ import annotations

import json

import pytest
import yaml
from toy_world import planar_config

from benchmarks.rigs.gate.rig import contract_of
from jepa_ros.commands import cli
from jepa_ros.commands.check import contract_warnings
from jepa_ros.contract import RobotContract, load_contract
from jepa_ros.planning import Search
from jepa_ros.safety import GateConfig, GateConfigError


@pytest.fixture
def arena() -> dict:
    return load_contract("arena").to_dict()


def check_robot(tmp_path, data) -> int:
    path = tmp_path / "robot.yaml"
    path.write_text(yaml.safe_dump(data))
    return cli.main(["check", "robot", str(path)])


def test_the_shipped_robot_passes(capsys):
    assert cli.main(["check", "robot", "arena"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "ok"


def test_a_shipped_arm_is_checked_against_its_urdf(capsys, tmp_path):
    pytest.importorskip("pinocchio")
    assert cli.main(["check", "robot", "panda"]) == 0
    said = capsys.readouterr().out
    assert "arm of 7 joints from panda_link0 to panda_grasptarget" in said and "tip at 0.480" in said
    data = load_contract("panda").to_dict()
    data["kinematics"]["urdf"] = "missing.urdf"
    assert check_robot(tmp_path, data) != 0
    error = capsys.readouterr().err.strip()
    assert "missing.urdf: no such file" in error and "\n" not in error


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d: d["action"][0].update(low=0.5, high=-0.5), "action[0]"),
        (lambda d: d["action"][0].update(unit="km/h"), "km/h"),
        (lambda d: d.update(rat=5), "rat"),
        (lambda d: d.update(guardrails=[{"kind": "moat"}]), "guardrails[0]"),
    ],
    ids=["low-over-high", "unit", "misspelt-key", "guardrail"],
)
def test_a_mistake_is_one_line_that_names_file_and_key(tmp_path, arena, capsys, change, said):
    change(arena)
    assert check_robot(tmp_path, arena) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {tmp_path / 'robot.yaml'}") and error.count("\n") == 1
    assert said in error


def test_what_is_allowed_but_unwise_is_warned_of(arena):
    arena["cameras"][0]["rate"] = 2.0
    arena["watchdog"]["command_timeout"] = 0.1
    said = " ".join(contract_warnings(RobotContract.from_dict(arena)))
    assert "some steps will see no new image" in said
    assert "command_timeout" in said and "image_timeout" in said


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """An untrained model of the arena's sizes, saved as a checkpoint."""
    import torch

    from jepa_ros.world_model import WorldModel
    from jepa_ros.world_model.checkpoint import save_checkpoint

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("model")
    save_checkpoint(folder, WorldModel(planar_config()), {"contract": load_contract("arena").to_dict()})
    return folder


def test_a_checkpoint_is_tried_and_timed(checkpoint, capsys):
    code = cli.main(["check", "model", str(checkpoint)])
    out = capsys.readouterr().out
    assert code == 0, out
    assert "parameters" in out and "p50 / p99" in out and out.splitlines()[-1] == "ok"


def test_a_checkpoint_is_tried_with_all_that_it_sees_and_feels_and_an_unused_readout_is_told(tmp_path, capsys):
    import torch

    from jepa_ros.world_model import ModelConfig, WorldModel, save_checkpoint

    torch.manual_seed(0)
    panda = load_contract("panda")
    sizes = {"action_dim": panda.action_dim, "readouts": ("distance",), "width": 16, "encoder_width": 8}
    verdict = {"tip": {"r2": [0.1, 0.2, 0.3], "least": 0.8, "used": False}}
    model = WorldModel(ModelConfig(**ModelConfig.inputs_of(panda), **sizes))
    save_checkpoint(tmp_path, model, {"contract": panda.to_dict(), "metrics": {"readouts": verdict}})
    code = cli.main(["check", "model", str(tmp_path)])
    said = capsys.readouterr().out
    assert code == 0, said
    assert "readout 'tip' is not used" in said and "read 'distance': steps [steps]" in said


def test_a_checkpoint_whose_search_is_too_slow_for_this_machine_does_not_fit(checkpoint, capsys, monkeypatch):
    monkeypatch.setattr(Search, "warm_up", lambda self, problem: setattr(self, "fastest", 9.0))
    assert cli.main(["check", "model", str(checkpoint)]) == 1
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("does not fit") and "9000 ms" in last and "search.deadline" in last


def test_a_checkpoint_of_another_robot_is_refused_with_the_difference(checkpoint, tmp_path, arena, capsys):
    arena["action"][0]["high"] = 0.3
    (tmp_path / "other.yaml").write_text(yaml.safe_dump(arena))
    assert cli.main(["check", "model", str(checkpoint), "--robot", str(tmp_path / "other.yaml")]) == 2
    assert "action[0].high: 0.4 != 0.3" in capsys.readouterr().err


def test_a_truncated_checkpoint_is_refused(checkpoint, tmp_path, capsys):
    for file in checkpoint.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    assert cli.main(["check", "model", str(tmp_path)]) == 2
    assert "truncated" in capsys.readouterr().err


def test_weights_that_are_not_finite_are_refused(checkpoint, tmp_path, capsys):
    import hashlib

    from safetensors.torch import load_file, save_file

    tensors = load_file(checkpoint / "model.safetensors")
    name = sorted(tensors)[0]
    tensors[name].view(-1)[0] = float("nan")
    save_file(tensors, tmp_path / "model.safetensors")
    card = json.loads((checkpoint / "card.json").read_text())
    card["weights_sha256"] = hashlib.sha256((tmp_path / "model.safetensors").read_bytes()).hexdigest()
    (tmp_path / "card.json").write_text(json.dumps(card))
    assert cli.main(["check", "model", str(tmp_path)]) == 2
    assert name in capsys.readouterr().err


def test_a_second_camera_is_told_to_be_for_recording_alone(arena):
    further = {**arena["cameras"][0], "name": "left"}
    said = contract_warnings(RobotContract.from_dict({**arena, "cameras": [*arena["cameras"], further]}))
    assert any("camera 'left' (left) is recorded and played back, but no model looks at it" in line for line in said)


@pytest.mark.parametrize(
    ("robot", "change", "said"),
    [
        ("arm", {"state": {}}, "has to declare the state topic 'joint_states'"),
        ("joints", {"action": [{"name": "shoulder", "unit": "rad", "low": -1.0, "high": 1.0},
                               {"name": "elbow", "unit": "rad/s", "low": -1.0, "high": 1.0}]}, "mixes positions"),
        ("arm", {"guardrails": [{"name": "cell", "kind": "workspace", "unit": "m", "low": [0, 0], "high": [1, 1]}]},
         "guardrail 'cell' (workspace)"),
        ("base", {"guardrails": [{"name": "ends", "kind": "joint_limits", "unit": "rad", "low": [0], "high": [1]}]},
         "guardrail 'ends'"),
        ("drone", {"guardrails": [{"name": "gap", "kind": "obstacle_distance", "unit": "m", "min_distance": 0.1}]},
         "guardrail 'gap' (obstacle_distance)"),
    ],
)  # fmt: skip
def test_what_the_gate_cannot_guard_is_refused_by_the_check_as_by_the_gate(tmp_path, capsys, robot, change, said):
    data = {**contract_of(robot).to_dict(), **change}
    assert check_robot(tmp_path, data) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {tmp_path / 'robot.yaml'}") and error.count("\n") == 1 and said in error
    with pytest.raises(GateConfigError) as found:
        GateConfig.from_contract(RobotContract.from_dict(data))
    assert said in str(found.value)
