"""The gateway inside a real ``airflow api-server``, and its status page inside Airflow's UI."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from airflow_database import AirflowDatabase
from browser import browser_tab
from parse_state_rows import add_bundle, add_dags, add_files, add_import_errors, dag_row, file_row
from running_gateway import RunningGateway, free_port

pytestmark = [pytest.mark.slow, pytest.mark.any_database]

PASSWORD = "correct horse"


class ApiServer:
    """``airflow api-server`` with parsegate mounted, until it is stopped."""

    def __init__(self, database: AirflowDatabase, directory: Path) -> None:
        passwords = directory / "passwords.json"
        passwords.write_text(json.dumps({"jane": PASSWORD}))
        settings = {
            "AIRFLOW__PARSEGATE__MOUNT_IN_API_SERVER": "True",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "jane:viewer",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
        }
        self.gateway = RunningGateway(database, directory, settings)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._log = directory / "api-server.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "airflow", "api-server", "--host", "127.0.0.1", "--port", str(self.port)],
                env=self.gateway.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        deadline = time.monotonic() + 120
        while not self._answers():
            assert self._process.poll() is None, self.log
            assert time.monotonic() < deadline, self.log
            time.sleep(0.2)
        self.http = httpx.Client(base_url=self.url, trust_env=False, timeout=30)

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def token(self) -> str:
        """Of Airflow's login."""
        answer = self.http.post("/auth/token", json={"username": "jane", "password": PASSWORD})
        assert answer.status_code == 201, answer.text
        return answer.json()["access_token"]

    def stop(self) -> None:
        self.http.close()
        self._process.terminate()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/api/v2/version", trust_env=False).status_code == 200
        except httpx.TransportError:
            return False


@pytest.fixture
def api_server(airflow_database: AirflowDatabase, tmp_path: Path) -> Iterator[ApiServer]:
    add_bundle("dags")
    add_files(file_row("broken.py", import_error_count=1), file_row("daily.py"))
    add_dags(dag_row("daily", "daily.py"))
    add_import_errors("broken.py")
    server = ApiServer(airflow_database, tmp_path)
    yield server
    server.stop()


def test_who_is_logged_in_to_airflow_reads_parse_state_in_its_ui(api_server: ApiServer, tmp_path: Path) -> None:
    http = api_server.http
    query = {"query": "{ files(first: 5) { nodes { relativeFileloc } } }"}
    mutation = {"query": 'mutation { requestParse(bundle: "dags") { status reason } }'}

    nobody = http.get("/parsegate/")
    assert nobody.status_code == 401
    assert "Log in to Airflow" in nobody.text

    token = api_server.token()
    bearer = {"Authorization": f"Bearer {token}"}
    paths = [
        node["relativeFileloc"]
        for node in http.post("/parsegate/graphql", json=query, headers=bearer).json()["data"]["files"]["nodes"]
    ]
    assert paths == ["broken.py", "daily.py"]
    own = {"Authorization": f"Bearer {api_server.gateway.operator_token()}"}
    assert http.post("/parsegate/graphql", json=query, headers=own).status_code == 200
    assert http.post("/parsegate/graphql", json=query, headers={"Authorization": "Bearer nonsense"}).status_code == 401
    assert "NOT_PERMITTED" in http.post("/parsegate/graphql", json=mutation, headers=bearer).text

    cookie = {"Cookie": f"_token={token}"}
    page = http.get("/parsegate/", headers=cookie)
    assert page.status_code == 200
    assert "broken.py" in page.text
    assert "frame-ancestors 'self'" in page.headers["content-security-policy"]
    assert page.headers["content-encoding"] == "identity"
    both = cookie | {"Authorization": "Bearer nonsense"}
    assert http.post("/parsegate/graphql", json=query, headers=both).status_code == 401
    foreign = http.post("/parsegate/graphql", json=query, headers=cookie)
    assert foreign.json()["errors"][0]["extensions"]["code"] == "CSRF_HEADER_REQUIRED"
    assert http.post("/parsegate/graphql", json=query, headers=cookie | {"X-Parsegate-CSRF": "1"}).status_code == 200
    assert http.get("/parsegate/login?code=x").status_code == 404

    with browser_tab(tmp_path) as tab:
        tab.open(f"{api_server.url}/auth/login")
        tab.set_cookie("_token", token, api_server.url)
        tab.open(f"{api_server.url}/plugin/parse-state")
        tab.wait_for("document.querySelector('iframe')?.contentDocument?.querySelector('#failing') != null")
        tab.wait_for("document.querySelector('iframe').contentDocument.body.innerText.includes('broken.py')")
        tab.wait_for("document.querySelector('iframe').contentDocument.querySelector('#live').innerText == 'Live'")
        # GraphiQL lets itself be shown in no frame, so there is no link to it in one.
        link = "document.querySelector('iframe').contentDocument.querySelector('#graphiql')"
        assert tab.value(f"{link}.hidden")
        tab.open(f"{api_server.url}/parsegate/graphql")
        tab.wait_for("document.body.innerText.includes('Logged in as airflow:jane')")
        assert "Log out" not in tab.text()

    assert "Traceback" not in api_server.log
