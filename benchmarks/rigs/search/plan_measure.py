# SPDX-License-Identifier: Apache-2.0
"""What `jepa-ros bench plan` measures of our own search: times, work, deadlines, and where the time goes."""

from __future__ import annotations

import math
import subprocess
import sys
import time
from typing import Any

import numpy as np

from benchmarks.rigs import output
from benchmarks.rigs.search.plan_profile import Profile
from jepa_ros.processor import usable_cores

#: horizon, samples, iterations
SIZES = ((10, 128, 3), (12, 256, 4), (15, 512, 6), (5, 300, 10))
#: On a GPU, which is far from full with these, one more.
LARGE = (15, 4096, 6)
PROFILED = (15, 512, 6)


def load(robot: str, name: str | None, device: str = "cpu") -> tuple[Any, Any, dict[str, Any]]:
    """The model, the contract and a few words about them; random weights of the shipped sizes where none is shipped."""
    import torch

    from jepa_ros.contract import load_contract
    from jepa_ros.world_model import ModelConfig, WorldModel, load_checkpoint, model_id
    from jepa_ros.world_model.checkpoint import CheckpointError

    contract = load_contract(robot)
    try:
        model, card = load_checkpoint(name or contract.name, contract, device)
        identity = model_id(card)
    except CheckpointError:
        if name:
            raise
        torch.manual_seed(0)
        untrained = WorldModel(ModelConfig(readouts=("distance", "pose", "contact")))
        model, identity = untrained.eval().requires_grad_(False).to(device), "random weights"
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
    """Floating-point operations of one step of the predictor, and of the readouts of its latent that the cost uses."""
    return _linear(model.predictor), sum(readout_flops(model).values())


def readout_flops(model: Any) -> dict[str, int]:
    """Of each readout that the cost uses.

    The goal's half of the distance head's first layer is the same for all latents and counts for nothing.
    """
    found = {"rms": 3 * model.config.latent_dim}
    if "distance" in model.readouts:
        head = model.heads["distance"]
        found["distance"] = _linear(head) - 2 * model.config.latent_dim * _layers(head)[0].out_features
    if "pose" in model.readouts:
        found["pose"] = _linear(model.heads["pose"])
    return found


def _layers(net: Any) -> list[Any]:
    from torch import nn

    return [m for m in net.modules() if isinstance(m, nn.Linear)]


def _linear(net: Any) -> int:
    return sum(2 * m.in_features * m.out_features for m in _layers(net))


def machine(threads: int, device: str = "cpu") -> dict[str, Any]:
    """What the numbers depend on."""
    import torch

    from jepa_ros.planning import native

    about = {
        **output.machine(), "threads": threads, "bfloat16": native.has_bfloat16(), "torch": torch.__version__,
    }  # fmt: skip
    if device != "cpu":
        about["gpu"] = torch.cuda.get_device_name(device)
    return about


def peak(device: str = "cpu", seconds: float = 1.5) -> dict[str, float]:
    """GFLOP/s of the best of many large matrix products, fp32 and bf16."""
    import torch

    size = 2048 if device == "cpu" else 8192
    found = {}
    for name in ("float32", "bfloat16"):
        a = torch.randn(size, size, device=device).to(getattr(torch, name))
        out, best, stop = torch.empty_like(a), math.inf, time.perf_counter() + seconds
        while time.perf_counter() < stop:
            start = time.perf_counter()
            torch.mm(a, a, out=out)
            if device != "cpu":
                torch.cuda.synchronize(device)
            best = min(best, time.perf_counter() - start)
        found[name] = 2e-9 * size**3 / best
    return found


def dtypes(device: str = "cpu") -> list[str]:
    """What this machine computes plans in, the fastest last."""
    from jepa_ros.planning import native

    return ["float32", *(["bfloat16"] if device == "cpu" and native.has_bfloat16() else [])]


def cases(device: str = "cpu") -> list[dict[str, Any]]:
    """The plans to measure."""
    if device != "cpu":
        both = [{"dtype": "float32", "futures": 1, "backend": backend} for backend in ("auto", "model")]
        rows = [{"size": size, **case} for size in (*SIZES, LARGE) for case in both]
        return [*rows, {"size": SIZES[0], "dtype": "float32", "futures": 8, "backend": "auto"}]
    rows = [{"size": size, "dtype": dtype, "backend": "auto", "futures": 1} for size in SIZES for dtype in dtypes()]
    rows += [{"size": SIZES[0], "dtype": dtype, "backend": "auto", "futures": 8} for dtype in dtypes()]
    rows += [{"size": SIZES[0], "dtype": "float32", "backend": "model", "futures": 1}]
    return rows


