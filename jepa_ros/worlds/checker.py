# SPDX-License-Identifier: Apache-2.0
"""Whether a world does what its protocols say: the checks behind ``jepa-ros check world NAME``, for anybody's world."""

from __future__ import annotations

import dataclasses
import pickle
import traceback
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from jepa_ros.agent.loop import Loop
from jepa_ros.contract import RobotContract
from jepa_ros.errors import JepaRosError
from jepa_ros.planning.planner import PlannerConfig
from jepa_ros.safety import inputs
from jepa_ros.safety.output import MOVING_NAMES
from jepa_ros.worlds.protocols import Judge, Observation, Sample, Scene, Task, World

#: What each state of a contract is measured as.
MEASURED: dict[str, type[Any]] = {
    "odom": inputs.OdomIn, "pose": inputs.PoseIn, "joint_states": inputs.JointsIn, "scan": inputs.ScanIn,
    "contact": inputs.ContactIn, "people": inputs.PeopleIn, "wrench": inputs.WrenchIn,
}  # fmt: skip
#: States that may be exact: encoders count, and a switch is pressed or not. A time is no secret.
EXACT = ("joint_states", "contact")
STEPS = 4  # control steps that are run to see what a world does


class _Wrong(Exception):
    """A check that failed; what stands on it is not looked at."""


def lacking(thing: Any, protocol: type) -> list[str]:
    """What ``thing`` lacks of a protocol, by name, in the order of the protocol."""
    wanted = [n for n in (*getattr(protocol, "__annotations__", ()), *vars(protocol)) if not n.startswith("_")]
    own = getattr(thing, "__dict__", {})
    return [n for n in dict.fromkeys(wanted) if n not in own and not hasattr(type(thing), n)]


def check(world: World) -> list[str]:
    """Try a world.

    Returns:
        What is wrong with it, a line each; empty where nothing is. A line names the method that it is about.
    """
    found: list[str] = []
    scene: Scene | None = None
    try:
        _complete("world", world, World)
        contract = world.contract()
        _expect(isinstance(contract, RobotContract), "contract()", "expected a RobotContract")
        _expect(_same(world, pickle.loads(pickle.dumps(world))), "world", "it changes when it is pickled")
        scene = world.scene(contract)
        _complete("scene", scene, Scene)
        for task in _tasks(world, contract):
            _complete(f"task {task.name}", task, Task)
        for part in (_scores, _gathers):
            if not found:  # an agent is only let into a scene that keeps its word
                found += _lines(part, world, scene, contract)
    except _Wrong as error:
        found.append(str(error))
    except JepaRosError as error:
        found.append(f"it refuses what it should take: {error}")
    except Exception as error:  # whatever goes wrong in other people's code is a line, not a traceback of ours
        where = traceback.extract_tb(error.__traceback__)[-1]
        text = " ".join(str(error).split())[:200]
        found.append(f"{where.name}(): {type(error).__name__}: {text} ({where.filename}, line {where.lineno})")
    finally:
        if scene is not None and hasattr(scene, "close"):
            scene.close()
    return found


def _lines(part: Callable[..., Iterator[str]], *given: Any) -> Iterator[str]:
    """What a part finds, up to a check that the rest of the part stands on."""
    try:
        yield from part(*given)
    except _Wrong as error:
        yield str(error)


def _complete(what: str, thing: Any, protocol: type) -> None:
    missing = lacking(thing, protocol)
    if missing:
        raise _Wrong(f"{what}: {type(thing).__name__} lacks {', '.join(missing)}")


def _expect(good: bool, where: str, what: str) -> None:
    if not good:
        raise _Wrong(f"{where}: {what}")


def _tasks(world: World, contract: RobotContract) -> list[Task]:
    _expect(world.score_task in world.tasks, "score_task", f"'{world.score_task}' is none of tasks")
    _expect(world.data_task in world.outings, "data_task", f"'{world.data_task}' is none of outings")
    return [world.task(name, contract, {}) for name in {**world.tasks, **world.outings}]


# ---------------------------------------------------------------- tasks to be scored


