# SPDX-License-Identifier: Apache-2.0
"""A browser for the tests of the operator's page, and the processes that it looks at."""

from __future__ import annotations

import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from ros_harness import Child

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
#: Of a file whose tests open the page.
MARKS = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt install chromium")]
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
PATIENCE = 60_000  # ms


def free_port():
    """A port that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def started(child, says):
    """Wait until a process has said a word."""
    end = time.monotonic() + 180
    while says not in child.text:
        assert time.monotonic() < end and child.popen.poll() is None, child.text
        time.sleep(0.1)


@contextmanager
def commands(*lines: tuple[str, list[str]]) -> Iterator[None]:
    """Runs ``jepa-ros`` with the words of each line, one after the other has said its word; ends them the other way."""
    children: list[Child] = []
    try:
        for word, words in lines:
            children.append(Child("-m", "jepa_ros.commands.cli", *words))
            started(children[-1], word)
        yield
    finally:
        for child in reversed(children):
            child.end()


@contextmanager
def browsing() -> Iterator[Any]:
    """A browser."""
    with sync_api.sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@contextmanager
def opened(browser: Any, address: str, width: int = 1400, height: int = 900) -> Iterator[Any]:
    """A page of the browser, in which nothing may go wrong."""
    # The page forbids scripts that are made of text; tests ask its variables that way.
    page = browser.new_page(viewport={"width": width, "height": height}, bypass_csp=True)
    page.set_default_timeout(PATIENCE)
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.goto(address)
    yield page
    page.close()
    assert wrong == []


def says(page, selector, text):
    """Wait until an element holds a text."""
    sync_api.expect(page.locator(selector)).to_contain_text(text, timeout=PATIENCE)


def accessibility(page):
    """What axe finds wrong with a page, every part of it unfolded."""
    axe = pytest.importorskip("axe_playwright_python", reason="pip install axe-playwright-python")
    page.evaluate("document.querySelectorAll('details').forEach((part) => (part.open = true))")
    page.evaluate((Path(axe.__file__).parent / "axe.min.js").read_text(encoding="utf-8"))
    found = page.evaluate("axe.run()")
    assert found["passes"], "axe looked at nothing"
    return [(v["impact"], v["id"], [n["target"] for n in v["nodes"]]) for v in found["violations"]]
