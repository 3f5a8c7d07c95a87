# SPDX-License-Identifier: Apache-2.0
"""What a bag holds while it is still recorded: what tests of running stacks wait for."""

from __future__ import annotations

from pathlib import Path

from jepa_ros.bags import BagError
from jepa_ros.bags.dataset.episodes import cut
from jepa_ros.bags.dataset.segments import CutSettings
from jepa_ros.bags.dataset.series import resolve_topics
from jepa_ros.bags.format.reader import BagReader
from jepa_ros.bags.identity import contract_of


def recorded(bag: Path) -> set[str]:
    """The topics of which messages are on the disk by now."""
    try:
        with BagReader(bag) as reader:
            return {name for name, info in reader.topics.items() if info.count}
    except BagError:
        return set()  # it has just begun


def usable_steps(bag: Path, settings: CutSettings) -> int:
    """How many steps a dataset of the bag would have by now.

    What share of the driven steps that is changes from run to run: a localisation may be silent while a robot is slow,
    an exploring robot rests and drives at walls, and on a busy machine images are late.
    """
    with BagReader(bag) as reader:
        contract = contract_of(reader, None)
        return cut(reader, contract, resolve_topics(reader, contract), settings)[1].kept
