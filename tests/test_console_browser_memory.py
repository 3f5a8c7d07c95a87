# SPDX-License-Identifier: Apache-2.0
"""Goals out of the planner's memory in a real browser: a robot with a camera on board that remembers a tour."""

from __future__ import annotations

import json
import math
import re
from contextlib import closing, contextmanager
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import rclpy
from console_browser import MARKS, PATIENCE, accessibility, commands, free_port, opened, says, sync_api
from rclpy.context import Context
from test_console_server import HOSTS, Listener, serving
from toy_world import save_onboard_model

from jepa_ros.console.hearing import Hearing
from jepa_ros.console.showing import Showing
from jepa_ros.contract import load_contract
from jepa_ros.memory import Store
from jepa_ros.memory.overview import overview_of
from jepa_ros.memory.thumbnail import thumbnail
from jepa_ros.nodes.planner_places import pictures_of, told
from jepa_ros.planar.place_graph import PlaceGraph
from jepa_ros.planning.bodies import new_memory
from jepa_ros.world_model.checkpoint import load_card, model_id

pytestmark = MARKS
ROVER, SIDE = load_contract("rover"), 5


def numbered(k):
    """A view that tells its number."""
    picture = np.full((64, 96, 3), (9 * k, 255 - 9 * k, 120), np.uint8)
    return thumbnail(cv2.putText(picture, str(k), (20, 45), cv2.FONT_HERSHEY_SIMPLEX, 1.2, (255, 255, 255), 3))


def remember_a_tour(memory):
    """A tour round a square, with a loop that was closed and a place with a name."""
    rng, graph = np.random.default_rng(0), memory.annex(PlaceGraph)
    for k in range(4 * SIDE):
        graph.add(3.0 * rng.standard_normal(16), np.zeros(3), 1e9 + k, numbered(k))
        if k:
            graph.join(k - 1, k, np.array([0.5, 0.0, math.pi / 2 * (k % SIDE == 0)]), 5, 0.05, 1)
    graph.join(4 * SIDE - 1, 0, np.array([0.5, 0.0, math.pi / 2]), 5, 0.1)
    memory.tag("dock", graph.latents[7] + 0.05, None, graph.thumbnails[7])


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """A robot that remembers a tour, and its console; where the page is."""
    folder, port = tmp_path_factory.mktemp("tour"), free_port()
    model = save_onboard_model(folder / "model")
    with closing(Store(folder / "memory", model_id(load_card(model)), ROVER, new_memory(ROVER, 16))) as store:
        remember_a_tour(store.memory)
    up = ["up", "sim", "robot:=rover", f"model:={model}", f"memory:={folder / 'memory'}", "namespace:=memory_test"]
    console = ["console", "--robot", "rover", "--namespace", "/memory_test", "--use-sim-time", "--port", str(port)]
    with commands(("[up] ready", up), ("console of", console)):
        yield f"http://localhost:{port}/"


@contextmanager
def shown_by(browser, address, width):
    """A page that has the controls and shows the memory."""
    with opened(browser, address, width, 844) as page:
        sync_api.expect(page.locator("#holder")).to_have_text("You have the controls.", timeout=PATIENCE)
        says(page, "#memory-text", "A press on a place makes it the goal.")
        page.wait_for_function("state.places.pictures.length >= 20")
        yield page


class Remembering(Listener):
    """A robot that only stands there: of its memory a page is told ``shown``. It takes every goal."""

    def __init__(self, node, shown, pictures):
        super().__init__()
        self._showing = Showing(Hearing(node, ROVER))
        self.shown, self._pictures, self.memory = shown, pictures, "memories/tour"
        self.goal = ("none", "")

    def sections(self):
        found = {section.name: section.build() for section in self._showing.sections()}
        tags = {tag[0]: "2026-11-30T08:00:00Z" for tag in self.shown["tags"]} if self.memory else {}
        kind, name = self.goal
        goal = self.shown["places"][3][2:4] if name else None
        found["planner"] |= {"goal": kind, "goal_name": name}
        found["inputs"]["planner/memory"] = {"age": 0.1, "rate": 0.0, "latched": True, "rests": False}
        found |= {
            "body": {"robot": "rover", "axes": [], "can_drive": False, "camera": "image", "camera_rate": 10,
                     "paths": False, "pose": None, "around": []},
            "driving": False, "memory": {"folder": self.memory, "tags": tags, "refused": ""},
            "places": self.shown | {"pictures": list(self._pictures), "goal": goal} if self.memory else None,
        }  # fmt: skip
        return [(name, json.dumps(value), lambda value=value: value) for name, value in found.items()]

    def picture(self, seen):
        return None

    def thumbnail(self, key):
        return self._pictures.get(key)

    def goal_place(self, number, key):
        self.goal = ("memory", f"place {number}")
        return super().goal_place(number, key)

    def goal_tag(self, name):
        self.goal = ("memory", name)
        return "goal taken"

    def clear(self):
        self.goal = ("none", "")
        return "no goal"

    def interventions(self):
        return {"interventions": []}


