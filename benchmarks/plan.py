# SPDX-License-Identifier: Apache-2.0
"""Speed of the search: one plan at several sizes, against the machine's limit and against other planners.

    jepa-ros bench plan [--plans N] [--peers PYTHON] [--device cuda] [--json FILE] [--markdown FILE]

Prints p50 and p99 of one plan (cold start, deadline off), its floating-point work, and that work per second as a share
of the large matrix products measured in the same run with as many threads. `--peers` is the Python of a virtual
environment with `stable-worldmodel` and `pytorch-mppi` (`make bench` sets one up); they search the same model with the
same number of rollouts, and take turns with ours, so that a busy machine is as unkind to both. With `--device cuda` the
model is searched on the GPU, and nobody is compared.
"""

from __future__ import annotations

import argparse
import os
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.rigs import options, output
from benchmarks.rigs.search.plan_measure import cases, deadlines, load, machine, measure, peak, profile
from benchmarks.rigs.search.plan_tables import tables
from jepa_ros.contract import share_dir
from jepa_ros.errors import JepaRosError
from jepa_ros.files import add_json
from jepa_ros.learning.settings import choose_device
from jepa_ros.processor import usable_cores

#: Where `make bench` puts the environment of the other planners.
PEERS = share_dir() / ".venv-peers" / "bin" / "python"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    options.add_model(parser)
    parser.add_argument("--plans", type=int, default=100, help="plans a size (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=0, help="compute threads (default: the cores at hand)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: %(default)s)")
    parser.add_argument(
        "--peers",
        metavar="PYTHON",
        default=str(PEERS) if PEERS.exists() else None,
        help="Python of an environment with the other planners (default: .venv-peers, where there is one)",
    )
    add_json(parser)
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables")


def main(args: argparse.Namespace) -> int:
    """Measure everything and print the tables."""
    import torch

    if args.plans < 10:
        raise JepaRosError(f"--plans is {args.plans}; expected at least 10, a p99 of fewer means nothing")
    threads = args.threads or usable_cores()
    torch.set_num_threads(threads)
    device = choose_device(args.device)
    model, contract, about = load(args.robot, args.model, device)
    report: dict[str, Any] = {"benchmark": "plan", "version": 2, "machine": machine(threads, device), "model": about}
    report["peak_gflops"] = peak(device)
    report["plans"] = []
    for case in cases(device):
        say(f"{' x '.join(map(str, case['size']))}, {case['futures']} futures, {case['dtype']}, {case['backend']}")
        row = measure(model, contract, args.plans, **case)
        report["plans"].append(row | {"share_of_peak": row["gflops"] / report["peak_gflops"][row["dtype"]]})
    say("profile")
    report["profile"] = profile(model, contract, max(10, args.plans // 4), report["peak_gflops"], device)
    say("deadlines")
    report["deadline"] = deadlines(model, contract, args.plans)
    if args.peers and device == "cpu":
        from benchmarks.rigs.search.plan_peers import against_peers

        say("other planners")
        report["peers"] = against_peers(model, contract, args.peers, args.plans, threads, say)
    report["machine"]["load_after"] = os.getloadavg()[0]
    text = tables(report)
    output.deliver(report, text, args.json, args.markdown)
    return 0


say = partial(output.say, "plan")


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    add_arguments(arguments)
    raise SystemExit(main(arguments.parse_args()))
