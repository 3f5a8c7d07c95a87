# SPDX-License-Identifier: Apache-2.0
"""What the operator's page shows of what it is told, in a real browser; the robot is made up, and no node runs."""

from __future__ import annotations

import time

import pytest
from console_browser import MARKS, PATIENCE, accessibility, opened, says
from test_console_server import Listener, serving

from jepa_ros.console.words import AGAIN, GATE, Word, planner_words

pytestmark = MARKS
TOPICS = ("image", "pose", "signals", "planner/status", "safety_gate/state", "scan", "people")


class MadeUp(Listener):
    """A robot that is as a test wants it."""

    def __init__(self) -> None:
        super().__init__()
        self.told_of = [
            {
                "ros": 1e9,
                "mode": "STOPPED",
                "reason": "obstacle",
                "headline": "An obstacle is close",
                "sentence": "near",
            }
        ]
        self.mode, self.reason, self.cause, self.lately = "ACTIVE", "ok", None, 0
        self.ages = dict.fromkeys(TOPICS, 0.1)
        self.goal: list[float] | None = [0.4, 0.4]

    def sections(self):
        inputs = {t: {"rate": 10.0, "age": age, "latched": False, "rests": False} for t, age in self.ages.items()}
        word = GATE[self.reason]
        made = {
            "body": {
                "robot": "arena", "axes": [{"name": "linear.x"}, {"name": "angular.z"}], "can_drive": True,
                "camera": "image", "camera_rate": 10.0, "paths": True, "pose": "pose", "around": ["people"],
            },
            "gate": {
                "mode": self.mode, "reason": self.reason, "reasons": [], "headline": word.headline, "step": word.step,
                "sentence": "the gate's own sentence", "scale": "0.25", "source": "planner", "values": ["0", "0"],
                "cause": self.cause, "stops": self.lately,
            },
            "planner": {
                "reason": "ok", "goal": "pose", "goal_name": "", "arrived": "false", "feasible": "true", "cost": "1",
                "iterations": "3", "distance": "6.2", "unit": "", "refused": "", "elapsed": "0.04", "sentence": "",
                "terms": {"latent": 1.6}, "guardrails": {}, "alone": planner_words("ok", ""),
                "says": planner_words("ok", "", self.mode, self.reason),
            },
            "memory": {"folder": "", "tags": {}, "refused": ""},
            "drawing": {
                "plan": [[0.0, 0.0], [0.3, 0.0]], "placed": True, "size": [128, 128], "goal": self.goal,
                "pixels": [[[64, 64], [83, 64]]], "goal_pixel": [[89, 39]] if self.goal else [], "rules": [],
            },
            "pose": {"at": [0.0, 0.0, 0.0], "pixels": [[64, 64], [70, 64]]},
            "around": {"people": [[0.4, 0.1]], "seen": [], "pixels": {"people": [[89, 58]], "seen": []}},
            "places": None, "tree": None, "map": None, "inputs": inputs, "areas": [], "strips": None, "driving": False,
        }  # fmt: skip
        return [(name, time.monotonic(), lambda value=value: value) for name, value in made.items()]

    def curve(self):
        return 0, []

    def picture(self, seen):
        return None

    def interventions(self):
        return {"interventions": self.told_of}

    def look_at_places(self, on):
        pass


@pytest.fixture
def robot():
    return MadeUp()


@pytest.fixture
def page(browser, robot):
    with serving(robot) as port, opened(browser, f"http://localhost:{port}/") as shown:
        shown.wait_for_function("state && state.gate", timeout=PATIENCE)
        yield shown


def test_inputs_tell_their_rate_or_how_long_they_have_been_silent(page):
    told = page.evaluate("""() => {
      const body = document.createElement("tbody"), at = { rate: 0.3, latched: false, rests: false, age: 99 };
      Parts.inputs(body, { dead: { ...at, age: 2.9 }, asleep: { ...at, rests: true }, latched: { ...at, latched: true },
        lost: { ...at, age: null, never: "nobody publishes it" } });
      return [...body.rows].map((row) => [row.className, ...[...row.cells].map((cell) => cell.textContent)]); }""")
    assert told == [
        ["old", "dead", "silent for 3 s"],
        ["", "asleep", "while it plans", "99.0"],
        ["", "latched", "when it changes", "99.0"],
        ["old", "lost", "never came: nobody publishes it"],
    ]


SIZES = ({"width": 1400, "height": 900}, {"width": 800, "height": 900}, {"width": 390, "height": 844})
MEASURE = """([headline, step, modes]) => {
  const told = JSON.parse(JSON.stringify(state)), figures = "figures ".repeat(9);
  const cause = { at: told.time, reason: "x", headline, sentence: figures, count: 5 };
  told.inputs["safety_gate/state"].age = 0;
  return modes.map((mode) => {
    Object.assign(told.gate, { mode, headline, step, cause, sentence: figures, stops: 12 });
    Parts.gate($, told, false);
    const whole = (part) => !part.clientHeight || part.scrollHeight <= part.clientHeight + 2;
    const cut = [$("headline"), $("step")].filter((part) => !whole(part));
    const top = $("camera").getBoundingClientRect().top + scrollY;
    return [document.querySelector("header").offsetHeight, top, cut.map((part) => part.textContent).join()]; });
}"""


