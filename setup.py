# SPDX-License-Identifier: Apache-2.0
"""The package as colcon (ament_python) and pip build it.

ROS dependencies stand in package.xml for a full ROS 2, and in the extra ``ros`` (wheels from PyPI) for a machine
without one; they are never a hard requirement, so that pip cannot shadow an installed ROS.

The nodes' executables are data files in ``lib/jepa_ros``, where ``ros2 run`` and ``ros2 launch`` look: console scripts
would put names like ``camera`` and ``sim`` on everybody's PATH when pip installs them, and would write the build's
interpreter into them, so that an active virtual environment (where torch usually lives) would be ignored.
"""

import os

from setuptools import find_packages, setup

NAME = "jepa_ros"


def tree(folder):
    """Every file below `folder`, as (share/jepa_ros/<its folder>, [files]) rows for data_files."""
    rows = []
    for path, folders, files in os.walk(folder):
        folders[:] = sorted(f for f in folders if not f.startswith((".", "__")))
        kept = [os.path.join(path, f) for f in sorted(files) if not f.startswith(".") and not f.endswith(".pyc")]
        if kept:
            rows.append((f"share/{NAME}/{path}", kept))
    return rows


ROS_MESSAGES = [
    "builtin-interfaces",
    "diagnostic-msgs",
    "geometry-msgs",
    "lifecycle-msgs",
    "nav-msgs",
    "rcl-interfaces",
    "rosgraph-msgs",
    "sensor-msgs",
    "std-msgs",
    "std-srvs",
    "trajectory-msgs",
    "visualization-msgs",
]
EXTRAS = {
    "ros": ["ros-jazzy-rclpy[fastrtps]>=7.1,<8", *(f"ros-jazzy-{name}" for name in ROS_MESSAGES)],
    "arm": ["pin>=3.4,<5"],
    "hf": ["transformers>=5,<6", "huggingface_hub>=1,<3"],
    "ray": ["ray>=2.60,<2.61"],
    "s3": ["s3fs>=2025.1"],
    "sim": ["pybullet>=3.2.6,<4", "matplotlib>=3.7,<4", "pillow>=10,<14"],
    "console": ["starlette>=0.40,<2", "uvicorn>=0.30,<1", "websockets>=13,<18"],
    "rerun": ["rerun-sdk>=0.41,<0.42"],
    "foxglove": ["foxglove-sdk>=0.30,<0.31"],
    "train": ["tensorboard>=2.15,<3", "gymnasium[classic-control]>=1.0,<2"],  # gymnasium is deprecated here: [gym]
    "lerobot": ["pyarrow>=15,<27", "av>=12,<19"],
    "gym": ["gymnasium[classic-control]>=1.0,<2"],
    "dev": [
        "pytest>=8",
        "pytest-xdist>=3.5,<4",
        "hypothesis>=6.100",
        "ruff>=0.6",
        "mypy>=1.10",
        "playwright>=1.45,<2",
        "axe-playwright-python>=0.1.4,<0.2",
        "moto[s3]>=5.2,<6",
        "flask>=3,<4",
        "flask-cors>=4,<7",
        "colcon-common-extensions>=0.3",
        "colcon-ros>=0.5",
    ],
}

setup(
    name=NAME,
    version="0.2.0",
    description="Objective-driven robot control on ROS 2: camera, learned world model, search, safety gate",
    license="Apache-2.0",
    maintainer="jepa_ros maintainers",
    maintainer_email="jepa-ros@users.noreply.github.com",
    url="https://github.com/jepa-ros/jepa_ros",
    python_requires=">=3.10,<3.13",
    packages=[
        *find_packages(include=[NAME, f"{NAME}.*"]),
        *(f"jepa_ros_sim{'.' * bool(p)}{p}" for p in ["", *find_packages("sim")]),
    ],
    package_dir={"jepa_ros_sim": "sim"},
    package_data={
        "jepa_ros_sim.arena": ["assets/*"],
        "jepa_ros_sim.house": ["assets/*"],
        NAME: ["py.typed", "*.xml", "planning/*.c", "planning/*.h", "console/page/*"],
    },
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (f"share/{NAME}", ["package.xml"]),
        (f"lib/{NAME}", [os.path.join("scripts", name) for name in sorted(os.listdir("scripts"))]),
        *tree("launch"),
        *tree("robots"),
        *tree("models"),
    ],
    entry_points={
        "console_scripts": [f"jepa-ros = {NAME}.commands.cli:main"],
        f"{NAME}.worlds": [
            "arena = jepa_ros_sim.arena.world:ArenaWorld",
            "panda = jepa_ros_sim.table.world:TableWorld",
            "rooms = jepa_ros_sim.rooms.world:RoomsWorld",
            "rover = jepa_ros_sim.house.world:HouseWorld",
        ],
    },
    install_requires=[
        "torch~=2.13.0",
        "numpy>=1.26,<3",
        "scipy>=1.10,<2",
        "opencv-python-headless>=4.8,<6",
        "safetensors>=0.4.3,<1",
        "fsspec>=2025.1",
        "PyYAML>=6,<7",
        "rosbags>=0.10.4,<0.12",
        "mcap>=1.1,<2",
        "zstandard>=0.22,<1",
        "rich>=13,<16",
        "psutil>=5.9,<8",
    ],
    extras_require=EXTRAS,
    zip_safe=False,
)
