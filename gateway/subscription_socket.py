"""GraphQL over WebSocket: the subprotocol graphql-transport-ws, on Starlette's WebSocket.

Strawberry's handler shares one context between all operations of a connection, executes queries on the server's event
loop and sends errors as they were raised. Here an operation runs as over HTTP (:mod:`parsegate.gateway.execution`);
mutations are refused. https://github.com/enisdenjo/graphql-ws/blob/master/PROTOCOL.md says what the messages and the
codes of a close mean.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from contextlib import ExitStack, aclosing
from typing import TYPE_CHECKING, Any, NoReturn, cast

from starlette.authentication import AuthenticationError
from starlette.requests import HTTPConnection
from starlette.websockets import WebSocket, WebSocketDisconnect
from strawberry.types.graphql import OperationType

from .authentication import Caller, refuse_authentication
from .errors import ErrorCode, RequestRefused, request_id_of
from .execution import encoded, error_response
from .graphql_request import GraphQLRequest, decoded_json, operation_of
from .subscribers import Subscribers, TooManyConnections, seconds_left
from .tokens import KeysUnavailable

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from ..resolvers.principal import Principal
    from .authentication import TokenAuthentication
    from .execution import Execution

logger = logging.getLogger(__name__)

SUBPROTOCOL = "graphql-transport-ws"
_ALLOWED = {OperationType.QUERY}


class _Closed(Exception):
    """The gateway ends the connection; the reason is for the client, which gets 123 bytes of it at most."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class _TooSlow(Exception):
    """The client does not take what is sent to it."""


class SubscriptionSocket:
    """ASGI application of ``/graphql`` for WebSockets.

    :param execution: what executes the operations
    :param authentication: says who the caller is, by the request that opens the connection or by its first message
    :param subscribers: bounds and counts the connections
    """

    def __init__(self, execution: Execution, authentication: TokenAuthentication, subscribers: Subscribers) -> None:
        self._execution = execution
        self._authentication = authentication
        self._subscribers = subscribers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        websocket = WebSocket(scope, receive, send)
        try:
            principal = await self._principal(websocket)
        except AuthenticationError as error:
            await _deny(websocket, error)
            return
        if SUBPROTOCOL not in scope.get("subprotocols", ()):
            await websocket.accept()
            await websocket.close(4406, f"The subprotocol must be {SUBPROTOCOL}")
            return
        await websocket.accept(SUBPROTOCOL)
        await _Connection(websocket, self._execution, self._subscribers, self._principal, principal).run()

    async def _principal(self, connection: HTTPConnection) -> Principal | None:
        authenticated = await self._authentication.authenticate(connection)
        if authenticated is None:
            return None
        _, caller = authenticated
        assert isinstance(caller, Caller)
        return caller.principal


async def _deny(websocket: WebSocket, error: AuthenticationError) -> None:
    if "websocket.http.response" in websocket.scope.get("extensions", {}):
        await websocket.send_denial_response(refuse_authentication(websocket, error))
    else:
        await websocket.close()


