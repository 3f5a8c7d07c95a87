#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What jepa_ros depends on: why each package is there, under which licence, and how large each extra is.

    python tools/dependencies.py                 the tables
    python tools/dependencies.py --write         the same into docs/dependencies.md
    python tools/dependencies.py --sbom FILE     a bill of materials (CycloneDX 1.6), with all that comes along
    python tools/dependencies.py --check         fails for a package without a reason, or with a licence not known here

Versions, licences and sizes are those of the running environment. A package that is not installed is named.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import xml.etree.ElementTree as ElementTree
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "dependencies.md"
BEGIN, END = "<!-- tools/dependencies.py -->", "<!-- end -->"

#: Why each direct dependency is there. A package of setup.py that is missing here fails the check.
WHY = {
    "torch": "the world model: training, and encoding and search on CPU or GPU",
    "numpy": "arrays everywhere",
    "scipy": "shortest paths over the map; hulls and least squares for an arm's links and for alarm levels",
    "opencv-python-headless": "pictures: camera devices, resampling, JPEG and PNG",
    "safetensors": "checkpoints that cannot run code",
    "fsspec": "datasets in object storage (torch brings it too)",
    "pyyaml": "contracts and guardrails, by the safe loader",
    "rosbags": "reading any rosbag2 and its messages without an installed ROS",
    "mcap": "the records of MCAP files",
    "zstandard": "compressed bags",
    "rich": "progress and tables in the terminal",
    "psutil": "free memory before a search; memory of a demo's processes",
    "ros-jazzy-rclpy": "ROS 2 as wheels, where none is installed",
    "pin": "kinematics of arms, and distances between their links",
    "pybullet": "the simulated worlds",
    "matplotlib": "the plot of a demo, and the font of its film",
    "pillow": "the writing in a demo's film",
    "starlette": "the console's pages and sockets",
    "uvicorn": "the console's server",
    "websockets": "the sockets under uvicorn",
    "transformers": "larger encoders, from folders",
    "huggingface-hub": "the cache of Hugging Face, where it is installed",
    "ray": "collect, eval and benches on a cluster",
    "s3fs": "datasets in S3",
    "rerun-sdk": "a bag as a recording of rerun",
    "foxglove-sdk": "the protocol of Foxglove and Lichtblick",
    "tensorboard": "curves of a training, beside our own log",
    "pyarrow": "the Parquet files of LeRobot datasets",
    "av": "the videos of LeRobot datasets",
    "gymnasium": "other people's environments",
}
ROS_MESSAGES = "standard messages, as wheels"
#: Not shipped to users: what only people who change the project install.
INTERNAL = ("dev",)

#: Licences that may come along with an Apache-2.0 package; the last row only unmodified and as a library of its own.
ALLOWED = (
    "Apache", "MIT", "BSD", "0BSD", "ISC", "Zlib", "BSL-1.0", "Boost", "PSF", "Python", "HPND", "CC0",
    "Public domain", "Qhull", "Unlicense", "any-OSI", "NCSA", "Unicode", "libtiff",
    "MPL", "Mozilla", "LGPL", "GNU Library or Lesser",
)  # fmt: skip
#: Titles by which the licence files of wheels without any metadata are known.
TITLES = {
    "Apache License": "Apache-2.0", "Permission is hereby granted, free of charge": "MIT", "Qhull": "Qhull",
    "Redistribution and use in source": "BSD-3-Clause",
}  # fmt: skip


