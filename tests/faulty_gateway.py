"""The real gateway over real HTTP in a thread of this process, with faults of a network and a server on request.

It can be stopped and started again at its address, keep its answers to itself after it has done the work, or answer
with a status of its own. What it was asked is written down.
"""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import threading
import time
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn
import zstandard
from gateway_app import Gateway

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


@dataclass
class Request:
    """One HTTP request as it came."""

    at: float
    operations: list[str]
    payload: Any
    headers: dict[str, str]

    def variables(self, operation: str) -> dict[str, Any]:
        (found,) = [entry for entry in self.payload if entry["operationName"] == operation]
        return found.get("variables", {})


@dataclass
class Fault:
    """What happens to requests that hold ``operation`` (any if None), ``times`` times.

    :param status: answered instead of the gateway's answer; None cuts the connection in the middle of the answer
    :param runs: whether the gateway does the work first
    :param answer: the body; without one it is no JSON
    """

    operation: str | None = None
    status: int | None = None
    runs: bool = False
    times: int = 1
    answer: bytes = b"not JSON"
    delay: float = 0.0


@dataclass
class FaultyGateway:
    gateway: Gateway
    tls: ssl.SSLContext | None = None
    requests: list[Request] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    port: int = 0
    _server: uvicorn.Server | None = None
    _thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://localhost:{self.port}/graphql"

    def start(self) -> None:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        self.port = listener.getsockname()[1]
        config = uvicorn.Config(
            self._serve, interface="asgi3", lifespan="off", log_level="critical", timeout_graceful_shutdown=0
        )
        config.load()
        config.ssl = self.tls
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [listener]})
        self._thread.start()
        while not self._server.started:
            time.sleep(0.01)

    def stop(self) -> None:
        if self._server is None or self._thread is None:
            return
        self._server.should_exit = True
        self._thread.join()
        for server in self._server.servers:
            for listener in server.sockets:
                listener.close()
        self._server = self._thread = None

    def asked(self, operation: str) -> list[Request]:
        """The requests that hold ``operation``, oldest first."""
        return [request for request in self.requests if operation in request.operations]

    def mint(self, path: Path, **options: Any) -> str:
        """Write a processor token to ``path``; the token."""
        token = self.gateway.processor_token(**options)
        fresh = path.with_suffix(".fresh")
        fresh.write_text(token)
        fresh.replace(path)
        return token

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = b""
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        request = self._noted(scope, body)
        fault = self._fault_for(request)
        if fault is not None and fault.delay:
            await asyncio.sleep(fault.delay)
        delivered = False

        async def replay() -> Message:
            nonlocal delivered
            if delivered:
                await asyncio.sleep(3600)
            delivered = True
            return {"type": "http.request", "body": body, "more_body": False}

        if fault is None or (fault.delay and fault.status is None):
            await self.gateway.app(scope, replay, send)
            return
        if fault.runs:

            async def discard(message: Message) -> None:
                pass

            await self.gateway.app(scope, replay, discard)
        if fault.status is not None:
            headers = [(b"content-type", b"application/json")]
            await send({"type": "http.response.start", "status": fault.status, "headers": headers})
            await send({"type": "http.response.body", "body": fault.answer})
            return
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1000")]})
        await send({"type": "http.response.body", "body": b"[", "more_body": True})
        raise ConnectionAbortedError("cut on purpose")

    def _noted(self, scope: Scope, body: bytes) -> Request:
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        compressed = headers.get("content-encoding") == "zstd"
        payload = json.loads(zstandard.decompress(body) if compressed else body)
        entries = payload if isinstance(payload, list) else [payload]
        request = Request(time.monotonic(), [entry["operationName"] for entry in entries], payload, headers)
        self.requests.append(request)
        return request

    def _fault_for(self, request: Request) -> Fault | None:
        for fault in self.faults:
            if fault.operation is None or fault.operation in request.operations:
                fault.times -= 1
                if fault.times <= 0:
                    self.faults.remove(fault)
                return fault
        return None
