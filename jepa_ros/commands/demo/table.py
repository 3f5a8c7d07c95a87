# SPDX-License-Identifier: Apache-2.0
"""The live table of a demonstration: redrawn in a terminal, one line every other second elsewhere."""

from __future__ import annotations

import math
import time
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table

from jepa_ros.commands.demo.observer import Observer, number

REDRAW, LINE_PERIOD = 0.2, 2.0  # s
MODE_STYLES = {
    "ACTIVE": "bold green",
    "LIMITED": "bold yellow",
    "ARMING": "bold cyan",
    "STOPPED": "bold red",
    "ESTOP": "bold red",
}


def text(value: float, form: str, unit: str = "") -> str:
    """A number for people; a dash where it is not known."""
    return f"{value:{form}}{unit}" if math.isfinite(value) else "-"


class LiveTable:
    """Shows what the observer sees. A context manager; :meth:`update` may be called as often as one likes.

    Args:
        observer: what is watched. console: where to. memory: gives the stack's resident memory in MB.
    """

    def __init__(self, observer: Observer, console: Console, memory: Any) -> None:
        self.observer, self.console, self.memory = observer, console, memory
        self.title = ""
        self._next = 0.0
        self._live = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None

    def __enter__(self) -> LiveTable:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: Any) -> None:
        if self._live:
            self._live.stop()

    def update(self) -> None:
        """Redraw, when it is time to."""
        now = time.monotonic()
        if now < self._next or self.observer.episode is None:
            return
        self._next = now + (REDRAW if self._live else LINE_PERIOD)
        if self._live:
            self._live.update(self._table(), refresh=True)
        else:
            self.console.print(self._line(), highlight=False, soft_wrap=True)

    def _distance(self) -> tuple[float, float]:
        o = self.observer
        assert o.episode is not None
        return o.now - o.goal_time, o.episode.away(o.place)

    def _line(self) -> str:
        o, (at, metres) = self.observer, self._distance()
        return (
            f"{self.title}  t {text(at, '5.1f', ' s')}  distance {text(metres, '.2f', ' m')}  "
            f"plan {text(1e3 * number(o.status, 'elapsed_s'), '.0f', ' ms')}  "
            f"iterations {text(number(o.status, 'iterations'), '.0f')}  planner {o.status.get('reason', '-')}  "
            f"gate {o.gate.get('mode', '-')} ({o.gate.get('reason', '-')})"
        )

    def _table(self) -> Table:
        o, (at, metres) = self.observer, self._distance()
        table = Table(
            title=f"{self.title}   t = {text(at, '.1f', ' s')}", title_justify="left", width=78, show_header=False
        )
        table.add_column(style="dim", width=22)
        table.add_column()
        bar = "█" * max(0, min(30, round(metres / 1.2 * 30))) if math.isfinite(metres) else ""
        table.add_row("distance to the goal", f"[bold]{text(metres, '.2f', ' m')}[/] [yellow]{bar}[/]")
        unit = o.status.get("distance_unit", "")
        table.add_row("as the planner sees it", f"{text(number(o.status, 'distance'), '.2f')} {unit}".rstrip())
        table.add_row("planner", f"{o.status.get('reason', '-')}: {o.status.get('message', '')}")
        table.add_row(
            "search",
            f"{text(1e3 * number(o.status, 'elapsed_s'), '.1f', ' ms')}, "
            f"{text(number(o.status, 'iterations'), '.0f')} iterations, "
            f"{text(number(o.status, 'evaluated'), '.0f')} candidates",
        )
        terms = ", ".join(f"{name} {text(value, '.2f')}" for name, value in o.terms().items())
        table.add_row("cost", f"{text(number(o.status, 'cost'), '.3f')}   {terms}")
        mode = o.gate.get("mode", "-")
        table.add_row("gate", f"[{MODE_STYLES.get(mode, 'bold')}]{mode}[/] {o.gate.get('message', '')}")
        age = 1e3 * number(o.gate, "image_age")
        table.add_row(
            "behind the command",
            f"an image {text(age, '.0f', ' ms')} old, scaled by {text(number(o.gate, 'scale'), '.2f')}",
        )
        names = {"image": "image", "embedding": "embedding", "command_raw": "command", "safety_gate/state": "gate"}
        rates = ", ".join(f"{label} {o.rate(topic):.0f}" for topic, label in names.items())
        table.add_row("rates [Hz]", f"{rates}, real time x {text(o.real_time_factor, '.2f')}")
        table.add_row("memory", text(self.memory(), ".0f", " MB, all processes"))
        return table