def canonical(name: str) -> str:
    """A package's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def declared() -> dict[str, list[str]]:
    """The requirements of setup.py: {extra: requirement lines}, the core under ""."""
    import setuptools

    found: dict[str, Any] = {}
    original, here = setuptools.setup, os.getcwd()
    setuptools.setup = lambda **arguments: found.update(arguments)
    try:
        os.chdir(ROOT)
        exec(compile((ROOT / "setup.py").read_text(encoding="utf-8"), "setup.py", "exec"), {"__name__": "__main__"})
    finally:
        os.chdir(here)
        setuptools.setup = original
    return {"": found["install_requires"], **found["extras_require"]}


def closure(lines: list[str]) -> dict[str, metadata.Distribution]:
    """All that requirement lines bring along in this environment: {name: distribution}."""
    found: dict[str, metadata.Distribution] = {}
    seen: set[tuple[str, frozenset[str]]] = set()
    todo = [Requirement(line) for line in lines]
    while todo:
        requirement = todo.pop()
        name, extras = canonical(requirement.name), frozenset(requirement.extras)
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        try:
            distribution = metadata.distribution(requirement.name)
        except metadata.PackageNotFoundError:
            continue
        found[name] = distribution
        for line in distribution.requires or []:
            further = Requirement(line)
            if further.marker is None or any(further.marker.evaluate({"extra": e}) for e in (*extras, "")):
                todo.append(further)
    return found


def size(distribution: metadata.Distribution) -> int:
    """Bytes of a package's files as they lie on the disk."""
    total = 0
    for file in distribution.files or []:
        path = Path(str(distribution.locate_file(file)))
        total += path.stat().st_size if path.is_file() else 0
    return total


def licence(distribution: metadata.Distribution) -> str | None:
    """What a package says of its licence: its metadata, ROS's package.xml, or the title of a licence file."""
    told = distribution.metadata
    if told.get("License-Expression"):
        return told["License-Expression"]
    classes = [c.rpartition("::")[2].strip() for c in told.get_all("Classifier") or [] if c.startswith("License ::")]
    if classes and classes != ["OSI Approved"]:
        return ", ".join(classes)
    if told.get("License"):
        first = told["License"].strip().splitlines()[0]
        return next((known for known in ALLOWED if known.lower() in first.lower()), first)
    for file in distribution.files or []:
        if file.name == "package.xml":
            root = ElementTree.fromstring(Path(str(distribution.locate_file(file))).read_text(encoding="utf-8"))
            return ", ".join(element.text or "" for element in root.findall("license"))
    for file in distribution.files or []:
        if re.match(r"(LICEN[CS]E|COPYING)", file.name, re.IGNORECASE):
            text = Path(str(distribution.locate_file(file))).read_text(encoding="utf-8", errors="replace")
            for title, known in TITLES.items():
                if title in text:
                    return known
    lines = [Requirement(line) for line in distribution.requires or []]
    wrapped = [r.name for r in lines if canonical(distribution.name).endswith(canonical(r.name).removeprefix("ros-"))]
    if wrapped:  # an empty package that stands for another, as ros-jazzy-* does
        return licence(metadata.distribution(wrapped[0]))
    return None


def allowed(told: str | None) -> bool:
    """Whether each alternative or part of a licence line is one that may come along."""
    if told is None or re.search(r"GPL|Affero|non-?commercial|CC-BY-NC", told.replace("LGPL", "")):
        return False
    return any(known.lower() in told.lower() for known in ALLOWED)


def why(name: str) -> str | None:
    """The reason for a direct dependency."""
    messages = name.startswith("ros-jazzy-") and name != "ros-jazzy-rclpy"
    return ROS_MESSAGES if messages else WHY.get(name)


def problems() -> list[str]:
    """What the check finds wrong, a line each."""
    lines = []
    for extra, requirements in declared().items():
        if extra in INTERNAL:
            continue
        for line in requirements:
            name = canonical(Requirement(line).name)
            if why(name) is None:
                lines.append(f"{name}: no reason is given in tools/dependencies.py")
        for name, distribution in closure(requirements).items():
            told = licence(distribution)
            if not allowed(told):
                lines.append(f"{name} {distribution.version}: licence {told!r} is not among those that may come along")
    return sorted(set(lines))


