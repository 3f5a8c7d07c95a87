# SPDX-License-Identifier: Apache-2.0
"""The gate as a process of its own: it publishes at every tick, stops for every reason, and outlives a signal."""

from __future__ import annotations

import itertools
import json
import math
import signal
import time

import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import Pose, PoseArray, PoseWithCovarianceStamped, TwistStamped
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import SetParametersAtomically
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from ros_harness import Child, GateWorld, Probe, is_zero
from std_msgs.msg import Bool
from std_srvs.srv import SetBool, Trigger

from jepa_ros.commands.gate import told
from jepa_ros.nodes import qos
from jepa_ros.nodes.process import ending_signals
from jepa_ros.nodes.safety_gate import SafetyGateNode
from jepa_ros.safety import parse_guardrails

GATE = ("-m", "jepa_ros.nodes.safety_gate")
ZONE = "- {name: a, kind: keep_out, unit: m, circle: {center: [0.5, 0.0], radius: 0.2}}"
STATE, OUT = "safety_gate/state", "cmd_vel"


class Scene:
    """A running gate, its world, and what comes out. Each has a namespace of its own."""

    _count = 0

    def __init__(self, *ros_args: str, remap: str = "", start: tuple[str, ...] = GATE) -> None:
        Scene._count += 1
        space = f"/scene_{Scene._count}"
        self.probe = Probe(space)
        self.probe.listen(DiagnosticArray, STATE, qos.LATCHED)
        self.probe.listen(TwistStamped, OUT, qos.COMMAND)
        self.probe.listen(Bool, "hardware_estop", qos.LATCHED)
        self.world = GateWorld(self.probe)
        words = [word for arg in ros_args for word in ("-p", arg)] + (["-r", remap] if remap else [])
        self.gate = Child(*start, "--ros-args", "-r", f"__ns:={space}", *words)

    @property
    def state(self) -> dict[str, str]:
        return self.probe.values(STATE)

    def mode(self, *names: str, timeout: float = 60.0) -> dict[str, str]:
        self.probe.until(lambda: self.state.get("mode") in names, f"mode {' or '.join(names)}", timeout)
        return self.state

    def reason(self, name: str, timeout: float = 60.0) -> dict[str, str]:
        self.probe.until(lambda: self.state.get("reason") == name, f"reason {name}", timeout)
        return self.state

    def stands(self) -> None:
        self.probe.until(lambda: is_zero(self.probe.last(OUT)), "a command of zeros")

    def set_guardrails(self, text: str):
        value = ParameterValue(type=ParameterType.PARAMETER_STRING, string_value=text)
        request = SetParametersAtomically.Request(parameters=[Parameter(name="guardrails", value=value)])
        result = self.probe.call(SetParametersAtomically, "safety_gate/set_parameters_atomically", request).result
        if result.successful:
            self.world.guardrail_hash = parse_guardrails(text).hash  # the planner gets the same set
        return result

    def close(self) -> None:
        self.gate.end()
        self.probe.close()


@pytest.fixture(scope="module")
def armed():
    """One gate for all tests that leave it as they found it: active."""
    scene = Scene("auto_enable:=true")
    try:
        scene.mode("ACTIVE")
        yield scene
    finally:
        scene.close()


@pytest.fixture
def scene(armed):
    armed.mode("ACTIVE", "LIMITED")
    yield armed
    armed.world.silent.clear()
    armed.world.command = (0.2, 0.5)
    armed.world.estop = False
    armed.probe.spin(0.1)
    armed.probe.call(Trigger, "safety_gate/reset")
    armed.mode("ACTIVE", "LIMITED")


def test_an_allowed_command_passes(scene):
    out = scene.probe.until(
        lambda: abs(scene.probe.last(OUT).twist.linear.x - 0.2) < 1e-9 and scene.probe.last(OUT), "0.2 m/s"
    )
    assert out.twist.angular.z == pytest.approx(0.5)
    assert abs(out.header.stamp.sec + out.header.stamp.nanosec * 1e-9 - time.time()) < 1.0
    # The state tells the age and the stamp of the image behind the command, and when it left.
    assert 0.0 <= float(scene.state["image_age"]) < 0.5
    assert abs(float(scene.state["image_stamp"]) - time.time()) < 1.0
    assert abs(float(scene.state["monotonic"]) - time.monotonic()) < 1.0


def test_too_fast_a_command_is_scaled_as_a_whole(scene):
    scene.world.command = (0.8, 1.0)
    scene.mode("LIMITED")
    scene.probe.until(lambda: abs(scene.probe.last(OUT).twist.linear.x - 0.4) < 1e-6, "0.4 m/s")
    assert scene.probe.last(OUT).twist.angular.z == pytest.approx(0.5)


