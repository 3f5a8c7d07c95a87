# SPDX-License-Identifier: Apache-2.0
"""`jepa-ros info BAG`: what a bag holds, how regular it is, and what is broken; `--repair` mends it.

The analysis (`analyse`) is the one place that says what a gap and a time jump are; the dataset builder cuts by it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
from dataclasses import asdict, dataclass, field
from datetime import datetime

import numpy as np

from jepa_ros.bags import CONTRACT_KEY, MODEL_CARD_KEY, REPORT_KEY, BagError
from jepa_ros.bags.format.reader import BagReader
from jepa_ros.bags.format.repair import repair
from jepa_ros.bags.format.storage import CDR, Storage
from jepa_ros.bags.format.unpack import is_packed
from jepa_ros.bags.stamps import fault
from jepa_ros.files import add_json, write_json
from jepa_ros.messages import MessageError
from jepa_ros.messages.stamps import raw_stamp

CLOCK = "rosgraph_msgs/msg/Clock"
GAP_FACTOR = 4.0
"""A pause is a gap when it is longer than this many median periods ..."""
GAP_SECONDS = 0.25
"""... and than this: shorter pauses are scheduling, not loss."""
JUMP_SECONDS = 1.0
"""Stamps that move on by this much more than the time of receipt have jumped. (Slower is a slow or paused clock.)"""
IRREGULAR_SHARE = 0.1
"""A topic with more gaps than this share of its messages speaks when it has something to say (a log): no gaps."""
OTHER_CLOCK_SECONDS = 3600.0
"""Stamps further than this from the time of receipt are of another clock (a simulation): no delay can be told."""
RARE_SECONDS = 5.0
"""Topics with a longer median period (latched, on demand) have no rate to be regular at."""


@dataclass
class Event:
    """A gap or a jump: `at` seconds after the bag's start, `seconds` long (negative: backwards)."""

    at: float
    seconds: float


@dataclass
class TopicReport:
    """How one topic behaved.

    Rates in Hz; `delay` is receipt minus header stamp in s (median), None without stamps that tell it. `other_clock`:
    the stamps are far from the times of receipt. `stamp_fault`: what is wrong with them, in words.
    """

    name: str
    msgtype: str
    count: int
    rate: float | None = None
    period_p99: float | None = None
    delay: float | None = None
    other_clock: bool = False
    stamp_fault: str = ""
    gaps: list[Event] = field(default_factory=list)
    jumps: list[Event] = field(default_factory=list)
    unordered: int = 0


def find_gaps(times: np.ndarray, origin: int) -> list[Event]:
    """Pauses in sorted times (ns) that are gaps; empty for topics that are rare or too short to tell."""
    if len(times) < 4:
        return []
    steps = np.diff(times) * 1e-9
    median = float(np.median(steps))
    if median > RARE_SECONDS:
        return []
    where = np.flatnonzero(steps > max(GAP_FACTOR * median, GAP_SECONDS))
    if len(where) > IRREGULAR_SHARE * len(steps):
        return []
    return [Event((int(times[i]) - origin) * 1e-9, float(steps[i])) for i in where]


def find_jumps(times: np.ndarray, stamps: np.ndarray, origin: int) -> list[Event]:
    """Places where header stamps (ns) moved by `JUMP_SECONDS` more than the receipt times, or backwards."""
    if len(stamps) < 2:
        return []
    moved, passed = np.diff(stamps) * 1e-9, np.diff(times) * 1e-9
    known = (stamps[1:] > 0) & (stamps[:-1] > 0)
    where = np.flatnonzero(known & ((moved - passed > JUMP_SECONDS) | (moved < -1e-3)))
    return [Event((int(times[i + 1]) - origin) * 1e-9, float(moved[i])) for i in where]


def stamped_types(reader: BagReader) -> set[tuple[str, str]]:
    """Topics and types whose first field is a std_msgs/Header (or a time), so that their stamp can be read unparsed."""
    found = set()
    for channel in (channel for info in reader.topics.values() for channel in info.channels):
        if channel.serialization != CDR:
            continue
        with contextlib.suppress(BagError, IndexError):  # of a type that is not known, or without fields
            if channel.msgtype == CLOCK or reader.fields(channel.msgtype)[0] == "std_msgs/msg/Header":
                found.add((channel.topic, channel.msgtype))
    return found


