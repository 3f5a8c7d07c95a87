# SPDX-License-Identifier: Apache-2.0
"""Knowledge is what its seam says, for anybody's own; planar knowledge is opened for planar bodies alone."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from test_memory_recall import CELLS, FREE, MappedToy
from toy_world import ToyWorld, toy_contract

from jepa_ros.contract import load_contract
from jepa_ros.contract.parts import Kinematics
from jepa_ros.cost import Futures, Goal, GoalError, Target
from jepa_ros.cost.check import CostCheckError
from jepa_ros.errors import JepaRosError
from jepa_ros.memory import LongTerm
from jepa_ros.memory.check import KnowledgeCheckError, check_knowledge
from jepa_ros.memory.knowledge import Seen
from jepa_ros.memory.remembering import Remembering
from jepa_ros.planar.knowledge import PlanarKnowledge
from jepa_ros.planar.settings import PlanarConfig
from jepa_ros.planar.way_memory import WayMemory
from jepa_ros.planning.bodies import goals_of, settings_for
from jepa_ros.planning.problem import SearchError

SEEN = Seen(torch.zeros(2), np.concatenate([np.zeros(2, np.float32), FREE]), 1.0, 1, executed=np.zeros(2))


def setting(model, samples=1):
    zs = 0.1 * torch.randn(4, samples, 5, 2, generator=torch.Generator().manual_seed(0))
    return Futures(model, zs, torch.zeros(4, 5, 2), torch.zeros(2)), Target(Goal.from_latent(np.ones(2)), model)


@pytest.mark.parametrize("samples", [1, 3])
def test_what_a_planar_robot_knows_passes_the_check(samples):
    model = MappedToy()
    known = PlanarKnowledge(
        model, toy_contract(), PlanarConfig(), noise_samples=samples, memory=LongTerm(2, [WayMemory(0.1)])
    )
    known.obstructions.note(0.3, 0.0, 0.0, 1.0)
    check_knowledge(known, SEEN, *setting(model, samples))
    assert known.views(torch.zeros(3, 5, 2))["tracks"].shape == (3, 5, 3) and known.views()["map"].cells == CELLS


def test_a_memory_of_a_body_whose_place_nobody_knows_passes_the_check_and_remembers():
    memory = LongTerm(2)
    check_knowledge(Remembering(memory), SEEN, *setting(ToyWorld()))
    assert len(memory) == 1 and np.isnan(memory.where).all()


class Odd(Remembering):
    """Knowledge with a constraint of the wrong shape."""

    def constraints(self):
        class Flat:
            name, unit, risk, whole, slack = "flat", "m", None, True, None

            def draw(self, samples, generator):
                pass

            def __call__(self, futures, goal):
                return np.zeros(len(futures))

        return [Flat()]


def test_what_is_wrong_with_knowledge_is_named():
    with pytest.raises(CostCheckError, match=r"'flat' gave shape \(4,\); expected \(C, S, T\) = \(4, 1, 5\)"):
        check_knowledge(Odd(LongTerm(2)), SEEN, *setting(ToyWorld()))
    with pytest.raises(KnowledgeCheckError, match="has no method 'reset'"):
        check_knowledge(object(), SEEN, *setting(ToyWorld()))


def test_a_setting_of_other_bodies_is_refused_by_name():
    assert settings_for(load_contract("arena"), {"contact_limit": 0.2}) == PlanarConfig(contact_limit=0.2)
    assert settings_for(load_contract("panda"), {}) is None
    with pytest.raises(SearchError, match=r"'panda' \(arm\) has no setting contact_limit: it has none"):
        settings_for(load_contract("panda"), {"contact_limit": 0.2})
    with pytest.raises(JepaRosError, match=r"contact_limit: .*1\.5"):
        settings_for(load_contract("arena"), {"contact_limit": 1.5})


def test_an_arm_is_planned_for_without_opening_the_planar_room():
    script = """
import sys
import numpy as np
from jepa_ros.contract import load_contract
from jepa_ros.cost import Goal
from jepa_ros.planning import Planner, PlannerConfig, SearchConfig
from jepa_ros.planning.bodies import new_memory
from jepa_ros.world_model import ModelConfig, WorldModel
contract = load_contract("panda")
config = ModelConfig(
    **ModelConfig.inputs_of(contract), action_dim=contract.action_dim, readouts=("distance", "tip"), latent_dim=8,
    width=16, encoder_width=8,
)
memory = new_memory(contract, 8)
search = SearchConfig(samples=8, elites=4, backend="model", deadline=60.0)
planner = Planner(WorldModel(config).eval(), contract, PlannerConfig(search), guardrails=(), memory=memory)
planner.set_goal(Goal("tip", value=(0.4, 0.1, 0.3)))
output = planner.step(np.zeros(8, np.float32), 0.0)
assert output.status["reason"] == "ok" and set(output.status["terms"]) == {"tip"}, output.status
assert len(memory) == 1
print([name for name in sys.modules if name.startswith("jepa_ros.planar.")])
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr[-2000:]
    assert ended.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("robot", "frame", "kind", "values"),
    [("arena", "map", "pose", [0.3, -0.2, 0.5]), ("panda", "panda_link0", "tip", [0.3, -0.2, 0.5])],
)
def test_goals_in_numbers_are_those_of_the_body_and_come_back_as_they_went(robot, frame, kind, values):
    contract = load_contract(robot)
    goals = goals_of(contract)
    goal = goals.from_values(values, "here")
    assert goals.frame(contract) == frame and goal.kind == goals.KIND == kind and goal.name == "here"
    np.testing.assert_allclose(goals.to_values(goal), values)
    by_place = goals.to_values(goals.from_place((0.3, -0.2, 0.5), 0.5))
    np.testing.assert_allclose(by_place, values)
    with pytest.raises(GoalError, match=f"goal {kind}"):
        goals.from_values(values[:2])


def test_a_heading_that_is_free_stays_free():
    goals = goals_of(load_contract("arena"))
    assert np.isnan(goals.to_values(goals.from_values([0.1, 0.2, np.nan]))[2])


def test_bodies_whose_goals_are_pictures_alone_say_so():
    joints = replace(load_contract("arena"), kinematics=Kinematics("joints"))
    with pytest.raises(GoalError, match=r"goals of 'arena' \(joints\) are pictures"):
        goals_of(joints)
