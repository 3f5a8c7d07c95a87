# SPDX-License-Identifier: Apache-2.0
"""The control steps of a run of images over which time did not jump: what was executed in each, and which are used."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np

from jepa_ros.agent.bodies import executed_log
from jepa_ros.agent.odometry import farthest
from jepa_ros.agent.step_clock import StepClock
from jepa_ros.bags.dataset.segments import Segment
from jepa_ros.bags.dataset.series import Series
from jepa_ros.contract import RobotContract
from jepa_ros.safety.inputs import JointsIn
from jepa_ros.safety.output import MOVING_NAMES

BREAKS = ("carried or reset", "gate DISABLED")
"""After these the robot may stand in another room, or what stands about may have been moved."""


def _tolerance(contract: RobotContract) -> float:
    """How much longer or shorter than the period a step may be [s].

    Half a frame; where the camera's rate is no multiple of the control rate, also what the frames' own grid does to it.
    """
    camera = contract.step_camera.rate
    frames = camera * contract.period
    grid = 0.0 if frames < 1.0 else max(math.ceil(frames - 1e-6) - frames, frames - math.floor(frames + 1e-6)) / camera
    return max(0.5 * min(1.0 / camera, contract.period), grid * 1.1) + 1e-6


class Run:
    """The steps of one run of images over which time did not jump."""

    def __init__(self, contract, settings, series, images, origin, report) -> None:
        self._contract, self._settings, self._report, self._origin = contract, settings, report, origin
        self._series = series
        self._reference = self._make_reference(images)
        self._stamps = {name: self._stamps_of(values) for name, values in series.items() if name != "image"}
        clock = StepClock(contract.rate, contract.step_camera.rate)
        begins = [clock.begins_step(stamp * 1e-9) for stamp in images[:, 1].tolist()]
        self._starts = images[np.array(begins, bool)]  # (S, 2) log time, stamp

    def _make_reference(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(log times, stamps) of a stamped topic with little delay, by which unstamped messages are placed."""
        for name in ("gate", "command", "pose"):
            times, stamps = self._series[name].arrays()
            if len(times) > 1 and (stamps > 0).all():
                return times, stamps
        return images[:, 0], images[:, 1]

    def _stamps_of(self, values: Series) -> np.ndarray:
        """Stamps in ns, those that are missing estimated from the reference."""
        times, stamps = values.arrays()
        missing = stamps <= 0
        if missing.any():
            at = np.clip(np.searchsorted(self._reference[0], times[missing], "right") - 1, 0, None)
            stamps[missing] = self._reference[1][at] + times[missing] - self._reference[0][at]
        return stamps

    def segments(self, first_layout: int) -> list[Segment]:
        """The episodes of the run, in their order; their layouts count from `first_layout`."""
        starts, contract = self._starts, self._contract
        count = len(starts) - 1
        if count < 1:
            return []
        self._report.steps += count
        actions = self._executed()
        poses, states = self._poses(), self._states()
        reasons = [self._reason(k, actions[k], poses[k : k + 2]) for k in range(count)]
        for name, values in states.items():
            unknown = ~np.isfinite(values[:count]).all(1)
            reasons = [reason or ("no " + name if missing else "") for reason, missing in zip(reasons, unknown)]
        self._mark_idle(actions, reasons)
        asked, contacts = self._asked(actions), self._contacts()
        breaks = np.array([reason in BREAKS for reason in reasons])
        moved = np.cumsum(breaks & ~np.concatenate([[False], breaks[:-1]]))
        segments = []
        for first, last in self._runs(reasons):
            rows = slice(first, last)
            segments.append(
                Segment(
                    starts[rows, 0], starts[rows, 1], actions[rows].astype(np.float32), asked[rows].astype(np.float32),
                    poses[rows].astype(np.float32), contacts[rows],
                    0 if self._settings.static else first_layout + int(moved[first]),
                    {f"state_{name}": values[rows].astype(np.float32) for name, values in states.items()},
                )
            )  # fmt: skip
        return segments if contract.action_dim else []

    # ------------------------------------------------------------ what happened in a step
    def _executed(self) -> np.ndarray:
        """The executed action of each step, (S-1, A); NaN where it is not known."""
        contract, starts = self._contract, self._starts
        log, size = executed_log(contract), len(contract.axes)
        values = self._series["command"].values
        good = np.array([v.shape == (size,) and bool(np.isfinite(v).all()) for v in values], bool)
        joints = self._series["joint_states"].values if contract.kinematics.arm is not None else []
        first = next((v for v in joints if np.isfinite(v).all()), None)
        if first is not None:
            log.measured("joint_states", JointsIn(0.0, 0.0, contract.command.joints, first))
        stamps = self._stamps["command"]
        result, fed = np.full((len(starts) - 1, contract.action_dim), math.nan), 0
        order = np.argsort(stamps, kind="stable")
        order = order[good[order]]
        # A silence of the gate is not a command that holds: it publishes at every tick.
        silence = max(5.0 / contract.gate_rate, 0.1)
        for k in range(len(starts) - 1):
            begin, end = int(starts[k, 1]), int(starts[k + 1, 1])
            while fed < len(order) and stamps[order[fed]] < end:
                log.add(stamps[order[fed]] * 1e-9, values[order[fed]])
                fed += 1
            inside = stamps[order[max(0, fed - 256) : fed]]
            near = inside[inside >= begin - int(silence * 1e9)]
            edges = np.concatenate([near, [end]])
            if len(near) == 0 or near[0] > begin or (np.diff(edges) > silence * 1e9).any():
                continue
            mean = log.mean(begin * 1e-9, end * 1e-9)
            if mean is not None:
                result[k] = mean
        return result

    def _poses(self) -> np.ndarray:
        """Localisation at each start, (S, 3), interpolated; NaN where none is near."""
        wanted = self._starts[:, 1]
        result = np.full((len(wanted), 3), math.nan)
        if not self._series["pose"].times:
            return result
        order = np.argsort(self._stamps["pose"], kind="stable")
        stamps = self._stamps["pose"][order]
        rows = np.array(self._series["pose"].values, float)[order]
        good = np.isfinite(rows).all(1)
        stamps, rows = stamps[good], rows[good]
        if not len(stamps):
            return result
        state = self._contract.state.get("pose")
        reach = (state.timeout if state else 0.5) * 1e9
        after = np.clip(np.searchsorted(stamps, wanted), 0, len(stamps) - 1)
        before = np.clip(np.searchsorted(stamps, wanted, "right") - 1, 0, len(stamps) - 1)
        gap = np.maximum(np.abs(stamps[after] - wanted), np.abs(wanted - stamps[before]))
        yaw = np.unwrap(rows[:, 2])
        base = stamps[0]
        for axis, column in enumerate((rows[:, 0], rows[:, 1], yaw)):
            result[:, axis] = np.interp((wanted - base) * 1e-9, (stamps - base) * 1e-9, column)
        result[:, 2] = np.angle(np.exp(1j * result[:, 2]))
        result[gap > reach] = math.nan
        return result

    def _states(self) -> dict[str, np.ndarray]:
        """State vectors at each start, {name: (S, n)}, the newest that was measured by then; NaN where that is old."""
        found = {}
        for state in self._contract.kept_state:
            wanted, stamps = self._starts[:, 1], self._stamps[state.name]
            order = np.argsort(stamps, kind="stable")
            rows = np.array(self._series[state.name].values, float).reshape(-1, len(state.values))[order]
            values = np.full((len(wanted), len(state.values)), math.nan)
            if len(rows):
                at = np.searchsorted(stamps[order], wanted, "right") - 1
                age = wanted - stamps[order][at.clip(0)]
                fresh = (at >= 0) & (age <= self._contract.state[state.name].timeout * 1e9)
                values[fresh] = rows[at[fresh]]
            found[state.name] = values
        return found

    def _contacts(self) -> np.ndarray:
        """True for steps during which the bumper was pressed, (S-1,)."""
        pressed = np.array(self._series["contact"].values, bool)
        stamps = np.sort(self._stamps["contact"][pressed]) if len(pressed) else np.empty(0, np.int64)
        begin, end = self._starts[:-1, 1], self._starts[1:, 1]
        return np.searchsorted(stamps, end) > np.searchsorted(stamps, begin)

    def _asked(self, actions: np.ndarray) -> np.ndarray:
        """What planner or operator asked for, (S-1, A); where nothing was, what was executed."""
        result = np.where(np.isfinite(actions), actions, 0.0)
        if self._contract.kinematics.arm is not None:
            return result  # its commands are of joints: what was asked of the tip is not recorded
        planned = dict(zip(self._stamps["asked"].tolist(), self._series["asked"].values, strict=True))
        teleop_at = self._stamps["teleop"]
        for k, (begin, end) in enumerate(zip(self._starts[:-1, 1].tolist(), self._starts[1:, 1].tolist(), strict=True)):
            found = planned.get(begin)
            if found is None and len(teleop_at):
                inside = np.flatnonzero((teleop_at >= begin) & (teleop_at < end))
                found = self._series["teleop"].values[inside[0]] if len(inside) else None
            if found is not None and np.isfinite(found).all():
                result[k] = found
        return result

    # ------------------------------------------------------------ where to cut
    def _reason(self, k: int, action: np.ndarray, poses: np.ndarray) -> str:
        """Why step k cannot be used; '' when it can."""
        contract = self._contract
        begin, end = int(self._starts[k, 1]), int(self._starts[k + 1, 1])
        late = (end - begin) * 1e-9 - contract.period
        tolerance = _tolerance(contract)
        if late > tolerance:
            return "image gap"
        if late < -tolerance:
            return "irregular step"
        modes = self._modes_between(begin, end)
        if modes is not None:
            if not modes:
                return "no gate state"
            if not modes <= set(MOVING_NAMES):
                return f"gate {sorted(modes - set(MOVING_NAMES))[0]}"
        if not np.isfinite(action).all():
            return "no command"
        if self._series["pose"].times:
            if not np.isfinite(poses).all():
                return "no pose"
            if math.hypot(*(poses[1, :2] - poses[0, :2])) > farthest(contract, contract.period)[0]:
                return "carried or reset"
        return ""

    def _modes_between(self, begin: int, end: int) -> set[str] | None:
        values = self._series["gate"].values
        if not values:
            return None
        stamps = self._stamps["gate"]
        return {values[i] for i in np.flatnonzero((stamps >= begin) & (stamps < end))}

    def _mark_idle(self, actions: np.ndarray, reasons: list[str]) -> None:
        still = np.isfinite(actions).all(1) & (np.abs(actions) < 1e-6).all(1)
        first = 0
        for k in range(len(still) + 1):
            if k < len(still) and still[k]:
                continue
            if (k - first) * self._contract.period > self._settings.max_idle:
                for j in range(first, k):
                    reasons[j] = reasons[j] or "standing still"
            first = k + 1

    def _runs(self, reasons: list[str]) -> list[tuple[int, int]]:
        """Steps [first, last) of each episode; what is dropped is reported."""
        settings, runs, first = self._settings, [], 0
        for k in range(len(reasons) + 1):
            if k < len(reasons) and not reasons[k]:
                continue
            if k > first:
                runs += self._parts(first, k)
            if k < len(reasons):
                self._report.drop(reasons[k], self._at(k))
            first = k + 1
        kept = []
        for begin, end in runs:
            if end - begin < settings.min_length:
                self._report.drop(f"episode shorter than {settings.min_length} steps", self._at(begin), end - begin)
            else:
                kept.append((begin, end))
        return kept

    def _parts(self, first: int, last: int) -> list[tuple[int, int]]:
        """A run in pieces of about equal length, none longer than `max_length`."""
        pieces = -(-(last - first) // self._settings.max_length)
        edges = np.linspace(first, last, pieces + 1).round().astype(int).tolist()
        return list(pairwise(edges))

    def _at(self, k: int) -> float:
        return (int(self._starts[k, 0]) - self._origin) * 1e-9
