# SPDX-License-Identifier: Apache-2.0
"""ROS interface types of packages that have no wheel, generated and compiled from their public definitions for a test.

The generators, headers and libraries come with ROS's wheels; a C and a C++ compiler must be there. What is built lies
in ``.venv-types`` and is used by processes of the test alone: PYTHONPATH and LD_LIBRARY_PATH lead there.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parents[1] / ".venv-types"
PREFIX = Path(sys.prefix)
NAVIGATE = {
    "action/NavigateToPose.action": """\
geometry_msgs/PoseStamped pose
string behavior_tree
---
uint16 NONE=0
uint16 UNKNOWN=9000
uint16 FAILED_TO_LOAD_BEHAVIOR_TREE=9001
uint16 TF_ERROR=9002
uint16 TIMEOUT=9003
uint16 error_code
string error_msg
---
geometry_msgs/PoseStamped current_pose
builtin_interfaces/Duration navigation_time
builtin_interfaces/Duration estimated_time_remaining
int16 number_of_recoveries
float32 distance_remaining
"""
}
FOLLOW = {
    "msg/JointTolerance.msg": "string name\nfloat64 position\nfloat64 velocity\nfloat64 acceleration\n",
    "msg/JointComponentTolerance.msg": """\
uint16 X_AXIS=1
uint16 Y_AXIS=2
uint16 Z_AXIS=3
uint16 TRANSLATION=4
uint16 ROTATION=5
string joint_name
uint16 component
float64 position
float64 velocity
float64 acceleration
""",
    "action/FollowJointTrajectory.action": """\
