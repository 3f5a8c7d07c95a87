# SPDX-License-Identifier: Apache-2.0
"""What somebody may have meant: the ONE way in which an unknown name gets a suggestion."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``"; did you mean 'odom'?"``, to end a message with; empty where nothing known is near to ``word``."""
    names = [str(name) for name in known]
    folded = {name.casefold().replace("-", "_"): name for name in reversed(names)}
    near = difflib.get_close_matches(word.casefold().replace("-", "_"), folded, n=1, cutoff=0.6)
    return f"; did you mean '{folded[near[0]]}'?" if near else ""
