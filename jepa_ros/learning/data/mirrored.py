# SPDX-License-Identifier: Apache-2.0
"""A dataset and its mirror images: what a robot seen from above would have seen and done on the other side.

Where a picture shows a plane from above, mirroring it and turning round the action along that axis gives an episode that
could have happened. Every layout is then seen in up to four ways, at no robot time.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from jepa_ros.learning.data.dataset import Dataset
from jepa_ros.learning.data.layout import input_arrays
from jepa_ros.learning.data.storage import DatasetError

#: Axes of pictures (T, H, W, 3) that are mirrored: left and right, top and bottom.
ACROSS, DOWN = 2, 1


class Mirrored(Dataset):
    """A view of a dataset in which each episode stands once as it is, and once for each way to mirror it.

    Args:
        data: what is mirrored; nothing of it is copied.
        across, down: the action that is turned round by mirroring pictures left to right, and top to bottom; "" for an
            axis that is not mirrored.

    Raises:
        DatasetError: no such action, no axis at all, or data of which mirrored pictures do not tell everything.
    """

    def __init__(self, data: Dataset, across: str = "", down: str = "") -> None:
        names = [action.name for action in data.contract.action]
        axes = [(axis, name) for axis, name in ((ACROSS, across), (DOWN, down)) if name]
        if not axes or (unknown := [name for _, name in axes if name not in names]):
            found = f"'{unknown[0]}'" if axes else "no action"
            raise DatasetError(f"mirroring: found {found}; expected some of {', '.join(names)}")
        uneven = [a.name for a in data.contract.action if a.name in (across, down) and a.low != -a.high]
        if uneven:
            raise DatasetError(
                f"mirroring: action {uneven[0]} cannot be turned round: its limits are not the same both ways"
            )
        if data.contract.state or len(data.contract.cameras) != 1:
            raise DatasetError(
                f"{data.folder} cannot be mirrored: beside one picture it holds {', '.join(data.contract.state) or 'more'}"
            )
        self.__dict__.update(data.__dict__)
        self._plain = data
        self._images = set(input_arrays(data.contract).values())
        ways = [chosen for n in range(len(axes) + 1) for chosen in itertools.combinations(axes, n)]
        #: Of each copy: axes of its pictures that are mirrored, and columns of its actions that are turned round.
        self._ways = [(tuple(a for a, _ in way), [names.index(name) for _, name in way]) for way in ways]
        apart = int(data.index[:, 3].max()) + 1  # a mirrored layout is another layout
        self.index = np.concatenate([data.index + [0, 0, 0, apart * copy] for copy in range(len(ways))])

    @staticmethod
    def as_told(data: Dataset, told: str) -> Mirrored:
        """By the word of a user, "ACROSS,DOWN"; "-" for an axis that is not mirrored.

        Raises:
            DatasetError: not two names, and as the class.
        """
        names = ["" if name.strip() == "-" else name.strip() for name in told.split(",")]
        if len(names) != 2:
            raise DatasetError(f"--mirror {told}: expected two names of actions, or - for one, as linear.x,linear.y")
        return Mirrored(data, *names)

    def slice(self, name: str, episode: int, start: int = 0, length: int | None = None) -> np.ndarray:
        """See :meth:`Dataset.slice`; a copy where it is mirrored."""
        return self._turned(name, episode, super().slice(name, episode, start, length))

    def slices(self, wanted: Sequence[tuple[str, int, int, int]]) -> list[np.ndarray]:
        """See :meth:`Dataset.slices`."""
        return [self._turned(one[0], one[1], rows) for one, rows in zip(wanted, super().slices(wanted), strict=True)]

    def split(self, held_out: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """As without mirroring: no mirror image of a held-out layout is trained on, and none is judged by."""
        training, validation = self._plain.split(held_out, seed)
        copies = [training + copy * len(self._plain) for copy in range(len(self._ways))]
        return np.concatenate(copies), validation

    def _turned(self, name: str, episode: int, rows: np.ndarray) -> np.ndarray:
        axes, columns = self._ways[episode // len(self._plain)]
        if name in self._images:
            return np.flip(rows, axes) if axes else rows
        if name in ("actions", "commands") and columns:
            rows = rows.copy()
            rows[:, columns] *= -1.0
        return rows
