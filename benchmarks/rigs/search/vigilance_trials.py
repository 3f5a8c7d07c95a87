# SPDX-License-Identifier: Apache-2.0
"""Drives of `jepa-ros bench vigilance`: the whole loop in simulation, gate included, with something going wrong or not.

Perception, planner and gate are the robot's; nothing here tells them what is done to it. The simulator's truth places
the box that is dropped, and no more.
"""

from __future__ import annotations

import colorsys
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import torch

from jepa_ros.agent.loop import Loop, StepRecord
from jepa_ros.agent.planner_part import PlannerPart
from jepa_ros.contract import RobotContract
from jepa_ros.cost import Goal
from jepa_ros.perception import Perception
from jepa_ros.planning import Planner, PlannerConfig, SearchConfig
from jepa_ros.safety.config import watched
from jepa_ros.safety.gate import Gate, GateConfig
from jepa_ros.world_model import load_checkpoint
from jepa_ros_sim.arena import ArenaSim, Box, Layout, SceneConfig
from jepa_ros_sim.arena.reach import SEED_OFFSET
from jepa_ros_sim.arena.simulator import free_pose
from jepa_ros_sim.arena.world import ArenaScene

#: What goes wrong, by name, and the gate's reasons that count as having noticed.
CASES = ("shifted", "covered", "dark", "frozen", "box", "wheel")
REASONS = ("surprise", "novelty", "image_frozen", "command_not_obeyed")
#: How well it plans is not the question; a rough plan drives no less.
SEARCH = SearchConfig(samples=32, iterations=1, deadline=60.0)
GOAL_TIME = 20.0  # s for a goal, then there is another
FIXED_SHARE = 0.2  # of the drives in the fixed layout, as in the training data
WARM = (3.0, 6.0)  # s of driving before something goes wrong, least and most
UNDER_WAY = 0.1  # m/s, of the executed and of the next command: it is driving
AFTER = 2.0  # s that are driven on
QUIET = 2.0  # s without an alarm, after which the next one is another
#: m that the rim of the jammed wheel is asked to go in the first second, or that a wheel's rim goes after the pictures
#: froze: less cannot be seen by anybody.
FELT = 0.05
FEELS = ("wheel", "frozen")


@dataclass
class Alarm:
    """An alarm that begins, or one that rises: when [s], the gate's reason, and its stage (1 slow, 2 stop)."""

    time: float
    reason: str
    stage: int
    begins: bool = True


@dataclass
class Drive:
    """What came of one drive.

    Attributes:
        seconds: driven with an armed gate. fault: time of it [s], NaN without.
        felt: see FELT, NaN but for a wheel and frozen pictures.
        alarms: in turn. contacts: control steps with a contact.
    """

    case: str
    number: int
    seconds: float = 0.0
    fault: float = math.nan
    felt: float = math.nan
    alarms: list[Alarm] = field(default_factory=list)
    contacts: int = 0

    def delay(self, stage: int = 1) -> float:
        """Seconds from the fault to the first alarm of that stage; infinity without one."""
        return min(
            (a.time - self.fault for a in self.alarms if a.time >= self.fault and a.stage >= stage), default=math.inf
        )


class _Faulty(ArenaScene):
    """A scene to which something happens at a time within a control step."""

    def __init__(self, sim: ArenaSim) -> None:
        super().__init__(sim.contract, sim)
        self._at: float = math.inf
        self._what: Callable[[], Any] = lambda: None

    def plan(self, at: float, what: Callable[[], Any]) -> None:
        """Do ``what`` when the clock reaches ``at`` [s]."""
        self._at, self._what = at, what

    def advance(self, seconds: float) -> None:
        """As the simulator's."""
        if self.sim.time >= self._at - 1e-9:
            self._at = math.inf
            self._what()
        self.sim.advance(seconds)


def drop(sim: Any, rng: np.random.Generator) -> None:
    """Set a box of a random layout's sizes and colours down where nothing stands, the robot's edge 3 cm off or more."""
    axis = np.linspace(-1.0, 1.0, 5)
    for _ in range(1000):
        long = rng.random() < 0.35
        hx = rng.uniform(0.18, 0.30) if long else rng.uniform(0.07, 0.15)
        hy = rng.uniform(0.04, 0.07) if long else rng.uniform(0.07, 0.15)
        x, y = rng.uniform(-0.85, 0.85, 2)
        box = Box(*map(float, (x, y, hx, hy, rng.uniform(-np.pi, np.pi), rng.uniform(0.08, 0.16))))
        alone = Layout((box,))
        u, v = np.meshgrid(axis * hx, axis * hy)
        cos, sin = math.cos(box.yaw), math.sin(box.yaw)
        places = np.stack([x + cos * u - sin * v, y + sin * u + cos * v], axis=-1)
        truth = sim.truth()
        if (
            np.abs(places).max() < 0.98
            and (not sim.layout.boxes or sim.layout.box_distance(places).min() > 0.0)
            and float(alone.box_distance(np.array([truth.x, truth.y])).min()) > 0.12
        ):
            colour = colorsys.hsv_to_rgb(rng.random(), rng.uniform(0.15, 0.75), rng.uniform(0.35, 0.85))
            sim.drop_box(box, colour)
            return
    raise RuntimeError("no room for a box")


