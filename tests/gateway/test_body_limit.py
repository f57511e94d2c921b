"""Bodies over the limit are refused with a typed error, whether their length is announced or not."""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx
import pytest
from airflow_database import AirflowDatabase
from gateway_app import Gateway
from running_gateway import RunningGateway

pytestmark = pytest.mark.any_database

LIMIT = 16 * 1024 * 1024


def body_of(size: int) -> bytes:
    """An operation of exactly ``size`` bytes."""
    frame = json.dumps({"query": "query ($d: SerializedDag!) { tasks(document: $d) }", "variables": {"d": {"x": "%"}}})
    before, after = frame.encode().split(b"%")
    return before + b"x" * (size - len(before) - len(after)) + after


def in_chunks(body: bytes) -> Iterator[bytes]:
    for start in range(0, len(body), 1024 * 1024):
        yield body[start : start + 1024 * 1024]


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize(("size", "status"), [(LIMIT, 200), (LIMIT + 1, 413), (3 * LIMIT, 413)])
def test_the_limit_is_exact_with_and_without_a_content_length(
    small_gateway: Gateway, size: int, status: int, chunked: bool
) -> None:
    body = body_of(size)
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {small_gateway.operator_token()}"}
    response = small_gateway.http.post("/graphql", content=in_chunks(body) if chunked else body, headers=headers)
    assert response.status_code == status
    if status == 413:
        (error,) = response.json()["errors"]
        assert error["extensions"]["code"] == "PAYLOAD_TOO_LARGE"
        assert str(LIMIT) in error["message"]
    else:
        assert response.json() == {"data": {"tasks": 1}}


def test_the_limit_is_a_setting(airflow_database: AirflowDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__PARSEGATE__MAX_BODY_BYTES", "2048")
    gateway = Gateway(airflow_database)
    assert gateway.post({"query": "{ __typename }" + " " * 2048}, gateway.operator_token()).status_code == 413


@pytest.mark.parametrize("chunked", [False, True])
def test_a_real_client_gets_the_answer_and_not_a_broken_connection(
    running_gateway: RunningGateway, chunked: bool
) -> None:
    body = body_of(LIMIT + 4096)
    headers = {
        "Content-Type": "application/json",
        "Authorization": f"Bearer {running_gateway.operator_token()}",
        "Accept": "application/json",
    }
    with httpx.Client(trust_env=False) as client:
        response = client.post(running_gateway.url, content=in_chunks(body) if chunked else body, headers=headers)
        assert response.status_code == 413
        assert response.json()["errors"][0]["extensions"]["code"] == "PAYLOAD_TOO_LARGE"
        again = client.post(running_gateway.url, content=b'{"query": "{ __typename }"}', headers=headers)
        assert again.json() == {"data": {"__typename": "Query"}}
