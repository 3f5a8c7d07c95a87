# SPDX-License-Identifier: Apache-2.0
"""The whole graph as processes: it comes up, survives and names the death of a node, and ends with the gate last."""

from __future__ import annotations

import contextlib
import os
import signal
import time

import numpy as np
import psutil
import pytest
import torch
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseStamped, TwistStamped
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from nav_msgs.msg import Odometry
from nav_msgs.msg import Path as PathMessage
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import SetParametersAtomically
from ros_harness import Child, Probe, forgive_chatter, is_zero
from sensor_msgs.msg import Image
from std_msgs.msg import String
from std_srvs.srv import SetBool, Trigger
from toy_world import planar_config

from jepa_ros.bringup.stack import Stack, StackError
from jepa_ros.contract import load_contract
from jepa_ros.messages.images import latent_of
from jepa_ros.nodes import qos
from jepa_ros.nodes.convert import fill
from jepa_ros.nodes.models import card_id, read_card
from jepa_ros.world_model.checkpoint import load_card, model_id, save_checkpoint
from jepa_ros.world_model.model import WorldModel

STATE, STATUS, OUT, TRUTH = "safety_gate/state", "planner/status", "cmd_vel", "sim/truth"


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, str]:
    """A checkpoint with random weights (it drives, and gets nowhere), and parameters that never let it arrive."""
    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    save_checkpoint(folder, WorldModel(planar_config()), {"contract": load_contract("arena").to_dict()})
    planner = folder / "planner.yaml"
    planner.write_text("{arrival.arrive: 1.0e-9, arrival.leave: 1.0e-9, search.samples: 32, search.elites: 8}\n")
    return {"model": str(folder), "planner_params": str(planner)}


class Scene:
    """A running stack and a probe that hears what the tests ask about."""

    def __init__(self, given: dict[str, str]) -> None:
        self.lines: list[tuple[float, str, str]] = []
        self.stack = Stack("sim", given, on_line=lambda p, line: self.lines.append((time.monotonic(), p, line)))
        self.stack.start()
        self.probe = Probe()
        self.probe.listen(DiagnosticArray, STATE, qos.LATCHED)
        forgive_chatter(self.probe)
        self.probe.listen(DiagnosticArray, STATUS, qos.STATUS)
        self.probe.listen(DiagnosticArray, "signals", qos.SIGNALS)
        self.probe.listen(DiagnosticArray, "sim/timing", qos.STATUS)
        self.probe.listen(TwistStamped, OUT, qos.COMMAND)
        self.probe.listen(TwistStamped, "command_raw", qos.COMMAND)
        self.probe.listen(Odometry, TRUTH, qos.STATE)
        self.probe.listen(Image, "image", qos.IMAGE)
        self.probe.listen(Image, "embedding", qos.EMBEDDING)
        self.probe.listen(PathMessage, "plan", qos.STATUS)
        self.probe.listen(String, "model_id", qos.LATCHED)
        self.goal_out = self.probe.node.create_publisher(Image, "goal_image", qos.LATCHED)
        self.pose_out = self.probe.node.create_publisher(PoseStamped, "goal_pose", qos.COMMAND)

    def ready(self) -> None:
        self.stack.wait_ready()
        self.mode("ACTIVE", "LIMITED")

    def mode(self, *names: str, timeout: float = 60.0) -> None:
        self.probe.until(lambda: self.probe.values(STATE).get("mode") in names, f"gate {' or '.join(names)}", timeout)

    def status(self, **wanted: str) -> dict[str, str]:
        """Wait for a planner's status with these values."""

        def found():
            values = self.probe.values(STATUS)
            return all(values.get(k) == v for k, v in wanted.items()) and values

        return self.probe.until(found, f"planner status {wanted}")

    def goal(self, encoding: str = "rgb8", size: tuple[int, int] = (128, 128)) -> None:
        channels = {"rgb8": 3, "bgr8": 3, "mono8": 1, "rgba8": 4, "16UC1": 2}[encoding]
        pixels = np.random.default_rng(5).integers(0, 255, (size[1], size[0], channels), dtype=np.uint8)
        self.goal_out.publish(fill(Image(), pixels, encoding))

    def drive(self) -> None:
        """Give a goal until the robot moves."""
        self.goal()
        self.probe.until(lambda: not is_zero(self.probe.last(OUT)), "a command that moves")

    def close(self) -> None:
        self.stack.stop()
        self.probe.close()


