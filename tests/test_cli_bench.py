# SPDX-License-Identifier: Apache-2.0
"""How `jepa-ros bench` finds and runs what lies in benchmarks/."""

from __future__ import annotations

import pytest

from jepa_ros.commands import bench, cli

SOURCE = '''"""Measures nothing, quickly."""
import json, sys

def add_arguments(parser):
    parser.add_argument("--count", type=int, default=1)

def main(args):
    print(f"counted {args.count}")
    return args.count % 2
'''


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "benchmarks").mkdir()
    monkeypatch.setattr(bench, "share_dir", lambda: tmp_path)
    return tmp_path / "benchmarks"


def test_a_benchmark_gets_its_own_arguments_and_gives_its_exit_code(folder, capsys):
    (folder / "nothing.py").write_text(SOURCE)
    assert cli.main(["bench", "nothing", "--count", "3"]) == 1
    assert capsys.readouterr().out == "counted 3\n"


def test_without_a_name_they_are_listed_and_none_runs(folder, capsys):
    (folder / "one.py").write_text(SOURCE)
    (folder / "broken.py").write_text('"""Measures the impossible."""\nraise SystemError\n')
    assert cli.main(["bench"]) == 0
    assert capsys.readouterr().out == (
        "broken       Measures the impossible.\none          Measures nothing, quickly.\n"
    )


def test_the_help_lists_them_without_running_them(folder, capsys):
    (folder / "broken.py").write_text('"""Measures the impossible."""\nraise SystemError\n')
    with pytest.raises(SystemExit):
        cli.main(["bench", "--help"])
    assert "Measures the impossible." in capsys.readouterr().out


def test_an_unknown_name_is_one_line_with_the_known_ones(folder, capsys):
    (folder / "nothing.py").write_text(SOURCE)
    assert cli.main(["bench", "nothign"]) == 2
    assert capsys.readouterr().err == "error: no benchmark 'nothign'; did you mean 'nothing'?; known: nothing\n"


def test_an_install_without_benchmarks_does_not_offer_them(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(cli, "share_dir", lambda: tmp_path)
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    assert "bench" not in capsys.readouterr().out
