# SPDX-License-Identifier: Apache-2.0
"""Worker processes: answers come, errors come back, and a worker that dies does not leave everybody waiting."""

import multiprocessing
import os
import signal

import pytest

from jepa_ros.errors import JepaRosError
from jepa_ros.learning.data.workers import answers


def work(number):
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    if number == 5:
        raise ValueError("five")
    return 2 * number


def ask(numbers):
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return list(answers(pool.imap(work, numbers), "doubling"))


def test_answers_come_in_order():
    assert ask([0, 1, 2]) == [0, 2, 4]


def test_an_error_in_a_worker_comes_back():
    with pytest.raises(ValueError, match="five"):
        ask([4, 5])


def test_a_worker_that_dies_is_an_error_and_not_a_hang():
    with pytest.raises(JepaRosError, match="doubling: a worker process died"):
        ask([0, 3, 1])
