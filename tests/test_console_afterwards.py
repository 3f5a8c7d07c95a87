# SPDX-License-Identifier: Apache-2.0
"""A recorded bag on the console: its timeline, its moments, and a moment thought over again."""

from __future__ import annotations

import base64
import json
import os
import shutil
import threading
import time
import urllib.error
import urllib.request

import numpy as np
import pytest
from bag_helpers import write_bag
from drive_bag import write_drive
from stack_bag import GOAL_NS, make_model, write_stack_bag
from toy_world import planar_config

from jepa_ros.bags import BagError
from jepa_ros.bags.format.reader import BagReader
from jepa_ros.bags.replay import rethink
from jepa_ros.bags.replay.read import read_recording
from jepa_ros.commands import console as command
from jepa_ros.commands.cli import main
from jepa_ros.console.afterwards import open_bag
from jepa_ros.console.bag_process import BagProcess
from jepa_ros.console.desk import Refused
from jepa_ros.contract import load_contract
from jepa_ros.cost.goal import Goal
from jepa_ros.errors import JepaRosError
from jepa_ros.options import Parser

SLOW = "- {name: slow, kind: speed_zone, unit: m/s, box: {center: [0, 0], size: [4, 4]}, max_speed: 0.01}"


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("afterwards")
    model = make_model(folder / "model")
    write_stack_bag(folder / "bag", model)
    return folder / "bag", model


@pytest.fixture(scope="module")
def bag(recorded):
    opened = open_bag(str(recorded[0]), model=str(recorded[1]))
    yield opened
    opened.close()


def planned(bag) -> list[int]:
    """The steps for which a plan was recorded."""
    return [k for k, step in enumerate(bag.timeline()["steps"]) if step["reason"] == "ok"]


def test_the_timeline_tells_steps_goals_and_what_the_gate_did(bag):
    found = bag.timeline()
    assert found["robot"] == "arena" and found["seconds"] == pytest.approx(6.0, abs=0.3)
    assert {step["reason"] for step in found["steps"]} >= {"idle", "ok"}
    assert all(step["at"] >= 0.0 for step in found["steps"]) and any("cost" in step for step in found["steps"])
    (goal,) = found["goals"]
    assert goal["at"] == pytest.approx(GOAL_NS * 1e-9 - 100.0, abs=0.3) and goal["step"] == planned(bag)[0]
    modes = [part["mode"] for part in found["gate"]]
    assert "ACTIVE" in modes or "LIMITED" in modes
    assert all(a["end"] <= b["begin"] for a, b in zip(found["gate"], found["gate"][1:], strict=False))
    json.dumps(found, allow_nan=False)


def test_a_moment_whose_whole_past_is_replayed_is_decided_as_recorded(bag):
    number = planned(bag)[0]
    then, now = bag.moment(number)["recorded"], bag.again(number)
    assert now["reason"] == then["reason"] == "ok" and now["seed"] == then["seed"]
    assert now["command"] == pytest.approx(then["command"], abs=1e-3)
    assert now["cost"] == pytest.approx(then["cost"], rel=1e-3)


def test_what_a_page_needs_of_a_bag_is_as_in_a_whole_reading_of_it(recorded):
    with BagReader(recorded[0]) as reader:
        whole, part = (read_recording(reader, load_contract("arena"), whole=all_of_it) for all_of_it in (True, False))
        assert [(t.time, t.mode, t.reason) for t in part.log.ticks] == [
            (t.time, t.mode, t.reason) for t in whole.log.ticks
        ]
        assert part.images == whole.images and not part.gated and whole.gated
        assert {s: step.status for s, step in part.log.steps.items()} == {
            s: step.status for s, step in whole.log.steps.items()
        }
        stamp = max(s for s, step in whole.log.steps.items() if step.reason == "ok")
        end = next(time for time, known in whole.images if known == stamp)
        pasts = [one.past_of(stamp, 2.0) for one in (whole, part)]
        then, now = ([(a.time, a.content[0], *a.content[1]) for a in p.gated if a.time <= end] for p in pasts)
        assert now == then and len(now) > 50


def test_only_the_recent_past_is_looked_at_again(bag, monkeypatch):
    seen = []
    encode = rethink.OfflineReplay.think

    def counted(self, latent, stamp, *rest):
        seen.append(stamp)
        return encode(self, latent, stamp, *rest)

    monkeypatch.setattr(rethink.OfflineReplay, "think", counted)
    bag.rethink(planned(bag)[-1], {})
    assert 0 < (seen[-1] - seen[0]) * 1e-9 <= rethink.PAST
    assert len(seen) <= rethink.PAST * 5 + 1  # the arena's rate


