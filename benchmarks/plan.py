# SPDX-License-Identifier: Apache-2.0
"""Speed of the search: one plan at several sizes, against the machine's limit and against other planners.

    jepa-ros bench plan [--plans N] [--peers PYTHON] [--json FILE] [--markdown FILE]

Prints p50 and p99 of one plan (cold start, deadline off), its floating-point work, and that work per second as a share
of the large matrix products measured in the same run with as many threads. `--peers` is the Python of a virtual
environment with `stable-worldmodel` and `pytorch-mppi`; they search the same model with the same number of rollouts,
and take turns with ours, so that a busy machine is as unkind to both.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from jepa_ros.errors import JepaRosError

#: horizon, samples, iterations
SIZES = ((10, 128, 3), (12, 256, 4), (15, 512, 6), (5, 300, 10))
TARGETS = {(10, 128, 3): (9.0, 14.0)}  # ms, p50 and p99
ROUNDS = 5  # turns that ours and the peers take


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--robot", default="arena", help="contract: a name or a file (default: %(default)s)")
    parser.add_argument("--model", help="checkpoint: a folder or a shipped name (default: the robot's name)")
    parser.add_argument("--plans", type=int, default=100, help="plans a size (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=0, help="compute threads (default: the cores at hand)")
    parser.add_argument("--peers", metavar="PYTHON", help="Python of an environment with the other planners")
    parser.add_argument("--json", metavar="FILE", help="write the results for machines")
    parser.add_argument("--markdown", metavar="FILE", help="write the tables")


def main(args: argparse.Namespace) -> int:
    """Measure everything and print the tables."""
    import torch

    if args.plans < 10:
        raise JepaRosError(f"--plans is {args.plans}; expected at least 10, a p99 of fewer means nothing")
    threads = args.threads or len(os.sched_getaffinity(0))
    torch.set_num_threads(threads)
    model, contract, about = load(args.robot, args.model)
    report: dict[str, Any] = {"benchmark": "plan", "version": 1, "machine": machine(threads), "model": about}
    report["peak_gflops"] = peak(threads)
    report["plans"] = [measure(model, contract, args.plans, **case) for case in cases()]
    for row in report["plans"]:
        row["share_of_peak"] = row["gflops"] / report["peak_gflops"].get(row["dtype"], math.nan)
    report["deadline"] = deadlines(model, contract, args.plans)
    if args.peers:
        report["peers"] = against_peers(model, contract, args.peers, args.plans, threads)
    report["machine"]["load_after"] = os.getloadavg()[0]
    text = tables(report)
    sys.stdout.write(text)
    if args.json:
        Path(args.json).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    if args.markdown:
        Path(args.markdown).write_text(text, encoding="utf-8")
    return 0


# ---------------------------------------------------------------- what is measured on


def load(robot: str, name: str | None) -> tuple[Any, Any, dict[str, Any]]:
    """The model, the contract and a few words about them; random weights of the shipped sizes where none is shipped."""
    import torch

    from jepa_ros.robot import load_contract
    from jepa_ros.world_model import ModelConfig, WorldModel, load_checkpoint, model_id
    from jepa_ros.world_model.checkpoint import CheckpointError

    contract = load_contract(robot)
    try:
        model, card = load_checkpoint(name or contract.name, contract)
        identity = model_id(card)
    except CheckpointError:
        if name:
            raise
        torch.manual_seed(0)
        model, identity = WorldModel(ModelConfig()).eval().requires_grad_(False), "random weights"
    step, readout = flops(model)
    about = {
        "id": identity,
        "parameters": sum(p.numel() for p in model.parameters()),
        "predictor_parameters": sum(p.numel() for p in model.predictor.parameters()),
        "kflop_a_step": step / 1e3,
        "kflop_a_readout": readout / 1e3,
    }
    return model, contract, about


def flops(model: Any) -> tuple[int, int]:
    """Floating-point operations of one step of the predictor, and of the readouts of its latent that the cost uses.

    The goal's half of the distance head's first layer is the same for all latents and counts for nothing.
    """
    from torch import nn

    def of(net: Any) -> int:
        return sum(2 * m.in_features * m.out_features for m in net.modules() if isinstance(m, nn.Linear))

    readout = 3 * model.config.latent_dim  # the RMS distance
    if model.has_readout("distance"):
        first = next(m for m in model.heads["distance"].modules() if isinstance(m, nn.Linear))
        readout += of(model.heads["distance"]) - 2 * model.config.latent_dim * first.out_features
    return of(model.predictor), readout


def machine(threads: int) -> dict[str, Any]:
    """What the numbers depend on."""
    import torch

    from jepa_ros.actor import native

    name = platform.processor()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        lines = [x for x in info.read_text(encoding="utf-8").splitlines() if x.startswith("model name")]
        name = lines[0].split(":", 1)[1].strip() if lines else name
    return {
        "processor": name,
        "cores": len(os.sched_getaffinity(0)),
        "threads": threads,
        "bfloat16": native.has_bfloat16(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "load_before": os.getloadavg()[0],
    }


def peak(threads: int, size: int = 2048, seconds: float = 1.5) -> dict[str, float]:
    """GFLOP/s of the best of many large matrix products, fp32 and bf16."""
    import torch

    found = {}
    for name in ("float32", "bfloat16"):
        a = torch.randn(size, size).to(getattr(torch, name))
        out, best, stop = torch.empty_like(a), math.inf, time.perf_counter() + seconds
        while time.perf_counter() < stop:
            start = time.perf_counter()
            torch.mm(a, a, out=out)
            best = min(best, time.perf_counter() - start)
        found[name] = 2e-9 * size**3 / best
    return found


def cases() -> list[dict[str, Any]]:
    """The plans to measure."""
    from jepa_ros.actor import native

    dtypes = ["float32", *(["bfloat16"] if native.has_bfloat16() else [])]
    rows = [{"size": size, "dtype": dtype, "backend": "auto", "futures": 1} for size in SIZES for dtype in dtypes]
    rows += [{"size": SIZES[0], "dtype": dtypes[-1], "backend": "auto", "futures": 8}]
    rows += [{"size": SIZES[0], "dtype": "float32", "backend": "model", "futures": 1}]
    return rows


def make_search(model: Any, contract: Any, size: tuple[int, int, int], dtype: str, backend: str, futures: int) -> Any:
    """A warmed-up search of one size that only its iterations end."""
    from jepa_ros.actor import Search, SearchConfig

    horizon, samples, iterations = size
    dtype = "auto" if backend == "model" else dtype
    config = SearchConfig(
        horizon=horizon, samples=samples, iterations=iterations, noise_samples=futures, dtype=dtype, backend=backend,
        deadline=1e3,
    )  # fmt: skip
    search = Search(model, config, contract)
    search.warm_up()
    return search


def problem(model: Any, seed: int) -> tuple[np.ndarray, np.ndarray, Any]:
    """A state and a goal: random latents, the speed does not depend on them."""
    from jepa_ros.cost import Goal

    rng = np.random.default_rng(seed)
    z = rng.normal(size=model.config.latent_dim).astype(np.float32)
    goal = Goal.from_latent(rng.normal(size=model.config.latent_dim))
    return z, np.zeros(model.config.state_dim, np.float32), goal


# ---------------------------------------------------------------- measurements


def timed(search: Any, model: Any, plans: int, first: int = 0) -> tuple[list[float], list[float]]:
    """Seconds by the clock and of the processor, of plans without a warm start."""
    wall, processor = [], []
    for i in range(first, first + plans):
        z, h, goal = problem(model, i)
        began, used = time.perf_counter(), time.process_time()
        search.plan(z, h, goal, seed=i)
        wall.append(time.perf_counter() - began)
        processor.append(time.process_time() - used)
    return wall, processor


def measure(
    model: Any, contract: Any, plans: int, size: tuple[int, int, int], dtype: str, backend: str, futures: int
) -> dict[str, Any]:
    """One row of the table of plans."""
    search = make_search(model, contract, size, dtype, backend, futures)
    wall, processor = timed(search, model, plans)
    gflop = 1e-9 * math.prod(size) * futures * sum(flops(model))
    return {
        "size": list(size), "futures": futures, "dtype": dtype, "engine": search.backend, "plans": plans,
        **milliseconds(wall), "processor_ms": 1e3 * float(np.median(processor)), "gflop": gflop,
        "gflops": gflop / float(np.median(wall)),
    }  # fmt: skip


def milliseconds(seconds: list[float]) -> dict[str, float]:
    """min, p50 and p99 in ms."""
    values = 1e3 * np.asarray(seconds)
    return {"min_ms": values.min(), "p50_ms": np.median(values), "p99_ms": np.percentile(values, 99)}


def deadlines(model: Any, contract: Any, plans: int) -> dict[str, Any]:
    """By how much a deadline of 20 ms is overrun, alone and beside one busy process a core."""
    from jepa_ros.actor import Search, SearchConfig

    config = SearchConfig(iterations=1000, deadline=0.02)
    rows = {}
    for name, count in (("alone", 0), ("beside busy processes", len(os.sched_getaffinity(0)))):
        others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
        search = Search(model, config, contract)
        search.warm_up()
        over, iterations = [], []
        for i in range(plans):
            z, h, goal = problem(model, i)
            began = time.perf_counter()
            result = search.plan(z, h, goal, seed=i)
            over.append(time.perf_counter() - began - config.deadline)
            iterations.append(result.iterations)
        for other in others:
            other.kill()
            other.wait()
        rows[name] = {
            "busy_processes": count,
            "overrun_p50_ms": 1e3 * float(np.median(over)),
            "overrun_p99_ms": 1e3 * float(np.percentile(over, 99)),
            "iterations": float(np.mean(iterations)),
        }
    return {"deadline_ms": 1e3 * config.deadline, "cases": rows}


# ---------------------------------------------------------------- peers


class Peers:
    """The other planners in a process of their own environment, which gets the model as a file; see _plan_peers.py."""

    def __init__(self, python: str, model: Any, threads: int) -> None:
        import torch

        self.folder = tempfile.TemporaryDirectory()
        path = Path(self.folder.name) / "model.pt"
        torch.save({"config": model.config.to_dict(), "state": model.state_dict()}, path)
        root = Path(__file__).resolve().parents[1]
        self.process = subprocess.Popen(
            [python, str(Path(__file__).with_name("_plan_peers.py")), str(path), str(threads)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": str(threads)},
        )  # fmt: skip
        self.names = self._answer()

    def ask(self, **question: Any) -> Any:
        """Have plans made; see _plan_peers.py."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise JepaRosError("the peers' process ended; its words stand above")
        return json.loads(line)

    def close(self) -> None:
        """End the process."""
        self.process.communicate(timeout=10)
        self.folder.cleanup()


