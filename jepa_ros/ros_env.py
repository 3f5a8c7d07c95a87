# SPDX-License-Identifier: Apache-2.0
"""The environment that ROS processes need, and a domain id that nobody on this machine uses. No ROS is imported.

The ROS 2 wheels find their libraries through ``AMENT_PREFIX_PATH``, which nothing sets in a virtual environment; a
sourced ROS installation has set it, and is left alone. Discovery stays on this machine unless
``ROS_AUTOMATIC_DISCOVERY_RANGE`` says otherwise: a robot that moves should not be found by chance.

Data goes by UDP. Through Fast DDS's shared memory (2.14.5) a process that is killed or halted spoils it for others.
Seen in about one fault of thirty: images reached nobody any more while small messages of the same publisher did (its
segment is not freed of what the reader held); a publisher went on writing into the deleted ports of processes that had
been started anew, and hung. ``FASTDDS_BUILTIN_TRANSPORTS`` does not help: with LOCALHOST, rmw_fastrtps makes its own
transports and does not read it. A profile that announces UDP alone does.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from jepa_ros.errors import JepaRosError

#: Domains whose ports lie below Linux's ephemeral range (32768), so that no client socket can take one by chance.
DOMAINS = range(1, 101)
PORT_BASE, PORT_GAIN = 7400, 250  # RTPS 2.2, section 9.6.1.1

#: UDP alone, whatever the discovery range.
UDP_PROFILE = Path(__file__).with_name("udp.xml")
#: Bytes of a message beyond which fragments are lost on their way: by UDP where the kernel's socket buffers are small,
#: and in Fast DDS's own shared-memory segment (512 kB).
LARGE = 400_000
LARGE_PROFILE = Path(__file__).with_name("large_images.xml")
#: Somebody who set one of these has chosen the transports.
TRANSPORT_CHOICES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE", "FASTDDS_BUILTIN_TRANSPORTS")


class EnvironmentProblem(JepaRosError):
    """The environment does not let ROS processes start; the message says what to set."""


def ros_environment(base: Mapping[str, str] | None = None, **given: str) -> dict[str, str]:
    """A copy of `base` (default: this process's environment) in which ROS processes of this package find ROS.

    Args:
        base: environment variables to start from.
        given: variables that replace what `base` says, such as ``ROS_DOMAIN_ID="7"``.
    """
    environment = dict(os.environ if base is None else base)
    if not environment.get("AMENT_PREFIX_PATH"):
        environment["AMENT_PREFIX_PATH"] = sys.prefix
    environment.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    environment.update(given)
    if not any(environment.get(name) for name in TRANSPORT_CHOICES):
        environment[TRANSPORT_CHOICES[0]] = str(UDP_PROFILE)
    return environment


def large_environment(base: Mapping[str, str] | None = None) -> dict[str, str]:
    """What a process that publishes large images needs: shared memory with a segment that holds them.

    Nothing where somebody has chosen the transports.

    Args:
        base: the environment it will have (default: this process's).
    """
    there = os.environ if base is None else base
    chosen = {there.get(name) for name in TRANSPORT_CHOICES} - {None, "", str(UDP_PROFILE)}
    return {} if chosen else {TRANSPORT_CHOICES[0]: str(LARGE_PROFILE)}


def used_domains() -> set[int]:
    """The domains in which a process of this machine listens, seen from the UDP ports that are bound."""
    used = set()
    for table in ("/proc/net/udp", "/proc/net/udp6"):
        try:
            lines = Path(table).read_text(encoding="ascii").splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            port = int(line.split()[1].rpartition(":")[2], 16)
            if port >= PORT_BASE:
                used.add((port - PORT_BASE) // PORT_GAIN)
    return used


@contextlib.contextmanager
def reserved_domain() -> Iterator[int]:
    """Hold a free domain id for as long as the block runs, so that two stacks on one machine never hear each other.

    Raises:
        EnvironmentProblem: no domain is free.
    """
    used = used_domains()
    for domain in DOMAINS:
        if domain in used:
            continue
        lock = _lock(domain)
        if lock is None:
            continue
        try:
            yield domain
        finally:
            os.close(lock)
        return
    raise EnvironmentProblem(f"no free ROS domain from {DOMAINS[0]} to {DOMAINS[-1]}: set ROS_DOMAIN_ID")


def _lock(domain: int) -> int | None:
    """Take the lock of a domain; the ports tell of a process only once it runs, so starting stacks need a lock too."""
    path = Path(tempfile.gettempdir()) / f"jepa_ros_domain_{os.getuid()}_{domain}.lock"
    lock = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        return None
    return lock
