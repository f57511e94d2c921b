"""GraphiQL in a real browser that reaches the gateway and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import urlsplit

import dag_files
import pytest
from browser import Tab, browser_tab
from parse_state_rows import (
    LONG_AGO,
    add_bundle,
    add_claims,
    add_files,
    add_import_errors,
    add_processor,
    dag_callback,
    file_row,
    insert,
)
from running_gateway import RunningGateway
from running_processor import local_bundle, processor_of

from parsegate.gateway.graphiql_page import ASSETS
from parsegate.gateway.login_link import login_url
from parsegate.gateway.saved_queries import saved_queries
from parsegate.gateway.tokens import TokenMinter
from parsegate.resolvers.principal import ALL_BUNDLES, Principal, TokenKind
from parsegate.resolvers.tables import BundleVersion

pytestmark = [pytest.mark.slow, pytest.mark.any_database]

RESULT = "document.querySelector('.result-window').innerText"
ANSWERS = {
    "what-fails-now": "broken.py",
    "slowest-files": "slow.py",
    "is-my-version-in": "4f3c2d1",
    "who-is-alive": "host-7",
    "what-waits": "orders",
}
"""What is in the answer to each saved query, of the state below."""


@pytest.fixture(scope="module", autouse=True)
def state(gateway: RunningGateway) -> None:
    assert ASSETS.is_dir(), "GraphiQL's files are missing; scripts/bring-graphiql brings them, if npm can be reached."
    add_bundle("dags")
    add_processor(7)
    add_files(
        file_row("broken.py", import_error_count=1, dag_count=0, job_id=7),
        file_row("slow.py", parse_duration=12.5, job_id=7),
    )
    add_import_errors("broken.py")
    add_claims(dag_callback("orders"))
    version = {"bundle_name": "dags", "version": "4f3c2d1", "files": ["broken.py", "slow.py"], "file_count": 2}
    insert(BundleVersion, {**version, "first_seen_at": LONG_AGO, "last_seen_at": LONG_AGO})


def visited_hosts(tab: Tab) -> set[str]:
    return {urlsplit(url).netloc for url, _ in tab.responses if not url.startswith("data:")}


def refusals(tab: Tab) -> list[tuple[str, int]]:
    return [(url, status) for url, status in tab.responses if status >= 400]


def press_the_button(tab: Tab) -> None:
    # Before its style has come, the button is elsewhere.
    tab.wait_for("document.readyState === 'complete' && document.querySelector('button') !== null")
    tab.click("button")


def test_a_person_with_a_token_queries_without_the_internet(gateway: RunningGateway, tmp_path: Path) -> None:
    with browser_tab(tmp_path) as tab:
        token = gateway.operator_token()

        tab.open(gateway.url)
        tab.wait_for("document.querySelector('.graphiql-query-editor .CodeMirror') !== null")
        tab.wait_for("document.querySelector('.graphiql-execute-button') !== null")
        assert "parsegate token operator" in tab.text()
        assert "Not logged in" in tab.text()

        # The schema is asked for at once, which nobody may without a token; the answer says what to do.
        tab.wait_for(f"{RESULT}.includes('This needs a token')")
        tab.click(".graphiql-editor-tool .CodeMirror")
        tab.type(json.dumps({"Authorization": f"Bearer {token}"}))
        # With the token, the schema comes, and with it the explorer's fields.
        tab.click("[aria-label='Show Documentation Explorer']")
        tab.wait_for("document.body.innerText.includes('Root Types')")
        tab.click(".graphiql-execute-button")
        tab.wait_for(f"""{RESULT}.includes('"dags"')""")

        stored = tab.value("JSON.stringify(localStorage)")

    assert tab.failures == []
    assert visited_hosts(tab) == {f"127.0.0.1:{gateway.port}"}
    assert set(refusals(tab)) == {(gateway.url, 401)}
    assert [complaint for complaint in tab.complaints if "401" not in complaint] == []
    assert "bundles(first: 10)" in stored
    assert token not in stored


def test_a_person_logs_in_by_the_link_once_runs_the_saved_queries_and_watches(
    gateway: RunningGateway, home: Path, tmp_path: Path
) -> None:
    operator = Principal(kind=TokenKind.OPERATOR, subject="operator:jane", bundles=frozenset({ALL_BUNDLES}))
    link = login_url(gateway.url, TokenMinter().mint_login_code(operator, 3600)[0]) + "&next=/graphql"
    with browser_tab(tmp_path) as tab:
        tab.open(link)
        press_the_button(tab)
        tab.wait_for("document.querySelector('.saved-queries') !== null")
        tab.wait_for("document.body.innerText.includes('Logged in as operator:jane')")
        assert tab.value("document.cookie") == ""

        # The first one is there already.
        tab.wait_for("document.querySelector('.graphiql-query-editor').innerText.includes('WhatFailsNow')")
        # A single query has no tab; the others' tabs tell when GraphiQL has read the operation's name.
        shown = "(document.querySelector('.graphiql-tab-active') ?? document.querySelector('.CodeMirror')).innerText"
        assert {saved.name for saved in saved_queries()} == {*ANSWERS, "watch-parses"}
        for name, answer in ANSWERS.items():
            tab.click(f"[data-name='{name}']")
            operation = name.title().replace("-", "")
            tab.wait_for(f"{shown}.includes('{operation}')")
            tab.wait_for(f"!{RESULT}.includes('data')")
            tab.click(".graphiql-execute-button")
            tab.wait_for(f"{RESULT}.includes({json.dumps(answer)})")
            assert "errors" not in tab.value(RESULT)

        # A subscription, over a WebSocket that the cookie authenticates.
        tab.click("[data-name='watch-parses']")
        tab.wait_for(f"{shown}.includes('WatchParses')")
        tab.click(".graphiql-execute-button")
        tab.wait_for("document.querySelector('.graphiql-execute-button').ariaLabel.startsWith('Stop')")
        dag_files.write(home / "dags", just_parsed=dag_files.DAILY.format(dag_id="daily"))
        with processor_of(gateway, home, [local_bundle("dags", home / "dags")]) as processor:
            processor.run_once()
            tab.wait_for(f"{RESULT}.includes('just_parsed.py')")
        tab.screenshot(tmp_path / "graphiql.png")
        tab.click(".graphiql-execute-button")
        tab.wait_for("document.querySelector('.graphiql-execute-button').ariaLabel.startsWith('Execute')")
        assert refusals(tab) == []

        tab.click(".login-state button")
        tab.wait_for("document.body.innerText.includes('Not logged in')")

        tab.open(link)
        press_the_button(tab)
        tab.wait_for("document.body.innerText.includes('This link does not log in')")

    assert tab.failures == []
    assert visited_hosts(tab) == {f"127.0.0.1:{gateway.port}"}
    assert {status for _, status in refusals(tab)} == {401, 403}
    assert [complaint for complaint in tab.complaints if "401" not in complaint and "403" not in complaint] == []
