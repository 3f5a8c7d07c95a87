# SPDX-License-Identifier: Apache-2.0
"""Goals out of the planner's memory in a real browser: a robot with a camera on board that remembers a tour."""

from __future__ import annotations

import math
import re
from contextlib import closing

import cv2
import numpy as np
import pytest
from ros_harness import Child
from test_console_browser import CHROMIUM, FLAGS, PATIENCE, accessibility, free_port, says, started, sync_api
from toy_world import save_onboard_model

from jepa_ros.contract import load_contract
from jepa_ros.memory import Store
from jepa_ros.memory.thumbnail import thumbnail
from jepa_ros.planar.place_graph import PlaceGraph
from jepa_ros.planning.bodies import new_memory
from jepa_ros.world_model.checkpoint import load_card, model_id

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt install chromium"),
]
ROVER, SIDE = load_contract("rover"), 5


def numbered(k):
    """A view that tells its number."""
    picture = np.full((64, 96, 3), (9 * k, 255 - 9 * k, 120), np.uint8)
    return thumbnail(cv2.putText(picture, str(k), (20, 45), cv2.FONT_HERSHEY_SIMPLEX, 1.2, (255, 255, 255), 3))


def remember_a_tour(folder, model):
    """A memory of a tour round a square, with a loop that was closed and a place with a name."""
    rng = np.random.default_rng(0)
    with closing(Store(folder, model_id(load_card(model)), ROVER, new_memory(ROVER, 16))) as store:
        graph = store.memory.annex(PlaceGraph)
        for k in range(4 * SIDE):
            graph.add(3.0 * rng.standard_normal(16), np.zeros(3), 1e9 + k, numbered(k))
            if k:
                graph.join(k - 1, k, np.array([0.5, 0.0, math.pi / 2 * (k % SIDE == 0)]), 5, 0.05, 1)
        graph.join(4 * SIDE - 1, 0, np.array([0.5, 0.0, math.pi / 2]), 5, 0.1)
        store.memory.tag("dock", graph.latents[7] + 0.05, None, graph.thumbnails[7])


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """A robot that remembers a tour, and its console; where the page is."""
    folder, port = tmp_path_factory.mktemp("tour"), free_port()
    model = save_onboard_model(folder / "model")
    remember_a_tour(folder / "memory", model)
    words = ["up", "sim", "robot:=rover", f"model:={model}", f"memory:={folder / 'memory'}", "namespace:=memory_test"]
    up = Child("-m", "jepa_ros.commands.cli", *words)
    words = ["console", "--robot", "rover", "--namespace", "/memory_test", "--use-sim-time", "--port", str(port)]
    console = Child("-m", "jepa_ros.commands.cli", *words)
    try:
        started(up, "[up] ready")
        started(console, "console of")
        yield f"http://localhost:{port}/"
    finally:
        console.end()
        up.end()


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture(params=[1400, 390], ids=["screen", "phone"])
def page(request, browser, address):
    """A page that has the controls and shows the memory."""
    shown = browser.new_page(viewport={"width": request.param, "height": 844}, bypass_csp=True)
    wrong: list[str] = []
    shown.on("pageerror", lambda error: wrong.append(str(error)))
    shown.goto(address, timeout=PATIENCE)
    sync_api.expect(shown.locator("#holder")).to_have_text("You have the controls.", timeout=PATIENCE)
    says(shown, "#memory-text", "A press on a place makes it the goal.")
    shown.wait_for_function("state.places.whole && state.places.pictures.length >= 20", timeout=PATIENCE)
    yield shown
    shown.click("#clear")
    says(shown, "#goal-text", "No goal.")
    shown.close()
    assert wrong == []


def node(page, name):
    """A place in the drawing, brought to where nothing covers it."""
    page.locator("#graph").evaluate("(graph) => graph.scrollIntoView({ block: 'end' })")
    return page.locator(f'#graph .node[data-name="{name}"]')


def test_a_place_that_is_pressed_in_the_drawing_is_the_goal_and_is_marked(page):
    node(page, "place 3").locator("circle").click()
    says(page, "#answer", "goal taken")
    says(page, "#goal-text", "place 3")
    page.wait_for_function("state.places.goal !== null", timeout=PATIENCE)
    sync_api.expect(page.locator("#graph-goal")).to_be_visible()
    sync_api.expect(node(page, "place 3")).to_have_class(re.compile("goal"))
    page.wait_for_function("$('goal-remembered').naturalWidth > 0", timeout=PATIENCE)
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
    page.wait_for_function("[...$('cards').querySelectorAll('img')].every((i) => i.naturalWidth)", timeout=PATIENCE)
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
    try:
        node(page, "place 4").locator("circle").click()
        says(page, "#approval-text", "remembered place 4")
        assert page.locator("#goal-text").inner_text() == "No goal."
        page.click("#approve")
        says(page, "#goal-text", "place 4")
    finally:
        page.uncheck("#approve-mode")
        says(page, "#answer", "at once")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_memory_has_no_accessibility_findings(page, scheme):
    page.emulate_media(color_scheme=scheme)
    assert accessibility(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing stands out to the right"
