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
import importlib.util
import os
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from jepa_ros.errors import JepaRosError
from jepa_ros.suggest import did_you_mean

#: Domains whose ports lie below Linux's ephemeral range (32768), so that no client socket can take one by chance.
DOMAINS = range(1, 101)
PORT_BASE, PORT_GAIN = 7400, 250  # RTPS 2.2, section 9.6.1.1

MOST_DOMAIN = 232  # the last whose ports are below 65536
RANGES = ("LOCALHOST", "SUBNET", "OFF", "SYSTEM_DEFAULT")
#: Where a prefix lists its middlewares.
RMW_INDEX = Path("share/ament_index/resource_index/rmw_typesupport")

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


def ready_for_ros() -> None:
    """Make this process's environment one in which ROS starts; call it before anything imports rclpy.

    rclpy answers most of what is refused here with a traceback, and one of them by ending the process.

    Raises:
        EnvironmentProblem: a variable that ROS could not use; the message names it.
        ModuleNotFoundError: rclpy is not installed.
    """
    os.environ.update(ros_environment())
    if importlib.util.find_spec("rclpy") is None:
        raise ModuleNotFoundError("No module named 'rclpy'", name="rclpy")
    for name, check in _CHECKS.items():
        if (value := os.environ.get(name)) and (problem := check(value)):
            raise EnvironmentProblem(f"{name}={value}: {problem}")
    _find_a_log_folder()


@contextlib.contextmanager
def starting_ros() -> Iterator[None]:
    """For a block that initialises rclpy or makes the first node: what rcl cannot do is one line.

    Raises:
        EnvironmentProblem: ROS does not start.
    """
    try:
        yield
    except RuntimeError as error:  # rcl's, with the place in its source
        raise EnvironmentProblem(f"ROS does not start: {' '.join(str(error).partition(', at /')[0].split())}") from None


def _domain(value: str) -> str:
    good = value.isdecimal() and int(value) <= MOST_DOMAIN
    return "" if good else f"expected a whole number from 0 to {MOST_DOMAIN}"


def _range(value: str) -> str:
    return "" if value in RANGES else f"expected one of {', '.join(RANGES)}{did_you_mean(value, RANGES)}"


def _peers(value: str) -> str:
    for host in filter(None, value.split(";")):
        if "," in host or " " in host:
            return "expected hosts with ; between them, such as robot.local;192.168.1.7"
        try:
            socket.getaddrinfo(host, None)
        except (OSError, UnicodeError) as error:
            return f"'{host}' is no host that can be found ({getattr(error, 'strerror', None) or error})"
    return ""


def _middleware(value: str) -> str:
    prefixes = filter(None, os.environ["AMENT_PREFIX_PATH"].split(os.pathsep))
    listed = {path.name for prefix in prefixes for path in (Path(prefix) / RMW_INDEX).glob("rmw_*")}
    known = sorted(listed - {"rmw_implementation"})  # which loads one of the others
    if not known or value in known:
        return ""
    return f"it is not installed here{did_you_mean(value, known)}; installed: {', '.join(known)}"


_CHECKS: dict[str, Callable[[str], str]] = {
    "ROS_DOMAIN_ID": _domain, "ROS_AUTOMATIC_DISCOVERY_RANGE": _range, "ROS_STATIC_PEERS": _peers,
    "RMW_IMPLEMENTATION": _middleware,
}  # fmt: skip


def _find_a_log_folder() -> None:
    """ROS does not start without a folder for its logs; where the home is read-only they go to a temporary one."""
    given = os.environ.get("ROS_LOG_DIR")
    home = os.environ.get("ROS_HOME") or Path("~").expanduser() / ".ros"
    folder = Path(given).expanduser() if given else Path(home) / "log"
    if _writable(folder):
        return
    if given:
        raise EnvironmentProblem(f"ROS_LOG_DIR={given}: this folder cannot be written")
    passing = Path(tempfile.gettempdir()) / f"jepa_ros_log_{os.getuid()}"
    if not _writable(passing):
        raise EnvironmentProblem(f"neither {folder} nor {passing} can be written: set ROS_LOG_DIR to a folder for logs")
    os.environ["ROS_LOG_DIR"] = str(passing)


def _writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK | os.X_OK)


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
    return {(port - PORT_BASE) // PORT_GAIN for port, _ in _udp_sockets() if port >= PORT_BASE}


def listeners(domain: int) -> tuple[int, int]:
    """How many UDP sockets listen in a domain on this machine: (of this process, of others); none without /proc."""
    descriptors = Path("/proc/self/fd")
    mine = {_link(str(fd)) for fd in descriptors.iterdir()} if descriptors.exists() else set()
    there = [inode for port, inode in _udp_sockets() if (port - PORT_BASE) // PORT_GAIN == domain]
    own = sum(f"socket:[{inode}]" in mine for inode in there)
    return own, len(there) - own


def _udp_sockets() -> Iterator[tuple[int, str]]:
    """The UDP ports that are bound on this machine, each with its socket's inode (Linux)."""
    for table in ("/proc/net/udp", "/proc/net/udp6"):
        try:
            lines = Path(table).read_text(encoding="ascii").splitlines()[1:]
        except OSError:
            continue
        for fields in map(str.split, lines):
            yield int(fields[1].rpartition(":")[2], 16), fields[9]


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:  # closed meanwhile, as the one that the listing itself was read through
        return ""


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
