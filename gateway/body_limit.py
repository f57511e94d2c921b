"""Refuses request bodies over a size, whether the caller says their length or sends them in chunks."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .errors import ErrorCode, RequestRefused, refusal_response

_DRAINED_LIMITS = 4
"""How many times the limit is read and dropped of a body that is too large. A caller that is still sending does not
look at the answer, and gets a connection reset instead of it when the server stops reading."""


class _TooLarge(Exception):
    pass


class BodyLimit:
    """ASGI middleware.

    :param max_bytes: the largest body that the application gets to see, in bytes
    """

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self.app = app
        self.max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        received = 0
        more = True
        answered = False

        async def receive_counted() -> Message:
            nonlocal received, more
            message = await receive()
            received += len(message.get("body", b""))
            more = message.get("more_body", False)
            return message

        async def receive_limited() -> Message:
            message = await receive_counted()
            if received > self.max_bytes:
                raise _TooLarge
            return message

        async def send_noticing(message: Message) -> None:
            nonlocal answered
            answered = True
            await send(message)

        announced = Headers(scope=scope).get("content-length", "")
        try:
            if announced.isdecimal() and int(announced) > self.max_bytes:
                raise _TooLarge
            await self.app(scope, receive_limited, send_noticing)
        except _TooLarge:
            while more and received <= _DRAINED_LIMITS * self.max_bytes:
                await receive_counted()
            if not answered:
                refused = RequestRefused(
                    413,
                    ErrorCode.PAYLOAD_TOO_LARGE,
                    f"The request's body is larger than the {self.max_bytes} bytes that this gateway reads.",
                )
                await refusal_response(HTTPConnection(scope), refused)(scope, receive, send)
