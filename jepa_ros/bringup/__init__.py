# SPDX-License-Identifier: Apache-2.0
"""Which processes make a stack: ONE table for ``ros2 launch`` and ``jepa-ros up``."""
