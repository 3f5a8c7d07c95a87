# SPDX-License-Identifier: Apache-2.0
"""ROS 2 shells around the core: one file a node, parameters, topics and lifecycle, nothing that decides.

Each node module has a ``main()`` and runs as ``python -m jepa_ros.nodes.<name> --ros-args ...``. Which
of them run together, under which names, parameters and remappings, stands in :mod:`jepa_ros.bringup.graph`.
"""
