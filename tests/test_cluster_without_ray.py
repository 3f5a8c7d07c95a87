# SPDX-License-Identifier: Apache-2.0
"""What of the work on a cluster does not need Ray: where to look for one, what a worker answers, and in which order.

The engine is a stand-in here. tests/test_cluster.py does the same, and more, on a real Ray of two nodes where that is
installed.
"""

from __future__ import annotations

import random
import socket
import sys
from types import SimpleNamespace

import pytest

from jepa_ros import __version__
from jepa_ros import cluster as clusters
from jepa_ros.commands.cli import main
from jepa_ros.errors import JepaRosError


class Lost(Exception):
    """A worker was lost too often."""


class Gone(Exception):
    """The cluster is gone."""


class Engine:
    """Answers jobs in any order; ``fails`` {number of the job: what is raised when its answer is fetched}."""

    def __init__(self, cores=2, fails=None):
        self.cores, self.fails, self.random = cores, fails or {}, random.Random(0)
        self.most = self.begun = 0
        names = "RayTaskError", "WorkerCrashedError", "OutOfMemoryError", "RayError"
        self.exceptions = SimpleNamespace(**dict.fromkeys(names, type("Never", (Exception,), {})))
        self.exceptions.WorkerCrashedError, self.exceptions.RayError = Lost, Gone

    def put(self, value):
        return value

    def remote(self, **options):
        def submit(work):
            def send(*arguments):
                self.begun += 1
                return self.begun - 1, work(*arguments)

            return SimpleNamespace(remote=send)

        return submit

    def cluster_resources(self):
        return {"CPU": float(self.cores)}

    def wait(self, under_way, num_returns, timeout):
        self.most = max(self.most, len(under_way))
        return [self.random.choice(under_way)], []

    def get(self, reference):
        number, answer = reference
        if number in self.fails:
            raise self.fails[number]
        return answer


def cluster(engine, start=None, given=()):
    return clusters.Cluster(engine, "doubling", start, given, 1)


def double(number):
    if number == 7:
        raise JepaRosError("seven")
    return 2 * number


def test_answers_come_once_and_in_order_and_few_jobs_are_under_way():
    engine = Engine()
    assert list(cluster(engine).results(double, iter(range(7)))) == [2 * n for n in range(7)]
    assert engine.most <= clusters.AHEAD * 2
    assert sorted(cluster(Engine()).results(double, range(7), ordered=False)) == [2 * n for n in range(7)]


def test_a_jobs_own_error_is_raised_and_what_the_engine_raises_is_one_line():
    with pytest.raises(JepaRosError, match=r"^seven$"):
        list(cluster(Engine()).results(double, [7]))
    gone = r"doubling: the Ray cluster or its object store is gone \(Gone: head node\)"
    for error, why in ((Lost(), "doubling: a job lost its worker 4 times"), (Gone("head\nnode"), gone)):
        with pytest.raises(JepaRosError, match=why):
            list(cluster(Engine(fails={1: error})).results(double, range(3)))


begun: list[int] = []


def test_a_worker_begins_once_for_a_pool_and_refuses_another_version_of_ours():
    begun.clear()
    for factor in (2, 3):
        list(cluster(Engine(), begun.append, (factor,)).results(double, range(4)))
    assert begun == [2, 3]
    good, error = clusters._work(("pool", "0.0.1", None, ()), double, 1)
    assert not good and f"has jepa_ros {__version__}, this machine 0.0.1: install the same" in str(error)


def test_where_nothing_answers_is_told_at_once_and_an_old_note_is_passed_over(tmp_path, monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = f"127.0.0.1:{free.getsockname()[1]}"
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    assert clusters._reachable(clusters.ANY) == clusters.ANY and clusters._reachable("local") == "local"
    with pytest.raises(JepaRosError, match=f"--ray: no cluster of Ray at {nobody}: Connection refused"):
        clusters._reachable(nobody)
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray" / "ray_current_cluster").write_text(nobody)
    assert clusters._reachable(clusters.ANY) == "local"
    with socket.create_server(("127.0.0.1", 0)) as server:
        there = f"ray://127.0.0.1:{server.getsockname()[1]}"
        assert clusters._reachable(there) == there


def test_without_ray_the_command_says_how_to_get_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ray", None)
    words = ["collect", "--out", str(tmp_path / "data"), "--episodes", "2", "--length", "4", "--ray"]
    assert main(words) == 2
    assert "--ray: Ray is not installed: pip install 'jepa_ros[ray]'" in capsys.readouterr().err
    assert main([*words, " "]) == 2
    assert "expected HOST:PORT or ray://HOST:PORT, found nothing" in capsys.readouterr().err
