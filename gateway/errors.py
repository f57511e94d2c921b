"""Errors as the caller sees them: typed, with a stable ``extensions.code`` and the request's id, never a traceback.

A fault is logged here, once, with its traceback and the request's id, and told to the caller as ``INTERNAL``.
"""

from __future__ import annotations

import logging
from enum import Enum
from typing import Any

from graphql import GraphQLError, GraphQLSyntaxError
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse, Response
from strawberry.types.execution import ExecutionResult, PreExecutionError

logger = logging.getLogger(__name__)


class ErrorCode(Enum):
    """The values of ``extensions.code`` that the gateway itself gives; stable."""

    UNAUTHENTICATED = "UNAUTHENTICATED"
    """No token, or one that is not valid. HTTP 401."""
    FORBIDDEN = "FORBIDDEN"
    """A valid token of a kind that may not do this."""
    CSRF_HEADER_REQUIRED = "CSRF_HEADER_REQUIRED"
    """Authenticated by the session cookie, without the header that only the gateway's own pages send. HTTP 403."""
    TOO_MANY_REQUESTS = "TOO_MANY_REQUESTS"
    """More logins, connections or subscriptions at once than the gateway takes. HTTP 429."""
    BAD_REQUEST = "BAD_REQUEST"
    """The HTTP request is not one of GraphQL over HTTP: malformed JSON, wrong types, unknown operation name."""
    METHOD_NOT_ALLOWED = "METHOD_NOT_ALLOWED"
    NOT_ACCEPTABLE = "NOT_ACCEPTABLE"
    NOT_FOUND = "NOT_FOUND"
    PAYLOAD_TOO_LARGE = "PAYLOAD_TOO_LARGE"
    UNSUPPORTED_MEDIA_TYPE = "UNSUPPORTED_MEDIA_TYPE"
    GRAPHQL_PARSE_FAILED = "GRAPHQL_PARSE_FAILED"
    """The document is not GraphQL, or too long."""
    GRAPHQL_VALIDATION_FAILED = "GRAPHQL_VALIDATION_FAILED"
    """The document does not fit the schema, or exceeds a limit."""
    BAD_USER_INPUT = "BAD_USER_INPUT"
    """A variable does not fit its type."""
    UNAVAILABLE = "UNAVAILABLE"
    """Something that the gateway needs is away; try again later. HTTP 503."""
    INTERNAL = "INTERNAL"
    """A fault of the gateway; its log has the request's id and the traceback."""


class RequestRefused(Exception):
    """An HTTP request that is answered with an error before anything is executed."""

    def __init__(self, status: int, code: ErrorCode, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers or {}


def request_id_of(connection: HTTPConnection) -> str:
    """The id that :class:`parsegate.gateway.request_log.RequestLog` gave the request."""
    return getattr(connection.state, "request_id", "unknown")


def refusal_response(connection: HTTPConnection, refused: RequestRefused) -> Response:
    """``refused`` in the shape of a GraphQL response without data."""
    error = {
        "message": refused.message,
        "extensions": {"code": refused.code.value, "requestId": request_id_of(connection)},
    }
    return JSONResponse({"errors": [error]}, status_code=refused.status, headers=refused.headers)


def internal_error(request_id: str, **fields: Any) -> dict[str, Any]:
    """What the caller learns about a fault."""
    return {
        "message": f"The gateway failed to do this. Its log tells more under request id {request_id}.",
        **fields,
        "extensions": {"code": ErrorCode.INTERNAL.value, "requestId": request_id},
    }


def formatted_errors(result: ExecutionResult, request_id: str, operation_name: str | None) -> list[dict[str, Any]]:
    """The errors of one executed operation, each with a code; faults are logged and masked."""
    formatted: list[dict[str, Any]] = []
    for error in result.errors or ():
        code = _code_of(error, executed=not isinstance(result, PreExecutionError))
        shown: dict[str, Any] = {**error.formatted}
        if code == ErrorCode.INTERNAL.value:
            logger.error(
                "Request %s: %s failed at %s: %s",
                request_id,
                f"operation {operation_name}" if operation_name else "an operation",
                ".".join(map(str, error.path or ())) or "its start",
                error.message,
                exc_info=error.original_error or error,
            )
            where = {key: shown[key] for key in ("locations", "path") if key in shown}
            formatted.append(internal_error(request_id, **where))
        else:
            shown["extensions"] = {**(error.extensions or {}), "code": code, "requestId": request_id}
            formatted.append(shown)
    return formatted


def _code_of(error: GraphQLError, *, executed: bool) -> str:
    """The code of an error; INTERNAL for whatever nobody meant the caller to see."""
    code = (error.extensions or {}).get("code")
    if isinstance(code, str):
        return code
    if isinstance(error, GraphQLSyntaxError):
        return ErrorCode.GRAPHQL_PARSE_FAILED.value
    original = error.original_error
    if not executed and isinstance(original, RecursionError):
        # Fragments that spread each other: a limit's rule follows them before the rule against cycles reports them.
        return ErrorCode.GRAPHQL_VALIDATION_FAILED.value
    if original is not None and not isinstance(original, GraphQLError):
        return ErrorCode.INTERNAL.value
    if not executed:
        return ErrorCode.GRAPHQL_VALIDATION_FAILED.value
    if error.path is None or (error.nodes and error.nodes[0].kind != "field"):
        return ErrorCode.BAD_USER_INPUT.value
    return ErrorCode.INTERNAL.value
