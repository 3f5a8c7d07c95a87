# SPDX-License-Identifier: Apache-2.0
"""State vectors and further pictures of datasets: taken by name, checked, and what an arm's own labels come from."""

import numpy as np
import pytest
from toy_world import planar_config

from jepa_ros.contract import RobotContract, load_contract
from jepa_ros.learning.data.dataset import Dataset
from jepa_ros.learning.data.layout import Episode
from jepa_ros.learning.data.storage import DatasetError
from jepa_ros.learning.data.writer import DatasetWriter
from jepa_ros.learning.representation.diagnostics import encode_episodes
from jepa_ros.learning.stages.labels import labels_of
from jepa_ros.learning.teachable import readouts_for
from jepa_ros.perception.state import StateError, kept_state, state_vector
from jepa_ros.safety.inputs import JointsIn, OdomIn
from jepa_ros.world_model import WorldModel
from jepa_ros.world_model.readouts import body_readouts

PANDA = load_contract("panda")
(JOINTS,) = PANDA.kept_state


def episode(joints, steps=6):
    width, height = PANDA.cameras[0].size
    return Episode(
        images=np.full((steps, height, width, 3), 40, np.uint8) * np.arange(steps, dtype=np.uint8)[:, None, None, None],
        actions=np.zeros((steps, 4), np.float32),
        commands=np.zeros((steps, 4), np.float32),
        poses=np.full((steps, 3), np.nan, np.float32),
        contacts=np.array([False, False, True, False, False, False]),
        further={} if joints is None else {"state_joint_states": joints},
    )


@pytest.fixture
def data(tmp_path):
    home = np.append(PANDA.kinematics.arm.home, 0.02)
    joints = (home + np.linspace(0.0, 0.3, 6)[:, None]).astype(np.float32)
    writer = DatasetWriter(tmp_path / "data", PANDA, {"by": "hand"})
    writer.write_shard(0, [episode(joints)])
    writer.finish()
    return Dataset(tmp_path / "data")


def test_the_tip_is_labelled_by_the_arms_own_joints(data):
    pytest.importorskip("pinocchio")
    from jepa_ros.arm import ArmBody

    model = WorldModel(planar_config(action_dim=4, encoder_width=8)).eval()
    latents = encode_episodes(model, data, np.array([0]), 6)
    (tip,) = body_readouts("arm")
    found = labels_of(tip, latents)[0].numpy()
    joints = data.slice("state_joint_states", 0)
    np.testing.assert_allclose(found[4], ArmBody(PANDA).tip(joints[4]), atol=1e-6)
    np.testing.assert_allclose(found[0], [0.48, 0.0, 0.22], atol=1e-3)
    assert [r.name for r in readouts_for(PANDA, False)] == ["distance", "tip", "contact"]


@pytest.mark.parametrize(
    ("joints", "said"),
    [
        (None, "state_joint_states: none; expected finite values of shape"),
        (np.zeros((6, 7), np.float32), r"state_joint_states: shape \(6, 7\)"),
        (np.full((6, 8), np.nan, np.float32), "finite: False"),
    ],
)
def test_an_episode_without_the_state_that_its_contract_keeps_is_refused(tmp_path, joints, said):
    writer = DatasetWriter(tmp_path / "data", PANDA, {})
    with pytest.raises(DatasetError, match=said):
        writer.write_shard(0, [episode(joints)])


def test_a_base_keeps_no_joints_and_its_odometry_where_a_model_takes_it():
    arena = load_contract("arena")
    assert arena.kept_state == ()
    data = arena.to_dict()
    data["state"]["odom"]["model"] = True
    odom = OdomIn(0.0, 0.0, 0.1, 0.2, 0.3, (0.4, 0.5))
    found = kept_state(RobotContract.from_dict(data), {"odom": odom})
    np.testing.assert_allclose(found["odom"], [0.4, 0.5])


def test_joints_are_taken_by_name_and_what_is_missing_is_named():
    names = ["gripper_lamp", *reversed(JOINTS.values)]
    vector = state_vector(JOINTS, JointsIn(0.0, 0.0, names, list(range(9))))
    assert vector.tolist() == [8, 7, 6, 5, 4, 3, 2, 1]
    with pytest.raises(StateError, match="no position of panda_joint2"):
        state_vector(JOINTS, JointsIn(0.0, 0.0, [n for n in JOINTS.values if n != "panda_joint2"], [0.0] * 7))
    with pytest.raises(StateError, match="joint_states: expected 8 finite values"):
        state_vector(JOINTS, JointsIn(0.0, 0.0, JOINTS.values, [np.inf] * 8))
    with pytest.raises(StateError, match="no joint_states was measured"):
        kept_state(PANDA, {})


def test_further_cameras_of_the_model_are_kept_beside_the_first(tmp_path):
    arena = load_contract("arena").to_dict()
    arena["cameras"].append({"name": "wrist", "width": 64, "height": 48, "rate": 10.0, "size": [64, 48], "model": True})
    contract = RobotContract.from_dict(arena)
    wrist = np.arange(3, dtype=np.uint8)[:, None, None, None] * np.ones((3, 48, 64, 3), np.uint8)
    plain = np.zeros((3, 2), np.float32)
    pictures = np.zeros((3, 64, 64, 3), np.uint8)
    made = Episode(pictures, plain, plain, np.zeros((3, 3), np.float32), np.zeros(3, bool), 0, {"images_wrist": wrist})
    writer = DatasetWriter(tmp_path / "data", contract, {})
    writer.write_shard(0, [made])
    writer.finish()
    inputs = Dataset(tmp_path / "data").inputs(0)
    assert set(inputs) == {"image", "wrist"} and (inputs["wrist"] == wrist).all()
