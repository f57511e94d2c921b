from __future__ import annotations

import asyncio
import json
import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import zstandard
from agent_process import AgentProcess, StartAgent, parse_result
from airflow_database import AirflowDatabase
from certificates import Certificates
from connect_proxy import connect_proxy
from faulty_gateway import FaultyGateway
from gateway_app import Gateway
from gql import Client as GqlClient
from gql import GraphQLRequest

from parsegate.client import agent_inputs, protocol
from parsegate.client.generated.client import Client
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
    (batch,) = batches(respond, list(requests or (REQUEST,)), timeout=timeout)
    return batch


def batches(
    server: Respond | httpx.AsyncBaseTransport,
    *sent: list[GraphQLRequest],
    token: str = "tok",
    timeout: float = 5.0,
    compress_above: int | None = None,
) -> list[list[Any]]:
    """What several batches get that one transport sends one after the other."""

    async def ask() -> list[list[Any]]:
        network = server if isinstance(server, httpx.AsyncBaseTransport) else httpx.MockTransport(server)
        async with httpx.AsyncClient(transport=network) as http:
            transport = GatewayTransport(
                "http://gateway/graphql", http=http, token=lambda: token, timeout=timeout, compress_above=compress_above
            )
            await transport.connect()
            return [await transport.execute_batch(batch) for batch in sent]

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


class Recorded(httpx.AsyncBaseTransport):
    """The gateway without a network; ``requests`` are those that it got."""

    def __init__(self, gateway: Gateway) -> None:
        self.requests: list[httpx.Request] = []
        self._application = httpx.ASGITransport(app=gateway.app)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        self.requests.append(request)
        return await self._application.handle_async_request(request)


DOCUMENTS: dict[str, Any] = {
    "whole numbers and floats": {
        "a": [1, 1.0, 0, 0.0, -0.0, True, False, None, 10**15, 1e15, 1e16, 1e22, 1e-7, 5e-324]
    },
    "the largest numbers": {"a": [2**63 - 1, -(2**63), 2**64 - 1, 9007199254740993, 1.7976931348623157e308]},
    "numbers over 64 bits": {"a": [2**63, 2**64, -(2**63) - 1, 10**300]},
    "what JSON has no number for": {"a": [math.nan, {"b": math.inf}, -math.inf], "nan": None},
    "text": {"é😀\u2028": '\0\x01\x1f\x7f"\\/\b\f\n\r\t \u2028\u2029 \ufeff \uffff 😀', "": "", "NaN": "NaN Infinity"},
    "halves of surrogate pairs": {"a": "\ud800", "b": ["\ud83d x \ude00"]},
    "half of a surrogate pair as a name": {"\udfff": 1},
    "halves of surrogate pairs beside NaN": {"a": ["\ud800", math.nan, 2**70, 1.0]},
    "nested": {"a": [[[[{"b": {"c": [{}, [], [[]], {"d": None}]}}]]]]},
    "deep": {"a": json.loads("[" * 180 + "]" * 180)},
    "large": {"a": [{"id": number, "text": f"task {number}", "float": number / 7} for number in range(20_000)]},
}


@pytest.mark.parametrize("compress_above", [None, 0])
@pytest.mark.parametrize("document", DOCUMENTS.values(), ids=DOCUMENTS.keys())
def test_a_document_arrives_as_it_was_sent(
    airflow_database: AirflowDatabase, document: dict[str, Any], compress_above: int | None
):
    from small_schema import small_schema

    gateway = Gateway(airflow_database, small_schema())
    query = "query Q($d: SerializedDag!) { literal(document: $d) }"
    sent = [
        GraphQLRequest(query, operation_name="Q", variable_values={"d": each}) for each in (document, {"good": 1.0})
    ]
    network = Recorded(gateway)
    ((answer, other),) = batches(network, sent, token=gateway.operator_token(), compress_above=compress_above)
    assert answer.data == {"literal": ascii(document)}
    assert other.data == {"literal": "{'good': 1.0}"}
    (request,) = network.requests
    assert request.headers.get("content-encoding") == (None if compress_above is None else "zstd")


# Pydantic cannot encode half of a surrogate pair as a name; msgpack lets neither it nor the others reach an agent.
@pytest.mark.parametrize("name", [name for name in DOCUMENTS if "as a name" not in name])
def test_a_serialized_dag_reaches_the_resolver_as_the_agent_got_it(
    gateway: Gateway, name: str, monkeypatch: pytest.MonkeyPatch
):
    from parsegate.resolvers import documents
    from parsegate.resolvers.refusals import Refusal, RefusalReason

    document = DOCUMENTS[name]
    seen: list[Any] = []

    def look_at(result: Any) -> None:
        seen.extend(dag.document for dag in result.documents)
        raise Refusal(RefusalReason.INVALID_DOCUMENT, "it is no DAG")

    monkeypatch.setattr(documents, "check_contents", look_at)
    message = parse_result(dags=[protocol.SerializedDagDocument(document=document, last_loaded=None)])

    async def send() -> None:
        async with httpx.AsyncClient(transport=Recorded(gateway)) as http:
            token = gateway.job_token(job_id=1)
            transport = GatewayTransport(
                "http://gateway/graphql", http=http, token=lambda: token, timeout=30.0, compress_above=0
            )
            async with GqlClient(transport=transport) as session:
                await Client(session).record_parse_results([agent_inputs.parse_result(message, [])])

    asyncio.run(send())
    assert {ascii(each) for each in seen} == {ascii(document)}