@pytest.fixture(scope="module")
def running(files):
    scene = Scene(files)
    try:
        scene.ready()
        yield scene
    finally:
        scene.close()


@pytest.fixture
def scene(running):
    running.probe.call(Trigger, "planner/clear_goal")
    running.probe.call(Trigger, "sim/reset")  # back to where there is room to drive
    running.probe.call(Trigger, "safety_gate/reset")
    running.mode("ACTIVE", "LIMITED")
    kept = running.probe.received[STATUS]
    steps = len(kept)
    running.probe.until(lambda: len(kept) > steps + 1, "steps of the planner")
    yield running
    running.stack.check()


def test_without_a_goal_the_planner_says_idle_and_sends_zeros(scene):
    scene.status(reason="idle")
    before = len(scene.probe.received["command_raw"])
    scene.probe.until(lambda: len(scene.probe.received["command_raw"]) > before + 3, "commands while idle")
    assert all(is_zero(m) for _, m in scene.probe.received["command_raw"][before + 1 :])


def test_the_embedding_carries_the_stamp_of_its_image(scene):
    scene.probe.until(lambda: len(scene.probe.received["embedding"]) > 5, "embeddings")
    stamps = {(m.header.stamp.sec, m.header.stamp.nanosec) for _, m in scene.probe.received["image"]}
    _, message = scene.probe.received["embedding"][-1]
    assert (message.header.stamp.sec, message.header.stamp.nanosec) in stamps
    assert np.isfinite(latent_of(message)).all()


def test_a_goal_image_makes_it_plan_and_the_command_carries_the_stamp_of_an_image(scene):
    scene.drive()
    status = scene.status(goal="image", reason="ok", feasible="true")
    assert int(status["iterations"]) >= 1 and float(status["elapsed_s"]) > 0.0
    assert any(key.startswith("terms/") for key in status)
    stamps = {(m.header.stamp.sec, m.header.stamp.nanosec) for _, m in scene.probe.received["image"]}
    _, command = scene.probe.received["command_raw"][-1]
    assert (command.header.stamp.sec, command.header.stamp.nanosec) in stamps
    scene.probe.until(lambda: scene.probe.last("plan"), "a path")
    assert scene.probe.last("plan").header.frame_id == "map"
    assert scene.probe.values("signals")["model_id"] == scene.probe.last("model_id").data


def test_steps_keep_the_control_rate(scene):
    scene.drive()
    kept = scene.probe.received["command_raw"]
    before = len(kept)

    def ten_in_a_row() -> bool:
        """Images are best effort: on a machine that is busy otherwise some are lost, and steps with them."""
        stamps = [m.header.stamp.sec + m.header.stamp.nanosec * 1e-9 for _, m in kept[before:][-11:]]
        return len(stamps) == 11 and np.allclose(np.diff(stamps), 0.2, atol=1e-6)

    scene.probe.until(ten_in_a_row, "ten steps in a row at the control rate")


@pytest.mark.parametrize("encoding", ["bgr8", "mono8", "rgba8"])
def test_goal_images_of_other_encodings_and_sizes_are_taken(scene, encoding):
    scene.goal(encoding, (320, 320))
    assert scene.status(goal="image")["goal_refused"] == ""


@pytest.mark.parametrize(
    ("encoding", "size", "said"), [("16UC1", (128, 128), "16UC1"), ("rgb8", (320, 240), "320x240")]
)
def test_a_goal_image_that_cannot_be_used_is_refused_by_name(scene, encoding, size, said):
    scene.goal(encoding, size)
    scene.probe.until(lambda: said in scene.probe.values(STATUS).get("goal_refused", ""), "a refusal by name")
    assert scene.probe.values(STATUS)["goal"] == "none"


