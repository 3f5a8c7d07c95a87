# SPDX-License-Identifier: Apache-2.0
"""The web server of a recorded bag: the page, and what it asks for. It commands nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from jepa_ros.console.afterwards import Afterwards
from jepa_ros.console.door import HEADERS, Door
from jepa_ros.errors import JepaRosError

FILES = {"/": "afterwards.html", "/afterwards.js": "afterwards.js", "/draw.js": "draw.js", "/style.css": "style.css"}
MAX_BODY = 12_000_000


def app(bag: Afterwards, token: str = "", hosts: tuple[str, ...] = (), secure: bool = False) -> Starlette:
    """The application; see :class:`~jepa_ros.console.door.Door` for token, hosts, secure."""
    door = Door(FILES, token, hosts, secure)

    def route(path: str, act: Callable[[int, dict[str, Any]], Any], method: str = "GET") -> Route:
        async def answer(request: Request) -> Response:
            if refused := await door.admit(request):
                return JSONResponse({"error": refused}, 403, HEADERS)
            try:
                number = int(request.path_params.get("step", 0))
                body = await _body(request) if method == "POST" else {}
                found = await asyncio.to_thread(act, number, body)
            except JepaRosError as error:
                return JSONResponse({"error": str(error)}, 400, HEADERS)
            if isinstance(found, bytes):
                return Response(found, media_type="image/jpeg", headers=HEADERS)
            return JSONResponse(found, headers=HEADERS)

        return Route(path, answer, methods=[method])

    return Starlette(
        routes=[
            *(Route(path, door.file, methods=["GET"]) for path in FILES),
            route("/api/bag", lambda _number, _body: bag.timeline()),
            route("/api/bag/{step:int}", lambda number, _body: bag.moment(number)),
            route("/api/bag/{step:int}/picture", lambda number, _body: bag.picture(number)),
            route("/api/bag/{step:int}/again", lambda number, _body: bag.again(number)),
            route("/api/bag/{step:int}/rethink", bag.rethink, "POST"),
            route("/api/bag/{step:int}/case", bag.save, "POST"),
        ]
    )


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
