# SPDX-License-Identifier: Apache-2.0
"""The robot contract: the ONE description of a robot that recording, training, planning and gating share.

A contract is a YAML file (``robots/NAME.yaml``). It is validated when it is read, carried inside every checkpoint and
bag, and compared key by key when a checkpoint meets a robot. ``docs/contract.md`` documents every key.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jepa_ros.contract.differences import differences, model_part
from jepa_ros.contract.fields import ContractError, Fields
from jepa_ros.contract.parts import (
    ODOMETRY,
    POSITION_UNITS,
    ActionDim,
    Camera,
    Command,
    Costmap,
    Footprint,
    Frames,
    Kinematics,
    Limits,
    Nearness,
    StateInput,
    StateTopic,
    Watchdog,
)
from jepa_ros.contract.reader import read
from jepa_ros.contract.resources import share_dir
from jepa_ros.suggest import did_you_mean
from jepa_ros.yaml_text import load_yaml

#: m from a base with its camera on board within which its planner is told what the scan shows.
BESIDE = 1.5


@dataclass(frozen=True, eq=False)
class RobotContract:
    """A validated contract. Build one with :func:`load_contract` or :meth:`from_dict`; it never changes afterwards.

    ``action`` is what the planner searches over, ``axes`` is what the gate's command consists of: the same but for an
    arm, whose planner asks for a twist of the tip and whose gate sees joints. ``folder`` is that of its file, from
    which the paths in it count; None where it was carried by something else.
    """

    name: str
    description: str
    rate: float
    gate_rate: float
    actuation_latency: float
    frames: Frames
    footprint: Footprint
    kinematics: Kinematics
    cameras: tuple[Camera, ...]
    action: tuple[ActionDim, ...]
    axes: tuple[ActionDim, ...]
    command: Command
    state: dict[str, StateTopic]
    estop_topic: str
    limits: Limits
    watchdog: Watchdog
    arrival: Nearness
    stop: str
    guardrails: tuple[dict[str, Any], ...]
    costmap: Costmap | None
    source: str
    data: dict[str, Any]
    folder: Path | None = None

    @property
    def period(self) -> float:
        """Duration of one control step [s]."""
        return 1.0 / self.rate

    @property
    def action_dim(self) -> int:
        """Number of action dimensions, A."""
        return len(self.action)

    @property
    def action_low(self) -> np.ndarray:
        """Lower bounds, (A,), physical units."""
        return np.array([a.low for a in self.action])

    @property
    def action_high(self) -> np.ndarray:
        """Upper bounds, (A,), physical units."""
        return np.array([a.high for a in self.action])

    @property
    def jointed(self) -> bool:
        """Whether the command moves joints, and no base."""
        return self.kinematics.kind in ("joints", "arm")

    @property
    def on_board(self) -> bool:
        """Whether a mobile base carries the first camera: what it sees changes with every motion."""
        return not self.jointed and self.cameras[0].frame == self.frames.base

    @property
    def planned_reach(self) -> float:
        """m from the base within which the planner is told what the gate's scan shows, 0 where it is told nothing.

        From above a planner sees what is in its way. A costmap's cells no picture shows, and from on board a picture
        shows little of what is beside the robot.
        """
        if self.costmap is not None:
            return self.costmap.reach
        return BESIDE if self.on_board and "scan" in self.state else 0.0

    @property
    def model_cameras(self) -> tuple[Camera, ...]:
        """The cameras that the model sees."""
        return tuple(c for c in self.cameras if c.model)

    @property
    def step_camera(self) -> Camera:
        """The camera whose images begin steps: the first that the model sees."""
        return self.model_cameras[0]

    @property
    def watched_camera(self) -> Camera:
        """The camera that the gate watches, on the topic ``image`` where its driver calls it nothing else."""
        return self.cameras[0]

    @property
    def model_state(self) -> tuple[StateInput, ...]:
        """The state vectors that the model takes: of ``joint_states`` the positions of the command's joints, of
        ``odom`` the measured velocity along each action."""
        return tuple(self._state_input(key) for key, topic in self.state.items() if topic.model)

    @property
    def kept_state(self) -> tuple[StateInput, ...]:
        """The state vectors that a dataset keeps: what the model takes, and what labels come from. Those are the joints
        of an arm, and (x, y, yaw) of the odometry of a base that nothing localises."""
        labels = self._label_state
        kept = (key for key, topic in self.state.items() if topic.model or key == labels)
        return tuple(self._state_input(key) for key in kept)

    @property
    def _label_state(self) -> str:
        if self.jointed:
            return "joint_states" if self.kinematics.arm is not None else ""
        return "" if "pose" in self.state else "odom"

    def _state_input(self, key: str) -> StateInput:
        if key == "odom" and not self.state[key].model:
            return StateInput(key, ODOMETRY, ("m", "m", "rad"))
        if key == "joint_states":
            units = tuple(axis.unit.removesuffix("/s") for axis in self.axes)
            return StateInput(key, tuple(axis.name for axis in self.axes), units)
        return StateInput(key, tuple(a.name for a in self.action), tuple(a.unit for a in self.action))

    @property
    def by_position(self) -> bool:
        """Whether the gate's command is a set of joint positions, and not of rates."""
        return self.axes[0].unit in POSITION_UNITS

    def neutral(self, held: np.ndarray | None = None) -> np.ndarray | None:
        """The action that stands still, (A,): the ONE answer for whoever has nothing to do.

        Zeros where the action is of rates. Where it is of positions it is the set-point that is held, which the gate
        alone knows for certain: without ``held`` (A,), the last command that left the gate, the answer is None. A
        command of None says "stand still": the gate brakes the joints and holds them where they come to rest.
        """
        return held if self.action[0].unit in POSITION_UNITS else np.zeros(self.action_dim)

    def normalise(self, values: np.ndarray) -> np.ndarray:
        """Map physical actions (..., A) to [-1, 1] as the model takes them (linear, low -> -1, high -> 1)."""
        low, high = self.action_low, self.action_high
        return 2.0 * (np.asarray(values, dtype=np.float64) - low) / (high - low) - 1.0

    def denormalise(self, unit: np.ndarray) -> np.ndarray:
        """The inverse of :meth:`normalise`: (..., A) in [-1, 1] to physical units."""
        low, high = self.action_low, self.action_high
        return low + 0.5 * (np.asarray(unit, dtype=np.float64) + 1.0) * (high - low)

    def lidar(self) -> dict[str, Any]:
        """The gate's settings for where the lidar stands (``scan_frame``, ``scan_offset``); empty: in the base."""
        scan = self.state.get("scan")
        if scan is None or scan.frame is None:
            return {}
        return {"scan_frame": scan.frame, "scan_offset": scan.offset or (0.0, 0.0, 0.0)}

    def to_dict(self) -> dict[str, Any]:
        """The contract as plain data, every default written out; :meth:`from_dict` reads it back."""
        return json.loads(json.dumps(self.data))

    @staticmethod
    def from_dict(data: dict[str, Any], source: str = "contract", folder: Path | None = None) -> RobotContract:
        """Validate plain data and build the contract.

        Args:
            source: named in errors. folder: from which relative paths in it count.

        Raises:
            ContractError: naming ``source``, the path of the key, what was found and what was expected.
        """
        return RobotContract(**read(Fields(data, source)), folder=folder)

    def digest(self) -> str:
        """A hash of the whole contract, equal for equal contracts on every machine."""
        text = json.dumps(self.data, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def differences(self, other: RobotContract) -> list[str]:
        """Every key in which the two contracts differ, as ``path: mine != theirs``; empty when they are equal."""
        return differences(self.data, other.data)

    def model_differences(self, other: RobotContract) -> list[str]:
        """The differences that make a model of the one useless to the other: what the camera delivers, what an
        action means, and the timing. Guardrails, limits, time-outs and topics may change without retraining."""
        return differences(model_part(self.data), model_part(other.data))


def load_contract(name_or_path: str | Path) -> RobotContract:
    """Read and validate a contract.

    Args:
        name_or_path: a file, or the name of a shipped contract (``arena`` for ``robots/arena.yaml``).

    Raises:
        ContractError: the file is missing, is no YAML, or a key is wrong.
    """
    path = Path(name_or_path)
    if path.suffix not in (".yaml", ".yml"):
        folder = share_dir() / "robots"
        path = folder / f"{name_or_path}.yaml"
        if not path.is_file():
            known = sorted(p.stem for p in folder.glob("*.yaml"))
            hint = did_you_mean(str(name_or_path), known)
            raise ContractError(
                f"no robot named '{name_or_path}' in {folder}{hint}; known: {', '.join(known)}; or give a .yaml file"
            )
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ContractError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ContractError(f"{path}: not a text file in UTF-8") from None
    return RobotContract.from_dict(load_yaml(text, str(path), ContractError), str(path), path.resolve().parent)


__all__ = ["ContractError", "RobotContract", "load_contract"]