def _scores(world: World, scene: Scene, contract: RobotContract) -> Iterator[str]:
    task = world.task(world.score_task, contract, {})
    spec, other = task.draw(scene, 0, 0), task.draw(scene, 0, 1)
    for field in ("number", "seed", "group"):
        _expect(hasattr(spec, field), "draw()", f"its spec has no {field}")
    if not _same(spec, task.draw(scene, 0, 0)):
        yield "draw(): the same seed and number give another spec"
    if _same(spec, other):
        yield "draw(): another number gives the same spec"
    scene.reset(spec)
    if scene.time != 0.0:
        yield f"reset(): time is {scene.time:g} s after it, expected 0"
    yield from _observes(scene, contract)
    yield from _time(world, scene, contract)
    yield from _repeats(world, scene, contract, spec, other)
    yield from _goal(task, scene, contract, spec)
    yield from _judges(task, scene, spec)
    for name in task.references:
        scene.reset(spec)
        policy = task.reference(name, scene, spec, task.planner(PlannerConfig.of(scene.contract)))
        yield from _commands(f"reference({name})", policy, scene, contract)


def _observes(scene: Scene, contract: RobotContract) -> Iterator[str]:
    before = scene.time
    seen = scene.observe()
    if scene.time != before:
        yield "observe(): time moves"
    cameras = {c.name: c for c in contract.cameras}
    if missing := sorted(set(cameras) - set(seen.images)):
        yield f"observe(): no picture of camera {', '.join(missing)}"
    for name, image in seen.images.items():
        yield from _picture("observe()", name, image, cameras)
    if unknown := sorted(set(scene.rates) - set(contract.state)):
        yield f"rates: {', '.join(unknown)} is no state of the contract"
    needed = {key for key, topic in contract.state.items() if topic.required}
    if missing := sorted(needed - set(scene.rates)):
        yield f"rates: the contract requires {', '.join(missing)}, which the scene does not measure"
    if set(seen.state) != set(scene.rates):
        yield f"observe(): states {sorted(seen.state)}, expected those of rates, {sorted(scene.rates)}"
    for name, value in seen.state.items():
        kind: type[Any] | None = MEASURED.get(name)
        if kind is None or not isinstance(value, kind):
            wanted = "no known state" if kind is None else f"expected {kind.__name__}"
            yield f"observe(): state '{name}' is a {type(value).__name__}, {wanted}"
        elif abs(value.stamp - before) > 1e-6:
            yield f"observe(): state '{name}' is stamped {value.stamp:g} s at {before:g} s"
    for name in (*cameras, *scene.rates):
        alone = scene.observe((name,))
        if set(alone.images) | set(alone.state) != {name}:
            yield f"observe(['{name}']): gives {sorted(set(alone.images) | set(alone.state))}"


def _picture(where: str, name: str, image: Any, cameras: Mapping[str, Any]) -> Iterator[str]:
    if name not in cameras:
        yield f"{where}: '{name}' is no camera of the contract"
        return
    wanted = (cameras[name].height, cameras[name].width, 3)
    found = (getattr(image, "shape", None), str(getattr(image, "dtype", type(image).__name__)))
    if found != (wanted, "uint8"):
        yield f"{where}: picture of '{name}' is {found[0]} {found[1]}, expected {wanted} uint8"


def _time(world: World, scene: Scene, contract: RobotContract) -> Iterator[str]:
    tick = 1.0 / contract.gate_rate if world.gated else contract.period
    before = scene.time
    scene.advance(tick)
    if abs(scene.time - before - tick) > 1e-6:
        yield f"advance({tick:g}): time moves by {scene.time - before:g} s"


def _repeats(world: World, scene: Scene, contract: RobotContract, spec: Any, other: Any) -> Iterator[str]:
    first = _run(world, scene, contract, spec)
    different = _run(world, scene, contract, other)
    again = _run(world, scene, contract, spec)
    if len(first) != len(again) or not all(_same(a, b) for a, b in zip(first, again, strict=True)):
        yield "reset(): the same spec and commands lead to other observations: something is not drawn from its seed"
    if all(_same(a.images, b.images) for a, b in zip(first, different, strict=False)):
        yield "reset(): another spec shows the same pictures"
    scene.reset(spec)
    for number in range(STEPS):
        secret = _numbers(scene.truth())
        seen = {k: v for k, v in scene.observe().state.items() if k not in EXACT}
        leaked = sorted({where for where, value in _places(seen) if value in secret})
        if leaked:
            yield f"observe(): {', '.join(leaked)} is the truth to the last digit: measure it with its noise"
            return
        _drive(world, scene, contract, number)


def _run(world: World, scene: Scene, contract: RobotContract, spec: Any) -> list[Observation]:
    scene.reset(spec)
    seen = [scene.observe()]
    for number in range(STEPS):
        if scene.over:
            break
        _drive(world, scene, contract, number)
        seen.append(scene.observe())
    return seen


