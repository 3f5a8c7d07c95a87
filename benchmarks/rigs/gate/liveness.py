# SPDX-License-Identifier: Apache-2.0
"""Not by refusing to move: how near a gated body comes to its limits, and how long it takes past regions and obstacles.

The measure of the tasks is an oracle (:mod:`benchmarks.rigs.gate.tasks`).
"""

from __future__ import annotations

import math
import random
from typing import Any

from benchmarks.rigs.gate import arm_bodies, arms, bodies
from benchmarks.rigs.gate.bodies import Machine
from benchmarks.rigs.gate.named import BODIES, DRIVING, size_of
from benchmarks.rigs.gate.run import Run, gate_of
from benchmarks.rigs.gate.tasks import joint_time, task_time, tasks
from jepa_ros.contract import RobotContract
from jepa_ros.safety import Gate

#: Share of the limits to be reached in free space, and of the oracle's time that may be taken.
SHARE, FACTOR = 0.95, 1.2
#: Of random bodies so many of each kind are let loose in free space.
DRAWN = 40


def free_space(machine: Machine, gate: Gate) -> tuple[float, str]:
    """(the least share of an axis' limit that it came to, which axis): each axis by itself, to either end."""
    worst, which = math.inf, ""
    for k in range(machine.size):
        for sign in (1.0, -1.0):
            start = _start(machine, k, sign)
            limit = _attainable(machine, k, sign, start)
            if limit <= 0.0:
                continue
            run, best = Run(machine, gate, q=start), 0.0
            up = machine.velocity[k] / machine.acceleration[k]
            seconds = machine.dog.rearm_time + machine.reaction + 1.5 * up + 20.0 * machine.period
            for _ in range(min(3000, math.ceil(seconds / machine.period))):
                run.tick(_asked(run, k, sign, start))
                best = max(best, sign * run.plant.v[k])
                if best >= SHARE * limit:
                    break
            if best / limit < worst:
                worst, which = best / limit, f"{machine.names[k]} {'+' if sign > 0.0 else '-'} ({run.reason})"
    return worst, which


def _asked(run: Run, k: int, sign: float, start: list[float] | None) -> list[float]:
    """The command (A,) that moves one axis as fast as it may: to its end where positions are commanded.

    An arm is asked for places near its set-points, as by inverse kinematics: so far ahead as it moves until the next
    command comes, and brakes in then. Its first command is a small one.
    """
    m, at = run.machine, run.last or start
    ways = list(at) if at is not None and m.position else [0.0] * m.size
    end = m.high[k] if sign > 0.0 else m.low[k]
    if m.position and m.contract.kinematics.arm is not None:
        v = m.velocity[k] if run.plant.v[k] else min(m.velocity[k], 2.0 * m.acceleration[k] * m.period)
        every = run.senses.rates["command"][0] * m.period
        end = sign * min(sign * end, sign * ways[k] + v * (every + v / m.braking[k] / 2.0))
    ways[k] = end
    return ways


def _start(m: Machine, k: int, sign: float) -> list[float] | None:
    """Where the joints stand at first: in the middle, but the one that is to move at its other end; an arm at home,
    where it is clear of itself."""
    if m.ends is None:
        return None
    if (arm := m.contract.kinematics.arm) is not None:
        return [*arm.home, *[0.5 * (a + b) for a, b in zip(*m.ends)][len(arm.home) :]]
    low, high = m.ends
    if m.position:
        low, high = ([max(a, b) for a, b in zip(m.low, low)], [min(a, b) for a, b in zip(m.high, high)])
    q = [0.5 * (a + b) for a, b in zip(low, high)]
    q[k] = low[k] if sign > 0.0 else high[k]
    return q


