# SPDX-License-Identifier: Apache-2.0
"""The console beside the whole stack: how soon a stop, a lost page, a goal and a reason arrive, and what viewers cost.

A page is played by its WebSocket; commands are heard at the gate's output, as a driver of the motors hears them. The
robot turns on the spot meanwhile, driven by hand, so that nothing but the page stops it.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import math
import os
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.rigs import output
from benchmarks.rigs.console_report import report
from jepa_ros.files import add_json
from jepa_ros.options import duration, positive
from jepa_ros.ros_env import reserved_domain, ros_environment

SETTLED, BLOCK = 4.0, 15.0  # s
#: Parts of the time with viewers, at the ends of which the console's memory is read.
TENTHS = 10
TURN = [0.0, 0.4]  # shares of the axes
PARTS = ("pace", "cost", "pressed", "goals", "viewers")
GOALS = ([0.3, 0.3, 0.0], [-0.3, 0.3, 1.5], [-0.3, -0.3, 3.0], [0.3, -0.3, -1.5])


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what this benchmark takes."""
    parser.add_argument("--trials", type=positive, default=100, help="trials of each kind (default: %(default)s)")
    parser.add_argument("--seconds", type=duration, default=60.0, help="seconds for each cost (default: %(default)s)")
    parser.add_argument(
        "--viewers-seconds", type=duration, default=1800.0, help="with viewers, and without them (default: %(default)s)"
    )
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="what is measured (default: all)")
    parser.add_argument("--pairs", type=positive, default=6, help="with and without the console (default: %(default)s)")
    parser.add_argument("--viewers", type=positive, default=20, help="a quarter of them slow (default: %(default)s)")
    add_json(parser)


def main(args: argparse.Namespace) -> int:
    """Measure; 0 if every figure was reached."""
    result: dict[str, Any] = {"benchmark": "console", "machine": output.machine(), "trials": args.trials}
    with contextlib.ExitStack() as held:
        domain = str(held.enter_context(reserved_domain()))
        os.environ.update(ros_environment(ROS_DOMAIN_ID=domain))
        from benchmarks.rigs import console as rig  # ROS reads the environment at its first import

        output.say("console", "starting the stack")
        port = rig.free_port()
        held.enter_context(rig.command("up", "sim", says="[up] ready"))
        if "pace" in args.parts:
            result["pace"] = _pace(rig, port, args.pairs)
        pid = held.enter_context(rig.command("console", "--use-sim-time", "--port", str(port), says="console of"))
        gate = rig.Output()
        held.callback(gate.close)
        if "cost" in args.parts:
            result["cost"] = _cost(rig, port, pid, args.seconds)
        if "pressed" in args.parts:
            result |= _pressed(rig, gate, port, args.trials)
        if "goals" in args.parts:
            result["goal_ms"] = _goals(rig, port, args.trials)
        if "viewers" in args.parts:
            result["viewers"] = _viewers(rig, gate, port, pid, args)
    result["machine"]["load_after"] = os.getloadavg()[0]
    lines, missed = report(result)
    output.deliver(result, "\n".join(lines) + "\n", args.json, None)
    return 1 if missed else 0


# ------------------------------------------------------------ how soon


def _pressed(rig: Any, gate: Any, port: int, trials: int) -> dict[str, Any]:
    """Stops, and three ways to let go, in turn."""
    rng, page = np.random.default_rng(0), rig.Page(port)
    page.take()
    found: dict[str, list[float]] = {}
    for k in range(trials):
        for name in ("stop_ms", "let_go_ms", "silent_ms", "closed_ms"):
            output.say("console", f"trial {k + 1} of {trials}: {name}")
            _turn(rig, gate, page, rng.uniform(0.3, 0.6))
            found.setdefault(name, []).append(_zero(rig, gate, page, name))
            if name == "stop_ms":
                found.setdefault("reason_ms", []).append(_reason(rig, gate, page))
                page.reset()
            elif name == "closed_ms":
                page = rig.Page(port)
                page.take()
            time.sleep(0.8)  # a handle that was let go says zero for half a second
    page.close()
    return {name: _spread(values) for name, values in found.items()}


def _turn(rig: Any, gate: Any, page: Any, seconds: float) -> None:
    """Drive by hand for a while; the robot turns at the end of it."""
    rig.until(lambda: page.state.get("gate", {}).get("mode") in ("ACTIVE", "LIMITED"), "the gate is active", told=page)
    page.hold(TURN)
    rig.until(lambda: gate.moving[1], "the robot turns")
    time.sleep(seconds)
    rig.until(lambda: gate.moving[1], "the robot still turns")


def _zero(rig: Any, gate: Any, page: Any, name: str) -> float:
    """End it in one way; ms until zero leaves the gate."""
    ways = {"stop_ms": lambda: page.say("stop"), "let_go_ms": page.let_go, "silent_ms": page.fall_silent}
    began = ways.get(name, page.close)()
    rig.until(lambda: gate.moving[0] > began and not gate.moving[1], f"zero after {name}")
    zero = gate.moving[0]
    page.fall_silent()
    return 1e3 * (zero - began)


def _reason(rig: Any, gate: Any, page: Any) -> float:
    """ms from the gate's word of its stop to the page's."""
    rig.until(lambda: page.state["gate"]["mode"] == "ESTOP", "the page says why")
    shown = page.at
    rig.until(lambda: gate.mode[1] == "ESTOP", "the gate says why")
    return max(0.0, 1e3 * (shown - gate.mode[0]))


