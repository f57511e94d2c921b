"""OpenTelemetry spans from the request to the SQL, collected in memory: what they name, and what they never tell."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from airflow_database import AirflowDatabase
from dag_content import DagContent, FileContent
from gateway_app import Gateway
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from registered_processor import RegisteredProcessor, operation_documents
from sqlalchemy.exc import DBAPIError
from starlette.testclient import TestClient

from parsegate.gateway.app import create_app
from parsegate.gateway.request_spans import span
from parsegate.gateway.statement_spans import LONGEST, trace_statements
from parsegate.resolvers.database import airflow_engine, transaction

SECRET = "s3cr3t-that-no-span-may-hold"
TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT = f"00-{TRACE_ID}-b7ad6b7169203331-01"


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    """What a configured ``[traces]`` gives Airflow's processes, with an exporter that keeps what it gets."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    return exporter


@pytest.fixture
def traced(airflow_database: AirflowDatabase, exporter: InMemorySpanExporter) -> Iterator[Gateway]:
    gateway = Gateway(airflow_database)
    gateway.http = TestClient(create_app(), base_url="http://gateway")
    yield gateway
    gateway.close()


def told(spans: tuple[ReadableSpan, ...]) -> str:
    """Everything that is exported."""
    return "".join(span.to_json() for span in spans)


def children(spans: tuple[ReadableSpan, ...], parent: ReadableSpan) -> list[ReadableSpan]:
    assert parent.context is not None
    return [span for span in spans if span.parent is not None and span.parent.span_id == parent.context.span_id]


def test_a_trace_goes_from_the_agent_s_header_to_each_statement_and_tells_no_value(
    traced: Gateway, exporter: InMemorySpanExporter
) -> None:
    processor = RegisteredProcessor(traced)
    processor.sync("dags")
    file = FileContent("one.py", (DagContent("one", "daily"),)).parsed(Path("/bundles"), datetime.now(UTC))
    file = replace(file, sources={path: f"{text}\n# {SECRET}" for path, text in file.sources.items()})
    exporter.clear()
    body = [
        {"query": operation_documents()["RecordParseResults"], "variables": {"results": [file.as_input()]}},
        {"query": f'mutation Named {{ setVariable(input: {{key: "k", value: "{SECRET}"}}) {{ status }} }}'},
    ]
    response = traced.post(body, processor.token, traceparent=TRACEPARENT, x_request_id="request-1")
    assert response.json()[0]["data"]["recordParseResults"][0]["status"] == "ACCEPTED"
    spans = exporter.get_finished_spans()
    assert {format(span.context.trace_id, "032x") for span in spans if span.context} == {TRACE_ID}
    (request,) = (span for span in spans if span.kind is trace.SpanKind.SERVER)
    assert request.parent is not None
    assert format(request.parent.span_id, "016x") == TRACEPARENT.split("-")[2]
    assert dict(request.attributes or {}) == {
        "http.request.method": "POST",
        "url.path": "/graphql",
        "parsegate.request_id": "request-1",
        "http.response.status_code": 200,
    }
    recorded, set_variable = children(spans, request)
    assert (recorded.name, set_variable.name) == ("mutation recordParseResults", "mutation setVariable")
    assert (set_variable.attributes or {})["graphql.operation.name"] == "Named"
    (written,) = (
        span for span in children(spans, recorded) if (span.attributes or {})["parsegate.transaction.end"] == "commit"
    )
    texts = [str((span.attributes or {})["db.query.text"]) for span in children(spans, written)]
    assert any(text.startswith("INSERT INTO serialized_dag ") for text in texts)
    assert any(text.startswith("INSERT INTO parsegate_file ") for text in texts)
    assert max(map(len, texts)) == LONGEST + 1
    assert SECRET not in told(spans)


@pytest.mark.any_database
def test_an_error_is_told_by_its_class_alone(airflow_database: AirflowDatabase, exporter: InMemorySpanExporter) -> None:
    trace_statements(airflow_engine())
    with pytest.raises(DBAPIError, match=SECRET), span("request"), transaction() as session:
        session.connection().exec_driver_sql("INSERT INTO variable (nothing) VALUES (?)", (SECRET,))
    spans = exporter.get_finished_spans()
    assert {span.name: (span.attributes or {}).get("error.type") for span in spans} == {
        "BEGIN": None,
        "INSERT": "OperationalError",
        "transaction": None,
        "request": "OperationalError",
    } | {span.name: None for span in spans if span.name == "PRAGMA"}
    assert SECRET not in told(spans)


@pytest.mark.any_database
def test_statements_outside_of_traced_requests_make_no_spans(traced: Gateway, exporter: InMemorySpanExporter) -> None:
    assert traced.http.get("/ready").status_code == 200
    assert traced.http.get("/metrics", headers={"Authorization": f"Bearer {traced.operator_token()}"}).is_success
    traced.post({"query": "{ __typename }"}, traced.operator_token(), traceparent=TRACEPARENT[:-1] + "0")
    assert exporter.get_finished_spans() == ()


@pytest.mark.any_database
def test_a_subscription_s_span_ends_with_its_subscriber(
    traced: Gateway, exporter: InMemorySpanExporter, caplog: pytest.LogCaptureFixture
) -> None:
    processor = RegisteredProcessor(traced)
    processor.sync("dags")
    processor.send("ReconcileBundle", input={"bundleName": "dags", "files": [], "observedFilelocs": []})
    body = {"query": 'subscription { bundleVersionProgress(bundle: "dags") { state } }'}
    response = traced.post(body, traced.operator_token(), accept="text/event-stream")
    assert response.status_code == 200
    assert "event: complete" in response.text
    assert "subscription bundleVersionProgress" in {span.name for span in exporter.get_finished_spans()}
    assert "Failed to detach context" not in caplog.text


@pytest.mark.any_database
def test_nothing_is_installed_where_tracing_is_off(airflow_database: AirflowDatabase) -> None:
    gateway = Gateway(airflow_database)
    assert [middleware.cls.__name__ for middleware in gateway.app.user_middleware][:2] == ["RequestLog", "BodyLimit"]
    assert not airflow_engine().dispatch.before_cursor_execute
    gateway.close()
