# SPDX-License-Identifier: Apache-2.0
"""One table: `jepa-ros up` and the launch files start the same processes, parameters and remappings."""

from __future__ import annotations

import importlib.util
import json
import sys
import types
from pathlib import Path

import pytest
import yaml

from jepa_ros.bringup import graph as bringup
from jepa_ros.bringup.arguments import KINDS, BringupError, arguments
from jepa_ros.bringup.spec import ros_arguments, yaml_value
from jepa_ros.commands.up import parse_settings
from jepa_ros.contract import RobotContract, load_contract
from jepa_ros.errors import JepaRosError
from jepa_ros.ros_env import TRANSPORT_CHOICES, UDP_PROFILE

ROOT = Path(__file__).resolve().parents[1]


# ---------------------------------------------------------------- stand-ins for launch and launch_ros


class Action:
    """Remembers what it was made with, as the real launch actions do."""

    def __init__(self, *positional, **named):
        self.positional, self.named = positional, named


def _module(name: str, **members) -> types.ModuleType:
    module = types.ModuleType(name)
    vars(module).update(members)
    return module


@pytest.fixture
def launch_stand_ins(monkeypatch):
    """Small stand-ins, so that the parity test runs where ROS's launch is not installed, and never skips."""

    class LaunchConfiguration(Action):
        def perform(self, context):
            return context[self.positional[0]]

    class LaunchDescription:
        def __init__(self, entities):
            self.entities = entities

    kinds = {
        name: type(name, (Action,), {})
        for name in (
            "DeclareLaunchArgument", "ExecuteProcess", "Node", "OpaqueFunction", "SetEnvironmentVariable", "Shutdown"
        )
    }  # fmt: skip
    modules = [
        _module("launch", LaunchDescription=LaunchDescription),
        _module("launch.actions", **kinds),
        _module("launch.substitutions", LaunchConfiguration=LaunchConfiguration),
        _module("launch_ros"),
        _module("launch_ros.actions", Node=kinds["Node"]),
        _module("launch_ros.parameter_descriptions", ParameterValue=type("ParameterValue", (Action,), {})),
    ]
    for module in modules:
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return kinds


def test_ros2_launch_waits_for_the_gate_as_long_as_its_stops_are_sent(launch_stand_ins, tmp_path):
    from jepa_ros.bringup.ros_launch import actions

    slow = load_contract("arena").to_dict()
    slow["watchdog"]["exit_duration"] = 12.0
    (tmp_path / "slow.yaml").write_text(yaml.safe_dump(slow))
    gate, sim, *_ = actions("sim", {"robot": str(tmp_path / "slow.yaml"), "model": "arena"})
    assert float(gate.named["sigterm_timeout"]) > 12.0 > float(sim.named["sigterm_timeout"])


