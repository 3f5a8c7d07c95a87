# SPDX-License-Identifier: Apache-2.0
"""The rows that watch whether an input is there, fresh and believable. Each runs at every tick, in every mode."""

from __future__ import annotations

import math

from jepa_ros.safety.rows import check
from jepa_ros.safety.tick import Tick

#: Checksums remembered; a camera that loops over a few frames is as frozen as one that repeats a single one.
REMEMBERED = 8
#: A base follows the ramps of its limits within so long [s] after the reaction time.
SETTLES = 0.15
#: Measured not to move for so long [s], it stands: a wheel that turns back passes through zero, too.
STANDS = 0.2


@check("clock")
def clock(t: Tick) -> None:
    """ROS time has to move on, by steps that a clock makes.

    Between two machines NTP steps by well under ``stamp_tolerance``; resets of a simulator jump by seconds.
    """
    s, last = t.s, t.s.ros
    if not math.isfinite(t.ros):
        t.trip("clock", f"ROS time is {t.ros}")
        return
    if last is not None and t.ros != last:
        s.ros_moved = t.now
    if last is not None and t.ros < last - t.cfg.stamp_tolerance:
        s.restart_clock()
        s.forget_commands()
        s.count("clock_jump")
        t.trip("clock", f"ROS time jumped back by {last - t.ros:.3f} s")
    elif last is not None and t.ros > last + t.dt + max(1.0, 20.0 * t.dt):
        s.forget_commands()
        s.count("clock_jump")
        t.trip("clock", f"ROS time jumped ahead by {t.ros - last:.3f} s")
    elif s.ros_moved is None:
        t.trip("clock", f"ROS time stands at {t.ros:.3f} s since the start")
    elif t.now - s.ros_moved > t.cfg.clock_timeout:
        s.forget_commands()
        t.trip("clock", f"ROS time has stood still for {t.now - s.ros_moved:.2f} s")


@check("gate_late")
def gate_late(t: Tick) -> None:
    """After a gap the node's queues hold old messages with a receipt time of now; nothing of before is believed."""
    if t.dt > t.cfg.late_tick:
        t.s.forget_commands()
        t.s.listening_since = t.now
        t.trip("gate_late", f"the gate was not run for {t.dt:.2f} s")


@check("estop")
def estop(t: Tick) -> None:
    """Anything but False stops, and so does a publisher that was heard once, is required, and is silent."""
    message = t.i.estop
    if t.i.requests.estop:
        t.trip("estop", "an emergency stop was requested")
    elif message is not None and not (message.value is False or message.value == 0):
        t.trip("estop", "the emergency stop is pressed")
    elif message is not None and t.cfg.estop_required and t.age(message.received) > t.cfg.estop_timeout:
        since = t.s.listening_since
        if since is not None and t.now - since <= t.cfg.estop_timeout:
            return  # it was the gate that did not listen; it is stopped, and waits as long as ever
        t.trip("estop", f"the emergency stop's publisher is silent (limit {t.cfg.estop_timeout:.2f} s)")


@check("estop_missing")
def estop_missing(t: Tick) -> None:
    """Where an e-stop is required, the gate does not arm before it has been heard."""
    if t.cfg.estop_required and t.i.estop is None:
        t.trip("estop_missing", "the emergency stop was not heard yet")


@check("second_publisher")
def second_publisher(t: Tick) -> None:
    """Two publishers of commands to one robot: whose command it follows is left to chance. None at all, where the
    gate's own has to be, is a count of another topic, which tells nothing."""
    count = t.i.output_publishers
    if count is None or count == 1 or t.cfg.shadow:
        return
    other = f"{count - 1} other publisher(s) on the gate's output topic"
    t.trip("second_publisher", other if count > 1 else "the gate does not see its own publisher on its output topic")


@check("input_error")
def input_error(t: Tick) -> None:
    """What the node found wrong with an input before it became one."""
    if t.i.errors:
        t.trip("input_error", "; ".join(str(e) for e in t.i.errors[:3]))


