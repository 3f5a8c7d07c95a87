# SPDX-License-Identifier: Apache-2.0
"""A judge of the gate who shares no code with it: what it was given and what it let out, held to rules.

Finite, within limits, stopped within the stated time after every fault, no way out of a latch but a reset, no motion
before everything was good for ``rearm_time``, the same answer to the same question. Where the robot is and how fast is
judged by :mod:`benchmarks.rigs.gate.place_judge`.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

from benchmarks.rigs.gate.faults import Bomb
from benchmarks.rigs.gate.place_judge import PlaceJudge
from benchmarks.rigs.gate.rig import Rig
from jepa_ros.safety import REASONS, GateConfig, GateInputs, GateOutput, Mode

MOVING = (Mode.ACTIVE, Mode.LIMITED)
#: Conditions after which moving again counts towards the latch on chatter.
COUNTED = ("command", "odom", "pose", "scan", "joint_states", "clock", "late")


class Judge:
    """Looks at inputs and outputs alone, with rules of its own."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.place = PlaceJudge(rig)
        self.before: list[float] | None = None
        self.published = False
        self.when: float | None = None
        self.ros: float | None = None
        self.latched = False
        self.bad_since: dict[str, float] = {}  # condition: since when
        self.good_since: dict[str, float | None] = {"all": None, "planner": None}
        self.good_command: Any = None
        self.last_stamp = -math.inf
        self.seen: dict[str, Any] = {}
        self.image_at: float | None = None
        self.image_stamp = -math.inf
        self.teleop_at = -math.inf
        self.ros_moved: float | None = None
        self.shutdown = False
        self.enabled = True
        self.jumped = False
        self.listening = -math.inf
        self.nonsense_count = 0
        self.frozen = 0
        self.runaway_since: float | None = None
        self.sent: list[tuple[float, list[float]]] = []
        self.astray_since: float | None = None
        self.astray_from: tuple[float | None, float, bool] = (None, 0.0, False)  # stamp, how far off, coming nearer
        self.bombed = False
        self.pending, self.moved = False, False  # it was stopped by something that counts; it moved since it could
        self.resumes: tuple[float, ...] = ()
        self.counts: Counter[str] = Counter()

    @property
    def cfg(self) -> GateConfig:
        """The gate's settings now."""
        return self.rig.cfg

    def look(self, out: GateOutput) -> list[str]:
        """The rules that this tick breaks."""
        rig = self.rig
        passed = rig.steady  # the rig has moved its clocks on already; what the gate saw is in its state
        now = rig.state.steady if rig.state.steady is not None else passed
        ros, inputs = rig.last_ros, rig.last_inputs
        dt = self.cfg.period if self.when is None else now - self.when
        found = [*self._values(out, dt), *self._words(out), *self._latch(out, inputs, now)]
        bad = self._conditions(inputs, now, ros, dt)
        found += self._stops(out, bad, now)
        found += self.place.look(out, inputs, now, out.mode in MOVING, "odom" not in self.bad_since)
        found += self._chatter(out, inputs, bad, now)
        found += self._bad_for_long(out, inputs, now)
        if rig.tick_index % 37 == 0:
            found += self._pure()
        self.before, self.when, self.ros, self.published = out.decided.tolist(), now, ros, out.publish
        self.counts[out.reason] += 1
        return found

    def _values(self, out: GateOutput, dt: float) -> list[str]:
        cfg = self.cfg
        values = out.values.tolist()
        if len(values) != cfg.size or not all(math.isfinite(v) for v in values):
            return [f"the output is {values}"]
        found = []
        for k, v in enumerate(values):
            if out.publish and not cfg.low[k] - 1e-6 <= v <= cfg.high[k] + 1e-6:
                found.append(f"axis {k}: {v} is outside {cfg.low[k]} to {cfg.high[k]}")
            if self.before is None:
                continue
            b = self.before[k]
            if cfg.output == "position":
                jump = abs(v - b) > cfg.velocity[k] * min(dt, 2.0 * cfg.period) + 1e-9
                if jump and self.published and out.publish and not self._measured(k, v):
                    found.append(f"axis {k}: from {b:.4f} to {v:.4f} in {dt:.3f} s, which is not where it is measured")
                continue
            if (v * b < 0.0 or abs(v) > abs(b)) and abs(v - b) > cfg.acceleration[k] * min(dt, 2 * cfg.period) + 1e-9:
                found.append(f"axis {k}: from {b:.4f} to {v:.4f} in {dt:.3f} s is over the acceleration limit")
        return found

    def _measured(self, axis: int, value: float) -> bool:
        """Whether a joint's position is the newest that was measured, in good time (or the limit next to it)."""
        m, cfg = self.rig.last_inputs.joint_states, self.cfg
        if m is None or _nonsense(m, cfg) or self.rig.last_ros - m.stamp > cfg.states["joint_states"][0] + 0.2:
            return False
        q = m.position[list(m.names).index(cfg.joints[axis])]
        return abs(min(max(q, cfg.low[axis]), cfg.high[axis]) - value) < 1e-9

    def _words(self, out: GateOutput) -> list[str]:
        found = []
        if out.reason not in REASONS or not out.sentence or not 0.0 <= out.scale <= 1.0 or out.level not in (0, 1, 2):
            found.append(f"reason {out.reason!r}, sentence {out.sentence!r}, scale {out.scale}, level {out.level}")
        if (out.mode is Mode.ACTIVE) != (out.reason == "ok"):
            found.append(f"{out.mode.name} for the reason {out.reason}")
        return found

    def _latch(self, out: GateOutput, inputs: GateInputs, now: float) -> list[str]:
        found = []
        requests = inputs.requests
        reset = requests.reset and out.answers.get("reset", (False,))[0]
        if self.latched and out.mode is not Mode.ESTOP and not reset:
            found.append(f"came out of the latch by itself, to {out.mode.name}")
        if requests.estop and out.mode is not Mode.ESTOP:
            found.append("an emergency stop was requested and not obeyed")
        self.latched = out.mode is Mode.ESTOP
        if self.latched and self.cfg.output == "velocity" and any(out.values):
            found.append("moves although latched")
        self.shutdown = self.shutdown or requests.shutdown
        if requests.enable is not None and not (requests.enable and self.latched):
            self.enabled = requests.enable if out.answers.get("enable", (False,))[0] else self.enabled
        return found

    def _conditions(self, i: GateInputs, now: float, ros: float, dt: float) -> dict[str, tuple[bool, float, bool]]:
        """{condition: (is it bad now, how long it may last before the output is zero, does it end with arming)}."""
        cfg, stop = self.cfg, self.cfg.stop_time + 0.001
        tolerance = cfg.stamp_tolerance
        if self.ros is None or ros != self.ros:
            self.ros_moved = now
        last = self.ros if self.ros is not None and math.isfinite(self.ros) else None
        jumped = last is not None and math.isfinite(ros) and ros < last - tolerance
        if jumped:
            self.last_stamp, self.image_at, self.image_stamp = -math.inf, None, -math.inf
            self.frozen = 0  # as after a loop of a bag: pictures come again
            self.seen.pop("image", None)
        if dt > cfg.late_tick:
            self.listening = now

        def stale(m: Any, timeout: float) -> bool:
            if m is None:
                return True
            fresh = now - m.received <= timeout and m.received <= now + 0.06
            return not (fresh and -tolerance <= ros - m.stamp <= timeout + tolerance)

        bad: dict[str, tuple[bool, float, bool]] = {}
        self._note_commands(i, now, ros)
        teleop = now - self.teleop_at <= cfg.teleop_release
        held = self.good_command
        if not teleop:
            none = held is None or not now - held.received <= cfg.command_timeout or held.received > now + 0.06
            bad["command"] = (none, stop, False)
            bad["nonsense"] = (self.seen.get("nonsense") is True, 0.0, False)
        self._note_image(i, now, ros)
        old = self.image_at is None or now - self.image_at > cfg.image_timeout
        bad["image"] = (old, stop, True)
        beats = any(now - i.heartbeats.get(n, -math.inf) > cfg.heartbeat_timeout for n in cfg.heartbeats)
        bad["heartbeat"] = (beats, stop, True)
        for name in ("odom", "pose", "scan", "joint_states"):
            if name in cfg.states:
                m = getattr(i, name)
                wrong = stale(m, cfg.states[name][0]) or _nonsense(m, cfg)
                bad[name] = (wrong, 0.0, True)
        bad["clock"] = (
            not math.isfinite(ros) or jumped or now - (self.ros_moved or 0.0) > cfg.clock_timeout, 0.0, True
        )  # fmt: skip
        bad["late"] = (dt > cfg.late_tick, 0.0, True)
        bad["publisher"] = ((i.output_publishers or 0) > 1, 0.0, True)
        bad["errors"] = (bool(i.errors), 0.0, True)
        bad["exit"] = (self.shutdown, 0.0, False)
        bad["disabled"] = (not self.enabled, stop, False)
        pressed = i.estop is not None and i.estop.value is not False
        silent = cfg.estop_required and i.estop is not None and now - i.estop.received > cfg.estop_timeout
        bad["estop"] = (pressed or (silent and now - self.listening > cfg.estop_timeout), 0.0, False)
        if i.signals is not None and not teleop:
            bad["signals"] = (self._signals_bad(i), stop, False)
        if (cfg.signals_required or cfg.surprise or cfg.novelty) and not teleop:
            bad["signals_lost"] = (stale(i.signals, cfg.signals_timeout), stop, False)
        return bad

    def _signals_bad(self, i: GateInputs) -> bool:
        cfg = self.cfg
        assert i.signals is not None
        for name, value in i.signals.values.items():
            limit = 0.0 if name.startswith("guardrail/") else None
            levels = {"surprise": cfg.surprise, "novelty": cfg.novelty}.get(name)
            if levels is not None:
                limit = levels[1]
            if not math.isfinite(value) or (limit is not None and value > limit):
                return True
        return False

    def _note_commands(self, i: GateInputs, now: float, ros: float) -> None:
        cfg = self.cfg
        if i.teleop is not None and i.teleop is not self.seen.get("teleop"):
            self.seen["teleop"] = i.teleop
            self.teleop_at = i.teleop.received
        m = i.command
        if m is None or m is self.seen.get("command"):
            return
        self.seen["command"] = m
        values = m.values
        self.bombed = self.bombed or isinstance(values, Bomb)
        sound = isinstance(values, (list, tuple)) and len(values) == cfg.size and m.frame_id in ("", cfg.base_frame)
        sound = sound and all(type(v) in (int, float) and math.isfinite(v) for v in values)
        self.seen["nonsense"] = not sound
        if not sound:
            self.nonsense_count += 1
            self.good_command = None
        elif -cfg.stamp_tolerance <= ros - m.stamp <= cfg.max_stamp_age and m.stamp >= self.last_stamp - 1e-6:
            self.good_command, self.last_stamp = m, m.stamp

    def _note_image(self, i: GateInputs, now: float, ros: float) -> None:
        m = i.image
        if m is None or m is self.seen.get("image"):
            return
        again = m.checksum == getattr(self.seen.get("image"), "checksum", None)
        v = getattr(i.odom, "v", None)
        runs = isinstance(v, tuple) and all(_good(a) for a in v) and any(abs(a) > 0.2 for a in v)
        self.frozen = self.frozen + int(runs) if again else 0
        self.seen["image"] = m
        if m.stamp > self.image_stamp and m.stamp <= ros + self.cfg.stamp_tolerance:
            self.image_stamp, self.image_at = m.stamp, m.received

    def _stops(self, out: GateOutput, bad: dict[str, tuple[bool, float, bool]], now: float) -> list[str]:
        """Zero within the time allowed after each condition began; no motion before all was good for long enough."""
        cfg, found = self.cfg, []
        teleop = now - self.teleop_at <= cfg.teleop_release
        planner_only = ("image", "heartbeat")
        for name, (is_bad, allowed, _) in bad.items():
            if not is_bad or (teleop and name in planner_only):
                self.bad_since.pop(name, None)
                continue
            since = self.bad_since.setdefault(name, now)
            if out.mode in MOVING:
                found.append(f"{name} is bad, and it is {out.mode.name}")
            elif cfg.output == "velocity" and any(out.values) and now - since > allowed + 1e-9:
                found.append(f"{name} is bad for {now - since:.3f} s, and it still sends {out.values}")
        arming = [n for n, (is_bad, _, rearm) in bad.items() if is_bad and rearm]
        for scope in ("all", "planner"):
            blocking = [n for n in arming if scope == "planner" or n not in planner_only]
            if blocking or out.mode in (Mode.ESTOP, Mode.DISABLED):
                self.good_since[scope] = None
            elif self.good_since[scope] is None:
                self.good_since[scope] = now
        since_good = self.good_since["all" if teleop else "planner"]
        if out.mode in MOVING and (since_good is None or now - since_good < cfg.rearm_time - 1e-6):
            found.append(f"moves {0.0 if since_good is None else now - since_good:.3f} s after all was good")
        return found

    def _bad_for_long(self, out: GateOutput, i: GateInputs, now: float) -> list[str]:
        """What is wrong only when it lasts, or only when it is combined."""
        cfg, found = self.cfg, []
        teleop = now - self.teleop_at <= cfg.teleop_release
        moving = out.mode in MOVING
        if out.reason == "internal_fault" and not self.bombed:
            found.append(f"the gate's own code failed: {out.sentence}")
        if cfg.estop_required and i.estop is None and moving:
            found.append("moves although the required e-stop was never heard")
        models = {v for k, v in i.identities.items() if k.startswith("model/")}
        if i.signals is not None and i.signals.model_id and "model/planner" not in i.identities:
            models.add(i.signals.model_id)
        if len(models) > 1 and moving and not teleop:
            found.append(f"moves although the models differ: {models}")
        if isinstance(getattr(i.command, "values", None), Bomb) and out.mode is not Mode.ESTOP:
            found.append("an exception inside, and it did not latch")
        if out.answers.get("reset", (False,))[0]:
            self.nonsense_count, self.bombed = 0, False
        if self.nonsense_count >= cfg.bad_command_latch and out.mode is not Mode.ESTOP:
            found.append(f"{self.nonsense_count} bad commands and no latch")
        if self.frozen > cfg.frozen_images and moving and not teleop:
            found.append(f"moves with {self.frozen} frozen images")
        v = getattr(i.odom, "v", None) if cfg.output == "velocity" else None
        runs = isinstance(v, tuple) and len(v) == cfg.size and any(abs(a) > m for a, m in zip(v, cfg.motion))
        fresh = i.odom is not None and now - i.odom.received < 0.1 and not self.bad_since.get("odom")
        if any(out.values) or not runs or not fresh or not self.enabled or self.listening == now:
            self.runaway_since = None
        elif self.runaway_since is None:
            self.runaway_since = now
        elif now - self.runaway_since > cfg.stop_time + 2.0 * cfg.stop_motion_timeout and not out.hardware_estop:
            found.append(f"the robot runs on for {now - self.runaway_since:.2f} s and nothing is latched")
        return found + self._astray(out, i, now)

    def _astray(self, out: GateOutput, i: GateInputs, now: float) -> list[str]:
        """It drives while what is measured has long been none of what left over more time than any answer may take.

        Nothing is said of a base that comes nearer to what it was told, as one that still brakes does, nor of one that
        is told to stand: whether it stops is another rule's.
        """
        cfg = self.cfg
        if cfg.output != "velocity" or not cfg.motion_tolerance:
            return []
        m = i.joint_states if cfg.joints else i.odom
        v = getattr(m, "velocity" if cfg.joints else "v", None)
        good = isinstance(v, tuple) and len(v) == cfg.size and _good(*v) and self.listening != now
        beyond = [
            max(min(s) - a, a - max(s)) - cfg.motion_tolerance * most
            for a, most, s in zip(v or (), cfg.velocity, zip(*(values for _, values in self.sent)))
        ] if good else []  # fmt: skip
        off = max(beyond, default=0.0)
        stamp = getattr(m, "stamp", None)
        if stamp != self.astray_from[0]:
            self.astray_from = (stamp, off, off < self.astray_from[1] - 1e-6)
        held = [(now, values) for _, values in self.sent[-1:]]  # what left last was followed until now, however late
        recent = [(t, values) for t, values in self.sent if now - t < 0.8]
        self.sent = [*recent, *held, (now, out.decided.tolist())]
        obeys = off <= 0.0 or self.astray_from[2]
        if obeys or out.mode not in MOVING or not out.decided.any():
            self.astray_since = None
            return []
        if self.astray_since is None:
            self.astray_since = now
        lasts = now - self.astray_since
        return [f"drives for {lasts:.2f} s while {v} is measured"] if lasts > cfg.motion_timeout + 0.1 else []

    def _chatter(
        self, out: GateOutput, i: GateInputs, bad: dict[str, tuple[bool, float, bool]], now: float
    ) -> list[str]:
        """Stopped and moved again too often, and no latch (one more is granted: the gate may count differently)."""
        cfg = self.cfg
        teleop = now - self.teleop_at <= cfg.teleop_release
        if i.requests.reset:
            self.resumes = ()
        if out.mode in (Mode.ESTOP, Mode.DISABLED):
            self.pending = self.moved = False
        elif out.mode in MOVING:
            if self.pending and not teleop:
                self.pending = False
                self.resumes = (*(t for t in self.resumes if t >= now - cfg.resume_latch_window), now)
            self.moved = True
        elif self.moved and not teleop and any(bad[n][0] for n in COUNTED if n in bad):
            self.pending = True
        if len(self.resumes) > cfg.resume_latch_count + 1 and out.mode in MOVING:
            return [f"stopped and resumed {len(self.resumes)} times within {cfg.resume_latch_window:g} s, and no latch"]
        return []

    def _pure(self) -> list[str]:
        """The same question gives the same answer, and asking does not change the state."""
        rig = self.rig
        state, inputs = rig.state, rig.inputs()
        before = dict(vars(state))
        contents = repr([state.out, state.rate, state.hold, state.counts, state.interventions, list(state.cache)])
        answers = [rig.gate.step(state, inputs, rig.steady, rig.ros)[1] for _ in range(2)]
        found = []
        same = all(getattr(state, n) is v for n, v in before.items())
        if not same or contents != repr(
            [state.out, state.rate, state.hold, state.counts, state.interventions, list(state.cache)]
        ):
            found.append("a step changed the state that it was given")
        if repr(answers[0]) != repr(answers[1]):
            found.append("two answers to one question")
        return found


def _nonsense(m: Any, cfg: GateConfig) -> bool:
    """Whether the content of a state message cannot be believed."""
    try:
        name = type(m).__name__
        if name == "OdomIn":
            return m.frame_id != cfg.odom_frame or len(m.v) != cfg.size or not _good(m.x, m.y, m.yaw, *m.v)
        if name == "PoseIn":
            flat = [v for row in m.cov for v in row]
            return m.frame_id != cfg.map_frame or len(flat) != 9 or min(flat) < 0 or not _good(m.x, m.y, m.yaw, *flat)
        if name == "ScanIn":
            bad = len(m.ranges) == 0 or any(r != r for r in m.ranges)
            return m.frame_id != cfg.scan_frame or bad or not _good(m.angle_increment)
        return set(cfg.joints) - set(m.names) != set() or len(m.names) != len(m.position) or not _good(*m.position)
    except TypeError:
        return True


def _good(*values: Any) -> bool:
    return all(math.isfinite(v) for v in values)
