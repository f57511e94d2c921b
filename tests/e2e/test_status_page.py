"""The status page in a real browser, while a real gateway serves it."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from airflow_database import AirflowDatabase
from browser import Tab, browser_tab
from parse_state_rows import (
    add_bundle,
    add_callbacks,
    add_claims,
    add_dags,
    add_files,
    add_processor,
    add_warnings,
    dag_callback,
    dag_row,
    file_row,
    insert,
)
from running_gateway import RunningGateway, running_gateway

from parsegate.gateway.login_link import login_url
from parsegate.gateway.tokens import TokenMinter
from parsegate.resolvers.principal import ALL_BUNDLES, Principal, TokenKind

pytestmark = [pytest.mark.slow, pytest.mark.any_database]

AXE = Path(__file__).parents[2] / ".cache" / "node" / "axe" / "node_modules" / "axe-core" / "axe.min.js"
LOOKS: dict[str, Any] = {
    "light": {"width": 1100, "height": 860},
    "dark": {"width": 1100, "height": 860, "dark": True},
    "phone": {"width": 390, "height": 844},
}
ACTIVITY = {
    "parsing": [["dags", "ingest/new.py"], ["dags", "ingest/newer.py"]],
    "queuedFiles": 3,
    "undeliveredResults": 0,
}
TRACEBACK = """Traceback (most recent call last):
  File "/bundles/dags/finance/ledger.py", line 3, in <module>
    from finance.rates import daily_rate