def make_planner(model: Any, contract: Any, size: tuple[int, int, int], dtype: str, backend: str, futures: int) -> Any:
    """A warmed-up planner whose search has one size and is ended by its iterations alone."""
    from jepa_ros.planning import Planner, PlannerConfig, SearchConfig

    horizon, samples, iterations = size
    dtype = "auto" if backend == "model" else dtype
    config = SearchConfig(
        horizon=horizon, samples=samples, iterations=iterations, noise_samples=futures, dtype=dtype, backend=backend,
        deadline=1e3, converge_tol=0.0,
    )  # fmt: skip
    planner = Planner(model, contract, PlannerConfig(config))
    planner.warm_up()
    return planner


def problem(model: Any, seed: int) -> tuple[np.ndarray, np.ndarray, Any]:
    """A state and a goal: random latents, the speed does not depend on them."""
    from jepa_ros.cost import Goal

    rng = np.random.default_rng(seed)
    z = rng.normal(size=model.config.latent_dim).astype(np.float32)
    goal = Goal.from_latent(rng.normal(size=model.config.latent_dim))
    return z, np.zeros(model.config.state_dim, np.float32), goal


# ---------------------------------------------------------------- measurements


def timed(planner: Any, model: Any, plans: int, first: int = 0) -> tuple[list[float], list[float]]:
    """Seconds by the clock and of the processor, of plans without a warm start."""
    wall, processor = [], []
    for i in range(first, first + plans):
        z, h, goal = problem(model, i)
        began, used = time.perf_counter(), time.process_time()
        planner.think(z, h, goal, seed=i)
        wall.append(time.perf_counter() - began)
        processor.append(time.process_time() - used)
    return wall, processor


def measure(
    model: Any, contract: Any, plans: int, size: tuple[int, int, int], dtype: str, backend: str, futures: int
) -> dict[str, Any]:
    """One row of the table of plans."""
    planner = make_planner(model, contract, size, dtype, backend, futures)
    wall, processor = timed(planner, model, plans)
    gflop = 1e-9 * math.prod(size) * futures * sum(flops(model))
    return {
        "size": list(size), "futures": futures, "dtype": dtype, "engine": planner.search.backend, "plans": plans,
        **milliseconds(wall), "processor_ms": 1e3 * float(np.median(processor)), "gflop": gflop,
        "gflops": gflop / float(np.median(wall)),
    }  # fmt: skip


def milliseconds(seconds: list[float]) -> dict[str, float]:
    """min, p50 and p99 in ms."""
    values = 1e3 * np.asarray(seconds)
    return {"min_ms": values.min(), "p50_ms": np.median(values), "p99_ms": np.percentile(values, 99)}


def deadlines(model: Any, contract: Any, plans: int) -> dict[str, Any]:
    """By how much a deadline of 20 ms is overrun, alone and beside one busy process a core."""
    from jepa_ros.planning import Planner, PlannerConfig, SearchConfig

    config = SearchConfig(iterations=1000, deadline=0.02, converge_tol=0.0)
    rows = {}
    for name, count in (("alone", 0), ("beside busy processes", usable_cores())):
        others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
        planner = Planner(model, contract, PlannerConfig(config))
        planner.warm_up()
        over, iterations = [], []
        for i in range(plans):
            z, h, goal = problem(model, i)
            began = time.perf_counter()
            result = planner.think(z, h, goal, seed=i)
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


def profile(
    model: Any, contract: Any, plans: int, peaks: dict[str, float], device: str = "cpu",
    size: tuple[int, int, int] = PROFILED,
) -> dict[str, Any]:  # fmt: skip
    """Where the time of a large plan goes, part by part, and how near to the peak its matrix products are.

    On a GPU a part is over when its work is handed to the device; the part that reads a number waits for it.
    """
    dtype = dtypes(device)[-1]
    planner = make_planner(model, contract, size, dtype, "auto", 1)
    clocks = Profile(planner)
    timed(planner, model, 2)
    clocks.seconds.clear()
    wall, _ = timed(planner, model, plans)
    step, _ = flops(model)
    rows = math.prod(size)
    work = {"rollout": step, **{f"{name} readout": of for name, of in readout_flops(model).items()}}
    parts = {
        name: {"ms": 1e3 * seconds / plans, "share": seconds / sum(clocks.seconds.values())}
        for name, seconds in sorted(clocks.seconds.items(), key=lambda item: -item[1])
    }
    for name, part in parts.items():
        if name in work:
            part["share_of_peak"] = 1e-9 * work[name] * rows / (1e-3 * part["ms"]) / peaks[dtype]
    return {"size": list(size), "dtype": dtype, "plans": plans, "mean_ms": 1e3 * float(np.mean(wall)), "parts": parts}
