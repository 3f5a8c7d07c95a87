# SPDX-License-Identifier: Apache-2.0
"""The ONE place that speaks to Ray: jobs on the machines of a cluster, in the place of worker processes here.

A job is a function of what it is given, seed included, so that results are those of :mod:`jepa_ros.workers`. Ray runs
the jobs of lost workers again. A few jobs a core are under way at any time, and a result is fetched and let go as soon
as it is there: the object store holds no more than those.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import socket
import uuid
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from jepa_ros import __version__
from jepa_ros.errors import JepaRosError
from jepa_ros.jobs import AHEAD, LOOK_EVERY, THREAD_VARIABLES, answer

J = TypeVar("J")
T = TypeVar("T")
#: Times that a job is tried again, whose worker or machine was lost.
RETRIES = 3
#: Seconds in which a cluster has to answer.
CONNECT = 10.0
#: ``--ray`` without an address: the cluster that runs here or that RAY_ADDRESS names, else one on this machine alone.
ANY = ""


def add_ray(parser: Any) -> None:
    """Declare ``--ray [ADDRESS]`` on a parser or a group of one."""
    parser.add_argument(
        "--ray", nargs="?", const=ANY, type=_address, metavar="ADDRESS",
        help="use a Ray cluster instead of local processes; without ADDRESS the one that runs here, or a new one for "
        "this command (pip install 'jepa_ros[ray]')",
    )  # fmt: skip


def _address(text: str) -> str:
    if text != ANY and not text.strip():  # argparse gives ANY itself
        raise argparse.ArgumentTypeError("expected HOST:PORT or ray://HOST:PORT, found nothing")
    return text


class Cluster:
    """Jobs on a Ray cluster, made by :func:`cluster_pool`; :meth:`results` is that of worker processes."""

    def __init__(self, ray: Any, what: str, start: Callable[..., None] | None, given: tuple[Any, ...], threads: int):
        self._ray, self._what, self._threads = ray, what, threads
        self._begin = ray.put((uuid.uuid4().hex, __version__, start, given))  # once, and not with each job
        self._task = ray.remote(max_retries=RETRIES, num_cpus=threads)(_work)

    @property
    def slots(self) -> int:
        """Jobs that run at a time."""
        return max(1, int(self._ray.cluster_resources().get("CPU", 1)) // self._threads)

    def results(self, work: Callable[[J], T], jobs: Iterable[J], ordered: bool = True) -> Iterator[T]:
        """See :meth:`jepa_ros.workers.Workers.results`; a lost worker's job is run again.

        Raises:
            JepaRosError: ``work`` raised one, a job was lost too often, or the cluster is gone.
        """
        left, early, told = enumerate(jobs), dict[int, T](), 0
        under_way: dict[Any, int] = {}
        while True:
            with self._said():
                room = AHEAD * self.slots - len(under_way)
                for number, job in itertools.islice(left, max(0, room)):
                    under_way[self._task.remote(self._begin, work, job)] = number
                if not under_way:
                    return
                ready, _ = self._ray.wait(list(under_way), num_returns=1, timeout=LOOK_EVERY)
                found = [(under_way.pop(ref), self._ray.get(ref)) for ref in ready]
            for number, (good, value) in found:
                if not good:
                    raise value
                early[number if ordered else told + len(early)] = value
            del found
            while told in early:
                yield early.pop(told)
                told += 1

    @contextlib.contextmanager
    def _said(self) -> Iterator[None]:
        """For a block what Ray raises is one line."""
        errors = self._ray.exceptions
        try:
            yield
        except errors.RayTaskError as error:  # a bug in the job itself
            raise error.cause from error
        except (errors.WorkerCrashedError, errors.OutOfMemoryError) as error:
            hint = "its machine may be out of memory, or the simulator crashed"
            raise JepaRosError(f"{self._what}: a job lost its worker {RETRIES + 1} times ({hint})") from error
        except (errors.RayError, ConnectionError) as error:
            reason = " ".join(str(error).split())[:200]
            raise JepaRosError(
                f"{self._what}: the Ray cluster or its object store is gone ({type(error).__name__}: {reason}); what "
                "was written is kept: the same command goes on from there"
            ) from error


@contextlib.contextmanager
def cluster_pool(
    address: str, what: str, start: Callable[..., None] | None = None, given: Iterable[Any] = (), threads: int = 1
) -> Iterator[Cluster]:
    """A cluster for a block; arguments as of :func:`jepa_ros.workers.worker_pool`.

    Raises:
        JepaRosError: Ray is not installed, the cluster cannot be reached, or it runs another version of it.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # The driver's libraries are loaded; Ray would only warn that GPUs are hidden from jobs that ask for none.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
        import ray.exceptions
    except ImportError:
        raise JepaRosError("--ray: Ray is not installed: pip install 'jepa_ros[ray]'") from None
    ours = not ray.is_initialized()
    if ours:
        address = _reachable(address)
        started = {"include_dashboard": False} if address in (ANY, "local") else {}
        variables = {name: os.environ.get(name) or str(threads) for name in THREAD_VARIABLES}
        try:
            ray.init(
                address=address or None, log_to_driver=False, logging_level="ERROR", configure_logging=False,
                runtime_env={"env_vars": variables}, **started,
            )  # fmt: skip
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            where = address or os.environ.get("RAY_ADDRESS") or "this machine"
            reason = " ".join(str(error).split())[:300]
            raise JepaRosError(f"--ray: no cluster of Ray {ray.__version__} at {where}: {reason}") from None
    try:
        yield Cluster(ray, what, start, tuple(given), threads)
    finally:
        if ours:
            ray.shutdown()


def _reachable(address: str) -> str:
    """The address to give to Ray, which would try one where nothing answers for ever.

    Raises:
        JepaRosError: nothing answers there.
    """
    named = address or os.environ.get("RAY_ADDRESS", "")
    told = Path(os.environ.get("RAY_TMPDIR", "/tmp"), "ray", "ray_current_cluster")  # where Ray notes what runs here
    found = named or (told.read_text(encoding="utf-8").strip() if told.is_file() else "")
    host, _, port = found.rpartition("://")[2].rpartition(":")
    if not port.isdigit():
        return address  # none, or a word of Ray's: auto, local
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT).close()
    except OSError as error:
        if not named:
            return "local"  # what ran here has ended without taking its note away
        raise JepaRosError(f"--ray: no cluster of Ray at {named}: {error.strerror or error}") from None
    return address


_begun = ""


def _work(begin: tuple[str, str, Callable[..., None] | None, tuple[Any, ...]], work: Callable[[J], T], job: J) -> Any:
    """Runs on the cluster: a job, and before the first of a pool in a process what it begins with."""
    global _begun
    pool, version, start, given = begin
    if version != __version__:
        found = f"{os.uname().nodename} has jepa_ros {__version__}, this machine {version}"
        return False, JepaRosError(f"--ray: {found}: install the same on both")
    if pool != _begun:
        found = answer(lambda _: start(*given) if start is not None else None, None)
        if not found[0]:
            return found
        _begun = pool
    return answer(work, job)
