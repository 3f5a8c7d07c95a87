# SPDX-License-Identifier: Apache-2.0
"""What an arm truly did over a history, held to what the gate promises of its links. Judged at the end, all at once.

Two arms are judged: the one that the gate tells, by its set-points, and the real one, which follows late.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from jepa_ros.safety import GateOutput, Mode

if TYPE_CHECKING:
    from benchmarks.rigs.gate.histories import History

MOVING = (Mode.ACTIVE, Mode.LIMITED)
#: The gate's own levels, as docs/safety.md states them.
SINGULAR, FIRST, END, SLOW = (17.0, 30.0), 0.2, 0.1, 0.3
#: Room that the judge's own steps cost [m]; how much deeper what is inside already may come on its way out [m].
ROUNDING, LEAVING = 2e-4, 0.006
#: Bullet keeps a millimetre about each mesh [m].
BULLET = -0.002
#: Share by which a condition number may be over its limit, of the set-points and of the real arm: the gate looks at the
#: stop that it expects, and a joint may obey later and brake harder. The same of a speed.
OVER, FAST = {"told": 0.05, "real": 0.25}, 0.05
#: So many ticks after something new it is not judged yet, besides the time of a stop: the news has to arrive.
NEWS = 9


class ArmJudge:
    """Records each tick of an arm's history, and judges it at its end."""

    def __init__(self, history: History) -> None:
        self.h, self.machine = history, history.machine
        assert history.truth is not None
        self.truth = history.truth
        self.told: list[list[float]] = []
        self.real: list[list[float]] = []
        self.going: list[bool] = []  # it was passed on at this tick
        self.ticks: list[tuple[float, bool, Any]] = []  # (time since the last, whether it is excused, guardrails)
        self.people: list[list[tuple[float, float]] | None] = []
        self.found: list[str] = []
        self.begun = ""
        self.stop = math.ceil((self.machine.stop_time + self.machine.reaction) / self.machine.period) + NEWS
        self.excused = 0
        self.broken = False
        self.rails = history.gate.config.guardrails
        self.first = float(self.machine.settings.get("first_command", FIRST))

    def excuse(self, k: int) -> None:
        """From this tick on it has the time of a stop to make something of what is new."""
        self.excused = k + self.stop

    def note(self, k: int, out: GateOutput, dt: float, odd: bool) -> None:
        """One tick, after the plant has moved on."""
        h, p = self.h, self.h.plant
        self.broken = self.broken or p.broken or p.jammed is not None
        if h.gate.config.guardrails is not self.rails:
            self.rails = h.gate.config.guardrails
            self.excuse(k)
        if odd or dt > 1.01 * self.machine.period or out.mode in (Mode.DISABLED, Mode.ESTOP, Mode.ARMING):
            self.excuse(k)
        moving = out.mode in MOVING
        self._begins(k, out, moving)
        self.told.append(out.values.tolist() if self.machine.position and out.publish else list(p.q))
        self.real.append(list(p.q))
        self.going.append(moving)
        self.ticks.append((dt, k < self.excused, self.rails))
        self.people.append(None if h.inputs.people is None else list(h.senses.world.people or []))

    def _begins(self, k: int, out: GateOutput, moving: bool) -> None:
        """A stream of positions does not begin with a jump."""
        if not self.machine.position:
            return
        source = out.source if moving else ""
        if source != self.begun:
            self.begun = ""
        held = None if not moving else (self.h.judge.operator if source == "teleop" else self.h.judge.planner).good
        if held is None or held.still or self.begun:
            return
        self.begun = source
        message = self.h.inputs.joint_states
        at = dict(zip(message.names, message.position)) if message is not None else {}
        for name, unit, asked in zip(self.machine.contract.command.joints, self.machine.units, held.values):
            if unit == "rad" and abs(asked - at.get(name, asked)) > self.first * (1.0 + 1e-6):
                self.found.append(f"tick {k}: a stream begins {abs(asked - at[name]):.3f} rad from '{name}'")
                return

    def verdicts(self) -> list[str]:
        """Every rule that was broken, as a sentence."""
        if self.broken or not self.told:
            return self.found
        told, real = np.array(self.told), np.array(self.real)
        arms = [("told", told), ("real", real)] if self.machine.position else [("real", real)]
        for what, q in arms:
            if not np.isfinite(q).all():
                continue
            ends = self.truth.ends(q)
            self._boxes(what, ends)
            self._selves(what, q, ends)
            self._singular(what, q)
            self._speeds(what, q, ends)
        self._jerks(told)
        self._near_ends(told)
        return self.found

    def _kept(self, what: str, room: np.ndarray, name: str, which: np.ndarray) -> None:
        """Room (T,) may not fall below 0; what is less already, by no fault of the gate, only grows."""
        least = -math.inf
        for k, value in enumerate(room):
            if not which[k]:
                least = -math.inf
                continue
            if self.ticks[k][1] or least == -math.inf:
                least = min(0.0, float(value)) if least == -math.inf or value < least else least
            elif value < least - ROUNDING - (LEAVING if least < 0.0 else 0.0):
                self.found.append(f"tick {k}: {what}: {name} ({1e3 * value:.1f} mm, allowed {1e3 * least:.1f})")
                return
            else:
                least = min(0.0, max(least, float(value)))

    def _boxes(self, what: str, ends: np.ndarray) -> None:
        sets = [entry[2] for entry in self.ticks]
        for rails in {id(s): s for s in sets}.values():
            which = np.array([s is rails for s in sets])
            for item in rails.to_list():
                if item["kind"] == "keep_out":
                    room = self.truth.outside(ends, item["box"]) - item["margin"]
                    self._kept(what, room, f"a link enters '{item['name']}'", which)
                elif item["kind"] in ("keep_in", "workspace"):
                    box = item.get("box") or {
                        "center": [0.5 * (a + b) for a, b in zip(item["low"], item["high"])],
                        "size": [b - a for a, b in zip(item["low"], item["high"])],
                    }
                    room = self.truth.inside(ends, box) - item.get("margin", 0.0)
                    self._kept(what, room, f"a link leaves '{item['name']}'", which)

    def _selves(self, what: str, q: np.ndarray, ends: np.ndarray) -> None:
        if not self.machine.settings.get("self_collision", True):
            return
        gaps = self.truth.selves(ends)
        for pair in np.flatnonzero(gaps.min(0) < 0.0):
            room = gaps[:, pair].copy()
            names = " and ".join(f"'{self.truth.names[k]}'" for k in self.truth.pairs[pair])
            for k in np.flatnonzero(room < 0.0):
                room[k] = self._meshes(q[k], int(pair), float(room[k]))
            self._kept(what, room, f"{names} touch", np.ones(len(room), bool))

    def _meshes(self, q: np.ndarray, pair: int, capsules: float) -> float:
        """How far two links are apart, by their meshes; with what the hand carries by the capsules alone."""
        if any(self.truth.carried[k] for k in self.truth.pairs[pair]):
            return capsules
        found = self.truth.meshes(q, pair)
        return max(capsules, 0.0 if BULLET < found < 0.0 else found)

    def _singular(self, what: str, q: np.ndarray) -> None:
        levels = self.machine.settings.get("singularity", SINGULAR)
        if levels is None:
            return
        number = self.truth.condition(q)
        most = math.inf
        for k, value in enumerate(number):
            limit = max(levels[1], most) if most < math.inf else levels[1]
            if self.ticks[k][1] or k == 0:
                most = max(levels[1], float(value))
            elif value > limit * (1.0 + OVER[what]):
                self.found.append(f"tick {k}: {what}: condition number {value:.1f}, allowed {limit:.1f}")
                return
            else:
                most = max(levels[1], min(most, float(value)))

    def _speeds(self, what: str, q: np.ndarray, ends: np.ndarray) -> None:
        """The tip's speed, always and near people; once there was time to slow down."""
        tip = self.truth.tip(q)
        speed = np.linalg.norm(np.diff(tip, axis=0), axis=1)
        limit = self.machine.contract.limits.tip_speed
        since: dict[str, int] = {}
        flat = ends[:, self.truth.free][..., :2]
        for k in range(1, len(q)):
            # A set-point is of the beginning of its tick, where the arm truly is of its end.
            dt, (_, excused, rails) = self.ticks[k - 1 if what == "told" else k][0], self.ticks[k]
            if dt <= 0.5 * self.machine.period or not math.isfinite(dt):
                continue
            bounds = {} if limit is None else {"limits.tip_speed": limit}
            for g in rails.of("near_person"):
                people = self.people[k]
                if people is None or self._near(flat[k], people, g.distance):
                    bounds[g.name] = g.limit
            for name in [n for n in since if n not in bounds]:
                del since[name]
            for name, bound in bounds.items():
                begun = since.setdefault(name, k)
                waited = name == "limits.tip_speed" or k - begun > self.stop
                if waited and not excused and speed[k - 1] / dt > bound * (1.0 + FAST) + 1e-4:
                    said = f"the tip goes at {speed[k - 1] / dt:.3f} m/s ('{name}' allows {bound:.3f})"
                    self.found.append(f"tick {k}: {what}: {said}")
                    return

    def _near(self, flat: np.ndarray, people: list[tuple[float, float]], distance: float) -> bool:
        start, along = flat[:, 0], flat[:, 1] - flat[:, 0]
        for place in people:
            to = np.array(place) - start
            share = np.clip((to * along).sum(-1) / np.maximum((along * along).sum(-1), 1e-12), 0.0, 1.0)
            away = np.linalg.norm(to - share[:, None] * along, axis=-1) - self.truth.radius[self.truth.free]
            if away.min() < distance:
                return True
        return False

    def _jerks(self, told: np.ndarray) -> None:
        """What speeds up does so no more suddenly than the jerk limits allow."""
        jerk = self.machine.contract.limits.jerk
        if jerk is None or not self.machine.position:
            return
        dts = [entry[0] for entry in self.ticks]
        period = self.machine.period
        for k in range(3, len(told)):
            even = all(abs(dt - period) < 1e-9 for dt in dts[k - 3 : k])
            if not even or not all(self.going[k - 2 : k + 1]):
                continue
            v = np.diff(told[k - 3 : k + 1], axis=0) / period
            faster = (v[2] * v[1] >= 0.0) & (np.abs(v[2]) > np.abs(v[1]))
            grown = np.abs(v[2]) - np.abs(v[1])
            before = np.maximum((v[1] - v[0]) * np.sign(v[2]), 0.0)
            over = np.where(faster, grown - before - jerk * period**2, -1.0)
            if (over > 1e-6 * np.array(self.machine.velocity) + 1e-9).any():
                self.found.append(f"tick {k}: joint {int(over.argmax())} speeds up over its jerk limit")
                return

    def _near_ends(self, told: np.ndarray) -> None:
        """Near the end of its range a joint that goes there is slow."""
        m = self.machine
        if not m.position or m.ends is None:
            return
        low, high = np.array(m.ends)
        turns = np.array([u == "rad" for u in m.units])
        for k in range(1, len(told)):
            dt, excused = self.ticks[k - 1][0], self.ticks[k][1]
            if excused or not self.going[k] or dt <= 0.5 * m.period or dt > 1.01 * m.period:
                continue
            v = (told[k] - told[k - 1]) / dt
            room = np.where(v > 0.0, high - told[k - 1], told[k - 1] - low)
            over = turns & (room < END) & (room > 0.0) & (np.abs(v) > SLOW * np.array(m.velocity) * 1.02 + 1e-9)
            if over.any():
                j = int(over.argmax())
                said = f"joint {j} goes at {v[j]:.3f} rad/s, {room[j]:.3f} rad from its end"
                self.found.append(f"tick {k}: {said}")
                return
