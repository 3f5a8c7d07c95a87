# SPDX-License-Identifier: Apache-2.0
"""Ten stops that the page has to explain: what it shows of each, in pictures and text, for a reader who knows nothing.

A gate runs among inputs that are made up, and one thing after the other goes wrong, in an order that a seed draws. The
files of a stop have its number alone for a name; `answers.json` says what it was. Whoever names them right from the
pictures or the texts, without the answers, has shown that the page says why.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import threading
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.rigs import output
from jepa_ros.errors import JepaRosError
from jepa_ros.ros_env import reserved_domain, ros_environment

PHONE, SCREEN = {"width": 390, "height": 844}, {"width": 1400, "height": 900}
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what this benchmark takes."""
    parser.add_argument("--output", type=Path, default=Path("runs/stops"), metavar="DIR", help="(default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the order (default: %(default)s)")


def main(args: argparse.Namespace) -> int:
    """Show each stop on the page; 0 if the gate stopped or slowed for the cause in every one."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        raise JepaRosError("no Chromium: apt install chromium")
    from playwright.sync_api import sync_playwright

    args.output.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as held:
        domain = str(held.enter_context(reserved_domain()))
        os.environ.update(ros_environment(ROS_DOMAIN_ID=domain))
        from benchmarks.rigs import console as rig
        from benchmarks.rigs.stage import CAUSES, Stage

        stage = Stage()
        held.callback(stage.close)
        port = rig.free_port()
        held.enter_context(rig.command("console", "--port", str(port), says="console of"))
        ended = threading.Event()
        player = threading.Thread(target=stage.play, args=(ended,), daemon=True)
        player.start()
        held.callback(player.join, 5.0)
        held.callback(ended.set)
        browser = held.enter_context(sync_playwright()).chromium.launch(executable_path=chromium, args=FLAGS)
        page = browser.new_page(viewport=SCREEN, bypass_csp=True)  # its variables are asked for
        page.set_default_timeout(180_000)  # a busy machine draws slowly
        rig.Page(port).close()  # waits until the console is there
        page.goto(f"http://localhost:{port}/")
        order = [int(k) for k in np.random.default_rng(args.seed).permutation(len(CAUSES))]
        answers, wrong = _show_all(stage, page, args.output, [CAUSES[k] for k in order])
        browser.close()
    (args.output / "answers.json").write_text(json.dumps(answers, indent=1) + "\n", encoding="utf-8")
    print(f"{len(answers)} stops in {args.output}; the answers are in answers.json")
    print(f"the gate did not act for: {', '.join(wrong)}" if wrong else "the gate acted for the cause in every one")
    return 1 if wrong else 0


def _show_all(stage: Any, page: Any, folder: Path, causes: list[Any]) -> tuple[dict[str, Any], list[str]]:
    answers, wrong = {}, []
    for number, cause in enumerate(causes, 1):
        output.say("stops", f"{number} of {len(causes)}")
        stage.recover()
        page.wait_for_function("state && state.gate.mode === 'ACTIVE'", timeout=60_000)
        stage.begin(cause)
        acted = stage.until(lambda cause=cause: stage.reason in cause.reasons, 8.0)
        if not acted:
            wrong.append(f"{cause.name} ({stage.mode} {stage.reason})")
        page.wait_for_timeout(1200)
        _keep(page, folder, f"{number:02}")
        answers[f"{number:02}"] = {"cause": cause.name, "gate": f"{stage.mode} {stage.reason}"}
        stage.end()
    return answers, wrong


def _keep(page: Any, folder: Path, name: str) -> None:
    """The page as a screen and a phone show it, and all of its text."""
    for size, end in ((SCREEN, ""), (PHONE, "_phone")):
        page.set_viewport_size(size)
        page.wait_for_timeout(400)
        page.screenshot(path=str(folder / f"{name}{end}.png"), timeout=180_000)
    page.set_viewport_size(SCREEN)
    page.evaluate("document.querySelectorAll('#why details').forEach((part) => (part.open = true))")
    page.evaluate("document.getElementById('look-interventions').click()")
    page.wait_for_timeout(500)
    (folder / f"{name}.txt").write_text(page.inner_text("body") + "\n", encoding="utf-8")
    page.evaluate("document.querySelectorAll('#why details').forEach((part) => (part.open = false))")


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    add_arguments(arguments)
    raise SystemExit(main(arguments.parse_args()))
