# SPDX-License-Identifier: Apache-2.0
"""The package is built with colcon and with pip for real, and says the same in every place that says it."""

from __future__ import annotations

import configparser
import importlib
import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
import zipfile
from pathlib import Path

import pytest
import yaml

from jepa_ros import __version__
from jepa_ros.bringup import graph as bringup
from jepa_ros.bringup.arguments import KINDS

ROOT = Path(__file__).parents[1]
EXECUTABLES = sorted(p.name for p in (ROOT / "scripts").iterdir())

#: Where rosdep has the Python packages of setup.py. safetensors has no key; package.xml says so.
ROSDEP_KEYS = {
    "torch": "python3-pytorch-pip",
    "numpy": "python3-numpy",
    "scipy": "python3-scipy",
    "opencv-python-headless": "python3-opencv",
    "safetensors": None,
    "PyYAML": "python3-yaml",
    "rosbags": "python3-rosbags-pip",
    "mcap": "mcap-ros2-support",
    "zstandard": "mcap-ros2-support",
    "rich": "python3-rich",
    "matplotlib": "python3-matplotlib",
    "pillow": "python3-pil",
    "psutil": "python3-psutil",
    "fsspec": "python3-fsspec",
    "pybullet": "python3-pybullet-pip",
    "pin": "pinocchio",
}


@pytest.fixture(scope="module")
def setup_arguments() -> dict:
    """What setup.py hands to setuptools."""
    import setuptools

    found: dict = {}
    original, folder = setuptools.setup, os.getcwd()
    setuptools.setup = lambda **arguments: found.update(arguments)
    os.chdir(ROOT)
    try:
        exec(compile((ROOT / "setup.py").read_text(), "setup.py", "exec"), {"__name__": "__main__"})
    finally:
        setuptools.setup = original
        os.chdir(folder)
    return found


@pytest.fixture(scope="module")
def package_xml() -> ElementTree.Element:
    return ElementTree.parse(ROOT / "package.xml").getroot()


def requirement_name(line: str) -> str:
    return re.match(r"[A-Za-z0-9_.-]+", line).group()  # type: ignore[union-attr]


