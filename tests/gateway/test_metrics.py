"""``/metrics`` and Airflow's own stats: what they tell of what was done, and who may know."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.callbacks.callback_requests import DagCallbackRequest
from airflow.models.callback import DagProcessorCallback
from airflow.models.dagbag import DagPriorityParsingRequest
from dag_content import DagContent, FileContent
from deliveries import fingerprint
from executed_statements import executed_statements
from gateway_app import Gateway
from registered_processor import RegisteredProcessor
from scraped_metrics import scrape, value
from sqlalchemy import event
from sqlalchemy.exc import OperationalError

from parsegate.gateway import metrics_page
from parsegate.resolvers.database import airflow_engine, transaction
from parsegate.resolvers.tables import Claim, ParsedFile


@pytest.fixture(autouse=True)
def _settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_page, "FRESH", 0.0)
    monkeypatch.setenv("AIRFLOW__CORE__MIN_SERIALIZED_DAG_UPDATE_INTERVAL", "0")


@pytest.fixture
def processor(gateway: Gateway) -> RegisteredProcessor:
    processor = RegisteredProcessor(gateway)
    assert processor.sync("dags")["status"] == "ACCEPTED"
    return processor


def parsed(name: str) -> Any:
    return FileContent(f"{name}.py", (DagContent(name, "daily"),)).parsed(Path("/bundles"), datetime.now(UTC))


def named(file: Any, **fields: Any) -> dict[str, Any]:
    """An ``UnchangedResultInput``."""
    return {
        "attemptId": str(uuid.uuid4()),
        "sequence": 2,
        "relativeFileloc": file.relative_fileloc,
        "fingerprint": fingerprint(file),
        "parseDuration": 0.5,
        **fields,
    }


def name_unchanged(processor: RegisteredProcessor, *items: dict[str, Any]) -> dict[str, Any]:
    batch = {"bundleName": "dags", "bundlePath": "/bundles/dags", "results": list(items)}
    return processor.send("RecordUnchangedResults", batches=[batch])


def deliver_one_of_each(processor: RegisteredProcessor) -> None:
    """Results that are stored (2), unchanged (1), wanted (1), timed out (1), refused (1), repeated (1)."""
    one, two = parsed("one"), parsed("two")
    first = one.as_input(fingerprint=fingerprint(one))
    processor.record(first, two.as_input())
    name_unchanged(processor, named(one), named(two))
    slow = parsed("slow")
    processor.record(
        slow.as_input(timedOut=True, dags=[], importErrors=[], warnings=[], sources=[]),
        replace(parsed("foreign"), bundle_name="no-such-bundle").as_input(),
        two.as_input(sequence=3, attemptId="00000000-0000-4000-8000-000000000001"),
    )
    processor.record(two.as_input(sequence=3, attemptId="00000000-0000-4000-8000-000000000001"))


def test_parse_results_are_counted_by_what_became_of_them(processor: RegisteredProcessor) -> None:
    before = scrape(processor.gateway)
    deliver_one_of_each(processor)
    after = scrape(processor.gateway)

    def grown(name: str, **labels: str) -> float:
        return value(after, name, **labels) - value(before, name, **labels)

    results = "parsegate_parse_results_total"
    assert grown(results, outcome="stored", reason="", bundle="dags") == 3
    assert grown(results, outcome="unchanged", reason="", bundle="dags") == 1
    assert grown(results, outcome="timed_out", reason="", bundle="dags") == 1
    assert grown(results, outcome="repeated", reason="", bundle="dags") == 1
    # A name that is nobody's bundle is whatever the caller likes: it is no label.
    assert grown(results, outcome="refused", reason="UNKNOWN_BUNDLE", bundle="") == 1
    assert "no-such-bundle" not in str(after)
    assert grown("parsegate_fingerprints_total", answer="recognized") == 1
    assert grown("parsegate_fingerprints_total", answer="wanted") == 1
    counted = "parsegate_operation_duration_seconds_count"
    assert grown(counted, operation="recordParseResults", result="ok") == 3
    assert grown(counted, operation="recordUnchangedResults", result="ok") == 1


def test_levels_are_those_of_the_database(processor: RegisteredProcessor) -> None:
    deliver_one_of_each(processor)
    old = datetime.now(UTC) - timedelta(hours=1)
    request = DagCallbackRequest(
        filepath="one.py",
        bundle_name="dags",
        bundle_version=None,
        dag_id="one",
        run_id="r",
        is_failure_callback=True,
        msg="",
    )
    with transaction() as session:
        callback = DagProcessorCallback(priority_weight=1, callback=request)
        callback.created_at = old
        session.add(callback)
        session.add(DagPriorityParsingRequest("dags", "one.py"))
        session.add(Claim(id="c", kind="CALLBACK", state="PARKED", bundle_name="dags", payload={}, created_at=old))
        session.get_one(ParsedFile, ("dags", "one.py")).last_parsed_at = old
    parsing = [{"bundleName": "dags", "relativeFileloc": "one.py"}]
    processor.send("Heartbeat", activity={"parsing": parsing, "queuedFiles": 7, "undeliveredResults": 3})
    found = scrape(processor.gateway)
    assert value(found, "parsegate_database_up") == 1
    assert value(found, "parsegate_claims", kind="CALLBACK", state="UNCLAIMED") == 1
    assert value(found, "parsegate_claims", kind="CALLBACK", state="PARKED") == 1
    assert value(found, "parsegate_claims", kind="PARSE_REQUEST", state="UNCLAIMED") == 1
    assert 3600 <= value(found, "parsegate_oldest_claim_age_seconds", kind="CALLBACK", state="UNCLAIMED") < 7200
    assert value(found, "parsegate_processors", state="alive") == 1
    assert value(found, "parsegate_processors", state="silent") == 0
    one = {"job_id": str(processor.job_id), "hostname": "processor-1.example.com"}
    assert value(found, "parsegate_processor_undelivered_results", **one) == 3
    assert value(found, "parsegate_processor_queued_files", **one) == 7
    assert value(found, "parsegate_processor_parsing_files", **one) == 1
    assert value(found, "parsegate_files", bundle="dags", status="STORED") == 2
    assert value(found, "parsegate_files", bundle="dags", status="TIMED_OUT") == 1
    assert 3600 <= value(found, "parsegate_oldest_parse_age_seconds", bundle="dags") < 7200
    assert value(found, "parsegate_slowest_file_seconds", bundle="dags") == 0.5


@pytest.mark.any_database
def test_only_who_may_see_all_bundles_may_scrape(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    def status(gateway: Gateway, token: str | None) -> int:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        return gateway.http.get("/metrics", headers=headers).status_code

    assert status(gateway, None) == 401
    assert status(gateway, "garbage") == 401
    assert status(gateway, gateway.job_token(1)) == 403
    assert status(gateway, gateway.operator_token(["dags"])) == 403
    assert status(gateway, gateway.operator_token()) == 200
    assert (
        gateway.http.post("/metrics", headers={"Authorization": f"Bearer {gateway.operator_token()}"}).status_code
        == 405
    )
    monkeypatch.setenv("AIRFLOW__PARSEGATE__METRICS_OPEN", "True")
    open_gateway = Gateway(gateway.database)
    assert status(open_gateway, None) == 200
    open_gateway.close()


@pytest.mark.any_database
def test_refused_tokens_are_counted_by_reason(gateway: Gateway) -> None:
    before = scrape(gateway)
    document = {"query": "{ __typename }"}
    gateway.post(document)
    gateway.post(document, "garbage")
    gateway.post(document, gateway.operator_token(lifetime=-60))
    gateway.post(document, gateway.operator_token()[:-8] + "AAAAAAAA")
    gateway.execute("mutation { purgeInactiveDagWarnings { status } }", token=gateway.operator_token())
    after = scrape(gateway)
    grown = {
        dict(labels)["reason"]: after[name, labels] - before.get((name, labels), 0)
        for name, labels in after
        if name == "parsegate_tokens_refused_total"
    }
    assert {reason: count for reason, count in grown.items() if count} == {
        "missing": 1,
        "malformed": 1,
        "expired": 1,
        "wrong_signature": 1,
        "other_kind": 1,
    }


@pytest.mark.any_database
def test_what_callers_call_things_makes_no_series(gateway: Gateway) -> None:
    token = gateway.operator_token()
    for document in (
        "query Invented { mine: bundles(first: 1) { totalCount } }",
        "query { a: __typename b: __typename }",
        "query { nonsense }",
        "nonsense",
    ):
        gateway.execute(document, token=token)
    gateway.http.get("/invented/path")
    found = str(scrape(gateway))
    for invented in ("Invented", "mine", "nonsense", "invented"):
        assert invented not in found, invented


@pytest.mark.any_database
def test_the_database_is_asked_once_for_many_scrapes_and_never_on_the_loop(
    processor: RegisteredProcessor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics_page, "FRESH", 60.0)
    gateway = Gateway(processor.gateway.database)
    with executed_statements() as statements:
        for _ in range(3):
            scrape(gateway)
    assert 0 < len(statements) <= 7, statements
    gateway.close()


@pytest.mark.any_database
def test_without_a_database_the_counts_are_still_told(gateway: Gateway) -> None:
    def refuse(*_: object) -> None:
        raise OperationalError("SELECT", None, Exception("gone"))

    event.listen(airflow_engine(), "before_cursor_execute", refuse)
    try:
        found = scrape(gateway)
    finally:
        event.remove(airflow_engine(), "before_cursor_execute", refuse)
    assert value(found, "parsegate_database_up") == 0
    assert not any(name == "parsegate_files" for name, _ in found)
    assert any(name == "parsegate_http_requests_total" for name, _ in found)
