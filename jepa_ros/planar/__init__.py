# SPDX-License-Identifier: Apache-2.0
"""What only planar robots need: where the robot can drive, what blocked it, what moves, and the ways between."""
