# SPDX-License-Identifier: Apache-2.0
"""How long a step of the gate takes, by body; another version of the gate is timed in turn with this one.

Run as a file it times one body with whatever ``jepa_ros`` is on the path, and prints times as JSON: so the gate of an
earlier commit is measured with the same inputs, on the same machine, in the same minutes. It uses nothing of the
campaign but the named bodies.
"""

from __future__ import annotations

import gc
import json
import math
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from io import BytesIO
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
#: Situations: (body, regions, posts that the scan shows).
SITUATIONS: dict[str, tuple[str, bool, bool]] = {
    "arena, no regions": ("arena", False, False),
    "arena, three regions": ("arena", True, False),
    "arena, three regions and obstacles": ("arena", True, True),
    "slick differential drive, three regions and obstacles": ("diff_slick", True, True),
    "slick holonomic base, three regions and obstacles": ("holonomic_slick", True, True),
    "drone, three regions": ("drone", True, False),
    "7 joints by position": ("arm_positions", False, False),
    "7 joints by rate": ("arm_rates", False, False),
    "14 joints by position": ("joints_14", False, False),
    "Panda by position, all rows of an arm": ("panda", True, False),
}
#: Bodies that the gate of before does not know.
NEW = ("panda",)
#: Each body is timed in so many turns, the versions one after the other.
ROUNDS = 5
#: The gate that steps are compared with.
BASELINE = "e56d855"


def inputs_of(name: str, regions: bool, obstacles: bool) -> tuple[Any, Any]:
    """(gate, a function: (tick, what left last) -> the inputs of the tick) of a body that drives circles or sways."""
    from named import BODIES, places, size_of

    from jepa_ros.safety import (  # type: ignore[attr-defined]
        CommandIn,
        Gate,
        GateConfig,
        GateInputs,
        ImageIn,
        JointsIn,
        OdomIn,
        PeopleIn,
        PoseIn,
        ScanIn,
    )

    try:
        from jepa_ros.contract import RobotContract
    except ImportError:  # as it was called until the rooms of the package were named anew
        from jepa_ros.robot import RobotContract  # type: ignore[import-not-found, no-redef]

    data = _panda() if name == "panda" else {
        **BODIES[name], "guardrails": places(size_of(name)) if regions else []}  # fmt: skip
    contract = RobotContract.from_dict(data, name)
    gate = Gate(GateConfig.from_contract(contract, auto_enable=True))
    names = tuple(contract.command.joints) or None
    axes = getattr(contract, "axes", contract.action)
    action, size = [a.name for a in axes], len(axes)
    place = [0.0, 0.0, 0.0]
    newest: dict[str, Any] = {}
    period = 1.0 / contract.gate_rate
    joints = [0.0] * size
    arm = getattr(contract.kinematics, "arm", None)
    home = [*arm.home, 0.02] if arm is not None else None
    joints[:] = home or joints

    def inputs(k: int, now: float, left: list[float]) -> GateInputs:
        ros = 5000.0 + now
        if names is None:
            v = dict(zip(action, left, strict=True))
            c, s = math.cos(place[2]), math.sin(place[2])
            vx, vy = v.get("linear.x", 0.0), v.get("linear.y", 0.0)
            place[0] += (c * vx - s * vy) * period
            place[1] += (s * vx + c * vy) * period
            place[2] += v.get("angular.z", 0.0) * period
        if k % 10 == 0:
            sway = math.sin(0.01 * k)
            by = [0.4 * a.high if a.unit.endswith("/s") else 0.5 * a.high * sway for a in contract.action]
            if home is not None:  # it sways about home, among its boxes
                sway = min(1.0, 0.005 * k)
                by = [q + 0.5 * sway * math.sin(0.012 * k * (0.6 + 0.1 * n)) for n, q in enumerate(home)]
            elif names is not None and contract.action[0].unit.endswith("/s"):
                by = [0.3 * a.high * math.cos(0.01 * k) for a in contract.action]
            newest["command"] = CommandIn(by, ros, now, k, "", names)
        if k % 5 == 0:
            newest["image"] = ImageIn(ros, now, k)
        if k % 2 == 0 and names is not None:
            rates = axes[0].unit.endswith("/s")
            still = left if any(left) else joints  # nothing has left yet
            joints[:] = [q + 2.0 * u * period for q, u in zip(joints, left, strict=True)] if rates else list(still)
            newest["joint_states"] = JointsIn(ros, now, names, tuple(joints), (0.0,) * size)
            newest["people"] = PeopleIn(ros, now, [(1.0, 1.0)], contract.frames.map)
        elif k % 2 == 0:
            newest["odom"] = OdomIn(ros, now, 0.0, 0.0, 0.0, tuple(left), "odom")
        if (names is None and k % 5 == 1) or (k == 0 and names is None):
            n = 1e-6
            cov = ((n, 0.0, 0.0), (0.0, n, 0.0), (0.0, 0.0, n))
            newest["pose"] = PoseIn(ros, now, place[0], place[1], place[2], cov, "map")
        if "scan" in contract.state and (k % 5 == 3 or k == 0):
            size_m = contract.footprint.radius / 0.25
            ranges = [math.inf] * 72
            if obstacles:
                ranges[30:34] = [1.0 * size_m] * 4
                ranges[50:53] = [0.8 * size_m] * 3
            newest["scan"] = ScanIn(ros, now, -math.pi, 2.0 * math.pi / 72, ranges, 0.01, 8.0, "base_link")
        beats = {"perception": now, "planner": now}
        return GateInputs(**newest, heartbeats=beats, output_publishers=1)

    return gate, inputs


