"""The GraphQL endpoint: GraphQL over HTTP, with arrays of operations that run in order.

Strawberry's own ASGI view gives the operations of an array one shared context, runs them at the same time and executes
resolvers on the server's event loop. Here each operation runs wholly in one worker thread, with an event loop, a
context and sessions of its own, and begins when the one before it has ended. No more of them run at once than the
connection pool can serve. https://graphql.github.io/graphql-over-http/draft/ says which status goes with which media
type.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from anyio import CapacityLimiter, to_thread
from pydantic_core import PydanticSerializationError, to_json
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from strawberry.schema.exceptions import CannotGetOperationTypeError, InvalidOperationTypeError
from strawberry.types.graphql import OperationType

from ..schema.context import MintJobToken, OperationContext
from .authentication import authenticated_principal
from .errors import ErrorCode, RequestRefused, formatted_errors, internal_error, refusal_response, request_id_of
from .graphiql_page import GraphiQLPage
from .graphql_request import GraphQLRequest, accepted_media_type, operations_of_get, operations_of_post, wants_page

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send
    from strawberry.schema import BaseSchema

    from ..resolvers.principal import Principal

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Answer:
    """One operation's answer.

    :param body: JSON
    :param executed: False when the operation never began: it has no data, and no field of it ran
    :param allowed: False for a mutation over GET
    """

    body: bytes
    executed: bool = True
    allowed: bool = True


class GraphQLView:
    """ASGI application of ``/graphql``, to be put inside Starlette's AuthenticationMiddleware.

    :param schema: what is executed
    :param mint_job_token: given to every operation's context
    :param threads: how many operations run at once
    :param max_operations: the most that one array may hold
    """

    def __init__(self, schema: BaseSchema, *, mint_job_token: MintJobToken, threads: int, max_operations: int) -> None:
        self._schema = schema
        # The view logs what failed, with the request's id; Strawberry would log every error of every caller besides.
        self._schema.process_errors = lambda errors, execution_context=None: None
        self._mint_job_token = mint_job_token
        self._turns = CapacityLimiter(threads)
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
        if request.method == "GET":
            operations, batched = [operations_of_get(request)], False
        else:
            operations, batched = await operations_of_post(request, self._max_operations)
        answers = [await self._answer(operation, request, principal) for operation in operations]
        return _response(answers, batched, media_type)

    async def _answer(self, operation: GraphQLRequest, request: Request, principal: Principal) -> Answer:
        context = OperationContext(
            principal=principal, request_id=request_id_of(request), mint_job_token=self._mint_job_token
        )
        allowed = OperationType.from_http("GET" if request.method == "GET" else "POST")
        return await to_thread.run_sync(self._execute, operation, context, allowed, limiter=self._turns)

    def _execute(self, operation: GraphQLRequest, context: OperationContext, allowed: set[OperationType]) -> Answer:
        """Runs in a worker thread."""
        try:
            result = asyncio.run(
                self._schema.execute(
                    operation.query,
                    variable_values=operation.variables,
                    context_value=context,
                    operation_name=operation.operation_name,
                    allowed_operation_types=allowed,
                    operation_extensions=operation.extensions,
                )
            )
            errors = formatted_errors(result, context.request_id, operation.operation_name)
            executed = result.data is not None or any("path" in error for error in errors)
            response: dict[str, Any] = {"errors": errors} if errors else {}
            if executed:
                response["data"] = result.data
            return Answer(_encoded(response), executed=executed)
        except CannotGetOperationTypeError as error:
            return _unexecuted(ErrorCode.BAD_REQUEST, error.as_http_error_reason(), context)
        except InvalidOperationTypeError as error:
            reason = f"{error.as_http_error_reason('GET' if OperationType.MUTATION not in allowed else 'POST')}."
            return _unexecuted(ErrorCode.METHOD_NOT_ALLOWED, reason.capitalize(), context, allowed=False)
        except Exception:
            # The boundary of one operation: whatever it is, those after it still run and the caller gets an answer.
            logger.exception(
                "Request %s: operation %s failed", context.request_id, operation.operation_name or "(unnamed)"
            )
            return Answer(_encoded({"errors": [internal_error(context.request_id)]}), executed=False)


def _unexecuted(code: ErrorCode, message: str, context: OperationContext, *, allowed: bool = True) -> Answer:
    error = {"message": message, "extensions": {"code": code.value, "requestId": context.request_id}}
    return Answer(_encoded({"errors": [error]}), executed=False, allowed=allowed)


def _encoded(response: dict[str, Any]) -> bytes:
    try:
        # orjson and msgspec are no slower, but write null for NaN, which nobody would notice.
        body = to_json(response, inf_nan_mode="constants")
    except PydanticSerializationError:
        # Halves of surrogate pairs, which only the standard library writes.
        pass
    else:
        if b"NaN" not in body and b"Infinity" not in body:
            return body
    # Those may be mere words of a text. NaN itself is no JSON: better a fault of this operation than an answer that its
    # caller cannot read.
    return json.dumps(response, separators=(",", ":"), allow_nan=False).encode()


def _response(answers: Sequence[Answer], batched: bool, media_type: str) -> Response:
    if batched:
        return _json_response(b"[" + b",".join(answer.body for answer in answers) + b"]", 200, media_type)
    (answer,) = answers
    if not answer.allowed:
        return _json_response(answer.body, 405, media_type, {"Allow": "POST"})
    strict = media_type == "application/graphql-response+json"
    return _json_response(answer.body, 400 if strict and not answer.executed else 200, media_type)


def _json_response(body: bytes, status: int, media_type: str, headers: dict[str, str] | None = None) -> Response:
    # Answers hold secrets: connections, variables, tokens.
    headers = {**(headers or {}), "Content-Type": f"{media_type}; charset=utf-8", "Cache-Control": "no-store"}
    return Response(body, status_code=status, headers=headers)
