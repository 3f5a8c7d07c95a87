# SPDX-License-Identifier: Apache-2.0
"""Several robots and one model: how long an image waits for its command, in one process and in one process a robot.

    jepa-ros bench fleet [--robots 1,2,4,8] [--seconds S] [--workers N] [--json FILE]

No ROS: what `jepa-ros up fleet` does between an image and its command. Robots see the simulated arena from a place
that moves, at the contract's rate, each with a phase of its own (`--phase same`: all at once). In one process each
thread has its share of the robots and encodes what waits in one pass; else each robot has a process of one thread.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import threading
import time
from typing import Any

import numpy as np
import psutil

from benchmarks.rigs import options, output
from jepa_ros.contract import load_contract
from jepa_ros.errors import JepaRosError
from jepa_ros.files import add_json, write_json
from jepa_ros.options import positive, time_span
from jepa_ros.processor import SWITCH, usable_cores

VIEWS = 40
WARM_SECONDS = 1.0  # of answers that are not counted


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    options.add_model(parser)
    parser.add_argument("--robots", default="1,2,4,8", help="numbers of robots (default: %(default)s)")
    parser.add_argument("--seconds", type=time_span, default=10.0, help="seconds of each run (default: %(default)s)")
    parser.add_argument("--workers", type=positive, default=usable_cores(), help="threads of the one process")
    parser.add_argument("--phase", choices=("spread", "same"), default="spread", help="when the images come")
    add_json(parser)


class Robot:
    """One robot's planner with a goal, and the pictures that it sees one after the other."""

    def __init__(self, model: Any, card: dict, contract: Any, views: np.ndarray, number: int) -> None:
        from jepa_ros.agent.planner_part import PlannerPart, Told
        from jepa_ros.perception import Perception
        from jepa_ros.planning import Planner

        self.part = PlannerPart(Planner(model, contract, card=card), Perception(model, contract))
        self.part.planner.warm_up()
        self.views, self.number, self.step = views, number, 0
        self.part.planner.set_goal(self.part.goal(views[-1]))
        self._told = Told(np.zeros(contract.action_dim), np.zeros(contract.action_dim))
        self.period = contract.period

    def see(self) -> Any:
        """The model's inputs of the next picture."""
        self.step += 1
        return self.part._eyes().inputs(self.views[(self.step + 7 * self.number) % (VIEWS - 10)])

    def answer(self, latent: np.ndarray) -> None:
        """Plan."""
        if self.part.think(latent, self.step * self.period, self._told).error:
            raise JepaRosError("planning failed")


def views(contract: Any) -> np.ndarray:
    """What the camera sees of a robot on its way through the arena."""
    from jepa_ros_sim.arena import ArenaSim

    sim = ArenaSim(contract)
    try:
        return np.stack([sim.image_at((0.7 - k / 30, 0.5 * np.sin(k / 6), k / 9)) for k in range(VIEWS)])
    finally:
        sim.close()


def serve(robots: list[Robot], phases: list[float], start: float, seconds: float, period: float) -> list[float]:
    """Answer the images of a share of the robots as they come; seconds from an image to its command, each."""
    due = [start + phase * period for phase in phases]
    late: list[float] = []
    while True:
        now = time.monotonic()
        if now > start + seconds:
            return late
        waiting = sorted((at, k) for k, at in enumerate(due) if at <= now)
        if not waiting:
            time.sleep(max(0.0, min(due) - now))
            continue
        latents = robots[0].part._eyes().encode_together([robots[k].see() for _, k in waiting])
        for (at, k), latent in zip(waiting, latents, strict=True):
            robots[k].answer(latent)
            done = time.monotonic()
            if at - start > WARM_SECONDS:
                late.append(done - at)
            # Of images that came while a robot was waited for only the newest counts, as on a topic of depth 1.
            due[k] = at + period * max(1, int((done - at) / period))


def _load(args: tuple[str, str]) -> tuple[Any, dict, Any]:
    import torch

    from jepa_ros.world_model import load_checkpoint

    torch.set_num_threads(1)
    contract = load_contract(args[0])
    return (*load_checkpoint(args[1], contract), contract)


