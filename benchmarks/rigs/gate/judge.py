# SPDX-License-Identifier: Apache-2.0
"""A judge of the gate who shares no code with it: what it was given and what it let out, held to what is promised.

Here: stopped in time after every fault, no way out of a latch but a reset, no motion before everything was good for
``rearm_time``, words that fit, the same answer to the same question. What leaves is judged by
:mod:`benchmarks.rigs.gate.stream_judge`, where the robot is by :mod:`benchmarks.rigs.gate.place_judge`.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Any

from benchmarks.rigs.gate.faults import Bomb
from benchmarks.rigs.gate.motion_judge import MotionJudge
from benchmarks.rigs.gate.place_judge import PlaceJudge
from benchmarks.rigs.gate.stream_judge import StreamJudge
from jepa_ros.safety import REASONS, GateInputs, GateOutput, Mode

if TYPE_CHECKING:
    from benchmarks.rigs.gate.histories import History

MOVING = (Mode.ACTIVE, Mode.LIMITED)
#: Conditions after which moving again counts towards the latch on chatter.
COUNTED = ("command", "odom", "pose", "scan", "joint_states", "clock", "late")
#: Those that do not concern an operator who drives.
OF_THE_PLANNER = ("image", "heartbeat")
#: The gate's own times, as docs/safety.md states them [s]; a message of the future by so much is of this machine.
CLOCK_TIMEOUT, LATE_TICK, TELEOP_RELEASE, FUTURE = 0.3, 0.25, 1.0, 0.05
LEVELS = {"surprise": (1.0, 2.0), "novelty": (1.0, 2.0)}
FROZEN = 3


class Source:
    """What is to be followed of one source of commands: the last good message, and whether the newest was nonsense."""

    def __init__(self) -> None:
        self.newest: Any = None
        self.good: Any = None
        self.nonsense = False
        self.stamp = -math.inf
        self.count = 0  # of nonsense

    def take(self, m: Any, judge: Judge, ros: float) -> bool:
        """Look at the newest message; whether it is new."""
        if m is None or m is self.newest:
            return False
        self.newest = m
        machine, values = judge.machine, m.values
        judge.bombed = judge.bombed or (isinstance(values, Bomb) and not m.still)
        sound = machine.joints or m.frame_id in ("", machine.contract.frames.base)
        if not m.still:  # of a command to stand still nobody looks at the numbers
            sound = sound and isinstance(values, (list, tuple)) and len(values) == machine.size
            sound = sound and all(type(v) in (int, float) and math.isfinite(v) for v in values)
        self.nonsense = not sound
        if not sound:
            self.count += 1
            self.good = None
        elif (-machine.dog.stamp_tolerance <= ros - m.stamp <= machine.dog.max_stamp_age
              and m.stamp >= self.stamp - 1e-6):  # fmt: skip
            self.good, self.stamp = m, m.stamp
        return True


class Judge:
    """Looks at inputs and outputs alone, with rules of its own."""

    def __init__(self, history: History) -> None:
        self.h, self.machine = history, history.machine
        self.place = PlaceJudge(history)
        self.stream = StreamJudge(history)
        self.motion = MotionJudge(history)
        self.when: float | None = None
        self.ros: float | None = None
        self.latched = False
        self.bad_since: dict[str, float] = {}  # condition: since when, by the ticks that the gate was run
        self.good_since: dict[str, float | None] = {"all": None, "planner": None}
        self.planner, self.operator = Source(), Source()
        self.sound: dict[str, tuple[Any, bool]] = {}  # {state topic: (newest message, whether it is nonsense)}
        self.image: Any = None
        self.image_at: float | None = None
        self.image_stamp = -math.inf
        self.teleop_at = -math.inf
        self.ros_moved: float | None = None
        self.shutdown = False
        self.enabled = True
        self.listening = -math.inf
        self.frozen = 0
        self.bombed = self.reset = False  # an input was such that looking at it raises; a reset was granted now
        self.run_time = 0.0  # of the gate, late ticks counted as two periods
        self.pending, self.moved = False, False  # stopped by something that counts; it moved since it could
        self.resumes: tuple[float, ...] = ()
        self.counts: Counter[str] = Counter()

    def look(self, out: GateOutput) -> list[str]:
        """The rules that this tick breaks."""
        h = self.h
        now, ros, i = h.steady, h.ros, h.inputs
        dt = self.machine.period if self.when is None else now - self.when
        self.run_time += min(dt, 2.0 * self.machine.period)
        moving = out.mode in MOVING
        self.stream.note(i)
        found = self._words(out)
        found += self._latch(out, i, now)
        bad, odd = self._conditions(i, now, ros, dt)
        if dt > 1.01 * self.machine.period or odd:
            self.place.excuse(now, dt - self.machine.period, odd)
        teleop = now - self.teleop_at <= TELEOP_RELEASE
        found += self._stops(out, bad, now, teleop, moving)
        held = (self.operator if teleop else self.planner).good
        found += self.stream.look(out, i, dt, moving, held)
        found += self.place.look(out, i, now, moving)
        found += self.motion.look(out, i, now, moving, self.enabled, self.listening == now)
        found += self._chatter(out, i, bad, now, teleop, moving)
        found += self._combined(out, i, now, teleop, moving)
        if h.tick_index == 43 and h.seed % 4 == 0:
            found += self._pure()
        self.when, self.ros = now, ros if math.isfinite(ros) else self.ros  # no number is no time to jump from
        self.counts[out.reason] += 1
        return found

    # ------------------------------------------------------------ words and latches

    def _words(self, out: GateOutput) -> list[str]:
        if out.reason not in REASONS or not out.sentence or not 0.0 <= out.scale <= 1.0 or out.level not in (0, 1, 2):
            return [f"reason {out.reason!r}, sentence {out.sentence!r}, scale {out.scale}, level {out.level}"]
        if (out.mode is Mode.ACTIVE) != (out.reason == "ok"):
            return [f"{out.mode.name} for the reason {out.reason}"]
        return []

    def _latch(self, out: GateOutput, i: GateInputs, now: float) -> list[str]:
        found, requests = [], i.requests
        reset = requests.reset and out.answers.get("reset", (False,))[0]
        self.reset = bool(reset)
        if self.latched and out.mode is not Mode.ESTOP and not reset:
            found.append(f"came out of the latch by itself, to {out.mode.name}")
        if requests.estop and out.mode is not Mode.ESTOP:
            found.append("an emergency stop was requested and not obeyed")
        if reset and self.latched and self.motion.runs(i, now, self.machine):
            found.append("a reset is granted while the robot is measured to move")
        self.latched = out.mode is Mode.ESTOP
        self.shutdown = self.shutdown or requests.shutdown
        if requests.enable is not None and not (requests.enable and self.latched):
            self.enabled = requests.enable if out.answers.get("enable", (False,))[0] else self.enabled
        if reset:
            self.resumes = ()
        return found

    # ------------------------------------------------------------ what is wrong now

    def _stale(self, m: Any, timeout: float, now: float, ros: float) -> bool:
        if m is None or not (now - m.received <= timeout and m.received <= now + FUTURE):
            return True
        tolerance = self.machine.dog.stamp_tolerance
        return not -tolerance <= ros - m.stamp <= timeout + tolerance

    def _conditions(
        self, i: GateInputs, now: float, ros: float, dt: float
    ) -> tuple[dict[str, tuple[bool, float, bool]], bool]:
        """({condition: (is it bad now, how long it may last before the robot is told to stand, does it end with
        arming)}, whether the clocks are odd)."""
        m, dog = self.machine, self.machine.dog
        stop = m.stop_time + 0.001 + (0.0 if not m.position else 3.0 * m.period)
        if self.ros is None or ros != self.ros:
            self.ros_moved = now
        last = self.ros if self.ros is not None and math.isfinite(self.ros) else None
        jumped = last is not None and math.isfinite(ros) and ros < last - dog.stamp_tolerance
        if jumped:
            self.planner.stamp = self.operator.stamp = self.image_stamp = -math.inf
            self.image_at, self.frozen, self.image = None, 0, None
        odd = not math.isfinite(ros) or (last is not None and abs(ros - last - dt) > 1e-6)
        if dt > LATE_TICK:
            self.listening = now
        if self.operator.take(i.teleop, self, ros):
            self.teleop_at = i.teleop.received  # type: ignore[union-attr]
        self.planner.take(i.command, self, ros)
        self._note_image(i, ros)
        if i.requests.reset and self.reset:  # what came on this very tick is forgiven too
            self.planner.count = self.operator.count = 0
            self.bombed = False
        bad: dict[str, tuple[bool, float, bool]] = {}
        teleop = now - self.teleop_at <= TELEOP_RELEASE
        source = self.operator if teleop else self.planner
        held = source.good
        none = held is None or not now - held.received <= dog.command_timeout or held.received > now + FUTURE
        bad["command"] = (none, stop, False)
        bad["nonsense"] = (source.nonsense, 0.0, False)
        bad["image"] = (self.image_at is None or now - self.image_at > dog.image_timeout, stop, True)
        beats = (now - i.heartbeats.get(n, -math.inf) for n in ("perception", "planner"))
        bad["heartbeat"] = (any(age > dog.heartbeat_timeout for age in beats), stop, True)
        for name, (timeout, required) in m.states.items():
            message = getattr(i, name)
            if message is None and not required:
                continue
            known = self.sound.get(name)
            if known is None or known[0] is not message:
                known = self.sound[name] = (message, message is not None and nonsense(message, m))
            bad[name] = (known[1] or self._stale(message, timeout, now, ros), 0.0, True)
        if m.force is not None and i.wrench is not None and not bad["wrench"][0]:
            bad["force"] = (math.dist(i.wrench.force, (0.0, 0.0, 0.0)) >= m.force[1], 0.0, False)
        still = now - (self.ros_moved or 0.0) > CLOCK_TIMEOUT
        bad["clock"] = (not math.isfinite(ros) or jumped or still, 0.0, True)
        bad["late"] = (dt > LATE_TICK, 0.0, True)
        bad["publisher"] = ((i.output_publishers or 0) > 1, 0.0, True)
        bad["errors"] = (bool(i.errors), 0.0, True)
        bad["exit"] = (self.shutdown, 0.0, False)
        bad["disabled"] = (not self.enabled, stop, False)
        bad["latched"] = (self.latched, 0.0, False)
        pressed = i.estop is not None and i.estop.value is not False
        silent = dog.estop_required and i.estop is not None and now - i.estop.received > dog.estop_timeout
        bad["estop"] = (pressed or (silent and now - self.listening > dog.estop_timeout), 0.0, False)
        if not teleop:
            if i.signals is not None:
                bad["signals"] = (self._signals_bad(i), stop, False)
            settings = m.settings
            if settings.get("signals_required") or settings.get("surprise"):
                bad["signals_lost"] = (self._stale(i.signals, dog.command_timeout, now, ros), stop, False)
        return bad, odd

    def _signals_bad(self, i: GateInputs) -> bool:
        assert i.signals is not None
        for name, value in i.signals.values.items():
            watched = self.machine.settings.get(name)
            limit = 0.0 if name.startswith("guardrail/") else watched[1] if watched is not None else None
            if not math.isfinite(value) or (limit is not None and value > limit):
                return True
        return False

    def _note_image(self, i: GateInputs, ros: float) -> None:
        m = i.image
        if m is None or m is self.image:
            return
        again = m.checksum == getattr(self.image, "checksum", None)
        runs = self.motion.runs(i, self.h.steady, self.machine)
        self.frozen = self.frozen + int(runs) if again else 0
        self.image = m
        if m.stamp > self.image_stamp and m.stamp <= ros + self.machine.dog.stamp_tolerance:
            self.image_stamp, self.image_at = m.stamp, m.received

    # ------------------------------------------------------------ what has to follow

    def _stops(
        self, out: GateOutput, bad: dict[str, tuple[bool, float, bool]], now: float, teleop: bool, moving: bool
    ) -> list[str]:
        """It stands within the time allowed after each condition began; it moves only after all was good."""
        found = []
        going = self.stream.going(out)
        arming = {"all": False, "planner": False}
        for name, (is_bad, allowed, rearm) in bad.items():
            if is_bad and rearm:
                arming["planner"] = True
                arming["all"] = arming["all"] or name not in OF_THE_PLANNER
            if not is_bad or (teleop and name in OF_THE_PLANNER):
                self.bad_since.pop(name, None)
                continue
            since = self.bad_since.setdefault(name, self.run_time)
            if self.machine.position:
                allowed = self.machine.stop_time + 3.0 * self.machine.period
            if moving:
                found.append(f"{name} is bad, and it is {out.mode.name}")
            elif going and self.run_time - since > allowed + 1e-9:
                found.append(f"{name} is bad for {self.run_time - since:.3f} s, and it still goes: {out.values}")
        for scope, blocked in arming.items():
            if blocked or out.mode in (Mode.ESTOP, Mode.DISABLED):
                self.good_since[scope] = None
            elif self.good_since[scope] is None:
                self.good_since[scope] = now
        since_good = self.good_since["all" if teleop else "planner"]
        rearm_time = self.machine.dog.rearm_time
        if moving and (since_good is None or now - since_good < rearm_time - 1e-6):
            found.append(f"moves {0.0 if since_good is None else now - since_good:.3f} s after all was good")
        return found

    def _combined(self, out: GateOutput, i: GateInputs, now: float, teleop: bool, moving: bool) -> list[str]:
        """What is wrong only when it lasts, or only when it is combined."""
        found, dog = [], self.machine.dog
        if out.reason == "internal_fault" and not self.bombed:
            found.append(f"the gate's own code failed: {out.sentence}")
        if dog.estop_required and i.estop is None and moving:
            found.append("moves although the required e-stop was never heard")
        if i.identities and moving and not teleop:
            models = {v for k, v in i.identities.items() if k.startswith("model/")}
            if len(models) > 1:
                found.append(f"moves although the models differ: {models}")
        bomb = i.command is not None and isinstance(i.command.values, Bomb) and not i.command.still
        if bomb and out.mode is not Mode.ESTOP:
            found.append("an exception inside, and it did not latch")
        count = self.planner.count + self.operator.count
        if count >= dog.bad_command_latch and out.mode is not Mode.ESTOP and not self._forgets(now):
            found.append(f"{count} bad commands and no latch")
        if self.frozen > FROZEN and moving and not teleop:
            found.append(f"moves with {self.frozen} frozen images")
        return found

    def _forgets(self, now: float) -> bool:
        """Whether the window in which bad commands are counted may have passed since the first."""
        return now - 100.0 > self.machine.dog.resume_latch_window

    def _chatter(
        self, out: GateOutput, i: GateInputs, bad: dict[str, tuple[bool, float, bool]], now: float, teleop: bool,
        moving: bool,
    ) -> list[str]:  # fmt: skip
        """Stopped and moved again too often, and no latch (one more is granted: the gate may count differently)."""
        dog = self.machine.dog
        if out.mode in (Mode.ESTOP, Mode.DISABLED):
            self.pending = self.moved = False
        elif moving:
            if self.pending and not teleop:
                self.pending = False
                self.resumes = (*(t for t in self.resumes if t >= now - dog.resume_latch_window), now)
            self.moved = True
        elif self.moved and not teleop and any(bad[n][0] for n in COUNTED if n in bad):
            self.pending = True
        if len(self.resumes) > dog.resume_latch_count + 1 and moving:
            return [f"stopped and resumed {len(self.resumes)} times within {dog.resume_latch_window:g} s, and no latch"]
        return []

    def _pure(self) -> list[str]:
        """The same question gives the same answer, and asking does not change the state."""
        h = self.h
        state = h.state
        before = dict(vars(state))
        contents = repr(sorted((n, v) for n, v in before.items() if n != "cache"))
        answers = [h.gate.step(state, h.inputs, h.steady + 1e-3, h.ros + 1e-3)[1] for _ in range(2)]
        found = []
        same = all(getattr(state, n) is v for n, v in before.items())
        if not same or contents != repr(sorted((n, v) for n, v in vars(state).items() if n != "cache")):
            found.append("a step changed the state that it was given")
        if repr(answers[0]) != repr(answers[1]):
            found.append("two answers to one question")
        return found


def nonsense(m: Any, machine: Any) -> bool:
    """Whether the content of a state message cannot be believed."""
    frames = machine.contract.frames
    try:
        name = type(m).__name__
        if name == "OdomIn":
            return m.frame_id != frames.odom or len(m.v) != machine.size or not finite(m.x, m.y, m.yaw, *m.v)
        if name == "PoseIn":
            flat = [v for row in m.cov for v in row]
            return m.frame_id != frames.map or len(flat) != 9 or min(flat) < 0 or not finite(m.x, m.y, m.yaw, *flat)
        if name == "ScanIn":
            frame = machine.contract.lidar().get("scan_frame", frames.base)
            return m.frame_id != frame or len(m.ranges) == 0 or any(r != r for r in m.ranges) or not finite(
                m.angle_increment)  # fmt: skip
        if name == "PeopleIn":
            flat = [v for place in m.positions for v in place]
            return m.frame_id != frames.map or len(m.positions) > 100 or not finite(*flat)
        if name == "ContactIn":
            return False
        if name == "WrenchIn":
            return len(m.force) != 3 or not finite(*m.force)
        if len(m.names) != len(m.position) or not finite(*m.position):
            return True
        return bool(set(machine.contract.command.joints) - set(m.names))
    except TypeError:
        return True


def finite(*values: Any) -> bool:
    """Whether all of them are numbers."""
    return all(math.isfinite(v) for v in values)
