# SPDX-License-Identifier: Apache-2.0
"""Learning from bags against learning from direct collection: the same policy, arena, length, training and pairs.

Through ROS the simulated robot is driven by ``jepa-ros explore``'s node under the gate, and recorded. Each stage that
is done is kept, so that the same command resumes.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from jepa_ros.contract import RobotContract, load_contract
from jepa_ros.errors import JepaRosError
from jepa_ros.ros_env import reserved_domain

#: Of an evaluation's report, what is told of each model.
SCORES = ("success_rate", "success_rate_ci95", "success_no_contact_rate", "success_no_contact_rate_ci95", "episodes")
BAG_EPISODES = 8  # episodes in a bag: a unit of work and of resuming, 3 minutes at real time


class LearningError(JepaRosError):
    """A stage failed, or the folder is of other settings."""


@dataclass(frozen=True)
class LearningSettings:
    """How much is driven, trained and scored.

    Attributes:
        episodes, length: episodes and control steps in each, collected both ways. seed: of everything.
        steps, readout_steps: of training; 0 leaves it to `jepa-ros train`.
        pairs: start and goal pairs that each model is scored on.
        factor: simulated seconds in a second while driving through ROS.
        layout: "fixed", and nothing randomised: a team's robot in its own place; or "random", all of it anew each
            episode. Both ways of collecting, and the scored pairs, are of that kind.
    """

    episodes: int
    length: int
    seed: int
    steps: int
    readout_steps: int
    pairs: int
    factor: float
    layout: str


def run(folder: Path, settings: LearningSettings, say: Callable[[str], None] = print) -> dict[str, Any]:
    """Do what is not done yet; returns the report.

    Raises:
        LearningError: a stage failed, or the folder holds a run of other settings.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _same_settings(folder / "settings.json", settings)
    s = settings
    direct, data = folder / "direct", folder / "from_bags"
    if not (direct / "report.json").exists():
        say(f"collecting {s.episodes} episodes directly")
        _jepa("collect", "--out", direct, "--episodes", s.episodes, "--length", s.length, "--seed", s.seed,
              "--layout", s.layout, *(() if s.layout == "random" else ("--no-randomise",)))  # fmt: skip
    bags = [folder / f"bag_{first:05d}" for first in range(0, s.episodes, BAG_EPISODES)]
    for number, bag in enumerate(bags):
        if not bag.with_suffix(".done").exists():
            first = number * BAG_EPISODES
            last = min(first + BAG_EPISODES, s.episodes)
            say(f"driving episodes {first} to {last - 1} of {s.episodes} through ROS")
            drive(bag, settings, range(first, last))
            bag.with_suffix(".done").touch()
    if not (data / "report.json").exists():
        say("bags to dataset")
        same = ("--static",) if s.layout == "fixed" else ()
        _jepa("dataset", *bags, "--robot", "arena", "--out", data, "--json", folder / "dataset.json", *same)
    for name, source in (("direct", direct), ("bags", data)):
        model, score = folder / f"model_{name}", folder / f"score_{name}.json"
        if not (model / "card.json").exists():
            say(f"training on {source.name}")
            given = {"--steps": s.steps, "--readout-steps": s.readout_steps}
            words = [word for option, value in given.items() if value for word in (option, value)]
            threads = min(2, len(os.sched_getaffinity(0)))
            _jepa("train", "--data", source, "--out", model, "--seed", s.seed, "--threads", threads, *words)
        if not score.exists():
            say(f"scoring {model.name}")
            kind = ("--layout", s.layout, *(("--randomise",) if s.layout == "random" else ()))
            _jepa("eval", "--model", model, "--episodes", s.pairs, "--policies", "planner", "--json", score, *kind)
    return _report(folder, settings)


def _same_settings(path: Path, settings: LearningSettings) -> None:
    if path.exists():
        found = json.loads(path.read_text(encoding="utf-8"))
        if found != asdict(settings):
            raise LearningError(f"{path.parent} is a run with other settings ({found}): choose another folder")
    else:
        path.write_text(json.dumps(asdict(settings)) + "\n", encoding="utf-8")