def test_it_goes_on_at_its_rate_and_stops_when_commands_fall_silent(scene):
    scene.world.silent.add("command")
    scene.reason("command_timeout")
    scene.stands()
    kept = scene.probe.received[OUT]
    before = len(kept)
    # 50 Hz; on a busy machine not in every second.
    scene.probe.until(lambda: len(kept) - before >= 40 and kept[-1][0] - kept[-40][0] < 1.0, "40 zeros in a second")
    assert all(is_zero(m) for _, m in kept[before:])


def test_nan_stops_at_once(scene):
    scene.world.command = (math.nan, 0.0)
    scene.reason("command_not_finite")
    scene.stands()
    assert all(math.isfinite(m.twist.linear.x) for _, m in scene.probe.received[OUT])


@pytest.mark.parametrize(
    ("topic", "reason"), [("image", "image_stale"), ("odom", "state_stale"), ("perception", "heartbeat")]
)
def test_a_silent_input_stops_the_robot_and_it_arms_anew(scene, topic, reason):
    scene.world.silent.add(topic)
    scene.reason(reason)
    scene.stands()
    scene.world.silent.clear()
    scene.mode("ACTIVE")


def test_the_emergency_stop_latches_until_it_is_released_and_reset(scene):
    scene.world.estop = True
    scene.mode("ESTOP")
    scene.stands()
    refused = scene.probe.call(Trigger, "safety_gate/reset")
    assert not refused.success and refused.message
    scene.world.estop = False
    scene.probe.spin(0.5)
    assert scene.state["mode"] == "ESTOP"
    assert scene.probe.call(Trigger, "safety_gate/reset").success
    scene.mode("ACTIVE")


def test_a_press_that_is_let_go_within_a_tick_is_not_lost(scene):
    scene.world.silent.add("estop")
    scene.probe.spin(0.05)
    for value in (True, False, False, False):
        scene.world.outs["estop"][0].publish(Bool(data=value))
    scene.mode("ESTOP")
    assert scene.state["reason"] == "estop"


def test_the_last_interventions_and_the_counts_can_be_asked_for(scene):
    scene.probe.call(Trigger, "safety_gate/estop")
    scene.mode("ESTOP")
    answer = scene.probe.call(Trigger, "safety_gate/interventions")
    found = json.loads(answer.message)
    assert answer.success and found["latched"] == "estop" and found["counts"]["estop"] >= 1
    last = found["interventions"][-1]
    assert last["reason"] == "estop" and last["given"] == [0.0, 0.0] and abs(last["ros"] - time.time()) < 60.0
    lines = told(found).splitlines()
    assert "ESTOP" in lines[-2] and "counts: " in lines[-1] and len(found["interventions"]) <= 100


def test_the_estop_service_latches_too(scene):
    assert scene.probe.call(Trigger, "safety_gate/estop").success
    scene.mode("ESTOP")
    scene.stands()


def test_disabling_and_enabling(scene):
    assert scene.probe.call(SetBool, "safety_gate/enable", SetBool.Request(data=False)).success
    scene.mode("DISABLED")
    scene.stands()
    assert scene.probe.call(SetBool, "safety_gate/enable", SetBool.Request(data=True)).success
    scene.mode("ACTIVE")


def test_a_second_publisher_on_the_output_stops_it(scene):
    other = scene.probe.node.create_publisher(TwistStamped, OUT, qos.COMMAND)
    try:
        scene.reason("second_publisher")
        scene.stands()
    finally:
        scene.probe.node.destroy_publisher(other)
    scene.mode("ACTIVE")


def test_a_publisher_that_cannot_be_received_is_an_error_and_a_stop(scene):
    other = scene.probe.node.create_publisher(TwistStamped, "command_raw", qos.IMAGE)  # best effort
    try:
        scene.reason("input_error")
        assert "command_raw" in scene.probe.last(STATE).status[0].message
        scene.stands()
    finally:
        scene.probe.node.destroy_publisher(other)
    scene.mode("ACTIVE")


def test_guardrails_change_whole_or_not_at_all(scene):
    before = scene.state["guardrail_hash"]
    refused = scene.set_guardrails("- {name: a, kind: keep_out, unit: furlong}")
    assert not refused.successful and "furlong" in refused.reason
    assert scene.state["guardrail_hash"] == before
    zone = ZONE
    assert scene.set_guardrails(zone).successful
    scene.probe.until(lambda: scene.state["guardrail_hash"] != before, "another guardrail hash")
    # Driving straight at the region, with the pose at its side: the gate itself keeps the robot out.
    assert scene.set_guardrails(zone.replace("0.5, 0.0", "0.32, 0.0")).successful
    scene.reason("region")
    assert scene.set_guardrails("").successful
    scene.probe.until(lambda: scene.state["guardrail_hash"] == before, "the contract's guardrails again")