@pytest.mark.parametrize("name", [name for name in DOCUMENTS if "NaN" not in name and "no number" not in name])
def test_an_answer_arrives_as_it_was_given(airflow_database: AirflowDatabase, name: str):
    from small_schema import small_schema

    gateway = Gateway(airflow_database, small_schema())
    request = GraphQLRequest(
        "query Q($d: SerializedDag!) { returned(document: $d) }", variable_values={"d": DOCUMENTS[name]}
    )
    (answer,) = batches(Recorded(gateway), [request], token=gateway.operator_token())[0]
    assert ascii(answer.data) == ascii({"returned": DOCUMENTS[name]})


def large_request(size: int = 5000) -> GraphQLRequest:
    return GraphQLRequest("query Q($x: String) { __typename }", operation_name="Q", variable_values={"x": "x" * size})


def test_a_body_is_compressed_when_it_is_larger_than_the_threshold():
    sent: list[httpx.Request] = []

    def respond(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return httpx.Response(200, json=[{"data": {}}])

    size = len(json.dumps([large_request().payload], separators=(",", ":")))
    batches(respond, [large_request()], [large_request(5001)], compress_above=size)
    plain, compressed = sent
    assert "content-encoding" not in plain.headers
    assert len(plain.content) == size
    assert compressed.headers["content-encoding"] == "zstd"
    assert len(compressed.content) < 500
    assert json.loads(zstandard.decompress(compressed.content)) == [large_request(5001).payload]


@pytest.mark.parametrize("status", [415, 400])
def test_a_gateway_that_takes_no_compressed_bodies_gets_them_as_they_are_from_then_on(
    status: int, caplog: pytest.LogCaptureFixture
):
    sent: list[httpx.Request] = []

    def respond(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        if "content-encoding" in request.headers:
            return httpx.Response(status, json={"errors": [{"message": "not JSON"}]})
        return httpx.Response(200, json=[{"data": {"a": 1}}])

    with caplog.at_level(logging.WARNING):
        given = batches(respond, [large_request()], [large_request()], compress_above=1024)
    assert [[answer.data for answer in batch] for batch in given] == [[{"a": 1}], [{"a": 1}]]
    assert ["content-encoding" in request.headers for request in sent] == [True, False, False]
    assert len([record for record in caplog.records if "compressed" in record.message]) == 1
    assert "xxx" not in caplog.text


def test_a_request_that_is_bad_in_itself_says_nothing_about_compression():
    sent: list[httpx.Request] = []

    def respond(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        if len(sent) <= 2:
            return httpx.Response(400, json={"errors": [{"message": "bad", "extensions": {"code": "BAD_REQUEST"}}]})
        return httpx.Response(200, json=[{"data": {}}])

    async def ask() -> None:
        async with httpx.AsyncClient(transport=httpx.MockTransport(respond)) as http:
            transport = GatewayTransport(
                "http://gateway/graphql", http=http, token=lambda: "tok", timeout=5.0, compress_above=1024
            )
            await transport.connect()
            with pytest.raises(RequestRejected, match="bad"):
                await transport.execute_batch([large_request()])
            await transport.execute_batch([large_request()])

    asyncio.run(ask())
    assert ["content-encoding" in request.headers for request in sent] == [True, False, True]


def test_the_limit_is_that_of_the_body_before_it_is_compressed():
    with pytest.raises(RequestTooLarge):
        batches(always(200), [large_request(MAX_REQUEST_BYTES)], compress_above=1024)


def test_an_agent_compresses_results_but_nothing_that_dag_code_writes(served: FaultyGateway, start_agent: StartAgent):
    agent = start_agent()
    agent.start("dags")
    agent.manager.send(parse_result("large.py", import_errors={"large.py": "boom " * 2000}))
    assert agent.manager.expect(protocol.ResultSettled).status == "ACCEPTED"
    secret = {"type": "PutVariable", "key": "k", "value": "secret " * 2000, "description": None}
    agent.read(secret, file="large.py")
    assert agent.manager.expect(protocol.ReadAnswer).error is None
    (result,) = served.asked("RecordParseResults")
    assert result.headers["content-encoding"] == "zstd"
    assert int(result.headers["content-length"]) < 2000
    (write,) = served.asked("SetVariable")
    assert "content-encoding" not in write.headers
    assert {request.headers["accept-encoding"] for request in served.requests} == {"identity"}


def test_an_agent_can_be_told_to_compress_nothing(served: FaultyGateway, start_agent: StartAgent):
    agent = start_agent(compress_above=None)
    agent.start("dags")
    agent.manager.send(parse_result("large.py", import_errors={"large.py": "boom " * 2000}))
    assert agent.manager.expect(protocol.ResultSettled).status == "ACCEPTED"
    assert all("content-encoding" not in request.headers for request in served.requests)


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
