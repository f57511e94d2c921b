"""The processor's side of a trace, and the request id that both sides print."""

from __future__ import annotations

import json
import re
from typing import Any

from agent_process import StartAgent, eventually, parse_result
from faulty_gateway import Fault, FaultyGateway

from parsegate.client import protocol, spans

PARSES = [f"00-{number:032x}-{number:016x}-01" for number in (1, 2)]


def exported(log: str) -> list[dict[str, Any]]:
    """The spans that OpenTelemetry's console exporter wrote, between lines of the log."""
    return [json.loads(text) for text in re.findall(r"^\{$.*?^\}$", log, re.MULTILINE | re.DOTALL)]


def test_a_delivery_is_linked_to_its_parses_and_goes_on_in_the_gateway(
    start_agent: StartAgent, served: FaultyGateway
) -> None:
    agent = start_agent(traced=True, environment={"OTEL_TRACES_EXPORTER": "console"})
    agent.start("dags")
    for name, traceparent in zip("ab", PARSES, strict=True):
        agent.manager.send(parse_result(f"{name}.py", timed_out=True, traceparent=traceparent))
    agent.manager.expect(protocol.ResultSettled)
    agent.complete()
    assert agent.process.wait(30) == 0
    found = exported(agent.log)
    (delivery,) = (span for span in found if span["name"] == "deliver" and span["attributes"]["parsegate.results"] == 2)
    assert [link["context"]["trace_id"] for link in delivery["links"]] == ["0x" + p.split("-")[1] for p in PARSES]
    (request,) = (span for span in found if span["parent_id"] == delivery["context"]["span_id"])
    assert request["attributes"]["graphql.operations"] == ["RecordParseResults"]
    assert request["resource"]["attributes"]["service.name"] == "parsegate-agent"
    (received,) = served.asked("RecordParseResults")
    context = request["context"]
    assert received.headers["traceparent"].startswith(f"00-{context['trace_id'][2:]}-{context['span_id'][2:]}-")
    assert received.headers["x-request-id"] == request["attributes"]["parsegate.request_id"]


def test_without_tracing_no_header_is_sent_and_nothing_of_opentelemetry_imported(
    start_agent: StartAgent, served: FaultyGateway
) -> None:
    agent = start_agent(python=("-X", "importtime"))
    agent.start("dags")
    agent.complete()
    assert agent.process.wait(30) == 0
    assert not any("traceparent" in request.headers for request in served.requests)
    assert "opentelemetry" not in agent.log
    assert spans.parsed("dags", "a.py", 1.0, timed_out=False) is None


def test_an_exporter_that_is_not_installed_is_told_and_the_agent_works(start_agent: StartAgent) -> None:
    agent = start_agent(traced=True, environment={"OTEL_TRACES_EXPORTER": "nobody"})
    agent.start("dags")
    agent.complete()
    assert agent.process.wait(30) == 0
    assert agent.log_lines("Traces are on, but can't be exported")


def test_what_is_refused_is_told_with_the_id_of_its_request(start_agent: StartAgent, served: FaultyGateway) -> None:
    agent = start_agent()
    agent.start("dags")
    agent.manager.send(parse_result("../outside.py"))
    settled = agent.manager.expect(protocol.ResultSettled)
    assert (settled.status, settled.reason) == ("REFUSED", "INVALID_PATH")
    ids = [request.headers["x-request-id"] for request in served.asked("RecordParseResults")]
    assert settled.request_id in ids


def test_a_failing_gateway_is_told_with_the_id_of_the_request(start_agent: StartAgent, served: FaultyGateway) -> None:

    agent = start_agent()
    agent.start("dags")
    served.faults.append(Fault("Heartbeat", status=503, times=1000))
    (line, *_) = eventually(lambda: agent.log_lines("answers with status 503"))
    assert re.search(r"\(request [0-9a-f-]{36}\)\. Retrying\.", line)
