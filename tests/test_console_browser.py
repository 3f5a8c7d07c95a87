# SPDX-License-Identifier: Apache-2.0
"""The operator's page in a real browser, on the whole stack in simulation, used as a person would use it."""

from __future__ import annotations

import re

import pytest
from console_browser import MARKS, PATIENCE, accessibility, commands, free_port, opened, says, sync_api
from stack_bag import make_model, write_stack_bag

pytestmark = MARKS


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """A stack and its console, which offers one bag; where the page is."""
    folder, port = tmp_path_factory.mktemp("live"), free_port()
    model = make_model(folder / "model")
    write_stack_bag(folder / "bags" / "yesterday", model)
    console = ["console", "--namespace", "/console_test", "--use-sim-time", "--port", str(port)]
    console += ["--bags", str(folder / "bags"), "--model", str(model)]
    with commands(("[up] ready", ["up", "sim", "namespace:=console_test"]), ("console of", console)):
        yield f"http://localhost:{port}/"


@pytest.fixture
def page(browser, address):
    """A page that has the controls, of a robot that may drive."""
    with opened(browser, address) as shown:
        sync_api.expect(shown.locator("#holder")).to_have_text("You have the controls.", timeout=PATIENCE)
        sync_api.expect(shown.locator("#mode")).to_have_text(re.compile("^[A-Z]+$"), timeout=PATIENCE)  # it was heard
        if shown.locator("#mode").inner_text() == "ESTOP":
            shown.click("#reset")
        sync_api.expect(shown.locator("#gate")).to_contain_text("ACTIVE", timeout=PATIENCE)  # and else says why not
        yield shown


def click_picture(page, x, y):
    """Click the camera's picture at a share of its width and height."""
    box = page.locator("#camera").bounding_box()
    page.mouse.click(box["x"] + x * box["width"], box["y"] + y * box["height"])


def test_a_click_in_the_picture_is_a_goal_and_its_plan_appears(page):
    click_picture(page, 0.5, 0.5)
    says(page, "#answer", "goal taken")
    says(page, "#goal-text", "a place, at x")
    page.wait_for_function("state.drawing.plan.length > 1 || state.planner.arrived === 'true'", timeout=PATIENCE)
    page.click("#clear")
    says(page, "#goal-text", "No goal.")


def test_a_forbidden_area_is_drawn_and_one_that_crosses_itself_is_refused(page):
    page.click("#rules summary")
    page.click("#click-rule")
    for x, y in ((0.2, 0.2), (0.4, 0.4), (0.4, 0.2), (0.2, 0.4), (0.2, 0.2)):  # crosses itself
        click_picture(page, x, y)
    says(page, "#answer", "cross")
    assert page.locator("#rule-list").inner_text() == "None."
    page.click("#click-rule")
    for x, y in ((0.42, 0.42), (0.5, 0.42), (0.5, 0.5), (0.42, 0.5), (0.42, 0.42)):
        click_picture(page, x, y)
    says(page, "#rule-list", "drawn_1 (keep_out)")
    page.wait_for_function("state.drawing.rules.length === 1", timeout=PATIENCE)
    page.click("#rule-list button")
    says(page, "#rule-list", "None.")


def test_escape_stops_and_only_a_reset_ends_it(page):
    page.keyboard.press("Escape")
    says(page, "#mode", "ESTOP")
    says(page, "#headline", "The emergency stop was pressed")
    says(page, "#step", "press Reset")
    says(page, "#sentence", "latched until reset")
    page.click("#enable")
    says(page, "#answer", "reset first")
    page.click("#reset")
    says(page, "#mode", "ACTIVE")


def test_another_page_looks_on_and_can_stop_but_not_reset(page, browser, address):
    other = browser.new_page(viewport={"width": 390, "height": 844})  # a phone
    try:
        other.goto(address)
        says(other, "#holder", "has the controls")
        assert other.locator("#reset").is_disabled()
        other.click("#stop")
        says(page, "#mode", "ESTOP")
    finally:
        other.close()


def test_a_goal_waits_until_it_is_approved(page):
    page.check("#approve-mode")
    says(page, "#answer", "wait for an approval")
    click_picture(page, 0.5, 0.5)
    says(page, "#approval-text", "clicked")
    assert page.locator("#goal-text").inner_text() == "No goal."
    page.click("#refuse")
    sync_api.expect(page.locator("#approval")).to_be_hidden(timeout=PATIENCE)
    click_picture(page, 0.5, 0.5)
    says(page, "#approval-text", "clicked")
    page.click("#approve")
    says(page, "#goal-text", "a place")
    page.uncheck("#approve-mode")
    says(page, "#answer", "at once")
    page.click("#clear")


