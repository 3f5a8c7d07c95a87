# SPDX-License-Identifier: Apache-2.0
"""``jepa-ros collect --env ID``: episodes of a Gymnasium environment, and the options that name one."""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from jepa_ros.contract import RobotContract
from jepa_ros.learning.data.dataset import Dataset, DatasetError, Episode
from jepa_ros.learning.gym_env import GymEnv, GymError
from jepa_ros.learning.gym_goals import GENTLER
from jepa_ros.learning.policies import RandomPolicy
from jepa_ros.perception.preprocess import model_input

SHORTEST = 16  # steps: shorter episodes are of no use to training
GENTLE = 0.4  # share of the episodes that are driven with smaller actions: a goal has to be approached and held as well
TRIES = 20  # resets until an episode is as long
SOURCE = "gymnasium"


@lru_cache(maxsize=1)
def open_env(env: str, args: str, repeat: int | None) -> GymEnv:
    """The environment of a worker, made once; ``args`` is JSON."""
    return GymEnv(env, json.loads(args), repeat)


@dataclass(frozen=True)
class GymSettings:
    """How a dataset of an environment is made; written into it, and compared when a run is resumed.

    Attributes:
        env: its ID. args: its further arguments, as JSON. repeat: of its steps, for which an action is held.
        episodes, length: number of episodes, control steps in each at most. seed: everything random follows from it.
    """

    env: str
    args: str
    repeat: int
    episodes: int
    length: int
    seed: int

    def to_dict(self) -> dict[str, Any]:
        """Plain data for the dataset's description."""
        return {"source": SOURCE, **vars(self)}

    def episode(self, contract: RobotContract, number: int) -> Episode:
        """Collect episode ``number``: random actions, each held for 1 to 8 steps; follows from the settings alone.

        After an attempt that ended too soon (something fell over) the actions are smaller.

        Raises:
            GymError: the environment ends every episode before training could use it.
        """
        env = open_env(self.env, self.args, self.repeat)
        for attempt in range(TRIES):
            env.reset(int(np.random.SeedSequence([self.seed, number, attempt]).generate_state(1)[0] % 2**31))
            rng = np.random.default_rng([self.seed, number, attempt])
            scale = rng.uniform(0.1, 1.0) if rng.random() < GENTLE else 1.0
            policy = RandomPolicy(contract, rng, scale * GENTLER**attempt)
            rows = [(model_input(o.image, contract.cameras[0]), c, e) for o, c, e in env.drive(policy, self.length)]
            if len(rows) >= SHORTEST:
                images, commands, executed = (np.array(column) for column in zip(*rows))
                no_pose, no_contact = np.full((len(rows), 3), np.nan, np.float32), np.zeros(len(rows), bool)
                return Episode(images, executed.astype("f4"), commands.astype("f4"), no_pose, no_contact)
        hint = "lower --action-repeat, or switch the early end off by --env-args"
        raise GymError(f"--env {self.env}: {TRIES} episodes ended within {SHORTEST} steps of random actions; {hint}")


def add_env_arguments(parser: argparse.ArgumentParser, repeat: str) -> Any:
    """Declare the options that name an environment; returns their group. ``repeat``: of ``--action-repeat``, else."""
    group = parser.add_argument_group("another world than ours")
    group.add_argument("--env", metavar="ID", help="a Gymnasium environment with a Box action and RGB rendering")
    group.add_argument("--env-args", metavar="JSON", help="further arguments of the environment")
    group.add_argument("--action-repeat", type=int, metavar="N",
                       help=f"of its steps, for which an action is held (default: {repeat})")  # fmt: skip
    return group


def env_args(text: str | None) -> dict[str, Any]:
    """Read ``--env-args``.

    Raises:
        GymError: not a JSON object.
    """
    try:
        found = json.loads(text or "{}")
    except ValueError as error:
        raise GymError(f"--env-args {text}: not valid JSON: {error}") from None
    if not isinstance(found, dict):
        raise GymError(f"--env-args {text}: expected a JSON object such as '{{\"continuous\": true}}'")
    return found


def settings_from(args: argparse.Namespace) -> tuple[RobotContract, GymSettings]:
    """The contract and the settings that the options of ``collect`` name.

    Raises:
        GymError: an environment that cannot be used.
    """
    if args.length < SHORTEST:
        raise GymError(f"--length {args.length}: training needs episodes of at least {SHORTEST} control steps")
    text = json.dumps(env_args(args.env_args), sort_keys=True)
    env = open_env(args.env, text, args.action_repeat)
    return env.contract, GymSettings(args.env, text, env.repeat, args.episodes, args.length, args.seed)


def check_data(data: Dataset, env: str) -> None:
    """Refuse data of anything but the environment ``env``.

    Raises:
        DatasetError: the data comes from elsewhere.
    """
    found = data.settings.get("env") if data.settings.get("source") == SOURCE else f"robot '{data.contract.name}'"
    if found != env:
        raise DatasetError(f"{data.folder} holds data of {found}, not of --env {env}: collect with --env {env} first")
