# SPDX-License-Identifier: Apache-2.0
"""Two machines: planner on one, gate and robot on the other, over a link with delay, loss, cuts and skewed clocks.

Both are network namespaces of this machine (Linux, root), joined by a relay; shared memory is off. See docs/deploy.md.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.rigs.network.network import why_not
from benchmarks.rigs.network.two_machines import TwoMachines, cut, link, skewed
from jepa_ros.files import add_json, write_json

LINKS: dict[str, dict[str, float]] = {
    "nothing added": {},
    "20 ms each way": {"delay": 0.02},
    "50 ms each way": {"delay": 0.05},
    "100 ms each way": {"delay": 0.1},
    "20 ms and up to 20 ms more": {"delay": 0.02, "jitter": 0.02},
    "1 % of the frames lost": {"loss": 0.01},
    "5 % of the frames lost": {"loss": 0.05},
}
SKEWS = (-0.5, -0.05, 0.05, 0.5)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what this benchmark takes."""
    parser.add_argument("--seconds", type=float, default=15.0, help="seconds per link and skew (default: %(default)s)")
    parser.add_argument(
        "--cuts", type=int, default=10, help="how often the link is cut, 2 s each (default: %(default)s)"
    )
    parser.add_argument("--model", default="arena", help="checkpoint for the arena (default: %(default)s)")
    add_json(parser)


def main(args: argparse.Namespace) -> int:
    """Measure; 0 when no cut let the robot move on, or where this machine has no namespaces (it says so)."""
    if reason := why_not():
        print(f"not measured: {reason}")
        return 0
    with tempfile.TemporaryDirectory() as folder, TwoMachines(Path(folder), args.model) as machines:
        machines.driving(120.0)
        links = {name: link(machines, args.seconds, **how) for name, how in LINKS.items()}
        cuts = [cut(machines, 2.0) for _ in range(args.cuts)]
        skews = {f"{1e3 * skew:+.0f} ms": skewed(machines, args.seconds, skew) for skew in SKEWS}
    result = {"links": links, "cuts": cuts, "skews": skews}
    print(report(result))
    if args.json is not None:
        write_json(args.json, result)
    return 1 if any(c["moved_while_cut"] for c in cuts) else 0


def report(result: dict[str, Any]) -> str:
    """The results as text."""
    lines = ["link                          image age at the output, p50 / p99 [ms]   driving   stopped by"]
    for name, r in result["links"].items():
        age = r["image_age_ms"]
        lines.append(f"{name:32} {age['p50']:14.0f} / {age['p99']:4.0f} {100 * r['driving']:22.0f} %   "
                     f"{' '.join(r['stopped_by']) or '-'}")  # fmt: skip
    if result["cuts"]:
        names = {
            "stopped_after": "the gate stops", "zero_after": "the command is zero",
            "drives_after_joining": "it drives again after joining",
        }  # fmt: skip
        lines.append(f"{len(result['cuts'])} cuts of 2 s [s]:")
        for key, name in names.items():
            values = [c[key] for c in result["cuts"]]
            lines.append(f"  {name:32} {min(values):.2f} to {max(values):.2f}")
        slowest = max(result["cuts"], key=lambda c: c["drives_after_joining"])
        waited = ", ".join(f"{reason} {seconds:.2f}" for reason, seconds in slowest["waited_for"].items())
        lines.append(f"  the slowest stood for [s]: {waited}")
        lines.append(f"  moved while cut, after the stop: {sum(c['moved_while_cut'] for c in result['cuts'])}")
    lines.append("camera's clock ahead by      driving   stopped by")
    for name, r in result["skews"].items():
        lines.append(f"  {name:18} {100 * r['driving']:12.0f} %   {' '.join(r['stopped_by']) or '-'}")
    return "\n".join(lines)


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    add_arguments(arguments)
    raise SystemExit(main(arguments.parse_args()))
