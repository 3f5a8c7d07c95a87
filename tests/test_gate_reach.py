# SPDX-License-Identifier: Apache-2.0
"""Bases at the gate: whatever their axes and brakes, regions, speeds, obstacles and the bumper are kept."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.rigs.gate.rig import BASE, ROBOTS, Rig, contract_of, twist_base
from benchmarks.rigs.gate.scenarios import change, wall
from jepa_ros.contract import RobotContract
from jepa_ros.contract.fields import ContractError
from jepa_ros.safety import GateConfig, GateConfigError, GateInputs, Mode, envelope, guarded, parse_guardrails
from jepa_ros.safety.envelope import Decay, after, lasting
from jepa_ros.safety.outlines import convex_hull, outline_clear, within
from jepa_ros.safety.state import GateState
from jepa_ros.safety.tick import Tick

ROOM = parse_guardrails([
    {"name": "room", "kind": "keep_in", "unit": "m", "box": {"center": [0, 0], "size": [6.0, 6.0]}},
    {"name": "table", "kind": "keep_out", "unit": "m", "polygon": [[1.0, 0.6], [2.5, 0.6], [2.5, 2.5], [1.0, 2.5]]},
    {"name": "pillar", "kind": "keep_out", "unit": "m", "circle": {"center": [-1.2, 0.3], "radius": 0.3}},
])  # fmt: skip
BASES = ("base", "slick", "holonomic", "even", "sideways", "rail", "lift", "drone")


def least_room(rig: Rig, drive: Callable[[float], list[float]], seconds: float) -> float:
    """The least room to any region while the rig is driven."""
    regions = rig.cfg.guardrails.of("keep_out", "keep_in")
    least = math.inf
    for k in range(round(seconds / rig.cfg.period)):
        rig.command = drive(k * rig.cfg.period)
        rig.tick()
        rooms = [float(g.clearance(rig.robot.x, rig.robot.y, rig.cfg.footprint_radius)) for g in regions]
        least = min(least, *rooms)
    return least


# ---------------------------------------------------------------- regions


@pytest.mark.parametrize("one_ratio", [False, True])
@pytest.mark.parametrize("robot", BASES)
def test_no_base_enters_a_region_however_it_turns_and_brakes(robot: str, one_ratio: bool) -> None:
    rng = random.Random(f"{robot} {one_ratio}")
    for _ in range(3):
        rig = Rig(robot, guardrails=ROOM)
        rig.robot.one_ratio = one_ratio
        rig.robot.y, rig.robot.yaw = -1.5, rng.uniform(-math.pi, math.pi)
        rig.arm()
        ends = [(lo, hi) for lo, hi in zip(rig.cfg.low, rig.cfg.high)]
        wanted = {0: [0.0] * rig.cfg.size}

        def drive(time: float, wanted: dict[int, list[float]] = wanted, ends: Any = ends) -> list[float]:
            key = int(time / 0.8)
            if key not in wanted:
                wanted[key] = [rng.choice((lo, hi, hi, 0.0)) for lo, hi in ends]
            return wanted[key]

        assert least_room(rig, drive, 14.0) > -1e-3, f"{robot} entered, seed {rng}"


@pytest.mark.parametrize("one_ratio", [False, True])
def test_a_turn_that_brakes_slowly_does_not_bend_the_way_over_an_edge(one_ratio: bool) -> None:
    for when in np.arange(0.4, 2.0, 0.2):
        rig = Rig("slick", guardrails=wall(1.2, "keep_in"))
        rig.robot.one_ratio = one_ratio
        rig.robot.yaw = 0.9
        rig.arm()
        plan: Callable[[float], list[float]] = lambda t, w=when: [0.5, 0.0 if t < w else -2.0 if t < w + 0.9 else 2.0]  # noqa: E731
        assert least_room(rig, plan, 5.0) > 0.0


@pytest.mark.parametrize("robot", ["holonomic", "even"])
def test_a_base_that_drifts_sideways_is_stopped_before_it_drifts_into_a_region(robot: str) -> None:
    for when in (1.6, 2.0, 2.4):
        for x in (0.2, 0.6):
            rig = Rig(robot, guardrails=ROOM)
            rig.robot.x, rig.robot.y = x, -1.6
            rig.arm()
            plan: Callable[[float], list[float]] = lambda t, w=when: [0.0, 1.0, 0.0] if t < w else [1.0, 0.0, 0.3]  # noqa: E731
            assert least_room(rig, plan, 7.0) > 0.0


@pytest.mark.parametrize("robot", ["base", "slick", "holonomic", "sideways", "rail", "lift", "drone"])
def test_every_base_comes_close_to_an_edge_and_away_again(robot: str) -> None:
    rig = Rig(robot)
    axis = rig.cfg.linear[0]
    rig = Rig(robot, guardrails=wall(1.0, "keep_in"))
    if rig.cfg.forward is None:
        rig.robot.yaw = -0.5 * math.pi  # y is ahead
    else:
        axis = rig.cfg.forward
    command = [0.0] * rig.cfg.size
    command[axis] = rig.cfg.high[axis]
    rig.arm(command)
    rig.run(9.0)
    room = 1.0 - rig.cfg.footprint_radius - rig.robot.x
    assert 0.0 < room < 0.05, f"{room:.3f} m to the edge"
    command[axis] = rig.cfg.low[axis]
    rig.command = command
    rig.run(2.0)
    assert 1.0 - rig.cfg.footprint_radius - rig.robot.x > 0.2


@pytest.mark.parametrize("robot", BASES)
def test_in_free_space_every_base_reaches_its_limits(robot: str) -> None:
    rig = Rig(robot, guardrails=parse_guardrails([{**ROOM["room"].data, "box": {"center": [0, 0], "size": [99, 99]}}]))
    for axis in range(rig.cfg.size):
        command = [0.0] * rig.cfg.size
        command[axis] = rig.cfg.high[axis]
        rig.command = command
        rig.run(4.0)
        assert rig.outputs[-1].mode is Mode.ACTIVE and rig.robot.v[axis] >= 0.95 * rig.cfg.high[axis]


def test_driving_along_an_edge_costs_no_speed() -> None:
    for robot in ("base", "slick", "holonomic"):
        rig = Rig(robot, guardrails=wall(1.0, "keep_in"))
        rig.robot.x, rig.robot.y, rig.robot.yaw = 0.97 - rig.cfg.footprint_radius, -3.0, 0.5 * math.pi
        command = [0.0] * rig.cfg.size
        command[0] = rig.cfg.high[0]
        rig.arm(command)
        rig.run(3.0)
        assert rig.robot.v[0] > 0.95 * rig.cfg.high[0], rig.outputs[-1].sentence


@pytest.mark.parametrize("tiny", [5e-324, 1e-320, 1e-310, 1e-300, 1e-9])
def test_numbers_that_are_next_to_nothing_are_nothing(tiny: float) -> None:
    rig = Rig(guardrails=wall(0.05))
    rig.arm([0.0, 0.0])
    for sign in (1.0, -1.0):
        rig.command = [sign * tiny, 0.3]
        outs = rig.run(0.4)
        assert all(o.mode is not Mode.ESTOP and not o.values[0] for o in outs), outs[-1].sentence


def test_turning_within_a_margin_counts_whatever_little_motion_goes_with_it() -> None:
    for forward in (0.0, 1e-9, 1e-3):
        rig = Rig(guardrails=wall(-0.3))
        rig.arm([0.0, 0.0])
        rig.command = [forward, 1.0]
        rig.run(25.0)
        assert abs(rig.robot.yaw) < 1.6 * math.pi, f"{forward} m/s beside it: turned {rig.robot.yaw:.1f} rad"


# ---------------------------------------------------------------- speeds


ZONE = parse_guardrails([{"name": "slow", "kind": "speed_zone", "unit": "m/s", "max_speed": 0.2,
                          "box": {"center": [0.0, 2.0], "size": [8.0, 2.4]}}])  # fmt: skip
NEAR = parse_guardrails([{"name": "near", "kind": "near_person", "unit": "m/s", "max_speed": 0.2, "distance": 0.6}])


def _speed(rig: Rig) -> float:
    return math.sqrt(sum(rig.robot.v[k] ** 2 for k in rig.cfg.linear))


@pytest.mark.parametrize("robot", ["base", "slick", "holonomic", "even", "lift", "drone", "sideways"])
def test_a_speed_limit_holds_by_the_time_that_it_counts_and_in_every_direction(robot: str) -> None:
    rng = random.Random(robot)
    rig = Rig(robot, guardrails=ZONE)
    rig.robot.yaw = 0.5 * math.pi if rig.cfg.forward is not None else 0.0
    rig.robot.y = -1.5
    rig.arm()
    fast = slow = 0.0
    command = [0.0] * rig.cfg.size
    command[rig.cfg.linear[0]] = rig.cfg.high[rig.cfg.linear[0]]
    for k in range(round(20.0 / rig.cfg.period)):
        if k % 40 == 0 and k * rig.cfg.period > 5.0:
            command = [rng.choice((lo, hi, 0.0)) for lo, hi in zip(rig.cfg.low, rig.cfg.high)]
        rig.command = command
        rig.tick()
        if ZONE["slow"].shape.signed_distance(rig.robot.x, rig.robot.y) <= rig.cfg.footprint_radius:
            slow = max(slow, _speed(rig))
        else:
            fast = max(fast, _speed(rig))
    assert slow <= 0.2 + 1e-3, f"{slow:.3f} m/s in the zone"
    assert slow > 0.15 and fast > 0.3, "it never came there, or never drove fast before"


def test_sinking_is_motion_near_a_person_and_in_a_zone() -> None:
    for rails in (NEAR, ZONE):
        rig = Rig("lift", guardrails=rails)
        rig.robot.y = 2.0
        rig.arm([0.0, -1.0])
        rig.run(2.0)
        assert rig.robot.v[1] == pytest.approx(-0.2, abs=1e-3), rig.outputs[-1].sentence


# ---------------------------------------------------------------- what is felt


@pytest.mark.parametrize("measured", [0.0, -0.001, -0.01, -0.02, -0.2])
@pytest.mark.parametrize(("robot", "axis"), [("base", 0), ("rail", 0), ("lift", 1), ("drone", 1), ("sideways", 0)])
def test_a_rebound_does_not_make_a_bumper_that_is_pushed_ahead_one_that_is_hit_from_behind(
    robot: str, axis: int, measured: float
) -> None:
    rig = Rig(robot, contact_response="back_off")
    command = [0.0] * rig.cfg.size
    command[axis] = 0.7 * rig.cfg.high[axis]
    rig.arm(command)
    rig.run(1.0)
    seen = [0.0] * rig.cfg.size
    seen[axis] = measured
    rig.spoil["odom"] = change(v=tuple(seen))
    rig.run(0.06)
    rig.bumper = True
    outs = rig.run(0.5)
    assert not any(outs[-1].values), f"pushes on: {outs[-1].values}"
    rig.spoil.clear()
    rig.robot.v = [0.0] * rig.cfg.size
    rig.command = [-v for v in command]
    rig.run(1.5)
    assert rig.outputs[-1].values[axis] < 0.0 and rig.outputs[-1].reason == "contact", "does not back off"


def test_a_base_that_is_hit_from_behind_may_drive_ahead() -> None:
    rig = Rig(contact_response="back_off")
    rig.arm([-0.4, 0.0])
    rig.bumper = True
    rig.run(0.2)
    rig.command = [0.4, 0.0]
    assert rig.run(1.0)[-1].values[0] > 0.0


# ---------------------------------------------------------------- slow robots


def test_a_tiny_robot_that_runs_on_after_a_stop_is_noticed_and_no_reset_is_granted() -> None:
    rig = Rig("tiny")
    rig.arm([0.01, 0.0])
    rig.robot.broken = True
    rig.ask(estop=True)
    rig.run(2.0 * rig.cfg.stop_motion_timeout + rig.cfg.stop_time + 1.0)
    assert rig.outputs[-1].hardware_estop
    assert rig.ask(reset=True).answers["reset"] == (False, "the robot still moves") or rig.state.latch is not None


def test_what_counts_as_motion_comes_from_the_limits_and_from_the_noise_of_the_sensor() -> None:
    assert GateConfig.from_contract(contract_of("base")).motion == (0.03, 0.15)
    assert GateConfig.from_contract(contract_of("tiny")).motion == pytest.approx((0.001, 0.005))
    state = {**BASE["state"], "odom": {"timeout": 0.3, "noise": {"linear.x": 0.02}}}
    assert GateConfig.from_contract(contract_of("base", state=state)).motion == (0.08, 0.15)
    state["odom"]["noise"] = {"linear.y": 0.02}
    with pytest.raises(ContractError, match="no axis is called so"):
        contract_of("base", state=state)


# ---------------------------------------------------------------- scans (REP-117)


def _blind(rig: Rig, beams: slice | list[int], value: float, low: float = 0.3) -> None:
    """The scan sees nothing, but ``value`` in some beams; 72 of them from -pi on, 36 is ahead."""
    ranges = np.full(72, math.inf)
    ranges[beams] = value
    rig.spoil["scan"] = change(ranges=ranges, range_min=low)


@pytest.mark.parametrize("value", [-math.inf, 0.0, 0.1, 0.29])
@pytest.mark.parametrize("offset", [0.0, 0.1, -0.05])
def test_what_is_nearer_than_a_lidar_can_measure_keeps_its_direction(value: float, offset: float) -> None:
    state = {**BASE["state"], "scan": {"timeout": 0.5, "frame": "laser", "offset": [offset, 0.0, 0.0]}}
    contract = contract_of("base", state=state)
    for beams, ahead in (([35, 36, 37], True), ([0, 1, 71], False)):
        rig = Rig(contract=contract)
        spoil = {"ranges": np.full(72, math.inf), "range_min": 0.3, "frame_id": "laser"}
        rig.spoil["scan"] = change(**spoil)
        rig.arm([0.0, 0.0])
        spoil["ranges"][beams] = value
        rig.command = [0.4, 0.0]
        out = rig.run(1.0)[-1]
        if ahead:
            assert out.mode is Mode.STOPPED and out.reason == "obstacle" and "inf" not in out.sentence, out.sentence
        else:
            assert out.values[0] > 0.0, f"stopped by what is behind it: {out.sentence}"


@pytest.mark.parametrize("value", [-math.inf, 0.0, 0.2])
def test_a_whole_turn_below_the_least_range_is_a_covered_lidar(value: float) -> None:
    rig = Rig()
    rig.arm([0.3, 0.0])
    _blind(rig, slice(None), value)
    out = rig.run(0.3)[-1]
    assert out.mode is Mode.STOPPED and out.reason == "scan_lost" and "covered" in out.sentence, out.sentence


@pytest.mark.parametrize(("word", "value"), [("zero", 0.0), ("nan", math.nan)])
def test_a_lidar_may_say_otherwise_that_nothing_comes_back_where_the_contract_says_so(word: str, value: float) -> None:
    for told, drives in (([word], True), ([], False)):
        state = {**BASE["state"], "scan": {"timeout": 0.5, "no_return": told}}
        rig = Rig(contract=contract_of("base", state=state))
        _blind(rig, slice(30, 42), value, low=0.05)
        rig.arm([0.4, 0.0])
        assert (rig.outputs[-1].mode is Mode.ACTIVE) is drives, rig.outputs[-1].sentence
    with pytest.raises(ContractError, match="no_return"):
        contract_of("base", state={**BASE["state"], "scan": {"no_return": ["minus"]}})


@pytest.mark.parametrize("robot", ["slick", "holonomic", "sideways"])
def test_posts_that_the_scan_sees_are_not_touched_by_slow_brakes(robot: str) -> None:
    rng = random.Random(robot)
    for seed in range(4):
        rig = Rig(robot, seed=seed)
        around = ((0.3, 1.2), (1.8, 1.0), (3.6, 1.3), (5.1, 1.1))
        rig.obstacles = [(math.cos(a) * d, math.sin(a) * d) for a, d in around]
        rig.arm()
        for k in range(500):
            if k % 50 == 0:
                rig.command = [rng.choice((lo, hi, hi)) for lo, hi in zip(rig.cfg.low, rig.cfg.high)]
            rig.tick()
            gap = min(math.dist((rig.robot.x, rig.robot.y), post) for post in rig.obstacles) - 0.02
            assert gap > rig.cfg.footprint_radius, f"{rig.cfg.footprint_radius - gap:.4f} m into a post"


# ---------------------------------------------------------------- what is refused


def _rail(kind: str) -> dict[str, Any]:
    shape = {"box": {"center": [0, 0], "size": [2, 2]}}
    return {"name": "g", "kind": kind} | {
        "keep_out": {"unit": "m", **shape},
        "keep_in": {"unit": "m", **shape},
        "speed_zone": {"unit": "m/s", "max_speed": 0.1, **shape},
        "near_person": {"unit": "m/s", "max_speed": 0.1, "distance": 0.5},
        "obstacle_distance": {"unit": "m", "min_distance": 0.1},
        "joint_limits": {"unit": "rad", "low": [-1.0, -1.0], "high": [1.0, 1.0]},
        "workspace": {"unit": "m", "low": [-1.0, -1.0], "high": [1.0, 1.0]},
        "contact_probability": {"unit": "1", "max": 0.2},
        "novelty": {"unit": "1", "max": 2.0},
    }[kind]


@pytest.mark.parametrize("robot", [*BASES, "arm", "joints"])
@pytest.mark.parametrize("kind", list(guarded.KINDS))
def test_a_guardrail_is_kept_or_refused_by_name(robot: str, kind: str) -> None:
    facts = guarded.Facts.of(GateConfig.from_contract(contract_of(robot)))
    item = _rail(kind)
    why = guarded.refusal(kind, facts)
    data = {**contract_of(robot).to_dict(), "guardrails": [item]}
    for make in (
        lambda: GateConfig.from_contract(contract_of(robot), guardrails=parse_guardrails([item])),
        lambda: GateConfig.from_contract(RobotContract.from_dict(data)),
    ):
        if why is None:
            assert make().guardrails["g"].kind == kind
        else:
            with pytest.raises(GateConfigError, match="guardrail 'g'"):
                make()


# ---------------------------------------------------------------- parts


_held = st.lists(st.tuples(st.floats(0.0, 3.0), st.floats(0.0, 0.5)), max_size=5)


@given(st.floats(0.0, 3.0), st.floats(0.1, 5.0), _held)
def test_the_curve_of_an_axis_lies_over_each_of_what_may_be_in_force(high: float, braking: float, held: Any) -> None:
    held = [(min(rate, high), time) for rate, time in held]
    curve = Decay.of(high, braking, held)
    for rate, time in [*held, (high, 0.0)]:
        way = rate * time + rate * rate / (2.0 * braking)
        assert curve.way >= way - 1e-9
    assert curve.gone(curve.end + 1.0) == pytest.approx(curve.way, abs=1e-9)


_brakes = st.tuples(st.floats(0.1, 2.0), st.floats(0.1, 2.0))
_rates = st.tuples(st.floats(0.0, 2.0), st.floats(0.0, 2.0))


@given(_brakes, _rates, _rates, st.lists(st.booleans(), min_size=20, max_size=20))
def test_an_axis_that_keeps_together_with_another_is_no_faster_than_is_reckoned(
    braking: tuple[float, float], start: Any, target: Any, told: list[bool]
) -> None:
    """By one ratio, told to go to the target or to nothing, in any order."""
    target = [min(a, b) for a, b in zip(start, target, strict=True)]
    change, stop = (start[1] - target[1]) / braking[1], start[1] / braking[1]
    v, dt = list(start), 0.02
    for k, zero in enumerate(told):
        goal = [0.0, 0.0] if zero else target
        longest = max(abs(u - a) / b for u, a, b in zip(goal, v, braking, strict=True))
        share = min(1.0, dt / longest) if longest > 0.0 else 1.0
        v = [a + share * (u - a) for a, u in zip(v, goal, strict=True)]
        v[1] = max(v[1], target[1])  # it may hold the other up as long as it likes
        assert v[0] <= max(0.0, after(start[0], target[0], braking[0], change, stop, (k + 1) * dt)) + 1e-9


def test_a_base_may_be_faster_than_its_odometry_tells_and_an_older_measurement_knows_less() -> None:
    cfg = GateConfig.from_contract(contract_of("base"))
    state = GateState(cfg.size, True)
    for k, out in enumerate(([0.3, 0.0], [0.2, 0.0], [0.1, 0.0], [0.0, 0.0], [0.0, 0.0])):
        state.out = out
        t = Tick(cfg, state, GateInputs(), 1.0 + k * cfg.period, 1.0 + k * cfg.period, cfg.period)
        envelope.follow(t)

    def fastest(measured: float, age: float) -> float:
        t.hull, t.measured = None, [measured, 0.0]
        t.date(t.ros - age)
        return envelope.hull(t)[1][0]

    assert t.cfg.reaction_time == pytest.approx(0.06)
    assert fastest(0.294, 0.0) == pytest.approx(0.3)  # 2 % too little
    assert fastest(0.05, 0.0) == pytest.approx(0.1)  # what may be in force now
    assert fastest(0.05, cfg.period) == pytest.approx(0.2)  # and what was when it was measured


_points = st.lists(st.tuples(st.integers(-9, 9), st.integers(-9, 9)), min_size=1, max_size=12)


@settings(deadline=None)
@given(_points)
def test_the_hull_of_some_points_holds_them_all(points: list[tuple[int, int]]) -> None:
    hull = convex_hull(points)
    if len(hull) > 2:
        middle = (sum(x for x, _ in hull) / len(hull), sum(y for _, y in hull) / len(hull))
        for x, y in points:
            near = (middle[0] + 0.999 * (x - middle[0]), middle[1] + 0.999 * (y - middle[1]))
            assert within(hull, *near) or math.dist(near, middle) < 1e-6


def test_an_outline_is_walked_without_stepping_over_anything_thin() -> None:
    square = [(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)]
    assert outline_clear(lambda x, y: math.hypot(x - 0.5, y + 0.03) - 0.02, square, 0.0, 1e-3)
    assert not outline_clear(lambda x, y: math.hypot(x - 0.5, y) - 0.002, square, 0.0, 1e-3)


def test_the_rig_has_bodies_of_one_to_six_axes() -> None:
    assert {contract_of(name).action_dim for name in ROBOTS} >= {1, 2, 3, 6}
    assert twist_base("x", linear_y=(1.0, 1.0, 1.0))["action"][0]["name"] == "linear.y"


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 100_000))
def test_what_is_left_after_several_targets_is_what_each_leaves_in_turn(seed: int) -> None:
    rng = random.Random(seed)
    targets = [rng.choice((0.0, rng.uniform(-1.0, 1.0))) for _ in range(rng.randint(0, 6))]
    spans = [rng.choice((0.0, rng.uniform(0.0, 0.3))) for _ in targets]
    rate, sent = rng.uniform(0.0, 1.0), rng.uniform(-1.0, 1.0)
    braking, change, stop = rng.uniform(0.1, 3.0), rng.choice((0.0, rng.random())), rng.choice((0.0, rng.random()))
    left = rate
    for target, span in zip(targets, spans, strict=True):
        if not max(target, sent) >= left > 0.0:
            left = after(left, max(target, sent), braking, change, stop, span)
    assert lasting(rate, sent, targets, spans, braking, change, stop) == left
