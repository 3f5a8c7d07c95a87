# SPDX-License-Identifier: Apache-2.0
"""The web server of the console: pages, one WebSocket a page, and a stop that needs no WebSocket.

What is shown is put together once for all pages (:mod:`jepa_ros.console.board`), :data:`RATE` times a second, and only
while a page is open.

On the loopback interface no token is asked for; the ``Host`` and ``Origin`` of a request must be this server's own, so
that another site in the same browser can neither read nor command. On a network a token is asked for as well.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from jepa_ros.console.afterwards_server import routes as routes_of_bags
from jepa_ros.console.board import Board, Seen
from jepa_ros.console.desk import Desk, Page, Refused, Said
from jepa_ros.console.door import HEADERS, Door
from jepa_ros.console.say import SILENT, say
from jepa_ros.console.shelf import Shelf

FILES = {
    "/": "index.html", "/app.js": "app.js", "/parts.js": "parts.js", "/draw.js": "draw.js", "/memory.js": "memory.js",
    "/style.css": "style.css", "/afterwards": "afterwards.html", "/afterwards.js": "afterwards.js",
}  # fmt: skip
#: Times a second that pages are told what is new; pictures go at most as often.
RATE = 10.0
#: At most so many pages; a further one is told so.
PAGES = 200
MAX_MESSAGE = 12_000_000


class Viewer:
    """The outgoing side of one page."""

    def __init__(self, socket: WebSocket, page: Page, board: Board) -> None:
        self.socket, self.page = socket, page
        self._board, self._seen = board, Seen()
        self._answers: list[str] = []
        self._looked = -math.inf
        self._wake = asyncio.Event()

    def put(self, answer: str) -> None:
        """An answer to send; of more than a hundred that wait, the last ones are dropped."""
        if len(self._answers) < 100:
            self._answers.append(answer)
        self._wake.set()

    def news(self, now: float) -> None:
        """The board is new; a page that nobody can see is told once a second."""
        if self.page.visible or now - self._looked > 0.95:
            self._looked = now
            self._wake.set()

    async def send(self) -> None:
        """Send until the page is gone."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            answers, self._answers = self._answers, []
            for text in answers:
                await self.socket.send_text(text)
            if (state := self._board.message(self._seen)) is not None:
                await self.socket.send_text(state)
            if self.page.visible:
                for data in self._board.pictures(self._seen):
                    await self.socket.send_bytes(data)