trajectory_msgs/JointTrajectory trajectory
trajectory_msgs/MultiDOFJointTrajectory multi_dof_trajectory
control_msgs/JointTolerance[] path_tolerance
control_msgs/JointComponentTolerance[] component_path_tolerance
control_msgs/JointTolerance[] goal_tolerance
control_msgs/JointComponentTolerance[] component_goal_tolerance
builtin_interfaces/Duration goal_time_tolerance
---
int32 error_code
int32 SUCCESSFUL = 0
int32 INVALID_GOAL = -1
int32 INVALID_JOINTS = -2
int32 OLD_HEADER_TIMESTAMP = -3
int32 PATH_TOLERANCE_VIOLATED = -4
int32 GOAL_TOLERANCE_VIOLATED = -5
string error_string
---
std_msgs/Header header
string[] joint_names
trajectory_msgs/JointTrajectoryPoint desired
trajectory_msgs/JointTrajectoryPoint actual
trajectory_msgs/JointTrajectoryPoint error
string[] multi_dof_joint_names
trajectory_msgs/MultiDOFJointTrajectoryPoint multi_dof_desired
trajectory_msgs/MultiDOFJointTrajectoryPoint multi_dof_actual
trajectory_msgs/MultiDOFJointTrajectoryPoint multi_dof_error
""",
}
C, FAST, INSPECT = "rosidl_typesupport_c", "rosidl_typesupport_fastrtps_c", "rosidl_typesupport_introspection_c"
#: Generator's module and class, and its arguments.
GENERATORS = (
    ("rosidl_generator_c.cli", "GenerateC", {}),
    ("rosidl_generator_py.cli", "GeneratePython", {"typesupport_implementations": [C]}),
    (f"{C}.cli", "GenerateCTypesupport", {"typesupport_implementations": [FAST, INSPECT]}),
    (f"{FAST}.cli", "GenerateFastRTPSCTypesupport", {}),
    (f"{INSPECT}.cli", "GenerateIntrospectionCTypesupport", {}),
)
#: Packages whose types the definitions name, actions' own among them.
NEEDED = (
    "action_msgs", "builtin_interfaces", "geometry_msgs", "service_msgs", "std_msgs", "trajectory_msgs",
    "unique_identifier_msgs",
)  # fmt: skip


class NoTypes(Exception):
    """The types cannot be built here."""


def environment(package: str, definitions: dict[str, str]) -> dict[str, str]:
    """Variables for a process that imports the package; it is built where it is not there.

    Raises:
        NoTypes: no compiler, no ROS wheels, or they do not fit.
    """
    wanted = hashlib.sha256(repr((definitions, sys.version, GENERATORS)).encode()).hexdigest()
    mark = FOLDER / package / "built"
    if not mark.is_file() or mark.read_text() != wanted:
        try:
            _build(package, definitions)
        except (ImportError, OSError, subprocess.SubprocessError) as error:
            raise NoTypes(getattr(error, "stderr", None) or str(error)) from error
        mark.write_text(wanted)
    site, libraries = FOLDER / package / "site", FOLDER / package / "lib"
    path = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), str(site)]))
    found = os.pathsep.join(filter(None, [str(libraries), os.environ.get("LD_LIBRARY_PATH")]))
    return {"PYTHONPATH": path, "LD_LIBRARY_PATH": found}


@contextlib.contextmanager
def installed(package: str, definitions: dict[str, str]) -> Iterator[None]:
    """For this time processes can import the package; a test that needs it is skipped where it cannot be built."""
    try:
        added = environment(package, definitions)
    except NoTypes as error:
        pytest.skip(f"{package} cannot be built here: {str(error)[-300:]}")
    before = dict(os.environ)
    os.environ.update(added)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _build(package: str, definitions: dict[str, str]) -> None:
    shutil.rmtree(FOLDER / package, ignore_errors=True)
    (FOLDER / package).mkdir(parents=True)
    (FOLDER / "COLCON_IGNORE").touch()
    for name, text in definitions.items():
        path = FOLDER / package / "source" / package / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    code = f"import ros_types; ros_types._generate({package!r}, {list(definitions)!r})"
    environ = {**os.environ, "AMENT_PREFIX_PATH": str(PREFIX), "PATH": f"{PREFIX / 'bin'}:{os.environ['PATH']}"}
    here = str(Path(__file__).parent)
    _run([sys.executable, "-c", code], cwd=here, env=environ)
    _compile(package)


def _generate(package: str, names: list[str]) -> None:
    """In a process of its own: write the sources."""
    import rosidl_cli.entry_points as points

    def once(group: str, *, specs=None, strict=False, **_):
        # The wheels bring each entry point twice, as a distribution of their own and as ROS's.
        return {e.name: e for e in metadata.entry_points(group=group) if not specs or e.name in specs}

    points.get_entry_points = once
    translate = importlib.import_module("rosidl_cli.command.translate.api").translate
    out, include = FOLDER / package / "out" / package, [str(PREFIX / "share")]
    out.mkdir(parents=True)
    files = [f"{FOLDER / package / 'source' / package}:{name}" for name in names]
    wanted = {"include_paths": include, "output_format": "idl", "output_path": out}
    idl = translate(package_name=package, interface_files=files, **wanted)
    for module, kind, options in GENERATORS:
        place = out if kind in ("GenerateC", "GeneratePython") else FOLDER / package / kind / package
        place.mkdir(parents=True, exist_ok=True)
        getattr(importlib.import_module(module), kind)("own", **options).generate(package, idl, include, place)


def _compile(package: str) -> None:
    root = FOLDER / package
    out, lib, site = root / "out" / package, root / "lib", root / "site" / package
    lib.mkdir()
    parts = [part for part in ("msg", "action") if (out / part).is_dir()]
    for part in parts:
        (site / part).mkdir(parents=True)
        for path in (out / part).glob("*.py"):
            shutil.copy(path, site / part)
    (site / "__init__.py").touch()
    places = [root / "out", *(root / kind for _, kind, _ in GENERATORS[3:]), PREFIX / "include"]
    places += [p for p in (PREFIX / "include").iterdir() if p.is_dir()]
    core = [PREFIX / "lib" / f"lib{n}.so" for n in ("rosidl_runtime_c", C, FAST, INSPECT, "rmw", "rcutils")]
    core += [PREFIX / "lib" / f"lib{FAST}pp.so", next((PREFIX / "lib").glob("libfastcdr.so*"))]

    def others(kind: str) -> list[Path]:
        return [PREFIX / "lib" / f"lib{name}__{kind}.so" for name in NEEDED]

    def link(target: Path, sources: list[Path], *libraries: Path, further: list[Path] = []) -> None:  # noqa: B006
        compiler = ["g++", "-std=c++17"] if sources[0].suffix == ".cpp" else ["gcc"]
        flags = ["-fPIC", "-O1", "-w", "-shared", *(f"-I{p}" for p in (*places, *further))]
        _run([*compiler, *flags, *sources, *libraries, *(p for p in core if p.exists()), "-o", target])

    own = {kind: lib / f"lib{package}__{kind}.so" for kind in ("rosidl_generator_c", C, FAST, INSPECT)}
    base = own["rosidl_generator_c"]
    plain = [p for part in parts for p in sorted((out / part).rglob("*.c")) if not p.name.endswith("_s.c")]
    link(base, plain, *others("rosidl_generator_c"))
    for (_, kind, _), support in zip(GENERATORS[2:], (C, FAST, INSPECT), strict=True):
        sources = sorted(p for p in (root / kind).rglob("*") if p.suffix in (".c", ".cpp"))
        link(own[support], sources, base, *others("rosidl_generator_c"), *others(support))
    python = [Path(sysconfig.get_paths()["include"]), Path(np.get_include())]
    extension = [*(p for part in parts for p in sorted((out / part).glob("*_s.c"))), out / f"_{package}_s.ep.{C}.c"]
    bound = [*others("rosidl_generator_py"), *others("rosidl_generator_c"), *others(C)]
    link(site / f"{package}_s__{C}.so", extension, base, own[C], *bound, further=python)


def _run(command: list, **options) -> None:
    subprocess.run([str(word) for word in command], check=True, capture_output=True, text=True, timeout=300, **options)
