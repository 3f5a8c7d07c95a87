# SPDX-License-Identifier: Apache-2.0
"""The memory on disk: a folder with one ``memory.safetensors``, in whose header stand the names, as JSON. Never pickle.

One file, replaced as a whole: it is never half old and half new, whenever the power goes. A thread writes, so that the
control loop does not wait for a disk. The folder belongs to one process at a time, and to one model: latents of another
encoder mean nothing here. Any number may read it besides: each begins with what is on disk then, and writes nothing.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from jepa_ros.contract import ContractError, RobotContract
from jepa_ros.errors import JepaRosError
from jepa_ros.memory.long_term import LongTerm

FORMAT = 1
FILE, LOCK = "memory.safetensors", "lock"
#: Seconds between two writes; a tag is written at once.
EVERY = 10.0


class StoreError(JepaRosError):
    """A folder that cannot be this planner's memory; the message says why, and what to do."""


class Store:
    """Keeps a :class:`LongTerm` in a folder.

    Args:
        folder: made when it does not exist. model_id: of the checkpoint. contract: of the robot.
        memory: filled with what the folder holds. every: s between two writes.
        read_only: several may have the folder, and nothing is written; what is learned lasts as long as the process.

    Attributes:
        note: what was found amiss and set aside, empty otherwise. trouble: why the last write failed, empty otherwise.

    Raises:
        StoreError: another model's or contract's, in use by another process, or not to be written; of one that is
            only read, also where there is none, or a damaged one.
    """

    def __init__(
        self, folder: Path | str, model_id: str, contract: RobotContract, memory: LongTerm, every: float = EVERY,
        read_only: bool = False,
    ) -> None:  # fmt: skip
        self.read_only = read_only
        self.folder, self.memory, self.every = Path(folder).absolute(), memory, every
        self.path = self.folder / FILE
        self._identity = {"format": FORMAT, "model_id": model_id, "contract": contract.to_dict()}
        self.note = self.trouble = ""
        if read_only:
            identity_of(self.folder)  # says what is wrong with it
            self._load(contract)
            return
        self._own(contract)
        self._written = memory.version if self.path.exists() else 0  # one that is filled is kept at once
        self._kept = {name: place.time for name, place in memory.tags.items()}
        self._wake, self._closing = threading.Event(), False
        self._thread = threading.Thread(target=self._run, name="memory", daemon=True)
        self._thread.start()

    def _own(self, contract: RobotContract) -> None:
        """Take the folder for this process alone, and read what is in it."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock = open(self.folder / LOCK, "a")  # noqa: SIM115 - held until close
        except OSError as error:
            raise StoreError(f"memory {self.folder}: cannot be written: {error.strerror}") from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # the kernel frees it when the process dies
        except OSError:
            self._lock.close()
            raise StoreError(
                f"memory {self.folder}: another planner is using it: end that one, or give each a folder of its own"
            ) from None
        try:
            self._load(contract)
        except BaseException:
            self._lock.close()
            raise

    @property
    def kept(self) -> bool:
        """Whether every tag is on disk."""
        return self.read_only or self._kept == {name: place.time for name, place in self.memory.tags.items()}

    def save_soon(self) -> None:
        """Write what is new now, in the thread."""
        if not self.read_only:
            self._wake.set()

    def close(self) -> None:
        """Write what is new and let go of the folder."""
        if self.read_only:
            return
        self._closing = True
        self._wake.set()
        self._thread.join()
        self._lock.close()

    # ------------------------------------------------------------ reading

    def _load(self, contract: RobotContract) -> None:
        if not self.path.exists():
            return
        try:
            head, tensors = _read(self.path)
            names = [str(name) for name in head["tags"]]
            if head["format"] == FORMAT:
                self._check(head, contract)
                self.memory.restore(names, tensors)
        except (OSError, SafetensorError, ContractError, ValueError, KeyError, TypeError, RecursionError) as error:
            if self.read_only:
                raise StoreError(f"{self.path}: no memory that can be read: {error}") from None
            aside = self._set_aside()
            self.note = f"{self.path} is damaged ({error}): it is kept as {aside.name}, and nothing is remembered"
            return
        if head["format"] != FORMAT:
            raise StoreError(f"{self.path}: format {head['format']!r}; this version reads {FORMAT}: give a new folder")

    def _check(self, head: dict[str, Any], contract: RobotContract) -> None:
        """Refuse the memory of another model or robot."""
        mine, theirs = self._identity["model_id"], head["model_id"]
        if mine != theirs:
            raise StoreError(
                f"memory {self.folder} was made by model {theirs}; this is model {mine}, to which its latents mean "
                "nothing: give another folder, or the model that made it"
            )
        made_for = RobotContract.from_dict(head["contract"], f"{self.path}: contract")
        if lines := made_for.model_differences(contract):
            raise StoreError(
                f"memory {self.folder} was made for robot '{made_for.name}' and does not fit '{contract.name}' "
                "(memory != wanted):\n  " + "\n  ".join(lines)
            )

    def _set_aside(self) -> Path:
        number = 1
        while (aside := self.folder / f"{FILE}.damaged-{number}").exists():
            number += 1
        os.replace(self.path, aside)
        return aside

    # ------------------------------------------------------------ writing

    def _run(self) -> None:
        while not self._closing:
            self._wake.wait(self.every)
            self._wake.clear()
            self._write()
        self._write()

    def _write(self) -> None:
        if self.memory.version == self._written:
            return
        try:
            with self.memory.lock:
                version, tensors = self.memory.version, self.memory.tensors()
                tags = {name: place.time for name, place in self.memory.tags.items()}
            text = json.dumps({**self._identity, "tags": list(tags)})
            partial = self.path.with_suffix(".partial")
            with open(partial, "wb") as file:
                file.write(save(tensors, {"memory": text, "sha256": _digest(text, tensors)}))
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, self.path)
            self._written, self._kept, self.trouble = version, tags, ""
        except OSError as error:
            self.trouble = f"{self.path}: cannot be written: {error.strerror}"


def identity_of(folder: Path | str) -> tuple[str, RobotContract, int]:
    """Of a memory on disk: the id of the model that made it, the robot's contract, and the size of a latent.

    Raises:
        StoreError: there is none that can be read.
    """
    path = Path(folder) / FILE
    try:
        head, tensors = _read(path)
        contract = RobotContract.from_dict(head["contract"], f"{path}: contract")
        return str(head["model_id"]), contract, int(tensors["latents"].shape[1])
    except FileNotFoundError:
        raise StoreError(f"{path}: no memory is there; a planner with memory:={folder} makes one") from None
    except (OSError, SafetensorError, ContractError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise StoreError(f"{path}: no memory that can be read: {error}") from None


def _read(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    with safe_open(path, "np") as file:
        texts = file.metadata() or {}
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - no mapping
    head = json.loads(texts["memory"])
    if texts["sha256"] != _digest(texts["memory"], tensors):
        raise ValueError("its bytes are not those that were written")
    return head, tensors


def _digest(text: str, tensors: dict[str, np.ndarray]) -> str:
    found = hashlib.sha256(text.encode())
    for key in sorted(tensors):
        found.update(f"{key} {tensors[key].dtype} {tensors[key].shape}".encode())
        found.update(np.ascontiguousarray(tensors[key]).data)
    return found.hexdigest()
