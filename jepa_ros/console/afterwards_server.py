# SPDX-License-Identifier: Apache-2.0
"""The web server of recorded bags: the page, and what it asks for. It commands nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from jepa_ros.console.door import HEADERS, Door
from jepa_ros.errors import JepaRosError

if TYPE_CHECKING:  # the page of a running robot does without torch
    from jepa_ros.console.afterwards import Afterwards

FILES = {"/": "afterwards.html", "/afterwards.js": "afterwards.js", "/draw.js": "draw.js", "/style.css": "style.css"}
MAX_BODY = 12_000_000
#: Requests that are worked on at once. They have threads of their own: a bag that takes long to open holds up no stop.
AT_ONCE = 4


def app(bag: Afterwards, token: str = "", hosts: tuple[str, ...] = (), secure: bool = False) -> Starlette:
    """The application for one bag; see :class:`~jepa_ros.console.door.Door` for token, hosts, secure."""
    door = Door(FILES, token, hosts, secure)
    files = [Route(path, door.file, methods=["GET"]) for path in FILES]
    return Starlette(routes=[*files, *routes(door, "/api/bag", lambda _key: bag)])


def routes(door: Door, place: str, bag_of: Callable[[str], Any]) -> list[Route]:
    """What the page of a bag asks for.

    Args:
        door: lets requests in. place: path of the bag, which may have a part ``{key}``. bag_of: the bag of a key, with
            what :class:`~jepa_ros.console.afterwards.Afterwards` offers; may raise JepaRosError.
    """

    threads = ThreadPoolExecutor(AT_ONCE, "console-bag")

    def route(path: str, act: Callable[[Any, int, dict[str, Any]], Any], method: str = "GET") -> Route:
        async def answer(request: Request) -> Response:
            if refused := await door.admit(request):
                return JSONResponse({"error": refused}, 403, HEADERS)
            try:
                number, key = int(request.path_params.get("step", 0)), str(request.path_params.get("key", ""))
                body = await _body(request) if method == "POST" else {}
                found = await asyncio.get_running_loop().run_in_executor(
                    threads, lambda: act(bag_of(key), number, body)
                )
            except JepaRosError as error:
                return JSONResponse({"error": str(error)}, 400, HEADERS)
            if isinstance(found, bytes):
                return Response(found, media_type="image/jpeg", headers=HEADERS)
            return JSONResponse(found, headers=HEADERS)

        return Route(place + path, answer, methods=[method])

    return [
        route("", lambda bag, _number, _body: bag.timeline()),
        route("/{step:int}", lambda bag, number, _body: bag.moment(number)),
        route("/{step:int}/picture", lambda bag, number, _body: bag.picture(number)),
        route("/{step:int}/again", lambda bag, number, _body: bag.again(number)),
        route("/{step:int}/rethink", lambda bag, number, body: bag.rethink(number, body), "POST"),
        route("/{step:int}/case", lambda bag, number, body: bag.save(number, body), "POST"),
    ]


async def _body(request: Request) -> dict[str, Any]:
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > MAX_BODY:
            raise JepaRosError(f"that is more than {MAX_BODY / 1e6:.0f} MB")
    try:
        found = json.loads(bytes(data))
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise JepaRosError("that is no request")
    return found
