# SPDX-License-Identifier: Apache-2.0
"""What the planner tells its long-term memory at each image, and what it has back from it after a restart."""

from __future__ import annotations

import numpy as np

from jepa_ros.cost.goal import Goal
from jepa_ros.memory import LongTerm, Places, RecallError
from jepa_ros.memory.long_term import CONTACT, OBSTRUCTED
from jepa_ros.planning.outcome import Outcome


class Recall:
    """Between the memories of one drive and the long-term one.

    Args:
        memory: the long-term memory. outcome: tells where the robot is and what held it back.
        places: the map of this drive, None without one.
    """

    def __init__(self, memory: LongTerm, outcome: Outcome, places: Places | None) -> None:
        self.memory, self.outcome, self.places = memory, outcome, places

    def restore(self) -> None:
        """Begin with the map that is remembered; the pictures of a second put right what has changed since."""
        if self.places is not None and self.memory.map is not None:
            self.places.observe(self.memory.map)

    def observe(self, latent: np.ndarray, contact: bool) -> None:
        """Take a step of the planner: latent (D,); whether the gate tells a contact."""
        pose, noted = self.outcome.pose, self.outcome.noted
        if pose is not None and noted is not None:
            self.memory.note(latent, pose, noted, CONTACT if contact else OBSTRUCTED)
        else:
            self.memory.observe(latent, pose)
        if self.places is not None:
            self.memory.map = self.places.logits

    def tag(self, name: str, latent: np.ndarray | None) -> None:
        """Remember the present place, whose latent is (D,), under a name.

        Raises:
            RecallError: no image has been seen yet, or see LongTerm.tag.
        """
        if latent is None:
            raise RecallError("no image has been seen yet")
        self.memory.tag(name, latent, self.outcome.pose)

    def goal(self, name: str) -> Goal:
        """The place of a name as a goal; see LongTerm.tagged for errors."""
        return Goal.from_latent(self.memory.tagged(name).latent, kind="memory", name=name)