def tables() -> str:
    """Two Markdown tables: the direct dependencies, and what each extra adds on the disk."""
    parts = declared()
    core = closure(parts[""])
    rows, sizes, absent = [], [], []
    for extra, requirements in parts.items():
        if extra in INTERNAL:
            continue
        told = [line for line in requirements if why(canonical(Requirement(line).name)) != ROS_MESSAGES]
        for line in told:
            requirement = Requirement(line)
            name = canonical(requirement.name)
            if name not in (brought := closure([line])):
                absent.append(requirement.name)
                continue
            alone = {n: d for n, d in brought.items() if n == name or extra == "" or n not in core}
            rows.append((
                requirement.name, f"`[{extra}]`" if extra else "core", str(requirement.specifier), why(name) or "",
                licence(brought[name]) or "", f"{sum(map(size, alone.values())) / 1e6:.0f}",
            ))  # fmt: skip
        if len(told) < len(requirements):
            count = len(requirements) - len(told)
            rows.append((f"{count} packages of messages", f"`[{extra}]`", "", ROS_MESSAGES, "Apache-2.0, BSD", ""))
        added = {n: d for n, d in closure(requirements).items() if extra == "" or n not in core}
        sizes.append((f"`[{extra}]`" if extra else "core", len(added), f"{sum(map(size, added.values())) / 1e6:.0f}"))
    python = f"{sys.platform}, CPython {sys.version_info.major}.{sys.version_info.minor}"
    torch = core["torch"].version if "torch" in core else "not installed"
    text = [
        f"Measured on {python}, torch {torch}. MB are 10^6 bytes on the disk. A package is counted with all that it "
        "brings along, and in an extra without what the core has already.",
        "",
        _table(("package", "in", "versions", "why it is there", "licence", "MB"), rows),
        "",
        _table(("extra", "packages that it adds", "MB that it adds"), sizes),
    ]
    if absent:
        text += ["", f"Not installed here, so not measured: {', '.join(absent)}."]
    return "\n".join(text)


def _table(head: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(map(str, row)) + " |" for row in rows)])


def bill(extras: list[str] | None = None) -> dict[str, Any]:
    """The bill of materials of the core and some extras (all that users install by default), as CycloneDX 1.6."""
    parts = declared()
    chosen = [e for e in parts if e not in INTERNAL] if extras is None else ["", *extras]
    everything = closure([line for extra in chosen for line in parts[extra]])
    from jepa_ros import __version__

    def reference(name: str, version: str) -> str:
        return f"pkg:pypi/{name}@{version}"

    components, links = [], []
    for name, distribution in sorted(everything.items()):
        component = {
            "type": "library", "bom-ref": reference(name, distribution.version), "name": name,
            "version": distribution.version, "purl": reference(name, distribution.version),
            "licenses": [{"license": {"name": licence(distribution) or "not known"}}],
        }  # fmt: skip
        if (reason := why(name)) is not None:
            component["properties"] = [{"name": "jepa_ros:why", "value": reason}]
        components.append(component)
        below = {canonical(Requirement(line).name) for line in distribution.requires or []} & set(closure([name]))
        links.append({
            "ref": component["bom-ref"],
            "dependsOn": sorted(reference(n, everything[n].version) for n in below if n in everything),
        })  # fmt: skip
    own = reference("jepa-ros", __version__)
    first = {canonical(Requirement(line).name) for extra in chosen for line in parts[extra]}
    direct = sorted(reference(n, everything[n].version) for n in first if n in everything)
    links.append({"ref": own, "dependsOn": direct})
    return {
        "bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1,
        "metadata": {"component": {
            "type": "application", "bom-ref": own, "name": "jepa_ros", "version": __version__, "purl": own,
            "licenses": [{"license": {"id": "Apache-2.0"}}],
        }},
        "components": components, "dependencies": links,
    }  # fmt: skip


def main() -> int:
    """Do what the options say."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="write the tables into docs/dependencies.md")
    parser.add_argument("--check", action="store_true", help="fail for a missing reason or a licence that is not known")
    parser.add_argument("--sbom", metavar="FILE", help="write a CycloneDX bill of materials ('-' prints it)")
    args = parser.parse_args()
    if args.sbom:
        text = json.dumps(bill(), indent=1) + "\n"
        sys.stdout.write(text) if args.sbom == "-" else Path(args.sbom).write_text(text, encoding="utf-8")
    elif args.check:
        print("\n".join(found := problems()) or "every dependency has a reason, and a licence that may come along")
        return int(bool(found))
    elif args.write:
        page = PAGE.read_text(encoding="utf-8")
        before, _, rest = page.partition(BEGIN)
        PAGE.write_text(f"{before}{BEGIN}\n{tables()}\n{END}{rest.partition(END)[2]}", encoding="utf-8")
    else:
        print(tables())
    return 0


if __name__ == "__main__":
    sys.exit(main())
