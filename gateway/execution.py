"""Running one GraphQL operation, whichever transport it came by.

Strawberry's own views execute resolvers on the server's event loop. Here a query or mutation runs wholly in one worker
thread, with an event loop, a context and sessions of its own. A subscription's source waits for events on the server's
event loop, but what its subscriber selected of an event is read like a query: in a worker thread, with a context of its
own, so that nothing read for an event is taken for the state at the next. No more threads run at once than the
connection pool can serve.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from inspect import isawaitable
from typing import TYPE_CHECKING, Any

from anyio import CapacityLimiter, to_thread
from pydantic_core import PydanticSerializationError, to_json
from strawberry.schema.exceptions import CannotGetOperationTypeError, InvalidOperationTypeError
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext
from strawberry.types.execution import ExecutionResult
from strawberry.types.graphql import OperationType

from ..schema.context import MintJobToken, OperationContext
from ..schema.feeds import Feeds
from .errors import ErrorCode, formatted_errors, internal_error

if TYPE_CHECKING:
    from strawberry.schema import BaseSchema

    from ..resolvers.principal import Principal
    from .graphql_request import GraphQLRequest

logger = logging.getLogger(__name__)

_REASONS = {
    OperationType.QUERY: "Queries are not allowed here.",
    OperationType.MUTATION: "Mutations are not allowed here: send them by POST.",
    OperationType.SUBSCRIPTION: "A subscription needs a transport that streams: POST with `Accept: text/event-stream`, "
    "or a WebSocket of the subprotocol graphql-transport-ws.",
}


@dataclass(frozen=True)
class Answer:
    """One operation's answer, or one of a subscription's.

    :param body: JSON
    :param executed: False when the operation never began: it has no data, and no field of it ran
    :param refused_type: the operation's type when it is one that was not allowed
    """

    body: bytes
    executed: bool = True
    refused_type: OperationType | None = None


class Execution:
    """Runs operations against a schema.

    :param schema: what is executed
    :param mint_job_token: given to every operation's context
    :param threads: how many operations, and events of subscriptions, run at once
    """

    def __init__(self, schema: BaseSchema, *, mint_job_token: MintJobToken, threads: int) -> None:
        # What failed is logged here, with the request's id; Strawberry would log every error of every caller besides.
        schema.process_errors = lambda errors, execution_context=None: None
        self._schema: Any = schema
        self._mint_job_token = mint_job_token
        self._turns = CapacityLimiter(threads)
        self._feeds = Feeds(self._turns)
        self._schema.execution_context_class = _EventExecutor

    async def answer(
        self, operation: GraphQLRequest, principal: Principal, request_id: str, allowed: set[OperationType]
    ) -> Answer:
        """The answer of a query or mutation, when its type is one of ``allowed``."""
        context = self._context(principal, request_id)
        return await to_thread.run_sync(self._execute, operation, context, allowed, limiter=self._turns)

    async def answers(
        self, operation: GraphQLRequest, principal: Principal, request_id: str, allowed: set[OperationType]
    ) -> AsyncGenerator[Answer]:
        """The answers of any operation: one of a query or mutation, any number of a subscription.

        A subscription that was refused has one answer that was not executed.

        :param allowed: the types that may be executed besides subscriptions
        """
        # In its thread this finds out what the operation is, and parses it for the subscription too.
        answer = await self.answer(operation, principal, request_id, allowed)
        if answer.refused_type is not OperationType.SUBSCRIPTION:
            yield answer
            return
        context = _SubscriptionContext(**vars(self._context(principal, request_id)), turns=self._turns)
        try:
            results = await self._schema.subscribe(
                operation.query,
                variable_values=operation.variables,
                context_value=context,
                operation_name=operation.operation_name,
                operation_extensions=operation.extensions,
            )
            async with aclosing(results):
                async for result in results:
                    yield _answered(result, context, operation)
        except Exception:
            yield _failed(operation, context)

    def _context(self, principal: Principal, request_id: str) -> OperationContext:
        return OperationContext(
            principal=principal, request_id=request_id, mint_job_token=self._mint_job_token, feeds=self._feeds
        )

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
            return _answered(result, context, operation)
        except CannotGetOperationTypeError as error:
            return _unexecuted(ErrorCode.BAD_REQUEST, error.as_http_error_reason(), context)
        except InvalidOperationTypeError as error:
            return _unexecuted(
                ErrorCode.METHOD_NOT_ALLOWED, _REASONS[error.operation_type], context, error.operation_type
            )
        except Exception:
            # The boundary of one operation: whatever it is, those after it still run and the caller gets an answer.
            return _failed(operation, context)


@dataclass
class _SubscriptionContext(OperationContext):
    """:param turns: bounds the threads that events are executed in"""

    turns: CapacityLimiter = field(kw_only=True)


class _EventExecutor(StrawberryGraphQLCoreExecutionContext):
    """Executes each event of a subscription in a worker thread, with a context of its own.

    graphql-core would do it on the event loop that waits for the events, and Strawberry has no way to compose the two
    otherwise. What this relies on, of graphql-core 3.3, is tested in tests/gateway/test_subscriptions.py.
    """

    executes_event = False

    def build_per_event_executor(self, payload: Any) -> Any:
        executor: Any = super().build_per_event_executor(payload)
        executor.context_value = replace(self.context_value)
        executor.executes_event = True
        return executor

    def execute_operation(self, serially: bool | None = None) -> Any:
        if not self.executes_event:
            return super().execute_operation(serially)
        return to_thread.run_sync(self._execute_event, serially, limiter=self.context_value.turns)

    def _execute_event(self, serially: bool | None) -> Any:
        return asyncio.run(self._awaited_operation(serially))

    async def _awaited_operation(self, serially: bool | None) -> Any:
        result: Any = super().execute_operation(serially)
        return await result if isawaitable(result) else result


def _answered(result: ExecutionResult, context: OperationContext, operation: GraphQLRequest) -> Answer:
    errors = formatted_errors(result, context.request_id, operation.operation_name)
    executed = result.data is not None or any("path" in error for error in errors)
    response: dict[str, Any] = {"errors": errors} if errors else {}
    if executed:
        response["data"] = result.data
    return Answer(encoded(response), executed=executed)


def _failed(operation: GraphQLRequest, context: OperationContext) -> Answer:
    logger.exception("Request %s: operation %s failed", context.request_id, operation.operation_name or "(unnamed)")
    return Answer(encoded({"errors": [internal_error(context.request_id)]}), executed=False)


def _unexecuted(
    code: ErrorCode, message: str, context: OperationContext, refused_type: OperationType | None = None
) -> Answer:
    return Answer(encoded(error_response(code, message, context.request_id)), executed=False, refused_type=refused_type)


def error_response(code: ErrorCode, message: str, request_id: str) -> dict[str, Any]:
    """A GraphQL response without data."""
    return {"errors": [{"message": message, "extensions": {"code": code.value, "requestId": request_id}}]}


def encoded(response: dict[str, Any]) -> bytes:
    """``response`` as JSON, on one line.

    :raises ValueError: it holds NaN or Infinity
    """
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