def _drive(world: World, scene: Scene, contract: RobotContract, number: int) -> None:
    """Hold a command for a control step: a part of what each axis can do, for positions near where the joints are."""
    if not world.gated:
        low, high = contract.action_low, contract.action_high
        scene.command(low + (high - low) * (0.3 + 0.1 * (number % 4)))
    elif contract.by_position:
        joints = scene.observe(("joint_states",)).state["joint_states"]
        at = dict(zip(joints.names, joints.position, strict=True))
        scene.command(np.array([at[axis.name] for axis in contract.axes]))
    else:
        scene.command(contract.limits.velocity * 0.1 * (1 + number % 3))
    tick = 1.0 / contract.gate_rate if world.gated else contract.period
    for _ in range(round(contract.period / tick)):
        scene.advance(tick)


def _goal(task: Task, scene: Scene, contract: RobotContract, spec: Any) -> Iterator[str]:
    scene.reset(spec)
    before = pickle.dumps(scene.truth())
    wanted = task.goal(scene, spec)
    if pickle.dumps(scene.truth()) != before:
        yield "goal(): the scene is another one after it"
    cameras = {c.name: c for c in contract.cameras}
    missing = sorted({c.name for c in contract.model_cameras} - set(wanted.seen.images))
    if missing:
        yield f"goal(): no picture of camera {', '.join(missing)}, which the model sees"
    for name, image in wanted.seen.images.items():
        yield from _picture("goal()", name, image, cameras)


def _judges(task: Task, scene: Scene, spec: Any) -> Iterator[str]:
    scene.reset(spec)
    judge = task.judge(scene, spec)
    _complete("judge", judge, Judge)
    judge.add(Sample(0.0, scene.truth(), False, False))
    score = judge.score()
    for name in ("success", "ever"):
        _expect(isinstance(score.get(name), bool), "score()", f"'{name}' is missing, or is not true or false")
    if score["success"]:
        yield "draw(): the task is solved at its start"


# ---------------------------------------------------------------- data


def _gathers(world: World, scene: Scene, contract: RobotContract) -> Iterator[str]:
    task = world.task(world.data_task, contract, {})
    spec = task.outing(0, 0)
    if not _same(spec, task.outing(0, 0)):
        yield "outing(): the same seed and number give another spec"
    scene.reset(spec)
    yield from _commands("explore()", task.explore(scene, spec), scene, contract)
    scene.reset(spec)
    loop = Loop(scene, task.explore(scene, spec), gated=world.gated, blind=("scan",))
    reasons = dict[str, None]()
    for _ in range(3 * STEPS):
        if scene.over:
            break
        record = loop.step()
        if any(mode in (*MOVING_NAMES, "") for mode in record.modes):
            return
        reasons.update(dict.fromkeys(record.reasons))
    yield f"the gate lets nothing through: {', '.join(reasons) or 'the episode ended at once'}"


def _commands(where: str, policy: Any, scene: Scene, contract: RobotContract) -> Iterator[str]:
    command = policy.act(scene.observe()).command
    if command is None:
        return
    found = np.asarray(command)
    if found.shape != (contract.action_dim,):
        yield f"{where}: a command of shape {found.shape}, expected ({contract.action_dim},)"
    elif not ((found >= contract.action_low - 1e-9) & (found <= contract.action_high + 1e-9)).all():
        yield f"{where}: command {found.tolist()} is not within the contract's action"


# ---------------------------------------------------------------- comparing


def _same(a: Any, b: Any) -> bool:
    """Whether two things hold the same plain data."""
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        return bool(np.array_equal(np.asarray(a), np.asarray(b), equal_nan=np.asarray(a).dtype.kind == "f"))
    if dataclasses.is_dataclass(a) and type(a) is type(b):
        return all(_same(getattr(a, f.name), getattr(b, f.name)) for f in dataclasses.fields(a))
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return set(a) == set(b) and all(_same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(_same(x, y) for x, y in zip(a, b, strict=True))
    return type(a) is type(b) and (pickle.dumps(a) == pickle.dumps(b) or bool(a == b))


def _places(value: Any, where: str = "") -> Iterator[tuple[str, float]]:
    """(where it stands, number) of every number that tells something; 0, 1 and whole numbers do not."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        for key, part in value.items():
            if key not in ("stamp", "received", "time"):
                yield from _places(part, f"{where}.{key}" if where else str(key))
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from _places(part, where)
    elif isinstance(value, np.ndarray) and value.dtype.kind == "f":
        yield from ((where, float(v)) for v in value.ravel() if np.isfinite(v) and v != round(v))
    elif isinstance(value, float) and np.isfinite(value) and value != round(value):
        yield where, float(value)


def _numbers(value: Any) -> set[float]:
    return {number for _, number in _places(value)}
