# SPDX-License-Identifier: Apache-2.0
"""Anybody's world: registered by a package outside the repo, checked, gathered from and scored by the same commands."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from jepa_ros.commands import cli
from jepa_ros.contract import load_contract
from jepa_ros.learning.data.dataset import Dataset
from jepa_ros.world_model import ModelConfig, WorldModel, save_checkpoint
from jepa_ros.worlds import Observation, WorldError, find, load, names
from jepa_ros.worlds.checker import check, lacking
from jepa_ros.worlds.protocols import Scene, World
from jepa_ros.worlds.truth import heard, told

HERE = Path(__file__).resolve().parent


def install(folder: Path, package: str, entries: str) -> None:
    """What pip leaves behind of a package that registers worlds."""
    info = folder / f"{package}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[jepa_ros.worlds]\n{entries}\n")


@pytest.fixture
def outside(tmp_path, monkeypatch):
    """A folder outside the repo that holds a package with a robot and its world."""
    folder = tmp_path / "site"
    (folder / "puck_package").mkdir(parents=True)
    (folder / "puck_package" / "__init__.py").write_text("")
    shutil.copy(HERE / "puck_world.py", folder / "puck_package" / "world.py")
    data = load_contract("arena").to_dict() | {"name": "puck"}
    data["cameras"][0] |= {"width": 64, "height": 48, "size": [64, 48]}
    data["state"] = {key: data["state"][key] for key in ("odom", "pose", "contact")}
    (folder / "puck_package" / "puck.yaml").write_text(yaml.safe_dump(data))
    install(folder, "puck-package", "puck = puck_package.world:PuckWorld")
    monkeypatch.syspath_prepend(str(folder))
    return folder


def test_a_world_outside_the_repo_is_found_and_checked(outside, capsys):
    assert {"arena", "puck"} <= set(names())
    assert cli.main(["check", "world", "puck"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("puck_package.world: world 'rink' of robot 'puck'") and said.splitlines()[-1] == "ok"


@pytest.mark.slow
def test_data_is_gathered_and_episodes_are_scored_there(outside, tmp_path, capsys):
    line = ["collect", "--robot", "puck", "--out", str(tmp_path / "d"), "--episodes", "2", "--length", "6"]
    assert cli.main([*line, "--workers", "1"]) == 0
    data = Dataset(tmp_path / "d")
    assert data.contract.name == "puck" and data.slice("images", 0).shape == (6, 48, 64, 3)
    assert np.isfinite(data.slice("poses", 0)).all()
    line = ["eval", "--robot", "puck", "--task", "shove", "--policies", "random", "--episodes", "2", "--workers", "1"]
    assert cli.main([*line, "--json", str(tmp_path / "r.json")]) == 0
    report = json.loads((tmp_path / "r.json").read_text())
    assert (report["world"], report["task"], report["robot"]) == ("rink", "shove", "puck")
    assert report["policies"]["random"]["episodes"] == 2 and report["policies"]["random"]["collision_rate"] is None


@pytest.mark.slow
def test_it_is_simulated_and_demonstrated_through_ros(outside, tmp_path):
    torch.manual_seed(0)
    contract = load("puck").contract()
    sizes = ModelConfig.inputs_of(contract)
    model = WorldModel(ModelConfig(**sizes, action_dim=contract.action_dim, readouts=("distance",)))
    save_checkpoint(tmp_path / "model", model, {"contract": contract.to_dict()})
    words = ["demo", "--robot", "puck", "--model", str(tmp_path / "model"), "--out", str(tmp_path / "run")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(outside), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-m", "jepa_ros.commands.cli", *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=180)
    assert done.returncode == 1 and "FAILED: the" in done.stdout, done.stdout + done.stderr  # it knows nothing
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert (result["world"], result["task"], result["protocol"]) == ("rink", "shove", "puck-1")
    assert result["episodes"] == 1 and not result["problems"] and result["scores"][0]["final_distance"] > 0.1
    assert (tmp_path / "run" / "video.mp4").is_file() and (tmp_path / "run" / "bag" / "metadata.yaml").is_file()


def test_a_robot_without_a_world_is_simulated_where_robots_of_its_kind_are(tmp_path):
    def named(robot, **changes):
        path = tmp_path / "mine.yaml"
        path.write_text(yaml.safe_dump(load_contract(robot).to_dict() | {"name": "mine"} | changes))
        return find(path)

    assert named("panda")[1].name == "table" and named("panda")[0].name == "mine"
    assert named("arena")[1].name == "arena"
    with pytest.raises(WorldError, match="robot 'mine' has no world to be simulated in; registered are: arena, "):
        named("arena", kinematics={"kind": "holonomic"})


@dataclass(frozen=True)
class Inner:
    at: tuple[float, ...]


@dataclass(frozen=True)
class Outer:
    inner: tuple[Inner, ...]
    place: np.ndarray
    person: tuple[float, float] | None
    touched: bool


def test_a_truth_that_was_told_is_heard_as_it_was():
    truth = Outer((Inner((1.0, 2.0)), Inner(())), np.array([0.25, 0.5]), (3.0, 4.0), True)
    like = Outer((Inner(()),), np.zeros(2), None, False)
    again = heard(told(truth), like)
    assert again.inner == truth.inner and again.person == truth.person and again.touched is True
    assert isinstance(again.place, np.ndarray) and (again.place == truth.place).all()
    assert heard(told({"at": np.ones(2)}) | {"unknown": "1"}, {"at": np.zeros(2), "kept": 7}).keys() == {"at", "kept"}


def test_two_packages_that_register_one_name_are_one_clear_line(outside, capsys):
    install(outside, "another-one", "puck = another_one:World")
    with pytest.raises(WorldError, match=r"'puck' is registered more than once, by another-one .*, puck-package"):
        load("puck")
    assert cli.main(["check", "world", "puck"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_what_is_not_there_or_cannot_be_made_is_one_clear_line(outside):
    install(outside, "broken", "broken = puck_package.nowhere:World")
    with pytest.raises(WorldError, match=r"world 'broken' \(puck_package.nowhere:World\) cannot be made: ModuleNot"):
        load("broken")
    with pytest.raises(WorldError, match=r"no world is registered for robot 'pick'; known: arena.*puck"):
        load("pick")


def test_the_arena_passes():
    assert check(load("arena")) == []


@pytest.fixture
def puck(outside):
    return load("puck")


def test_a_method_that_is_missing_is_named(puck, monkeypatch):
    module = __import__("puck_package.world", fromlist=["Rink"])
    assert lacking(puck, World) == []
    for owner, name, said in (
        (module.PuckWorld, "score_task", "world: PuckWorld lacks score_task"),
        (module.Rink, "truth", "scene: Rink lacks truth"),
        (module.Rink, "over", "scene: Rink lacks over"),
        (module.Shove, "explore", "task shove: Shove lacks explore"),
        (module.Near, "held", "judge: Near lacks held"),
    ):
        with monkeypatch.context() as patch:
            patch.delattr(owner, name)
            assert check(puck) == [said]
    assert set(lacking(object(), Scene)) == {
        "contract", "rates", "time", "over", "reset", "observe", "command", "advance", "truth", "close",
    }  # fmt: skip


def _leaks(module, patch):
    old = module.Rink.observe

    def observe(self, names=None):
        seen = old(self, names)
        if "pose" in seen.state:
            seen.state["pose"].x = float(self.at[0])
        return seen

    patch.setattr(module.Rink, "observe", observe)
    return "observe(): pose.x is the truth to the last digit"


def _forgets_its_seed(module, patch):
    old = module.Rink.reset

    def reset(self, spec):
        old(self, spec)
        self.rng = np.random.default_rng()

    patch.setattr(module.Rink, "reset", reset)
    return "something is not drawn from its seed"


def _draws_otherwise(module, patch):
    patch.setattr(module.Rink, "picture", lambda self, at: np.zeros((64, 48, 3), np.uint8))
    return "picture of 'image' is (64, 48, 3) uint8, expected (48, 64, 3) uint8"


def _is_solved(module, patch):
    patch.setattr(module.Near, "score", lambda self: {"success": True, "ever": True})
    return "draw(): the task is solved at its start"


def _stops_time(module, patch):
    patch.setattr(module.Rink, "advance", lambda self, seconds: None)
    return "advance(0.02): time moves by 0 s"


def _measures_something_else(module, patch):
    patch.setattr(module.Rink, "rates", {"odom": 25.0, "contact": 20.0})
    return "rates: the contract requires pose, which the scene does not measure"


def _asks_for_too_much(module, patch):
    patch.setattr(module.Wander, "act", lambda self, seen: module.Decision(np.array([9.0, 0.0])))
    return "explore(): command [9.0, 0.0] is not within the contract's action"


def _says_no_word(module, patch):
    patch.setattr(module.Near, "score", lambda self: {"success": False})
    return "score(): 'ever' is missing"


def _gives_arrays(module, patch):
    old = module.Rink.observe

    def observe(self, names=None):
        seen = old(self, names)
        return Observation(seen.stamp, seen.images, {name: np.zeros(3) for name in seen.state})

    patch.setattr(module.Rink, "observe", observe)
    return "state 'odom' is a ndarray, expected OdomIn"


def _fails(module, patch):
    def goal(self, scene, spec):
        raise RuntimeError("no ice")

    patch.setattr(module.Shove, "goal", goal)
    return "goal(): RuntimeError: no ice ("


FAULTS = (
    _fails, _leaks, _forgets_its_seed, _draws_otherwise, _is_solved, _stops_time, _measures_something_else,
    _asks_for_too_much, _says_no_word, _gives_arrays,
)  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS, ids=[f.__name__.strip("_") for f in FAULTS])
def test_a_world_that_breaks_its_word_is_told_so(fault, puck, monkeypatch):
    module = __import__("puck_package.world", fromlist=["Rink"])
    said = fault(module, monkeypatch)
    assert any(said in line for line in check(puck)), check(puck)
