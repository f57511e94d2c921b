"""What the generated client stands on: typed operations, sent over gql alone or several in one HTTP request.

Each method of the generated client makes an :class:`Operation`. Awaiting it sends it alone; :meth:`GqlBaseClient.batch`
sends several as one array, which the gateway runs in order, and each gets its own result or error::

    recorded = await client.record_parse_results(results)

    heartbeat, claims = client.heartbeat(), client.claim_callbacks(input)
    await client.batch(heartbeat, claims)
    claims.result().claim_callbacks
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import lru_cache
from types import NoneType
from typing import Any, Generic, TypeVar, cast

from gql import GraphQLRequest
from gql.client import AsyncClientSession
from gql.transport import AsyncTransport
from graphql import DocumentNode, ExecutionResult, parse
from pydantic import BaseModel
from pydantic_core import to_jsonable_python

ResultT = TypeVar("ResultT", bound=BaseModel)


class UnsetType:
    """The type of :data:`UNSET`."""

    def __bool__(self) -> bool:
        return False


UNSET = UnsetType()
"""Default of an optional variable: it is not sent, which is not the same as sending null."""


@dataclass(frozen=True)
class OperationFault:
    """One GraphQL error of an operation.

    :param message: what happened, for a person
    :param code: the stable ``extensions.code``; empty if the error has none
    :param path: names and indexes that lead to the field at fault; empty if it concerns the operation as a whole
    """

    message: str
    code: str = ""
    path: tuple[str | int, ...] = ()
    extensions: Mapping[str, Any] = field(default_factory=dict[str, Any])


class OperationError(Exception):
    """The gateway answered an operation with GraphQL errors.

    :param operation_name: as in the document
    :param faults: at least one
    """

    def __init__(self, operation_name: str, faults: tuple[OperationFault, ...]) -> None:
        text = "; ".join(f"{fault.code}: {fault.message}" if fault.code else fault.message for fault in faults)
        super().__init__(f"{operation_name}: {text}")
        self.operation_name = operation_name
        self.faults = faults

    @property
    def codes(self) -> frozenset[str]:
        """The codes of all faults."""
        return frozenset(fault.code for fault in self.faults if fault.code)


class Operation(Generic[ResultT]):
    """One operation with its variables; can be sent again."""

    def __init__(
        self,
        client: GqlBaseClient,
        *,
        query: str,
        operation_name: str,
        variables: Mapping[str, object],
        result_type: type[ResultT],
    ) -> None:
        self.operation_name = operation_name
        self._client = client
        self._query = query
        self._variables = variables
        self._result_type = result_type
        self._answer: ExecutionResult | None = None

    def __await__(self) -> Generator[Any, None, ResultT]:
        return self._send().__await__()

    async def _send(self) -> ResultT:
        await self._client.execute(self)
        return self.result()

    @property
    def request(self) -> GraphQLRequest:
        """What gql sends: the generated document, and the variables as JSON values."""
        return GraphQLRequest(
            _parsed(self._query),
            variable_values={
                name: _json_value(value) for name, value in self._variables.items() if not isinstance(value, UnsetType)
            },
            operation_name=self.operation_name,
        )

    def settle(self, answer: ExecutionResult) -> None:
        """Take the gateway's answer; :meth:`result` gives it typed."""
        self._answer = answer

    @property
    def request_id(self) -> str | None:
        """Names the request that brought the answer in the gateway's log; None before there is one."""
        extensions: Any = None if self._answer is None else self._answer.extensions
        return None if extensions is None else extensions.get("requestId")

    def result(self) -> ResultT:
        """The typed result of an operation that was sent.

        :raises OperationError: the gateway answered with errors
        :raises pydantic.ValidationError: the answer is not what the contract says; the error quotes none of it
        :raises RuntimeError: the operation has no answer yet
        """
        if self._answer is None:
            raise RuntimeError(f"{self.operation_name} has no answer: await it, or send it with batch().")
        if self._answer.errors:
            raise OperationError(self.operation_name, tuple(_fault(error) for error in self._answer.errors))
        return self._result_type.model_validate(self._answer.data)


class GqlBaseClient:
    """Sends operations over a connected gql session.

    :param session: a session of ``gql.Client``; whoever opened it closes it
    """

    def __init__(self, session: AsyncClientSession) -> None:
        self._session = session

    @property
    def _transport(self) -> AsyncTransport:
        # The session's own execute and execute_batch raise at the first error and lose the answers beside it.
        return cast("AsyncTransport", self._session.transport)

    async def execute(self, operation: Operation[Any]) -> None:
        """Send one operation as one HTTP request.

        :raises Exception: what the transport raises when there is no answer; the operation stays without one
        """
        operation.settle(await self._transport.execute(operation.request))

    async def batch(self, *operations: Operation[Any]) -> None:
        """Send operations as one HTTP request; the gateway runs them in this order, each in its own transaction.

        :raises Exception: what the transport raises when there are no answers; all operations stay without one
        """
        if not operations:
            return
        answers = await self._transport.execute_batch([operation.request for operation in operations])
        for operation, answer in zip(operations, answers, strict=True):
            operation.settle(answer)


@lru_cache(maxsize=256)
def _parsed(query: str) -> DocumentNode:
    return parse(query, no_location=True)


def _json_value(value: object) -> Any:
    """What the transport can encode. Documents are not walked through: they are JSON values already, and large."""
    if isinstance(value, BaseModel):
        sent = value.model_fields_set
        return {alias: _json_value(getattr(value, name)) for name, alias in _aliases(type(value)) if name in sent}
    if isinstance(value, list):
        return [_json_value(item) for item in cast("list[object]", value)]
    if isinstance(value, dict | str | int | float | NoneType) and not isinstance(value, Enum):
        return cast("Any", value)
    return to_jsonable_python(value)


@lru_cache(maxsize=256)
def _aliases(model: type[BaseModel]) -> tuple[tuple[str, str], ...]:
    """Each field with its name in the contract."""
    return tuple((name, info.serialization_alias or name) for name, info in model.model_fields.items())


def _fault(error: Any) -> OperationFault:
    # gql hands over each error as the gateway's JSON gives it, whatever its annotation says.
    entry: Mapping[str, Any] = error if isinstance(error, Mapping) else {"message": str(error)}
    extensions: Mapping[str, Any] = entry.get("extensions") or {}
    return OperationFault(
        message=str(entry.get("message", "unknown error")),
        code=str(extensions.get("code", "")),
        path=tuple(entry.get("path") or ()),
        extensions=extensions,
    )
