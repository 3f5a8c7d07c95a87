# SPDX-License-Identifier: Apache-2.0
"""Recorder, replay and dataset in figures: what is dropped and what it costs, what a kill -9 loses, and how fast."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.rigs.bags.bag_learning import LearningError
from jepa_ros.bags.format.reader import BagReader
from jepa_ros.bags.format.repair import repair
from jepa_ros.bags.record import Recorder
from jepa_ros.ros_env import large_environment, reserved_domain, ros_environment
from jepa_ros.statistics import quantile

#: Of Student's t distribution, two-sided 95 %, by degrees of freedom; beyond 10 the normal's is used.
T95 = {1: 12.71, 2: 4.30, 3: 3.18, 4: 2.78, 5: 2.57, 6: 2.45, 7: 2.36, 8: 2.31, 9: 2.26, 10: 2.23}
TOPIC = "big_image"
NOTHING_RECORDED: dict[str, Any] = {"recordings": [], "planner_p50_ms": {"with": [], "without": []}}


class Camera:
    """A process that publishes prepared frames, as a context manager; `sent` is known after it ended."""

    def __init__(self, width: int, height: int, rate: float) -> None:
        self._words = [TOPIC, str(width), str(height), str(rate)]
        self.sent = 0

    def __enter__(self) -> Camera:
        """Start it."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.rigs.big_camera", *self._words],
            stdout=subprocess.PIPE, text=True, env=ros_environment({**os.environ, **large_environment()}),
        )  # fmt: skip
        return self

    def __exit__(self, *_: object) -> None:
        """End it and take its count."""
        self._process.send_signal(signal.SIGTERM)
        text, _ = self._process.communicate(timeout=20.0)
        self.sent = int(text.split()[-1]) if text.split() else 0


# ---------------------------------------------------------------- recording


def recording(pairs: int, seconds: float, say: Callable[[str], None]) -> dict[str, Any]:
    """The whole stack with a second camera of 640x480 at 30 Hz: recorded and not recorded, in turn.

    Returns:
        Drops and losses of each recording, the planner's p50 [ms] of each run, and the ratio with its 95 % interval.
    """
    from benchmarks.rigs.planner_times import PlannerTimes
    from jepa_ros.bringup.stack import Stack

    runs: dict[str, list[float]] = {"with": [], "without": []}
    records = []
    with tempfile.TemporaryDirectory() as folder, reserved_domain() as domain:
        os.environ["ROS_DOMAIN_ID"] = str(domain)
        with Stack("sim", {"seed": "1"}) as stack, PlannerTimes() as times:
            stack.wait_ready()
            times.drive()
            for pair in range(pairs):
                for kind in ("with", "without") if pair % 2 == 0 else ("without", "with"):
                    with Camera(640, 480, 30.0) as camera:
                        if kind == "with":
                            bag = Path(folder) / f"bag{pair}"
                            with Recorder(bag, robot="arena") as recorder:
                                taken = times.during(seconds)
                            records.append(_account(bag, recorder.report))
                        else:
                            taken = times.during(seconds)
                    runs[kind].append(1e3 * quantile(taken, 0.5))
                    say(f"{kind} recording: planner p50 {runs[kind][-1]:.1f} ms, camera sent {camera.sent}")
                    if kind == "with":
                        records[-1]["camera_sent"] = camera.sent
    return {"recordings": records, "planner_p50_ms": runs, "ratio": _ratio(runs)}


def joined(one: dict[str, Any], two: dict[str, Any]) -> dict[str, Any]:
    """The result of :func:`recording` for the runs of both."""
    runs = {kind: one["planner_p50_ms"][kind] + two["planner_p50_ms"][kind] for kind in ("with", "without")}
    return {"recordings": one["recordings"] + two["recordings"], "planner_p50_ms": runs, "ratio": _ratio(runs)}


def _ratio(runs: dict[str, list[float]]) -> dict[str, Any]:
    return _interval([a / b for a, b in zip(runs["with"], runs["without"], strict=True)])


def _account(bag: Path, report: dict[str, Any]) -> dict[str, Any]:
    with BagReader(bag) as reader:
        count = {name: info.count for name, info in reader.topics.items()}
    return {
        "messages": report["messages"], "dropped": report["dropped"], "lost": report["lost"],
        "images": count.get(f"/{TOPIC}", 0), "megabytes": sum(f.stat().st_size for f in bag.iterdir()) / 1e6,
    }  # fmt: skip


def _interval(values: list[float]) -> dict[str, Any]:
    """Mean and 95 % interval (Student's t over the pairs; none of one)."""
    mean, n = statistics.fmean(values), len(values)
    half = T95.get(n - 1, 1.96) * statistics.stdev(values) / n**0.5 if n > 1 else None
    return {"mean": mean, "ci95": None if half is None else [mean - half, mean + half], "values": values}


# ---------------------------------------------------------------- kill -9


