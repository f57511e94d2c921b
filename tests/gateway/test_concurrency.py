"""Many requests at once: the event loop stays free, and the connection pool is never used up."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import httpx
import pytest
from airflow import settings as airflow_settings
from airflow_database import AirflowDatabase
from gateway_app import Gateway
from sqlalchemy import text

from parsegate.gateway.app import operation_threads
from parsegate.resolvers import database


def run_with_client(gateway: Gateway, body: Callable[[httpx.AsyncClient], Coroutine[Any, Any, None]]) -> None:
    """Run ``body`` on one event loop with the application itself, as the server does."""

    async def run() -> None:
        transport = httpx.ASGITransport(gateway.app)
        headers = {"Authorization": f"Bearer {gateway.operator_token()}"}
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway", headers=headers) as client:
            await body(client)

    asyncio.run(run())


async def ask(client: httpx.AsyncClient, document: str) -> dict[str, Any]:
    response = await client.post("/graphql", json={"query": document}, timeout=60)
    return response.json()


def test_a_slow_operation_blocks_neither_probes_nor_other_operations(small_gateway: Gateway) -> None:
    async def body(client: httpx.AsyncClient) -> None:
        slow = asyncio.create_task(ask(client, "{ wait(seconds: 3) }"))
        await asyncio.sleep(0.2)
        assert (await client.get("/health")).status_code == 200
        assert (await client.get("/ready")).status_code == 200
        assert await ask(client, "{ hello }") == {"data": {"hello": "Hello you"}}
        assert not slow.done()
        assert await slow == {"data": {"wait": "waited"}}

    run_with_client(small_gateway, body)


def test_fifty_requests_at_once_do_not_exhaust_the_connection_pool(
    small_gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body(client: httpx.AsyncClient) -> None:
        answers = await asyncio.gather(*(ask(client, "{ waitInDatabase(seconds: 0.1) }") for _ in range(50)))
        assert answers == [{"data": {"waitInDatabase": "waited"}}] * 50

    engine = airflow_settings.get_engine()
    # A request that finds the pool empty fails at once instead of after 30 s.
    monkeypatch.setattr(engine.pool, "_timeout", 0.01)
    run_with_client(small_gateway, body)
    assert engine.pool.checkedout() == 0  # type: ignore[attr-defined]


def test_fifty_writers_at_once_all_commit(small_gateway: Gateway) -> None:
    async def body(client: httpx.AsyncClient) -> None:
        answers = await asyncio.gather(
            *(ask(client, f'mutation {{ storeVariable(key: "key {number}") }}') for number in range(50))
        )
        assert [answer for answer in answers if "errors" in answer] == []
        assert await ask(client, "{ variableCount }") == {"data": {"variableCount": 50}}

    run_with_client(small_gateway, body)


@pytest.mark.parametrize(
    ("pool_size", "overflow", "configured", "threads"),
    [(5, 10, 0, 7), (5, 10, 4, 4), (5, 10, 100, 14), (1, 0, 0, 1), (2, 0, 9, 1), (0, 10, 0, 8), (5, -1, 0, 8)],
)
def test_operations_are_fewer_than_the_pool_s_connections(
    monkeypatch: pytest.MonkeyPatch, pool_size: int, overflow: int, configured: int, threads: int
) -> None:
    monkeypatch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_POOL_SIZE", str(pool_size))
    monkeypatch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_MAX_OVERFLOW", str(overflow))
    monkeypatch.setenv("AIRFLOW__PARSEGATE__OPERATION_THREADS", str(configured))
    assert operation_threads() == threads


def test_a_writer_waits_for_another_process_to_end_its_transaction(
    airflow_database: AirflowDatabase, small_gateway: Gateway
) -> None:
    if airflow_database.path is None:
        pytest.skip("PostgreSQL locks rows, not the database.")
    import sqlite3

    other = sqlite3.connect(airflow_database.path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    # Longer than the 5 s that Python's sqlite3 waits unless told.
    release = threading.Timer(6.0, other.execute, ["COMMIT"])
    release.start()
    answer = small_gateway.execute('mutation { storeVariable(key: "a") }', token=small_gateway.operator_token())
    release.join()
    other.close()
    assert answer == {"data": {"storeVariable": 1}}


def test_operations_never_share_a_session(airflow_database: AirflowDatabase) -> None:
    with database.transaction() as writing, database.reading() as reading:
        assert writing is not reading
        assert writing.connection().connection.dbapi_connection is not reading.connection().connection.dbapi_connection
        reading.execute(text("SELECT 1"))
