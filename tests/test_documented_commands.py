# SPDX-License-Identifier: Apache-2.0
"""Every command line that the README and the pages show is one that its parser takes."""

from __future__ import annotations

import argparse
import re
import shlex
from pathlib import Path

import pytest

from jepa_ros.bringup.arguments import arguments
from jepa_ros.commands import bench, cli
from jepa_ros.commands.up import parse_settings
from jepa_ros.errors import JepaRosError
from jepa_ros.options import Parser

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
START = re.compile(r"(?:^|[ /])(?:jepa-ros|-m jepa_ros\.commands\.cli) +(?=[a-z])")


def shown(text: str) -> tuple[list[str], list[str]]:
    """(lines of code blocks, commands within sentences) of a page, from the command's own name on."""
    blocks, sentences, inside = [], [], False
    for line in text.replace("\\\n", " ").splitlines():
        if line.startswith("```"):
            inside = not inside
        elif inside and "pip install" not in line:
            blocks += [line[found.end() :] for found in [START.search(line)] if found]
        elif not inside:
            spans = re.findall(r"`([^`]+)`", line)
            sentences += [span[found.end() :] for span in spans for found in [START.match(span)] if found]
    return blocks, sentences


def parser_of(words: list[str]) -> tuple[argparse.ArgumentParser, list[str]]:
    """The parser of a command or of a benchmark, and the words that it reads."""
    if words[0] != "bench" or len(words) == 1:
        return cli.build_parser(words[0]), words
    path = bench.benchmarks().get(words[1])
    assert path is not None, f"no benchmark {words[1]}"
    parser = Parser(prog=words[1])
    bench.load(path).add_arguments(parser)
    return parser, words[2:]


def options_of(parser: argparse.ArgumentParser, words: list[str]) -> set[str]:
    """The options that these words may have, of subcommands as well."""
    known = set(parser._option_string_actions)
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for word in words:
                if word in action.choices:
                    known |= options_of(action.choices[word], words)
    return known


def check_keys(words: list[str]) -> None:
    """``up KIND key:=value``: each key is an argument of the kind."""
    if len(words) > 2 and words[0] == "up":
        given = parse_settings([word for word in words[2:] if not word.startswith("--")])
        assert set(given) <= {argument.name for argument in arguments(words[1])}, words


def found(part: int) -> list[pytest.param]:
    rows = [(page, line.strip()) for page in PAGES for line in shown(page.read_text(encoding="utf-8"))[part]]
    return [pytest.param(line, id=f"{page.stem}: {line}") for page, line in dict.fromkeys(rows)]


@pytest.mark.parametrize("line", found(0))
def test_a_command_in_a_code_block_is_read_by_its_parser(line):
    words = shlex.split(line.replace("...", ""), comments=True)
    if words == ["eval"]:  # CONTRIBUTING shows what stands before it
        return
    parser, own = parser_of(words)
    try:
        parser.parse_args(own)
    except JepaRosError as error:
        pytest.fail(f"jepa-ros {line}: {error}")
    check_keys(words)


@pytest.mark.parametrize("line", found(1))
def test_a_command_in_a_sentence_has_options_that_exist(line):
    words = [re.split(r"\\?\|", word)[0].strip("[]") for word in line.split()]
    parser, own = parser_of(words)
    known = options_of(parser, own)
    assert {word for word in own if word.startswith("--")} <= known | {"--help", "--version"}
    if ":=" in line and "key:=value" not in line:
        check_keys([word.replace("NAME", "arena") for word in words])
