# SPDX-License-Identifier: Apache-2.0
"""Worker processes: answers come, errors come back, and a worker that dies does not leave everybody waiting."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from jepa_ros.errors import JepaRosError
from jepa_ros.workers import THREAD_VARIABLES, thread_environment, worker_pool

ROOT = Path(__file__).parents[1]


class Unsendable(JepaRosError):
    """An error that pickle cannot make again."""

    def __init__(self, name, number):
        super().__init__(f"{name} {number}")


def work(number):
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    if number == 5:
        raise ValueError("five")
    if number == 7:
        raise Unsendable("seven", 7)
    return 2 * number


def begin(word):
    raise JepaRosError(f"cannot begin with {word}")


def variables(_):
    return {name: os.environ.get(name) for name in THREAD_VARIABLES}


def ask(numbers, **options):
    with worker_pool(1, "doubling", **options) as pool:
        return list(pool.results(work, numbers))


def test_answers_come_in_order():
    assert ask([0, 1, 2]) == [0, 2, 4]


def test_answers_that_need_no_order_all_come():
    with worker_pool(2, "doubling") as pool:
        assert sorted(pool.results(work, range(8, 20), ordered=False)) == [2 * n for n in range(8, 20)]


def test_who_stops_asking_does_not_wait_for_jobs_that_were_not_begun():
    handed = []

    def jobs():
        for number in range(8, 1000):
            handed.append(number)
            yield number

    with worker_pool(1, "doubling") as pool:
        assert next(pool.results(work, jobs())) == 16
    assert len(handed) <= 3


def test_an_error_in_a_worker_comes_back():
    with pytest.raises(ValueError, match="five"):
        ask([4, 5])


def test_a_users_mistake_comes_back_as_its_line_though_it_cannot_be_sent():
    with pytest.raises(JepaRosError, match=r"^seven 7$"):
        ask([7])


def test_a_worker_that_cannot_begin_says_why_and_is_not_started_for_ever():
    with pytest.raises(JepaRosError, match="cannot begin with that"):
        ask([1], start=begin, given=("that",))


def test_a_worker_that_dies_is_an_error_and_not_a_hang():
    with pytest.raises(JepaRosError, match="doubling: a worker process died"):
        ask([0, 3, 1])


def test_workers_have_their_threads_set_and_this_process_is_left_alone(monkeypatch):
    for name in THREAD_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MKL_NUM_THREADS", "7")  # what the user has set stays
    with worker_pool(1, "looking", threads=3) as pool:
        (found,) = pool.results(variables, [0])
    assert found == {name: "7" if name == "MKL_NUM_THREADS" else "3" for name in THREAD_VARIABLES}
    assert [name for name in THREAD_VARIABLES if name in os.environ] == ["MKL_NUM_THREADS"]


def test_the_threads_are_set_before_a_library_is_loaded(monkeypatch):
    for name in THREAD_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    with thread_environment(1):
        code = "import torch; print(torch.get_num_threads())"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "1\n", done.stderr


def test_nobody_starts_worker_processes_elsewhere():
    """A pool of one's own would not have its threads set."""
    others = [
        str(path.relative_to(ROOT))
        for folder in ("jepa_ros", "benchmarks", "sim")
        for path in (ROOT / folder).rglob("*.py")
        if re.search(r"\.Pool\(|ProcessPoolExecutor\(", path.read_text(encoding="utf-8"))
    ]
    assert others == ["jepa_ros/workers.py"]
