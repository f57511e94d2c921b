"""The gateway on a real server in this process, with a schema whose subscriptions can be watched from outside."""

from __future__ import annotations

import asyncio
import json
import threading
from argparse import Namespace
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import strawberry
import uvicorn
from running_gateway import free_port
from strawberry.dataloader import DataLoader
from strawberry.schema.config import StrawberryConfig
from websockets.sync.client import ClientConnection, connect

from parsegate.gateway.app import create_app
from parsegate.gateway.limits import EXTENSIONS
from parsegate.gateway.server import uvicorn_options
from parsegate.gateway.tokens import TokenMinter
from parsegate.resolvers.principal import ALL_BUNDLES, Principal, TokenKind
from parsegate.schema.context import Info
from parsegate.schema.scalars import SCALAR_MAP

SECRET = "a secret that a fault must not tell"
SUBPROTOCOL = "graphql-transport-ws"

open_sources: list[str] = []
"""The sources of events that are being waited for."""


@strawberry.type
class Tick:
    number: int

    @strawberry.field
    def thread(self) -> str:
        return threading.current_thread().name

    @strawberry.field
    async def context(self, info: Info) -> int:
        """Names the context, which lives as long as what was loaded for it."""
        loader: DataLoader[int, int] = DataLoader(load_fn=_loaded)
        info.context.__dict__.setdefault("seen", []).append(await loader.load(self.number))
        return len(info.context.__dict__["seen"])

    @strawberry.field
    def fault(self) -> str | None:
        raise ValueError(SECRET)


async def _loaded(keys: list[int]) -> list[int]:
    return keys


@strawberry.type
class Query:
    @strawberry.field
    def thread(self) -> str:
        return threading.current_thread().name

    @strawberry.field
    def deep(self) -> Query:
        return Query()


@strawberry.type
class Mutation:
    @strawberry.mutation
    def change(self) -> str:
        return "changed"


@strawberry.type
class Subscription:
    @strawberry.subscription
    async def ticks(self, to: int) -> AsyncGenerator[Tick]:
        for number in range(1, to + 1):
            yield Tick(number=number)

    @strawberry.subscription
    async def silence(self, name: str = "silence") -> AsyncGenerator[Tick]:
        open_sources.append(name)
        try:
            yield Tick(number=0)
            await asyncio.Event().wait()
        finally:
            open_sources.remove(name)

    @strawberry.subscription
    async def flood(self, size: int) -> AsyncGenerator[str]:
        open_sources.append("flood")
        try:
            while True:
                yield "x" * size
        finally:
            open_sources.remove("flood")

    @strawberry.subscription
    async def failing(self, after: int) -> AsyncGenerator[Tick]:
        for number in range(after):
            yield Tick(number=number)
        raise ValueError(SECRET)

    @strawberry.subscription
    async def for_jobs(self, info: Info) -> AsyncGenerator[str]:
        yield info.context.require(TokenKind.JOB).subject

    @strawberry.subscription
    async def who(self, info: Info) -> AsyncGenerator[str]:
        yield info.context.principal.subject


def live_schema() -> strawberry.Schema:
    return strawberry.Schema(
        Query, Mutation, Subscription, config=StrawberryConfig(scalar_map=SCALAR_MAP), extensions=list(EXTENSIONS)
    )


def operator_token(subject: str = "operator:test", lifetime: float = 600) -> str:
    principal = Principal(kind=TokenKind.OPERATOR, subject=subject, bundles=frozenset({ALL_BUNDLES}))
    return TokenMinter().mint(principal, lifetime)[0]


class LiveGateway:
    """A server in a thread.

    :param port: where it listens
    """

    def __init__(self, port: int) -> None:
        self.port = port
        namespace = Namespace(
            host="127.0.0.1", port=port, workers=1, ssl_certfile=None, ssl_keyfile=None, ssl_ca_certs=None
        )
        options = {**uvicorn_options(namespace), "factory": False}
        self.server = uvicorn.Server(uvicorn.Config(create_app(live_schema()), **options))
        self._thread = threading.Thread(target=self.server.run)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/graphql"

    @property
    def websocket_url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/graphql"

    def start(self) -> None:
        self._thread.start()
        while not self.server.started:
            assert self._thread.is_alive()
            threading.Event().wait(0.02)

    def stop(self) -> None:
        """Let it end what runs, and wait for that."""
        self.server.should_exit = True
        self._thread.join(60)
        assert not self._thread.is_alive()

    @contextmanager
    def socket(self, token: str | None = None, **options: Any) -> Iterator[Socket]:
        """A WebSocket; with ``token``, one whose connection_init was acknowledged."""
        options = {"subprotocols": [SUBPROTOCOL], "proxy": None, "max_size": None, "close_timeout": 1, **options}
        with connect(self.websocket_url, **options) as connection:
            socket = Socket(connection)
            if token is not None:
                socket.send(type="connection_init", payload={"Authorization": f"Bearer {token}"})
                assert socket.receive() == {"type": "connection_ack"}
            yield socket


class Socket:
    """A client that sends just what it is told to.

    :param connection: the WebSocket
    """

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    def send(self, **message: Any) -> None:
        self.connection.send(json.dumps(message))

    def subscribe(self, query: str, operation_id: str = "1", **payload: Any) -> None:
        self.send(type="subscribe", id=operation_id, payload={"query": query, **payload})

    def receive(self) -> dict[str, Any]:
        return json.loads(self.connection.recv(timeout=30))

    def answers(self, query: str, operation_id: str = "1", **payload: Any) -> list[dict[str, Any]]:
        """Everything that is sent for one operation, up to its end."""
        self.subscribe(query, operation_id, **payload)
        messages = [self.receive()]
        while messages[-1]["type"] == "next":
            messages.append(self.receive())
        return messages

    def closed(self) -> tuple[int | None, str | None]:
        """Code and reason with which the gateway ends the connection."""
        from websockets.exceptions import ConnectionClosed

        try:
            while True:
                self.connection.recv(timeout=30)
        except ConnectionClosed:
            return self.connection.close_code, self.connection.close_reason


def wait_until(condition: Any) -> None:
    """Wait for something that other threads make true."""
    deadline = datetime.now(UTC) + timedelta(seconds=30)
    while not condition():
        assert datetime.now(UTC) < deadline, "It did not happen."
        threading.Event().wait(0.02)


@contextmanager
def live_gateway(port: int | None = None) -> Iterator[LiveGateway]:
    gateway = LiveGateway(port or free_port())
    gateway.start()
    try:
        yield gateway
    finally:
        gateway.stop()
