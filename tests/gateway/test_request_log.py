"""The gateway's log as Airflow's logging writes it: values of their own, and the same id in every line of a request."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest
from airflow_database import AirflowDatabases
from running_gateway import running_gateway

pytestmark = [pytest.mark.slow, pytest.mark.any_database]


@pytest.mark.parametrize("json_logs", [True, False], ids=["json", "key=value"])
def test_each_request_is_a_line_with_its_values(
    airflow_databases: AirflowDatabases, tmp_path: Path, json_logs: bool
) -> None:
    database = airflow_databases.create()
    with running_gateway(database, tmp_path, AIRFLOW__LOGGING__JSON_LOGS=str(json_logs)) as gateway:
        headers = {"X-Request-Id": "chosen-by-the-agent", "Authorization": "Bearer garbage"}
        url = gateway.url
        answer = httpx.post(url, json={"query": "{ __typename }"}, headers=headers, trust_env=False)
        assert answer.json()["errors"][0]["extensions"]["requestId"] == "chosen-by-the-agent"
    airflow_databases.drop(database)
    lines = [line for line in gateway.log.splitlines() if "chosen-by-the-agent" in line]
    refusal, request = lines
    if json_logs:
        assert json.loads(refusal)["request_id"] == "chosen-by-the-agent"
        values = json.loads(request)
        assert values.pop("duration_ms") >= 0
        assert {name: values[name] for name in ("method", "path", "status", "request_id", "level")} == {
            "method": "POST",
            "path": "/graphql",
            "status": 401,
            "request_id": "chosen-by-the-agent",
            "level": "info",
        }
    else:
        assert "request_id=chosen-by-the-agent" in refusal
        for part in ("method=POST", "path=/graphql", "status=401", "duration_ms=", "request_id=chosen-by-the-agent"):
            assert part in request, request