@pytest.mark.parametrize("size", SIZES)
def test_the_picture_stays_where_it_is_and_no_advice_is_cut_whatever_the_gate_says(page, size):
    page.set_viewport_size(size)
    words = [*GATE.values(), *(Word(f"{AGAIN}: {word.headline}", word.step) for word in GATE.values())]
    found = [page.evaluate(MEASURE, [*word, ["ACTIVE", "LIMITED", "ESTOP"]]) for word in words]
    assert {tuple(seen) for word in found for seen in word} == {tuple(found[0][0])} and found[0][0][2] == ""
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_page_that_is_told_the_time_alone_waits_for_the_rest(page):
    before = page.evaluate(
        """(() => { const all = { ...state };
        state = null; Object.keys(first).forEach((part) => delete first[part]);
        heard({ kind: "state", time: 1 }); soon(); return all; })()"""
    )
    page.wait_for_timeout(100)  # it drew meanwhile, and the page's errors are looked at when the test ends
    assert page.evaluate("state") is None
    page.evaluate("(all) => { heard(all); show(); }", before)
    assert page.evaluate("state.body !== undefined")


def test_where_there_is_no_map_none_is_offered(page):
    hidden = """(lack) => { const all = { ...state };
        Object.assign(state, lack); show();
        const hidden = $("map").closest("figure").hidden;
        Object.assign(state, all); show(); return hidden; }"""
    assert not page.evaluate(hidden, {})
    drawn = page.evaluate("state.drawing") | {"plan": [], "goal": None}
    assert page.evaluate(hidden, {"map": None, "areas": [], "pose": None, "around": {"pixels": {}}, "drawing": drawn})


def test_a_stop_opens_what_explains_it_and_leaves_closed_what_a_person_closes(page, robot):
    open_ = "[$('acted').open, $('heard').open]"
    assert page.evaluate(open_) == [False, False]
    robot.mode, robot.reason, robot.ages["pose"] = "STOPPED", "pose_lost", 3.2
    robot.cause = {
        "mode": "STOPPED",
        "reason": "pose_lost",
        "sentence": "",
        "at": time.time(),
        "headline": "",
        "count": 1,
    }
    page.wait_for_function("$('acted').open && $('heard').open")
    says(page, "#interventions", "An obstacle is close: near (obstacle)")
    says(page, "#inputs", "silent for 3 s")
    page.click("#acted summary")
    page.wait_for_timeout(500)
    assert page.evaluate(open_) == [False, True]
    robot.reason = "image_stale"
    page.wait_for_function("$('acted').open")


def test_a_planner_that_wants_to_drive_is_said_to_be_held_and_one_number_says_how_fast(page, robot):
    says(page, "#planner", "The planner drives to the goal.")
    robot.mode, robot.reason = "STOPPED", "pose_lost"
    says(page, "#planner", "and the gate holds it: the robot does not know where it is")
    says(page, "#headline", "The robot does not know where it is")
    says(page, "#step", "Check the localisation.")
    assert "%" not in page.locator("#now").inner_text()
    robot.mode, robot.reason = "LIMITED", "person"
    says(page, "#sentence", "The gate's own sentence. Speed let through: 25 %.")
    assert page.locator("body").inner_text().count("25 %") == 1


def test_stops_of_late_are_counted_while_the_robot_seems_to_drive(page, robot):
    robot.cause = {"mode": "STOPPED", "reason": "obstacle", "sentence": "0.02 m ahead", "at": time.time(),
                   "headline": "An obstacle is close", "count": 5}  # fmt: skip
    robot.lately = 7
    says(page, "#cause", "Stopped 7 times in the last minute, last at")
    says(page, "#cause", "An obstacle is close. 0.02 m ahead.")
    robot.mode, robot.reason = "STOPPED", "obstacle"
    says(page, "#cause", "Stopped 7 times in the last minute, 5 times for this.")


# Words that are written into a canvas, each with its left and right edge.
WRITTEN = """(draw) => {
  const canvas = document.createElement("canvas"), fill = CanvasRenderingContext2D.prototype.fillText, found = [];
  canvas.width = canvas.height = 240;
  CanvasRenderingContext2D.prototype.fillText = function (text, x, y) {
    found.push([text, x, x + this.measureText(text).width, y]); return fill.call(this, text, x, y); };
  try { draw(canvas); } finally { CanvasRenderingContext2D.prototype.fillText = fill; }
  return found; }"""


