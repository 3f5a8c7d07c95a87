# SPDX-License-Identifier: Apache-2.0
"""A replay decides what was decided then, the same every time, and lists what a change makes different."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from bag_helpers import write_bag
from drive_bag import write_drive
from stack_bag import CONFIG, make_model, write_stack_bag

from jepa_ros.bags import BagError
from jepa_ros.bags import replay as command
from jepa_ros.bags.format.reader import BagReader
from jepa_ros.bags.identity import identity
from jepa_ros.bags.replay import replay
from jepa_ros.bags.replay.compare import Tolerance, compare
from jepa_ros.bags.replay.read import read_recording
from jepa_ros.bags.replay.run_log import RunLog
from jepa_ros.bags.replay.stack import Changes, prepare
from jepa_ros.contract import RobotContract, load_contract
from jepa_ros.errors import JepaRosError
from jepa_ros.nodes import planner_messages
from jepa_ros.options import Parser
from jepa_ros.planar.settings import PlanarConfig
from jepa_ros.planning.arrival import ArrivalConfig
from jepa_ros.safety import Gate

SLOW = "- {name: slow, kind: speed_zone, unit: m/s, box: {center: [0, 0], size: [4, 4]}, max_speed: 0.01}\n"


@pytest.fixture(scope="module")
def recorded(tmp_path_factory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("replay")
    model = make_model(folder / "model")
    write_stack_bag(folder / "bag", model)
    return folder / "bag", model


def run(*words: str) -> int:
    parser = Parser()
    command.add_arguments(parser)
    return command.main(parser.parse_args([str(word) for word in words]))


def test_a_replay_agrees_with_the_recording(recorded):
    bag, model = recorded
    result, comparison = replay(bag, Changes(model=str(model)))
    assert comparison.agree, comparison.differences[:5]
    assert result["changed"] == [] and result["notes"] == []
    counts = comparison.counts
    assert counts["embedding"] == 60 and counts["command_raw"] == 30 and counts["safety_gate/state"] > 240
    assert comparison.largest["embedding"] == 0.0 and comparison.largest["command_raw"] == 0.0


def test_a_step_that_had_no_time_for_a_plan_is_repeated_as_one(recorded, tmp_path):
    """Or the planner would go on from a plan that it never had, and every later one differ."""
    _, model = recorded
    never = replace(CONFIG, arrival=ArrivalConfig(arrive=1e-9, leave=1e-9))
    write_stack_bag(tmp_path / "bag", model, config=never, hurried=lambda time: 2.0 <= time < 2.5)
    _, comparison = replay(tmp_path / "bag", Changes(model=str(model)))
    with BagReader(tmp_path / "bag") as reader:
        steps = prepare(reader, Changes(brain=False)).recording.log.steps.values()
    reasons = [step.reason for step in steps]
    assert reasons.count("deadline") == 3 and reasons[-1] == "ok"
    assert comparison.agree, comparison.differences[:5]


def test_a_state_topic_of_another_type_is_left_out_as_the_gate_does(tmp_path):
    write_bag(tmp_path / "bag")
    data = load_contract("arena").to_dict()
    data["state"]["pose"]["topic"] = "/a"  # where the bag has texts
    with BagReader(tmp_path / "bag") as reader:
        found = read_recording(reader, RobotContract.from_dict(data))
    assert "pose" not in found.gate and found.images
    (note,) = found.log.notes
    assert note.startswith("/a: its messages of type std_msgs/msg/String are left out") and "PoseWithCov" in note


def test_plans_were_made_and_the_gate_let_them_through(recorded):
    """Guards the test above: agreement on nothing would be cheap."""
    bag, _ = recorded
    with BagReader(bag) as reader:
        prepared = prepare(reader, Changes(brain=False))
    log, someone = prepared.recording.log, prepared.recording.gate["people"][0].content
    assert (someone.positions, someone.frame_id) == ([(0.8, 0.7)], "map")
    config = prepared.offline.gate_config
    assert config.signals_required and config.identities_required, "as the node has it"
    reasons = {step.reason for step in log.steps.values()}
    assert {"idle", "ok"} <= reasons
    assert {"ACTIVE", "LIMITED"} & {tick.mode for tick in log.ticks}
    assert max(np.abs(tick.values).max() for tick in log.ticks) > 0.05


@pytest.mark.parametrize("threads", [1, 2])
def test_fresh_processes_decide_the_same(recorded, tmp_path, threads):
    _, model = recorded
    write_stack_bag(tmp_path / "bag", model, seconds=2.4)
    code = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); from test_bag_replay import run; "
    # Threads that wait without spinning: this machine may have fewer free cores than threads.
    environment = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE"}
    found = []
    for attempt in range(2):
        out = tmp_path / f"{attempt}.json"
        words = [str(tmp_path / "bag"), "--model", str(model), "--threads", str(threads), "--json", str(out)]
        command = [sys.executable, "-c", code + f"sys.exit(run(*{words!r}))"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
        assert done.returncode == 0, done.stderr
        found.append(json.loads(out.read_text()))
    assert found[0]["digest"] == found[1]["digest"]
    assert found[0]["comparison"]["agree"] or threads > 1


def test_another_model_is_named_and_its_differences_are_listed(recorded, tmp_path, capsys):
    bag, _ = recorded
    other = make_model(tmp_path / "other", seed=1)
    assert run(bag, "--model", other, "--compare", "--report", tmp_path / "page.html") == 1
    out = capsys.readouterr().out
    assert re.search(r"changed  model: [0-9a-f]+ in the place of [0-9a-f]+", out)
    assert re.search(r"\d+\.\d+ s  embedding: differs by", out) and "DIFFER" in out
    page = (tmp_path / "page.html").read_text()
    assert page.count("data:image/png;base64,") >= 5 and page.count("<svg") >= 4
    assert "http://" not in page and "https://" not in page and 'src="data:' in page
    assert "differs by" in page


def test_other_guardrails_change_what_the_gate_lets_through(recorded, tmp_path):
    bag, model = recorded
    (tmp_path / "rules.yaml").write_text(SLOW)
    result, comparison = replay(bag, Changes(model=str(model), guardrails=str(tmp_path / "rules.yaml")))
    assert any("guardrails" in text for text in result["changed"])
    assert any(d.topic == "safety_gate/state" for d in comparison.differences)


def test_the_guardrails_and_gate_settings_in_the_bag_are_those_of_the_replay(tmp_path):
    rules, settings = tmp_path / "rules.yaml", tmp_path / "gate.yaml"
    rules.write_text(SLOW)
    settings.write_text("{region_margin: 0.25}")
    custom, attachments = identity("arena", None, str(rules), str(settings))
    assert {"guardrails.yaml", "gate_settings.yaml"} <= set(attachments)
    model = make_model(tmp_path / "model")
    write_stack_bag(tmp_path / "bag", model, seconds=2.0, custom=custom)
    with BagReader(tmp_path / "bag") as reader:
        prepared = prepare(reader, Changes(brain=False))
    config = prepared.offline.gate_config
    assert [g.name for g in config.guardrails] == ["slow"] and config.region_margin == 0.25
    with pytest.raises(BagError, match="no_such"):
        identity("arena", None, str(tmp_path / "no_such.yaml"))


def test_settings_of_a_planner_that_told_them_all_as_the_search_s_are_read(recorded, tmp_path, monkeypatch):
    _, model = recorded
    told = planner_messages.settings

    def then(config):
        plain = json.loads(told(config))
        del plain["body"]
        plain["search"] |= {"contact_limit": 0.25, "region_margin": 0.1}
        return json.dumps(plain)

    monkeypatch.setattr(planner_messages, "settings", then)
    write_stack_bag(tmp_path / "bag", model, seconds=2.0)
    with BagReader(tmp_path / "bag") as reader:
        prepared = prepare(reader, Changes(model=str(model)))
    assert prepared.offline.planner.config.body == PlanarConfig(contact_limit=0.25, region_margin=0.1)


def test_ticks_that_the_recorder_missed_are_no_difference(recorded, tmp_path):
    _, model = recorded
    lost = {150, 151, 152, 200}
    write_stack_bag(tmp_path / "bag", model, drop=lambda topic, n: topic == "/safety_gate/state" and n in lost)
    result, comparison = replay(tmp_path / "bag", Changes(model=str(model)))
    assert comparison.agree, comparison.differences[:5]
    assert "4 ticks of the gate are not in the bag; they were filled in" in result["notes"]


def test_a_late_tick_before_the_bag_began_is_reckoned_with(recorded, tmp_path, monkeypatch):
    """The gate keeps more room after a late tick for a while: it is in the bag, although the tick itself is not."""
    _, model = recorded
    missed = {"/safety_gate/state": 50, "/odom": 25, "/pose": 10, "/people": 10, "/image": 10}
    write_stack_bag(tmp_path / "bag", model, late=0.1, drop=lambda topic, n: n < missed.get(topic, 0))
    reckoned = []
    step = Gate.step

    def watched(self, state, *rest):
        reckoned.append(state.slowest)
        return step(self, state, *rest)

    monkeypatch.setattr(Gate, "step", watched)
    replay(tmp_path / "bag", Changes(model=str(model), brain=False))
    assert reckoned[0] == 0.0 and 0.09 < reckoned[1] < 0.13


def test_ticks_without_their_inputs_in_the_bag_are_not_compared_and_counted(recorded, tmp_path):
    _, model = recorded
    lost = range(8, 12)  # the planner's words that the gate armed on, and the first that it followed
    drop = {"/command_raw": lost, "/signals": lost}
    write_stack_bag(tmp_path / "bag", model, drop=lambda topic, n: n in drop.get(topic, ()))
    result, comparison = replay(tmp_path / "bag", Changes(model=str(model)))
    assert comparison.agree, comparison.differences[:5]
    note = next(n for n in result["notes"] if "ticks are not compared" in n)
    left_out, of = (int(word) for word in re.findall(r"[0-9]+", note)[:2])
    assert of == 300 and 40 <= left_out <= 100
    assert comparison.counts["safety_gate/state"] >= 300 - left_out - 55  # a second at the beginning is not either


def test_a_bag_of_which_no_plan_can_be_compared_does_not_agree(recorded, tmp_path):
    """The planner saw what came before the recorder heard the camera."""
    _, model = recorded
    write_stack_bag(tmp_path / "bag", model, drop=lambda topic, n: topic == "/image" and n < 20)
    result, comparison = replay(tmp_path / "bag", Changes(model=str(model)))
    assert any("10 steps cannot be repeated" in note for note in result["notes"]), result["notes"]
    assert [d.topic for d in comparison.differences] == ["planner/status"]
    assert "none of 30 steps can be compared" in comparison.differences[0].text


def test_an_image_that_the_recorder_missed_is_told(recorded, tmp_path):
    _, model = recorded
    write_stack_bag(tmp_path / "bag", model, drop=lambda topic, n: topic == "/image" and n == 41)
    result, comparison = replay(tmp_path / "bag", Changes(model=str(model)))
    assert any("1 steps cannot be repeated" in note for note in result["notes"])
    assert comparison.agree, comparison.differences[:5]
    left_out = next(n for n in result["notes"] if "steps are not compared" in n)
    assert comparison.counts["command_raw"] == 29 - int(left_out.split()[0]) > 10


def test_plans_after_a_step_that_was_lost_are_not_compared(recorded, tmp_path):
    """The planner remembers what it saw: from there on it may have known more than the replay of it."""
    _, model = recorded
    write_stack_bag(tmp_path / "bag", model, drop=lambda topic, n: topic == "/planner/status" and n == 20)
    result, comparison = replay(tmp_path / "bag", Changes(model=str(model)))
    assert comparison.agree, comparison.differences[:5]
    assert any("10 of 29 steps are not compared" in note for note in result["notes"]), result["notes"]
    assert comparison.counts["command_raw"] == 19


@pytest.mark.parametrize("missed", ["/goal_image", "/planner/goal"])
def test_a_goal_is_known_from_its_picture_or_from_what_the_planner_took(recorded, tmp_path, missed):
    _, model = recorded
    write_stack_bag(tmp_path / "bag", model, drop=lambda topic, _: topic == missed)
    _, comparison = replay(tmp_path / "bag", Changes(model=str(model)))
    assert comparison.agree, comparison.differences[:5]
    assert comparison.largest["planner/status"] == pytest.approx(0.0, abs=1e-5)  # costs are told with six digits


def test_a_bag_without_the_stacks_own_topics_is_replayed_too(recorded, tmp_path):
    _, model = recorded
    write_drive(tmp_path / "bag")
    result, _ = replay(tmp_path / "bag", Changes(model=str(model)))
    assert any("step clock" in note for note in result["notes"])
    again, _ = replay(tmp_path / "bag", Changes(model=str(model)))
    assert again["digest"] == result["digest"]


def test_the_gate_alone_needs_no_model(recorded):
    bag, _ = recorded
    result, comparison = replay(bag, Changes(brain=False))
    assert comparison.agree and set(comparison.counts) == {"safety_gate/state"} and result["model_id"] == ""


def test_a_change_beyond_the_tolerance_is_found(recorded):
    """The comparison itself: one value of each kind is changed, and named with its time."""
    bag, _ = recorded
    with BagReader(bag) as reader:
        one = prepare(reader, Changes(brain=False)).recording.log
        two = prepare(reader, Changes(brain=False)).recording.log
        assert compare(one, two, reader.start).agree
        stamp = sorted(two.steps)[20]
        two.embeddings[stamp][0, 0] += 1e-3
        two.steps[stamp].command = two.steps[stamp].command + 0.01
        two.ticks[200].mode = "STOPPED"
        found = compare(one, two, reader.start).differences
        assert sorted(d.topic for d in found) == ["command_raw", "embedding", "safety_gate/state"]
        assert all(abs(d.at - 4.0) < 0.1 for d in found)
        loose = Tolerance(embedding=0.01, command=0.1)
        assert [d.topic for d in compare(one, two, reader.start, loose).differences] == ["safety_gate/state"]
        assert not compare(RunLog(), RunLog(), reader.start).agree  # nothing compared is no agreement
        nothing = {d.topic for d in compare(one, RunLog(), reader.start).differences}
        assert nothing == {"planner/status", "safety_gate/state"}  # replayed, and nothing came of it
        assert not compare(one, RunLog(), reader.start, brain=False, gate=False).differences


def test_ticks_of_one_log_time_are_told_apart(recorded):
    """Log times of a simulation are those of /clock, which is slower than the gate where the machine is busy."""
    bag, _ = recorded
    with BagReader(bag) as reader:
        one = prepare(reader, Changes(brain=False)).recording.log
        two = prepare(reader, Changes(brain=False)).recording.log
        for log in (one, two):
            for tick in log.ticks:
                tick.time -= tick.time % 100_000_000
        assert compare(one, two, reader.start).agree
        two.ticks[201].mode = "STOPPED"
        assert len(compare(one, two, reader.start).differences) == 1


@pytest.mark.parametrize(
    ("make", "words", "says"),
    [
        (write_bag, ["--robot", "arena", "--no-brain"], None),
        (lambda path: None, [], "no such bag"),
        (write_bag, [], "no robot contract in this bag"),
        (write_drive, ["--model", "/nowhere"], "/nowhere"),
        (write_drive, ["--image", "/front"], "no topic /front"),
        (write_drive, ["--guardrails", "/nowhere.yaml"], "nowhere.yaml"),
        (write_drive, ["--threads", "0"], "--threads: expected a whole number of at least 1"),
    ],
)
def test_what_cannot_be_replayed_says_why(tmp_path, make, words, says):
    make(tmp_path / "bag")
    if says is None:
        assert run(tmp_path / "bag", "--fast", *words) == 0
        return
    with pytest.raises(JepaRosError, match=re.escape(says)):
        run(tmp_path / "bag", "--fast", *words)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--fast", "--start", "2"], "--start is for playing over ROS"),
        (["--compare", "--loop"], "--loop is for playing over ROS"),
        (["--model", "models/new"], "--model is for running the stack in this process: give --fast too"),
        (["--no-gate"], "--no-gate is for running the stack"),
    ],
)
def test_an_option_of_the_other_way_of_replaying_is_refused(tmp_path, words, says):
    with pytest.raises(JepaRosError, match=re.escape(says)):
        run(tmp_path / "bag", *words)


def test_a_report_that_cannot_be_written_says_where(recorded, tmp_path):
    bag, _ = recorded
    (tmp_path / "file").write_text("")
    with pytest.raises(BagError, match=r"page\.html: cannot be written"):
        replay(bag, Changes(brain=False), report=str(tmp_path / "file" / "page.html"))
