# SPDX-License-Identifier: Apache-2.0
"""``jepa-ros check``: is this robot contract, checkpoint or world fit to be used? Anybody can run it on their own.

Exit code 0 when it is, 1 when it can be read but will not do, 2 when it cannot be read (one line says why).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from jepa_ros.commands.check_world import check_world
from jepa_ros.contract import RobotContract
from jepa_ros.options import positive
from jepa_ros.worlds import contract_of

#: A model's picture is encoded and a plan is searched within the share of the control period that this leaves.
BUDGET_SHARE = 0.8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare ``check robot FILE``, ``check model DIR`` and ``check world NAME``."""
    kinds = parser.add_subparsers(dest="kind", metavar="robot|model|world", required=True)
    robot = kinds.add_parser("robot", help="a robot contract (robots/NAME.yaml)")
    robot.add_argument("file", help="a YAML file, or the name of a shipped robot")
    model = kinds.add_parser("model", help="a checkpoint")
    model.add_argument("folder", help="the folder, or the name of a shipped model")
    model.add_argument("--robot", metavar="NAME|FILE", help="contract that it must fit (default: its own)")
    model.add_argument("--threads", type=positive, default=1, help="compute threads (default: 1)")
    world = kinds.add_parser("world", help="a robot's world: its scene and tasks")
    world.add_argument("name", help="name of the robot, as for --robot")


def main(args: argparse.Namespace) -> int:
    """Run the check that was asked for."""
    if args.kind == "robot":
        return check_robot(args.file)
    return check_world(args.name) if args.kind == "world" else check_model(args.folder, args.robot, args.threads)


# ---------------------------------------------------------------- robot


def check_robot(name_or_path: str) -> int:
    """Validate a contract and its guardrails, show what it says, and warn of what is allowed but unwise."""
    from jepa_ros.safety.config import GateConfig, GateConfigError
    from jepa_ros.safety.guardrails import parse_guardrails

    contract = contract_of(name_or_path)
    rails = parse_guardrails(list(contract.guardrails))
    try:
        gate = GateConfig.from_contract(contract)  # what the gate would refuse when it is configured
    except GateConfigError as error:
        raise GateConfigError(f"{contract.source}: {error}") from None
    camera = contract.cameras[0]
    print(f"{contract.source}: robot '{contract.name}' ({contract.description or 'no description'})")
    latency = 1e3 * contract.actuation_latency
    print(f"  control {contract.rate:g} Hz, gate {contract.gate_rate:g} Hz, latency {latency:g} ms")
    for dim in contract.action:
        print(f"  action {dim.name}: {dim.low:g} to {dim.high:g} {dim.unit}")
    print(f"  command {contract.command.topic} ({contract.command.kind}), {contract.kinematics.kind}")
    width, height = camera.size
    print(f"  camera {camera.width}x{camera.height} at {camera.rate:g} Hz, model input {width}x{height}")
    inputs = ", ".join(f"{t.topic}{'' if t.required else ' (optional)'}" for t in contract.state.values())
    print(f"  state {inputs or 'none'}")
    if (costmap := contract.costmap) is not None:
        print(f"  costmap {', '.join(costmap.sources)} in '{costmap.frame}', cost {costmap.lethal} and more")
    if contract.kinematics.arm is not None:
        _show_arm(contract, gate.singularity)
    print(f"  guardrails: {len(rails)}")
    for line in contract_warnings(contract):
        print(f"  warning: {line}")
    print("ok")
    return 0


def _show_arm(contract: RobotContract, levels: tuple[float, float] | None) -> None:
    """Load the arm's URDF, and say where the tip is and how far its links are apart at home.

    Args:
        levels: the gate's, of the condition number; None where it has none.
    """
    from jepa_ros.arm import ArmKinematics, ArmLinks

    arm, said = ArmKinematics.from_contract(contract), contract.kinematics.arm
    assert said is not None
    home = np.array(said.home)
    links = ArmLinks.from_contract(contract, arm)
    at, nearest = arm.position(home), links.clearances(home)
    print(f"  arm of {arm.size} joints from {said.base_frame} to {said.tip_frame} ({arm.description.path})")
    number = arm.condition(home)
    print(f"  home: tip at {at[0]:.3f}, {at[1]:.3f}, {at[2]:.3f} m, condition number {number:.1f}")
    if levels is not None and number >= levels[0]:
        print(f"  warning: at home the arm is near a singularity: the gate goes slowly from {levels[0]:g} on and stops "
              f"at {levels[1]:g} (setting singularity)")  # fmt: skip
    if not all(low <= v <= high for low, v, high in zip(said.workspace[0], at, said.workspace[1], strict=True)):
        print(f"  warning: the tip at home is outside kinematics.workspace {list(map(list, said.workspace))}")
    print(f"  {len(links.pairs)} pairs of links can meet; nearest at home: {1e3 * nearest.self_collision:.0f} mm, "
          f"{' and '.join(nearest.pair)}")  # fmt: skip