def _panda() -> dict[str, Any]:
    """A Panda between a table and a wall, in a cell, near somebody, with every limit that an arm may have."""
    from arms import panda

    boxes = {"table": ([0.5, 0.0, -0.05], [1.0, 1.2, 0.1]), "wall": ([0.75, 0.0, 0.5], [0.1, 1.2, 1.0])}
    rails: list[dict[str, Any]] = [
        {"name": name, "kind": "keep_out", "unit": "m", "box": {"center": center, "size": size}}
        for name, (center, size) in boxes.items()
    ]
    rails.append({"name": "cell", "kind": "workspace", "unit": "m", "low": [-0.6, -0.9, -0.3], "high": [1.0, 0.9, 1.3]})
    rails.append({"name": "people", "kind": "near_person", "unit": "m/s", "distance": 0.4, "max_speed": 0.2,
                  "frame": "panda_link0"})  # fmt: skip
    data = panda(guardrails=rails, state={"joint_states": {"timeout": 0.3}, "people": {"timeout": 0.5}})
    data["limits"] |= {"tip_speed": 0.5, "jerk": dict.fromkeys(data["limits"]["velocity"], 500.0)}
    return data


def timed(situation: str, count: int) -> dict[str, list[float]]:
    """CPU time and time by the clock of each of ``count`` steps [us], after some that warm up."""
    gate, inputs = inputs_of(*SITUATIONS[situation])
    state, period = gate.initial_state(), gate.config.period
    left = [0.0] * gate.config.size
    cpu, wall = list[float](), list[float]()
    gc.collect()
    gc.disable()  # the node collects garbage between ticks
    try:
        for k in range(-100, count):
            now = 100.0 + (k + 100) * period
            given = inputs(k + 100, now, left)
            begun, start = time.perf_counter(), time.thread_time()
            state, out = gate.step(state, given, now, 5000.0 + now)
            used, passed = time.thread_time() - start, time.perf_counter() - begun
            left = out.values.tolist()
            if k >= 0:
                cpu.append(1e6 * used)
                wall.append(1e6 * passed)
    finally:
        gc.enable()
    return {"cpu": cpu, "wall": wall}


def _elsewhere(root: Path, situation: str, count: int) -> dict[str, list[float]]:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root), str(HERE)]), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(HERE / "stepping.py"), situation, str(count)], env=env, capture_output=True, text=True,
        check=True, cwd=root,
    )  # fmt: skip
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def _quantile(values: list[float], q: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))]


def compare(root: Path, count: int, baseline: str | None = BASELINE) -> dict[str, Any]:
    """Steps of every situation with the code in ``root`` and with that of a commit, turn by turn.

    Returns:
        {situation: {p50, p99, max, wall_p50, wall_p99, baseline_p50, baseline_p99, baseline_wall_p99, ratio_p99}} [us];
        ``ratio_p99`` is the median over the turns. Without git or that commit there is nothing of the baseline.
    """
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        old = _checkout(root, baseline, Path(folder)) if baseline else None
        for situation in SITUATIONS:
            then_too = old is not None and SITUATIONS[situation][0] not in NEW
            rounds: list[tuple[dict[str, list[float]], dict[str, list[float]] | None]] = []
            for _ in range(ROUNDS):
                new = _elsewhere(root, situation, max(1, count // ROUNDS))
                before = _elsewhere(old, situation, max(1, count // ROUNDS)) if old and then_too else None
                rounds.append((new, before))
            cpu = [v for new, _ in rounds for v in new["cpu"]]
            wall = [v for new, _ in rounds for v in new["wall"]]
            row = {"p50": _quantile(cpu, 0.5), "p99": _quantile(cpu, 0.99), "max": max(cpu),
                   "wall_p50": _quantile(wall, 0.5), "wall_p99": _quantile(wall, 0.99)}  # fmt: skip
            if then_too:
                then = [v for _, b in rounds if b for v in b["cpu"]]
                clock = [v for _, b in rounds if b for v in b["wall"]]
                ratios = [_quantile(n["cpu"], 0.99) / _quantile(b["cpu"], 0.99) for n, b in rounds if b]
                row |= {"baseline_p50": _quantile(then, 0.5), "baseline_p99": _quantile(then, 0.99),
                        "baseline_wall_p99": _quantile(clock, 0.99), "ratio_p99": _quantile(ratios, 0.5)}  # fmt: skip
            found[situation] = row
    return found


def _checkout(root: Path, commit: str, folder: Path) -> Path | None:
    """The package as it was at a commit, below ``folder``; None where there is no git or no such commit."""
    try:
        done = subprocess.run(["git", "-C", str(root), "archive", commit, "jepa_ros"], capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    with tarfile.open(fileobj=BytesIO(done.stdout)) as archive:
        archive.extractall(folder, filter="data")
    return folder


if __name__ == "__main__":
    sys.stdout.write(json.dumps(timed(sys.argv[1], int(sys.argv[2]))))
