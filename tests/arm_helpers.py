# SPDX-License-Identifier: Apache-2.0
"""A Panda for the tests of arms, and a small arm of primitive shapes whose distances can be told by hand."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from jepa_ros.arm import ArmKinematics, read

PANDA = "pybullet_data:franka_panda/panda.urdf"
JOINTS = tuple(f"panda_joint{i}" for i in range(1, 8))
HOME = np.array([0.0, -0.3, 0.0, -2.2, 0.0, 2.0, 0.785])
FINGERS = {"panda_finger_joint1": 1.0, "panda_finger_joint2": 1.0}

#: Three bars of 0.4 m that turn about z in one plane, with balls of 5 cm at their ends.
PLANAR = """<robot name="planar">
  <link name="base"/>
  {links}
</robot>"""
_LINK = """
  <link name="bar{i}">
    <collision><origin xyz="0.4 0 0"/><geometry><sphere radius="0.05"/></geometry></collision>
  </link>
  <joint name="turn{i}" type="revolute">
    <parent link="{parent}"/><child link="bar{i}"/><origin xyz="{x} 0 0"/><axis xyz="0 0 1"/>
    <limit lower="-3.1" upper="3.1" velocity="2.0" effort="10"/>
  </joint>"""


def planar_urdf() -> str:
    """Text of the small arm."""
    rows = [("base", 0.0), ("bar1", 0.4), ("bar2", 0.4)]
    links = "".join(_LINK.format(i=i + 1, parent=parent, x=x) for i, (parent, x) in enumerate(rows))
    end = '<parent link="bar3"/><child link="tip"/><origin xyz="0.4 0 0"/>'
    tip = f'<link name="tip"/><joint name="end" type="fixed">{end}</joint>'
    return PLANAR.format(links=links + tip)


@lru_cache
def panda() -> ArmKinematics:
    """The Panda of pybullet_data."""
    return ArmKinematics(read(PANDA), JOINTS, "panda_link0", "panda_grasptarget", FINGERS)
