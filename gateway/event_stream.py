"""Server-sent events: the answers of one operation as they come, in graphql-sse's "distinct connections mode".

Each answer is an event ``next``; ``complete`` follows the last. Comments keep the connection alive between them. A
stream that the gateway ends says why in a last ``next`` with ``errors``: the caller's token has expired, or the server
stops. https://github.com/enisdenjo/graphql-sse/blob/master/PROTOCOL.md
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any

from starlette.requests import HTTPConnection
from starlette.responses import Response

from .errors import ErrorCode, RequestRefused, refusal_response, request_id_of
from .execution import encoded, error_response
from .graphql_request import EVENT_STREAM
from .subscribers import Subscribers, TooManyConnections, seconds_left

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from ..resolvers.principal import Principal
    from .execution import Answer

logger = logging.getLogger(__name__)

STOPPING = "parsegate.stopping"
"""Key of the scope's ``state`` under which a stream leaves an :class:`asyncio.Event`, for the server to set when it
stops. Streams would otherwise hold it up for as long as it lets requests end."""

_COMPLETE = b"event: complete\r\ndata:\r\n\r\n"
_COMMENT = b":\r\n\r\n"


class EventStream(Response):
    """ASGI response.

    :param answers: what is sent; closed when the stream ends
    :param subscribers: bounds and counts it
    :param principal: the caller
    """

    media_type = EVENT_STREAM

    def __init__(self, answers: AsyncGenerator[Answer], subscribers: Subscribers, principal: Principal) -> None:
        # No proxy may keep, change or hold back what it passes on.
        super().__init__(headers={"Cache-Control": "no-store, no-transform", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._answers = answers
        self._subscribers = subscribers
        self._principal = principal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            with self._subscribers.connected(self._principal):
                await self._stream(scope, receive, send)
        except TooManyConnections as error:
            refused = RequestRefused(429, ErrorCode.TOO_MANY_REQUESTS, str(error), {"Retry-After": "10"})
            await refusal_response(HTTPConnection(scope), refused)(scope, receive, send)
        except TimeoutError:
            logger.warning("Dropped %s, who is too slow for the events that were asked for.", self._principal.subject)
        finally:
            await self._answers.aclose()

    async def _stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        stopping = scope.setdefault("state", {})[STOPPING] = asyncio.Event()
        limits = self._subscribers.limits

        async def write(body: bytes, *, more: bool = True) -> None:
            async with asyncio.timeout(limits.send_timeout):
                await send({"type": "http.response.body", "body": body, "more_body": more})

        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        # At once, so that the caller knows that it is connected.
        await write(_COMMENT)
        expired = asyncio.create_task(_expiry(self._principal))
        stopped = asyncio.create_task(stopping.wait())
        gone = asyncio.create_task(_disconnected(receive))
        answer = asyncio.create_task(_next(self._answers))
        try:
            while True:
                done, _ = await asyncio.wait(
                    {expired, stopped, gone, answer},
                    timeout=limits.keep_alive,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                if gone in done:
                    return
                if expired in done:
                    await write(self._ending(scope, ErrorCode.UNAUTHENTICATED, "The token has expired."))
                    break
                if stopped in done:
                    await write(self._ending(scope, ErrorCode.UNAVAILABLE, "This gateway stops. Subscribe again."))
                    break
                if answer in done:
                    result = answer.result()
                    if result is None:
                        break
                    await write(_event(result.body))
                    answer = asyncio.create_task(_next(self._answers))
                else:
                    await write(_COMMENT)
            await write(_COMPLETE, more=False)
        finally:
            await _ended(expired, stopped, gone, answer)

    @staticmethod
    def _ending(scope: Scope, code: ErrorCode, message: str) -> bytes:
        return _event(encoded(error_response(code, message, request_id_of(HTTPConnection(scope)))))


def _event(body: bytes) -> bytes:
    return b"event: next\r\ndata: " + body + b"\r\n\r\n"


async def _expiry(principal: Principal) -> None:
    seconds = seconds_left(principal)
    if seconds is None:
        await asyncio.Event().wait()
    else:
        await asyncio.sleep(seconds)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _next(answers: AsyncGenerator[Answer]) -> Answer | None:
    return await anext(answers, None)


async def _ended(*tasks: asyncio.Task[Any]) -> None:
    """Cancel ``tasks`` and see them end: a generator can't be closed while one of them waits for it."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