def launched(kind: str, given: dict[str, str], kinds) -> tuple[dict[str, str], list[dict]]:
    """Declared arguments with their defaults, and the processes that the launch file `kind` would start."""
    spec = importlib.util.spec_from_file_location(f"{kind}_launch", ROOT / "launch" / f"{kind}.launch.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    entities = module.generate_launch_description().entities
    arguments = [e for e in entities if type(e).__name__ == "DeclareLaunchArgument"]
    declared = {e.positional[0]: e.named["default_value"] for e in arguments}
    opaque = next(e for e in entities if type(e).__name__ == "OpaqueFunction")
    processes = []
    for node in opaque.named["function"]({**declared, **given}):
        if type(node).__name__ == "ExecuteProcess":
            processes.append({"executable": node.named["name"], "command": node.named["cmd"][1:]})
            continue
        (parameters,) = node.named["parameters"]
        plain = {k: v.positional[0] if isinstance(v, Action) else v for k, v in parameters.items()}
        for key, value in parameters.items():
            # A text that launch may read as something else must be marked as text.
            assert isinstance(value, Action) == isinstance(plain[key], str), key
        processes.append(
            {
                "executable": node.named["executable"],
                "name": node.named["name"],
                "namespace": node.named["namespace"],
                "parameters": plain,
                "remappings": list(node.named["remappings"]),
                "log_level": node.named["ros_arguments"][1],
                "respawn": node.named.get("respawn", False),
                "stops_all": "on_exit" in node.named,
            }
        )
    return declared, processes


def upped(kind: str, given: dict[str, str]) -> list[dict]:
    """The processes that `jepa-ros up` would start, read back from their command lines."""
    processes = []
    for spec in bringup.graph(kind, given).nodes:
        if spec.command:
            processes.append({"executable": spec.executable, "command": ["-m", *spec.words]})
            continue
        words = ros_arguments(spec)
        assert words[0] == "--ros-args"
        found = {"parameters": {}, "remappings": [], "name": None, "namespace": None}
        for flag, value in zip(words[1::2], words[2::2], strict=True):
            key, _, rest = value.partition(":=")
            if flag == "--log-level":
                found["log_level"] = value
            elif flag == "-p":
                found["parameters"][key] = yaml.safe_load(rest)
            elif key == "__node":
                found["name"] = rest
            elif key == "__ns":
                found["namespace"] = rest
            else:
                found["remappings"].append((key, rest))
        found |= {"executable": spec.executable, "respawn": spec.respawn, "stops_all": spec.required}
        processes.append(found)
    return processes


CASES = [
    ("sim", {}),
    ("sim", {"composed": "true", "seed": "7", "start": "0.1,-0.2,1.5", "namespace": "left/robot", "log_level": "warn"}),
    ("sim", {"auto_enable": "false", "layout": "random", "real_time_factor": "0.5", "threads": "2"}),
    ("robot", {}),
    ("robot", {"camera": "false", "image": "/cam/image_raw", "odom": "/base/odom", "command_topic": "/base/cmd_vel"}),
    ("robot", {"device": "0", "command_kind": "twist", "compressed": "true", "estop": "/panel/stop"}),
    ("sim", {"record": "true", "bag": "robots", "namespace": "left"}),
    ("robot", {"brain": "false", "record": "true"}),
    ("robot", {"gate": "false", "camera": "false", "composed": "true"}),
    ("replay", {"auto_enable": "false"}),
    ("sim", {"own_clock": "true", "namespace": "left", "brain": "false", "record": "true"}),
    ("fleet", {"robots": "left, right/base", "workers": "3", "own_clock": "true"}),
    ("replay", {"play": "robots", "rate": "2", "loop": "true"}),
]


@pytest.mark.parametrize(("kind", "given"), CASES)
def test_launch_file_and_up_start_the_same(kind, given, launch_stand_ins):
    declared, by_launch = launched(kind, given, launch_stand_ins)
    by_up = upped(kind, given)
    # Compared as text: NaN, which stands for "draw it", is not equal to itself.
    assert json.dumps(by_launch, sort_keys=True) == json.dumps(by_up, sort_keys=True)
    assert declared == {a.name: a.default_text for a in arguments(kind)}


@pytest.mark.parametrize("kind", [k for k in KINDS if k != "fleet"])
def test_the_gate_starts_first_and_its_end_stops_everything(kind):
    first, *others = bringup.graph(kind).nodes
    assert first.executable == "safety_gate"
    assert first.required and not first.respawn
    assert all(n.respawn for n in others if n.lifecycle)


@pytest.mark.parametrize("kind", KINDS)
def test_every_executable_is_a_module_and_a_script(kind):
    for given in ({"robots": "r1,r2"},) if kind == "fleet" else ({}, {"composed": "true"}):
        for node in bringup.graph(kind, given).nodes:
            assert importlib.util.find_spec(node.module) is not None
            assert (ROOT / "scripts" / node.executable).is_file()


def test_a_recorder_takes_what_the_table_gives_it():
    from argparse import ArgumentParser

    from jepa_ros.bags import record

    spec = bringup.graph("sim", {"record": "true", "bag": "robots", "namespace": "left"}).find("recorder")
    assert not spec.required and not spec.respawn
    parser = ArgumentParser()
    record.add_arguments(parser)
    options = parser.parse_args(spec.words[1:])
    assert (options.output, options.namespace, options.use_sim_time) == ("robots", "/left", True)


@pytest.mark.parametrize("given", ["arena", ""])
def test_a_recorder_is_given_the_folder_of_a_shipped_model(given):
    words = bringup.graph("sim", {"record": "true", "model": given}).find("recorder").words
    assert (Path(words[words.index("--model") + 1]) / "card.json").is_file()


def test_a_player_takes_what_the_table_gives_it():
    from argparse import ArgumentParser

    from jepa_ros.bags import replay

    spec = bringup.graph("replay", {"play": "robots", "rate": "2.5", "loop": "true"}).find("player")
    parser = ArgumentParser()
    replay.add_arguments(parser)
    options = parser.parse_args(spec.words[2:])
    assert (options.bag, options.rate, options.loop) == ("robots", 2.5, True)


def test_names_are_relative():
    for node in bringup.graph("robot", {"image": "cam", "goal_image": "goal", "scan": "laser"}).nodes:
        assert all(not source.startswith("/") for source, _ in node.remappings)


@pytest.mark.parametrize("value", ["0", "true", "1.5", "a: 1\nb: [x, 'y']", "", "null", '"quoted"', "é {}"])
def test_text_parameters_stay_text(value):
    assert yaml.safe_load(yaml_value(value)) == value


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"robt": "arena"}, ["robt", "robot"]),
        ({"gui": "yes"}, ["gui", "true or false"]),
        ({"seed": "1.5"}, ["seed", "whole number"]),
        ({"layout": "spiral"}, ["layout", "fixed", "random"]),
        ({"start": "1,2"}, ["start", "3 numbers"]),
        ({"guardrails": "/no/such/file.yaml"}, ["guardrails", "/no/such/file.yaml"]),
        ({"robot": "no_such_robot"}, ["no_such_robot"]),
    ],
)
def test_a_wrong_argument_is_named(given, words):
    with pytest.raises(JepaRosError) as caught:
        bringup.graph("sim", given)
    assert all(word in str(caught.value) for word in words)