class _Connection:
    """One WebSocket, from its acceptance to its end.

    :param authenticate: who a connection's headers name
    :param principal: whom the request that opened this one named
    """

    def __init__(
        self,
        websocket: WebSocket,
        execution: Execution,
        subscribers: Subscribers,
        authenticate: Callable[[HTTPConnection], Awaitable[Principal | None]],
        principal: Principal | None,
    ) -> None:
        self._websocket = websocket
        self._execution = execution
        self._subscribers = subscribers
        self._limits = subscribers.limits
        self._authenticate = authenticate
        self._principal = principal
        self._request_id = request_id_of(websocket)
        self._initialised = False
        self._acknowledged = False
        self._operations: dict[str, asyncio.Task[None]] = {}
        self._open = ExitStack()

    async def run(self) -> None:
        ending: _Closed | None = None
        try:
            await self._serve()
        except* _TooSlow:
            # A message that says so would have to wait as well.
            logger.warning("Request %s: dropped a subscriber who is too slow for its events.", self._request_id)
        except* WebSocketDisconnect:
            pass
        except* _Closed as closed:
            ending = cast("_Closed", closed.exceptions[0])
        if ending is not None:
            await self._close(ending)

    async def _serve(self) -> None:
        try:
            with self._open:
                # Until the client has said who it is, and from then on until its token expires.
                async with asyncio.timeout(self._limits.init_timeout) as deadline, asyncio.TaskGroup() as tasks:
                    await self._read(deadline, tasks)
        except TimeoutError:
            if self._acknowledged:
                raise _Closed(4403, "The token has expired") from None
            raise _Closed(4408, "Connection initialisation timeout") from None

    async def _read(self, deadline: asyncio.Timeout, tasks: asyncio.TaskGroup) -> NoReturn:
        while True:
            message = await self._message()
            match message["type"]:
                case "connection_init":
                    await self._initialise(message.get("payload"), deadline)
                case "ping":
                    await self._send({"type": "pong"})
                case "pong":
                    pass
                case "subscribe":
                    await self._subscribe(message, tasks)
                case "complete":
                    task = self._operations.pop(_id_of(message), None)
                    if task is not None:
                        task.cancel()
                case unknown:
                    raise _Closed(4400, f"Unknown message type {str(unknown)[:50]!r}")

    async def _message(self) -> dict[str, Any]:
        received = await self._websocket.receive()
        if received["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(received["code"])
        text = received.get("text")
        if text is None:
            raise _Closed(4400, "Messages must be text")
        body = text.encode(errors="surrogatepass")
        if len(body) > self._limits.message_bytes:
            raise _Closed(1009, f"Messages must not be larger than {self._limits.message_bytes} bytes")
        try:
            message = decoded_json(body)
        except RequestRefused:
            raise _Closed(4400, "Messages must be JSON") from None
        if not isinstance(message, dict) or not isinstance(cast("dict[str, Any]", message).get("type"), str):
            raise _Closed(4400, "Messages must be JSON objects that have a type")
        return cast("dict[str, Any]", message)

    async def _initialise(self, payload: object, deadline: asyncio.Timeout) -> None:
        if self._initialised:
            raise _Closed(4429, "Too many initialisation requests")
        self._initialised = True
        if not isinstance(payload, dict | None):
            raise _Closed(4400, "The payload of connection_init must be an object")
        principal = await self._named_principal(cast("dict[str, Any]", payload or {}))
        try:
            self._open.enter_context(self._subscribers.connected(principal))
        except TooManyConnections:
            raise _Closed(1013, "Too many connections of this caller; close one or try again later") from None
        self._principal = principal
        left = seconds_left(principal)
        deadline.reschedule(None if left is None else asyncio.get_running_loop().time() + left)
        self._acknowledged = True
        await self._send({"type": "connection_ack"})

    async def _named_principal(self, payload: dict[str, Any]) -> Principal:
        """Whom connection_init names, or else the request that opened the connection."""
        named = next((value for key, value in payload.items() if key.lower() == "authorization"), None)
        if named is not None:
            if not isinstance(named, str):
                raise _Closed(4400, "Authorization in the payload of connection_init must be a string")
            scope = {"type": "websocket", "headers": [(b"authorization", named.encode(errors="replace"))]}
            try:
                principal = await self._authenticate(HTTPConnection(scope))
            except AuthenticationError as error:
                if isinstance(error.__cause__, KeysUnavailable):
                    raise _Closed(1013, "The keys that tokens are verified with cannot be fetched") from None
                raise _Closed(4403, str(error)) from None
        else:
            principal = self._principal
        if principal is None:
            raise _Closed(4403, 'Name a token: connection_init with {"Authorization": "Bearer TOKEN"}')
        return principal

    async def _subscribe(self, message: dict[str, Any], tasks: asyncio.TaskGroup) -> None:
        if not self._acknowledged or self._principal is None:
            raise _Closed(4401, "Unauthorized")
        operation_id = _id_of(message)
        if operation_id in self._operations:
            raise _Closed(4409, f"Subscriber for {operation_id[:80]} already exists")
        try:
            operation = operation_of(message.get("payload"))
        except RequestRefused as refused:
            raise _Closed(4400, refused.message) from None
        if len(self._operations) >= self._limits.subscriptions:
            text = (
                f"This connection has {self._limits.subscriptions} operations already, which is all that [parsegate] "
                "max_subscriptions_per_connection allows."
            )
            errors = error_response(ErrorCode.TOO_MANY_REQUESTS, text, self._request_id)["errors"]
            await self._send({"id": operation_id, "type": "error", "payload": errors})
            return
        self._operations[operation_id] = tasks.create_task(self._operate(operation_id, operation, self._principal))

    async def _operate(self, operation_id: str, operation: GraphQLRequest, principal: Principal) -> None:
        last = {"id": operation_id, "type": "complete"}
        began = False
        answers = self._execution.answers(operation, principal, self._request_id, _ALLOWED)
        try:
            async with aclosing(answers):
                async for answer in answers:
                    if not answer.executed and not began:
                        last = {"id": operation_id, "type": "error", "payload": json.loads(answer.body)["errors"]}
                        break
                    began = True
                    head = encoded({"id": operation_id, "type": "next"})[:-1]
                    await self._send_text(head + b',"payload":' + answer.body + b"}")
        finally:
            # Before the client knows that it ended: it may use the id again then.
            if self._operations.get(operation_id) is asyncio.current_task():
                del self._operations[operation_id]
        await self._send(last)

    async def _send(self, message: dict[str, Any]) -> None:
        await self._send_text(encoded(message))

    async def _send_text(self, body: bytes) -> None:
        try:
            async with asyncio.timeout(self._limits.send_timeout):
                await self._websocket.send_text(body.decode())
        except TimeoutError:
            raise _TooSlow from None

    async def _close(self, ending: _Closed) -> None:
        reason = ending.reason.encode()[:123].decode(errors="ignore")
        try:
            async with asyncio.timeout(self._limits.send_timeout):
                await self._websocket.close(ending.code, reason)
        except (TimeoutError, WebSocketDisconnect, RuntimeError):
            logger.info("Request %s: the client went away before it was told why.", self._request_id)


def _id_of(message: dict[str, Any]) -> str:
    operation_id = message.get("id")
    if not isinstance(operation_id, str) or not operation_id:
        raise _Closed(4400, "The message must have an id")
    return operation_id
