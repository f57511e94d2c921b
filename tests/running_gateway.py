"""A real ``parsegate serve`` in a process of its own, on the database under test."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from airflow_database import AIRFLOW_HOME, AirflowDatabase

PARSEGATE = [sys.executable, "-m", "parsegate.client.cli"]
READY_TIMEOUT = 60.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@dataclass
class RunningGateway:
    """Starts, stops and starts again, always at the same address.

    :param database: the database that it serves
    :param directory: for its log and the tokens minted with its keys
    :param settings: environment variables beyond the test process's own
    """

    database: AirflowDatabase
    directory: Path
    settings: dict[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    _process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/graphql"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def log_path(self) -> Path:
        return self.directory / "gateway.log"

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "AIRFLOW_HOME": str(AIRFLOW_HOME), **self.database.environment, **self.settings}

    @property
    def request_count(self) -> int:
        """Requests to ``/graphql`` that the access log tells of."""
        return len(re.findall(r"POST /graphql \d", self.log))

    def start(self) -> None:
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [*PARSEGATE, "serve", "--host", "127.0.0.1", "--port", str(self.port)],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        deadline = time.monotonic() + READY_TIMEOUT
        while True:
            try:
                if httpx.get(f"http://127.0.0.1:{self.port}/ready", trust_env=False).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            if self._process.poll() is not None or time.monotonic() > deadline:
                self._process.kill()
                self._process.wait()
                self._process = None
                raise RuntimeError(f"The gateway did not become ready:\n{self.log}")
            time.sleep(0.1)

    def stop(self) -> int:
        """End it as a supervisor would, with SIGTERM; its exit code."""
        assert self._process is not None
        process, self._process = self._process, None
        process.send_signal(signal.SIGTERM)
        try:
            return process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise

    @property
    def is_running(self) -> bool:
        return self._process is not None

    def mint(self, kind: str, path: Path, *options: str) -> str:
        """Have ``parsegate token`` write a token to ``path``; the token."""
        subprocess.run(
            [*PARSEGATE, "token", kind, "--out", str(path), *options],
            env=self.environment,
            check=True,
            capture_output=True,
            text=True,
        )
        return path.read_text().strip()

    def operator_token(self) -> str:
        """Minted in this process, which has the same keys: starting one for each token takes seconds."""
        from parsegate.gateway.tokens import TokenMinter
        from parsegate.resolvers.principal import ALL_BUNDLES, Principal, TokenKind

        bundles = frozenset({ALL_BUNDLES})
        principal = Principal(kind=TokenKind.OPERATOR, subject="operator:test", bundles=bundles, job_id=None)
        return TokenMinter().mint(principal, 3600)[0]

    def ask(self, document: str, variables: dict[str, Any] | None = None, token: str | None = None) -> dict[str, Any]:
        """The ``data`` of one operation, as the operator unless ``token`` is given."""
        answer = httpx.post(
            self.url,
            json={"query": document, "variables": variables or {}},
            headers={"Authorization": f"Bearer {token or self.operator_token()}"},
            timeout=30,
            trust_env=False,
        )
        body = json.loads(answer.content)
        assert "errors" not in body, body
        return body["data"]


@contextmanager
def running_gateway(database: AirflowDatabase, directory: Path, **settings: str) -> Iterator[RunningGateway]:
    gateway = RunningGateway(database, directory, settings)
    gateway.start()
    try:
        yield gateway
    finally:
        if gateway.is_running:
            gateway.stop()
