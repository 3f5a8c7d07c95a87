# SPDX-License-Identifier: Apache-2.0
"""Which values the settings of the gate may have. A NaN passes every comparison that it should fail: none gets in."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

#: Finite numbers (least, most, whether the least itself is allowed).
_NUMBERS: dict[str, tuple[float, float, bool]] = {
    **dict.fromkeys(
        ("period", "command_timeout", "image_timeout", "heartbeat_timeout", "max_stamp_age", "stop_motion_timeout",
         "late_tick", "clock_timeout", "estop_timeout", "signals_timeout", "people_timeout", "resume_latch_window",
         "pose_uncertainty"), (0.0, 3600.0, False),
    ),
    **dict.fromkeys(
        ("rearm_time", "stamp_tolerance", "exit_duration", "identity_grace", "reaction_time", "pose_sigma",
         "region_margin", "obstacle_margin", "time_to_contact", "teleop_release", "footprint_radius"),
        (0.0, 3600.0, True),
    ),
    "escape_speed": (0.0, 1.0, False),
    "slow_scale": (0.0, 1.0, True),
}  # fmt: skip
_COUNTS = ("bad_command_latch", "resume_latch_count", "frozen_images")
_SWITCHES = ("estop_required", "image_required", "signals_required", "auto_enable", "shadow", "dry_run")
_LISTS = ("heartbeats", "identities_required")
#: What the robot is, which only its contract tells.
OF_THE_CONTRACT = frozenset((
    "name", "output", "kinematics", "units", "period", "low", "high", "velocity", "acceleration", "braking",
    "position_low", "position_high", "joints", "forward", "sideways", "turn", "map_frame", "odom_frame", "base_frame",
    "footprint_radius", "states", "motion",
))  # fmt: skip


def number(value: Any) -> bool:
    """Whether it is a finite number."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def fault(settings: Mapping[str, Any]) -> str | None:
    """``name: expected ..., found ...`` of the first setting that cannot be used, or None."""
    for name, (least, most, closed) in _NUMBERS.items():
        value = settings[name]
        if not (number(value) and least <= value <= most and (closed or value > least)):
            return f"{name}: expected a number {'from' if closed else 'above'} {least:g} to {most:g}, found {value!r}"
    for name in _COUNTS:
        value = settings[name]
        if not (number(value) and value == int(value) and value >= 1):
            return f"{name}: expected a whole number of at least 1, found {value!r}"
    for name in _SWITCHES:
        if not isinstance(settings[name], bool):
            return f"{name}: expected true or false, found {settings[name]!r}"
    for name in _LISTS:
        value = settings[name]
        if not (isinstance(value, (list, tuple)) and all(isinstance(v, str) and v for v in value)):
            return f"{name}: expected a list of texts, found {value!r}"
    for name in ("surprise", "novelty"):
        value = settings[name]
        pair = isinstance(value, (list, tuple)) and len(value) == 2 and all(number(v) for v in value)
        if value is not None and not (pair and 0.0 < value[0] <= value[1]):
            return f"{name}: expected [slow, stop] with 0 < slow <= stop, found {value!r}"
    place = settings["scan_offset"]
    if not (isinstance(place, (list, tuple)) and len(place) == 3 and all(number(v) for v in place)):
        return f"scan_offset: expected [x, y, yaw] in m and rad, found {place!r}"
    if not all(number(v) and v > 0.0 for v in settings["motion"]):
        return f"motion: expected numbers above 0, found {settings['motion']!r}"
    for topic, (timeout, _) in settings["states"].items():
        if not (number(timeout) and timeout > 0.0):
            return f"states: the time-out of '{topic}': expected a time above 0 s, found {timeout!r}"
    return None
