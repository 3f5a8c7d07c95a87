# SPDX-License-Identifier: Apache-2.0
"""Rooms, doors and mazes seen from above, drawn with numpy: where a goal picture is far away."""