@check("image_stale")
def image_stale(t: Tick) -> None:
    """Only an image with a new stamp counts as a new image."""
    s, image, cfg = t.s, t.i.image, t.cfg
    if image is None:
        if cfg.image_required:
            t.trip("image_stale", "no image was received yet")
        return
    key = (image.stamp, image.received)
    if key != s.image_seen:
        s.image_seen = key
        ahead = image.stamp - t.ros
        if not math.isfinite(image.stamp) or ahead > cfg.stamp_tolerance:
            s.count("image_future")
        elif s.image_stamp is not None and image.stamp <= s.image_stamp:
            s.count("image_repeated")
        else:
            s.image_stamp, s.image_fresh = image.stamp, image.received
    if not cfg.image_required:
        return
    if s.image_fresh is None or s.image_stamp is None:
        t.trip("image_stale", "no image with a believable stamp was received yet")
        return
    age, old = t.age(s.image_fresh), t.ros - s.image_stamp
    if age > cfg.image_timeout:
        again = " although images come in: their stamps are refused" if t.age(image.received) < age else ""
        t.trip("image_stale", f"no new image for {age:.2f} s (limit {cfg.image_timeout:.2f} s){again}")
    elif not -cfg.stamp_tolerance <= old <= cfg.image_timeout + cfg.stamp_tolerance:
        told = "has no stamp: its header.stamp is 0" if s.image_stamp == 0.0 else f"is stamped {old:.2f} s ago"
        t.trip("image_stale", f"the newest image {told}")


@check("image_frozen")
def image_frozen(t: Tick) -> None:
    """The same bytes again and again while the wheels turn; once frozen, only new bytes thaw it."""
    s, image, cfg = t.s, t.i.image, t.cfg
    if image is None or image.checksum is None:
        return
    cached = s.cache.get("image")
    if cached is None or cached[0] is not image:
        s.cache = {**s.cache, "image": (image, None)}
        if image.checksum not in s.image_checks:
            s.image_repeats = 0
            s.image_checks = (*s.image_checks[1 - REMEMBERED :], image.checksum)
        elif t.moving():
            s.image_repeats += 1
    if s.image_repeats >= cfg.frozen_images:
        t.trip("image_frozen", f"{s.image_repeats} images with bytes seen before while the robot moves")


@check("heartbeat")
def heartbeat(t: Tick) -> None:
    """A component beats from the thread that does the work, after work is done."""
    for name in t.cfg.heartbeats:
        received = t.i.heartbeats.get(name)
        if received is None:
            t.trip("heartbeat", f"{name} was not heard yet")
        else:
            age = t.age(received)
            if age > t.cfg.heartbeat_timeout:
                t.trip("heartbeat", f"{name} is silent for {age:.2f} s (limit {t.cfg.heartbeat_timeout:.2f} s)")


@check("signals_lost")
def signals_lost(t: Tick) -> None:
    """What only the planner can judge is not judged while it says nothing."""
    if not t.cfg.needs_signals:
        return
    if t.i.signals is None:
        t.trip("signals_lost", "the planner has sent no signals yet")
        return
    why = t.late(t.i.signals, t.cfg.signals_timeout)
    if why is not None:
        t.trip("signals_lost", f"the planner's signals: {why}")


@check("identity")
def identity(t: Tick) -> None:
    """Planner, perception and gate must mean the same model and the same guardrails."""
    s, cfg, signals = t.s, t.cfg, t.i.signals
    if len(t.i.identities) == 0 and signals is None and not cfg.identities_required:
        s.differ_since = None
        return
    found = dict(t.i.identities)
    if signals is not None:
        if signals.model_id:
            found.setdefault("model/planner", signals.model_id)
        if signals.guardrail_hash:
            found["guardrails/planner"] = signals.guardrail_hash
    for name in cfg.identities_required:
        if not found.get(name):
            t.trip("identity", f"{name} is not known yet")
            return
    models = {k: v for k, v in found.items() if k.startswith("model/")}
    if len(set(models.values())) > 1:
        t.trip("identity", "models differ: " + ", ".join(f"{k[6:]} has {v[:12]}" for k, v in sorted(models.items())))
        return
    mine = cfg.guardrails.hash
    others = {k: v for k, v in found.items() if k.startswith("guardrails/") and v != mine}
    if not others:
        s.differ_since = None
        return
    if s.differ_since is None:
        s.differ_since = t.now
    if not s.active_once or t.now - s.differ_since > cfg.identity_grace:
        who = ", ".join(f"{k[11:]} has {v[:12]}" for k, v in sorted(others.items()))
        t.trip("identity", f"guardrail sets differ: gate has {mine[:12]}, {who}")


