# SPDX-License-Identifier: Apache-2.0
"""Who may come in: the name and origin of a request, and the token. The ONE place that asks for them."""

from __future__ import annotations

import asyncio
import hmac
from pathlib import Path

from starlette.requests import HTTPConnection, Request
from starlette.responses import FileResponse, JSONResponse, RedirectResponse, Response

PAGE = Path(__file__).with_name("page")
#: Seconds that a request with a wrong token waits for its answer; at most :data:`GUESSES` wait at once.
SLOWED, GUESSES = 1.0, 8
COOKIE = "jepa_ros_console"
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class Door:
    """Lets requests in, and hands out the page's files to those.

    Args:
        files: of the folder ``page``, by path of the request.
        token: asked of every page; empty asks for none (the loopback interface).
        hosts: names under which this server may be called, in lower case, without port; empty: any (with a token).
        secure: it is served over TLS.
    """

    def __init__(
        self, files: dict[str, str], token: str = "", hosts: tuple[str, ...] = (), secure: bool = False
    ) -> None:
        self.files, self._token, self._hosts, self._secure = files, token, hosts, secure
        self._guessing = 0

    def _own(self, connection: HTTPConnection) -> bool:
        """Whether the request was made to this server by its own name, by its own page."""
        host = connection.headers.get("host", "").lower()
        name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
        if self._hosts and name not in self._hosts:
            return False
        origin = connection.headers.get("origin")
        scheme = "https" if self._secure else "http"
        return origin is None or origin.lower() == f"{scheme}://{host}"

    def _given(self, connection: HTTPConnection) -> str:
        bearer = connection.headers.get("authorization", "").partition("Bearer ")[2]
        return bearer or connection.cookies.get(COOKIE, "")

    def _right(self, token: str) -> bool:
        return not self._token or hmac.compare_digest(token.encode(), self._token.encode())

    async def admit(self, connection: HTTPConnection, token: str | None = None) -> str:
        """Why a request is turned away; empty where it is let in. Wrong tokens wait for that."""
        if not self._own(connection):
            return "this page was not served by this console"
        given = self._given(connection) if token is None else token
        if self._right(given):
            return ""
        if given and self._guessing < GUESSES:
            self._guessing += 1
            try:
                await asyncio.sleep(SLOWED)
            finally:
                self._guessing -= 1
        return "a token is needed: open the address that the console printed"

    async def file(self, request: Request) -> Response:
        """One of the page's files."""
        token = request.query_params.get("token")
        refused = await self.admit(request, token)
        if refused:
            return JSONResponse({"error": refused}, 403, HEADERS)
        if token is not None and self._token:  # it leaves the address line, and stays in a cookie of this browser
            answer = RedirectResponse("/", 303, HEADERS)
            answer.set_cookie(COOKIE, token, httponly=True, samesite="strict", secure=self._secure)
            return answer
        return FileResponse(PAGE / self.files[request.url.path], headers=HEADERS)
