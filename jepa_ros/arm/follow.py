# SPDX-License-Identifier: Apache-2.0
"""Following a trajectory of joints under a gate that may hold the arm back: commands for each tick, and how it ends.

The trajectory's own time stands still while the arm lags behind. An arm that the gate slows down or stops therefore
goes on along the same way afterwards, instead of jumping to where the clock would have it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from jepa_ros.arm.body import ArmBody
from jepa_ros.arm.urdf import ArmError
from jepa_ros.contract import RobotContract

Joints = NDArray[np.float64]

#: Time stands still where the arm is this far behind [rad, m], and runs more slowly from half of it on.
AHEAD = 0.1
#: A command is at most so far from where the arm is [rad, m]: the gate takes no first one that is farther than 0.2.
REACH = 0.15
#: A trajectory's time that runs more slowly than this share stands still.
STANDING = 0.02
#: A trajectory that begins at once has to begin so near to where the arm is [rad, m].
START = 0.1
#: Where its sender says nothing, the goal is reached within this [rad, m].
GOAL = 0.01
#: A joint that is commanded by its rate makes up for its error at this rate [1/s].
GAIN = 4.0
MOST_POINTS = 10_000


class JointsError(ArmError):
    """A trajectory for joints that the arm has not."""


class Trajectory:
    """Points in time: cubic between them where all have velocities, else straight.

    Args:
        times: (n,) s, growing. positions, velocities: (n, J); velocities may be None.
    """

    def __init__(self, times: Joints, positions: Joints, velocities: Joints | None) -> None:
        self.times, self.positions, self.velocities = times, positions, velocities

    @property
    def end(self) -> float:
        """Seconds that it takes."""
        return float(self.times[-1])

    def at(self, seconds: float) -> tuple[Joints, Joints]:
        """Positions and rates, (J,) each."""
        if seconds >= self.end or len(self.times) == 1:
            return self.positions[-1], np.zeros(self.positions.shape[1])
        k = max(0, int(np.searchsorted(self.times, seconds, side="right")) - 1)
        span, a, b = self.times[k + 1] - self.times[k], self.positions[k], self.positions[k + 1]
        s = (seconds - self.times[k]) / span
        if self.velocities is None:
            return a + s * (b - a), (b - a) / span
        u, v = span * self.velocities[k], span * self.velocities[k + 1]  # cubic Hermite
        place = a + (3 * s**2 - 2 * s**3) * (b - a) + (s**3 - 2 * s**2 + s) * u + (s**3 - s**2) * v
        rate = (6 * s**2 - 6 * s) * (a - b) + (3 * s**2 - 4 * s + 1) * u + (3 * s**2 - 2 * s) * v
        return place, rate / span


class Follower:
    """Follows one trajectory at a time.

    Args:
        contract: of an arm. patience: an arm that stands still for so long [s] on its way has failed.

    Attributes:
        desired: (J,) where the arm should be now; None while nothing is followed.

    Raises:
        ArmError: the contract is no arm's, or does not fit its URDF.
    """

    def __init__(self, contract: RobotContract, patience: float = 5.0) -> None:
        self._body, self._contract, self.patience = ArmBody(contract), contract, patience
        self._trajectory: Trajectory | None = None
        self.desired: Joints | None = None
        self.seconds = 0.0  # of the trajectory's own time
        self._goal = self._path = np.full(len(self.names), np.inf)  # tolerances
        self._late, self._over, self._stood = 0.0, 0.0, 0.0  # s that it may take more, that it does, at a standstill

    @property
    def names(self) -> tuple[str, ...]:
        """The joints of a command, in its order."""
        return self._body.names

    def take(
        self, names: Sequence[str], times: Sequence[float], positions: Sequence[Sequence[float]],
        velocities: Sequence[Sequence[float]], measured: Joints, goal: Joints | None = None,
        path: Joints | None = None, late: float = 0.0,
    ) -> None:  # fmt: skip
        """Follow a trajectory from now on.

        Args:
            names: of its n joints; the arm's others stand. times: (T,) s. positions: (T, n). velocities: (T, n), or
                empty rows for none. measured: (J,) where the arm is. goal, path: (J,) how far the arm may be from the
                last point and from its way, inf: any distance; NaN or None: GOAL, and any distance. late: seconds more
                for the goal; 0: patience.

        Raises:
            JointsError: a joint that the arm has not, or one twice. ArmError: what else cannot be followed.
        """
        strange = [name for name in names if name not in self.names]
        if strange or not names or len(set(names)) < len(names):
            raise JointsError(f"joints {', '.join(names) or 'none'}: expected some of {', '.join(self.names)}")
        if not 0 < len(times) <= MOST_POINTS:
            raise ArmError(f"{len(times)} points; expected 1 to {MOST_POINTS}")
        columns = [self.names.index(name) for name in names]
        when, places = np.asarray(times, float), self._all(positions, columns, measured, "positions")
        rates = None
        if all(len(row) for row in velocities) and len(velocities):
            rates = self._all(velocities, columns, np.zeros(len(self.names)), "velocities")
        if not np.isfinite(when).all() or when[0] < 0.0 or (np.diff(when) <= 0.0).any():
            raise ArmError("the points' times have to grow, from 0 s on")
        limits = self._contract.limits
        outside = (places < np.asarray(limits.position_low)) | (places > np.asarray(limits.position_high))
        if outside[:, columns].any():
            joint = next(c for c in columns if outside[:, c].any())
            raise ArmError(f"joint {self.names[joint]} would leave its range")
        if when[0] > 0.0:
            when, places = np.concatenate([[0.0], when]), np.concatenate([measured[None], places])
            rates = None if rates is None else np.concatenate([np.zeros((1, len(self.names))), rates])
        elif np.abs(places[0] - measured).max() > START:
            raise ArmError(f"it begins {np.abs(places[0] - measured).max():.2f} from where the arm is")
        self._trajectory = Trajectory(when, places, rates)
        self._goal = _tolerances(goal, len(self.names), GOAL)
        self._path = _tolerances(path, len(self.names), np.inf)
        self._late, self._over, self._stood = late, 0.0, 0.0
        self.seconds, self.desired = 0.0, self._trajectory.positions[0]

    def _all(self, rows: Sequence[Sequence[float]], columns: list[int], others: Joints, what: str) -> Joints:
        """Rows (T, n) of some joints as rows (T, J)."""
        if any(len(row) != len(columns) for row in rows):
            raise ArmError(f"a point has not {len(columns)} {what}")
        found = np.tile(np.asarray(others, float), (len(rows), 1))
        found[:, columns] = rows
        if not np.isfinite(found).all():
            raise ArmError(f"a number of the {what} is not finite")
        return found

    def drop(self) -> None:
        """Follow nothing."""
        self._trajectory = self.desired = None

    def command(self, measured: Joints, period: float) -> tuple[Joints | None, str]:
        """(the joint command (J,) of a tick, how it ended).

        The command is None, which is "stand still", once it has ended: "reached", "path" (too far from its way, or held
        up for too long) or "goal" (not at its goal in time). It is empty on the way.

        Args:
            measured: (J,). period: seconds since the last tick.
        """
        if self._trajectory is None or self.desired is None:
            return None, ""
        lag, trajectory = np.abs(self.desired - measured), self._trajectory
        rate = trajectory.at(self.seconds)[1]
        slowed = 1.0 / max(1.0, float(np.max(np.abs(rate) / self._contract.limits.velocity)))  # no joint over its limit
        pace = slowed * float(np.clip(2.0 - 2.0 * lag.max() / AHEAD, 0.0, 1.0))
        self._stood = 0.0 if pace > STANDING * slowed else self._stood + period
        self.seconds = min(self.seconds + pace * period, trajectory.end)
        self.desired, rate = trajectory.at(self.seconds)
        ended = self._ended(trajectory, lag, np.abs(trajectory.positions[-1] - measured), period)
        if ended:
            self.drop()
            return None, ended
        rate = slowed * rate
        if not self._body.positions:
            return rate + GAIN * (self.desired - measured), ""
        # As far ahead as the joints need to come to rest: the gate then moves them at these rates.
        ahead = self._body.ahead(rate, begins=False)
        to = trajectory.at(self.seconds + slowed * ahead)[0] - measured
        return measured + to / max(1.0, float(np.abs(to).max()) / REACH), ""

    def _ended(self, trajectory: Trajectory, lag: Joints, left: Joints, period: float) -> str:
        if (lag > self._path).any() or self._stood > self.patience:
            return "path"
        if self.seconds < trajectory.end:
            return ""
        if (left <= self._goal).all():
            return "reached"
        self._over += period
        return "goal" if self._over > (self._late or self.patience) else ""


def _tolerances(given: Joints | None, count: int, unsaid: float) -> Joints:
    """(count,) tolerances: those that are given, ``unsaid`` where they are NaN."""
    return np.full(count, unsaid) if given is None else np.where(np.isnan(given), unsaid, given)