def against_peers(model: Any, contract: Any, python: str, plans: int, threads: int) -> dict[str, Any]:
    """Ours and the peers in turn, at every size; and the time to the cost that a long CEM of theirs reaches."""
    peers = Peers(python, model, threads)
    try:
        rows = []
        for size in SIZES:
            search = make_search(model, contract, size, "auto", "auto", 1)
            seconds: dict[str, list[float]] = {"jepa_ros": [], **{name: [] for name in peers.names}}
            processor: dict[str, list[float]] = {name: [] for name in seconds}
            share = max(2, plans // ROUNDS)
            for turn in range(ROUNDS):
                wall, used = timed(search, model, share, turn * share)
                seconds["jepa_ros"] += wall
                processor["jepa_ros"] += used
                for name in peers.names:
                    answer = peers.ask(peer=name, size=size, plans=share, first=turn * share)
                    seconds[name] += answer["seconds"]
                    processor[name] += answer["processor"]
            rows.append(
                {
                    "size": list(size),
                    "times_faster": _ratio(seconds, peers.names),
                    "times_less_processor": _ratio(processor, peers.names),
                    **{
                        name: {**milliseconds(times), "processor_ms": 1e3 * float(np.median(processor[name]))}
                        for name, times in seconds.items()
                    },
                }
            )
        return {"versions": peers.names, "rows": rows, "time_to_cost": time_to_cost(model, contract, peers)}
    finally:
        peers.close()


def _ratio(times: dict[str, list[float]], peers: Any) -> float:
    """The better peer's median over ours."""
    return min(float(np.median(times[name])) for name in peers) / float(np.median(times["jepa_ros"]))


def time_to_cost(model: Any, contract: Any, peers: Peers, problems: int = 10) -> dict[str, Any]:
    """Seconds until our best cost is as low as that of their CEM's answer after 300 samples x 30 iterations.

    Both start cold, horizon 10, on the same states and goals; both plans' costs are computed by the model's own code.
    """
    import torch

    from jepa_ros.actor import Search, SearchConfig
    from jepa_ros.actor.rollout import ModelRollout
    from jepa_ros.cost import TaskCost

    contract = replace(contract, actuation_latency=0.0)  # theirs knows no latency
    config = SearchConfig(samples=128, iterations=200, deadline=1e3)
    search = Search(model, config, contract)
    search.warm_up()
    task, theirs, ours, costs = TaskCost(model), [], [], []
    for i in range(problems):
        z, h, goal = problem(model, i)
        answer = peers.ask(peer="stable-worldmodel CEM", size=[10, 300, 30], plans=1, first=i)
        plan = torch.tensor(answer["actions"][0]).clamp(-1.0, 1.0)[None]
        zs = ModelRollout(model)(torch.from_numpy(z), torch.from_numpy(h), plan, None)
        target = float(task(zs, goal)[0])
        result = search.plan(z, h, goal, seed=i)
        reached = [seconds for seconds, cost in result.history if cost <= target]
        theirs.append(answer["seconds"][0])
        ours.append(reached[0] if reached else math.inf)
        costs.append([target, result.cost])
    return {
        "problems": problems, "their_p50_ms": 1e3 * float(np.median(theirs)),
        "our_p50_ms": 1e3 * float(np.median(ours)), "reached": sum(math.isfinite(s) for s in ours),
        "times_less": float(np.median(theirs)) / float(np.median(ours)), "costs": costs,
    }  # fmt: skip


# ---------------------------------------------------------------- tables


def tables(report: dict[str, Any]) -> str:
    """The report as markdown."""
    m, about, peaks = report["machine"], report["model"], report["peak_gflops"]
    lines = [
        f"Machine: {m['processor']}, {m['threads']} threads, torch {m['torch']}; load {m['load_before']:.1f} before, "
        f"{m['load_after']:.1f} after.",
        f"Large matrix products: {peaks['float32']:.0f} GFLOP/s in fp32, {peaks['bfloat16']:.0f} in bf16.",
        f"Model: {about['id']}, {about['parameters']:,} parameters (predictor {about['predictor_parameters']:,}); "
        f"{about['kflop_a_step']:.0f} kFLOP a step, {about['kflop_a_readout']:.0f} for the cost of its latent.",
        "",
        "| horizon x samples x iterations | futures | engine | min | p50 | p99 | processor | GFLOP | of the peak |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for r in report["plans"]:
        goal = TARGETS.get(tuple(r["size"])) if r["dtype"] == "bfloat16" and r["futures"] == 1 else None
        note = f" (at most {goal[0]:g} / {goal[1]:g})" if goal else ""
        lines.append(
            f"| {' x '.join(map(str, r['size']))}{note} | {r['futures']} | {r['engine']} | {r['min_ms']:.1f} | "
            f"{r['p50_ms']:.1f} | {r['p99_ms']:.1f} | {r['processor_ms']:.1f} | {r['gflop']:.2f} | "
            f"{100 * r['share_of_peak']:.0f} % |"
        )
    d = report["deadline"]
    lines += ["", f"Deadline of {d['deadline_ms']:.0f} ms, overrun in ms:", "", "| | p50 | p99 | iterations |"]
    lines += ["|---|---|---|---|"]
    lines += [
        f"| {name} | {c['overrun_p50_ms']:.1f} | {c['overrun_p99_ms']:.1f} | {c['iterations']:.1f} |"
        for name, c in d["cases"].items()
    ]
    if "peers" in report:
        lines += _peer_tables(report["peers"])
    return "\n".join(lines) + "\n"


def _peer_tables(peers: dict[str, Any]) -> list[str]:
    names = list(peers["versions"])
    lines = ["", "Same model, same number of rollouts; p50 (processor time) in ms:", ""]
    lines += [f"| size | jepa_ros | {' | '.join(f'{n} {v}' for n, v in peers['versions'].items())} | times faster |"]
    lines += ["|---" * (3 + len(names)) + "|"]
    for r in peers["rows"]:
        cells = [f"{r[n]['p50_ms']:.1f} ({r[n]['processor_ms']:.1f})" for n in ["jepa_ros", *names]]
        ratio = f"{r['times_faster']:.1f} ({r['times_less_processor']:.1f})"
        lines.append(f"| {' x '.join(map(str, r['size']))} | {' | '.join(cells)} | {ratio} |")
    t = peers["time_to_cost"]
    lines += [
        "",
        f"Time to the cost of their CEM's plan (300 samples x 30 iterations, {t['their_p50_ms']:.0f} ms): "
        f"{t['our_p50_ms']:.1f} ms, {t['times_less']:.0f} times less; reached in {t['reached']} of {t['problems']} "
        "problems.",
    ]
    return lines
