# SPDX-License-Identifier: Apache-2.0
"""A release as a stranger meets it: the wheel alone in an empty folder, the sdist, what comes along and why."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from jepa_ros import __version__

ROOT = Path(__file__).parents[1]


def build(kind: str, source: Path, out: Path) -> Path:
    """The wheel or sdist of a folder, by the backend that pyproject.toml names."""
    code = f"import sys; from setuptools import build_meta as b; print(b.build_{kind}(sys.argv[1]))"
    done = subprocess.run([sys.executable, "-c", code, out], cwd=source, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return out / done.stdout.split()[-1]


@pytest.fixture(scope="module")
def wheel(source, tmp_path_factory) -> Path:
    return build("wheel", source, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def dependencies():
    """tools/dependencies.py as a module."""
    spec = importlib.util.spec_from_file_location("dependencies", ROOT / "tools" / "dependencies.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_wheel_has_the_robots_and_models_and_neither_tests_nor_benches(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    for folder in ("robots", "models", "launch"):
        files = [p for p in (ROOT / folder).rglob("*") if p.is_file() and p.suffix != ".pyc"]
        wanted = {p.relative_to(ROOT).as_posix() for p in files}
        share = f"jepa_ros-{__version__}.data/data/share/jepa_ros/"
        assert wanted and {share + name for name in wanted} <= set(names)
    assert not [n for n in names if re.search(r"(^|/)(tests?|bench\w*|tools|docs|shared)(/|\.py$)|(^|/)test_", n)
                and "jepa_ros/commands/bench.py" not in n]  # fmt: skip


def test_a_wheel_built_from_the_sdist_is_the_same(source, wheel, tmp_path):
    sdist = build("sdist", source, tmp_path)
    shutil.unpack_archive(sdist, tmp_path / "unpacked")
    again = build("wheel", tmp_path / "unpacked" / f"jepa_ros-{__version__}", tmp_path)
    content = [
        {i.filename: i.CRC for i in zipfile.ZipFile(w).infolist() if not i.filename.endswith("RECORD")}
        for w in (wheel, again)
    ]
    assert content[0] == content[1]


@pytest.mark.alone
@pytest.mark.slow
def test_the_demo_arrives_from_a_wheel_in_an_empty_folder(wheel, tmp_path):
    """The environment is a fresh one; the packages that a release depends on are lent from the running one."""
    environment = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True, timeout=180)
    python = environment / "bin" / "python"
    install = [sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-deps", "--no-index", wheel]
    subprocess.run(install, check=True, timeout=300)
    (site,) = environment.glob("lib/python*/site-packages")
    (site / "lent.pth").write_text(sysconfig.get_path("purelib") + "\n")  # behind the wheel; its own .pth are not read
    empty = tmp_path / "empty"
    empty.mkdir()
    clean = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV", "AMENT_PREFIX_PATH")}
    code = "import jepa_ros, jepa_ros_sim; print(jepa_ros.__file__, jepa_ros_sim.__file__)"
    where = subprocess.run([python, "-c", code], cwd=empty, env=clean, capture_output=True, text=True, timeout=180)
    assert where.stdout.count(str(site)) == 2, where.stdout + where.stderr
    command = [environment / "bin" / "jepa-ros", "demo", "--no-bag"]
    done = subprocess.run(command, cwd=empty, env=clean, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ARRIVED" in done.stdout
    assert [p.name for p in empty.iterdir()] == ["runs"]


def test_the_version_is_told_once_and_the_changes_begin_with_it():
    first = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE).group(1).rstrip(",")
    assert first == __version__
    assert re.fullmatch(r"\d+\.\d+\.\d+", __version__)


def test_every_dependency_has_a_reason_and_a_licence_that_may_come_along(dependencies):
    assert dependencies.problems() == []


@pytest.mark.parametrize(
    ("told", "may"),
    [
        ("MIT License", True), ("Apache-2.0 AND BSD-3-Clause", True), ("LGPL-2.1", True), ("GPL-3.0-only", False),
        ("GNU General Public License v3 (GPLv3)", False), ("AGPL-3.0", False), ("CC-BY-NC-4.0", False), (None, False),
    ],
)  # fmt: skip
def test_a_licence_that_would_bind_users_is_refused(dependencies, told, may):
    assert dependencies.allowed(told) is may


def test_the_page_of_dependencies_has_every_one_of_setup_py(dependencies):
    page = dependencies.PAGE.read_text(encoding="utf-8")
    for extra, lines in dependencies.declared().items():
        if extra in dependencies.INTERNAL:
            continue
        assert f"| `[{extra}]` |" in page or not extra
        for line in lines:
            name = re.match(r"[\w.-]+", line).group()
            assert f"| {name} |" in page or dependencies.why(name) == dependencies.ROS_MESSAGES, f"{name}: --write"


def test_the_bill_of_materials_names_what_comes_along(dependencies):
    bill = json.loads(json.dumps(dependencies.bill()))
    names = {c["name"]: c for c in bill["components"]}
    assert {"torch", "sympy", "rosbags", "lz4"} <= set(names)  # sympy comes with torch, lz4 with rosbags
    assert all(c["version"] and c["licenses"][0]["license"]["name"] != "not known" for c in names.values())
    links = {d["ref"]: d["dependsOn"] for d in bill["dependencies"]}
    assert names["sympy"]["purl"] in links[names["torch"]["purl"]]
    known = {c["bom-ref"] for c in names.values()}
    assert set().union(*links.values()) <= known
