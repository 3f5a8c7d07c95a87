# SPDX-License-Identifier: Apache-2.0
"""The argparse types that the commands share; argparse puts the option's name before what they say.

parser.add_argument("--workers", type=positive, ...)   ->   error: argument --workers: expected ..., found '0'
"""

from __future__ import annotations

import argparse
import math
import re
import sys
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

from jepa_ros.errors import JepaRosError
from jepa_ros.names import is_namespace, is_topic
from jepa_ros.ranges import Range
from jepa_ros.suggest import did_you_mean

#: What argparse says of a word that is none of its choices.
_CHOICE = re.compile(r"argument .*: invalid choice: '(?P<word>.*)' \(choose from (?P<choices>.*)\)")
_CHOICES = re.compile(r"[\w./-]+")


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line like all others, say what may have been meant, and point to the help."""

    def error(self, message: str) -> NoReturn:
        """Raise what argparse would print with its usage."""
        if found := _CHOICE.fullmatch(message):
            message += did_you_mean(found["word"], _CHOICES.findall(found["choices"]))
        raise UsageError(f"{message}; see `{self.prog} --help`")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """Refuse here, where the command is known, what argparse would refuse later or after it missed something."""
        words = [str(word) for word in (sys.argv[1:] if args is None else args)]
        for word in () if self._passes_on else words:
            name = word.partition("=")[0]
            if len(name) > 2 and name.startswith("--") and not self._takes(name):
                self.error(f"no option '{name}'{did_you_mean(name, self._option_string_actions)}")
        found, left = super().parse_known_args(args, namespace)
        if left:
            self.error(f"unrecognized arguments: {' '.join(left)}")
        return found, left

    @property
    def _passes_on(self) -> bool:
        """Whether what follows a word belongs to another parser."""
        return any(action.nargs in (argparse.PARSER, argparse.REMAINDER) for action in self._actions)

    def _takes(self, name: str) -> bool:
        return " " in name or any(option.startswith(name) for option in self._option_string_actions)


class UsageError(JepaRosError):
    """A command line that cannot be read."""


#: The largest seed: every generator in use (numpy, torch, a ROS parameter) takes it, and a few more beyond it.
MOST_SEED = 2**31 - 1


def ranged(wanted: Range) -> Callable[[str], Any]:
    """A type: the numbers of a range."""

    def read(text: str) -> Any:
        try:
            return wanted.read(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return read


def whole(least: int, most: int | None = None) -> Callable[[str], int]:
    """A type: whole numbers within bounds, both included."""
    return ranged(Range.of(least=least, most=most, whole=True))


def number(least: float = 0.0, most: float = math.inf, *, above: bool = False) -> Callable[[str], float]:
    """A type: finite numbers within bounds; ``above`` leaves the lower one out."""
    return ranged(Range(least, most, above))


positive = whole(1)
non_negative = whole(0)
seed = whole(0, MOST_SEED)
#: Lengths of time [s] and sizes: finite; ``duration`` may be 0, ``time_span`` not.
duration = number()
time_span = number(above=True)
share = number(0.0, 1.0, above=True)


def namespace(text: str) -> str:
    """A type: a ROS namespace; empty for none."""
    if not is_namespace(text):
        raise argparse.ArgumentTypeError(f"expected a ROS namespace (letters, digits and _), as /r1, found '{text}'")
    return text


def topic(text: str) -> str:
    """A type: the name of a ROS topic."""
    if not is_topic(text):
        raise argparse.ArgumentTypeError(f"expected a topic (letters, digits and _), as image/left, found '{text}'")
    return text


def refuse_given(
    args: argparse.Namespace, add_arguments: Callable[[argparse.ArgumentParser], None], names: Iterable[str], why: str
) -> None:
    """Refuse options that would do nothing in this mode of a command.

    Args:
        add_arguments: of the command; an option that differs from its default was given.
        names: of the options that are not of this mode, as attributes of ``args``. why: the end of the sentence.

    Raises:
        JepaRosError: one of them was given.
    """
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    for name in names:
        if getattr(args, name) != parser.get_default(name):
            raise JepaRosError(f"--{name.replace('_', '-')} {why}")