@pytest.mark.parametrize(("left", "right"), [(150, 210), (150, 238), (220, 239), (0, 20)])
def test_the_name_of_an_area_stays_within_it_or_at_least_within_the_picture(page, left, right):
    corners = [[left, 100], [right, 100], [right, 180], [left, 180]]
    area = {"name": "charging corner", "kind": "keep_out", "corners": corners}
    draw = "(canvas) => Draw.camera(canvas, null, { size: [240, 240] }, [area], [], '')"
    written = page.evaluate(f"(area) => ({WRITTEN})({draw})", area)
    names = [found for found in written if found[0] in area["name"]]
    assert " ".join(found[0] for found in names) == "charging corner"
    assert all(begin >= 0 and end <= 240 for _, begin, end, _ in names)
    if right - left >= 60:
        assert all(left <= begin and end <= right for _, begin, end, _ in names)


# How orange the curves are at three places: where something was said, where nothing was, and where something was.
ORANGE = """(points) => {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [240, 120];
  Draw.curves(canvas, points, 1000);
  return [42, 100, 162].map((x) => {
    const column = canvas.getContext("2d").getImageData(x, 0, 1, 100).data;
    let most = 0;
    for (let k = 0; k < column.length; k += 4) most = Math.max(most, column[k] - column[k + 2]);
    return most; }); }"""


def test_the_curves_have_an_axis_of_time_on_which_silence_is_a_gap(page):
    points = [{"at": 1000.0 - ago, "surprise": 0.5, "novelty": 0.1} for ago in (50, 49, 20, 19)]
    written = page.evaluate(f"(points) => ({WRITTEN})((canvas) => Draw.curves(canvas, points, 1000))", points)
    at = {text: (begin + end) / 2 for text, begin, end, _ in written}
    assert [text for text in at if "ago" in text or text == "now"] == ["now", "20 s ago", "40 s ago", "60 s ago"]
    assert at["40 s ago"] == pytest.approx(80, abs=1) and at["20 s ago"] == pytest.approx(160, abs=1)
    drawn = page.evaluate(ORANGE, points)
    assert drawn[0] > 60 and drawn[2] > 60 and drawn[1] < 30  # orange where something was said


@pytest.mark.parametrize(
    ("change", "part", "text"),
    [
        ("inputs.pose.age = 4", "map", "the robot's place is 4 s old"),
        ("gate.reasons.push('pose_lost')", "map", "not sure"),
        ("inputs.signals.age = 7", "curves", "nothing has come for 7 s"),
    ],
)
def test_what_is_old_is_marked_where_it_is_shown(page, change, part, text):
    seen = page.evaluate(f"""() => {{
      const look = (told) => {{
        Parts.old($, told, false);
        return [$("{part}").classList.contains("stale"), $("{part}-old").textContent]; }};
      const told = JSON.parse(JSON.stringify(state)), before = look(state);
      told.{change};
      return [before, look(told)]; }}""")
    assert seen[0] == [False, ""] and seen[1][0] and text in seen[1][1]


def test_a_page_that_lost_the_console_does_not_say_that_the_robot_drives(page):
    page.evaluate("void (window.WebSocket = class { constructor() { this.readyState = 3; } })")
    page.evaluate("socket.close()")
    says(page, "#headline", "lost the console")
    assert page.locator("#mode").inner_text() == "no line"
    says(page, "#map-old", "no connection")


def test_goal_and_people_are_marked_and_the_legend_names_what_this_robot_has(page, robot):
    marked = "[true, false].map((pixels) => Parts.around(state, pixels, false)((at) => at))"
    picture, sheet = page.evaluate(marked)
    assert picture["goal"] == [[89, 39]] and sheet["goal"] == [[0.4, 0.4]]
    assert picture["people"] == [[89, 58]] and sheet["people"] == [[0.4, 0.1]]
    assert picture["robot"]["at"] == [64, 64] and picture["robot"]["radius"] == 6
    legend = page.locator("#legend").inner_text()
    assert "robot" in legend and "person" in legend and "goal" in legend and "laser" not in legend
    says(page, "#goal-text", "Goal: a place, at x 0.40 m, y 0.40 m (green ring).")
    robot.goal = None  # a picture that the model cannot place
    page.wait_for_function("state.drawing.goal === null")
    assert page.evaluate(marked)[0]["goal"] == []


def test_stop_and_its_key_are_two_words(page):
    box = page.evaluate(
        "[$('stop').firstChild, $('stop').lastChild].map((part) => { const range = document.createRange(); "
        "range.selectNodeContents(part); const at = range.getBoundingClientRect(); return [at.left, at.right]; })"
    )
    assert box[1][0] - box[0][1] >= 6


@pytest.mark.parametrize(("size", "scheme"), [("screen", "light"), ("phone", "dark")])
def test_a_page_of_a_robot_that_stands_has_no_accessibility_findings(page, robot, size, scheme):
    page.emulate_media(color_scheme=scheme)
    if size == "phone":
        page.set_viewport_size({"width": 390, "height": 844})
    robot.mode, robot.reason, robot.ages["pose"] = "STOPPED", "pose_lost", 3.2
    says(page, "#map-old", "OLD")
    assert accessibility(page) == []