def kills(times: int, seed: int, say: Callable[[str], None]) -> list[dict[str, Any]]:
    """Kill the recorder at random moments: is the bag readable, how much is lost [s], and is it whole after repair?"""
    rng = random.Random(seed)
    rows = []
    for width, height, rate in ((64, 64, 30.0), (640, 480, 30.0)):
        lost, unreadable = [], 0
        with tempfile.TemporaryDirectory() as folder, reserved_domain() as domain:
            os.environ["ROS_DOMAIN_ID"] = str(domain)
            with Camera(width, height, rate):
                for number in range(times):
                    bag = Path(folder) / f"bag{number}"
                    recorder = Recorder(bag).start()
                    wait_for_data(bag)
                    time.sleep(rng.uniform(0.3, 2.5))
                    killed = time.time_ns()
                    recorder.kill()
                    readable, end = _after(bag)
                    unreadable += not readable
                    if readable:
                        lost.append((killed - end) * 1e-9)
                    for file in bag.iterdir():
                        file.unlink()
        size = 3 * width * height
        row = {"image_bytes": size, "kills": times, "unreadable": unreadable, "lost_s_max": max(lost, default=None),
               "lost_s_p50": quantile(lost, 0.5)}  # fmt: skip
        say(f"{size} bytes: {times} kills, {unreadable} unreadable, at most {max(lost, default=0.0):.2f} s lost")
        rows.append(row)
    return rows


def wait_for_data(bag: Path) -> None:
    """Wait until a recording has data in its file: the recorder has found the graph then.

    Raises:
        LearningError: it has not within 20 s.
    """
    end = time.monotonic() + 20.0
    file = bag / f"{bag.name}_0.mcap"
    while not file.exists() or file.stat().st_size < 30_000:
        if time.monotonic() > end:
            raise LearningError(f"{bag}: nothing was recorded within 20 s")
        time.sleep(0.02)


def _after(bag: Path) -> tuple[bool, int]:
    """Whether a bag can be read to its end, before and after repair, with as many messages; and its last log time."""
    try:
        with BagReader(bag) as reader:
            count, end = sum(1 for _ in reader.messages()), reader.end
        repair(bag)
        with BagReader(bag) as reader:
            return reader.complete and sum(1 for _ in reader.messages()) == count > 0, end
    except Exception as error:  # whatever it is, the bag was not readable
        print(f"{bag}: {type(error).__name__}: {error}")
        return False, 0


# ---------------------------------------------------------------- replay and dataset


def replays(bag: Path, times: int, threads: tuple[int, ...], say: Callable[[str], None]) -> list[dict[str, Any]]:
    """Replay in fresh processes: speed against real time, and whether every run decided the same."""
    rows = []
    for count in threads:
        digests, speeds, differ = set(), [], 0
        for number in range(times):
            with tempfile.TemporaryDirectory() as folder:
                out = Path(folder) / "out.json"
                words = ["replay", str(bag), "--fast", "--threads", str(count), "--json", str(out)]
                command = [sys.executable, "-m", "jepa_ros.commands.cli", *words]
                done = subprocess.run(command, capture_output=True, text=True)
                if not out.exists():
                    raise LearningError(f"replay {number} of {bag} failed: {done.stderr[-500:]}")
                result = json.loads(out.read_text())
            digests.add(json.dumps(result["digest"], sort_keys=True))
            differ += not result["comparison"]["agree"]
            if not result["comparison"]["agree"] and not number:
                for d in result["comparison"]["differences"][:5]:
                    say(f"{d['at']:10.3f} s  {d['topic']}: {d['text']}")
            speeds.append(result["speed"])
        row = {"threads": count, "runs": times, "different": len(digests), "speed_min": min(speeds),
               "speed_median": statistics.median(speeds), "disagree_with_recording": differ}  # fmt: skip
        say(f"{count} threads: {times} runs, {len(digests)} different, {min(speeds):.1f}x to {max(speeds):.1f}x")
        rows.append(row)
    return rows


def other_readers(bag: Path) -> dict[str, Any]:
    """Whether the libraries mcap and rosbags find the messages that this package does, byte for byte."""
    from mcap.reader import make_reader
    from rosbags.highlevel import AnyReader

    def digest(rows: Iterable[tuple[int, str, bytes]]) -> tuple[int, str]:
        hashed = sorted(hashlib.sha256(f"{time} {topic} ".encode() + data).digest() for time, topic, data in rows)
        return len(hashed), hashlib.sha256(b"".join(hashed)).hexdigest()

    def by_mcap() -> Iterator[tuple[int, str, bytes]]:
        for path in bag.glob("*.mcap"):
            with path.open("rb") as file:
                for _, channel, message in make_reader(file, validate_crcs=True).iter_messages():
                    yield message.log_time, channel.topic, message.data

    with BagReader(bag) as reader:
        own = digest((m.time, m.topic, m.data) for m in reader.messages())
    with AnyReader([bag]) as other:
        found = {"rosbags": digest((time, c.topic, bytes(data)) for c, time, data in other.messages())}
    found["mcap"] = digest(by_mcap())
    return {"messages": own[0], "same": {name: theirs == own for name, theirs in found.items()}}


def dataset_speed(bag: Path) -> dict[str, Any]:
    """Images of a bag a second into a dataset, and the limit: reading and decoding them, and nothing else."""
    from jepa_ros.bags.dataset import build
    from jepa_ros.bags.identity import contract_of
    from jepa_ros.bags.image_topic import camera_topic
    from jepa_ros.messages.images import pixels

    with tempfile.TemporaryDirectory() as folder:
        report = build([bag], Path(folder) / "data")
    begun, count = time.monotonic(), 0
    with BagReader(bag) as reader:
        topic = camera_topic(reader, contract_of(reader, None))
        for message in reader.messages({topic}):
            pixels(reader.deserialize(message))
            count += 1
    return {
        "images_per_second": report["images_per_second"], "decode_limit": count / (time.monotonic() - begun),
        "images": count, "steps_kept": report["steps"],
    }  # fmt: skip