def _goals(rig: Any, port: int, trials: int) -> dict[str, float]:
    """Seconds from a goal to the first plan towards it on the page."""
    page, found = rig.Page(port), list[float]()
    page.take()
    for k in range(trials):
        output.say("console", f"goal {k + 1} of {trials}")
        page.say("clear")
        rig.until(lambda: page.state["planner"]["goal"] == "none", "no goal")
        began = page.say("goal", pose=GOALS[k % len(GOALS)])
        rig.until(lambda: page.state["planner"]["reason"] in ("ok", "arrived"), "a plan", told=page)
        if page.state["planner"]["reason"] == "ok":
            rig.until(lambda: len(page.state["drawing"]["plan"]) > 1, "the plan is drawn")
            found.append(1e3 * (page.at - began))
        time.sleep(0.3)
    page.say("clear")
    time.sleep(0.2)
    page.close()
    return _spread(found)


def _spread(values: list[float]) -> dict[str, float]:
    """n, p50, p99 and worst; of few values the p99 is all but the worst. NaN of none."""
    values = values or [math.nan]
    return {
        "n": len(values), "p50": float(np.percentile(values, 50)), "p99": float(np.percentile(values, 99)),
        "worst": float(max(values)),
    }  # fmt: skip


# ------------------------------------------------------------ what it costs


def _used(pid: int) -> float:
    """Seconds of processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _memory(pid: int) -> float:
    """Resident memory, MB."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024.0


def _share(pid: int, seconds: float) -> float:
    """Share of a core that a process uses over a while."""
    used, began = _used(pid), time.monotonic()
    time.sleep(seconds)
    return (_used(pid) - used) / (time.monotonic() - began)


def _cost(rig: Any, port: int, pid: int, seconds: float) -> dict[str, float]:
    output.say("console", "what it costs without a viewer")
    time.sleep(3.0)
    alone = _share(pid, seconds)
    output.say("console", "what it costs with one")
    page = rig.Page(port)
    time.sleep(1.0)
    watched = _share(pid, seconds)
    page.close()
    return {"nobody": alone, "one_viewer": watched}


def _pace(rig: Any, port: int, pairs: int) -> dict[str, Any]:
    """Plans, and ways from a picture to its command, with a console that one page looks at and without one, in turn."""
    from benchmarks.rigs.pace import Pace

    pace = Pace(GOALS)
    found: dict[str, list[float]] = {f"{what}_{how}": [] for what in ("plan", "way") for how in ("without", "with")}
    try:
        for k in range(2 * pairs):
            how = ("without", "with")[(k + k // 2) % 2]  # without, with, with, without ...
            output.say("console", f"pace {how} a console, {k + 1} of {2 * pairs}")
            with contextlib.ExitStack() as held:
                if how == "with":
                    words = ("console", "--use-sim-time", "--port", str(port))
                    held.enter_context(rig.command(*words, says="console of"))
                    held.callback(rig.Page(port).close)
                time.sleep(SETTLED)
                pace.clear()
                time.sleep(BLOCK)
                found[f"plan_{how}"] += pace.plans
                found[f"way_{how}"] += pace.ways
    finally:
        pace.close()
    return {"pairs": pairs, **{name: _spread(values) for name, values in found.items()}}


def _viewers(rig: Any, gate: Any, port: int, pid: int, args: argparse.Namespace) -> dict[str, Any]:
    """Gate's ticks and the console's memory with many viewers; without them half of the time before, half after."""
    seconds = args.viewers_seconds
    found: dict[str, Any] = {"count": args.viewers, "slow": args.viewers // 4, "seconds": seconds, "memory_mb": []}
    output.say("console", "ticks without viewers")
    without = _ticks(gate, 0.5 * seconds)
    viewers = rig.Viewers(port, args.viewers, args.viewers // 4)
    rig.until(lambda: viewers.open == args.viewers, "all viewers look")
    time.sleep(3.0)
    output.say("console", "ticks with viewers")
    used, began, with_them = _used(pid), time.monotonic(), []
    for _ in range(TENTHS):
        found["memory_mb"].append(round(_memory(pid), 1))
        with_them += _ticks(gate, seconds / TENTHS)
    found["share_of_a_core"] = (_used(pid) - used) / (time.monotonic() - began)
    found["memory_mb"].append(round(_memory(pid), 1))
    found["still_open"] = viewers.open
    viewers.close()
    output.say("console", "ticks without viewers again")
    without += _ticks(gate, 0.5 * seconds)
    return found | {"ticks_without_ms": _spread(without), "ticks_with_ms": _spread(with_them)}


def _ticks(gate: Any, seconds: float) -> list[float]:
    """Times between two ticks of the gate over a while [ms]."""
    first = len(gate.ticks)
    time.sleep(seconds)
    return between(gate.ticks[first:])


def between(ticks: list[tuple[int, float]]) -> list[float]:
    """Times [ms] between ticks (number, time [s]) that follow each other; where one was not heard, none."""
    return [1e3 * (b[1] - a[1]) for a, b in itertools.pairwise(ticks) if b[0] == a[0] + 1]


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    add_arguments(arguments)
    raise SystemExit(main(arguments.parse_args()))