@pytest.mark.parametrize(
    ("text", "taken"),
    [
        ("[" + ",".join(["{a: 1}"] * 8000) + "]", False),  # takes seconds to read
        ("#" * 5_000_000, False),
        (f"{ZONE}\n" + "# by hand\n" * 10_000, True),
    ],
    ids=["long", "too long", "accepted"],
)
def test_no_text_holds_up_a_tick(scene, text, taken):
    kept = scene.probe.received[STATE]
    for _ in range(3):  # a busy machine may hold up a tick; a text that does would each time, and for seconds
        before = len(kept)
        assert scene.set_guardrails(text).successful == taken
        scene.probe.until(lambda b=before: len(kept) > b + 5, "ticks")
        told = [{p.key: p.value for p in m.status[0].values} for _, m in kept[before:]]
        ticks = [(float(t["tick"]), int(t["ticks"])) for t in told]
        # The test may miss states while it writes the text; the gate counts its ticks.
        late = max(b - a - 0.02 * (n - k) for (a, k), (b, n) in itertools.pairwise(ticks))
        reasons = {t["reason"] for t in told}
        assert scene.set_guardrails("").successful
        if late < 0.1 and "gate_late" not in reasons:
            break
    else:
        raise AssertionError((late, reasons))


def test_another_guardrail_set_at_the_planner_is_noticed(scene):
    scene.world.guardrail_hash = "something else"
    scene.reason("identity")
    scene.world.guardrail_hash = scene.state["guardrail_hash"]
    scene.mode("ACTIVE")


def test_a_planner_that_no_longer_says_what_it_means_is_not_followed(scene):
    scene.world.silent.add("signals")
    scene.reason("signals_lost")
    scene.stands()
    scene.world.silent.clear()
    scene.mode("ACTIVE")


def test_a_planner_whose_model_and_guardrails_are_not_known_is_not_followed():
    for silent, settings in (({"signals"}, "{signals_required: false}"), ({"model_id"}, "{}")):
        scene = Scene("auto_enable:=true", f"settings:='{settings}'")
        try:
            scene.world.silent |= silent
            scene.reason("identity")
            scene.probe.spin(1.5)
            scene.reason("identity")
            told = [{p.key: p.value for p in m.status[0].values} for _, m in scene.probe.received[STATE]]
            assert "ARMING" in {t["mode"] for t in told} and not {"ACTIVE", "LIMITED"} & {t["mode"] for t in told}
            scene.world.silent.clear()
            scene.mode("ACTIVE")
        finally:
            scene.close()


def test_what_was_published_before_it_ran_and_kept_is_heard():
    """A localisation that has spoken once, and an emergency stop that was pressed, both transient local."""
    probe = Probe("/early")
    out = probe.node.create_publisher(PoseWithCovarianceStamped, "pose", qos.LATCHED)
    stop = probe.node.create_publisher(Bool, "estop", qos.LATCHED)
    world = GateWorld(probe)
    world.silent.add("pose")
    out.publish(world.outs["pose"][2]())
    stop.publish(Bool(data=True))
    probe.listen(DiagnosticArray, STATE, qos.LATCHED)
    gate = Child(*GATE, "--ros-args", "-r", "__ns:=/early", "-p", "auto_enable:=true")
    try:
        probe.until(lambda: probe.values(STATE).get("reason") == "estop", "the stop that was pressed")
        stop.publish(Bool(data=False))
        probe.spin(2.0)  # longer than a pose is believed that is not kept
        assert probe.call(Trigger, "safety_gate/reset").success
        probe.until(lambda: probe.values(STATE).get("mode") == "ACTIVE", "active")
        assert "pose=" in probe.values(STATE)["inputs"]
    finally:
        gate.end()
        probe.close()


def test_a_latch_tells_what_was_wrong_with_the_commands(scene):
    joystick = scene.probe.node.create_publisher(TwistStamped, "command_teleop", qos.COMMAND)

    def send() -> None:
        message = TwistStamped()
        message.header.stamp, message.header.frame_id = scene.world.now, "teleop_twist_joy"
        joystick.publish(message)

    scene.probe.each_spin.append(send)
    try:
        scene.reason("bad_commands")
        assert "frame 'teleop_twist_joy', expected 'base_link'" in scene.probe.last(STATE).status[0].message
    finally:
        scene.probe.each_spin.remove(send)
        scene.probe.node.destroy_publisher(joystick)
    scene.probe.spin(1.2)  # teleoperation lets go


