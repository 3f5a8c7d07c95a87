# SPDX-License-Identifier: Apache-2.0
"""Finding an arm's URDF and the files that it names: the ONE place that resolves paths of robot descriptions.

A description is named in one of four ways:

* ``PACKAGE:path/below/it.urdf``: a file inside an installed Python package (``pybullet_data:franka_panda/panda.urdf``);
* ``package://PACKAGE/path.urdf``: a file in the share folder of a ROS package, of this one (``package://jepa_ros/...``),
  or of one that pip installed beside Pinocchio (``package://example-robot-data/...``);
* an absolute path;
* a relative path, which counts from the folder of the contract.

A mesh inside a URDF is named ``package://...``, ``file://...`` or by a path. Beside installed ROS packages, the folders
above the URDF are searched, since many descriptions are unpacked without their package.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path

from jepa_ros.contract.resources import share_dir
from jepa_ros.errors import JepaRosError

#: Joints of a URDF that move, as its specification calls them.
MOVING = ("revolute", "continuous", "prismatic")


class ArmError(JepaRosError):
    """An arm's description that cannot be used; one line says what was found and what was expected."""


@dataclass(frozen=True)
class Description:
    """A URDF, with every mesh given by its absolute path.

    Attributes:
        path: the file it came from. xml: its text. joints: {name: type} of those that move, in the file's order.
        links: names of its links.
    """

    path: Path
    xml: str
    joints: dict[str, str]
    links: tuple[str, ...]


def find(name: str, folder: Path | None = None) -> Path:
    """The file that ``name`` means (see the module).

    Args:
        folder: of the contract, from which relative paths count.

    Raises:
        ArmError: no such file, or no such package.
    """
    if name.startswith("package://"):
        package, _, below = name.removeprefix("package://").partition("/")
        found = [share / below for share in _shares(package)]
        if not found:
            raise ArmError(f"{name}: no package '{package}' in AMENT_PREFIX_PATH or ROS_PACKAGE_PATH, none of pip")
    elif ":" in name and not Path(name).is_absolute():
        package, _, below = name.partition(":")
        spec = importlib.util.find_spec(package) if package.isidentifier() else None
        if spec is None or not spec.submodule_search_locations:
            raise ArmError(f"{name}: no Python package '{package}' is installed: pip install it, or give a file")
        found = [Path(place) / below for place in spec.submodule_search_locations]
    else:
        path = Path(name).expanduser()
        found = [path if path.is_absolute() else (folder or Path.cwd()) / path]
    for path in found:
        if path.is_file():
            return path
    raise ArmError(f"{name}: no such file ({found[0]})")


def read(name: str, folder: Path | None = None) -> Description:
    """Read a URDF and resolve its meshes.

    Raises:
        ArmError: it is missing or no URDF, or a collision mesh cannot be found.
    """
    path = find(name, folder)
    try:
        root = ET.parse(path).getroot()
    except (ET.ParseError, OSError, UnicodeDecodeError) as error:
        raise ArmError(f"{path}: not a URDF: {error}") from None
    if root.tag != "robot":
        raise ArmError(f"{path}: not a URDF: expected <robot>, found <{root.tag}>")
    for link in root.iter("link"):
        for visual in link.findall("visual"):  # nothing here draws; a missing picture of a link is no fault
            link.remove(visual)
        for mesh in link.iter("mesh"):
            mesh.set("filename", str(_mesh(mesh.get("filename", ""), path, link.get("name", ""))))
    joints = {j.get("name", ""): j.get("type", "") for j in root.findall("joint") if j.get("type") in MOVING}
    links = tuple(link.get("name", "") for link in root.iter("link"))
    return Description(path, ET.tostring(root, encoding="unicode"), joints, links)


def _mesh(name: str, urdf: Path, link: str) -> Path:
    if name.startswith("package://"):
        package, _, below = name.removeprefix("package://").partition("/")
        found = [share / below for share in _shares(package)]
        for above in urdf.parents:
            found += [above / package / below, above / below]
    else:
        path = Path(name.removeprefix("file://"))
        found = [path if path.is_absolute() else urdf.parent / path]
    for path in found:
        if path.is_file():
            return path
    raise ArmError(f"{urdf}: link '{link}': mesh {name} cannot be found")


def _shares(package: str) -> list[Path]:
    """Folders of a package: its share folder, or its source."""
    prefixes = [Path(p) for p in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if p]
    sources = [Path(p) for p in os.environ.get("ROS_PACKAGE_PATH", "").split(os.pathsep) if p]
    found = [prefix / "share" / package for prefix in prefixes]
    for source in sources:
        found += [source / package, source] if source.name == package else [source / package]
    if package == "jepa_ros":
        found.append(share_dir())
    # cmeel, by which Pinocchio's wheels are made, keeps share folders in a prefix of its own.
    found += [Path(place) / "cmeel.prefix" / "share" / package for place in sys.path if place]
    return [path for path in found if path.is_dir()]