def test_a_goal_pose_in_another_frame_is_refused(scene):
    pose = PoseStamped()
    pose.header.frame_id = "moon"
    pose.pose.orientation.w = 1.0
    scene.pose_out.publish(pose)
    scene.probe.until(lambda: "moon" in scene.probe.values(STATUS).get("goal_refused", ""), "a refusal by name")
    pose.header.frame_id = "map"
    scene.pose_out.publish(pose)
    scene.status(goal="pose")


def test_pause_and_goal_from_current(scene):
    assert scene.probe.call(Trigger, "planner/goal_from_current").success
    scene.status(goal="image", goal_name="current")
    scene.drive()
    assert scene.probe.call(SetBool, "planner/pause", SetBool.Request(data=True)).success
    scene.status(reason="paused")
    scene.probe.until(lambda: is_zero(scene.probe.last(OUT)), "zeros while paused")
    assert scene.probe.call(SetBool, "planner/pause", SetBool.Request(data=False)).success
    scene.status(reason="ok")


def _set_planner(scene, name: str, text: str):
    value = ParameterValue(type=ParameterType.PARAMETER_STRING, string_value=text)
    request = SetParametersAtomically.Request(parameters=[Parameter(name=name, value=value)])
    return scene.probe.call(SetParametersAtomically, "planner/set_parameters_atomically", request).result


@pytest.mark.parametrize(
    ("name", "good", "bad", "said"),
    [
        ("costs", "{latent: 2.0}", "{latnet: 2.0}", "latnet"),
        ("costs", "", "{latent: -1.0}", "latent"),
        ("guardrails", "[]", "- {name: z, kind: fence, unit: m}", "fence"),
        ("model", "", "other", "configured"),
    ],
)
def test_costs_and_guardrails_change_while_it_runs_or_are_refused_with_a_reason(scene, name, good, bad, said):
    scene.drive()
    refused = _set_planner(scene, name, bad)
    assert not refused.successful and said in refused.reason
    if name != "model":
        assert _set_planner(scene, name, good).successful
    scene.status(reason="ok")


def test_a_deactivated_planner_leaves_a_zero_and_the_gate_stops_until_it_is_active_again(scene):
    scene.drive()
    for transition, modes in (
        (Transition.TRANSITION_DEACTIVATE, ("STOPPED",)),
        (Transition.TRANSITION_ACTIVATE, ("ACTIVE", "LIMITED")),
    ):
        request = ChangeState.Request(transition=Transition(id=transition))
        assert scene.probe.call(ChangeState, "planner/change_state", request).success
        scene.mode(*modes)


def test_the_simulated_clock_goes_on_over_a_reset(scene):
    before = scene.probe.last(TRUTH).header.stamp
    answer = scene.probe.call(Trigger, "sim/reset")
    assert answer.success and "robot at" in answer.message
    kept = scene.probe.received[TRUTH]
    count = len(kept)
    scene.probe.until(lambda: len(kept) > count + 3, "truth after the reset")
    assert (kept[-1][1].header.stamp.sec, kept[-1][1].header.stamp.nanosec) > (before.sec, before.nanosec)


def test_a_paused_simulator_makes_the_gate_stop(scene):
    assert scene.probe.call(SetBool, "sim/pause", SetBool.Request(data=True)).success
    scene.mode("STOPPED")
    assert scene.probe.call(SetBool, "sim/pause", SetBool.Request(data=False)).success
    scene.mode("ACTIVE", "LIMITED")


def test_a_killed_planner_is_named_the_robot_stops_and_the_planner_comes_back(scene):
    scene.drive()
    killed = scene.stack.pid("planner")
    os.kill(killed, signal.SIGKILL)
    scene.mode("STOPPED")
    scene.probe.until(lambda: is_zero(scene.probe.last(OUT)), "zeros")
    scene.probe.until(lambda: abs(scene.probe.last(TRUTH).twist.twist.linear.x) < 0.01, "the robot at rest")
    scene.probe.until(lambda: scene.stack.faults, "a fault that is told")
    fault = scene.stack.faults[-1]
    assert fault.process == "planner" and "SIGKILL" in fault.what and not fault.fatal
    scene.probe.until(lambda: scene.stack.pid("planner") not in (None, killed), "a new planner")
    scene.mode("ACTIVE", "LIMITED")
    # The goal was published latched: the new planner hears it as the old one did.
    scene.status(goal="image", reason="ok")


