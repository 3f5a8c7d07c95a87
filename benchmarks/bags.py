# SPDX-License-Identifier: Apache-2.0
"""Bags: what recording drops and costs, what kill -9 loses, how fast replay and dataset are; learning from bags.

``record``: a 640x480 camera at 30 Hz beside the whole stack, recorded and not, in turn. ``kill``: the recorder killed
at random moments. ``readers``: what other libraries find in a bag. ``replay``: speed and determinism in fresh
processes. ``dataset``: images a second. ``learn``: a model from bags against one from direct collection (hours;
resumable; only when it is named).
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.rigs.bags import bag_figures, bag_learning
from jepa_ros.errors import JepaRosError
from jepa_ros.files import add_json, write_json

WHAT = ("record", "kill", "readers", "replay", "dataset", "learn")
OF_A_BAG = {"readers", "replay", "dataset"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what this benchmark takes."""
    parser.add_argument("what", nargs="*", metavar="|".join(WHAT), help="default: all but learn")
    kept = "what it has of other measurements is kept, and pairs of `record` and thread counts of `replay` are added"
    add_json(parser, f"write the results there; {kept}")
    parser.add_argument("--pairs", type=int, default=3, help="record: runs with and without (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=60.0, help="record: of each run (default: %(default)s)")
    parser.add_argument("--kills", type=int, default=50, help="kill: for each image size (default: %(default)s)")
    parser.add_argument(
        "--bag", type=Path, help="readers, replay, dataset: of the whole stack (default: 60 s are recorded)"
    )
    parser.add_argument("--runs", type=int, default=10, help="replay: of each number of threads (default: %(default)s)")
    parser.add_argument("--threads", default="1,2", help="replay: numbers of threads (default: %(default)s)")
    learn = parser.add_argument_group("learn")
    learn.add_argument("--out", type=Path, default=Path("data/bag_learning"), help="folder; the same command resumes")
    learn.add_argument("--episodes", type=int, default=150, help="collected each way (default: %(default)s)")
    learn.add_argument("--length", type=int, default=120, help="control steps of one (default: %(default)s)")
    learn.add_argument("--seed", type=int, default=0, help="seed of everything (default: %(default)s)")
    learn.add_argument("--steps", type=int, default=0, help="steps of training; 0: as `train` has them")
    learn.add_argument("--readout-steps", type=int, default=0, help="readout steps of training; 0: as `train` has them")
    learn.add_argument("--eval-pairs", type=int, default=100, help="scored for each model (default: %(default)s)")
    learn.add_argument("--factor", type=float, default=1.0, help="simulated seconds in a second (default: %(default)s)")
    learn.add_argument(
        "--layout", choices=("fixed", "random"), default="fixed", help="obstacles (default: %(default)s)"
    )


def main(args: argparse.Namespace) -> int:
    """Measure what was named; 1 when something was lost, unreadable or not the same."""
    unknown = [name for name in args.what if name not in WHAT]
    if unknown:
        raise JepaRosError(f"'{unknown[0]}' cannot be measured; expected {', '.join(WHAT)}")
    chosen = args.what or [name for name in WHAT if name != "learn"]
    _joined(args.json, {"record": bag_figures.NOTHING_RECORDED} if "record" in chosen else {})  # errors come first
    load = os.getloadavg()[0]
    result: dict[str, Any] = {"cpus": os.cpu_count(), "load_before": dict.fromkeys(chosen, load)}
    print(f"load average {load:.1f} on {os.cpu_count()} CPUs")
    good = True
    if "record" in chosen:
        result["record"] = bag_figures.recording(args.pairs, args.seconds, print)
        good &= not any(r["dropped"] for r in result["record"]["recordings"])
    if "kill" in chosen:
        result["kill"] = bag_figures.kills(args.kills, args.seed, print)
        good &= all(not r["unreadable"] and (r["lost_s_max"] or 0.0) <= 1.0 for r in result["kill"])
    if OF_A_BAG & set(chosen):
        with tempfile.TemporaryDirectory() as folder:
            bag = args.bag or _record(Path(folder) / "bag", 60.0)
            if "readers" in chosen:
                result["readers"] = bag_figures.other_readers(bag)
                good &= all(result["readers"]["same"].values())
            if "replay" in chosen:
                threads = tuple(int(word) for word in args.threads.split(","))
                result["replay"] = bag_figures.replays(bag, args.runs, threads, print)
                good &= all(r["different"] == 1 for r in result["replay"])
            if "dataset" in chosen:
                result["dataset"] = bag_figures.dataset_speed(bag)
    if "learn" in chosen:
        settings = bag_learning.LearningSettings(
            args.episodes,
            args.length,
            args.seed,
            args.steps,
            args.readout_steps,
            args.eval_pairs,
            args.factor,
            args.layout,
        )
        result["learn"] = bag_learning.run(args.out, settings)
    result = _joined(args.json, result)
    print(report(result))
    if args.json is not None:
        write_json(args.json, result)
    return 0 if good else 1


def _joined(path: Path | None, result: dict[str, Any]) -> dict[str, Any]:
    """`result` with what a file has of earlier runs: a measurement may be made in pieces."""
    if path is None or not path.exists():
        return result
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
        if "record" in before and "record" in result:
            result["record"] = bag_figures.joined(before["record"], result["record"])
        measured = {row["threads"] for row in result.get("replay", ())}
        if measured:
            result["replay"] += [row for row in before.get("replay", ()) if row["threads"] not in measured]
        return before | result | {"load_before": before["load_before"] | result.get("load_before", {})}
    except (ValueError, KeyError, TypeError) as error:
        raise JepaRosError(f"{path}: no results of this benchmark ({error}): give another --json") from None


def _record(bag: Path, seconds: float) -> Path:
    """A bag of the whole stack that drives from goal to goal."""
    from benchmarks.rigs.planner_times import PlannerTimes
    from jepa_ros.bags.record import Recorder
    from jepa_ros.bringup.stack import Stack
    from jepa_ros.ros_env import reserved_domain

    with reserved_domain() as domain:
        os.environ["ROS_DOMAIN_ID"] = str(domain)
        with Stack("sim", {"seed": "1"}) as stack, PlannerTimes() as times:
            stack.wait_ready()
            with Recorder(bag, robot="arena") as recorder:
                bag_figures.wait_for_data(bag)
                end = time.monotonic() + 20.0
                while time.monotonic() < end and not all(
                    map(recorder.heard, ("/image", "/embedding", "/planner/status"))
                ):
                    time.sleep(0.1)
                times.forget()  # what the planner knew before the recording is not in the bag
                time.sleep(1.0)
                times.drive()
                times.during(seconds)
            stack.check()
    return bag


def report(result: dict[str, Any]) -> str:
    """The results as text."""
    lines = []
    for r in result.get("record", {}).get("recordings", ()):
        lines.append(
            f"recording: {r['messages']} messages, {r['megabytes']:.0f} MB, {r['dropped']} dropped, "
            f"{r['lost']} lost before the recorder; camera {r['images']} of {r['camera_sent']} sent"
        )
    if "record" in result:
        ratio = result["record"]["ratio"]
        interval = "" if ratio["ci95"] is None else " (95 %: {:.3f} to {:.3f})".format(*ratio["ci95"])
        lines.append(f"planner's p50 with recording / without: {ratio['mean']:.3f}{interval}")
    for r in result.get("kill", ()):
        lost = "-" if r["lost_s_max"] is None else f"{r['lost_s_max']:.2f}"
        lines.append(f"kill -9, images of {r['image_bytes']} bytes: {r['kills']} times, {r['unreadable']} unreadable, "
                     f"lost at most {lost} s, p50 {r['lost_s_p50']:.2f} s")  # fmt: skip
    if "readers" in result:
        r = result["readers"]
        same = ", ".join(f"{name}: {'the same' if good else 'OTHERS'}" for name, good in r["same"].items())
        lines.append(f"other readers of {r['messages']} messages: {same}")
    for r in result.get("replay", ()):
        lines.append(f"replay, {r['threads']} threads: {r['runs']} runs, {r['different']} different outcome(s), "
                     f"{r['speed_min']:.1f}x at least, {r['speed_median']:.1f}x in the middle; "
                     f"{r['disagree_with_recording']} differ from the recording")  # fmt: skip
    if "dataset" in result:
        d = result["dataset"]
        lines.append(f"bag to dataset: {d['images_per_second']:.0f} images/s of {d['images']} "
                     f"(reading and decoding alone: {d['decode_limit']:.0f})")  # fmt: skip
    for name, r in result.get("learn", {}).get("rows", {}).items():
        whole, clean = (_share(r, key) for key in ("success_rate", "success_no_contact_rate"))
        lines.append(f"model from {name:6}: {r['steps']} steps; of {r['episodes']} pairs, arrives and holds {whole}, "
                     f"without a contact {clean}")  # fmt: skip
    return "\n".join(lines)


def _share(row: dict[str, Any], key: str) -> str:
    low, high = row[f"{key}_ci95"]
    return f"{100 * row[key]:.0f} % (95 %: {100 * low:.0f} to {100 * high:.0f} %)"


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    add_arguments(arguments)
    raise SystemExit(main(arguments.parse_args()))
