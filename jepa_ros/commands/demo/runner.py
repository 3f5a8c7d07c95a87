# SPDX-License-Identifier: Apache-2.0
"""Running a demonstration: start the graph and the recorder, drive the episodes, stop everything, write what is left.

Whatever happens (a node that dies, a full disk, Ctrl-C at any moment), every process has ended when :func:`run` is
left, the gate last, and the bag is closed.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import psutil
from rich.console import Console

from jepa_ros.bags import BagError
from jepa_ros.bags.record import Recorder
from jepa_ros.bringup.graph import environment
from jepa_ros.bringup.stack import Stack
from jepa_ros.commands.demo import report
from jepa_ros.commands.demo.log import Episode
from jepa_ros.commands.demo.observer import Observer, ObserverError
from jepa_ros.commands.demo.session import make_folder, ordered_stop, run_domain
from jepa_ros.commands.demo.sides import SETTLE, Side
from jepa_ros.commands.demo.table import LiveTable
from jepa_ros.commands.demo.video import VideoError, save_film, save_picture
from jepa_ros.contract import share_dir
from jepa_ros.errors import JepaRosError
from jepa_ros.files import write_json
from jepa_ros.hub import PREFIX
from jepa_ros.progress import Progress
from jepa_ros.safety.output import MOVING_NAMES
from jepa_ros.worlds.choose import ROBOT

FILMED = 10  # episodes; the pictures of more would fill the memory
ARM_TIMEOUT, GOAL_TIMEOUT = 40.0, 15.0  # s
SLOWEST = 8.0  # times real time: an episode whose simulated time goes on more slowly is given up
EMPTY = np.empty((0, 0, 3), np.uint8)
GOAL_REPEAT = 1.0  # s between two sendings of a goal that the planner has not taken yet


def run(args: argparse.Namespace) -> int:
    """Run the command; see the module. Returns the exit code."""
    side = Side(args)
    out = make_folder(args.out)
    try:
        with run_domain() as domain:
            os.environ.update(environment(side.contract))  # pictures are heard the way they are sent
            return _Demo(args, side, out, domain).run()
    finally:
        with contextlib.suppress(OSError):
            out.rmdir()  # only succeeds where nothing was left in it


@contextlib.contextmanager
def _telling(what: str, quiet: bool = False) -> Iterator[None]:
    """Say what takes long while the block runs."""
    with Progress(keep=False, quiet=quiet) as progress:
        progress.task(what)
        yield


class _Demo:
    """One run of the command."""

    def __init__(self, args: argparse.Namespace, side: Side, out: Path, domain: str) -> None:
        self.args, self.side, self.out, self.domain = args, side, out, domain
        self.contract, self.robot = side.contract, args.robot or ROBOT
        self.specs = side.specs
        self.console = Console()
        self.warnings: list[str] = []
        self.problems: list[str] = []  # what makes the run fail even though the robot arrived
        self.episodes: list[Episode] = []
        self.factors: list[float] = []
        self.memory_mb = 0.0
        self.recorder: Recorder | None = None
        self._memory_due = self._memory_now = 0.0
        self._log: TextIO | None = None

    def run(self) -> int:
        model = self.args.model or str(share_dir() / "models" / self.contract.name)
        if not self.args.model and not Path(model).is_dir():
            raise JepaRosError(
                f"no model of the robot '{self.contract.name}' ships: train one (jepa-ros collect, then train) "
                "and give --model FOLDER"
            )
        head = {
            **self.side.head,
            "robot": self.contract.name,
            "model": str(model),
            "seed": self.args.seed,
            "goal": "image",
            "through": "ROS 2",
        }
        self.console.print(
            f"robot {self.contract.name}, seed {self.args.seed}, ROS_DOMAIN_ID {self.domain}; "
            f"everything goes to {self.out}/",
            highlight=False,
            soft_wrap=True,
        )
        observer = None
        try:
            with open(self.out / "nodes.log", "w", encoding="utf-8", buffering=1) as self._log:
                stack = Stack("sim", self._arguments(), on_line=self._on_line)
                with ordered_stop(stack), contextlib.ExitStack() as cleanup:
                    # Let go of in the opposite order: the graph first, so that the bag holds its stopping too.
                    cleanup.callback(self._stop_recorder)
                    observer = cleanup.enter_context(Observer(self.contract))
                    cleanup.callback(stack.stop)
                    stack.start()
                    if self.args.bag:
                        self._start_recorder(model)
                    self._drive(stack, observer)
        except JepaRosError as error:  # what came of it is told all the same, for machines too
            self.problems.append(str(error))
            write_json(self.out / "result.json", self._result(head, observer))
            raise
        result = self._result(head, observer)
        scores = self._scores()
        with _telling("films, plots and results are written"):
            self._write(result, scores)
        return self._verdict(result, scores)

    def _scores(self) -> list[Any]:
        """Of the episodes that came to their end."""
        return [report.score_episode(episode) for episode in self.episodes]

    def _result(self, head: dict[str, Any], observer: Observer | None) -> dict[str, Any]:
        told = [*self.problems, *self.warnings]
        return report.result(self._scores(), head, observer, self.factors, self.memory_mb, told)

    def _arguments(self) -> dict[str, str]:
        args = self.args
        arguments = {
            "robot": self.robot,
            **self.side.arguments(),
            "randomise": str(bool(args.randomise)).lower(),
            "gui": str(args.gui).lower(),
            "composed": str(args.composed).lower(),
            "console": str(args.console).lower(),
        }
        if args.model:
            arguments["model"] = args.model
        return arguments

    def _on_line(self, process: str, line: str) -> None:
        with contextlib.suppress(ValueError, OSError):  # closed already, or a full disk: neither stops the robot
            if self._log is not None:
                self._log.write(f"[{process}] {line}\n")

    # ---------------------------------------------------------------- recording

    def _start_recorder(self, model: str) -> None:
        card = model if Path(model).is_dir() or model.startswith(PREFIX) else None
        log = self.out / "recorder.log"
        self.recorder = Recorder(self.out / "bag", robot=self.robot, model=card, log=log)
        self.recorder.start(timeout=60.0)

    def _stop_recorder(self) -> None:
        if self.recorder is None:
            return
        try:
            found = self.recorder.stop()
            for key in ("dropped", "lost"):
                if found and found.get(key):
                    self.warnings.append(f"the bag lacks {found[key]} messages ({key})")
        except BagError as error:
            self.problems.append(f"the recording ended early: {error}")
        self.recorder = None

    def _begin_bag(self, stack: Stack, observer: Observer) -> None:
        """Let what is remembered begin where the bag does: a replay of the bag then repeats every plan."""
        recorder = self.recorder
        if recorder is None:
            return
        names = (self.contract.step_camera.topic, "embedding", "planner/status")
        topics = [observer.node.resolve_topic_name(name) for name in names]
        observer.wait_for(
            "the recorder did not hear camera, perception and planner",
            lambda: not recorder.alive() or all(recorder.heard(topic) for topic in topics),
            ARM_TIMEOUT,
            stack.check,
        )
        observer.trigger("planner/clear_goal")
        end = observer.now + 3.0 * self.contract.period  # a step without a goal tells the replay of it
        observer.wait_for("the simulator's clock did not move", lambda: observer.now > end, ARM_TIMEOUT, stack.check)

    # ---------------------------------------------------------------- driving

    def _drive(self, stack: Stack, observer: Observer) -> None:
        with _telling("the nodes start"):
            stack.wait_ready()
        with (
            self.side.painter() as paint,
            LiveTable(observer, self.console, lambda: self._measure_memory(stack)) as table,
        ):
            for spec in self.specs:
                table.title = f"episode {spec.number + 1} of {len(self.specs)}"
                episode = paint(spec)
                with _telling(f"{table.title} begins", quiet=self.console.is_terminal):  # the table has the terminal
                    self._begin(spec, stack, observer)
                    if not spec.number:
                        self._begin_bag(stack, observer)
                self._episode(episode, stack, observer, table)
                self.episodes.append(episode)

    def _begin(self, spec: Any, stack: Stack, observer: Observer) -> None:
        """Put the robot at the start (the first episode begins there) and wait until the gate lets commands through."""
        observer.episode = None
        if spec.number:
            observer.trigger("planner/clear_goal")
            observer.set_parameters("sim", self.side.placing(spec))
            observer.trigger("sim/reset")
            end = observer.now + SETTLE
            observer.wait_for(
                "the simulator's clock did not move", lambda: observer.now > end, ARM_TIMEOUT, stack.check
            )
        try:
            observer.wait_for(
                "the gate was not ready to let commands through",
                lambda: observer.gate.get("mode") in MOVING_NAMES,
                ARM_TIMEOUT,
                stack.check,
            )
        except ObserverError as error:
            gate = observer.gate
            text = f"{error}; it says: {gate.get('mode', 'nothing')}, {gate.get('message', '')}"
            if stack.faults:
                text += f"\n{stack.faults[-1]}"
            raise ObserverError(text) from None
        observer.wait_for(
            "the simulator's clock was not heard", lambda: math.isfinite(observer.now), ARM_TIMEOUT, stack.check
        )
        observer.wait_for(
            "nobody listened for a goal", lambda: observer.goal_listeners() > 0, GOAL_TIMEOUT, stack.check
        )

    def _episode(self, episode: Episode, stack: Stack, observer: Observer, table: LiveTable) -> None:
        observer.status = {}
        observer.plan, observer.candidates = None, []
        observer.goal_time, begun = observer.now, time.monotonic()
        observer.episode = episode
        self._send_goal(episode, stack, observer, table)
        arrived_at = None
        while True:
            observer.spin(0.02)
            stack.check()
            self._check_recorder()
            table.update()
            at = observer.now - observer.goal_time
            if at >= self.side.limit:
                break
            if time.monotonic() - begun > (most := SLOWEST * self.side.limit):
                raise ObserverError(
                    f"the simulator's clock went on by {at:.1f} s in {most:.0f} s: it stands still, or this machine is "
                    "far too slow"
                )
            if self.args.episodes is None:
                arrived_at = (arrived_at or at) if observer.status.get("arrived") == "true" else None
                if arrived_at is not None and at > arrived_at + report.AFTER_ARRIVAL:
                    break
        self.factors.append((observer.now - observer.goal_time) / (time.monotonic() - begun))
        self._measure_memory(stack)
        observer.spin(0.1)
        observer.episode = None
        observer.settle()
        if not self.args.video or len(self.episodes) >= FILMED:
            episode.frames = [replace(f, image=EMPTY, candidates=[]) for f in episode.frames]

    def _send_goal(self, episode: Episode, stack: Stack, observer: Observer, table: LiveTable) -> None:
        """Send the goal until the planner's status shows that it has one."""
        sent, end = 0.0, time.monotonic() + GOAL_TIMEOUT
        while observer.status.get("reason", "idle") == "idle":
            if time.monotonic() > end:
                raise ObserverError(f"the planner did not take the goal picture within {GOAL_TIMEOUT:.0f} s")
            if time.monotonic() > sent + GOAL_REPEAT:
                observer.send_goal(episode.goal_image)
                sent = time.monotonic()
            observer.spin(0.02)
            stack.check()
            table.update()

    def _check_recorder(self) -> None:
        """A recorder that ended by itself (a full disk) does not end the drive, but it is told."""
        if self.recorder is not None and not self.recorder.alive():
            self._stop_recorder()

    def _measure_memory(self, stack: Stack) -> float:
        """Resident memory of all processes now [MB], taken at most every 2 s; the most is kept."""
        if time.monotonic() >= self._memory_due:
            self._memory_due = time.monotonic() + 2.0
            pids = [os.getpid(), *stack.pids().values()]
            if self.recorder is not None and self.recorder.pid:
                pids.append(self.recorder.pid)
            total = 0
            for pid in pids:
                with contextlib.suppress(psutil.Error):
                    total += psutil.Process(pid).memory_info().rss
            self._memory_now = total / 1e6
            self.memory_mb = max(self.memory_mb, self._memory_now)
        return self._memory_now

    # ---------------------------------------------------------------- at the end

    def _write(self, result: dict[str, Any], scores: list[Any]) -> None:
        from jepa_ros.commands.demo.plot import save_plot

        done = sum(s["success"] for s in scores)
        title = f"{self.contract.name}, seed {self.args.seed}: {done} of {len(scores)} arrived and held"
        save_plot(self.out / "plot.png", self.episodes, title)
        if self.args.video:
            try:
                save_film(self.out / "video.mp4", self.episodes[:FILMED], self.contract.cameras[0].rate)
                save_picture(self.out / "picture.png", self.episodes[0])
            except VideoError as error:
                self.problems.append(str(error))
                result["problems"].append(str(error))
        write_json(self.out / "result.json", result)

    def _verdict(self, result: dict[str, Any], scores: list[Any]) -> int:
        say = self.console.print
        e2e, plan = result["end_to_end_ms"], result["plan_ms"]
        for warning in self.warnings:
            say(f"[yellow]warning:[/] {warning}", soft_wrap=True)
        for problem in self.problems:
            say(f"[bold red]problem:[/] {problem}", soft_wrap=True)
        say(
            f"plan {_ms(plan)}, camera to command {_ms(e2e)} (p50 / p99), "
            f"real-time factor {_number(result['real_time_factor'], '.3f')}, "
            f"memory {self.memory_mb / 1e3:.2f} GB",
            highlight=False,
            soft_wrap=True,
        )
        kept = ", ".join(sorted(p.name + ("/" if p.is_dir() else "") for p in self.out.iterdir()))
        say(f"{self.out}/: {kept}", highlight=False, soft_wrap=True)
        if self.args.episodes is not None:
            low, high = result["success_rate_ci95"]
            say(
                f"[bold]{result['success_rate']:.1%}[/] of {len(scores)} episodes arrived and held "
                f"(95 %: {low:.1%} to {high:.1%}); ever {report.near(self.episodes[0])} {result['ever_rate']:.1%}, "
                f"contact {_number(result['collision_rate'], '.1%')}, "
                f"false arrival {_number(result['false_arrival_rate'], '.1%')}",
                highlight=False,
                soft_wrap=True,
            )
            return 1 if self.problems or not all(s["success"] for s in scores) else 0
        score, episode = scores[0], self.episodes[0]
        if not score["success"]:
            say(f"[bold red]FAILED[/]: {report.reason(score, episode)}", highlight=False, soft_wrap=True)
            return 1
        say(f"[bold green]ARRIVED[/]{_told(score)}", highlight=False, soft_wrap=True)
        return 1 if self.problems else 0


def _told(score: dict[str, Any]) -> str:
    """What the judge knows of an arrival beside that it is one."""
    parts = []
    if score.get("final_distance") is not None:
        parts.append(f"{score['final_distance']:.3f} m from the goal")
    if score.get("seconds_to_goal") is not None:
        parts.append(f"there after {score['seconds_to_goal']:.1f} s")
    if "contact" in score:
        parts.append("touching something on the way" if score["contact"] else "touching nothing")
    return ": " * bool(parts) + ", ".join(parts)


def _ms(values: dict[str, float | None]) -> str:
    return f"{_number(values['p50'], '.0f')} / {_number(values['p99'], '.0f')} ms"


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else f"{value:{form}}"
