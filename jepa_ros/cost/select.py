# SPDX-License-Identifier: Apache-2.0
"""The choice between candidates: first feasible, then cheapest. Never a weighted sum of the two."""

from __future__ import annotations

import numpy as np


def lexicographic_order(cost: np.ndarray, violation: np.ndarray) -> np.ndarray:
    """Indices of the usable candidates, best first.

    A candidate is feasible when its violation is 0. Feasible ones come first, by cost; the infeasible follow by
    violation (then cost), so that a search that has found nothing feasible yet moves towards it. A candidate with a
    cost or violation that is not finite is dropped: it stands nowhere in the result.

    Args:
        cost: (C,) task cost at its risk measure.
        violation: (C,) >= 0, how far the worst guardrail is exceeded.

    Returns:
        (n <= C,) int64.
    """
    usable = np.flatnonzero(np.isfinite(cost) & np.isfinite(violation))
    return usable[np.lexsort((cost[usable], violation[usable]))]