def test_another_budget_goal_or_guardrail_changes_that_moment_alone(bag):
    number = planned(bag)[-1]
    before = bag.rethink(number, {})
    assert bag.rethink(number, {"iterations": 5})["evaluated"] > before["evaluated"]
    assert bag.rethink(number, {"samples": 32})["evaluated"] > before["evaluated"]
    assert bag.rethink(number, {"seed": 3})["seed"] == 3
    assert "slow" in bag.rethink(number, {"guardrails": SLOW})["rules"] and "slow" not in before["rules"]
    assert bag.rethink(number, {"goal": {"step": 0}})["cost"] != before["cost"]
    after = bag.rethink(number, {})
    assert {k: v for k, v in after.items() if k != "took"} == {k: v for k, v in before.items() if k != "took"}


def test_a_saved_moment_is_compared_by_replay_from_then_on(recorded, tmp_path, capsys):
    bag, model = tmp_path / "bag", str(recorded[1])
    shutil.copytree(recorded[0], bag)
    opened = open_bag(str(bag), model=model)
    try:
        number = planned(opened)[-1]
        for name, wanted in (("as it was", {}), ("to the start", {"goal": {"step": 0}, "seed": 3, "guardrails": SLOW})):
            assert f"'{name}' in bag.cases.json" in opened.save(number, {**wanted, "case": name})["saved"]
        assert opened.timeline()["cases"] == ["as it was", "to the start"]
        with pytest.raises(Refused, match="a case needs a name"):
            opened.save(number, {"case": " "})
    finally:
        opened.close()
    words = ["replay", str(bag), "--compare", "--model", model]
    assert main(words) == 0
    assert "cases                     2 compared,     0 differ" in capsys.readouterr().out
    path = tmp_path / "bag.cases.json"
    told = json.loads(path.read_text())
    told["cases"][1]["decided"]["command"][0] += 0.1
    told["cases"].append({**told["cases"][0], "name": "elsewhere", "stamp": 5})
    path.write_text(json.dumps(told))
    assert main(words) == 1
    out = capsys.readouterr().out
    assert "to the start: command " in out and "elsewhere: its step is not in this bag" in out
    path.write_text("[]")
    assert main(words) == 2 and "these are no cases of a bag" in capsys.readouterr().err


def test_a_place_that_has_a_name_in_the_bag_is_a_goal_by_that_name(bag, monkeypatch):
    number = planned(bag)[-1]
    with pytest.raises(Refused, match="does not know 'dock'; it knows none"):
        bag.rethink(number, {"goal": {"tag": "dock"}})
    monkeypatch.setitem(bag._tags, "dock", 0)  # as if it had been remembered at the first step
    assert bag.timeline()["tags"] == ["dock"]
    by_name, by_step = (bag.rethink(number, {"goal": goal}) for goal in ({"tag": "dock"}, {"step": 0}))
    assert by_name["cost"] == by_step["cost"] != bag.rethink(number, {})["cost"]
    latent = np.zeros(planar_config().latent_dim, np.float32)
    monkeypatch.setitem(bag._tags, "nowhere", Goal.from_latent(latent, name="nowhere"))
    assert bag.rethink(number, {"goal": {"tag": "nowhere"}})["reason"] == "ok"


def test_another_model_thinks_about_the_same_goal(bag, recorded, tmp_path):
    number = planned(bag)[-1]
    other = bag.rethink(number, {"model": str(make_model(tmp_path / "other", seed=1))})
    assert other["reason"] == "ok" and other["cost"] != bag.again(number)["cost"]


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        ({"iterations": 0}, "iterations: expected a whole number of 1 to 100"),
        ({"seed": "x"}, "seed: expected a whole number"),
        ({"samples": 2}, "samples: expected a whole number of 4"),
        ({"goal": {"pose": [1, 2]}}, "pose: expected 3 finite numbers"),
        ({"goal": {"pose": [1, 2, float("nan")]}}, "pose: expected 3 finite numbers"),
        ({"goal": {"pixel": [1, 2]}}, "that pixel has no known place"),
        ({"goal": {"step": 10_000}}, "there is no step 10000"),
        ({"goal": {"file": base64.b64encode(b"GIF89a").decode(), "name": "a.gif"}}, "'a.gif' is neither a JPEG"),
        ({"goal": {"file": base64.b64encode(b"\xff\xd8\xff").decode(), "name": "b.jpg"}}, "'b.jpg' is a damaged"),
        ({"goal": "there"}, "goal: expected a pose"),
        ({"guardrails": "- {a: 1}"}, "guardrails"),
        ({"model": "nowhere"}, "no model 'nowhere'"),
    ],
)
def test_a_wish_that_does_not_fit_says_why_and_the_bag_stays_open(bag, wanted, says):
    with pytest.raises(JepaRosError, match=says):
        bag.rethink(planned(bag)[0], wanted)
    assert bag.again(planned(bag)[0])["reason"] == "ok"


def test_a_step_that_is_not_there_is_refused(bag):
    for number in (-1, 10_000):
        with pytest.raises(Refused, match="there is no step"):
            bag.moment(number)


