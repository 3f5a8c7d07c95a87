# SPDX-License-Identifier: Apache-2.0
"""What a long command says of how far it is: a line every so often in a log, bars on a terminal."""

from __future__ import annotations

import io
import re
import time

import pytest

from jepa_ros.progress import Progress, StatusLine, Task


def wait_for(test):
    end = time.monotonic() + 60.0
    while not test():
        assert time.monotonic() < end
        time.sleep(0.01)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_log_gets_a_line_every_so_often_though_no_step_ends():
    log = io.StringIO()
    with Progress(stream=log, every=0.05) as progress:
        progress.task("episodes", total=16)
        wait_for(lambda: log.getvalue().count("\n") >= 3)
    lines = log.getvalue().splitlines()
    assert all(line.startswith("episodes: 0 of 16  (") for line in lines)


def test_the_last_line_says_how_it_ended():
    log = io.StringIO()
    with Progress(stream=log, every=0.05) as progress:
        task = progress.task("episodes", total=4)
        task.advance(3)
        wait_for(log.getvalue)
        task.advance(note="12 steps/s")
    assert log.getvalue().splitlines()[-1].startswith("episodes: 4 of 4  12 steps/s  (")


def test_what_is_over_before_the_first_line_leaves_nothing():
    log = io.StringIO()
    with Progress(stream=log) as progress:
        progress.task("episodes", total=1).advance()
    assert log.getvalue() == ""


def test_the_phase_that_is_under_way_is_told_and_not_one_that_is_over():
    log = io.StringIO()
    with Progress(stream=log, every=0.05) as progress:
        progress.task("first", total=2).update(done=2)
        progress.task("second", total=100).update(done=7, note="loss 0.5")
        wait_for(log.getvalue)
    assert log.getvalue().splitlines()[0].startswith("second: 7 of 100  loss 0.5  (")


def test_what_was_done_before_does_not_count_as_fast():
    task = Task("steps", total=100, done=60, began=0.0, resumed=50)
    assert task.left(now=10.0) == pytest.approx(40.0)
    assert task.line(now=10.0) == "steps: 60 of 100  (10 s, 40 s to go)"
    assert Task("steps", total=100, done=1, began=0.0).line(now=150.0).endswith("(2:30, 4:07:30 to go)")


def test_a_terminal_shows_bars():
    terminal = Terminal()
    with Progress(stream=terminal) as progress:
        progress.task("episodes", total=4).advance(2, note="12 steps/s")
        wait_for(lambda: "12 steps/s" in terminal.getvalue())
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.getvalue())
    assert "episodes" in shown and "━" in shown and "2/4" in shown and "12 steps/s" in shown


def test_a_reader_that_went_away_ends_no_command():
    log = io.StringIO()
    with Progress(stream=log, every=0.02) as progress:
        progress.task("episodes")
        log.close()
        time.sleep(0.1)


def test_quiet_shows_nothing():
    log = io.StringIO()
    with Progress(stream=log, every=0.01, quiet=True) as progress:
        progress.task("episodes")
        time.sleep(0.05)
    assert log.getvalue() == ""


def test_a_status_line_is_written_every_so_often_in_a_log():
    log = io.StringIO()
    line, told = StatusLine(every=0.1, stream=log), 0
    began = time.monotonic()
    while log.getvalue().count("\n") < 3:
        line.tell("12 of 40")
        told += 1
        time.sleep(0.005)
    took = time.monotonic() - began
    line.end()
    assert set(log.getvalue().splitlines()) == {"12 of 40"}
    assert took > 0.19 and told > 3  # the third line comes two pauses after the first


def test_a_status_line_is_renewed_in_place_on_a_terminal_and_taken_off_at_the_end():
    terminal = Terminal()
    line = StatusLine(redraw=0.0, stream=terminal)
    line.tell("1 of 2")
    line.tell(lambda: "2 of 2")
    line.end()
    assert terminal.getvalue() == "\r\033[K1 of 2\r\033[K2 of 2\r\033[K"