@pytest.mark.parametrize("options", [[], ["--symlink-install"]], ids=["install", "symlink"])
def test_colcon_builds_an_overlay_that_works(source, tmp_path, options):
    shutil.copytree(source, tmp_path / "src" / "jepa_ros")
    build = subprocess.run(
        [sys.executable, "-m", "colcon", "build", "--event-handlers", "console_direct+", *options],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert build.returncode == 0, build.stdout + build.stderr
    prefix = tmp_path / "install" / "jepa_ros"
    for name in [*EXECUTABLES, "jepa-ros"]:
        assert os.access(prefix / "lib" / "jepa_ros" / name, os.X_OK), f"{name} is no executable in lib/jepa_ros"
    assert (prefix / "share/ament_index/resource_index/packages/jepa_ros").is_file()
    for folder in ("robots", "launch", "models"):
        wanted = {p.relative_to(ROOT) for p in (ROOT / folder).rglob("*") if p.is_file() and p.suffix != ".pyc"}
        there = {p.relative_to(prefix / "share/jepa_ros") for p in (prefix / "share/jepa_ros" / folder).rglob("*")}
        assert wanted <= there, f"not installed: {wanted - there}"
    code = (
        "import jepa_ros, jepa_ros_sim\n"
        "from jepa_ros.contract import load_contract\n"
        "from jepa_ros_sim.arena import ArenaSim\n"
        "print(jepa_ros.__file__, load_contract('arena').source)\n"
        "print(ArenaSim(load_contract('arena')).image().shape)\n"
    )
    python = Path(sys.executable)
    script = f". install/local_setup.bash; cd /; '{python}' -c \"$CODE\"; '{prefix}/lib/jepa_ros/jepa-ros' --version"
    used = subprocess.run(
        ["bash", "-c", script],
        cwd=tmp_path,
        env={**os.environ, "CODE": code, "PATH": f"{python.parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert used.returncode == 0, used.stderr
    assert str(tmp_path) in used.stdout.splitlines()[-3], f"not the overlay: {used.stdout}"
    assert used.stdout.splitlines()[-2:] == ["(128, 128, 3)", f"jepa_ros {__version__}"]


def test_the_wheel_puts_one_command_on_the_path_and_the_nodes_where_ros_looks(source, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", tmp_path, source],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    archive = zipfile.ZipFile(wheel)
    names = archive.namelist()
    (commands,) = [n for n in names if n.endswith("entry_points.txt")]
    points = configparser.ConfigParser()
    points.read_string(archive.read(commands).decode())
    assert dict(points["console_scripts"]) == {"jepa-ros": "jepa_ros.commands.cli:main"}
    assert set(points.sections()) == {"console_scripts", "jepa_ros.worlds"}
    for place in points["jepa_ros.worlds"].values():
        assert place.partition(":")[0].replace(".", "/") + ".py" in names
    data = f"jepa_ros-{__version__}.data/data"
    for name in EXECUTABLES:
        info = archive.getinfo(f"{data}/lib/jepa_ros/{name}")
        assert info.external_attr >> 16 & 0o111, f"{name} lost its executable bit"
    assert f"{data}/share/jepa_ros/robots/arena.yaml" in names
    assert "jepa_ros_sim/arena/assets/arena_robot.urdf" in names
    ours = {p.relative_to(source).as_posix() for p in (source / "jepa_ros").rglob("*") if p.is_file()}
    assert ours <= set(names), f"not in the wheel: {ours - set(names)}"
    assert not [n for n in names if n.startswith(("tests/", "runs/", "data/", "benchmarks/"))]


def test_name_version_and_licence_agree(setup_arguments, package_xml):
    told = {key: package_xml.findtext(key) for key in ("name", "version", "license")}
    assert told == {key: setup_arguments[key] for key in told}
    assert setup_arguments["version"] == __version__
    assert package_xml.get("format") == "3"
    assert package_xml.findtext("export/build_type") == "ament_python"
    assert "Apache License" in (ROOT / "LICENSE").read_text()


def test_every_dependency_stands_in_package_xml_and_in_setup_py(setup_arguments, package_xml):
    keys = {element.text for element in package_xml.findall("exec_depend")}
    required, extras = setup_arguments["install_requires"], setup_arguments["extras_require"]
    assert not [r for r in required if r.startswith("ros-")], "pip would shadow an installed ROS"
    assert {ROSDEP_KEYS[requirement_name(r)] for r in [*required, *extras["sim"], *extras["arm"]]} - {None} <= keys
    wheels = {requirement_name(r).removeprefix("ros-jazzy-").replace("-", "_") for r in extras["ros"]}
    assert wheels == {key for key in keys if not key.startswith(("python3-", "mcap", "launch", "pinocchio"))}


def test_ros_packages_that_are_imported_are_declared(package_xml):
    declared = {element.text for element in package_xml.findall("exec_depend")}
    ros = re.compile(r"rclpy|launch|launch_ros|ament_index_python|[a-z_]+_(msgs|srvs|interfaces)")
    used = set()
    for path in [*(ROOT / "jepa_ros").rglob("*.py"), *(ROOT / "launch").rglob("*.py")]:
        found = re.findall(r"^\s*(?:from|import) ([a-z_]+)(?:\.\S+)? ?", path.read_text(), re.MULTILINE)
        used |= {name for name in found if ros.fullmatch(name)}
    assert used <= declared, f"imported and not in package.xml: {used - declared}"


def test_image_and_workflow_install_what_setup_py_has(setup_arguments):
    pin = next(line for line in setup_arguments["install_requires"] if line.startswith("torch"))
    for name in ("docker/Dockerfile", ".github/workflows/ci.yml"):
        text = (ROOT / name).read_text(encoding="utf-8")
        assert f"'{pin}'" in text, f"{name}: expected torch as setup.py has it, {pin}"
        wanted = [extra for found in re.findall(r"\[([a-z,]+)\]\"", text) for extra in found.split(",")]
        assert wanted and set(wanted) <= set(setup_arguments["extras_require"]), f"{name}: {wanted}"
    job = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))["jobs"]["test"]
    assert [step["run"] for step in job["steps"] if "run" in step] == ["bash .ci/run"]
    limit = re.search(r"timeout --kill-after=30 (\d+)", (ROOT / ".ci/run").read_text(encoding="utf-8"))
    assert limit is not None and 60 * job["timeout-minutes"] > int(limit.group(1))


def test_every_process_of_the_bringup_table_has_an_executable():
    given = {"fleet": {"robots": "r1"}}
    named = {node.executable for kind in KINDS for node in bringup.graph(kind, given.get(kind, {})).nodes}
    named |= {node.executable for node in bringup.graph("sim", {"composed": "true"}).nodes}
    assert named <= set(EXECUTABLES)


@pytest.mark.parametrize("name", EXECUTABLES)
def test_every_executable_is_a_node_that_can_be_started(name):
    script = ROOT / "scripts" / name
    assert os.access(script, os.X_OK)
    assert f"from jepa_ros.nodes.{name} import main" in script.read_text()
    module = importlib.import_module(f"jepa_ros.nodes.{name}")
    assert callable(module.main)


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo 3.9; exit 1", "is not a Python 3.10, 3.11 or 3.12"),
        ("case $2 in *ensurepip*) exit 1;; *version_info*) echo 3.11;; esac", "apt install python3.11-venv"),
    ],
    ids=["too-old", "without-venv"],
)
def test_a_python_that_will_not_do_is_refused_in_one_sentence(tmp_path, script, said):
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n{script}\n")
    python.chmod(0o755)
    done = subprocess.run([ROOT / "tools/choose_python.sh", python], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert said in done.stderr and done.stderr.count("\n") == 1


def test_this_python_is_taken():
    done = subprocess.run([ROOT / "tools/choose_python.sh", sys.executable], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == sys.executable
