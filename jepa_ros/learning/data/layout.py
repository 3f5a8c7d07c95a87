# SPDX-License-Identifier: Apache-2.0
"""Datasets on disk: episodes of model inputs, executed actions and what the robot's own sensors said.

The ONE format, whoever writes it: driving in simulation (``collect``), bags (``dataset``), other people's
environments. A dataset is a folder::

    dataset.json            contract, settings, seed, format
    shard_00000/            a few episodes each; appears whole (written aside, then renamed)
        images.npy          (N, height, width, 3) uint8  the model's picture of the camera that begins steps at t_k
        actions.npy         (N, A) float32             the mean of the gate's output over [t_k, t_k+1), physical units
        commands.npy        (N, A) float32             what the policy asked for at step k, physical units
        poses.npy           (N, 3) float32             localisation x, y, yaw at t_k (NaN where the robot has none)
        contacts.npy        (N,) bool                  bumper during [t_k, t_k+1)
        images_NAME.npy     (N, height, width, 3) uint8  the same of each further camera that the model sees
        state_NAME.npy      (N, n) float32             a state vector at t_k: what the model takes or labels come from
        episodes.npy        (E, 3) int64               start, length, layout of each episode within the shard
    index.json, index.npy   once it is whole: see :mod:`jepa_ros.learning.data.storage`

Data may be larger than memory, and lie in object storage: what is read is the rows of a batch. Localisation and bumper
are the robot's own sensors with their noise; a simulator's ground truth never enters a dataset.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from jepa_ros.contract import RobotContract
from jepa_ros.contract.parts import ODOMETRY
from jepa_ros.learning.data.storage import DatasetError, open_remote, read_remote

#: Version of the format. Version 1 has one camera and no state; its contracts name no more, so it is read as it stands.
FORMAT, READ = 2, (1, 2)
META = "dataset.json"
LOCK = "writing"
ARRAYS = ("images", "actions", "commands", "poses", "contacts", "episodes")


def input_arrays(contract: RobotContract) -> dict[str, str]:
    """{input of the model: name of the array that holds it}."""
    pictures = {c.name: "images" if c is contract.step_camera else f"images_{c.name}" for c in contract.model_cameras}
    return pictures | {s.name: f"state_{s.name}" for s in contract.model_state}


def further_arrays(contract: RobotContract) -> dict[str, tuple[int, ...]]:
    """{array beside ARRAYS: shape of one of its rows} of a contract's datasets."""
    others = [c for c in contract.model_cameras if c is not contract.step_camera]
    pictures: dict[str, tuple[int, ...]] = {f"images_{c.name}": (c.size[1], c.size[0], 3) for c in others}
    return pictures | {f"state_{s.name}": (len(s.values),) for s in contract.kept_state}


def keeps_odometry(contract: RobotContract) -> bool:
    """Whether a contract's datasets hold where the odometry was, as ``state_odom``."""
    return any(s.name == "odom" and s.values == ODOMETRY for s in contract.kept_state)


@dataclass
class Episode:
    """One episode in memory, T steps; shapes as the module says, without the leading N."""

    images: np.ndarray
    actions: np.ndarray
    commands: np.ndarray
    poses: np.ndarray
    contacts: np.ndarray
    layout: int = 0
    further: dict[str, np.ndarray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.actions)

    def check(self, contract: RobotContract) -> None:
        """Refuse what would spoil a training hours later.

        Raises:
            DatasetError: frames of another size, lengths that differ, an array that is missing, or values that are not
                finite.
        """
        steps, action_dim, size = len(self.actions), contract.action_dim, contract.step_camera.size
        shape = (steps, size[1], size[0], 3)
        if self.images.shape != shape or self.images.dtype != np.uint8:
            raise DatasetError(f"images of shape {self.images.shape} {self.images.dtype}: expected {shape} uint8")
        for name in ("actions", "commands"):
            array = getattr(self, name)
            if array.shape != (steps, action_dim):
                raise DatasetError(f"{name} of shape {array.shape}: expected ({steps}, {action_dim})")
            if not np.isfinite(array).all():
                raise DatasetError(
                    f"{name} hold values that are not finite at step {int(np.argwhere(~np.isfinite(array))[0, 0])}"
                )
        if self.poses.shape != (steps, 3) or self.contacts.shape != (steps,):
            raise DatasetError(
                f"poses {self.poses.shape} and contacts {self.contacts.shape}: expected ({steps}, 3) and ({steps},)"
            )
        for name, row in further_arrays(contract).items():
            found = self.further.get(name)
            if found is None or found.shape != (steps, *row) or not np.isfinite(found).all():
                what = "none" if found is None else f"shape {found.shape}, finite: {bool(np.isfinite(found).all())}"
                raise DatasetError(f"{name}: {what}; expected finite values of shape {(steps, *row)}")


def read_meta(folder: Path | str) -> dict[str, Any]:
    """What ``dataset.json`` says, of a folder or of a URL.

    Raises:
        DatasetError: it cannot be read, or is of another version.
    """
    path = f"{folder}/{META}"
    try:
        if isinstance(folder, Path):
            meta = json.loads((folder / META).read_text(encoding="utf-8"))
        else:
            fs, root = open_remote(folder)
            meta = json.loads(read_remote(folder, fs, f"{root}/{META}", "no dataset lies there"))
    except OSError as error:
        raise DatasetError(
            f"{path}: cannot be read: {error.strerror}; a dataset is made by 'jepa-ros collect' or 'jepa-ros dataset'"
        ) from None
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{path}: not valid JSON: {error}") from None
    if not isinstance(meta, dict) or meta.get("format") not in READ:
        known = " or ".join(map(str, READ))
        raise DatasetError(f"{path}: expected a dataset of format {known}; collect the data again")
    for key in ("contract", "settings"):
        if not isinstance(meta.get(key), dict):
            raise DatasetError(f"{path}: {key}: expected a mapping, found {type(meta.get(key)).__name__}")
    return meta
