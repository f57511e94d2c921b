"""The GraphQL endpoint: GraphQL over HTTP, with arrays of operations that run in order.

Strawberry's own ASGI view gives the operations of an array one shared context and runs them at the same time. Here each
has its own and begins when the one before it has ended. https://graphql.github.io/graphql-over-http/draft/ says which
status goes with which media type. Who accepts ``text/event-stream`` gets the answers as events.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from strawberry.types.graphql import OperationType

from .authentication import authenticated_principal
from .errors import ErrorCode, RequestRefused, refusal_response, request_id_of
from .event_stream import EventStream
from .execution import Answer, Execution
from .graphiql_page import GraphiQLPage
from .graphql_request import (
    EVENT_STREAM,
    GraphQLRequest,
    accepted_media_type,
    operations_of_get,
    operations_of_post,
    wants_page,
)

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from ..resolvers.principal import Principal
    from .subscribers import Subscribers

logger = logging.getLogger(__name__)


class GraphQLView:
    """ASGI application of ``/graphql``, to be put inside Starlette's AuthenticationMiddleware.

    :param execution: what executes the operations
    :param subscribers: bounds and counts the streams of events
    :param max_operations: the most that one array may hold
    """

    def __init__(self, execution: Execution, subscribers: Subscribers, *, max_operations: int) -> None:
        self._execution = execution
        self._subscribers = subscribers
        self._max_operations = max_operations
        self._page = GraphiQLPage()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            response = await self._respond(request)
        except RequestRefused as refused:
            response = refusal_response(request, refused)
        except ClientDisconnect:
            logger.info("The caller went away before its request was complete.")
            return
        await response(scope, receive, send)

    async def _respond(self, request: Request) -> Response:
        if request.method not in ("GET", "POST"):
            raise RequestRefused(
                405, ErrorCode.METHOD_NOT_ALLOWED, "GraphQL is served by GET and POST.", {"Allow": "GET, POST"}
            )
        if wants_page(request):
            return self._page.response(request)
        principal = authenticated_principal(request)
        media_type = accepted_media_type(request)
        if media_type == EVENT_STREAM:
            return await self._stream(request, principal)
        if request.method == "GET":
            operations, batched = [operations_of_get(request)], False
        else:
            operations, batched = await operations_of_post(request, self._max_operations)
        answers = [await self.answer(operation, request, principal) for operation in operations]
        return _response(answers, batched, media_type)

    async def answer(self, operation: GraphQLRequest, request: Request, principal: Principal) -> Answer:
        """What becomes of one operation that ``request`` carries, or stands for."""
        return await self._execution.answer(operation, principal, request_id_of(request), _allowed_types(request))

    async def _stream(self, request: Request, principal: Principal) -> Response:
        if request.method != "POST":
            raise RequestRefused(
                405, ErrorCode.METHOD_NOT_ALLOWED, "Events are streamed in answer to a POST.", {"Allow": "POST"}
            )
        operations, batched = await operations_of_post(request, self._max_operations)
        if batched:
            raise RequestRefused(400, ErrorCode.BAD_REQUEST, f"{EVENT_STREAM} answers one operation, not an array.")
        answers = self._execution.answers(operations[0], principal, request_id_of(request), _allowed_types(request))
        return EventStream(answers, self._subscribers, principal)


def _allowed_types(request: Request) -> set[OperationType]:
    """Which operations ``request`` may execute, beside subscriptions."""
    return {OperationType.QUERY} if request.method == "GET" else {OperationType.QUERY, OperationType.MUTATION}


def _response(answers: Sequence[Answer], batched: bool, media_type: str) -> Response:
    if batched:
        return _json_response(b"[" + b",".join(answer.body for answer in answers) + b"]", 200, media_type)
    (answer,) = answers
    if answer.refused_type is not None:
        return _json_response(answer.body, 405, media_type, {"Allow": "POST"})
    strict = media_type == "application/graphql-response+json"
    return _json_response(answer.body, 400 if strict and not answer.executed else 200, media_type)


def _json_response(body: bytes, status: int, media_type: str, headers: dict[str, str] | None = None) -> Response:
    # Answers hold secrets: connections, variables, tokens.
    headers = {**(headers or {}), "Content-Type": f"{media_type}; charset=utf-8", "Cache-Control": "no-store"}
    return Response(body, status_code=status, headers=headers)