def analyse(reader: BagReader, *, stamps: bool = True) -> list[TopicReport]:
    """One report a topic. With `stamps` every message is read (and checked); without, only the indexes are.

    Raises:
        BagError: a file is damaged where it is read.
    """
    times: dict[str, list] = {name: [] for name in reader.topics}
    unordered = dict.fromkeys(reader.topics, 0)
    marks: dict[str, list[tuple[int, int]]] = {}
    for storage in reader.files:
        for topic, values in storage.times().items():
            unordered[topic] += int((np.diff(values) < 0).sum())
            if not stamps:
                times[topic].extend(values.tolist())
    if stamps:
        stamped = stamped_types(reader)
        for message in reader.messages():
            times[message.topic].append(message.time)
            if (message.topic, message.msgtype) in stamped:
                try:
                    stamp = raw_stamp(message.data)
                except MessageError:
                    stamp = 0
                marks.setdefault(message.topic, []).append((message.time, stamp))
    reports = []
    for name, info in reader.topics.items():
        received = np.array(times[name], np.int64)
        report = TopicReport(name, info.msgtype, len(received), unordered=unordered[name])
        order = np.argsort(received, kind="stable")
        received = received[order]
        if len(received) > 1 and received[-1] > received[0]:
            steps = np.diff(received) * 1e-9
            report.period_p99 = float(np.percentile(steps, 99))
            if len(steps) > 2 and np.median(steps) <= RARE_SECONDS:
                report.rate = (len(received) - 1) / float((received[-1] - received[0]) * 1e-9)
        report.gaps = find_gaps(received, reader.start)
        if name in marks:
            received, stamped_at = np.array(marks[name], np.int64).T
            _judge_stamps(report, received, stamped_at, reader.start)
        reports.append(report)
    return reports


def _judge_stamps(report: TopicReport, times: np.ndarray, stamps: np.ndarray, start: int) -> None:
    """Say of header stamps and times of receipt (ns, in this order) what a topic's report says of them."""
    report.jumps = find_jumps(times, stamps, start)
    if report.msgtype == CLOCK:
        return
    report.stamp_fault = fault(times, stamps)
    known = stamps > 0
    if known.any() and not report.stamp_fault:
        delay = float(np.median((times - stamps)[known]) * 1e-9)
        report.delay, report.other_clock = (delay, False) if abs(delay) < OTHER_CLOCK_SECONDS else (None, True)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("bag", metavar="BAG", help="a bag's folder, or one of its files")
    parser.add_argument("--repair", action="store_true", help="mend a bag whose recorder did not end, in place")
    parser.add_argument("--fast", action="store_true", help="read the indexes alone (no header stamps, no checks)")
    parser.add_argument(
        "--rerun", nargs="?", const="", metavar="FILE", help="as a recording of rerun; without FILE in its viewer"
    )
    add_json(parser, "write everything for machines")


def main(args: argparse.Namespace) -> int:
    """Run the command; 0 for a whole bag, 1 for one with problems that were left."""
    if args.repair:
        done = repair(args.bag)
        print("\n".join(done) if done else "nothing to mend")
    with BagReader(args.bag) as reader:
        damage = None
        try:
            reports = analyse(reader, stamps=not args.fast)
        except BagError as error:
            damage = str(error)
            reports = analyse(reader, stamps=False)
        print(render(reader, reports))
        if damage:
            print(f"DAMAGED  {damage}")
        if args.json:
            write_json(args.json, to_dict(reader, reports, damage))
        if args.rerun is not None:
            from jepa_ros.bags import to_rerun

            print("\n".join(to_rerun.write(reader, args.rerun)))
        mendable = damage or reader.metadata_stale or any(not storage.complete for storage in reader.files)
        if mendable and not args.repair:
            print(f"run `jepa-ros info --repair {args.bag}` to make it readable for every tool")
        return 1 if damage or reader.problems else 0


