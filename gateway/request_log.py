"""One id and one log line for each HTTP request, and for each WebSocket when it ends.

The id comes from the caller's ``X-Request-ID`` when that is a plain word, else it is made here; it is in every log line
that the request causes (Airflow's logging shows structlog's context variables) and in the answer's ``X-Request-ID``.
"""

from __future__ import annotations

import logging
import re
import time
from uuid import uuid4

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..resolvers import metrics

logger = logging.getLogger(__name__)

_PLAIN_WORD = re.compile(r"[A-Za-z0-9._-]{1,64}")
_PROBES = frozenset({"/health", "/ready"})
_STARTS = frozenset({"http.response.start", "websocket.accept", "websocket.http.response.start"})
_PLACES = frozenset({"", "assets", "graphql", "health", "login", "logout", "metrics", "ready", "session"})
"""First parts of the paths that there are; anybody can invent others."""


def _count(scope: Scope, status: int) -> None:
    # Mounted in another application, the path begins with where that is.
    place = scope["path"].removeprefix(scope.get("root_path", "")).strip("/").partition("/")[0]
    metrics.REQUESTS.add(f"/{place}" if place in _PLACES else "other", str(status or "unanswered"))


def _log(scope: Scope, status: int, milliseconds: float, request_id: str) -> None:
    method, path, answer = scope.get("method", "WEBSOCKET"), scope["path"], status or "unanswered"
    level = logging.DEBUG if path in _PROBES and status < 400 else logging.INFO
    # Airflow's logging shows the context's variables as values of their own: key=value, or JSON.
    with structlog.contextvars.bound_contextvars(
        method=method, path=path, status=answer, duration_ms=round(milliseconds, 1)
    ):
        logger.log(level, "%s %s %s in %.1f ms, request %s", method, path, answer, milliseconds, request_id)


class RequestLog:
    """ASGI middleware; sets ``state.request_id``."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if _PLAIN_WORD.fullmatch(given) else uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id
        status = 0
        started = time.perf_counter()

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] in _STARTS:
                status = message.get("status", 101)
                MutableHeaders(scope=message)["X-Request-ID"] = request_id
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self.app(scope, receive, send_with_id)
            finally:
                _count(scope, status)
                _log(scope, status, (time.perf_counter() - started) * 1000, request_id)
