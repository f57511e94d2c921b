"""The generated client over gql, against the gateway: typed operations, alone and several in one request."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

import httpx
import pytest
from gateway_app import Gateway, gateway
from gql import Client as GqlClient
from gql.transport.httpx import HTTPXAsyncTransport
from pydantic import ValidationError

from parsegate.client.generated.bundle_states import BundleStates
from parsegate.client.generated.client import Client
from parsegate.client.generated.enums import JobCompletion, OutcomeStatus, RefusalReason
from parsegate.client.generated.heartbeat import Heartbeat
from parsegate.client.generated.input_types import (
    BundleStateInput,
    CompleteJobInput,
    RegisterProcessorInput,
    SyncBundlesInput,
)
from parsegate.client.gql_base_client import OperationError

__all__ = ["gateway"]

ResultT = TypeVar("ResultT")
REGISTRATION = RegisterProcessorInput(
    registration_id="5d8f1a44-8d5c-4b6f-9c0c-0c5f1d0f7a11",
    hostname="host-1",
    unixname="parser",
    pid=42,
    parsegate_version="0.1.0",
    airflow_version="3.3.2",
    contract_version="1.0",
)


class Requests:
    """The gateway behind httpx without a network; ``bodies`` are those of all requests that were made."""

    def __init__(self, gateway: Gateway) -> None:
        self.bodies: list[bytes] = []
        self._application = httpx.ASGITransport(app=gateway.app)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.bodies.append(await request.aread())
        return await self._application.handle_async_request(request)


def using(
    gateway: Gateway, token: str, act: Callable[[Client], Awaitable[ResultT]], requests: Requests | None = None
) -> ResultT:
    """What ``act`` returns, given a connected client."""

    async def connected() -> ResultT:
        class Transport(httpx.AsyncBaseTransport):
            handle_async_request = (requests or Requests(gateway)).handle_async_request

        transport = HTTPXAsyncTransport(
            "http://gateway/graphql", headers={"Authorization": f"Bearer {token}"}, transport=Transport()
        )
        async with GqlClient(transport=transport) as session:
            return await act(Client(session))

    return asyncio.run(connected())


@pytest.fixture
def job_token(gateway: Gateway) -> str:
    async def register(client: Client) -> str:
        payload = (await client.register_processor(REGISTRATION)).register_processor
        assert payload.job is not None
        return payload.job.token

    return using(gateway, gateway.processor_token(), register)


def test_an_awaited_operation_gives_its_typed_result(gateway: Gateway, job_token: str) -> None:
    async def beat(client: Client) -> Heartbeat:
        return await client.heartbeat()

    payload = using(gateway, job_token, beat).heartbeat

    assert payload.status is OutcomeStatus.ACCEPTED
    assert payload.recorded_at is not None
    assert abs(payload.recorded_at - datetime.now(UTC)).total_seconds() < 60


def test_a_batch_is_one_request_whose_operations_run_in_order(gateway: Gateway, job_token: str) -> None:
    requests = Requests(gateway)

    async def complete_then_beat(client: Client) -> tuple[Any, Any]:
        completion = client.complete_job(CompleteJobInput(state=JobCompletion.SUCCESS))
        heartbeat = client.heartbeat()
        await client.batch(completion, heartbeat)
        return completion.result().complete_job, heartbeat.result().heartbeat

    completion, heartbeat = using(gateway, job_token, complete_then_beat, requests)

    assert len(requests.bodies) == 1
    assert completion.status is OutcomeStatus.ACCEPTED
    assert (heartbeat.status, heartbeat.reason) == (OutcomeStatus.REFUSED, RefusalReason.JOB_CLOSED)


def test_the_error_of_one_operation_is_its_own(gateway: Gateway, job_token: str) -> None:
    async def mixed(client: Client) -> tuple[Any, Any, Any]:
        first, forbidden, last = client.heartbeat(), client.register_processor(REGISTRATION), client.heartbeat()
        await client.batch(first, forbidden, last)
        return first, forbidden, last

    first, forbidden, last = using(gateway, job_token, mixed)

    assert first.result().heartbeat.status is OutcomeStatus.ACCEPTED
    assert last.result().heartbeat.status is OutcomeStatus.ACCEPTED
    with pytest.raises(OperationError, match="RegisterProcessor") as refused:
        forbidden.result()
    assert refused.value.codes == {"FORBIDDEN"}
    assert refused.value.faults[0].path == ("registerProcessor",)


def test_an_awaited_operation_raises_its_error(gateway: Gateway) -> None:
    async def beat(client: Client) -> Heartbeat:
        return await client.heartbeat()

    with pytest.raises(OperationError, match="FORBIDDEN"):
        using(gateway, gateway.operator_token(), beat)


def test_an_operation_can_be_sent_again(gateway: Gateway) -> None:
    async def register_twice(client: Client) -> list[int]:
        registration = client.register_processor(REGISTRATION)
        jobs = [(await registration).register_processor.job, (await registration).register_processor.job]
        return [job.job_id for job in jobs if job is not None]

    first, second = using(gateway, gateway.processor_token(), register_twice)

    assert first == second


def test_unsent_operations_have_no_result(gateway: Gateway) -> None:
    async def forget(client: Client) -> Any:
        return client.heartbeat()

    with pytest.raises(RuntimeError, match="Heartbeat has no answer"):
        using(gateway, gateway.operator_token(), forget).result()


def test_an_empty_batch_makes_no_request(gateway: Gateway, job_token: str) -> None:
    requests = Requests(gateway)

    using(gateway, job_token, lambda client: client.batch(), requests)

    assert requests.bodies == []


def test_nested_inputs_and_times_survive_the_journey(gateway: Gateway, job_token: str) -> None:
    refreshed = datetime(2026, 1, 31, 8, 30, tzinfo=UTC)

    async def sync_and_read(client: Client) -> BundleStates:
        await client.sync_bundles(SyncBundlesInput(bundles=[bundle_input("dags")]))
        await client.update_bundle_states([BundleStateInput(name="dags", last_refreshed=refreshed, version="v1")])
        return await client.bundle_states(["dags"])

    [state] = using(gateway, job_token, sync_and_read).bundle_states

    assert (state.name, state.last_refreshed, state.version) == ("dags", refreshed, "v1")


def bundle_input(name: str) -> Any:
    from parsegate.client.generated.input_types import BundleInput

    return BundleInput(name=name, path=f"/bundles/{name}")


def test_values_that_a_newer_gateway_added_are_unknown_and_do_no_harm() -> None:
    answer = Heartbeat.model_validate(
        {"heartbeat": {"status": "POSTPONED", "reason": "TOO_BUSY", "message": None, "recordedAt": None, "more": 1}}
    )

    assert answer.heartbeat.status is OutcomeStatus.UNKNOWN
    assert answer.heartbeat.reason is RefusalReason.UNKNOWN


def test_an_answer_that_breaks_the_contract_is_not_quoted() -> None:
    with pytest.raises(ValidationError) as malformed:
        Heartbeat.model_validate({"heartbeat": {"status": {"password": "hunter2"}}})

    assert "hunter2" not in str(malformed.value)


def test_importing_it_imports_neither_airflow_nor_a_server() -> None:
    program = "import sys, parsegate.client.generated.client; print(*sys.modules)"

    modules = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.split()

    assert "gql" in modules
    assert {"airflow", "strawberry", "sqlalchemy", "starlette", "uvicorn"}.isdisjoint(modules)
