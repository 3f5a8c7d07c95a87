# SPDX-License-Identifier: Apache-2.0
"""Which code a campaign ran: what a kind of body really runs, and what the gate decides.

Probes are played, and every function that runs in them counts, of the gate's rows and of the bench: its bytecode, and
the numbers of its module that it uses. So rows of other bodies change nothing, nor do comments. ``gate.py``, the frame
that all bodies share, counts by what it lets out: mode, reason and values at every tick.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from benchmarks.rigs.gate import directed, histories
from benchmarks.rigs.gate.bodies import KINDS
from jepa_ros import safety
from jepa_ros.safety import Gate, GateOutput

#: Histories of a kind, and trials of a named body, that are played; no campaign plays the same.
HISTORIES, TRIALS, FIRST = 40, 4, 10**9
ROWS, BENCH = (str(Path(file).parent) for file in (safety.__file__, __file__))


def of(what: str) -> str:
    """The fingerprint of a kind of body (``bases``, ``joints``), or of the search of a named body."""
    found = _Traced()
    decisions = _histories(what) if what in KINDS else _trials(what)
    outs = found.run(lambda: [_decided(out) for out in decisions])
    parts = [repr(outs), *sorted(_text(code, names) for code, names in found.codes.items())]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _histories(kind: str) -> Iterable[GateOutput]:
    for seed in range(FIRST, FIRST + HISTORIES):
        history = histories.History(kind, seed)
        history.outputs = []
        history.run()
        yield from history.outputs


def _trials(name: str) -> Iterable[GateOutput]:
    body = directed.Searched(name)
    for k in range(TRIALS):
        body.outputs = []
        body.trial(directed.drawn(body, f"probe {k}"))
        yield from body.outputs


def _decided(out: GateOutput) -> tuple[Any, ...]:
    return out.mode.name, out.reason, out.publish, out.values.tolist()


class _Traced:
    """The functions that ran: those of the gate's rows in its steps, those of the bench always."""

    def __init__(self) -> None:
        self.codes: dict[CodeType, dict[str, Any]] = {}
        self._steps = 0
        self._frame = Gate.step.__code__.co_filename

    def run(self, function: Callable[[], Any]) -> Any:
        sys.setprofile(self._look)
        try:
            return function()
        finally:
            sys.setprofile(None)

    def _look(self, frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        if code is Gate.step.__code__:
            self._steps += {"call": 1, "return": -1}.get(event, 0)
        if event != "call" or code in self.codes:
            return
        file = code.co_filename
        row = self._steps and file.startswith(ROWS) and file != self._frame
        if row or (file.startswith(BENCH) and file != __file__):
            self.codes[code] = frame.f_globals


def _text(code: CodeType, names: dict[str, Any]) -> str:
    """What a function does, without where it stands and what it says about itself."""
    first = code.co_consts[:1]
    said = isinstance(first[0], str) if first else False
    constants = [
        _text(c, names) if isinstance(c, CodeType) else repr(sorted(c) if isinstance(c, frozenset) else c)
        for c in code.co_consts[said:]
    ]
    numbers = [f"{n}={names[n]!r}" for n in code.co_names if isinstance(names.get(n), (int, float, tuple))
               and _plain(names[n])]  # fmt: skip
    return "|".join([code.co_qualname, code.co_code.hex(), *constants, *code.co_names, *numbers])


def _plain(value: Any) -> bool:
    """Whether it is a number, or a tuple of numbers."""
    return all(isinstance(v, (int, float)) for v in (value if isinstance(value, tuple) else (value,)))