def to_dict(reader: BagReader, reports: list[TopicReport], damage: str | None = None) -> dict:
    """Everything `info` knows, for machines. Times in ns, lengths in s."""
    return {
        "path": str(reader.path),
        "version": reader.version,
        "files": [str(storage.source.name) for storage in reader.files],
        "start_ns": reader.start,
        "end_ns": reader.end,
        "messages": reader.message_count,
        "notes": reader.notes,
        "problems": reader.problems + ([damage] if damage else []),
        "custom_data": sorted(reader.custom_data),
        "topics": [asdict(report) for report in reports],
    }


def render(reader: BagReader, reports: list[TopicReport]) -> str:
    """The report as text."""
    seconds = (reader.end - reader.start) * 1e-9
    size = sum(storage.source.stat().st_size for storage in reader.files)
    kinds = sorted({_kind(storage) for storage in reader.files})
    lines = [f"{reader.path}: {len(reader.files)} file(s) ({', '.join(kinds)}), {size / 1e6:.1f} MB"]
    lines[0] += f", metadata version {reader.version}" if reader.version else ", no metadata.yaml"
    if reader.message_count:
        begin = datetime.fromtimestamp(reader.start * 1e-9).isoformat(sep=" ", timespec="milliseconds")
        lines.append(f"{begin}  {seconds:.3f} s  {reader.message_count} messages")
    else:
        lines.append("no messages")
    lines += _identity_lines(reader)
    width = max((len(report.name) for report in reports), default=5)
    kind = max((len(report.msgtype) for report in reports), default=4)
    heads = f"{'count':>7}  {'Hz':>7}  {'p99 ms':>7}  {'delay ms':>8}  gaps  jumps"
    lines.append(f"{'topic':{width}}  {'type':{kind}}  {heads}")
    for r in reports:
        lines.append(
            f"{r.name:{width}}  {r.msgtype:{kind}}  {r.count:7d}  {_number(r.rate, 1, 2):>7}  "
            f"{_number(r.period_p99 if r.rate else None, 1e3, 1):>7}  {_number(r.delay, 1e3, 1):>8}  "
            f"{len(r.gaps):4d}  {len(r.jumps):5d}"
        )
    others = [r.name for r in reports if r.other_clock]
    if others:
        every = all(r.other_clock or r.delay is None for r in reports)
        told = "header stamps" if every else f"header stamps of {', '.join(others)}"
        lines.append(
            f"{told}: of another clock than the times of receipt (a simulation's, or a camera's since its start)"
        )
    for r in reports:
        if r.stamp_fault:
            lines.append(f"stamps  {r.name}: {r.stamp_fault}")
        for name, events in (("gap", r.gaps), ("time jump", r.jumps)):
            for event in sorted(events, key=lambda e: -abs(e.seconds))[:5]:
                lines.append(f"{name}  {r.name}: {event.seconds:+.3f} s at {event.at:.3f} s")
            if len(events) > 5:
                lines.append(f"{name}  {r.name}: {len(events) - 5} more, shorter ones")
        if r.unordered:
            lines.append(f"unordered  {r.name}: {r.unordered} messages stand before earlier ones")
    lines += [f"note  {note}" for note in reader.notes]
    lines += [f"PROBLEM  {problem}" for problem in reader.problems]
    return "\n".join(lines)


def _kind(storage: Storage) -> str:
    path = storage.source
    return "".join(path.suffixes[-2:] if is_packed(path) else path.suffixes[-1:]).lstrip(".")


def _number(value: float | None, factor: float, digits: int) -> str:
    return "-" if value is None else f"{value * factor:.{digits}f}"


def _identity_lines(reader: BagReader) -> list[str]:
    lines = []
    try:
        if CONTRACT_KEY in reader.custom_data:
            contract = json.loads(reader.custom_data[CONTRACT_KEY])
            lines.append(f"robot contract: {contract.get('name', '?')}")
        if MODEL_CARD_KEY in reader.custom_data:
            card = json.loads(reader.custom_data[MODEL_CARD_KEY])
            lines.append(f"model card: {card.get('name') or card.get('model_id') or 'yes'}")
        if REPORT_KEY in reader.custom_data:
            report = json.loads(reader.custom_data[REPORT_KEY])
            lines.append(f"recorder: {report.get('dropped', 0)} dropped, {report.get('lost', 0)} lost before it")
    except (ValueError, AttributeError):
        lines.append("custom_data: not readable as JSON")
    return lines
