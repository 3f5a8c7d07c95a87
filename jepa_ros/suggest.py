# SPDX-License-Identifier: Apache-2.0
"""What somebody may have meant: the ONE way in which an unknown name gets a suggestion."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(word: str, known: Iterable[str]) -> str:
    """The name that is most like ``word``, upper case and dashes aside; empty where none is near."""
    folded = {str(name).casefold().replace("-", "_"): str(name) for name in reversed(list(known))}
    near = difflib.get_close_matches(word.casefold().replace("-", "_"), folded, n=1, cutoff=0.6)
    return folded[near[0]] if near else ""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``"; did you mean 'odom'?"``, to end a message with; empty where nothing known is near to ``word``."""
    near = nearest(word, known)
    return f"; did you mean '{near}'?" if near else ""
