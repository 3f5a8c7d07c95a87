# SPDX-License-Identifier: Apache-2.0
"""Where the robot truly is and how fast it truly goes, held to what the gate has to keep."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from jepa_ros.safety import GateInputs, GateOutput

if TYPE_CHECKING:
    from benchmarks.rigs.gate.histories import History

#: Share of a tick's way at full speed that the steps of plant and judge may cost.
STEPS = 1e-3
#: Share of the fastest speed, and of the limit, by which a speed limit may be exceeded.
FAST, OVER = 0.01, 0.03
#: The same of a joint's end [share of its range].
JOINT = 1e-3
#: The gate keeps so much room to what the scan sees [m] (docs/safety.md, obstacle_margin).
SEEN = 0.02
#: Cosine of the angle to the way of travel below which something near is passed.
AHEAD = 0.8
#: So many ticks after something new it is not judged yet, besides the time of a stop: the news has to arrive.
NEWS = 9


class PlaceJudge:
    """Rules over the true state of the robot; a robot that was broken or jammed obeys nobody and is not judged."""

    def __init__(self, history: History) -> None:
        self.h, self.machine = history, history.machine
        m = self.machine
        self.slack = STEPS * m.speed * m.period + 1e-9
        self.off = False  # it was broken, or its clocks lied for long
        self.excused_until = -math.inf
        self.excused_way = 0.0  # metres, by late ticks and clocks that jumped
        self.least: dict[str, float] = {}  # {region: room that may not be fallen short of}, where it is below 0
        self.news_until = -math.inf
        self.limits_until = -math.inf
        self.seen: list[tuple[float, float]] | None = None
        self.beyond: dict[int, float] = {}  # {joint: how far it may be beyond its end}
        self.stop = m.stop_time + m.reaction + NEWS * m.period
        self.listened = False
        self.blind_since: float | None = -math.inf
        self.scan: object = None  # the newest that was looked at
        self.near_since: np.ndarray | None = None  # of each beam: since when it is nearer than the lidar can measure

    def excuse(self, now: float, late: float, odd: bool) -> None:
        """The gate was run late by so many s, or the clocks do not go as clocks do."""
        if now > self.excused_until:
            self.excused_way = 0.0
        self.excused_until = now + self.stop
        self.excused_way += 2.0 * (1.0 if odd else late)

    def changed(self) -> None:
        """Other guardrails hold from now on: what is too near now may be entered, but no deeper than a stop takes."""
        now = self.h.steady
        self.news_until = self.limits_until = now + self.stop
        self.least = {}
        for name, room in self._rooms():
            way = self.machine.way() + self.machine.speed * NEWS * self.machine.period + 0.01
            if room < way:
                self.least[name] = room - way
        self.beyond = dict.fromkeys(range(self.machine.size), math.inf)

    def look(self, out: GateOutput, i: GateInputs, now: float, moving: bool) -> list[str]:
        """The rules that this tick breaks."""
        p = self.h.plant
        self.off = self.off or p.broken or p.jammed is not None
        if self.off:
            return []
        if self.machine.joints:
            return [] if self.machine.position else self._joints(now, out)
        extra = self.excused_way * self.machine.speed if now <= self.excused_until else 0.0
        return [*self._regions(extra, now), *self._posts(extra), *self._speed(i, now), *self._too_near(out, i, now)]

    def _rooms(self) -> list[tuple[str, float]]:
        p, radius = self.h.plant, self.machine.radius
        rails = self.h.gate.config.guardrails.of("keep_out", "keep_in", "workspace")
        return [(g.name, float(g.clearance(p.x, p.y, radius))) for g in rails if not g.spatial]

    def _regions(self, extra: float, now: float) -> list[str]:
        found = []
        for name, room in self._rooms():
            if room >= 0.0:
                if now > self.news_until:
                    self.least.pop(name, None)
                continue
            if self.h.tick_index == 0:  # it starts inside
                self.least[name] = room - 0.05 * self.machine.radius - 0.005
            least = self.least.get(name, 0.0)
            if extra > 0.0 and room < least:
                self.least[name] = least = room if room > least - extra else least
            if room < least - self.slack:
                found.append(f"stands {-room:.6g} m inside '{name}' (limit {-least:.6g})")
            elif name in self.least and now > self.news_until and self.h.plant.speed() < 1e-3 * self.machine.speed:
                # It stands, and no command of before is still on its way: from now on it may only leave.
                self.least[name] = max(least, room - 0.05 * self.machine.radius - 0.005)
        return found

    def _posts(self, extra: float) -> list[str]:
        posts, lidar = self.h.senses.world.posts, self.h.senses.lidar
        if not posts or lidar is None:
            return []
        p, radius = self.h.plant, self.machine.radius
        found = []
        for x, y, r in posts:
            room = math.hypot(x - p.x, y - p.y) - r - radius
            # What lies between two beams shows when it is near: too late for as much as the beams are apart there.
            unseen = max(0.0, lidar.step * (self.machine.way() + radius + math.hypot(lidar.x, lidar.y)) - SEEN)
            if room < -self.slack - extra - unseen - self.least.get("posts", 0.0):
                found.append(f"{-room:.6g} m into a post that the scan shows")
                self.least["posts"] = -room + radius
            elif extra > 0.0:  # where it came by the ticks that were late, it may go on standing
                self.least["posts"] = max(self.least.get("posts", 0.0), -room)
        return found

    def _too_near(self, out: GateOutput, i: GateInputs, now: float) -> list[str]:
        """A beam below ``range_min`` keeps its direction: nobody goes that way; with a whole turn of them, nowhere."""
        m, lidar, scan = self.machine, self.h.senses.lidar, i.scan
        if lidar is None or scan is None or "scan" in self.h.judge.bad_since:
            self.near_since = None
            return []
        if scan is not self.scan:
            self.scan = scan
            near = np.asarray(scan.ranges) < scan.range_min
            if not near.any():
                self.near_since = None
            elif self.near_since is None or len(self.near_since) != len(near):
                self.near_since = np.where(near, now, math.inf)
            else:
                self.near_since = np.where(near, np.minimum(self.near_since, now), math.inf)
        if self.near_since is None:
            return []
        vx, vy = (0.0 if k is None else float(out.values[k]) for k in (m.x, m.y))
        if math.hypot(vx, vy) <= 1e-6 * m.speed:
            return []
        long = now - self.near_since > self.stop
        if long.all():
            return [f"goes {vx:.4g}, {vy:.4g} m/s with a whole turn below range_min"]
        if math.hypot(lidar.x, lidar.y) > 0.1 * m.radius or scan.range_min > m.radius or not long.any():
            return []
        angles = scan.angle_min + scan.angle_increment * np.flatnonzero(long) + lidar.turn
        ahead = float(np.cos(angles - math.atan2(vy, vx)).max())
        return [f"goes {vx:.4g}, {vy:.4g} m/s towards what is nearer than range_min"] if ahead > AHEAD else []

    def _speed(self, i: GateInputs, now: float) -> list[str]:
        m, p, found = self.machine, self.h.plant, []
        rails = self.h.gate.config.guardrails
        zones, near = rails.of("speed_zone"), rails.of("near_person")
        if not zones and not near:
            return found
        if now <= max(self.news_until, self.excused_until):
            return found
        speed = p.speed()
        fastest = math.hypot(*(m.velocity[k] for k in (m.x, m.y, m.z) if k is not None))
        for g in zones:
            limit = g.bound * (1.0 + OVER) + FAST * fastest
            if speed > limit and float(g.clearance(p.x, p.y, m.radius)) < 0.0:
                found.append(f"{speed:.6g} m/s in '{g.name}' (limit {g.bound:.6g})")
        if near:
            self._people(now)
            if self.blind_since is not None and self.seen is None and now - self.blind_since < self.stop:
                return found
            if now <= self.news_until:
                return found
        for g in near:
            limit = g.bound * (1.0 + OVER) + FAST * fastest
            if speed <= limit:
                continue
            places = self.h.senses.world.people or ()
            away = min((math.hypot(x - p.x, y - p.y) for x, y in places), default=math.inf) - m.radius
            if self.seen is None or away < g.distance:
                told = "" if self.seen is not None else " that nobody tells of"
                found.append(f"{speed:.6g} m/s with a person {away:.6g} m away{told} (limit {g.bound:.6g})")
        return found

    def _people(self, now: float) -> None:
        """Whether somebody tells where people are; new ones are news."""
        told = None if "people" in self.h.senses.spoil or "people" not in self.machine.states else (
            self.h.senses.world.people)  # fmt: skip
        if told is None:
            if self.blind_since is None:
                self.blind_since = now
        else:
            self.blind_since = None
        if told != self.seen:
            self.news_until = now + self.stop
        self.seen = told

    def _joints(self, now: float, out: GateOutput) -> list[str]:
        m, q, v = self.machine, self.h.plant.q, self.h.plant.v
        assert m.ends is not None
        rails = self.h.gate.config.guardrails.of("joint_limits")
        found = []
        for k, place in enumerate(q):
            low = max([m.ends[0][k], *(g.low[k] - g.threshold for g in rails)])
            high = min([m.ends[1][k], *(g.high[k] + g.threshold for g in rails)])
            beyond = max(low - place, place - high)
            if beyond <= 0.0:
                self.beyond.pop(k, None)
                continue
            least = self.beyond.get(k, 0.0)
            sign = 1.0 if place > high else -1.0
            brakes = k in self.beyond and sign * v[k] > 0.0 >= sign * out.values[k]
            begins = self.h.tick_index == 0
            if begins or brakes or now <= max(self.limits_until, self.excused_until):
                self.beyond[k] = max(beyond, 0.0 if least == math.inf else least)
            elif beyond > (0.0 if least == math.inf else least) + JOINT * (m.ends[1][k] - m.ends[0][k]):
                found.append(f"joint {k} at {place:.6g}, its range is {low:.6g} to {high:.6g}")
        return found
