# SPDX-License-Identifier: Apache-2.0
"""Reports are written whole or not at all, and as JSON that every reader takes."""

from __future__ import annotations

import argparse
import json
import math
import os

import pytest

from jepa_ros.files import add_json, new_file, write_json


def test_json_has_no_nan_and_its_folder_is_made(tmp_path):
    write_json(tmp_path / "a" / "b.json", {"a": [math.nan, (1.0, -math.inf)], "b": {"c": math.nan}})
    assert json.loads((tmp_path / "a" / "b.json").read_text()) == {"a": [None, [1.0, None]], "b": {"c": None}}
    assert os.listdir(tmp_path / "a") == ["b.json"]


def test_what_cannot_be_written_leaves_the_old_file_and_nothing_beside_it(tmp_path):
    write_json(tmp_path / "a.json", {"old": 1})
    with pytest.raises(TypeError):
        write_json(tmp_path / "a.json", {"new": object()})
    assert json.loads((tmp_path / "a.json").read_text()) == {"old": 1}
    assert os.listdir(tmp_path) == ["a.json"]


def test_a_link_is_written_through_and_not_replaced(tmp_path):
    (tmp_path / "real.json").write_text("{}")
    (tmp_path / "link.json").symlink_to(tmp_path / "real.json")
    write_json(new_file(str(tmp_path / "link.json")), [1])
    assert (tmp_path / "link.json").is_symlink()
    assert (tmp_path / "real.json").read_text() == "[\n 1\n]\n"


def test_a_file_that_cannot_be_written_is_told_when_the_command_is_read(tmp_path, capsys):
    (tmp_path / "file").write_text("x")
    parser = argparse.ArgumentParser()
    add_json(parser)
    for wrong in (tmp_path, tmp_path / "file" / "x.json"):
        with pytest.raises(SystemExit):
            parser.parse_args(["--json", str(wrong)])
        assert "argument --json" in capsys.readouterr().err
    assert parser.parse_args(["--json", str(tmp_path / "new" / "x.json")]).json.parent.is_dir()
    assert os.listdir(tmp_path / "new") == []
