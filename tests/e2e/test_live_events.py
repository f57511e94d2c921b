"""A real ``parsegate serve`` tells subscribers what another gateway stores, and lets go of them when it is stopped."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from airflow_database import AirflowDatabase
from found_versions import find, parse
from gateway_app import Gateway
from gql import Client, gql
from gql.transport.websockets import WebsocketsTransport
from registered_processor import RegisteredProcessor
from running_gateway import running_gateway

pytestmark = [pytest.mark.slow, pytest.mark.any_database]

PROGRESS = """subscription { bundleVersionProgress(bundle: "dags", version: "v1") { state storedCount } }"""
PARSES = """subscription { parseEvents(bundle: "dags") { file { relativeFileloc status } } }"""


async def within(waiting: Any) -> Any:
    async with asyncio.timeout(30):
        return await waiting


def test_events_come_from_another_gateway_until_this_one_is_stopped(
    airflow_database: AirflowDatabase, tmp_path: Path
) -> None:
    storing = Gateway(airflow_database)
    processor = RegisteredProcessor(storing)
    assert processor.sync("dags")["status"] == "ACCEPTED"
    find(processor, "v1", "a.py", "b.py")

    async def watch(url: str, token: str, stop: Callable[[], int]) -> None:
        headers = {"Authorization": f"Bearer {token}"}
        transport = WebsocketsTransport(url.replace("http:", "ws:"), init_payload=headers, connect_args={"proxy": None})
        async with (
            httpx.AsyncClient(headers={**headers, "Accept": "text/event-stream"}, trust_env=False, timeout=30) as http,
            Client(transport=transport) as session,
            http.stream("POST", url, json={"query": PARSES}) as response,
        ):
            states = session.subscribe(gql(PROGRESS))
            lines = response.aiter_lines()

            async def streamed() -> Any:
                while not (line := await anext(lines)).startswith("data: "):
                    pass
                return json.loads(line.removeprefix("data: "))

            first = await within(anext(states))
            assert first == {"bundleVersionProgress": {"state": "IN_PROGRESS", "storedCount": 0}}
            for path, state, stored in (("a.py", "IN_PROGRESS", 1), ("b.py", "COMPLETE", 2)):
                await asyncio.to_thread(parse, processor, "v1", path)
                told = await within(anext(states))
                assert told == {"bundleVersionProgress": {"state": state, "storedCount": stored}}
                event = await within(streamed())
                assert event == {"data": {"parseEvents": {"file": {"relativeFileloc": path, "status": "STORED"}}}}
            with pytest.raises(StopAsyncIteration):
                await within(anext(states))

            stopped = asyncio.create_task(asyncio.to_thread(stop))
            ending = await within(streamed())
            assert ending["errors"][0]["extensions"]["code"] == "UNAVAILABLE"
            assert [line async for line in lines if line] == ["event: complete", "data:"]
            assert await within(stopped) == 0

    with running_gateway(airflow_database, tmp_path) as served:
        asyncio.run(watch(served.url, served.operator_token(), served.stop))
        assert "graceful shutdown exceeded" not in served.log
        assert "Traceback" not in served.log
    storing.close()