def happening(case: str, sim: Any, rng: np.random.Generator) -> Callable[[], Any]:
    """What is done to the robot."""
    if case == "box":
        return partial(drop, sim, rng)
    if case == "wheel":
        return partial(sim.block_wheel, ("left", "right")[int(rng.integers(2))])
    return partial(sim.set_camera_fault, case)


def rim_speed(contract: RobotContract, action: np.ndarray, side: str) -> float:
    """m/s that the rim of a wheel is asked for by an action (v m/s, w rad/s)."""
    half = (contract.kinematics.wheel_separation or 0.0) / 2.0
    return abs(float(action[0]) + (half if side == "right" else -half) * float(action[1]))


class Alarms:
    """Makes alarms of the gate's reasons, tick by tick."""

    def __init__(self, tick: float) -> None:
        self.tick, self.alarms, self.last = tick, list[Alarm](), -math.inf

    def take(self, begun: float, record: StepRecord) -> None:
        """The ticks of one control step that began at ``begun`` [s]."""
        for i, (mode, reason) in enumerate(zip(record.modes, record.reasons, strict=True)):
            if reason not in REASONS:
                continue
            now, stage = begun + i * self.tick, 2 if mode == "STOPPED" else 1
            begins = now - self.last > QUIET
            if begins or stage > self.alarms[-1].stage:
                self.alarms.append(Alarm(now, reason, stage, begins))
            self.last = now


def run(contract: RobotContract, loaded: Any, case: str, number: int, seconds: float) -> Drive:
    """One drive; ``case`` of CASES, or "normal" for ``seconds`` in which nothing goes wrong."""
    model, card = loaded
    rng = np.random.default_rng([SEED_OFFSET, 55, len(case), ord(case[0]), number])
    fixed = rng.random() < FIXED_SHARE
    seed, layout_seed = (int(v) for v in rng.integers(1, 2**31 - 1, 2))
    drive = Drive(case, number)
    with ArenaSim(contract, SceneConfig(layout="fixed" if fixed else "random", randomise=True)) as sim:
        sim.reset(seed, layout_seed=layout_seed)
        perception = Perception(model, contract)
        planner = Planner(model, contract, PlannerConfig(replace(SEARCH, seed=seed)), card=card)
        robot = _Faulty(sim)
        gate = Gate(GateConfig.from_contract(contract, auto_enable=True, **watched(card)))
        loop = Loop(robot, PlannerPart(planner, perception), gate, camera=True)
        alarms, start = Alarms(loop.tick), sim.time
        due, idle = -math.inf, 0
        end = start + seconds if case == "normal" else math.inf
        warm = start + rng.uniform(*WARM)
        side, felt = "", 0.0
        while sim.time < end - 1e-9:
            if sim.time >= due or idle > 1.0 * contract.rate:
                planner.set_goal(Goal.from_latent(perception.encode(sim.image_at(free_pose(sim.layout, rng)))))
                due, idle = sim.time + GOAL_TIME, 0
            begun = sim.time
            record = loop.step()
            alarms.take(begun, record)
            drive.contacts += record.touched
            status = record.decision.info.status
            idle = idle + 1 if status["reason"] != "ok" else 0
            moving = min(abs(float(record.executed[0])), abs(float(record.decision.command[0]))) > UNDER_WAY
            if case != "normal" and end == math.inf:
                calm = sim.time - alarms.last > QUIET
                if sim.time >= warm and moving and calm and status["reason"] == "ok":
                    drive.fault = sim.time + float(rng.integers(round(contract.gate_rate / contract.rate))) * loop.tick
                    what = happening(case, sim, rng)
                    side = what.args[0] if case == "wheel" else ""
                    robot.plan(drive.fault, what)
                    end = sim.time + AFTER
            elif side and begun < drive.fault + 1.0:
                felt += rim_speed(contract, record.decision.command, side) * contract.period
            elif case == "frozen" and begun < drive.fault + 1.0:
                felt += max(rim_speed(contract, record.executed, s) for s in ("left", "right")) * contract.period
        drive.seconds, drive.alarms = sim.time - start, alarms.alarms
        drive.felt = felt if case in FEELS else math.nan
    return drive


_worker: dict[str, Any] = {}


def start_worker(contract: dict[str, Any], model: str) -> None:
    """Load what every drive of a process needs."""
    torch.set_num_threads(1)
    _worker["contract"] = RobotContract.from_dict(contract)
    _worker["loaded"] = load_checkpoint(model, _worker["contract"])


def work(job: tuple[str, int, float]) -> dict[str, Any]:
    """One drive as plain data."""
    return asdict(run(_worker["contract"], _worker["loaded"], *job))


def read(data: dict[str, Any]) -> Drive:
    """The inverse of ``asdict``."""
    return Drive(**{**data, "alarms": [Alarm(**a) for a in data["alarms"]]})
