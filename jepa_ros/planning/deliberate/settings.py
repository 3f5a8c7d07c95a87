# SPDX-License-Identifier: Apache-2.0
"""The settings of the deliberate search, checked when they are made."""

from __future__ import annotations

from dataclasses import dataclass

from jepa_ros.cost.to_go import WAY
from jepa_ros.planning.deliberate.tree import DROPPED
from jepa_ros.planning.problem import SearchError
from jepa_ros.ranges import SHARE, Range

WHEN = ("stuck", "always", "never")
_COUNT = Range(1, whole=True)
RANGES = {
    **dict.fromkeys(("calls", "calls_per_step", "nodes", "expand", "edges", "length", "samples"), _COUNT),
    **dict.fromkeys(("patience", "window"), _COUNT),
    "greed": Range(0.0), "again": Range(0.0), "near": Range(0.0),
    "tolerance": Range(0.0, above=True),
    "rate": Range(0.0, 1.0), "kept": Range(0.0, 1.0), "lost": Range(0.0, above=True),
    **dict.fromkeys(("confidence", "aimed", "proposed", "recalled"), SHARE),
}  # fmt: skip


@dataclass(frozen=True)
class DeliberateConfig:
    """How and when to deliberate. Distances are in control steps.

    Args:
        when: "stuck" (if the fast search comes nearer to the goal more slowly than it should), "always" (with every new
            goal), "never".
        distance: readout that is the cost-to-go. A model without it does not deliberate.
        calls: budget of one deliberation, in steps that the model predicts.
        calls_per_step: of a control step in simulated time, which stands still meanwhile. On a robot a thread works
            between the fast searches.
        nodes: states that the tree holds; beyond, its branches of least promise are dropped.
        expand: states that are expanded together. edges: rollouts from each. length: steps of an edge.
        greed: how many steps so far a step to go counts for in the order. 1 finds short ways, more finds one sooner.
        again: steps that a state is put off by, for each time that it was expanded.
        near: a state that comes within so many steps of a known one is not taken. Such small distances are measured by
            what the cost-to-go says of a single step, which learned ones tell too long.
        tolerance: a state within so many steps of the goal is there, if no readout tells metres; its latent has to be
            as near, by how much a single step changes it.
        samples: noise samples that a way is judged on. confidence: share of them that each of its edges needs.
        aimed: share of the edges that are fitted towards the goal or a remembered state. proposed: share from the
            learned proposal, if the model has one. recalled: share of the aimed ones that aim at remembered states.
        rate: steps that a plan should come nearer to the goal in each of its steps. patience: control steps in a row
            in which none does before the robot counts as stuck.
        kept: it counts as stuck, too, if over a window of so many control steps less than this share of the way that
            plans promised to shorten was really shortened; 0 never asks.
        lost: a robot further than so many steps from the way that it follows has lost it.

    Raises:
        SearchError: a value out of range, or a budget below one expansion.
    """

    when: str = "stuck"
    distance: str = WAY
    calls: int = 300_000
    calls_per_step: int = 20_000
    nodes: int = 4000
    expand: int = 4
    edges: int = 32
    length: int = 4
    greed: float = 1.5
    again: float = 12.0
    near: float = 1.5
    tolerance: float = 1.5
    samples: int = 8
    confidence: float = 0.75
    aimed: float = 0.25
    proposed: float = 0.125
    recalled: float = 0.5
    rate: float = 0.3
    patience: int = 3
    kept: float = 0.25
    window: int = 10
    lost: float = 15.0

    def __post_init__(self) -> None:
        if self.when not in WHEN:
            raise SearchError(f"deliberate when is {self.when!r}; expected one of {', '.join(WHEN)}")
        for name, wanted in RANGES.items():
            if problem := wanted.problem(getattr(self, name)):
                raise SearchError(f"deliberate {name}: {problem}")
        if self.aimed + self.proposed > 1.0:
            raise SearchError(f"deliberate aimed + proposed is {self.aimed + self.proposed:g}; expected at most 1")
        least = int(self.expand * self.edges / DROPPED) + 1  # room for one expansion after branches were dropped
        if self.nodes < least:
            raise SearchError(f"deliberate nodes is {self.nodes}; expected at least {least} for expand x edges")
        for name in ("calls", "calls_per_step"):
            if getattr(self, name) < self.expansion:
                raise SearchError(
                    f"deliberate {name} is {getattr(self, name)}, below one expansion: {self.expand} states x "
                    f"{self.edges} edges x {self.length} steps = {self.expansion} calls of the model"
                )

    @property
    def expansion(self) -> int:
        """Model calls of one expansion, at most; judging a solution on noise samples comes on top."""
        return self.expand * self.edges * self.length
