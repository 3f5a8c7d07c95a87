# SPDX-License-Identifier: Apache-2.0
"""The page of a recorded bag in a real browser: go to a moment, think it over again."""

from __future__ import annotations

import pytest
from console_browser import MARKS, PATIENCE, accessibility, commands, free_port, opened, sync_api
from stack_bag import make_model, write_stack_bag

pytestmark = MARKS


@pytest.fixture(scope="module")
def page(browser, tmp_path_factory):
    """The page of a bag, opened by the command."""
    folder = tmp_path_factory.mktemp("bag_page")
    model, port = make_model(folder / "model"), free_port()
    write_stack_bag(folder / "bag", model)
    console = ["console", "--bag", str(folder / "bag"), "--model", str(model), "--port", str(port)]
    with commands(("console of", console)), opened(browser, f"http://localhost:{port}/", height=1000) as shown:
        shown.wait_for_function("unchanged !== null", timeout=PATIENCE)
        yield shown


def test_a_moment_is_chosen_and_thought_over_again_with_another_seed(page):
    first = page.evaluate("step")
    for button, there in (("#on", first + 1), ("#back", first)):
        page.click(button)
        page.wait_for_function(f"moment.step === {there} && unchanged !== null", timeout=PATIENCE)
    page.fill("#seed", "5")
    page.click("#think")
    page.wait_for_function("changed !== null", timeout=PATIENCE)
    assert page.evaluate("changed.seed") == 5 and page.evaluate("moment.recorded.seed") != 5
    cells = page.locator("#compare tbody tr", has_text="seed").locator("td").all_inner_texts()
    assert cells[2] == "5" and cells[0] == cells[1] != "5"


def test_a_click_where_the_camera_has_no_place_and_a_wrong_guardrail_say_why(page):
    page.click("#again")  # this bag has no camera_info
    sync_api.expect(page.locator("#answer")).to_contain_text("no fixed place", timeout=PATIENCE)
    page.fill("#guardrails", "- {a: 1}")
    page.click("#think")
    sync_api.expect(page.locator("#answer")).to_contain_text("guardrails", timeout=PATIENCE)
    page.click("text=Change nothing")


def test_the_page_of_a_bag_has_no_accessibility_findings(page):
    assert accessibility(page) == []