@pytest.fixture
def robot():
    """A robot that stands there and remembers the tour."""
    memory = new_memory(ROVER, 16)
    remember_a_tour(memory)
    overview = overview_of(memory)
    while not overview.follow(1.0):
        pass
    planner = SimpleNamespace(memory=memory, view={"place": lambda: (1, 0.9)}.get, target=None)
    context = Context()
    rclpy.init(args=[], context=context)
    node = rclpy.create_node("remembering", context=context)
    yield Remembering(node, told(planner, overview, True), pictures_of(memory, overview))
    node.destroy_node()
    context.try_shutdown()


@pytest.fixture(params=[1400, 390], ids=["screen", "phone"])
def page(request, browser, robot):
    """The page of that robot."""
    with serving(robot, hosts=HOSTS) as port, shown_by(browser, f"http://localhost:{port}/", request.param) as page:
        yield page


def node(page, name):
    """A place in the drawing, brought to where nothing covers it."""
    page.locator("#graph").evaluate("(graph) => graph.scrollIntoView({ block: 'end' })")
    return page.locator(f'#graph .node[data-name="{name}"]')


def test_a_place_that_is_pressed_is_the_goal_of_the_planner(browser, address):
    with shown_by(browser, address, 1400) as page:
        node(page, "place 3").locator("circle").click()
        says(page, "#answer", "goal taken")
        says(page, "#goal-text", "place 3")
        page.wait_for_function("state.places.goal !== null && $('goal-remembered').naturalWidth > 0")
        page.click("#clear")
        says(page, "#goal-text", "No goal.")


def test_a_place_that_is_pressed_in_the_drawing_is_the_goal_and_is_marked(page, robot):
    node(page, "place 3").locator("circle").click()
    says(page, "#answer", "goal taken")
    assert ("place", 3, page.evaluate("state.places.places[3][1]")) in robot.told
    says(page, "#goal-text", "place 3")
    sync_api.expect(page.locator("#graph-goal")).to_be_visible(timeout=PATIENCE)
    sync_api.expect(node(page, "place 3")).to_have_class(re.compile("goal"), timeout=PATIENCE)
    page.wait_for_function("$('goal-remembered').naturalWidth > 0")
    assert accessibility(page) == []


def test_a_place_is_chosen_by_keyboard(page):
    node(page, "place 1").focus()
    assert page.locator("#graph-name").inner_text().startswith("place 1")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.dataset.name") == "place 2"
    page.keyboard.press("Enter")
    says(page, "#goal-text", "place 2")
    assert page.locator("#graph .node[tabindex='0']").count() == 1, "Tab goes on behind the drawing"


def test_pictures_come_with_names_first_and_a_page_at_a_time(page):
    names = page.locator("#cards button")
    assert names.first.get_attribute("data-name") == "dock" and names.count() == 12
    page.wait_for_function("[...$('cards').querySelectorAll('img')].every((i) => i.naturalWidth)")
    names.first.click()
    says(page, "#goal-text", "dock")
    sync_api.expect(names.first).to_have_attribute("aria-current", "true", timeout=PATIENCE)
    page.click("#cards-on")
    chosen = names.first.get_attribute("data-name")
    assert re.fullmatch(r"place \d+", chosen)
    names.first.click()
    says(page, "#goal-text", chosen)


def test_a_place_waits_for_an_approval_as_every_goal(page):
    page.check("#approve-mode")
    says(page, "#answer", "wait for an approval")
    node(page, "place 4").locator("circle").click()
    says(page, "#approval-text", "remembered place 4")
    assert page.locator("#goal-text").inner_text() == "No goal."
    page.click("#approve")
    says(page, "#goal-text", "place 4")


def test_a_memory_that_is_gone_is_said_to_be(page, robot):
    robot.memory = ""
    says(page, "#memory-text", "This planner has no memory.")
    sync_api.expect(page.locator("#graph-figure")).to_be_hidden(timeout=PATIENCE)
    assert page.locator("#cards button").count() == 0
    robot.memory, robot.shown = "memories/new", robot.shown | {"places": [], "tags": [], "ways": [], "total": 0}
    says(page, "#memory-text", "Nothing is remembered yet.")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_memory_has_no_accessibility_findings(page, scheme):
    page.emulate_media(color_scheme=scheme)
    assert accessibility(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing stands out to the right"