class Console:
    """The server's state: one robot, one desk, its open pages.

    Args:
        robot: what :class:`jepa_ros.console.robot.Robot` offers.
        token, hosts, secure: see :class:`~jepa_ros.console.door.Door`.
        shelf: the recorded bags that it offers; None for none.
    """

    def __init__(
        self, robot: Any, token: str = "", hosts: tuple[str, ...] = (), secure: bool = False, shelf: Shelf | None = None
    ) -> None:
        self.robot, self.door, self.shelf = robot, Door(FILES, token, hosts, secure), shelf
        self.desk = Desk(on_said=self._on_said)
        self.board = Board(robot, self.desk)
        self.viewers: dict[int, Viewer] = {}
        self._news = asyncio.Event()
        # Requests that wait for a node that is silent may take every thread of the others; never those of a stop.
        self._stopping = ThreadPoolExecutor(4, "console-stop")
        self._showing = ThreadPoolExecutor(1, "console-show")

    def _on_said(self, said: Said) -> None:
        self.robot.log(said)

    # ------------------------------------------------------------ routes

    def app(self) -> Starlette:
        """The application."""
        routes: list[Any] = [Route(path, self.door.file, methods=["GET"]) for path in FILES]
        routes += [
            Route("/api/stop", self._stop, methods=["POST"]),
            Route("/api/remembered/{number:int}", self._remembered, methods=["GET"]),
            Route("/api/places/{key}", self._thumbnail, methods=["GET"]),
            WebSocketRoute("/ws", self._page),
        ]
        if self.shelf is not None:
            routes += routes_of_bags(self.door, "/api/bags/{key}", self.shelf.bag)

        @contextlib.asynccontextmanager
        async def lifespan(_app: Starlette) -> AsyncIterator[None]:
            task = asyncio.create_task(self._tell())
            yield
            task.cancel()
            if self.shelf is not None:
                self.shelf.close()

        return Starlette(routes=routes, lifespan=lifespan)

    async def _stop(self, request: Request) -> Response:
        """A stop without a WebSocket: the last way that a page tries."""
        if refused := await self.door.admit(request):
            return JSONResponse({"error": refused}, 403, HEADERS)
        page = request.query_params.get("page", "")
        number = int(page) if page.isdecimal() else 0
        answer = await self._do(number, "stop", {})
        return JSONResponse(answer, 200 if "done" in answer else 503, HEADERS)

    async def _remembered(self, request: Request) -> Response:
        """A remembered picture; its number never stands for another one, so that a browser may keep it for a while."""
        if refused := await self.door.admit(request):
            return JSONResponse({"error": refused}, 403, HEADERS)
        return _picture(self.robot.remembered(int(request.path_params["number"])))

    async def _thumbnail(self, request: Request) -> Response:
        """What a place or a tag of the planner's memory looks like; a key, too, stands for one picture always."""
        if refused := await self.door.admit(request):
            return JSONResponse({"error": refused}, 403, HEADERS)
        return _picture(self.robot.thumbnail(request.path_params["key"]))

    # ------------------------------------------------------------ one page

    async def _page(self, socket: WebSocket) -> None:
        refused = await self.door.admit(socket)
        if not refused and len(self.viewers) >= PAGES:
            refused = f"{PAGES} pages are open already"
        await socket.accept()
        if refused:
            await socket.send_text(json.dumps({"kind": "refused", "why": refused}))
            await socket.close(4403)
            return
        page = self.desk.enter()
        viewer = self.viewers[page.number] = Viewer(socket, page, self.board)
        viewer.put(json.dumps({"kind": "hello", "page": page.number}))
        self._news.set()
        sending = asyncio.create_task(viewer.send())
        hearing = asyncio.create_task(self._hear(viewer))
        try:
            await asyncio.wait({sending, hearing}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if self.desk.holder == page.number:
                self.robot.let_go()  # a lost page stands still
            self.viewers.pop(page.number, None)
            self.desk.leave(page.number)
            self.look_at_futures()
            self.look_at_places()
            for task in (sending, hearing):
                task.cancel()
            with contextlib.suppress(Exception):
                await socket.close()

    async def _hear(self, viewer: Viewer) -> None:
        working: set[asyncio.Task[None]] = set()
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):
            while True:
                text = await viewer.socket.receive_text()
                try:
                    message = json.loads(text)
                    what = str(message["do"])
                except (ValueError, KeyError, TypeError):
                    viewer.put(json.dumps({"kind": "answer", "error": "that is no request"}))
                    continue
                if what == "drive":
                    self._drive(viewer, message)
                    continue
                if len(working) >= 8 and what != "stop":
                    full = {"kind": "answer", "id": message.get("id"), "error": "too much at once"}
                    viewer.put(json.dumps(full))
                    continue
                task = asyncio.create_task(self._answer(viewer, what, message))
                working.add(task)
                task.add_done_callback(working.discard)

    def _drive(self, viewer: Viewer, message: dict[str, Any]) -> None:
        """A word of the dead-man's handle: not logged, not answered, and only followed from the holder's front page."""
        command = message.get("command")
        if command is None or not self.desk.may_drive(viewer.page.number):
            if self.desk.holder in (None, viewer.page.number):
                self.robot.let_go()
            return
        try:
            self.robot.drive(command)
        except (Refused, TypeError, ValueError) as error:
            viewer.put(json.dumps({"kind": "answer", "error": str(error)}))

    async def _answer(self, viewer: Viewer, what: str, message: dict[str, Any]) -> None:
        answer = await self._do(viewer.page.number, what, message)
        viewer.put(json.dumps({"kind": "answer", "id": message.get("id"), "what": what, **answer}))
        self._news.set()

    async def _do(self, number: int, what: str, message: dict[str, Any]) -> dict[str, Any]:
        """Do what a page asks; ``{"done": ...}`` or ``{"error": why}``. Everything is written into the log."""
        about = ""
        try:
            self.desk.admit(number, what)
            about, act = say(self, number, what, message)
            threads = self._stopping if what == "stop" else None
            done = await asyncio.get_running_loop().run_in_executor(threads, act)
        except Refused as error:
            self.desk.note(number, what, about, str(error))
            return {"error": str(error)}
        except Exception as error:  # whatever it is, the page is told, and the server goes on
            self.desk.note(number, what, about, f"{type(error).__name__}: {error}")
            return {"error": f"{type(error).__name__}: {error}"}
        if what not in SILENT:
            self.desk.note(number, what, about)
        return {"done": done}

    def look_at_futures(self) -> None:
        """Let the planner publish imagined futures while a page shows them."""
        self.robot.look_at_futures(any(page.futures for page in self.desk.pages.values()))

    def look_at_places(self) -> None:
        """Let the planner publish what is in its memory while a page shows it."""
        self.robot.look_at_places(any(page.places for page in self.desk.pages.values()))

    # ------------------------------------------------------------ telling all pages

    async def _tell(self) -> None:
        looking = False
        while True:
            if looking != bool(self.viewers):
                looking = not looking
                self.robot.look(looking)
            if not looking:
                self._news.clear()
                await self._news.wait()
                continue
            started = time.monotonic()
            try:
                await asyncio.get_running_loop().run_in_executor(self._showing, self.board.update)
                for viewer in self.viewers.values():
                    viewer.news(started)
            except Exception as error:
                trouble = json.dumps({"kind": "trouble", "why": f"{type(error).__name__}: {error}"})
                for viewer in self.viewers.values():
                    viewer.put(trouble)
            await asyncio.sleep(max(0.01, 1.0 / RATE - (time.monotonic() - started)))


def _picture(data: bytes | None) -> Response:
    if data is None:
        return JSONResponse({"error": "that picture is forgotten"}, 404, HEADERS)
    return Response(data, media_type="image/jpeg", headers={**HEADERS, "Cache-Control": "private, max-age=600"})