def test_people_slow_it_down_where_a_guardrail_asks_for_it():
    scene = Scene("auto_enable:=true")
    try:
        scene.mode("ACTIVE")
        _people(scene)
    finally:
        scene.close()


def _people(scene: Scene) -> None:
    near = "- {name: near, kind: near_person, unit: m/s, distance: 0.5, max_speed: 0.1}"
    assert scene.set_guardrails(near).successful
    scene.reason("person")  # nobody says where people are
    out = scene.probe.node.create_publisher(PoseArray, "people", qos.STATE)
    where = [5.0]

    def tell() -> None:
        message = PoseArray(poses=[Pose()])
        message.header.stamp, message.header.frame_id = scene.world.now, "map"
        message.poses[0].position.x = where[0]
        out.publish(message)

    scene.probe.each_spin.append(tell)
    scene.probe.until(lambda: scene.state["reason"] == "ok", "a person far away")
    where[0] = 0.4
    scene.reason("person")
    scene.probe.until(lambda: abs(scene.probe.last(OUT).twist.linear.x - 0.1) < 1e-6, "0.1 m/s")
    assert scene.set_guardrails("").successful
    scene.mode("ACTIVE")
    scene.probe.each_spin.remove(tell)
    scene.reason("state_stale")  # a tracker that was heard and falls silent
    scene.probe.each_spin.append(tell)
    scene.mode("ACTIVE")


def _ends_in_zeros(scene: Scene, asked: float) -> None:
    """Zeros, and nothing else, for the contract's exit_duration of 1 s before the gate was gone."""
    later = [(t, m) for t, m in scene.probe.received[OUT] if t > asked]
    zeros = list(itertools.dropwhile(lambda told: not is_zero(told[1]), later))
    assert all(is_zero(m) for _, m in zeros) and len(zeros) > 15
    assert zeros[-1][0] - asked > 0.8


@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGABRT"])
def test_on_a_signal_it_sends_stops_for_a_while_and_then_ends(number):
    scene = Scene("auto_enable:=true")
    try:
        scene.mode("ACTIVE")
        scene.gate.popen.send_signal(getattr(signal, number))
        asked = time.monotonic()
        scene.probe.until(lambda: scene.gate.popen.poll() is not None, "the gate to end")
        assert scene.gate.wait() == 0, scene.gate.text
        _ends_in_zeros(scene, asked)
        assert scene.state["reason"] == "exit"
    finally:
        scene.close()


def test_every_signal_that_ends_or_suspends_a_process_is_answered():
    found = ending_signals()
    assert {signal.SIGHUP, signal.SIGQUIT, signal.SIGALRM, signal.SIGTSTP, signal.SIGRTMAX} <= set(found)
    assert not {signal.SIGKILL, signal.SIGSTOP, signal.SIGSEGV, signal.SIGCHLD, signal.SIGPIPE} & set(found)


def test_a_signal_that_was_ignored_from_the_start_stays_so():
    code = (
        "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN); signal.signal(signal.SIGINT, signal.SIG_IGN);"
        "from jepa_ros.nodes.process import Signals; Signals();"
        "print(signal.getsignal(signal.SIGHUP) == signal.SIG_IGN, signal.getsignal(signal.SIGINT) == signal.SIG_IGN)"
    )
    child = Child("-c", code)
    try:
        assert child.wait() == 0 and child.text.endswith("True False"), child.text
    finally:
        child.end()


def test_an_exit_from_inside_its_loop_sends_stops_first():
    code = (
        "import sys; from jepa_ros.nodes import safety_gate as g;"
        "g.SafetyGateNode._on_interventions = lambda *_: sys.exit(0); sys.exit(g.main(sys.argv))"
    )
    scene = Scene("auto_enable:=true", start=("-c", code))
    try:
        scene.mode("ACTIVE")
        scene.probe.until(lambda: not is_zero(scene.probe.last(OUT)), "a command that moves")
        client = scene.probe.node.create_client(Trigger, "safety_gate/interventions")
        scene.probe.until(client.service_is_ready, "the service")
        client.call_async(Trigger.Request())
        asked = time.monotonic()
        scene.probe.until(lambda: scene.gate.popen.poll() is not None, "the gate to end")
        assert scene.gate.wait() == 1 and "SystemExit" in scene.gate.text
        _ends_in_zeros(scene, asked)
    finally:
        scene.close()


