# SPDX-License-Identifier: Apache-2.0
"""`jepa-ros goal remember TAG` and `goal tags`: what the planner's long-term memory is asked from a terminal."""

from __future__ import annotations

from jepa_ros.commands.link import Link
from jepa_ros.errors import JepaRosError

TOPIC = "planner/memory"


def tags(link: Link) -> int:
    """Print the remembered places, one a line; 1 when the planner has no memory."""
    values = _memory(link)
    if not values["folder"]:
        print("this planner has no long-term memory: start it with memory:=FOLDER")
        return 1
    for key, text in values.items():
        if key.startswith("tag/"):
            print(f"{key.removeprefix('tag/')}: {text}")
    print(
        f"{values['tags']} tags, {values['states']} states, {values['obstructions']} obstructions: {values['folder']}"
    )
    return 0


def remember(link: Link, name: str) -> int:
    """Give what the robot sees now a name, and wait until it is on disk; 1 when it was refused."""
    from diagnostic_msgs.msg import DiagnosticArray
    from std_msgs.msg import String

    from jepa_ros.nodes import qos

    told = [_memory(link)]
    before = int(told[0]["answers"])
    link.node.create_subscription(DiagnosticArray, TOPIC, lambda m: told.append(_values(m)), qos.LATCHED)
    link.say(String, "planner/remember", qos.COMMAND, String(data=name))

    def answered() -> bool:
        now = told[-1]
        done = now["refused"] or now["trouble"] or (now["kept"] == "true" and f"tag/{name}" in now)
        return int(now["answers"]) > before and bool(done)

    link.until(answered, "the planner does not say that it has remembered it")
    now = told[-1]
    if now["refused"]:
        print(now["refused"])
        return 1
    if now["kept"] != "true":
        print(f"remembered until the planner ends, and not on disk: {now['trouble']}")
        return 1
    print(f"{name}: {now[f'tag/{name}']}")
    return 0


def _memory(link: Link) -> dict[str, str]:
    from diagnostic_msgs.msg import DiagnosticArray

    from jepa_ros.nodes import qos

    return _values(link.hear(DiagnosticArray, TOPIC, qos.LATCHED))


def _values(message) -> dict[str, str]:
    values = {pair.key: pair.value for part in message.status for pair in part.values}
    if "answers" not in values:
        raise JepaRosError(f"{TOPIC}: the planner's message has no 'answers': another version of jepa_ros runs there")
    return values
