# SPDX-License-Identifier: Apache-2.0
"""The console beside the whole stack: how soon a stop, a lost page, a goal and a reason arrive, and what viewers cost.

A page is played by its WebSocket; commands are heard at the gate's output, as a driver of the motors hears them. The
robot turns on the spot meanwhile, driven by hand, so that nothing but the page stops it.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.rigs import output
from jepa_ros.commands.options import duration, positive
from jepa_ros.files import add_json
from jepa_ros.ros_env import reserved_domain, ros_environment

#: What is to be reached: name, statistic, ms.
FIGURES = (
    ("stop pressed to zero", "stop_ms", "p99", 100.0),
    ("page let go to zero", "let_go_ms", "p99", 300.0),
    ("page silent to zero", "silent_ms", "p99", 300.0),
    ("page closed to zero", "closed_ms", "p99", 300.0),
    ("goal to first plan on the page", "goal_ms", "p50", 500.0),
    ("gate's stop to reason on the page", "reason_ms", "p99", 200.0),
)
#: Share of a core that one viewer may cost.
COST = 0.10
#: Share by which plans and ways may be slower with a console.
SLOWER = 0.05
SETTLED, BLOCK = 4.0, 15.0  # s
TURN = [0.0, 0.4]  # shares of the axes
GOALS = ([0.3, 0.3, 0.0], [-0.3, 0.3, 1.5], [-0.3, -0.3, 3.0], [0.3, -0.3, -1.5])


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what this benchmark takes."""
    parser.add_argument("--trials", type=positive, default=100, help="of each kind (default: %(default)s)")
    parser.add_argument("--seconds", type=duration, default=60.0, help="for each cost (default: %(default)s)")
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
        result["pace"] = _pace(rig, port, args.pairs)
        pid = held.enter_context(rig.command("console", "--use-sim-time", "--port", str(port), says="console of"))
        gate = rig.Output()
        held.callback(gate.close)
        result["cost"] = _cost(rig, port, pid, args.seconds)
        result |= _pressed(rig, gate, port, args.trials)
        result["goal_ms"] = _goals(rig, port, args.trials)
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
    """Gate's ticks and the console's memory, without and with many viewers."""
    found: dict[str, Any] = {"count": args.viewers, "slow": args.viewers // 4, "seconds": args.seconds}
    output.say("console", "ticks without viewers")
    found["ticks_without_ms"] = _ticks(gate, args.seconds)
    viewers = rig.Viewers(port, args.viewers, args.viewers // 4)
    rig.until(lambda: viewers.open == args.viewers, "all viewers look")
    time.sleep(3.0)
    output.say("console", "ticks with viewers")
    found["memory_first_mb"], used, began = _memory(pid), _used(pid), time.monotonic()
    found["ticks_with_ms"] = _ticks(gate, args.seconds)
    found["share_of_a_core"] = (_used(pid) - used) / (time.monotonic() - began)
    found["memory_last_mb"], found["still_open"] = _memory(pid), viewers.open
    viewers.close()
    return found


def _ticks(gate: Any, seconds: float) -> dict[str, float]:
    """Time between two ticks of the gate as it told them [ms]."""
    first = len(gate.ticks)
    time.sleep(seconds)
    between = 1e3 * np.diff(np.array(gate.ticks[first:]))
    return _spread([float(v) for v in between])


def report(result: dict[str, Any]) -> tuple[list[str], list[str]]:
    """The results as text, and what missed its figure."""
    machine, cost, many = result["machine"], result["cost"], result["viewers"]
    loads = f"load {machine['load_before']:.1f} before and {machine['load_after']:.1f} after"
    lines, missed = [f"{machine['processor']}, {machine['cores']} cores, {loads}; times in ms"], []
    for title, name, statistic, most in FIGURES:
        spread = result[name]
        row = "  ".join(f"{key} {spread[key]:6.0f}" for key in ("p50", "p99", "worst"))
        lines.append(f"{title:34} n {spread['n']:4}  {row}  {statistic} to reach {most:.0f}")
        if spread[statistic] > most:
            missed.append(title)
    shares = (cost["nobody"], cost["one_viewer"], many["share_of_a_core"])
    alone, one, all_of_them = (f"{100 * share:.1f} %" for share in shares)
    lines.append(f"share of a core: {alone} alone, {one} with one viewer, {all_of_them} with {many['count']}")
    if cost["one_viewer"] > COST:
        missed.append("share of a core with one viewer")
    pace = result["pace"]
    for title, what, statistic in (("plan", "plan", "p50"), ("picture to command", "way", "p99")):
        without, watched = (pace[f"{what}_{how}"][statistic] for how in ("without", "with"))
        counts = " and ".join(f"n {pace[f'{what}_{how}']['n']}" for how in ("without", "with"))
        lines.append(
            f"{title} {statistic}: {without:.1f} without a console, {watched:.1f} with one ({counts}), "
            f"{100 * (watched / without - 1):+.1f} %, to reach {100 * SLOWER:.0f} %"
        )
        if not watched <= (1.0 + SLOWER) * without:
            missed.append(f"{title} {statistic}")
    for title, spread in (("without viewers", many["ticks_without_ms"]), ("with them", many["ticks_with_ms"])):
        row = " / ".join(f"{spread[key]:.1f}" for key in ("p50", "p99", "worst"))
        lines.append(f"gate's ticks {title}, p50 / p99 / worst: {row}")
    lines.append(f"viewers: {many['count']}, {many['slow']} of them slow, {many['still_open']} open at the end")
    first, last = many["memory_first_mb"], many["memory_last_mb"]
    lines.append(f"memory: {first:.0f} MB, after {many['seconds']:.0f} s {last:.0f} MB")
    lines.append(f"missed: {', '.join(missed)}" if missed else "every figure was reached")
    return lines, missed


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    add_arguments(arguments)
    raise SystemExit(main(arguments.parse_args()))
