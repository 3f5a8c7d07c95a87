# SPDX-License-Identifier: Apache-2.0
"""What a page may ask for, by name: the ONE table. Each row gives what to write into the log, and what to do."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Any

from jepa_ros.console.desk import Refused

Said = tuple[str, Callable[[], Any]]
#: Requests that are not written into the log where they are granted: they change nothing.
SILENT = ("front", "interventions", "rules", "futures", "places", "bags")


def say(console: Any, number: int, what: str, message: dict[str, Any]) -> Said:
    """What a request of a page means: a line for the log, and the function that does it (in a worker thread).

    Args:
        console: the :class:`~jepa_ros.console.server.Console`. number: of the page.

    Raises:
        Refused: there is no such request, or its arguments are wrong.
    """
    row = TABLE.get(what)
    if row is None:
        raise Refused(f"there is nothing called '{what[:40]}' to ask for")
    return row(console, number, message)


def _stop(console: Any, _number: int, _message: dict[str, Any]) -> Said:
    return "", console.robot.stop


def _reset(console: Any, _number: int, _message: dict[str, Any]) -> Said:
    return "", console.robot.reset


def _enable(console: Any, _number: int, message: dict[str, Any]) -> Said:
    on = _bool(message, "on")
    return ("on" if on else "off"), lambda: console.robot.enable(on)


def _pause(console: Any, _number: int, message: dict[str, Any]) -> Said:
    on = _bool(message, "on")
    return ("on" if on else "off"), lambda: console.robot.pause(on)


def _clear(console: Any, _number: int, _message: dict[str, Any]) -> Said:
    return "", console.robot.clear


def _goal(console: Any, number: int, message: dict[str, Any]) -> Said:
    about, act = _wanted(console, message)

    def propose() -> Any:
        if console.desk.propose(number, about, act):
            return act()
        return "the goal waits until it is approved"

    return about, propose


def _wanted(console: Any, message: dict[str, Any]) -> Said:
    """A goal in one of the ways in which a page can say it."""
    robot = console.robot
    if "pixel" in message:
        u, v = _numbers(message, "pixel", 2)
        x, y = robot.goal_pixel(u, v)
        return f"x {x:.2f} m, y {y:.2f} m (clicked)", lambda: robot.goal_pose(x, y, robot.towards(x, y))
    if "pose" in message:
        x, y, yaw = _numbers(message, "pose", 3)
        return f"x {x:.2f} m, y {y:.2f} m, yaw {yaw:.2f} rad", lambda: robot.goal_pose(x, y, yaw)
    if "tag" in message:
        name = str(message["tag"])
        return f"remembered place '{name[:60]}'", lambda: robot.goal_tag(name)
    if "place" in message:
        place, key = message["place"], str(message.get("key", ""))
        if isinstance(place, bool) or not isinstance(place, int):
            raise Refused("place: expected the number of a place")
        return f"remembered place {place}", lambda: robot.goal_place(place, key)
    if "file" in message:
        name = str(message.get("name", "picture"))
        try:
            data = base64.b64decode(str(message["file"]), validate=True)
        except binascii.Error:
            raise Refused(f"'{name[:60]}' did not arrive whole") from None
        return f"picture '{name[:60]}'", lambda: robot.goal_file(data, name)
    if "remembered" in message:
        picture = message["remembered"]
        if isinstance(picture, bool) or not isinstance(picture, int):
            raise Refused("remembered: expected the number of a picture")
        return f"remembered picture {picture}", lambda: robot.goal_remembered(picture)
    if message.get("here"):
        return "what the camera sees now", robot.here
    raise Refused("a goal is a pixel, a pose, a tag, a place, a file, a remembered picture, or here")


def _approve(console: Any, _number: int, _message: dict[str, Any]) -> Said:
    waiting = console.desk.settle(True)
    return waiting.about, waiting.act


def _refuse(console: Any, _number: int, _message: dict[str, Any]) -> Said:
    waiting = console.desk.settle(False)
    return waiting.about, lambda: "refused"


def _mode(console: Any, _number: int, message: dict[str, Any]) -> Said:
    on = _bool(message, "on")

    def act() -> str:
        console.desk.approve = on
        return "goals wait for an approval" if on else "goals are followed at once"

    return ("on" if on else "off"), act


def _remember(console: Any, _number: int, message: dict[str, Any]) -> Said:
    name = str(message.get("name", "")).strip()
    if not name:
        raise Refused("a place needs a name")
    return name[:60], lambda: console.robot.remember(name)


def _rules(console: Any, _number: int, _message: dict[str, Any]) -> Said:
    robot = console.robot

    def act() -> dict[str, Any]:
        rules = robot.guardrails()
        try:
            return {"guardrails": rules, "costs": robot.parameter("planner", "costs")}
        except Refused:  # a planner that is dead hides no rule of the gate
            return {"guardrails": rules, "costs": ""}

    return "", act


def _guardrails(console: Any, _number: int, message: dict[str, Any]) -> Said:
    robot = console.robot
    if "pixels" in message:
        name = str(message.get("name", "drawn"))[:60]
        return f"keep-out '{name}' drawn in the picture", lambda: robot.put_drawn(name, message["pixels"])
    rules = message.get("guardrails")
    if not isinstance(rules, list) or not all(isinstance(rule, dict) for rule in rules):
        raise Refused("guardrails: expected a list")
    return f"{len(rules)}: {', '.join(str(rule.get('name', '?')) for rule in rules)}", lambda: robot.put(rules)


def _costs(console: Any, _number: int, message: dict[str, Any]) -> Said:
    text = str(message.get("costs", ""))
    return text.replace("\n", " "), lambda: console.robot.set_parameter("planner", "costs", text) or "weights changed"


def _take(console: Any, number: int, _message: dict[str, Any]) -> Said:
    return "", lambda: console.desk.take(number) or "you have the controls"


def _release(console: Any, number: int, _message: dict[str, Any]) -> Said:
    def act() -> str:
        console.robot.let_go()
        console.desk.release(number)
        return "nobody has the controls"

    return "", act


def _name(console: Any, number: int, message: dict[str, Any]) -> Said:
    name = str(message.get("name", "")).strip()[:40]
    if not name:
        raise Refused("a name has at least one letter")
    console.desk.pages[number].name = name
    return name, lambda: name


def _front(console: Any, number: int, message: dict[str, Any]) -> Said:
    on = _bool(message, "on")
    page = console.desk.pages[number]
    page.front, page.visible = on, on or message.get("visible") is not False

    def act() -> bool:
        if not on and console.desk.holder == number:
            console.robot.let_go()
        return on

    return "", act


def _futures(console: Any, number: int, message: dict[str, Any]) -> Said:
    console.desk.pages[number].futures = on = _bool(message, "on")
    console.look_at_futures()  # here: a worker thread would go through pages that come and go
    return "", lambda: on


def _places(console: Any, number: int, message: dict[str, Any]) -> Said:
    console.desk.pages[number].places = on = _bool(message, "on")
    console.look_at_places()
    return "", lambda: on


def _shelf(console: Any) -> Any:
    if console.shelf is None:
        raise Refused("this console offers no bags")
    return console.shelf


def _bags(console: Any, _number: int, _message: dict[str, Any]) -> Said:
    return "", _shelf(console).bags


def _bag(console: Any, _number: int, message: dict[str, Any]) -> Said:
    shelf, key = _shelf(console), str(message.get("key", ""))[:40]

    def act() -> str:
        shelf.bag(key)
        return key

    return str(message.get("name", key))[:60], act


def _interventions(console: Any, _number: int, _message: dict[str, Any]) -> Said:
    return "", console.robot.interventions


TABLE: dict[str, Callable[[Any, int, dict[str, Any]], Said]] = {
    "stop": _stop,
    "reset": _reset,
    "enable": _enable,
    "pause": _pause,
    "clear": _clear,
    "goal": _goal,
    "approve": _approve,
    "refuse": _refuse,
    "mode": _mode,
    "remember": _remember,
    "rules": _rules,
    "guardrails": _guardrails,
    "costs": _costs,
    "take": _take,
    "release": _release,
    "name": _name,
    "front": _front,
    "interventions": _interventions,
    "futures": _futures,
    "places": _places,
    "bags": _bags,
    "bag": _bag,
}


def _bool(message: dict[str, Any], key: str) -> bool:
    value = message.get(key)
    if not isinstance(value, bool):
        raise Refused(f"{key}: expected true or false")
    return value


def _numbers(message: dict[str, Any], key: str, count: int) -> list[float]:
    value = message.get(key)
    if isinstance(value, list) and len(value) == count:
        try:
            return [float(v) for v in value]
        except (TypeError, ValueError):
            pass
    raise Refused(f"{key}: expected {count} numbers")