def together(names: tuple[str, str], seen: np.ndarray, count: int, workers: int, phases, seconds: float) -> dict:
    """All robots in this process."""
    sys.setswitchinterval(SWITCH)
    model, card, contract = _load(names)
    robots = [Robot(model, card, contract, seen, k) for k in range(count)]
    shares = [list(range(k, count, workers)) for k in range(min(workers, count))]
    late: list[float] = []
    start, cpu = time.monotonic() + 0.5, time.process_time()

    def work(share: list[int]) -> None:
        late.extend(serve([robots[k] for k in share], [phases[k] for k in share], start, seconds, contract.period))

    threads = [threading.Thread(target=work, args=(share,)) for share in shares]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {"late": late, "cpu": time.process_time() - cpu, "memory": psutil.Process().memory_full_info().pss}


def _alone(names: tuple[str, str], seen: np.ndarray, number: int, phase: float, seconds: float, gate, out) -> None:
    model, card, contract = _load(names)
    robot = Robot(model, card, contract, seen, number)
    gate.wait()
    cpu = time.process_time()
    late = serve([robot], [phase], time.monotonic() + 0.5, seconds, contract.period)
    memory = psutil.Process().memory_full_info().pss
    _leave(out, {"late": late, "cpu": time.process_time() - cpu, "memory": memory})


def _leave(out: Any, found: dict) -> None:
    """Hand over what was found and end at once: torch and the search's threads take long to be taken apart."""
    out.put(found)
    out.close()
    out.join_thread()
    os._exit(0)


def _fleet(names: tuple[str, str], seen: np.ndarray, count: int, workers: int, phases, seconds: float, out) -> None:
    _leave(out, together(names, seen, count, workers, phases, seconds))


def measure(kind: str, names: tuple[str, str], seen: np.ndarray, count: int, args: argparse.Namespace) -> dict:
    """One row: `count` robots in one process ("fleet") or in as many ("processes")."""
    context = multiprocessing.get_context("spawn")
    out, phases = context.Queue(), [k / count if args.phase == "spread" else 0.0 for k in range(count)]
    if kind == "fleet":
        everything = (names, seen, count, args.workers, phases, args.seconds, out)
        work: list[Any] = [context.Process(target=_fleet, args=everything)]
    else:
        gate = context.Barrier(count)
        each = [(names, seen, k, phases[k], args.seconds, gate, out) for k in range(count)]
        work = [context.Process(target=_alone, args=one) for one in each]
    for process in work:
        process.start()
    found = [out.get(timeout=300) for _ in work]
    for process in work:
        process.join()
    late = np.concatenate([f["late"] for f in found])
    return {
        "robots": count, "kind": kind, "answers": len(late), "p50_ms": 1e3 * float(np.median(late)),
        "p99_ms": 1e3 * float(np.quantile(late, 0.99)), "answers_per_s": len(late) / (args.seconds - WARM_SECONDS),
        "cpu_ms": 1e3 * sum(f["cpu"] for f in found) / max(1, len(late)),
        "memory_mb": sum(f["memory"] for f in found) / 1e6,
    }  # fmt: skip


def main(args: argparse.Namespace) -> int:
    """Measure every number of robots in both ways, in turn."""
    contract = load_contract(args.robot)
    names = (args.robot, args.model or args.robot)
    seen, rows = views(contract), []
    print(f"period {1e3 * contract.period:.0f} ms, {usable_cores()} cores, {args.workers} threads, phase {args.phase}")
    print(f"{'robots':>6} {'':10} {'p50 ms':>7} {'p99 ms':>7} {'answers/s':>9} {'CPU ms':>7} {'MB':>6}")
    for count in (int(n) for n in args.robots.split(",")):
        for kind in ("fleet", "processes"):
            row = measure(kind, names, seen, count, args)
            rows.append(row)
            print(
                f"{count:6d} {kind:10} {row['p50_ms']:7.1f} {row['p99_ms']:7.1f} {row['answers_per_s']:9.1f} "
                f"{row['cpu_ms']:7.1f} {row['memory_mb']:6.0f}", flush=True,
            )  # fmt: skip
    if args.json:
        told = {"benchmark": "fleet", "version": 1, "machine": output.machine(), "phase": args.phase}
        write_json(args.json, told | {"period_ms": 1e3 * contract.period, "workers": args.workers, "rows": rows})
    return 0
