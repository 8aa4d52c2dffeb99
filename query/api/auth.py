"""Who may ask: a bearer token, the same token as a password of basic auth, or the cookie that a single-use login code buys."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import time
from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

COOKIE = "heliograph_session"
SESSION_S = 7 * 24 * 3600
OPEN_PATHS = frozenset({"/healthz", "/readyz"})
_HELP = "send the token of the data directory's `token` file as `Authorization: Bearer …`, or open the link that `heliograph up` printed"
_ENTER = '<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="0;url=/"><title>Heliograph</title>'


class Sessions:
    """Signs and checks session cookies with a key derived from the token, so that a new token ends every session."""

    def __init__(self, token: str, clock_s: Callable[[], float] = time.time) -> None:
        self._token = token
        self._clock_s = clock_s
        self._key = hashlib.sha256(b"heliograph session\0" + token.encode()).digest()

    def __repr__(self) -> str:
        return "Sessions(<secret>)"

    def issue(self) -> str:
        """A cookie value that is good for SESSION_S."""
        expires = str(int(self._clock_s()) + SESSION_S)
        return f"{expires}.{self._sign(expires)}"

    def token_is(self, candidate: str) -> bool:
        """Constant-time comparison with the token."""
        return hmac.compare_digest(candidate.encode(), self._token.encode())

    def cookie_is_good(self, value: str) -> bool:
        """Whether we signed it and it has not expired."""
        expires, _, signature = value.partition(".")
        if not hmac.compare_digest(signature.encode(), self._sign(expires).encode()):
            return False
        return expires.isdecimal() and int(expires) > self._clock_s()

    def _sign(self, expires: str) -> str:
        return hmac.new(self._key, expires.encode(), hashlib.sha256).hexdigest()


class RequireToken:
    """ASGI middleware: answers 401 to everything but the open paths unless the request shows the token or a session."""

    def __init__(self, app: ASGIApp, sessions: Sessions, redeem: Callable[[str], bool]) -> None:
        self._app = app
        self._sessions = sessions
        self._redeem = redeem

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in OPEN_PATHS or self._authorised(Headers(scope=scope), scope):
            await self._app(scope, receive, send)
            return
        await self._answer(Request(scope))(scope, receive, send)

    def _authorised(self, headers: Headers, scope: Scope) -> bool:
        scheme, _, rest = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return self._sessions.token_is(rest.strip())
        if scheme.lower() == "basic":
            try:
                _, _, password = base64.b64decode(rest, validate=True).decode().partition(":")
            except (binascii.Error, UnicodeDecodeError):
                return False
            return self._sessions.token_is(password)
        return self._sessions.cookie_is_good(Request(scope).cookies.get(COOKIE, ""))

    def _answer(self, request: Request) -> Response:
        code = request.query_params.get("code", "")
        if request.url.path == "/" and request.method == "GET" and code and self._redeem(code):
            response = HTMLResponse(_ENTER, headers={"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"})
            response.set_cookie(
                COOKIE, self._sessions.issue(), max_age=SESSION_S, httponly=True, samesite="strict", path="/"
            )
            return response
        if "text/html" in request.headers.get("accept", ""):
            page = f"<!doctype html><meta charset=utf-8><title>Heliograph</title><h1>Not signed in</h1><p>To enter, {_HELP}."
            return HTMLResponse(page, 401, headers={"Cache-Control": "no-store"})
        return JSONResponse({"status": "error", "errorType": "unauthorized", "error": _HELP}, 401)
