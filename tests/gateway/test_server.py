"""``parsegate serve`` as a real process: workers, TLS, client certificates, and what its log tells."""

from __future__ import annotations

import argparse
import os
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest
from airflow_database import AirflowDatabase
from running_gateway import RunningGateway, free_port
from scraped_metrics import samples, value
from tls_files import TlsFiles

from parsegate.gateway.server import run, uvicorn_options
from parsegate.gateway.tokens import TokenMinter
from parsegate.resolvers.principal import ALL_BUNDLES, Principal, TokenKind

pytestmark = pytest.mark.slow

QUERY = {"query": "{ __typename }"}
ANSWER = {"data": {"__typename": "Query"}}


def test_the_collector_leaves_what_the_start_of_a_server_made_alone(airflow_database: AirflowDatabase) -> None:
    code = (
        "import gc; from parsegate.gateway.server import served_app; app = served_app(); print(gc.get_freeze_count())"
    )
    environment = {**os.environ, **airflow_database.environment}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert int(run.stdout.splitlines()[-1]) > 100_000


def headers() -> dict[str, str]:
    principal = Principal(kind=TokenKind.OPERATOR, subject="operator:test", bundles=frozenset({ALL_BUNDLES}))
    return {"Authorization": f"Bearer {TokenMinter().mint(principal, 60)[0]}"}


@contextmanager
def serving(*arguments: str, context: ssl.SSLContext | None = None) -> Iterator[int]:
    """``parsegate serve`` with ``arguments`` on the database in use; its port, once it is ready."""
    port = free_port()
    process = subprocess.Popen([sys.executable, "-m", "parsegate.client.cli", "serve", "--port", str(port), *arguments])
    url = f"{'http' if context is None else 'https'}://127.0.0.1:{port}/ready"
    try:
        for _ in range(600):
            assert process.poll() is None
            with suppress(httpx.TransportError):
                if httpx.get(url, verify=context or True, trust_env=False).status_code == 200:
                    break
            time.sleep(0.1)
        yield port
    finally:
        process.terminate()
        process.wait(60)


def test_several_workers_are_refused_on_sqlite_and_serve_on_postgresql(
    airflow_database: AirflowDatabase, capsys: pytest.CaptureFixture[str]
) -> None:
    if airflow_database.kind == "sqlite":
        assert run(["--workers", "2"]) == 2
        assert "PostgreSQL" in capsys.readouterr().err
        return
    with serving("--workers", "2") as port:
        for _ in range(10):
            response = httpx.post(f"http://127.0.0.1:{port}/graphql", json=QUERY, headers=headers(), trust_env=False)
            assert response.json() == ANSWER
        # Whichever of them answers shows what all have counted.
        for _ in range(4):
            shown = httpx.get(f"http://127.0.0.1:{port}/metrics", headers=headers(), trust_env=False).text
            counted = "parsegate_operation_duration_seconds_count"
            assert value(samples(shown), counted, operation="__typename", result="ok") == 10


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--ssl-keyfile", "key.pem"], "--ssl-certfile"),
        (["--ssl-certfile", "/nowhere/cert.pem"], "/nowhere/cert.pem"),
    ],
)
def test_options_that_make_no_sense_are_told_plainly(
    airflow_database: AirflowDatabase, capsys: pytest.CaptureFixture[str], arguments: list[str], told: str
) -> None:
    assert run(arguments) == 2
    assert told in capsys.readouterr().err


def test_without_a_signing_key_it_does_not_start(
    airflow_database: AirflowDatabase, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AIRFLOW__API_AUTH__JWT_SECRET", "")
    assert run([]) == 2
    assert "jwt_secret" in capsys.readouterr().err


def test_a_setting_out_of_range_keeps_it_from_starting(
    airflow_database: AirflowDatabase, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AIRFLOW__PARSEGATE__MAX_ATTEMPTS", "0")
    assert run([]) == 2
    assert "max_attempts" in capsys.readouterr().err


def test_the_caller_cannot_say_where_it_comes_from() -> None:
    arguments = argparse.Namespace(
        host="127.0.0.1", port=1, workers=1, ssl_certfile=None, ssl_keyfile=None, ssl_ca_certs=None
    )
    assert uvicorn_options(arguments)["proxy_headers"] is False


def test_the_log_names_each_request_and_never_its_token(running_gateway: RunningGateway) -> None:
    token = running_gateway.operator_token()
    sent = {"Authorization": f"Bearer {token}", "X-Request-ID": "the-one"}
    response = httpx.post(running_gateway.url, json=QUERY, headers=sent, trust_env=False)
    assert response.headers["x-request-id"] == "the-one"
    assert "server" not in response.headers
    # The line is written when the answer is already on its way.
    deadline = time.monotonic() + 10
    while "the-one" not in running_gateway.log and time.monotonic() < deadline:
        time.sleep(0.05)
    assert "POST /graphql 200" in running_gateway.log
    assert token.rpartition(".")[2] not in running_gateway.log


def test_it_ends_cleanly_when_asked_to(airflow_database: AirflowDatabase, tmp_path: Path) -> None:
    gateway = RunningGateway(airflow_database, tmp_path)
    gateway.start()
    gateway.stop()
    assert "Traceback" not in gateway.log


@pytest.mark.usefixtures("airflow_database")
def test_tls_with_client_certificates(tls_files: TlsFiles) -> None:
    context = tls_files.client_context()
    arguments = ["--ssl-certfile", tls_files.server_certificate, "--ssl-keyfile", tls_files.server_key]
    with serving(*map(str, arguments), "--ssl-ca-certs", str(tls_files.authority), context=context) as port:
        url = f"https://127.0.0.1:{port}/graphql"
        answered = httpx.post(url, json=QUERY, headers=headers(), verify=context, trust_env=False)
        assert answered.json() == ANSWER
        without_certificate = ssl.create_default_context(cafile=str(tls_files.authority))
        with pytest.raises(httpx.TransportError):
            httpx.post(url, json=QUERY, headers=headers(), verify=without_certificate, trust_env=False)
        with pytest.raises(httpx.ConnectError):
            httpx.post(url, json=QUERY, headers=headers(), verify=ssl.create_default_context(), trust_env=False)