def test_the_gate_reads_the_same_model_id_as_planner_and_perception(files):
    assert card_id(read_card(files["model"])) == model_id(load_card(files["model"]))


# ---------------------------------------------------------------- stacks that end


def _children() -> list[psutil.Process]:
    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):  # it may end, and be a zombie, while one looks
            if "jepa_ros.nodes" in " ".join(process.cmdline()):
                found.append(process)
    return found


def _running(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Those that still run (an ended one whose parent has not asked for its exit code does not)."""
    running = []
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                running.append(process)
    return running


def test_stopping_a_composed_stack_ends_the_gate_last_and_leaves_nothing(files):
    scene = Scene({**files, "composed": "true", "namespace": "second"})
    try:
        before = {p.pid for p in _children()}
        scene.stack.wait_ready()
        mine = scene.stack.pids()
        assert set(mine) == {"safety_gate", "sim", "composed"}
        assert set(mine.values()) <= before | {p.pid for p in _children()}
        scene.stack.stop()
        assert scene.stack.pids() == {} and not scene.stack.faults
        assert not set(mine.values()) & {p.pid for p in _children()}
        assert "stopped the robot and ended" in scene.stack.lines("safety_gate")[-1]
    finally:
        scene.close()


def test_ctrl_c_on_the_command_line_ends_everything_the_gate_last(files):
    words = [f"{k}:={v}" for k, v in files.items()]
    up = Child("-m", "jepa_ros.commands.cli", "up", "sim", "namespace:=third", *words)
    try:
        end = time.monotonic() + 120
        while "ready" not in up.text and up.popen.poll() is None and time.monotonic() < end:
            time.sleep(0.1)
        assert "[up] ready" in up.text, up.text
        children = psutil.Process(up.popen.pid).children(recursive=True)
        assert len(children) >= 4
        os.kill(up.popen.pid, signal.SIGINT)
        assert up.wait(60) == 0, up.text
        assert up.lines[-1] == "[up] every process has ended"
        assert up.lines[-2].startswith("[safety_gate]") and "ended" in up.lines[-2]
        assert not _running(children)
    finally:
        up.end()


def test_children_do_not_outlive_a_parent_that_was_killed(files):
    settings = [f"{k}:={v}" for k, v in files.items()]
    up = Child("-m", "jepa_ros.commands.cli", "up", "sim", "namespace:=fourth", *settings)
    try:
        end = time.monotonic() + 120
        while "running" not in up.text and time.monotonic() < end:
            time.sleep(0.1)
        children = psutil.Process(up.popen.pid).children(recursive=True)
        assert children
        os.kill(up.popen.pid, signal.SIGKILL)
        end = time.monotonic() + 60
        while _running(children) and time.monotonic() < end:
            time.sleep(0.1)
        assert not _running(children)
    finally:
        up.end()


def test_a_wrong_model_ends_the_stack_and_the_message_names_it(files, tmp_path):
    stack = Stack("sim", {**files, "model": str(tmp_path), "namespace": "fifth"})
    with pytest.raises(StackError) as caught, stack:
        stack.wait_ready()
    assert "card.json" in str(caught.value)
    assert caught.value.args[0].startswith(("safety_gate", "perception", "planner"))


def test_a_killed_gate_stops_everything_and_is_named(files):
    with Stack("sim", {**files, "namespace": "sixth", "autostart": "false"}) as stack:
        stack.wait_ready()
        pids = stack.pids()
        os.kill(pids["safety_gate"], signal.SIGKILL)
        assert stack.wait(60)
        with pytest.raises(StackError, match="safety_gate: died: killed by SIGKILL"):
            stack.check()
    assert not any(psutil.pid_exists(pid) for pid in pids.values())


def test_a_second_stack_in_the_same_place_is_refused(running, files):
    with pytest.raises(StackError, match="runs already"):
        Stack("sim", files).start()
