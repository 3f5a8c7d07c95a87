# SPDX-License-Identifier: Apache-2.0
"""Where the files that ship beside the code lie: ``robots/``, ``models/``, ``launch/``. The ONE place that knows."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def share_dir() -> Path:
    """Return the folder that holds ``robots/``, ``models/`` and ``launch/``.

    In a checkout (or an editable install) it is the repository root; in an installed package it is
    ``share/jepa_ros`` below the prefix, which is found through the ament prefixes first, so that an overlaid
    workspace wins over an underlay.
    """
    root = Path(__file__).resolve().parents[2]
    if (root / "robots").is_dir():
        return root
    prefixes = [p for p in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if p]
    for prefix in [*prefixes, sys.prefix]:
        candidate = Path(prefix) / "share" / "jepa_ros"
        if (candidate / "robots").is_dir():
            return candidate
    raise FileNotFoundError(
        f"the shared files of jepa_ros (robots/, models/) were found neither beside the code in {root} nor in "
        f"share/jepa_ros below {', '.join([*prefixes, sys.prefix])}: install the package again"
    )