def test_holding_drives_and_letting_go_stands_still(page):
    page.click("text=Drive by hand")
    ahead = page.locator("#pad [aria-label=Ahead]")
    ahead.scroll_into_view_if_needed()
    box = ahead.bounding_box()
    page.mouse.move(box["x"] + 20, box["y"] + 20)
    page.mouse.down()
    says(page, "#headline", "Driven by hand")
    page.mouse.up()
    page.wait_for_function("!state.driving && state.gate.values.every((v) => Number(v) === 0)", timeout=PATIENCE)


def test_a_picture_that_grows_old_is_marked_as_frozen(page):
    assert page.locator("#frozen").inner_text() == ""
    page.evaluate("void (window.WebSocket = class { constructor() { this.readyState = 3; } })")
    page.evaluate("socket.close()")  # and there is no way back
    says(page, "#frozen", "no connection")
    page.wait_for_function("Number(/([0-9.]+) s old/.exec($('frozen').textContent)[1]) > 2", timeout=PATIENCE)


def test_the_last_cause_stays_on_the_page_when_the_gate_goes_on(page):
    page.keyboard.press("Escape")
    says(page, "#mode", "ESTOP")
    page.click("#reset")
    says(page, "#mode", "ACTIVE")
    says(page, "#cause", "latched until reset")


def test_goals_are_marked_in_picture_and_map_and_the_legend_names_what_is_drawn(page):
    click_picture(page, 0.6, 0.4)
    page.wait_for_function("state.drawing.goal !== null", timeout=PATIENCE)
    says(page, "#goal-text", "green ring")
    found = page.evaluate("[true, false].map((pixels) => Parts.around(state, pixels, false)((at) => at).goal.length)")
    assert found == [1, 1]
    x, y = page.evaluate("state.drawing.goal_pixel[0].map((v, k) => v / state.drawing.size[k])")
    assert (x, y) == pytest.approx((0.6, 0.4), abs=0.02)
    page.click("#goal-here")  # as a picture: the model tells where it was taken
    page.wait_for_function("state.planner.goal === 'image' && state.drawing.goal !== null", timeout=PATIENCE)
    says(page, "#goal-text", "a picture “current”, at x")
    legend = {text.strip() for text in page.locator("#legend li").all_inner_texts()}
    assert {"robot, and where it looks", "goal", "person"} <= legend
    page.click("#clear")
    says(page, "#goal-text", "No goal.")
    assert page.evaluate("Parts.around(state, true, false)((at) => at).goal") == []


def test_imagined_futures_are_shown_as_remembered_pictures_one_of_which_becomes_the_goal(page):
    page.click("#futures summary")
    says(page, "#futures-text", "give it a goal")
    page.wait_for_function("state.strips && state.strips.remembered > 0", timeout=PATIENCE)
    page.click("text=Drive by hand")
    for name in ("Ahead", "Left", "Ahead"):  # so that there is something to remember
        box = page.locator(f"#pad [aria-label={name}]").bounding_box()
        page.mouse.move(box["x"] + 20, box["y"] + 20)
        page.mouse.down()
        page.wait_for_timeout(1500)
        page.mouse.up()
    page.locator("#camera").scroll_into_view_if_needed()
    click_picture(page, 0.5, 0.5)
    page.wait_for_function("$('strips').children.length > 0 && state.strips.chosen", timeout=PATIENCE)
    assert page.locator(".strip.chosen span").all_inner_texts() == ["✔ chosen"]
    page.wait_for_function("[...$('strips').querySelectorAll('img')].every((i) => i.naturalWidth)", timeout=PATIENCE)
    assert accessibility(page) == []
    page.locator(".strip button").first.click()
    says(page, "#goal-text", "remembered picture")
    page.click("#clear")


def test_a_planner_without_a_memory_is_said_to_have_none(page):
    says(page, "#memory-text", "This planner has no memory.")
    assert page.locator("#graph-figure").is_hidden() and page.locator("#cards button").count() == 0


def test_a_bag_is_opened_from_the_live_page_thought_over_again_and_left(page):
    page.click("#bags summary")
    says(page, "#bag-list", "Open yesterday")
    assert accessibility(page) == []
    page.click("text=Open yesterday")
    page.wait_for_url("**/afterwards?bag=*", timeout=PATIENCE)
    page.wait_for_function("typeof unchanged !== 'undefined' && unchanged !== null", timeout=9 * PATIENCE)
    page.fill("#seed", "5")
    page.click("#think")
    page.wait_for_function("changed !== null && changed.seed === 5", timeout=PATIENCE)
    assert accessibility(page) == []
    page.keyboard.press("Escape")
    says(page, "#answer", "STOP")
    page.click("#live")
    says(page, "#mode", "ESTOP")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_has_no_accessibility_findings(page, scheme):
    page.emulate_media(color_scheme=scheme)
    assert accessibility(page) == []
