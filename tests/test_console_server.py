# SPDX-License-Identifier: Apache-2.0
"""The console's web server, called as browsers and others call it, with a robot that only keeps what it is told."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from contextlib import contextmanager

import pytest
from ros_harness import Child

from jepa_ros.console.desk import Refused

uvicorn = pytest.importorskip("uvicorn")
client = pytest.importorskip("websockets.sync.client")


class Listener:
    """Stands in for the robot: keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple] = []
        self.latched = False
        self.futures: list[bool] = []
        self.places: list[bool] = []
        self.asked = threading.Event()
        self.asked.set()

    def look(self, on):
        self.told.append(("look", on))

    def sections(self):
        return [("gate", self.latched, lambda: {"latched": self.latched})]

    def curve(self):
        return 2, ['{"surprise": 0.1}', '{"surprise": 0.2}']

    def look_at_futures(self, on):
        self.futures.append(on)

    def look_at_places(self, on):
        self.places.append(on)

    def thumbnail(self, key):
        return b"\xff\xd8small" if key == "a1" else None

    def goal_place(self, number, key):
        self.told.append(("place", number, key))
        return "goal taken"

    def remembered(self, number):
        return b"\xff\xd8small" if number == 5 else None

    def goal_remembered(self, number):
        self.told.append(("remembered", number))
        return "goal taken"

    def guardrails(self):
        self.asked.wait(30.0)
        return []

    def parameter(self, node, name):
        return ""

    def picture(self, seen):
        return None if seen == 7 else (7, b"\xff\xd8picture")

    def goal_picture(self, seen):
        return None

    def log(self, said):
        self.told.append(("log", said.what, said.refused))

    def stop(self):
        self.told.append(("stop", time.monotonic()))
        self.latched = True
        return "latched"

    def reset(self):
        self.latched = False
        return "reset"

    def drive(self, command):
        self.told.append(("drive", tuple(command)))

    def let_go(self):
        self.told.append(("let go", time.monotonic()))

    def goal_pose(self, x, y, yaw):
        if x > 10:
            raise Refused("too far")
        self.told.append(("goal", x, y, yaw))
        return "goal taken"


