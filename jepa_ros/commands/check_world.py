# SPDX-License-Identifier: Apache-2.0
"""``jepa-ros check world NAME``: does a world, ours or anybody's, do what its protocols say?"""

from __future__ import annotations


def check_world(name: str) -> int:
    """Try a registered world, and say what is wrong with it. Returns the exit code: 1 where something is."""
    from jepa_ros.worlds import load
    from jepa_ros.worlds.checker import check

    world = load(name)
    said = check(world)
    if said:
        for line in said:
            print(f"  wrong: {line}")
        print(f"world '{name}' will not do")
        return 1
    gate = "" if world.gated else ", without a gate"
    print(f"{type(world).__module__}: world '{world.name}' of robot '{name}'{gate}")
    print(f"  tasks to be scored: {', '.join(world.tasks)} (by default {world.score_task})")
    print(f"  data is gathered in: {', '.join(world.outings)} (by default {world.data_task})")
    print(f"  shipped model: {world.model or 'none'}")
    print("ok")
    return 0
