# SPDX-License-Identifier: Apache-2.0
"""Where the robot of the rig truly is and how fast it truly goes, held to what the gate has to keep."""

from __future__ import annotations

import math
from typing import Any

from benchmarks.rigs.gate.rig import POST, Rig
from jepa_ros.safety import GateInputs, GateOutput

#: Room [m] and speed [m/s] that noise and rounding may cost.
SLACK, FAST = 0.004, 0.03
#: The same of a post [m]: the rig's beams are 5 degrees apart, and a post is seen in the nearest one.
POST_SLACK = 0.01
#: The same of a joint's end [rad]: half a tick at full speed, by which the rig's steps and the gate's plan may differ.
JOINT_SLACK = 0.015


class PlaceJudge:
    """Rules over the true state of the robot; a robot that was broken obeys nobody and is not judged."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.least: dict[str, float] = {}  # room to a region that may not be fallen short of [m]
        self.standing: set[str] = set()  # of those, the ones in which it has come to rest
        self.pushed: float | None = None
        self.pressed = False
        self.sent = [0.0] * rig.cfg.size  # at the tick before
        self.unseen_since: float | None = None  # since when nobody says where people are
        self.looked = -math.inf  # when that was asked last
        self.broken = False

    def dropped(self, name: str) -> None:
        """A region was set down where the robot is: it has to stop, and may then only leave."""
        robot, cfg = self.rig.robot, self.rig.cfg
        speed = abs(robot.v[0])
        way = speed * cfg.reaction_time + speed * speed / (2.0 * cfg.braking[0]) + 0.01
        self.least[name] = self._rooms()[name] - way - 0.02

    def look(self, out: GateOutput, i: GateInputs, now: float, moving: bool, measured: bool) -> list[str]:
        """The rules that this tick breaks. ``measured``: the odometry is believable."""
        self.broken = self.broken or self.rig.robot.broken
        found = self._bumper(out, i, moving, measured)
        if self.broken:
            return found
        if self.rig.cfg.forward is None:
            return found + self._joints()
        return [*found, *self._regions(), *self._posts(), *self._speed(i, now)]

    def _rooms(self) -> dict[str, float]:
        robot, cfg = self.rig.robot, self.rig.cfg
        return {
            g.name: float(g.clearance(robot.x, robot.y, cfg.footprint_radius))
            for g in cfg.guardrails.of("keep_out", "keep_in")
        }

    def _regions(self) -> list[str]:
        found = []
        for name, room in self._rooms().items():
            least = self.least.get(name, -SLACK)
            if room < least:
                found.append(f"stands {-room:.4f} m inside '{name}'")
            if least < -SLACK and abs(self.rig.robot.v[0]) < 0.01:  # it stands, then leaves: nothing is given back
                self.standing.add(name)
            if name in self.standing:
                self.least[name] = min(-SLACK, max(least, room - 0.02))
        return found

    def _posts(self) -> list[str]:
        robot, cfg = self.rig.robot, self.rig.cfg
        if "scan" not in cfg.states:
            return []
        rooms = [math.hypot(x - robot.x, y - robot.y) - POST - cfg.footprint_radius for x, y in self.rig.obstacles]
        return [f"{-room:.4f} m into a post that the scan shows" for room in rooms if room < -POST_SLACK]

    def _speed(self, i: GateInputs, now: float) -> list[str]:
        robot, cfg = self.rig.robot, self.rig.cfg
        speed, found = abs(robot.v[0]), []
        for g in cfg.guardrails.of("speed_zone"):
            if float(g.clearance(robot.x, robot.y, cfg.footprint_radius)) < -0.01 and speed > g.bound + FAST:
                found.append(f"{speed:.2f} m/s in '{g.name}'")
        people = i.people
        seen = people is not None and 0.0 <= now - people.received <= cfg.people_timeout
        seen = seen and abs(self.rig.last_ros - people.stamp) <= cfg.people_timeout  # type: ignore[union-attr]
        if seen:
            self.unseen_since = None
        elif self.unseen_since is None or now - self.looked > cfg.late_tick:  # nobody braked while the gate stood still
            self.unseen_since = now
        self.looked = now
        braking = self.unseen_since is not None and now - self.unseen_since < cfg.stop_time + 0.2
        for g in cfg.guardrails.of("near_person"):
            away = min((math.hypot(x - robot.x, y - robot.y) for x, y in self.rig.people or ()), default=math.inf)
            near = not seen or away < cfg.footprint_radius + g.distance - 0.02
            if near and not braking and speed > g.bound + FAST:
                found.append(
                    f"{speed:.2f} m/s with a person {away:.2f} m away" + ("" if seen else " that nobody tells of")
                )
        return found

    def _joints(self) -> list[str]:
        robot, cfg = self.rig.robot, self.rig.cfg
        if cfg.joint_range is None or cfg.output == "position":
            return []
        low, high = cfg.joint_range
        return [
            f"joint {k} at {q:.4f}, its range is {low[k]} to {high[k]}"
            for k, q in enumerate(robot.q)
            if not low[k] - JOINT_SLACK <= q <= high[k] + JOINT_SLACK
        ]

    def _bumper(self, out: GateOutput, i: GateInputs, moving: bool, measured: bool) -> list[str]:
        cfg, m = self.rig.cfg, i.contact
        if cfg.contact_response == "ignore" or "contact" not in cfg.states or m is None or m.value is False:
            self.pressed, self.sent = False, out.values.tolist()
            return []
        if not self.pressed:
            v: Any = getattr(i.odom, "v", None)
            self.pushed = v[0] if measured and v is not None and cfg.forward is not None else None
        self.pressed = True
        values = out.values.tolist()
        if not moving:
            self.sent = values
            return []
        if cfg.contact_response == "stop":
            return [f"the bumper is pressed, and it sends {values}"] if any(values) else []
        before, self.sent = self.sent, values
        fast = [abs(u) > cfg.escape_speed * v + 1e-6 for u, v in zip(values, cfg.velocity, strict=True)]
        if any(f and abs(u) >= abs(b) for f, u, b in zip(fast, values, before, strict=True)):  # and it slows not down
            return [f"the bumper is pressed, and it sends {values}: not slowly"]
        if self.pushed is not None and abs(self.pushed) > 0.05 and values[0] * self.pushed > 1e-9:
            return [f"the bumper was pressed at {self.pushed:.2f} m/s, and it sends {values}: not away"]
        return []