def test_without_a_clock_it_still_publishes_and_does_not_arm():
    scene = Scene("auto_enable:=true", "use_sim_time:=true")
    try:
        scene.probe.until(lambda: len(scene.probe.received[OUT]) > 50, "ticks without /clock")
        assert all(is_zero(m) for _, m in scene.probe.received[OUT])
        assert scene.state["mode"] in ("ARMING", "STOPPED")
    finally:
        scene.close()


@pytest.mark.parametrize(
    ("arg", "said"),
    [
        ("robot:=no_such_robot", "no_such_robot"),
        ("auto_enable:=7", "auto_enable"),
        ("model:=no_such_model", "no_such_model"),
        ("settings:='{pose_sigma: -5}'", "pose_sigma"),
        ("settings:='{velocity: [9, 9]}'", "velocity"),
        ("auto_enabel:=true", "auto_enabel"),
        ("settings:='{no_such_setting: 1}'", "no_such_setting"),
        ("guardrails:='- {name: a, kind: fence}'", "fence"),
        ("command_kind:=joint_trajectory", "joint_trajectory"),
    ],
)
def test_a_wrong_parameter_ends_it_with_one_line_that_names_it(arg, said):
    gate = Child("-m", "jepa_ros.nodes.safety_gate", "--ros-args", "-p", arg)
    try:
        assert gate.wait(60) == 2, gate.text
        assert said in gate.text and "Traceback" not in gate.text
    finally:
        gate.end()


def test_a_second_publisher_is_found_where_the_output_is_remapped_to():
    scene = Scene("auto_enable:=true", remap="cmd_vel:=base/drive")
    try:
        scene.mode("ACTIVE")
        other = scene.probe.node.create_publisher(TwistStamped, "base/drive", qos.COMMAND)
        scene.reason("second_publisher")
        scene.probe.node.destroy_publisher(other)
    finally:
        scene.close()


def test_in_a_dry_run_nothing_leaves_even_when_the_gate_breaks():
    probe, context = Probe("/dry"), Context()
    rclpy.init(args=["--ros-args", "-p", "settings:='{dry_run: true}'"], context=context)
    node = SafetyGateNode(namespace="/dry", context=context)
    try:
        probe.listen(DiagnosticArray, STATE, qos.LATCHED)
        probe.listen(TwistStamped, OUT, qos.COMMAND)
        probe.until(lambda: node._command_out.get_subscription_count() > 0, "a listener")
        node.tick()
        node._gate = None  # nothing that a step could be asked of
        probe.each_spin.append(node.tick)
        probe.until(lambda: probe.values(STATE).get("reason") == "internal_fault", "the fault")
        probe.spin(0.3)
        assert not probe.received[OUT]
    finally:
        node.destroy_node()
        context.try_shutdown()
        probe.close()


def test_an_exception_inside_stops_the_robot_and_latches_until_reset():
    """In this process, with a gate that breaks: what no input should ever bring about."""
    probe, context = Probe("/broken"), Context()
    rclpy.init(args=["--ros-args", "-p", "auto_enable:=true"], context=context)
    node = SafetyGateNode(namespace="/broken", context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    try:
        probe.listen(DiagnosticArray, STATE, qos.LATCHED)
        probe.listen(TwistStamped, OUT, qos.COMMAND)
        GateWorld(probe)
        probe.each_spin.append(lambda: executor.spin_once(timeout_sec=0.005))
        probe.until(lambda: probe.values(STATE).get("mode") == "ACTIVE", "active")
        probe.until(lambda: not is_zero(probe.last(OUT)), "a command that moves")
        whole = node._gate

        class Broken:
            def step(self, *_):
                raise ZeroDivisionError("a bug")

        node._gate = Broken()
        probe.until(lambda: probe.values(STATE).get("reason") == "internal_fault", "the fault")
        assert "a bug" in probe.last(STATE).status[0].message
        kept = probe.received[OUT]
        before = len(kept)
        probe.until(lambda: len(kept) > before + 20, "stops that go on")
        assert all(is_zero(m) for _, m in kept[before + 1 :])
        node._gate = whole
        probe.spin(0.3)
        assert probe.values(STATE)["reason"] == "internal_fault"  # mended or not, it stays until somebody looked
        probe.call(Trigger, "safety_gate/reset")
        probe.until(lambda: probe.values(STATE).get("mode") == "ACTIVE", "active again")
    finally:
        node.destroy_node()
        context.try_shutdown()
        probe.close()
