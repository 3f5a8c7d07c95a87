# SPDX-License-Identifier: Apache-2.0
"""An arm that the repository does not know is one YAML file: the one that docs/arms.md shows."""

import re
from pathlib import Path

import pytest

pytest.importorskip("pinocchio")
from table_reach import reaches

from jepa_ros.commands import cli
from jepa_ros.learning.data.dataset import Dataset
from jepa_ros.worlds import find

DOC = Path(__file__).resolve().parents[1] / "docs" / "arms.md"


@pytest.fixture
def file(tmp_path):
    blocks = re.findall(r"```yaml\n(.*?)```", DOC.read_text(encoding="utf-8"), re.DOTALL)
    (text,) = (block for block in blocks if "name: iiwa" in block)
    (tmp_path / "iiwa.yaml").write_text(text)
    return str(tmp_path / "iiwa.yaml")


def test_it_passes_its_check_without_a_warning_of_its_posture(file, capsys):
    assert cli.main(["check", "robot", file]) == 0
    said = capsys.readouterr().out
    assert "robot 'iiwa'" in said and said.splitlines()[-1] == "ok" and "outside kinematics.workspace" not in said


def test_a_home_outside_the_workspace_is_told(file, capsys):
    text = Path(file).read_text().replace("low: [0.40,", "low: [0.60,")
    Path(file).write_text(text)
    assert cli.main(["check", "robot", file]) == 0
    assert "warning: the tip at home is outside kinematics.workspace" in capsys.readouterr().out


def test_a_home_near_a_singularity_is_told(file, capsys):
    text = Path(file).read_text().replace("lbr_iiwa_joint_4: -1.75", "lbr_iiwa_joint_4: -0.05")
    Path(file).write_text(text)
    assert cli.main(["check", "robot", file]) == 0
    assert "warning: at home the arm is near a singularity" in capsys.readouterr().out


def test_at_the_table_it_goes_where_a_reach_is_asked_for(file):
    begun, ended = reaches(*find(file), steps=12)
    assert ended < 0.5 * begun


def test_it_is_not_scored_by_a_model_of_another_robot(file, capsys):
    assert cli.main(["eval", "--robot", file]) == 2
    assert "no model is shipped for iiwa: eval needs --model FOLDER" in capsys.readouterr().err


@pytest.mark.slow
def test_data_of_it_is_gathered_and_taken_by_training(file, tmp_path, capsys):
    words = ["collect", "--robot", file, "--out", str(tmp_path / "d"), "--episodes", "1", "--length", "4"]
    assert cli.main([*words, "--workers", "1"]) == 0
    data = Dataset(tmp_path / "d")
    assert data.contract.name == "iiwa" and data.slice("state_joint_states", 0).shape == (4, 7)
    words = ["train", "--data", str(tmp_path / "d"), "--out", str(tmp_path / "m"), "--robot", file]
    assert cli.main(words) == 2
    assert "episodes are shorter than" in capsys.readouterr().err  # it is of this robot, and too little
