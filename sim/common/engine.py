# SPDX-License-Identifier: Apache-2.0
"""The ONE import of PyBullet: quiet, and with a plain word where it is missing."""

from __future__ import annotations

import os
from types import ModuleType

from .errors import SimError


def _import() -> ModuleType:
    """Import PyBullet with the C library's standard error closed for a moment: it announces its build time there."""
    keep = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        import pybullet as module
    except ImportError as error:
        raise SimError(
            "PyBullet is not installed: pip install pybullet (wheels for CPython 3.9 to 3.11; on a later one it "
            "compiles for several minutes and needs a C++ compiler)"
        ) from error
    finally:
        os.dup2(keep, 2)
        os.close(keep)
        os.close(nowhere)
    return module


pybullet = _import()
