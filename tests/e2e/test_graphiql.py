"""GraphiQL in a real browser that reaches the gateway and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from airflow_database import AirflowDatabase
from browser import browser_tab
from running_gateway import running_gateway

from parsegate.gateway.graphiql_page import ASSETS

pytestmark = [pytest.mark.slow, pytest.mark.any_database]


def add_bundle(name: str) -> None:
    from airflow.models.dagbundle import DagBundleModel
    from airflow.utils.session import create_session

    with create_session() as session:
        session.add(DagBundleModel(name=name))


def test_a_person_with_a_token_queries_without_the_internet(airflow_database: AirflowDatabase, tmp_path: Path) -> None:
    assert ASSETS.is_dir(), "GraphiQL's files are missing; scripts/bring-graphiql brings them, if npm can be reached."
    add_bundle("seen-in-the-browser")
    with running_gateway(airflow_database, tmp_path) as gateway, browser_tab(tmp_path) as tab:
        token = gateway.operator_token()

        tab.open(gateway.url)
        tab.wait_for("document.querySelector('.graphiql-query-editor .CodeMirror') !== null")
        tab.wait_for("document.querySelector('.graphiql-execute-button') !== null")
        assert "parsegate token operator" in tab.text()

        # The schema is asked for at once, which nobody may without a token; the answer says what to do.
        tab.wait_for("document.querySelector('.result-window').innerText.includes('This needs a token')")
        tab.click(".graphiql-editor-tool .CodeMirror")
        tab.type(json.dumps({"Authorization": f"Bearer {token}"}))
        # With the token, the schema comes, and with it the explorer's fields.
        tab.click("[aria-label='Show Documentation Explorer']")
        tab.wait_for("document.body.innerText.includes('Root Types')")
        tab.click(".graphiql-execute-button")
        tab.wait_for("document.querySelector('.result-window').innerText.includes('seen-in-the-browser')")
        tab.screenshot(tmp_path / "graphiql.png")

        stored = tab.value("JSON.stringify(localStorage)")
        visited = {url for url, _ in tab.responses if not url.startswith("data:")}
        refused = [(url, status) for url, status in tab.responses if status >= 400]

    assert tab.failures == []
    assert {urlsplit(url).netloc for url in visited} == {f"127.0.0.1:{gateway.port}"}
    assert set(refused) == {(gateway.url, 401)}
    assert [complaint for complaint in tab.complaints if "401" not in complaint] == []
    assert "bundles(first: 10)" in stored
    assert token not in stored