def _attainable(m: Machine, k: int, sign: float, q: list[float] | None) -> float:
    """The speed that an axis can come to by its contract; 0 where its range is too short to say anything of it."""
    if m.position:
        limit = m.velocity[k]
    else:
        limit = min(m.high[k] if sign > 0.0 else -m.low[k], m.velocity[k])
    if m.ends is None or q is None:
        return limit
    low, high = m.ends[0][k], m.ends[1][k]
    if m.position:
        low, high = max(low, m.low[k]), min(high, m.high[k])
    room = (high - q[k] if sign > 0.0 else q[k] - low) - limit * (2.0 * m.reaction + 4.0 * m.period)
    a, b = m.acceleration[k], m.braking[k]
    return limit if math.sqrt(max(0.0, 2.0 * room * a * b / (a + b))) > 1.3 * limit else 0.0


def measure(room: float = 0.10) -> dict[str, Any]:
    """All of it: {free: {body, or bodies of a kind: ...}, tasks: {body: {task: ...}}}."""
    free: dict[str, Any] = {}
    for name, data in BODIES.items():
        contract = RobotContract.from_dict(data, name)
        share, axis = free_space(Machine(contract, {}), gate_of(contract))
        free[name] = {"share": share, "axis": axis}
    for name, data in arms_at_home().items():
        contract = RobotContract.from_dict(data, name)
        share, axis = free_space(Machine(contract, {}), gate_of(contract))
        free[name] = {"share": share, "axis": axis}
    for kind in ("bases", "joints"):
        worst, which = math.inf, ""
        for seed in range(DRAWN):
            body = _loose(kind, seed)
            share, axis = free_space(body, gate_of(body.contract))
            if share < worst:
                worst, which = share, f"seed {seed}, {axis}"
        free[f"{DRAWN} random {kind}"] = {"share": worst, "axis": which, "bodies": DRAWN}
    times: dict[str, Any] = {}
    for name in DRIVING:
        for task in tasks(room / size_of(name)):
            if task.posts and "scan" not in BODIES[name]["state"]:
                continue
            times.setdefault(name, {})[task.name] = _compared(
                *task_time(name, task, True), task_time(name, task, False)[0]
            )
    for name in ("arm_positions", "arm_rates", "joints_14"):
        times[name] = {"from end to end": _compared(joint_time(name, True), "", joint_time(name, False))}
    return {"room_m": room, "free": free, "tasks": times}


def arms_at_home() -> dict[str, dict[str, Any]]:
    """Contracts of all arms of the bench, by positions and by rates, with every row but those of boxes and people."""
    found = {}
    for name, (said, ends) in arm_bodies.ARMS.items():
        more = {"kinematics": {"payload": said["payload"]}} if "payload" in said else {}
        given = (said[key] for key in ("urdf", "joints", "home", "base_frame", "tip_frame"))
        urdf, joints, home, base, tip = given
        for values in ("position", "velocity"):
            found[f"{name} by {values}"] = arms.arm(
                name, urdf, tuple(joints), tuple(home), base, tip, ends, said.get("gripper"), values=values, **more
            )
    return found


def _compared(taken: float | None, why: str, oracle: float | None) -> dict[str, Any]:
    ratio = None if taken is None or not oracle else taken / oracle
    return {"seconds": taken, "oracle_seconds": oracle, "ratio": ratio, "stopped_by": why}


def _loose(kind: str, seed: int) -> Machine:
    """A random body without guardrails, whose inputs are as good as they can be."""
    rng = random.Random(f"free {kind} {seed}")
    data = bodies.base(rng) if kind == "bases" else bodies.joints(rng)
    data["guardrails"] = []
    return Machine(RobotContract.from_dict(data, f"free {seed}"), {})


def missed(result: dict[str, Any]) -> list[str]:
    """What falls short, as sentences."""
    found = [f"{name}: {f['share']:.2f} of its limits ({f['axis']})" for name, f in result["free"].items()
             if f["share"] < SHARE]  # fmt: skip
    for name, times in result["tasks"].items():
        for task, t in times.items():
            if t["ratio"] is None:
                found.append(f"{name}, {task}: not done ({t['stopped_by']})")
            elif t["ratio"] > FACTOR:
                found.append(f"{name}, {task}: {t['ratio']:.2f} times the oracle's {t['oracle_seconds']:.2f} s")
    return found
