# SPDX-License-Identifier: Apache-2.0
"""What can be wrong with the header stamps of a topic, in words: for `info`, and where a dataset finds no steps."""

from __future__ import annotations

import numpy as np

SLOWEST, FASTEST = 0.05, 20.0
"""A simulation's clock runs at some share of real time; stamps that run slower or faster are no clock."""
LEAST_SECONDS = 1.0
"""Less than this says nothing of how fast a clock runs."""


def fault(times: np.ndarray, stamps: np.ndarray) -> str:
    """What is wrong with header stamps (ns) that came at the times of receipt `times` (ns, sorted); '' for nothing."""
    if len(stamps) < 3:
        return ""
    if (stamps == stamps[0]).all():
        what = "no header stamp" if stamps[0] == 0 else f"the same header stamp ({stamps[0] * 1e-9:.3f} s)"
        return f"all {len(stamps)} messages have {what}: the driver does not set it"
    advanced, passed = float(np.ptp(stamps)) * 1e-9, float(times[-1] - times[0]) * 1e-9
    if passed > LEAST_SECONDS and not SLOWEST < advanced / passed < FASTEST:
        return (
            f"the header stamps span {advanced:.4g} s, the times of receipt {passed:.4g} s: "
            f"{'a clock that stands, or another unit' if advanced < passed else 'another unit, or a jump of time'}"
        )
    return ""


def strays(topic: str, count: int, of: int, offset: float) -> str:
    """Says that `count` of `of` messages were left out, their stamps being `offset` s behind those of the images."""
    side = "behind" if offset > 0 else "ahead of"
    return (
        f"{topic}: {count} of {of} messages left out: their header stamps are {abs(offset):.3f} s {side} those of the "
        "images that were received with them (another clock?)"
    )
