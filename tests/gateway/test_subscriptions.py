"""Subscriptions over WebSocket and as server-sent events, by clients of both kinds against a real server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from airflow_database import AirflowDatabases
from gql import Client, gql
from gql.transport.exceptions import TransportQueryError
from gql.transport.websockets import WebsocketsTransport
from live_gateway import SECRET, LiveGateway, live_gateway, open_sources, operator_token, wait_until
from websockets.exceptions import InvalidStatus

pytestmark = [pytest.mark.slow, pytest.mark.any_database]

SETTINGS = {
    "MAX_CONNECTIONS_PER_CALLER": "3",
    "MAX_SUBSCRIPTIONS_PER_CONNECTION": "2",
    "MAX_MESSAGE_BYTES": "4096",
    "CONNECTION_INIT_TIMEOUT": "2",
    "SUBSCRIBER_SEND_TIMEOUT": "1",
    "SUBSCRIBER_KEEP_ALIVE": "0.5",
}
SILENCE = "subscription { silence { number } }"


@pytest.fixture(scope="module")
def live(airflow_databases: AirflowDatabases) -> Iterator[LiveGateway]:
    database = airflow_databases.create()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in SETTINGS.items():
            patch.setenv(f"AIRFLOW__PARSEGATE__{name}", value)
        with live_gateway() as gateway:
            yield gateway
    airflow_databases.drop(database)


def sse(live: LiveGateway, query: str, token: str | None = None, **headers: str) -> httpx.Response:
    return httpx.post(
        live.url,
        json={"query": query},
        headers={"Authorization": f"Bearer {token or operator_token()}", "Accept": "text/event-stream", **headers},
        timeout=30,
        trust_env=False,
    )


def events(text: str) -> list[tuple[str, Any]]:
    """Names and data of the events in a stream, without its comments."""
    parsed: list[tuple[str, Any]] = []
    for block in text.split("\r\n\r\n"):
        fields = dict(line.split(":", 1) for line in block.split("\r\n") if line and not line.startswith(":"))
        if fields:
            data = fields["data"].strip()
            parsed.append((fields["event"].strip(), json.loads(data) if data else None))
    return parsed


def test_gql_receives_every_event_and_the_end(live: LiveGateway) -> None:
    async def received() -> list[dict[str, Any]]:
        transport = WebsocketsTransport(
            live.websocket_url,
            init_payload={"Authorization": f"Bearer {operator_token()}"},
            connect_args={"proxy": None},
        )
        async with Client(transport=transport) as session:
            document = gql("subscription ($to: Int!) { ticks(to: $to) { number thread context } }")
            document.variable_values = {"to": 3}
            answers = [answer["ticks"] async for answer in session.subscribe(document)]
            with pytest.raises(TransportQueryError, match="no_such_field"):
                await anext(aiter(session.subscribe(gql("subscription { no_such_field }"))))
            return answers

    answers = asyncio.run(received())
    assert [answer["number"] for answer in answers] == [1, 2, 3]
    # What was selected is read as a query is: in a worker thread, and anew for each event.
    assert all("worker thread" in answer["thread"].lower() for answer in answers)
    assert [answer["context"] for answer in answers] == [1, 1, 1]


def test_a_query_runs_as_over_http_and_a_mutation_is_refused(live: LiveGateway) -> None:
    with live.socket(operator_token()) as socket:
        result, end = socket.answers("{ thread }")
        assert "worker thread" in result["payload"]["data"]["thread"].lower()
        assert end == {"id": "1", "type": "complete"}
        (refused,) = socket.answers("mutation { change }")
        assert refused["type"] == "error"
        assert refused["payload"][0]["extensions"]["code"] == "METHOD_NOT_ALLOWED"


def test_errors_are_told_as_over_http(live: LiveGateway, caplog: pytest.LogCaptureFixture) -> None:
    deep = "{ deep " * 25 + "{ thread }" + "}" * 25
    with live.socket(operator_token()) as socket:
        for query, code in (
            ("subscription {", "GRAPHQL_PARSE_FAILED"),
            ("subscription { nothing }", "GRAPHQL_VALIDATION_FAILED"),
            (deep, "GRAPHQL_VALIDATION_FAILED"),
        ):
            (error,) = socket.answers(query)
            assert error["type"] == "error"
            assert error["payload"][0]["extensions"]["code"] == code
        _, failed, end = socket.answers("subscription { failing(after: 1) { number } }")
        assert failed["payload"]["errors"][0]["extensions"]["code"] == "INTERNAL"
        assert end["type"] == "complete"
        faulty, _ = socket.answers("subscription { ticks(to: 1) { number fault } }")
        assert faulty["payload"]["data"] == {"ticks": {"number": 1, "fault": None}}
        forbidden = socket.answers("subscription { forJobs }")[0]
        assert "FORBIDDEN" in json.dumps(forbidden)
        assert SECRET not in json.dumps([failed, faulty, forbidden])
    assert SECRET in caplog.text


@pytest.mark.parametrize(
    ("messages", "code"),
    [
        (["text"], 4400),
        (['["array"]'], 4400),
        (['{"type": "unheard_of"}'], 4400),
        (['{"type": "connection_init", "payload": 1}'], 4400),
        (['{"type": "subscribe", "id": "1", "payload": {"query": "{ thread }"}}'], 4401),
        (['{"type": "connection_init"}'], 4403),
        (['{"type": "connection_init", "payload": {"Authorization": "Bearer forged"}}'], 4403),
        ([b"bytes"], 4400),
        (["x" * 5000], 1009),
        ([], 4408),
    ],
)
def test_who_does_not_speak_the_protocol_is_told_and_cut_off(
    live: LiveGateway, messages: list[str | bytes], code: int
) -> None:
    with live.socket() as socket:
        for message in messages:
            socket.connection.send(message)
        assert socket.closed()[0] == code


@pytest.mark.parametrize(
    ("messages", "code"),
    [
        ([{"type": "connection_init"}], 4429),
        ([{"type": "subscribe", "id": "1", "payload": {"query": SILENCE}}] * 2, 4409),
        ([{"type": "subscribe", "id": 1, "payload": {"query": SILENCE}}], 4400),
        ([{"type": "subscribe", "id": "1", "payload": {"query": 1}}], 4400),
        ([{"type": "subscribe", "id": "1", "payload": [SILENCE]}], 4400),
        ([{"type": "complete"}], 4400),
    ],
)
def test_a_known_caller_who_breaks_the_protocol_is_cut_off(
    live: LiveGateway, messages: list[dict[str, Any]], code: int
) -> None:
    with live.socket(operator_token()) as socket:
        for message in messages:
            socket.send(**message)
        assert socket.closed()[0] == code
    wait_until(lambda: not open_sources)


def test_the_subprotocol_has_to_be_the_one_that_is_spoken(live: LiveGateway) -> None:
    with live.socket(subprotocols=["graphql-ws"]) as socket:
        assert socket.closed()[0] == 4406


def test_a_caller_is_known_by_header_or_by_the_cookie_of_a_page_of_the_gateway(live: LiveGateway) -> None:
    token = operator_token()
    origin = live.url.removesuffix("/graphql")
    cookie = {"Cookie": f"parsegate_session={token}"}
    for headers in ({"Authorization": f"Bearer {token}"}, {**cookie, "Origin": origin}):
        with live.socket(additional_headers=headers) as socket:
            socket.send(type="connection_init")
            assert socket.receive() == {"type": "connection_ack"}
            answer, _ = socket.answers("subscription { who }")
            assert answer["payload"]["data"] == {"who": "operator:test"}
    for headers in (cookie, {**cookie, "Origin": "http://elsewhere.example"}):
        with live.socket(additional_headers=headers) as socket:
            socket.send(type="connection_init")
            assert socket.closed()[0] == 4403
    with (
        pytest.raises(InvalidStatus) as refused,
        live.socket(additional_headers={"Authorization": "Bearer forged"}),
    ):
        pass
    assert refused.value.response.status_code == 401


def test_a_ping_is_answered_and_a_completed_operation_ends(live: LiveGateway) -> None:
    with live.socket(operator_token()) as socket:
        socket.send(type="ping")
        assert socket.receive() == {"type": "pong"}
        socket.send(type="pong")
        for _ in range(3):
            # The id can be used again at once.
            socket.subscribe(SILENCE, "same")
            assert socket.receive()["type"] == "next"
            assert open_sources == ["silence"]
            socket.send(type="complete", id="same")
            wait_until(lambda: not open_sources)
        socket.send(type="complete", id="unknown")
        socket.send(type="ping")
        assert socket.receive() == {"type": "pong"}


def test_operations_of_a_connection_and_connections_of_a_caller_are_bounded(live: LiveGateway) -> None:
    token = operator_token("operator:many")
    with live.socket(token) as first:
        for operation_id in ("1", "2"):
            first.subscribe(SILENCE, operation_id)
            assert first.receive()["type"] == "next"
        first.subscribe(SILENCE, "3")
        refused = first.receive()
        assert refused["type"] == "error"
        assert refused["payload"][0]["extensions"]["code"] == "TOO_MANY_REQUESTS"
        with live.socket(token), live.socket(token):
            with live.socket() as fourth:
                fourth.send(type="connection_init", payload={"Authorization": f"Bearer {token}"})
                assert fourth.closed()[0] == 1013
            response = sse(live, SILENCE, token)
            assert response.status_code == 429
            assert response.json()["errors"][0]["extensions"]["code"] == "TOO_MANY_REQUESTS"
            with live.socket(operator_token("operator:other")):
                pass
    wait_until(lambda: not open_sources)
    assert sse(live, "subscription { who }", token).status_code == 200


def test_connections_end_with_the_token(live: LiveGateway) -> None:
    with live.socket(operator_token(lifetime=2)) as socket:
        socket.subscribe(SILENCE)
        assert socket.closed() == (4403, "The token has expired")
    response = sse(live, SILENCE, operator_token(lifetime=2))
    *_, ending, complete = events(response.text)
    assert ending[1]["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"
    assert complete == ("complete", None)
    # Comments came while nothing else did.
    assert response.text.count("\r\n:\r\n") >= 2
    wait_until(lambda: not open_sources)


def test_sources_end_when_their_subscribers_are_gone(live: LiveGateway) -> None:
    with live.socket(operator_token()) as socket:
        socket.subscribe(SILENCE)
        socket.receive()
        headers = {"Authorization": f"Bearer {operator_token()}", "Accept": "text/event-stream"}
        with httpx.stream("POST", live.url, json={"query": SILENCE}, headers=headers, trust_env=False) as response:
            chunks = response.iter_text()
            while "silence" not in next(chunks):
                pass
            assert len(open_sources) == 2
    wait_until(lambda: not open_sources)


def test_a_subscriber_who_does_not_read_is_dropped(live: LiveGateway, caplog: pytest.LogCaptureFixture) -> None:
    with live.socket(operator_token(), max_queue=1) as socket:
        socket.subscribe("subscription { flood(size: 500000) }")
        wait_until(lambda: "too slow" in caplog.text)
        wait_until(lambda: not open_sources)
    caplog.clear()
    headers = {"Authorization": f"Bearer {operator_token()}", "Accept": "text/event-stream"}
    body = {"query": "subscription { flood(size: 500000) }"}
    with httpx.stream("POST", live.url, json=body, headers=headers, trust_env=False):
        wait_until(lambda: "too slow" in caplog.text)
        wait_until(lambda: not open_sources)


def test_answers_of_any_operation_come_as_events(live: LiveGateway) -> None:
    response = sse(live, "subscription { ticks(to: 2) { number } }")
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert response.headers["x-request-id"]
    assert "content-encoding" not in response.headers
    assert events(response.text) == [
        ("next", {"data": {"ticks": {"number": 1}}}),
        ("next", {"data": {"ticks": {"number": 2}}}),
        ("complete", None),
    ]
    assert events(sse(live, "mutation { change }").text)[0] == ("next", {"data": {"change": "changed"}})
    (_, invalid), end = events(sse(live, "subscription { nothing }").text)
    assert invalid["errors"][0]["extensions"]["code"] == "GRAPHQL_VALIDATION_FAILED"
    assert end == ("complete", None)


def test_what_cannot_be_streamed_is_refused(live: LiveGateway) -> None:
    headers = {"Authorization": f"Bearer {operator_token()}", "Accept": "text/event-stream"}
    with httpx.Client(headers=headers, trust_env=False) as client:
        assert client.post(live.url, json=[{"query": SILENCE}]).status_code == 400
        assert client.get(live.url, params={"query": SILENCE}).status_code == 405
        assert client.post(live.url, json={"query": SILENCE}, headers={"Authorization": ""}).status_code == 401
        refused = client.post(live.url, json={"query": SILENCE}, headers={"Accept": "application/json"})
        assert refused.status_code == 405
        assert "text/event-stream" in refused.json()["errors"][0]["message"]


def test_a_server_that_stops_ends_its_streams(airflow_databases: AirflowDatabases) -> None:
    database = airflow_databases.create()
    with live_gateway() as gateway, gateway.socket(operator_token()) as socket:
        socket.subscribe(SILENCE)
        socket.receive()
        headers = {"Authorization": f"Bearer {operator_token()}", "Accept": "text/event-stream"}
        with httpx.stream("POST", gateway.url, json={"query": SILENCE}, headers=headers, trust_env=False) as response:
            chunks = response.iter_text()
            received = next(chunks)
            while "next" not in received:
                received += next(chunks)
            gateway.server.should_exit = True
            received += "".join(chunks)
        assert socket.closed()[0] == 1012
        gateway.stop()
    *_, ending, complete = events(received)
    assert ending[1]["errors"][0]["extensions"]["code"] == "UNAVAILABLE"
    assert complete == ("complete", None)
    assert open_sources == []
    airflow_databases.drop(database)