@contextmanager
def serving(robot, **settings):
    from jepa_ros.console.server import Console

    console = Console(robot, **settings)
    server = uvicorn.Server(uvicorn.Config(console.app(), port=0, log_level="warning", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    end = time.monotonic() + 60
    while not server.started:
        assert time.monotonic() < end
        time.sleep(0.01)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(timeout=10)


HOSTS = ("localhost", "127.0.0.1")


@pytest.mark.slow
def test_ctrl_c_ends_the_command_with_0_however_often_it_comes():
    # ros2 launch sends on what the terminal has sent already.
    console = Child("-m", "jepa_ros.commands.cli", "console", "--port", "18765")
    try:
        end = time.monotonic() + 60
        while not console.lines:
            assert time.monotonic() < end
            time.sleep(0.05)
        for _ in range(2):
            console.popen.send_signal(signal.SIGINT)
            time.sleep(0.02)
        assert console.wait() == 0
        assert len(console.lines) == 1, console.text
    finally:
        console.end()


@pytest.fixture
def robot():
    return Listener()


@pytest.fixture
def port(robot):
    with serving(robot, hosts=HOSTS) as number:
        yield number


class Page:
    """One page, by its WebSocket."""

    def __init__(self, port, **options):
        self.socket = client.connect(f"ws://127.0.0.1:{port}/ws", **options)
        self.hello = json.loads(self.socket.recv(timeout=30))
        self._asked = 0

    def say(self, what, **more):
        """What came of a request."""
        self._asked += 1
        self.socket.send(json.dumps({"do": what, "id": self._asked, **more}))
        while True:
            text = self.socket.recv(timeout=30)
            if isinstance(text, str) and (found := json.loads(text))["kind"] == "answer" and found["id"] == self._asked:
                return found

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()


def fetch(port, path="/", method="GET", **headers):
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", method=method, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read().decode(errors="replace")
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_a_page_gets_everything_once_and_then_only_what_changes(port, robot):
    with Page(port) as page:
        first = json.loads(page.socket.recv(timeout=30))
        assert first["gate"] == {"latched": False} and first["points"] == [{"surprise": 0.1}, {"surprise": 0.2}]
        assert page.socket.recv(timeout=30) == b"c\xff\xd8picture"
        with pytest.raises(TimeoutError):
            while True:  # nothing changes any more, save for who sits at the desk
                assert set(json.loads(page.socket.recv(timeout=0.5))) <= {"kind", "time", "desk"}
        robot.latched = True
        changed = json.loads(page.socket.recv(timeout=30))
        assert changed["gate"] == {"latched": True} and not {"desk", "points"} & set(changed)


def test_a_page_that_nobody_can_see_is_told_once_a_second_and_has_no_pictures(port, robot, monkeypatch):
    shown = iter(range(8, 10_000))
    monkeypatch.setattr(robot, "picture", lambda seen: (next(shown), b"new each time"))
    with Page(port) as page:
        page.say("front", on=False, visible=False)
        end, kinds = time.monotonic() + 3.0, []
        while time.monotonic() < end:
            robot.latched = not robot.latched
            with contextlib.suppress(TimeoutError):
                kinds.append(type(page.socket.recv(timeout=0.1)))
    assert kinds.count(str) <= 5 and kinds.count(bytes) <= 1


def test_a_robot_is_listened_to_only_while_a_page_is_open(robot):
    with serving(robot, hosts=HOSTS) as port:
        with Page(port) as page:
            page.say("rules")
        end = time.monotonic() + 30
        while ("look", False) not in robot.told[robot.told.index(("look", True)) :]:
            assert time.monotonic() < end, robot.told
            time.sleep(0.01)


def test_the_page_and_its_parts_are_served_and_nothing_else(port):
    for path in ("/", "/app.js", "/draw.js", "/style.css"):
        assert fetch(port, path)[0] == 200
    for path in ("/../server.py", "/page/app.js", "/etc/passwd"):
        assert fetch(port, path)[0] == 404


def test_a_goal_of_the_holder_is_sent_and_one_of_another_page_is_not(port, robot):
    with Page(port) as first, Page(port) as second:
        assert first.say("goal", pose=[0.5, 0.2, 0.0])["done"] == "goal taken"
        assert "has the controls" in second.say("goal", pose=[0.1, 0.1, 0.0])["error"]
    assert [t for t in robot.told if t[0] == "goal"] == [("goal", 0.5, 0.2, 0.0)]


def test_rules_are_told_even_where_the_planner_is_dead(port, robot, monkeypatch):
    def dead(node, name):
        raise Refused("planner/get_parameters is not there")

    monkeypatch.setattr(robot, "guardrails", lambda: [{"name": "corner"}], raising=False)
    monkeypatch.setattr(robot, "parameter", dead, raising=False)
    with Page(port) as page:
        assert page.say("rules")["done"] == {"guardrails": [{"name": "corner"}], "costs": ""}


def test_a_refusal_of_the_robot_reaches_the_page_and_the_log(port, robot):
    with Page(port) as page:
        assert page.say("goal", pose=[11.0, 0.0, 0.0])["error"] == "too far"
    assert ("log", "goal", "too far") in robot.told


@pytest.mark.parametrize(
    "message",
    [{"do": "nonsense"}, {"do": "goal"}, {"do": "goal", "pose": "x"}, {"do": "goal", "pose": [1, 2]},
     {"do": "enable", "on": "yes"}, {"do": "goal", "file": "%%%"}, {"do": "guardrails", "guardrails": 3}],
)  # fmt: skip
def test_wrong_requests_are_answered_in_words(port, message):
    with Page(port) as page:
        what = message.pop("do")
        error = page.say(what, **message)["error"]
        assert error and "Traceback" not in error


def test_any_page_stops_even_one_that_does_not_hold_the_controls(port, robot):
    with Page(port), Page(port) as second:
        assert second.say("stop")["done"] == "latched"
        assert "error" in second.say("reset")
    assert robot.latched


def test_a_stop_needs_no_websocket(port, robot):
    status, text = fetch(port, "/api/stop", "POST")
    assert status == 200 and json.loads(text) == {"done": "latched"}


def test_a_flood_of_stops_is_answered_each_time(port, robot):
    with Page(port) as page:
        for _ in range(100):
            assert page.say("stop")["done"] == "latched"


def test_driving_ends_when_the_page_is_lost_or_leaves_the_front(port, robot):
    with Page(port) as page:
        page.socket.send(json.dumps({"do": "drive", "command": [0.5, 0.0]}))
        page.say("front", on=False)
        assert ("drive", (0.5, 0.0)) in robot.told and robot.told[-1][0] == "let go"
        count = len(robot.told)
        page.socket.send(json.dumps({"do": "drive", "command": [0.5, 0.0]}))
        page.say("rules")
        assert not [t for t in robot.told[count:] if t[0] == "drive"]
        page.say("front", on=True)
        page.socket.send(json.dumps({"do": "drive", "command": [0.5, 0.0]}))
        page.say("name", name="Ann")
    end = time.monotonic() + 30
    while [told for told, *_ in robot.told if told in ("drive", "let go")][-1] != "let go":
        assert time.monotonic() < end, robot.told[-3:]
        time.sleep(0.01)


def test_another_site_in_the_same_browser_can_neither_read_nor_command(port, robot):
    evil = {"Origin": "http://evil.example"}
    assert fetch(port, "/app.js", **evil)[0] == 403
    assert fetch(port, "/api/stop", "POST", **evil)[0] == 403
    assert fetch(port, "/", Host=f"evil.example:{port}")[0] == 403  # a name that was made to point here
    with client.connect(f"ws://127.0.0.1:{port}/ws", origin="http://evil.example") as socket:
        assert json.loads(socket.recv(timeout=30))["kind"] == "refused"
    assert not robot.told


def test_on_a_network_nothing_is_served_without_the_token_and_wrong_ones_wait(robot):
    with serving(robot, token="sesame") as port:
        assert fetch(port)[0] == fetch(port, "/app.js")[0] == fetch(port, "/api/stop", "POST")[0] == 403
        start = time.monotonic()
        assert fetch(port, "/app.js", Authorization="Bearer wrong")[0] == 403
        assert time.monotonic() - start > 0.9
        assert fetch(port, "/app.js", Authorization="Bearer sesame")[0] == 200
        assert fetch(port, "/", Cookie="jepa_ros_console=sesame")[0] == 200
        with client.connect(f"ws://127.0.0.1:{port}/ws") as socket:
            assert json.loads(socket.recv(timeout=30))["kind"] == "refused"
        with Page(port, additional_headers={"Cookie": "jepa_ros_console=sesame"}) as page:
            assert page.hello["kind"] == "hello"


def test_a_page_that_does_not_read_holds_up_nobody(port):
    lazy = client.connect(f"ws://127.0.0.1:{port}/ws", max_queue=1, close_timeout=0.5)
    try:
        with Page(port) as page:
            start = time.monotonic()
            for _ in range(20):
                assert "done" in page.say("stop")
            assert time.monotonic() - start < 15.0
    finally:
        lazy.close()


def test_a_stop_waits_for_no_request_that_waits_for_a_silent_node(port, robot):
    robot.asked.clear()
    with contextlib.ExitStack() as held:
        pages = [held.enter_context(Page(port)) for _ in range(6)]
        for page in pages:
            for k in range(8):
                page.socket.send(json.dumps({"do": "rules", "id": 1000 + k}))
        time.sleep(0.3)
        start = time.monotonic()
        assert pages[-1].say("stop")["done"] == "latched"
        assert json.loads(fetch(port, "/api/stop", "POST")[1]) == {"done": "latched"}
        assert time.monotonic() - start < 15.0
        robot.asked.set()


def test_futures_are_asked_of_the_planner_while_a_page_shows_them(port, robot):
    with Page(port) as page, Page(port) as other:
        assert page.say("futures", on=True)["done"] and other.say("futures", on=False)["done"] is False
        assert robot.futures[-1] is True
    end = time.monotonic() + 30
    while robot.futures[-1]:
        assert time.monotonic() < end
        time.sleep(0.01)


def test_the_planners_memory_is_asked_for_while_a_page_shows_it(port, robot):
    with Page(port) as page, Page(port) as other:
        assert page.say("places", on=True)["done"] and other.say("places", on=False)["done"] is False
        assert robot.places[-1] is True and "expected true or false" in other.say("places", on="yes")["error"]
    end = time.monotonic() + 30
    while robot.places[-1]:
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_place_of_the_memory_is_shown_and_is_a_goal_as_any_other(port, robot):
    assert fetch(port, "/api/places/a1")[0] == 200 and fetch(port, "/api/places/b2")[0] == 404
    assert fetch(port, "/api/places/a1", Origin="http://evil.example")[0] == 403
    with Page(port) as page, Page(port) as other:
        assert page.say("goal", place=17, key="a1")["done"] == "goal taken" and ("place", 17, "a1") in robot.told
        assert "has the controls" in other.say("goal", place=17, key="a1")["error"]
        for wrong in ("17", True, None, 1.5):
            assert "expected the number of a place" in page.say("goal", place=wrong, key="a1")["error"]
        page.say("mode", on=True)
        assert "until it is approved" in page.say("goal", place=18, key="b2")["done"]
        assert ("place", 18, "b2") not in robot.told
        page.say("approve")
        assert robot.told.count(("place", 18, "b2")) == 1


def test_a_remembered_picture_is_shown_and_is_a_goal(port, robot):
    assert fetch(port, "/api/remembered/5")[0] == 200
    status, text = fetch(port, "/api/remembered/6")
    assert status == 404 and "forgotten" in json.loads(text)["error"]
    assert fetch(port, "/api/remembered/5", Origin="http://evil.example")[0] == 403
    with Page(port) as page:
        assert page.say("goal", remembered=5)["done"] == "goal taken" and ("remembered", 5) in robot.told
        for wrong in ("5", True, None, 5.5):
            assert "expected the number" in page.say("goal", remembered=wrong)["error"]


# ------------------------------------------------------------ recorded bags


class Bag:
    """Stands in for an open bag."""

    alive = True

    def __init__(self, path, model, namespace):
        self.path, self.closed = path, False

    def timeline(self):
        return {"bag": self.path}

    def picture(self, number):
        return b"\xff\xd8then"

    def rethink(self, number, wanted):
        return {"seed": wanted["seed"], "step": number}

    def close(self):
        self.closed = True


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    from jepa_ros.console import shelf as module

    monkeypatch.setattr(module, "BagProcess", Bag)
    for name in ("older", "deep/newer", ".hidden/bag", "a/b/c/too/deep", "no_bag"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / ("text.txt" if name == "no_bag" else "part_0.mcap")).write_bytes(b"x" * 200_000)
    long_ago = time.time() - 1000
    os.utime(tmp_path / "older" / "part_0.mcap", (long_ago, long_ago))
    return module.Shelf(tmp_path)


def test_bags_are_listed_the_newest_first_and_opened_by_their_key(robot, shelf):
    with serving(robot, hosts=HOSTS, shelf=shelf) as port, Page(port) as page, Page(port) as looker:
        bags = looker.say("bags")["done"]["bags"]
        assert [bag["name"] for bag in bags] == ["deep/newer", "older"]
        assert [bag["grows"] for bag in bags] == [True, False] and bags[0]["mb"] == 0.2
        key = bags[1]["key"]
        assert looker.say("bag", key=key, name="older")["done"] == key
        assert ("log", "bag", "") in robot.told
        assert json.loads(fetch(port, f"/api/bags/{key}")[1])["bag"].endswith("/older")
        assert fetch(port, f"/api/bags/{key}/3/picture")[1].endswith("then")
        assert fetch(port, f"/afterwards?bag={key}")[0] == 200
        assert "somebody looks at another bag" in page.say("bag", key=bags[0]["key"])["error"]
        for wrong in ("..", "../older", "0" * 12, ""):
            assert "error" in page.say("bag", key=wrong)
        shelf._used -= 60
        opened = shelf._open[1]
        assert page.say("bag", key=bags[0]["key"])["done"] == bags[0]["key"] and opened.closed
        opened = shelf._open[1]
    assert opened.closed  # with the console


def test_a_console_without_a_shelf_says_so(port):
    with Page(port) as page:
        assert "no bags" in page.say("bags")["error"] and fetch(port, "/api/bags/0")[0] == 404


def test_the_page_of_a_running_robot_does_without_torch():
    code = "import sys, jepa_ros.console.server, jepa_ros.console.robot; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
