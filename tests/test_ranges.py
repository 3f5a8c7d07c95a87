# SPDX-License-Identifier: Apache-2.0
"""How numbers are checked, whoever gives them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jepa_ros.ranges import Range


@pytest.mark.parametrize(
    ("range_", "said"),
    [
        (Range(), "a number"),
        (Range(unit="m"), "a number in m"),
        (Range(0.0), "a number of at least 0"),
        (Range(0.0, above=True, unit="Hz"), "a number above 0 Hz"),
        (Range(0.0, 60.0, above=True, unit="s"), "a number above 0 and at most 60 s"),
        (Range(0.0, 10.0, unit="m"), "a number from 0 to 10 m"),
        (Range(most=5), "a number of at most 5"),
        (Range(1, whole=True), "a whole number of at least 1"),
        (Range(0, 2**31 - 1, whole=True), "a whole number from 0 to 2147483647"),
        (Range.of(above=0.0, most=1.0), "a number above 0 and at most 1"),
        (Range.of(least=2, whole=True), "a whole number of at least 2"),
        (Range.of(), "a number"),
    ],
)
def test_it_says_what_it_expects(range_, said):
    assert str(range_) == said


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, True, None, "1", [1], 10**400])
def test_what_is_no_finite_number_is_never_one(value):
    for range_ in (Range(), Range(0.0), Range(whole=True)):
        assert not range_.holds(value)
        assert range_.problem(value).startswith("expected a")


def test_it_says_what_it_found():
    assert Range(0.0, unit="m").problem(-0.5) == "expected a number of at least 0 m, found -0.5"
    assert Range(unit="Hz").problem("fast") == "expected a number in Hz, found str 'fast'"
    assert Range().problem(math.nan) == "expected a finite number, found nan"
    assert Range(1, whole=True).problem(1.5) == "expected a whole number of at least 1, found 1.5"
    assert Range(1, whole=True).problem(1) == ""


def test_a_lowest_that_is_left_out_is_not_let_in():
    assert not Range(0.0, above=True).holds(0.0)
    assert Range(0.0, above=True).holds(1e-300)
    assert Range(0.0).holds(0.0)


def test_numbers_of_numpy_are_numbers():
    assert Range(0.0).holds(np.float32(1.0)) and Range(0, whole=True).holds(np.int64(3))


@pytest.mark.parametrize(("text", "value"), [("3", 3), ("-4", -4)])
def test_a_text_is_read_as_what_is_wanted(text, value):
    assert Range(whole=True).read(text) == value and isinstance(Range(whole=True).read(text), int)
    assert isinstance(Range().read(text), float)


@pytest.mark.parametrize("text", ["", "x", "1.5", "nan", "9"])
def test_a_text_that_does_not_fit_is_told_as_it_was_written(text):
    with pytest.raises(ValueError, match=f"^expected a whole number from 0 to 5, found '{text}'$"):
        Range(0, 5, whole=True).read(text)


@given(st.floats(allow_nan=True, allow_infinity=True), st.floats(-1e6, 1e6), st.floats(0.0, 1e6), st.booleans())
def test_what_holds_lies_between_the_bounds(value, least, width, above):
    range_ = Range(least, least + width, above)
    inside = math.isfinite(value) and least <= value <= least + width and not (above and value == least)
    assert range_.holds(value) is inside
    assert bool(range_.problem(value)) is not inside
