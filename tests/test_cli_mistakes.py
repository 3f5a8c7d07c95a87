# SPDX-License-Identifier: Apache-2.0
"""Command lines that cannot work: each is one error that names what is wrong, before any work is begun."""

from __future__ import annotations

import shlex

import pytest

from jepa_ros.commands import cli

#: A command line, and words that its error must have. {file}: a file that is there, {tmp}: an empty folder.
MISTAKES = [
    # numbers
    ("eval --episodes 0", "--episodes: expected a whole number of at least 1, found '0'"),
    ("eval --seed -1", "--seed: expected a whole number from 0"),
    ("eval --workers many", "--workers: expected a whole number"),
    ("eval --contact-limit 1.5", "--contact-limit: expected a number from 0 to 1"),
    ("eval --env X --tolerance nan", "--tolerance: expected a finite number above 0, found 'nan'"),
    ("eval --risk worse", "'worse'"),
    ("eval --risk cvar", "risk cvar has level None"),
    ("eval --risk 'cvar 0.25'", "at least 4 noise samples"),
    ("collect --out {tmp}/d --seed -1", "--seed"),
    ("collect --out {tmp}/d --length 1", "--length: expected a whole number of at least 2"),
    ("train --data {tmp} --out {tmp}/m --latent-dim -4", "--latent-dim"),
    ("train --data {tmp} --out {tmp}/m --keypoints 0", "--keypoints"),
    ("train --data {tmp} --out {tmp}/m --learning-rate inf", "--learning-rate"),
    ("train --data {tmp} --out {tmp}/m --device banana", "--device banana: expected cpu"),
    ("bench safety --histories -1", "--histories"),
    ("bench safety --seed -1", "--seed"),
    ("dataset {tmp} --out {tmp}/d --max-idle nan", "--max-idle"),
    ("explore --minutes nan", "--minutes: expected a finite number above 0, found 'nan'"),
    ("explore --speed 1.5", "--speed"),
    ("gate state --timeout nan", "--timeout"),
    ("goal clear --timeout -1", "--timeout"),
    ("doctor --seconds -1", "--seconds"),
    ("demo --episodes 0", "--episodes"),
    ("demo --seed -3", "--seed"),
    # names
    ("gate state --namespace 'a b'", "--namespace: expected a ROS namespace"),
    ("explore --namespace 1/2", "--namespace"),
    ("doctor --namespace a//b", "--namespace"),
    ("record --namespace 'a b'", "--namespace"),
    ("record 'cmd vel'", "TOPIC: expected a topic"),
    ("record --trigger 'a b'", "--trigger"),
    ("record --trigger-modes BANANA", "--trigger-modes BANANA: expected some of DISABLED"),
    ("record -e '['", "--regex '[' is no regular expression"),
    ("record --level 99", "--level: expected a whole number from 1 to 22, found '99'"),
    # files that cannot be written are told before the work
    ("doctor --json {file}/x", "--json"),
    ("eval --json {tmp}", "--json"),
    ("collect --out {tmp}/d --json {file}/x", "--json"),
    ("info {tmp} --json {file}/x", "--json"),
    ("bench plan --json {file}/x", "--json"),
    # options that would do nothing
    ("eval --limit 3", "--limit does nothing in the world 'arena'"),
    ("eval --env-args '{{}}'", "--env-args does nothing without --env"),
    ("eval --env X --layout random", "--layout"),
    ("eval --env X --watch", "--watch"),
    ("collect --out {tmp}/d --action-repeat 2", "--action-repeat does nothing without --env"),
    ("collect --out {tmp}/d --env X --per-layout 2", "--per-layout"),
    ("gate state --json {tmp}/x", "--json does nothing with 'state'"),
    # misspelt
    ("colect --out {tmp}/d", "invalid choice: 'colect'"),
    ("colect --out {tmp}/d", "did you mean 'collect'?"),
    ("collect --ot {tmp}/d --epsiodes 3", "no option '--ot'; did you mean '--out'?; see `jepa-ros collect --help`"),
    ("eval --epsiodes 3", "no option '--epsiodes'; did you mean '--episodes'?"),
    ("eval --sede=3", "no option '--sede'; did you mean '--seed'?"),
    ("eval --xyzzy", "no option '--xyzzy'; see `jepa-ros eval --help`"),
    ("eval --layout randm", "did you mean 'random'?"),
    ("gate enabel", "did you mean 'enable'?"),
    ("up simm", "did you mean 'sim'?"),
    ("up sim sede:=3", "'sim' takes no argument 'sede'; did you mean 'seed'?"),
    ("up sim layout:=mze", "expected one of fixed, random, maze, dead_end; did you mean 'maze'?"),
    ("up sim --shwo-args", "'--shwo-args': expected key:=value; did you mean '--show-args'?"),
    ("eval --robot arean", "did you mean 'arena'?"),
    ("bench safty", "no benchmark 'safty'; did you mean 'safety'?"),
    ("bench safety --histores 3", "no option '--histores'; did you mean '--histories'?"),
    # what up is given
    ("up sim --print threads:=-1", "threads:=-1: expected a whole number from 1 to 256"),
    ("up sim --print seed:=-1", "seed:=-1"),
    ("up sim --print real_time_factor:=nan", "real_time_factor:=nan: expected a finite number from 0.01 to 100"),
    ("up sim --print model:=nosuch", "model:=nosuch: neither a folder"),
    ("up replay --print play:=nosuch", "play:=nosuch: no such file or folder"),
    ("up sim --print 'namespace:=a b'", "expected a ROS namespace"),
    ("up robot --print 'odom:=my odom'", "expected the name of a topic"),
    ("up sim --print gate_params:={file}", "gate_params:={file}: not valid YAML"),
    ("up sim --print costs:={file}", "costs:={file}: not valid YAML"),
]


@pytest.mark.parametrize(("line", "said"), MISTAKES, ids=[line for line, _ in MISTAKES])
def test_a_mistake_is_one_error_that_names_it(line, said, tmp_path, capsys):
    file = tmp_path / "file.yaml"
    file.write_text("{not: [yaml")
    folder = tmp_path / "empty"
    folder.mkdir()
    known = {"file": file, "tmp": folder}
    assert cli.main(shlex.split(line.format(**known))) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: ") and told.count("\n") == 1
    assert said.format(**known) in told
    assert not list(folder.iterdir())  # nothing was begun


def test_params_of_one_node_cannot_change_what_all_must_have_alike(tmp_path, capsys):
    file = tmp_path / "params.yaml"
    file.write_text("robot: other\n")
    for name in ("planner_params", "perception_params"):
        assert cli.main(["up", "sim", "--print", f"{name}:={file}"]) == 2
        assert "robot is an argument of its own: give robot:=" in capsys.readouterr().err
    assert cli.main(["up", "robot", "--print", f"camera_params:={file}"]) == 2


def test_perception_and_camera_take_further_parameters(tmp_path, capsys):
    (tmp_path / "p.yaml").write_text("device: cuda\n")
    (tmp_path / "c.yaml").write_text("loop: true\n")
    words = [f"perception_params:={tmp_path / 'p.yaml'}", f"camera_params:={tmp_path / 'c.yaml'}"]
    assert cli.main(["up", "robot", "--print", *words]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any("perception" in line and 'device:="cuda"' in line.replace("'", "") for line in lines)
    assert any("nodes.camera" in line and "loop:=true" in line for line in lines)