def contract_warnings(contract: RobotContract) -> list[str]:
    """What a valid contract says that a roboticist would want to look at again."""
    found = []
    camera, limits, dog = contract.cameras[0], contract.limits, contract.watchdog
    if camera.rate < contract.rate:
        found.append(
            f"cameras[0].rate {camera.rate:g} Hz is below the control rate {contract.rate:g} Hz: "
            "some steps will see no new image"
        )
    if contract.costmap is not None and contract.costmap.lethal < 99:
        found.append(
            f"costmap.lethal {contract.costmap.lethal} counts inflated cells: the gate keeps the footprint off besides"
        )
    if dog.image_timeout < 2 / camera.rate:
        found.append(
            f"watchdog.image_timeout {dog.image_timeout:g} s is less than two images at {camera.rate:g} Hz: "
            "one lost image stops the robot"
        )
    if dog.command_timeout < contract.period:
        found.append(
            f"watchdog.command_timeout {dog.command_timeout:g} s is below the control period "
            f"{contract.period:g} s: the robot stops between commands"
        )
    for i, dim in enumerate(contract.axes):
        if limits.braking[i] > limits.acceleration[i]:
            found.append(
                f"limits.braking of {dim.name} ({limits.braking[i]:g}) exceeds limits.acceleration "
                f"({limits.acceleration[i]:g}): it must be guaranteed, and the gate ramps no faster"
            )
    for further in (c for c in contract.cameras if not c.model):
        found.append(
            f"camera '{further.name}' ({further.image_topic}) is recorded and played back, but no model looks at "
            "it, and the gate does not watch it"
        )
    if not contract.watchdog.estop_required:
        found.append("watchdog.estop_required is false: nobody has to publish an e-stop for the robot to move")
    return found


# ---------------------------------------------------------------- model


def check_model(folder: str, robot: str | None, threads: int) -> int:
    """Load a checkpoint, try every method that the planner calls, and time it on this machine."""
    import torch

    from jepa_ros.perception import Perception
    from jepa_ros.world_model import load_checkpoint
    from jepa_ros.world_model.check import check_world_model
    from jepa_ros.world_model.checkpoint import CARD, load_card, resolve_model

    path = resolve_model(folder)
    card = load_card(path)
    contract = contract_of(robot) if robot else RobotContract.from_dict(card["contract"], f"{path / CARD}: contract")
    torch.set_num_threads(threads)
    model, card = load_checkpoint(path, contract)
    size = sum(f.stat().st_size for f in Path(path).iterdir() if f.is_file()) / 1e6
    print(f"{path}: {card['parameters']:,} parameters, {size:.1f} MB, for robot '{contract.name}'")
    perception = Perception(model, contract)
    here, there = (perception.inputs(pictures, state=state) for pictures, state in _made_up(contract, 2))
    for line in check_world_model(model, {name: torch.cat([here[name], there[name]]) for name in here}):
        print(f"  {line}")
    for name, verdict in card.get("metrics", {}).get("readouts", {}).items():
        if not verdict["used"]:
            print(f"  readout '{name}' is not used: its held-out R2 {verdict['r2']} misses {verdict['least']:g}")
    encode, plan = _time(model, contract, card)
    budget = BUDGET_SHARE * 1e3 * contract.period
    if isinstance(plan, str):
        print(f"  encode {encode[0]:.1f} / {encode[1]:.1f} ms (p50 / p99)\ndoes not fit: {plan}")
        return 1
    print(
        f"  encode {encode[0]:.1f} / {encode[1]:.1f} ms, plan {plan[0]:.1f} / {plan[1]:.1f} ms (p50 / p99, "
        f"{threads} thread{'s' if threads > 1 else ''}), budget {budget:.0f} ms"
    )
    if encode[1] + plan[1] > budget:
        print(
            f"does not fit: {encode[1] + plan[1]:.0f} ms at p99 is over the budget of {budget:.0f} ms; "
            "search fewer samples or iterations, or use a faster machine"
        )
        return 1
    print("ok")
    return 0


def _made_up(contract: RobotContract, count: int) -> list[tuple[dict[str, np.ndarray], dict[str, np.ndarray]]]:
    """Noise in the place of pictures and states, as often as is asked for."""
    rng = np.random.default_rng(0)
    return [
        (
            {c.name: rng.integers(0, 255, (c.height, c.width, 3), dtype=np.uint8) for c in contract.model_cameras},
            {s.name: rng.normal(size=len(s.values)).astype(np.float32) for s in contract.model_state},
        )
        for _ in range(count)
    ]


def _time(model: Any, contract: RobotContract, card: dict[str, Any]) -> tuple[np.ndarray, np.ndarray | str]:
    """p50 and p99 in ms of encoding what is seen once, and of one plan towards another sight, or why none is made."""
    from jepa_ros.cost.goal import Goal
    from jepa_ros.perception import Perception
    from jepa_ros.planning.planner import Planner

    seen = _made_up(contract, 8)
    perception = Perception(model, contract)
    planner = Planner(model, contract, card=card)
    planner.warm_up()

    def look(i: int) -> np.ndarray:
        pictures, state = seen[i % len(seen)]
        return perception.encode(pictures, state=state)

    encode = _percentiles(look, 50)
    if planner.too_slow:
        return encode, planner.too_slow
    goal = Goal.from_latent(look(0), name="check")
    planner.step(look(1), 0.0)  # fills the history
    history = planner.history

    def search(i: int) -> Any:  # the search itself: the planner would skip it where it believes that it has arrived
        return planner.think(history.z, history.h, goal, history.under_way, seed=i)

    return encode, _percentiles(search, 50)


def _percentiles(work: Callable[[int], Any], repeats: int) -> np.ndarray:
    times = []
    for i in range(repeats + 3):
        start = time.perf_counter()
        work(i)
        times.append(time.perf_counter() - start)
    return 1e3 * np.percentile(times[3:], [50, 99])