def test_settings_are_read_as_ros2_launch_reads_them():
    assert parse_settings(["a:=1", "b:=x:=y", "c:="]) == {"a": "1", "b": "x:=y", "c": ""}
    for wrong in (["a=1"], [":=1"], ["a:=1", "a:=2"]):
        with pytest.raises(BringupError):
            parse_settings(wrong)


def test_a_graph_may_lack_its_gate_or_its_brain_but_not_everything():
    robot = bringup.graph("robot", {"brain": "false"})
    assert robot.gate is not None and [n.executable for n in robot.nodes] == ["safety_gate", "camera"]
    assert robot.gate.parameters["model"] == ""  # no model was named: the gate accepts any
    named = bringup.graph("robot", {"brain": "false", "model": "models/arena"}).gate
    assert named is not None and named.parameters["model"] == "models/arena"
    assert bringup.graph("robot", {"gate": "false"}).gate is None
    with pytest.raises(BringupError, match="nothing is left"):
        bringup.graph("robot", {"gate": "false", "brain": "false", "camera": "false"})


def test_data_goes_by_udp_and_large_images_by_shared_memory_unless_the_transport_was_chosen(monkeypatch, tmp_path):
    for name in TRANSPORT_CHOICES:
        monkeypatch.delenv(name, raising=False)
    plain = load_contract("arena").to_dict()
    assert bringup.environment(RobotContract.from_dict(plain))[TRANSPORT_CHOICES[0]] == str(UDP_PROFILE)
    plain["cameras"][0] |= {"width": 640, "height": 480}
    large = RobotContract.from_dict(plain)
    assert "segment_size" in Path(bringup.environment(large)[TRANSPORT_CHOICES[0]]).read_text()
    monkeypatch.setenv(TRANSPORT_CHOICES[0], str(UDP_PROFILE))  # a command of this package has set it before
    assert "segment_size" in Path(bringup.environment(large)[TRANSPORT_CHOICES[0]]).read_text()
    monkeypatch.delenv(TRANSPORT_CHOICES[0])
    monkeypatch.setenv("FASTDDS_BUILTIN_TRANSPORTS", "UDPv4")
    assert TRANSPORT_CHOICES[0] not in bringup.environment(large)


def test_people_are_simulated_or_come_from_a_tracker_of_another_name():
    assert bringup.graph("sim", {"person": "random"}).find("sim").parameters["person"] == "random"
    gate = bringup.graph("robot", {"people": "/tracker/people"}).gate
    assert gate is not None and ("people", "/tracker/people") in gate.remappings


def test_a_setting_that_the_gate_would_refuse_is_refused_before_anything_runs(tmp_path):
    file = tmp_path / "gate.yaml"
    file.write_text("{pose_sigma: 3.0}")
    gate = bringup.graph("sim", {"gate_params": str(file)}).gate
    assert gate is not None and gate.parameters["settings"] == "{pose_sigma: 3.0}"
    file.write_text("{pose_sigma: -3.0}")
    with pytest.raises(JepaRosError, match=r"gate_params:=.*gate.yaml: pose_sigma: expected a number from 0 to 10"):
        bringup.graph("sim", {"gate_params": str(file)})


def test_the_memory_is_the_planners_folder_and_none_where_nobody_asks():
    assert bringup.graph("robot", {}).find("planner").parameters["memory"] == ""
    for kind, given in (("sim", {}), ("robot", {}), ("sim", {"composed": "true"})):
        found = bringup.graph(kind, {"memory": "memories/hall", **given})
        brain = found.find("composed" if given else "planner")
        assert brain.parameters["memory"] == "memories/hall"


def test_planner_parameters_come_from_a_file(tmp_path):
    file = tmp_path / "planner.yaml"
    file.write_text("search.samples: 64\n")
    planner = bringup.graph("sim", {"planner_params": str(file)}).find("planner")
    assert planner.parameters["search.samples"] == 64
    file.write_text("[not, a, mapping]")
    with pytest.raises(BringupError, match="mapping"):
        bringup.graph("sim", {"planner_params": str(file)})


@pytest.mark.parametrize("kind", ["sim", "robot", "replay"])
def test_the_recorder_starts_before_what_it_has_to_hear_from_its_first_step(kind):
    names = [node.executable for node in bringup.graph(kind, {"record": "true"}).nodes]
    assert names[0] == "safety_gate" and names.index("recorder") < names.index("perception") < names.index("planner")
