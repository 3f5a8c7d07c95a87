# SPDX-License-Identifier: Apache-2.0
"""A recorded bag for the page: its timeline, its moments, and what comes of thinking one over again. Knows no web."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache
from typing import Any

from jepa_ros.bags.format.reader import BagReader
from jepa_ros.bags.replay import cases
from jepa_ros.bags.replay.rethink import Moments, Otherwise
from jepa_ros.bags.replay.run_log import Step
from jepa_ros.console import wishes
from jepa_ros.console.desk import Refused
from jepa_ros.console.pictures import jpeg
from jepa_ros.console.projection import Projection
from jepa_ros.cost.goal import Goal
from jepa_ros.messages.stamps import stamp_ns
from jepa_ros.names import prefix
from jepa_ros.planning.output import PlannerOutput

#: The planner publishes what belongs to a step within so many ns of its status.
NEAR = 300_000_000
#: The gate has answered a step's command by so many ns after the planner's status.
AFTER = 60_000_000
#: A pose that is older than so many ns does not tell where the robot was.
POSE = 10_000_000_000
RULE = "guardrail/"
STATUS = "/planner/status"


class Afterwards:
    """One bag.

    Args:
        reader: the bag, open. robot, model, namespace: see :class:`~jepa_ros.bags.replay.rethink.Moments`.

    Raises:
        JepaRosError: the bag or the model does not fit, or no planner spoke in the bag.
    """

    def __init__(self, reader: BagReader, robot: str | None = None, model: str = "", namespace: str = "") -> None:
        self._reader, self._prefix = reader, prefix(namespace)
        self._moments = Moments(reader, robot, model, namespace)
        self._steps = self._moments.steps
        self._projection = self._camera()
        self._tags = self._remembered()
        self._again = lru_cache(maxsize=100)(lambda number: self._thought(self._moments.rethink(number)))

    def close(self) -> None:
        """Close the bag."""
        self._reader.close()

    def _camera(self) -> Projection | None:
        topic, camera = f"{self._prefix}/camera_info", self._moments.contract.cameras[0]
        if topic not in self._reader.topics or camera.frame != self._moments.contract.frames.map:
            return None
        for message in self._reader.messages({topic}):
            info = self._reader.deserialize(message)
            return Projection.of(camera.position, camera.orientation, list(info.k), (info.width, info.height))
        return None

    def _remembered(self) -> dict[str, int | Goal]:
        """Places with a name that the bag knows: a goal that was driven to, or the step at which it was remembered."""
        taken = {str(stamp): goal for stamp, goal in self._moments.recording.taken.items()}
        told = (step.status for step in self._steps if step.status.get("goal") == "memory")
        known = ((status.get("goal_name", ""), taken.get(status.get("goal_ns", ""))) for status in told)
        found: dict[str, int | Goal] = {name: goal for name, goal in known if name and goal is not None}
        topic = f"{self._prefix}/planner/remember"
        if topic in self._reader.topics:
            for message in self._reader.messages({topic}):
                seen = [k for k, step in enumerate(self._steps) if (step.time or 0) <= message.time]
                if seen:
                    found[str(self._reader.deserialize(message).data)] = seen[-1]
        return found

    def _at(self, time: int) -> float:
        """Seconds since the bag's start."""
        return round((time - self._reader.start) * 1e-9, 3)

    # ------------------------------------------------------------ looking

    def timeline(self) -> dict[str, Any]:
        """The whole bag, for JSON: one row a step, stretches of the gate's mode and reason, goals, what is damaged."""
        log = self._moments.recording.log
        stretches: list[dict[str, Any]] = []
        for tick in log.ticks:
            if tick.time is None:
                continue
            at = self._at(tick.time)
            if not stretches or (stretches[-1]["mode"], stretches[-1]["reason"]) != (tick.mode, tick.reason):
                stretches.append({"begin": at, "end": at, "mode": tick.mode, "reason": tick.reason})
            stretches[-1]["end"] = at
        goals: list[dict[str, Any]] = []
        for number, step in enumerate(self._steps):
            told = (step.status.get("goal_ns", ""), step.status.get("goal", ""))
            if told[1] not in ("", "none") and (not goals or goals[-1]["told"] != told):
                name = step.status.get("goal_name", "")
                goals.append({"at": self._when(step), "step": number, "kind": told[1], "name": name, "told": told})
        return {
            "bag": str(self._reader.path),
            "robot": self._moments.contract.name,
            "seconds": self._at(self._reader.end),
            "steps": [self._row(step) for step in self._steps],
            "gate": stretches,
            "goals": [{k: v for k, v in goal.items() if k != "told"} for goal in goals],
            "placed": self._projection is not None,
            "tags": sorted(self._tags),
            "cases": self._case_names(),
            "notes": [*self._reader.problems, *self._moments.changed, *log.notes],
        }

    def _when(self, step: Step) -> float:
        return self._at(step.time if step.time is not None else self._reader.start)

    def _row(self, step: Step) -> dict[str, Any]:
        found = {"at": self._when(step), "reason": step.reason}
        numbers = {"cost": step.number("cost"), "distance": step.number("distance")}
        numbers |= {name: step.signals.get(name, math.nan) for name in ("surprise", "novelty")}
        return found | {name: value for name, value in numbers.items() if math.isfinite(value)}

    def moment(self, number: int) -> dict[str, Any]:
        """One step, as recorded: what the planner decided, and what the gate said of it.

        Raises:
            Refused: there is no such step.
        """
        step = self._step(number)
        status = step.status
        plan, markers = self._of_step("plan", step), self._of_step("planner/candidates", step)
        poses = [] if plan is None or step.reason != "ok" else plan.poses
        lines = [[(p.pose.position.x, p.pose.position.y) for p in poses]] if poses else []
        for marker in [] if markers is None or not lines else markers.markers:
            if len(marker.points) > 1:
                lines.append([(p.x, p.y) for p in marker.points])
        return {
            "step": number,
            "at": self._when(step),
            "gate": self._gate(step),
            "goal": " ".join(filter(None, (status.get("goal", ""), status.get("goal_name", "")))),
            "recorded": {
                "reason": step.reason,
                "sentence": status.get("sentence", ""),
                "command": _list(step.command),
                "cost": _finite(step.number("cost")),
                "distance": _finite(step.number("distance")),
                "iterations": _finite(step.number("iterations")),
                "seed": _finite(step.number("seed")),
                "evaluated": _finite(step.number("evaluated")),
                "terms": {k[6:]: float(v) for k, v in status.items() if k.startswith("terms/")},
                "rules": {k[len(RULE) :]: v for k, v in step.signals.items() if k.startswith(RULE)},
                "drawing": self._drawn(lines),
            },
        }

    def _gate(self, step: Step) -> dict[str, str]:
        """What the gate said to the step's command: mode, reason, sentence; empty where it said nothing."""
        state, time = f"{self._prefix}/safety_gate/state", step.time or 0
        found: dict[str, str] = {}
        if state in self._reader.topics:
            for message in self._reader.messages({state}, time - NEAR, time + AFTER):
                told = self._reader.deserialize(message).status
                if told:
                    pairs = {pair.key: pair.value for pair in told[0].values}
                    found = {name: pairs.get(name, "") for name in ("mode", "reason")} | {"sentence": told[0].message}
        return found

    def _of_step(self, topic: str, step: Step) -> Any:
        """What the planner published on a topic for a step; None where that is not in the bag."""
        name = f"{self._prefix}/{topic}"
        if name not in self._reader.topics or step.time is None:
            return None
        for message in self._reader.messages({name}, step.time - NEAR, step.time + NEAR):
            content = self._reader.deserialize(message)
            first = content.markers[0] if hasattr(content, "markers") and len(content.markers) else content
            if hasattr(first, "header") and stamp_ns(first) == step.stamp:
                return content
        return None

    def picture(self, number: int) -> bytes:
        """The camera's picture of a step, JPEG."""
        self._step(number)
        return jpeg(*self._moments.picture(number))

    def _step(self, number: int) -> Step:
        if not 0 <= number < len(self._steps):
            raise Refused(f"there is no step {number}: this bag has 0 to {len(self._steps) - 1}")
        return self._steps[number]

    # ------------------------------------------------------------ thinking again

    def again(self, number: int) -> dict[str, Any]:
        """The step thought over again with nothing changed: what the other one is to be compared with."""
        self._step(number)
        return dict(self._again(number))

    def rethink(self, number: int, wanted: dict[str, Any]) -> dict[str, Any]:
        """The step thought over again with what the page asks for.

        Args:
            wanted: see :func:`jepa_ros.console.wishes.read`.

        Raises:
            Refused: the request cannot be read. JepaRosError: it does not fit the robot or the model.
        """
        return self._thought(self._moments.rethink(number, self._otherwise(number, wanted)))

    def save(self, number: int, wanted: dict[str, Any]) -> dict[str, Any]:
        """Save a moment, with what is different and what comes of it, as a case that `replay --compare` runs.

        Args:
            wanted: as for :meth:`rethink`, and "case": its name.

        Raises:
            Refused: the request cannot be read. JepaRosError: it does not fit, or the file cannot be written.
        """
        name = str(wanted.get("case", "")).strip()
        if not name or len(name) > 60 or not name.isprintable():
            raise Refused("a case needs a name of 1 to 60 letters")
        otherwise = self._otherwise(number, wanted)
        again = self._moments.rethink(number, otherwise)
        try:
            path = cases.save(self._reader.path, cases.Case.of(name, self._steps[number].stamp, otherwise, again))
        except OSError as error:
            raise Refused(f"the case cannot be written: {error.strerror}") from None
        return {"saved": f"'{name}' in {path.name}; `jepa-ros replay --compare` runs it", "cases": self._case_names()}

    def _case_names(self) -> list[str]:
        return [case.name for case in cases.load(self._reader.path)]

    def _otherwise(self, number: int, wanted: dict[str, Any]) -> Otherwise:
        step = self._step(number)
        found = wishes.read(wanted, self._tags, lambda u, v: self._clicked(step, u, v))
        if found.step is None:
            return found.otherwise
        self._step(found.step)
        return replace(found.otherwise, picture=self._moments.picture(found.step))

    def _clicked(self, step: Step, u: float, v: float) -> tuple[tuple[float, float, float], float]:
        """The place that a pixel shows, and the heading there from where the robot was; as the live page has it."""
        at = None if self._projection is None else self._projection.ground(u, v)
        if at is None:
            raise Refused("that pixel has no known place on the ground: give a pose or a picture")
        robot = self._pose(step)
        return (*at, 0.0), math.atan2(at[1] - robot.y, at[0] - robot.x) if robot is not None else 0.0

    def _pose(self, step: Step) -> Any:
        """Where the robot was at a step, as its localisation told it; None where that is not in the bag."""
        state, found = self._moments.contract.state, None
        topic = f"{self._prefix}/{state['pose'].topic}" if "pose" in state else ""
        if topic in self._reader.topics:
            time = step.time or 0
            for message in self._reader.messages({topic}, time - POSE, time + 1):
                found = self._reader.deserialize(message).pose.pose.position
        return found

    def _thought(self, again: Any) -> dict[str, Any]:
        output: PlannerOutput = again.output
        status = output.status
        lines = [] if output.track is None else [[tuple(p[:2]) for p in output.track]]
        lines += [[tuple(p[:2]) for p in poses] for poses, _ in output.candidates]
        return {
            "reason": status["reason"],
            "sentence": status["sentence"],
            "command": _list(output.command),
            "cost": _finite(status.get("cost")),
            "distance": _finite(status.get("distance")),
            "iterations": status.get("iterations"),
            "seed": status.get("seed"),
            "evaluated": status.get("evaluated"),
            "terms": {k: float(v) for k, v in (status.get("terms") or {}).items()},
            "rules": {k[len(RULE) :]: float(v) for k, v in output.signals.items() if k.startswith(RULE)},
            "drawing": self._drawn(lines),
            "took": round(again.took, 3),
        }

    def _drawn(self, lines: list[list[Any]]) -> dict[str, Any]:
        if self._projection is None or not lines:
            return {"pixels": []}
        return {"size": self._projection.size, "pixels": [self._projection.drawn(line) for line in lines]}


def open_bag(path: str, robot: str | None = None, model: str = "", namespace: str = "") -> Afterwards:
    """Open a bag for the page; where no planner of the namespace spoke in it, the first one that did.

    Raises:
        JepaRosError: see :class:`Afterwards`.
    """
    reader = BagReader(path)
    try:
        spoke = [topic.removesuffix(STATUS) for topic in sorted(reader.topics) if topic.endswith(STATUS)]
        own = prefix(namespace)
        return Afterwards(reader, robot, model, namespace if own in spoke or not spoke else spoke[0])
    except BaseException:
        reader.close()
        raise


def _finite(value: Any) -> float | None:
    return float(value) if value is not None and math.isfinite(float(value)) else None


def _list(values: Any) -> list[float] | None:
    return None if values is None else [round(float(v), 4) for v in values]
