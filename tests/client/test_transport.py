from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from agent_process import AgentProcess
from certificates import Certificates
from connect_proxy import connect_proxy
from faulty_gateway import FaultyGateway
from gateway_app import Gateway
from gql import GraphQLRequest

from parsegate.client import protocol
from parsegate.client.transport import (
    MAX_REQUEST_BYTES,
    AccessDenied,
    GatewayTransport,
    GatewayUnreachable,
    RequestRejected,
    RequestTooLarge,
    TokenRefused,
)

Respond = Callable[[httpx.Request], httpx.Response]

REQUEST = GraphQLRequest("query Q($x: String) { __typename }", operation_name="Q", variable_values={"x": "a secret"})


def answers(respond: Respond, *requests: GraphQLRequest, timeout: float = 5.0) -> list[Any]:
    """What a batch of ``requests`` gets from a server that answers with ``respond``."""

    async def ask() -> list[Any]:
        async with httpx.AsyncClient(transport=httpx.MockTransport(respond)) as http:
            transport = GatewayTransport("http://gateway/graphql", http=http, token=lambda: "tok", timeout=timeout)
            await transport.connect()
            return await transport.execute_batch(list(requests or (REQUEST,)))

    return asyncio.run(ask())


def always(status: int, content: bytes = b"", **headers: str) -> Respond:
    return lambda _: httpx.Response(status, content=content, headers=headers)


@pytest.mark.parametrize(
    ("respond", "error"),
    [
        (always(401), TokenRefused),
        (always(403), AccessDenied),
        (always(413), RequestTooLarge),
        (always(429), GatewayUnreachable),
        (always(500, b"<html>"), GatewayUnreachable),
        (always(502), GatewayUnreachable),
        (always(503), GatewayUnreachable),
        (always(307, location="http://elsewhere/graphql/"), GatewayUnreachable),
        (always(200, b"<html>log in to this network</html>"), GatewayUnreachable),
        (always(200, b"[]"), GatewayUnreachable),
        (always(200, b"{}"), GatewayUnreachable),
        (always(200, b"[3]"), GatewayUnreachable),
        (always(404, b"{}"), GatewayUnreachable),
    ],
)
def test_what_is_no_answer_has_a_name(respond: Respond, error: type[Exception]):
    with pytest.raises(error):
        answers(respond)


def test_a_request_refused_as_a_whole_tells_its_code_and_message():
    error = {"message": "malformed", "extensions": {"code": "BAD_REQUEST"}}
    with pytest.raises(RequestRejected, match="malformed") as raised:
        answers(always(400, json.dumps({"errors": [error]}).encode()))
    assert raised.value.code == "BAD_REQUEST"
    assert raised.value.request_id


def test_errors_of_one_operation_leave_the_others_their_answers():
    content = [{"data": {"a": 1}}, {"data": None, "errors": [{"message": "no"}]}]
    good, bad = answers(always(200, json.dumps(content).encode()), REQUEST, REQUEST)
    assert good.data == {"a": 1}
    assert bad.errors


def test_too_large_a_request_is_not_sent():
    sent: list[httpx.Request] = []

    def respond(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return httpx.Response(200)

    request = GraphQLRequest("query Q { __typename }", variable_values={"x": "x" * MAX_REQUEST_BYTES})
    with pytest.raises(RequestTooLarge):
        answers(respond, request)
    assert not sent


def test_a_connection_that_was_just_closed_is_tried_again_at_once():
    calls: list[bytes] = []

    def respond(request: httpx.Request) -> httpx.Response:
        calls.append(request.content)
        if len(calls) == 1:
            raise httpx.RemoteProtocolError("Server disconnected without sending a response.")
        return httpx.Response(200, json=[{"data": {}}])

    answers(respond)
    assert len(calls) == 2
    assert calls[0] == calls[1]


def test_a_body_is_never_logged_nor_quoted(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.DEBUG):
        answers(always(200, b'[{"data": {"password": "a password"}}]'))
        for content in (b'{"data": "a password"', b'[["a password"]]', b'{"x": "a password"}'):
            with pytest.raises(GatewayUnreachable) as raised:
                answers(always(200, content))
            assert "a password" not in str(raised.value)
    assert "a secret" not in caplog.text
    assert "a password" not in caplog.text


def test_gql_still_asks_a_transport_for_what_this_one_overrides():
    """The methods of gql that would log bodies must not be reached, whatever way a newer gql takes to them."""
    import inspect

    from gql.transport import httpx as original

    logging_methods = {
        name
        for name, method in inspect.getmembers(original.HTTPXAsyncTransport, inspect.isfunction)
        if "log." in inspect.getsource(method)
    }
    ours = {name for name in vars(GatewayTransport) if not name.startswith("__")}
    callers = {"execute", "execute_batch", "connect"}
    assert callers <= ours
    assert logging_methods - ours <= {"_prepare_request", "_prepare_file_uploads", "_get_json_result"}


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return Certificates.make(tmp_path)


def test_a_private_authority_a_client_certificate_and_a_proxy(
    gateway: Gateway, certificates: Certificates, tmp_path: Path
):
    served = FaultyGateway(gateway, tls=certificates.server_context())
    served.start()
    served.mint(tmp_path / "token")
    with connect_proxy() as proxy:
        agent = AgentProcess(
            tmp_path,
            served.url,
            tmp_path / "token",
            ca_path=str(certificates.ca),
            client_certificate_path=str(certificates.client),
            client_key_path=str(certificates.client_key),
            proxy=proxy.url,
        )
        try:
            agent.start("dags")
            agent.complete()
        finally:
            agent.kill()
            served.stop()
    assert set(proxy.targets) == {f"CONNECT localhost:{served.port}"}


def test_a_certificate_of_an_unknown_authority_is_told(gateway: Gateway, certificates: Certificates, tmp_path: Path):
    served = FaultyGateway(gateway, tls=certificates.server_context())
    served.start()
    served.mint(tmp_path / "token")
    agent = AgentProcess(tmp_path, served.url, tmp_path / "token", startup_timeout=1.0)
    try:
        agent.register()
        assert "certificate verify failed" in agent.manager.expect(protocol.Stopped).message.lower()
    finally:
        agent.kill()
        served.stop()
    assert not served.requests