@check("command_not_obeyed")
def command_not_obeyed(t: Tick) -> None:
    """The wheels do not do what they were told. The measured velocity has to lie among those that were commanded over
    the time in which the base may still have been following an older command, and what the guaranteed braking leaves of
    older ones (a stop at once is a jump that no base follows). A base that was sent nothing but zeros is
    `stop_not_obeyed`'s.
    """
    s, cfg = t.s, t.cfg
    if cfg.motion_tolerance <= 0.0 or cfg.output != "velocity" or cfg.shadow or cfg.dry_run:
        return
    if t.dt > cfg.late_tick or not s.enabled:
        s.sent, s.linger = (), None
    age = 0.0 if t.i.odom is None else min(max(t.ros - t.i.odom.stamp, 0.0), 1.0)
    oldest = t.now - (age + cfg.reaction_time + SETTLES)
    sent, drop = s.sent, 0
    while drop < len(sent) and sent[drop][0] < oldest:  # they are in the order of time
        drop += 1
    if drop or s.linger is not None:
        left = [values for _, values in sent[:drop]]
        lows, highs = s.linger or (left[0], left[0])
        lows = [v + b * min(t.dt, cfg.late_tick) for v, b in zip(lows, cfg.braking, strict=True)]
        highs = [v - b * min(t.dt, cfg.late_tick) for v, b in zip(highs, cfg.braking, strict=True)]
        for old in left:
            lows, highs = [*map(min, lows, old)], [*map(max, highs, old)]
        s.linger = (lows, highs)
    s.sent = sent = (*sent[drop:], (t.now, s.out))
    off = None
    if t.measured is not None and (any(s.out) or any([any(v) for _, v in sent])):
        for k, v in enumerate(t.measured):
            slack = cfg.motion_tolerance * cfg.velocity[k]
            if s.out[k] - slack <= v <= s.out[k] + slack:
                continue  # it follows the newest already
            commanded = [values[k] for _, values in sent]
            low, high = min(commanded), max(commanded)
            if s.linger is not None:
                low, high = min(low, s.linger[0][k]), max(high, s.linger[1][k])
            if not low - slack <= v <= high + slack:
                off = (k, v)
                break
    if off is None:
        s.off_since = None
        return
    if s.off_since is None:
        s.off_since = t.now
    if t.now - s.off_since > cfg.motion_timeout:
        k, v = off
        t.trip("command_not_obeyed", f"{cfg.axis(k)}: {s.out[k]:.2f} {cfg.units[k]} commanded, {v:.2f} measured, "
               f"for {t.now - s.off_since:.2f} s")  # fmt: skip


@check("stop_not_obeyed")
def stop_not_obeyed(t: Tick) -> None:
    """The gate has been sending a stop for long enough, and the robot is still measured to move. A disabled gate
    watches on until the robot has stood still once; then somebody may push it about."""
    s, cfg = t.s, t.cfg
    moving = t.moving()
    if t.measured is None or moving:
        s.still_since = None
    elif s.still_since is None:
        s.still_since = t.now
    if s.enabled:
        s.answers_for = True
    elif s.still_since is not None and t.now - s.still_since >= STANDS:
        s.answers_for = False
    if not s.answers_for or s.zero_since is None or cfg.shadow or cfg.dry_run or not moving:
        s.moving_since = None
        return
    if s.moving_since is None:
        s.moving_since = t.now
    since = max(s.moving_since, s.zero_since)
    limit = cfg.stop_motion_timeout + cfg.stop_time
    if t.now - s.zero_since > limit and t.now - since > cfg.stop_motion_timeout:
        t.trip("stop_not_obeyed", f"measured motion goes on {t.now - s.zero_since:.2f} s after the stop")