def _jepa(*words: Any) -> None:
    command = [sys.executable, "-m", "jepa_ros.commands.cli", *map(str, words)]
    code = subprocess.run(command).returncode
    if code:
        raise LearningError(f"{' '.join(command[2:])} ended with code {code}; the same command resumes")


def _report(folder: Path, settings: LearningSettings) -> dict[str, Any]:
    scores = {name: json.loads((folder / f"score_{name}.json").read_text()) for name in ("direct", "bags")}
    steps = json.loads((folder / "dataset.json").read_text())["steps"]
    rows = {}
    for name, score in scores.items():
        rows[name] = {
            "steps": settings.episodes * settings.length if name == "direct" else steps,
            **{key: score[key] for key in SCORES},
        }
    return {"settings": asdict(settings), "rows": rows}


# ---------------------------------------------------------------- through ROS


def exploring_contract(factor: float) -> dict[str, Any]:
    """The arena's contract for exploring: without the lidar, as in direct collection (a model that is to know what a
    contact is must have touched something), and with ramps as steep as the faster clock needs."""
    plain = load_contract("arena").to_dict()
    del plain["state"]["scan"]
    for name in ("acceleration", "braking"):
        plain["limits"][name] = {axis: factor * value for axis, value in plain["limits"][name].items()}
    RobotContract.from_dict(plain)
    return plain


def drive(bag: Path, settings: LearningSettings, numbers: range) -> None:
    """Drive some episodes under the gate in simulation into one bag.

    Raises:
        JepaRosError: the stack does not run, or does not let the robot drive.
    """
    from std_srvs.srv import SetBool, Trigger

    from jepa_ros.bringup.stack import Stack
    from jepa_ros.commands.explore import Explorer
    from jepa_ros.commands.link import Link

    _clear(bag)
    file = bag.with_name("exploring.yaml")
    file.write_text(yaml.safe_dump(exploring_contract(settings.factor)), encoding="utf-8")
    contract = load_contract(file)
    given = {
        "robot": str(file), "brain": "false", "record": "true", "bag": str(bag), "auto_enable": "false",
        "layout": settings.layout, "randomise": str(settings.layout == "random").lower(),
        "real_time_factor": f"{settings.factor}",
    }  # fmt: skip
    with reserved_domain() as domain:
        os.environ["ROS_DOMAIN_ID"] = str(domain)
        with (
            Stack("sim", given) as stack,
            Explorer(contract, settings.seed + numbers[0], 1.0, sim_time=True) as explorer,
            Link(timeout=20.0) as link,
        ):
            stack.wait_ready()
            link.until(lambda: (bag / "metadata.yaml").exists(), "the recorder did not begin")
            for number in numbers:
                link.call(SetBool, "safety_gate/enable", SetBool.Request(data=False))
                _place(link, settings.seed, number)
                link.call(Trigger, "sim/reset")
                link.call(SetBool, "safety_gate/enable", SetBool.Request(data=True))
                explorer.node.restart()
                explorer.drive(settings.length)
                stack.check()


def _clear(bag: Path) -> None:
    """Take away what an earlier, interrupted run left of this bag."""
    if bag.exists():
        shutil.rmtree(bag)


def _place(link: Any, seed: int, number: int) -> None:
    """Seed and layout of an episode, taken at the simulator's next reset."""
    from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
    from rcl_interfaces.srv import SetParametersAtomically

    drawn = np.random.SeedSequence([seed, number, 7]).generate_state(2)
    values = {"seed": int(drawn[0] % 2**31), "layout_seed": int(drawn[1] % (2**31 - 1)) + 1}
    parameters = [
        Parameter(name=name, value=ParameterValue(type=ParameterType.PARAMETER_INTEGER, integer_value=value))
        for name, value in values.items()
    ]
    request = SetParametersAtomically.Request(parameters=parameters)
    answer = link.call(SetParametersAtomically, "sim/set_parameters_atomically", request).result
    if not answer.successful:
        raise LearningError(f"the simulator refused its seeds: {answer.reason}")
