# SPDX-License-Identifier: Apache-2.0
"""Work on a Ray cluster: two nodes, a worker that is killed, and the results of worker processes here."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from jepa_ros import cluster as clusters
from jepa_ros.errors import JepaRosError
from jepa_ros.workers import worker_pool

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'jepa_ros[ray]'")
pytestmark = [pytest.mark.slow, pytest.mark.alone]
ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def address():
    """A cluster of two nodes of a core each."""
    from ray.cluster_utils import Cluster

    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    try:
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    except Exception as error:
        if "timed out during startup" not in str(error):
            raise
        pytest.skip("Ray gives a node 30 s to start, which this busy machine did not make")
    cluster.add_node(num_cpus=1)
    yield cluster.address
    cluster.shutdown()


def double(job):
    """Doubles; the job of a marker's path ends its worker the first time."""
    number, marker = job
    if number == 3 and not Path(marker).exists():
        Path(marker).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if number == 7:
        raise JepaRosError("seven")
    if number == 9:
        os.kill(os.getpid(), signal.SIGKILL)
    return 2 * number


def begin(factor):
    _factor.append(factor)


_factor = []


def scale(number):
    return _factor[-1] * number, os.environ.get("OMP_NUM_THREADS"), len(_factor)


def test_the_job_of_a_killed_worker_is_done_again_and_answers_come_once_in_order(address, tmp_path):
    with worker_pool(1, "doubling", ray=address) as pool:
        assert pool.slots == 2
        jobs = [(n, str(tmp_path / "killed")) for n in (0, 1, 2, 3, 4, 5)]
        assert list(pool.results(double, jobs)) == [0, 2, 4, 6, 8, 10]
        assert sorted(pool.results(double, jobs, ordered=False)) == [0, 2, 4, 6, 8, 10]
        assert (tmp_path / "killed").exists()
        with pytest.raises(JepaRosError, match=r"^seven$"):
            list(pool.results(double, [(7, "")]))
        with pytest.raises(JepaRosError, match="doubling: a job lost its worker 4 times"):
            list(pool.results(double, [(9, "")]))


def test_a_worker_begins_once_for_a_pool_and_its_threads_are_set(address):
    for factor in (2, 3):
        with worker_pool(1, "scaling", begin, (factor,), ray=address) as pool:
            found = list(pool.results(scale, range(6)))
        assert [value for value, _, _ in found] == [factor * n for n in range(6)]
        assert {(threads, begun) for _, threads, begun in found} == {("1", 1)}


def test_few_results_wait_in_the_object_store(address):
    asked = []

    def jobs():
        for number in range(40):
            asked.append(number)
            yield number

    with worker_pool(1, "scaling", begin, (2,), ray=address) as pool:
        for count, _ in enumerate(pool.results(scale, jobs(), ordered=False), start=1):
            assert len(asked) <= count + clusters.AHEAD * pool.slots


def kill_one(found, over):
    """End one worker of the cluster while it works."""
    while not over.is_set() and not found:
        for process in psutil.process_iter(["name", "cmdline"]):
            if any("ray::_work" in word for word in (process.info["cmdline"] or [])):
                time.sleep(0.3)
                process.kill()
                found.append(process.pid)
                return
        time.sleep(0.02)


def command(*words):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    words = [sys.executable, "-m", "jepa_ros.commands.cli", *map(str, words)]
    return subprocess.run(words, capture_output=True, text=True, timeout=600, env=environment)


def test_a_dataset_of_a_cluster_with_a_killed_worker_is_that_of_local_processes(address, tmp_path):
    words = "--episodes", 24, "--length", 14, "--seed", 3
    local = command("collect", "--out", tmp_path / "local", *words, "--workers", 1)
    assert local.returncode == 0, local.stderr
    killed, over = [], threading.Event()
    killer = threading.Thread(target=kill_one, args=(killed, over))
    killer.start()
    there = command("collect", "--out", tmp_path / "ray", *words, "--ray", address)
    over.set()
    killer.join()
    assert there.returncode == 0, there.stderr
    assert killed
    files = sorted(p.relative_to(tmp_path / "local") for p in (tmp_path / "local").rglob("*.npy"))
    assert files == sorted(p.relative_to(tmp_path / "ray") for p in (tmp_path / "ray").rglob("*.npy"))
    for name in files:
        assert (tmp_path / "local" / name).read_bytes() == (tmp_path / "ray" / name).read_bytes(), name
    episodes = [np.load(p) for p in sorted((tmp_path / "ray").glob("*/episodes.npy"))]
    assert sum(map(len, episodes)) == 24


def test_scores_of_a_cluster_are_those_of_local_processes_and_are_kept(address, tmp_path):
    words = "--episodes", 4, "--seed", 5, "--policies", "random"
    local = command("eval", *words, "--workers", 1, "--keep", tmp_path / "local")
    assert local.returncode == 0, local.stderr
    there = command("eval", *words, "--ray", address, "--keep", tmp_path / "ray", "--json", tmp_path / "a.json")
    assert there.returncode == 0, there.stderr
    rows = [[json.loads(line) for line in (tmp_path / name).read_text().splitlines()] for name in ("local", "ray")]
    scores = [sorted((r["number"], str(r["rows"]["random"]["score"])) for r in lines[1:]) for lines in rows]
    assert scores[0] == scores[1] and len(scores[0]) == 4
    # What is kept is not played again: the rest of it is, and the report is the same.
    (tmp_path / "ray").write_text("".join((tmp_path / "ray").read_text().splitlines(keepends=True)[:3]) + '{"numb')
    again = command("eval", *words, "--workers", 1, "--keep", tmp_path / "ray", "--json", tmp_path / "b.json")
    assert again.returncode == 0, again.stderr
    reports = [json.loads((tmp_path / name).read_text()) for name in ("a.json", "b.json")]
    assert reports[0]["random_success_rate"] == reports[1]["random_success_rate"]
    other = command("eval", "--episodes", 4, "--seed", 6, "--policies", "random", "--keep", tmp_path / "ray")
    assert other.returncode == 2 and "holds episodes of another evaluation (settings differ)" in other.stderr


def test_a_cluster_of_another_version_and_none_at_all_are_one_line(address, monkeypatch):
    monkeypatch.setattr(ray, "__version__", "2.1.0")
    with pytest.raises(JepaRosError, match=r"--ray: no cluster of Ray 2\.1\.0 at .*: Version mismatch"):
        clusters.cluster_pool(address, "trying").__enter__()
    monkeypatch.undo()
    with pytest.raises(JepaRosError, match=r"--ray: no cluster of Ray at 127\.0\.0\.1:1: Connection refused"):
        clusters.cluster_pool("127.0.0.1:1", "trying").__enter__()


def test_a_worker_with_another_version_of_ours_is_refused(address, monkeypatch):
    monkeypatch.setattr(clusters, "__version__", "0.0.1")
    with (
        worker_pool(1, "scaling", begin, (2,), ray=address) as pool,
        pytest.raises(JepaRosError, match=r"has jepa_ros .*, this machine 0\.0\.1: install the same"),
    ):
        list(pool.results(scale, [1]))
