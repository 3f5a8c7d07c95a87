# SPDX-License-Identifier: Apache-2.0
"""The command line: one line for a user's mistake, exit codes, and no heavy import before it is needed."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import time
import types

import pytest

from jepa_ros import __version__
from jepa_ros.commands import cli
from jepa_ros.errors import JepaRosError


def run(*arguments: str, **options) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "jepa_ros.commands.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=180, **options)


@pytest.fixture
def fake_command(monkeypatch):
    """A command `fake` whose behaviour the test gives."""

    def install(behaviour):
        module = types.ModuleType("fake_command_module")
        module.add_arguments = lambda parser: parser.add_argument("--number", type=int, default=0)
        module.main = behaviour
        monkeypatch.setitem(sys.modules, module.__name__, module)
        monkeypatch.setitem(cli.COMMANDS, "fake", (module.__name__, "a command for tests"))

    return install


def test_help_names_every_command_and_imports_neither_torch_nor_ros():
    code = (
        "import sys; from jepa_ros.commands import cli\n"
        "try: cli.main(['--help'])\n"
        "except SystemExit as stop: assert stop.code == 0\n"
        "assert not {'torch', 'rclpy', 'pybullet', 'cv2'} & set(sys.modules), 'imported'"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr
    for name in cli.COMMANDS:
        assert f"\n    {name} " in done.stdout


@pytest.mark.parametrize("name", sorted(cli.COMMANDS))
def test_every_command_has_its_module_and_shows_its_help(name):
    assert importlib.util.find_spec(cli.COMMANDS[name][0]) is not None
    done = run(name, "--help")
    assert done.returncode == 0, done.stderr
    assert f"usage: jepa-ros {name}" in done.stdout


def test_version(capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["--version"])
    assert stop.value.code == 0
    assert __version__ in capsys.readouterr().out


def test_an_unknown_command_is_refused_with_the_known_ones():
    done = run("drvie")
    assert done.returncode == 2
    assert "drvie" in done.stderr and "demo" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_exit_code_is_the_commands_own(fake_command):
    fake_command(lambda options: options.number)
    assert cli.main(["fake", "--number", "3"]) == 3


def test_a_users_mistake_is_one_line_and_exit_code_2(fake_command, capsys):
    def fail(options):
        raise JepaRosError("robots/x.yaml: rate: expected Hz")

    fake_command(fail)
    assert cli.main(["fake"]) == 2
    assert capsys.readouterr().err == "error: robots/x.yaml: rate: expected Hz\n"


def test_a_missing_package_says_how_to_get_it(fake_command, capsys):
    def fail(options):
        raise ModuleNotFoundError("No module named 'pybullet'", name="pybullet")

    fake_command(fail)
    assert cli.main(["fake"]) == 2
    assert capsys.readouterr().err == "error: the Python package pybullet is missing: pip install 'jepa_ros[sim]'\n"


@pytest.mark.parametrize("line", ["collect --out {out}/d --episodes 1", "eval --episodes 1 --workers 1"])
def test_without_pybullet_it_is_one_line_and_nothing_is_begun(line, tmp_path):
    (tmp_path / "fake").mkdir()
    (tmp_path / "fake" / "pybullet.py").write_text("raise ModuleNotFoundError('no pybullet', name='pybullet')\n")
    path = os.pathsep.join(filter(None, (str(tmp_path / "fake"), os.environ.get("PYTHONPATH"))))
    done = run(*line.format(out=tmp_path).split(), env={**os.environ, "PYTHONPATH": path})
    assert done.returncode == 2
    assert done.stderr.startswith("error: PyBullet is not installed") and done.stderr.count("\n") == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["fake"]


def test_up_without_rclpy_is_one_line(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "rclpy", None)
    assert cli.main(["up", "sim"]) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: the Python package rclpy is missing: pip install") and told.count("\n") == 1


def test_a_module_of_ours_that_is_missing_is_a_bug_and_keeps_its_traceback(fake_command):
    def fail(options):
        raise ModuleNotFoundError("No module named 'jepa_ros.gone'", name="jepa_ros.gone")

    fake_command(fail)
    with pytest.raises(ModuleNotFoundError):
        cli.main(["fake"])


def test_a_full_disk_is_one_line(fake_command, capsys):
    def fail(options):
        raise OSError(28, "No space left on device")

    fake_command(fail)
    assert cli.main(["fake"]) == 2
    assert capsys.readouterr().err == "error: No space left on device\n"


def test_a_missing_file_names_the_file(fake_command, capsys, tmp_path):
    fake_command(lambda options: (tmp_path / "gone").read_text())
    assert cli.main(["fake"]) == 2
    assert capsys.readouterr().err == f"error: No such file or directory: {tmp_path / 'gone'}\n"


def test_ctrl_c_is_one_line_and_130():
    code = (
        "import sys, time, types; from jepa_ros.commands import cli\n"
        "m = types.ModuleType('m'); m.add_arguments = lambda p: None\n"
        "def sleep(options): print('asleep', flush=True); time.sleep(60)\n"
        "m.main = sleep; sys.modules['m'] = m; cli.COMMANDS['sleep'] = ('m', 'sleep')\n"
        "sys.exit(cli.main(['sleep']))"
    )
    # A shell's background jobs inherit an ignored SIGINT, the tests among them when they run there.
    heeding = f"import signal; signal.signal(signal.SIGINT, signal.default_int_handler); {code}"
    child = subprocess.Popen([sys.executable, "-c", heeding], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert child.stdout is not None and child.stdout.readline() == "asleep\n"
    time.sleep(0.05)
    child.send_signal(signal.SIGINT)
    _, stderr = child.communicate(timeout=60)
    assert child.returncode == 130
    assert stderr == "interrupted\n"


def test_a_reader_that_goes_away_is_no_error():
    read, write = os.pipe()
    command = [sys.executable, "-m", "jepa_ros.commands.cli", "--help"]
    child = subprocess.Popen(command, stdout=write, stderr=subprocess.PIPE)
    os.close(read)
    os.close(write)
    _, stderr = child.communicate(timeout=60)
    assert stderr == b""