ModuleNotFoundError: No module named 'finance.rates'
"""


def parses(*seconds: float, status: str = "STORED") -> list[list[Any]]:
    """The column ``recent_parses``, the newest first; a negative time stands for a parse that timed out."""
    now = datetime.now(UTC)
    return [
        [(now - timedelta(minutes=index)).isoformat(), abs(each), "TIMED_OUT" if each < 0 else status, "8f2c41d9", 1]
        for index, each in enumerate(seconds)
    ]


def busy_state() -> None:
    """What a deployment might look like on a bad day."""
    from airflow.models.errors import ParseImportError
    from sqlalchemy import update

    from parsegate.resolvers.database import transaction
    from parsegate.resolvers.tables import BundleVersion, Processor

    now = datetime.now(UTC)
    add_bundle("dags", version="8f2c41d93b7e", last_refreshed=now - timedelta(seconds=40))
    add_bundle("reports", last_refreshed=now - timedelta(seconds=50))
    paths = [f"{team}/{name}.py" for team in ("finance", "ingest") for name in ("daily", "hourly", "weekly", "close")]
    common = {"bundle_version": "8f2c41d93b7e", "last_stored_at": now}
    add_files(
        file_row(
            "finance/ledger.py",
            import_error_count=1,
            dag_count=0,
            parse_duration=0.31,
            last_parsed_at=now - timedelta(seconds=12),
            recent_parses=parses(0.31, 0.33, 0.3, 0.29),
            **common,
        ),
        file_row(
            "ingest/crawl.py",
            status="TIMED_OUT",
            message="Parsing was ended after 50 seconds.",
            parse_duration=50.0,
            last_parsed_at=now - timedelta(minutes=2),
            recent_parses=parses(-50, 31, 22, 18, 14, 9, 4, 2.5),
            **common,
        ),
        *(
            file_row(
                path,
                parse_duration=0.2 + index / 7,
                last_parsed_at=now - timedelta(seconds=9 * index),
                warning_count=int(path == "ingest/weekly.py"),
                recent_parses=parses(*(0.2 + (index * step) % 5 / 7 for step in range(1, 11))),
                **common,
            )
            for index, path in enumerate(paths)
        ),
        file_row("revenue.py", "reports", parse_duration=0.44, last_parsed_at=now, recent_parses=parses(0.44, 0.4)),
    )
    insert(
        ParseImportError,
        {"bundle_name": "dags", "filename": "finance/ledger.py", "stacktrace": TRACEBACK, "timestamp": now},
    )
    insert(
        BundleVersion,
        {
            "bundle_name": "dags",
            "version": "8f2c41d93b7e",
            "files": ["finance/ledger.py", "ingest/crawl.py", *paths, "ingest/new.py", "ingest/newer.py"],
            "file_count": 12,
            "first_seen_at": now - timedelta(minutes=10),
            "last_seen_at": now,
        },
    )
    add_processor(1, ["*"], hostname="parser-1", start_date=now - timedelta(hours=5))
    add_processor(2, ["*"], hostname="parser-2", start_date=now - timedelta(days=2))
    add_processor(
        3,
        ["reports"],
        hostname="parser-0",
        latest_heartbeat=now - timedelta(minutes=42),
        start_date=now - timedelta(days=3),
    )
    add_dags(*(dag_row(path.replace("/", "_").removesuffix(".py"), path) for path in [*paths, "ingest/crawl.py"]))
    add_dags(dag_row("revenue", "revenue.py", "reports"))
    add_warnings("ingest_weekly")
    with transaction() as session:
        session.execute(update(Processor).where(Processor.job_id == 1).values(activity=ACTIVITY, activity_at=now))
    add_callbacks(dag_callback("close", run_id="scheduled__2026-03-01"), created_at=now - timedelta(seconds=20))
    add_claims(
        dag_callback("crawl", run_id="manual__2026-02-28"),
        state="PARKED",
        attempts=5,
        message="Its DAG was not found in 5 attempts.",
        created_at=now - timedelta(hours=3),
    )


def parsed_again(path: str, **columns: Any) -> None:
    from sqlalchemy import update

    from parsegate.resolvers.database import transaction
    from parsegate.resolvers.tables import ParsedFile

    with transaction() as session:
        session.execute(
            update(ParsedFile)
            .where(ParsedFile.relative_fileloc == path)
            .values(last_parsed_at=datetime.now(UTC), attempt_id=str(uuid4()), **columns)
        )


def log_in(gateway: RunningGateway, tab: Tab) -> None:
    operator = Principal(kind=TokenKind.OPERATOR, subject="operator:jane", bundles=frozenset({ALL_BUNDLES}))
    tab.open(login_url(gateway.url, TokenMinter().mint_login_code(operator, 3600)[0]))
    tab.wait_for("document.querySelector('button') !== null && document.readyState === 'complete'")
    # Nothing happens every now and then: what changes in the page does so because of an event.
    tab.run_before_each_page("window.setInterval = () => 0")
    tab.click("button")
    tab.wait_for("document.querySelector('#file-list') !== null && document.readyState === 'complete'")


def violations(tab: Tab) -> list[str]:
    """What axe-core finds wrong with the page as it is, as rule and place."""
    tab.value(f"{AXE.read_text(encoding='utf-8')}; true")
    found = tab.value("axe.run().then(({violations}) => violations)")
    return [f"{each['id']}: {node['html']} {node['failureSummary']}" for each in found for node in each["nodes"]]


def test_an_operator_watches_parsing_in_a_browser(airflow_database: AirflowDatabase, tmp_path: Path) -> None:
    assert AXE.is_file(), "axe-core is missing; the scripts bring it, if npm can be reached."
    busy_state()
    with running_gateway(airflow_database, tmp_path) as gateway, browser_tab(tmp_path) as tab:
        log_in(gateway, tab)
        backgrounds: set[str] = set()
        for name, look in LOOKS.items():
            tab.look_like(**look)
            backgrounds.add(tab.value("getComputedStyle(document.body).backgroundColor"))
            assert violations(tab) == [], name
            assert tab.value("document.documentElement.scrollWidth <= window.innerWidth"), name
            tab.screenshot(tmp_path / f"status-{name}.png")

        assert len(backgrounds) == 2

        # By keyboard: past the navigation into the page, and an error's text opened.
        tab.press("Tab", 9)
        assert tab.value("document.activeElement.className") == "skip"
        tab.press("Enter", 13)
        assert tab.value("document.activeElement.id") == "main"
        tab.wait_for("document.querySelector('#live').innerText === 'Live'")
        tab.value("document.querySelector('#failing summary').focus()")
        tab.press("Enter", 13)
        assert tab.value("document.querySelector('#failing details').open")
        untouched = "document.querySelector('#processors tbody tr')"
        tab.value(f"{untouched}.marked = true")

        # A file that was fine fails, and another that fails is parsed again.
        for _ in range(60):
            # Again and again, since events tell of what happens after the gateway began to look.
            parsed_again("finance/ledger.py", parse_duration=0.77)
            parsed_again("finance/daily.py", status="TIMED_OUT", message="Parsing was ended after 50 seconds.")
            time.sleep(0.5)
            if tab.value("document.querySelector('#announcement').innerText === '3 files fail now.'"):
                break

        failing = tab.value("document.querySelector('#failing').innerText")
        assert "finance/daily.py" in failing
        assert "0.77 s" in failing
        assert tab.value("document.querySelector('#failing details').open")
        assert tab.value("document.activeElement === document.querySelector('#failing summary')")
        assert tab.value(f"{untouched}.marked")

        # Narrowed by the form, as it is without a script.
        tab.value("document.querySelector('input[name=path]').value = 'ingest/'")
        tab.value("document.querySelector('#files form button').click()")
        tab.wait_for("location.search.includes('path=ingest')")
        tab.wait_for("document.querySelector('#files-caption')?.innerText === '5 files'")

        tab.value("document.querySelector('form[action=logout] button').click()")
        tab.wait_for("document.body.innerText.includes('Logged out')")

    assert tab.failures == []
    assert tab.complaints == []
    assert {urlsplit(url).netloc for url, _ in tab.responses} == {f"127.0.0.1:{gateway.port}"}