def test_bags_that_cannot_be_looked_at_say_why(recorded, tmp_path):
    model = str(recorded[1])
    with pytest.raises(BagError, match="no such bag"):
        open_bag(str(tmp_path / "none"))
    write_bag(tmp_path / "texts")
    with pytest.raises(BagError, match="no robot contract in this bag"):
        open_bag(str(tmp_path / "texts"))
    write_drive(tmp_path / "drive")
    with pytest.raises(BagError, match="no planner/status in this bag"):
        open_bag(str(tmp_path / "drive"), model=model)
    with pytest.raises(JepaRosError, match="recorded with robot 'arena', which differs from 'panda'"):
        open_bag(str(recorded[0]), "panda", model)


def test_a_cut_bag_opens_as_far_as_it_goes_and_says_so(recorded, tmp_path):
    whole = next(recorded[0].glob("*.mcap")).read_bytes()
    (tmp_path / "cut.mcap").write_bytes(whole[: len(whole) * 2 // 3])
    opened = open_bag(str(tmp_path / "cut.mcap"), "arena", str(recorded[1]))
    try:
        found = opened.timeline()
        assert found["steps"] and any("cut" in note or "end" in note for note in found["notes"]), found["notes"]
        assert opened.again(0)["reason"] in ("ok", "idle")
    finally:
        opened.close()


def test_the_page_of_a_bag_is_served_with_its_pictures_and_refuses_other_sites(bag):
    uvicorn = pytest.importorskip("uvicorn")
    from jepa_ros.console.afterwards_server import app

    server = uvicorn.Server(uvicorn.Config(app(bag, hosts=("127.0.0.1",)), port=0, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    end = time.monotonic() + 60
    while not server.started:
        assert time.monotonic() < end
        time.sleep(0.01)
    try:
        address = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"

        def ask(path, body=None, **headers):
            request = urllib.request.Request(address + path, body, headers)
            try:
                with urllib.request.urlopen(request, timeout=60) as answer:
                    return answer.status, answer.read()
            except urllib.error.HTTPError as error:
                return error.code, error.read()

        assert b"Thought over again" in ask("/")[1]
        assert ask("/api/bag/0/picture")[1].startswith(b"\xff\xd8")
        number = planned(bag)[0]
        status, text = ask(f"/api/bag/{number}/rethink", json.dumps({"seed": 5}).encode())
        assert status == 200 and json.loads(text)["seed"] == 5
        status, text = ask(f"/api/bag/{number}/rethink", b"[]")
        assert (status, json.loads(text)["error"]) == (400, "that is no request")
        assert ask("/api/bag", Origin="http://elsewhere.example")[0] == 403
    finally:
        server.should_exit = True
        thread.join(timeout=10)


@pytest.mark.parametrize(
    ("words", "says"),
    [(["--bags", "nowhere"], "no such folder"), (["--bag", "x", "--use-sim-time"], "not for a bag")],
)
def test_an_option_of_the_other_kind_of_page_is_refused(words, says):
    parser = Parser()
    command.add_arguments(parser)
    with pytest.raises(JepaRosError, match=says):
        command.main(parser.parse_args(words))


@pytest.mark.slow
def test_a_bag_in_a_process_of_its_own_answers_as_one_in_this_and_ends_with_it(recorded, bag):
    apart = BagProcess(str(recorded[0]), model=str(recorded[1]))
    try:
        assert apart.timeline()["steps"] == bag.timeline()["steps"]
        number = planned(bag)[0]
        assert apart.picture(number) == bag.picture(number)
        changed = apart.rethink(number, {"seed": 5})
        assert changed["seed"] == 5 and changed["command"] == bag.rethink(number, {"seed": 5})["command"]
        with pytest.raises(JepaRosError, match="expected a whole number"):
            apart.rethink(number, {"seed": "five"})
        assert os.getpriority(os.PRIO_PROCESS, apart._process.pid) > os.getpriority(os.PRIO_PROCESS, 0)
        assert apart.alive
    finally:
        apart.close()
    assert not apart.alive
    with pytest.raises(JepaRosError, match="open it again"):
        apart.timeline()


@pytest.mark.slow
def test_a_bag_that_cannot_be_opened_says_why_from_its_process(tmp_path):
    (tmp_path / "part.mcap").write_bytes(b"no bag")
    apart = BagProcess(str(tmp_path))
    try:
        with pytest.raises(JepaRosError, match="part"):
            apart.timeline()
    finally:
        apart.close()


def test_a_bag_of_a_robot_in_another_namespace_opens_all_the_same(recorded, bag):
    opened = open_bag(str(recorded[0]), model=str(recorded[1]), namespace="/somewhere")
    try:
        assert opened.timeline()["steps"] == bag.timeline()["steps"]
    finally:
        opened.close()
