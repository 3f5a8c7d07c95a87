# SPDX-License-Identifier: Apache-2.0
"""Planner on one machine, gate and robot on another (namespaces, UDP only): delay, a cut link, a skewed clock."""

from __future__ import annotations

import pytest

from benchmarks.rigs.network.network import why_not
from benchmarks.rigs.network.two_machines import TwoMachines, cut, link, skewed
from jepa_ros.contract import load_contract

REASON = why_not()
WATCHDOG = load_contract("arena").watchdog
#: Seconds that a busy machine may add to what the gate does on time.
SLACK = 1.0


@pytest.mark.skipif(bool(REASON), reason=REASON or "no namespaces")
def test_a_cut_link_stops_the_robot_and_a_skewed_camera_is_not_believed(tmp_path):
    with TwoMachines(tmp_path) as machines:
        machines.driving(90.0)
        slow = link(machines, 2.0, delay=0.05)
        assert slow["driving"] > 0.0 and slow["image_age_ms"]["p50"] > 100.0, slow
        told = cut(machines, WATCHDOG.heartbeat_timeout + 0.6)
        # At most the time-out, then the ramp to zero; and it waits for its re-arming before it drives again.
        assert told["stopped_after"] < WATCHDOG.command_timeout + SLACK, told
        assert told["zero_after"] < WATCHDOG.command_timeout + 0.3 + SLACK, told
        assert not told["moved_while_cut"] and told["drives_after_joining"] > WATCHDOG.rearm_time, told
        future = skewed(machines, 1.0, 0.5)
        assert future["driving"] == 0.0 and "image_stale" in future["stopped_by"], future
        machines.driving(90.0)
