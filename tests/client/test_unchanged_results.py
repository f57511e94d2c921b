"""Unchanged results in front of the real gateway: what is named, what is sent, in which requests, and how it fails."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from agent_process import StartAgent, parse_result
from dag_content import DagContent, FileContent
from faulty_gateway import Fault, FaultyGateway
from scheduler_work import leave_parse_requests, stored_claims

from parsegate.client import protocol
from parsegate.client.agent_delivery import LIMITS

ENDLESS = 3600.0
"""A gather time that no test waits for."""


def result(file: str = "a.py", comment: str = "", *, sequence: int = 1, **fields: Any) -> protocol.ParseResult:
    """An attempt at a file with one DAG, named like the file."""
    content = FileContent(file, (DagContent(file.removesuffix(".py")),), comment=comment)
    parsed = content.parsed(Path("/bundles"), datetime(2026, 3, 1, tzinfo=UTC))
    dags = [
        protocol.SerializedDagDocument(document=dag["data"], last_loaded=datetime.now(UTC))
        for dag in parsed.result["serialized_dags"]
    ]
    return parse_result(file, sequence=sequence, dags=dags, sources=parsed.sources, **fields)


def requests(served: FaultyGateway) -> list[dict[str, list[str]]]:
    """Of each request, the files by operation: ``unchanged`` and ``in full``; operations without files but named."""
    found: list[dict[str, list[str]]] = []
    for request in served.requests:
        files: dict[str, list[str]] = {}
        for operation in request.operations:
            if operation == "RecordUnchangedResults":
                batches = request.variables(operation)["batches"]
                files["unchanged"] = [item["relativeFileloc"] for batch in batches for item in batch["results"]]
            elif operation == "RecordParseResults":
                files["in full"] = [item["relativeFileloc"] for item in request.variables(operation)["results"]]
            elif operation in ("ReconcileBundle", "DeactivateStaleDags", "AcknowledgeCallbacks"):
                files[operation] = []
        if files:
            found.append(files)
    return found


def recorded() -> dict[str, str]:
    """The attempt that the ledger has of each file."""
    from sqlalchemy import select

    from parsegate.resolvers.database import reading
    from parsegate.resolvers.tables import ParsedFile

    with reading() as session:
        return {row.relative_fileloc: row.attempt_id for row in session.scalars(select(ParsedFile))}


def answer(operation: str, data: dict[str, Any] | None, code: str = "INTERNAL") -> bytes:
    if data is None:
        return json.dumps([{"errors": [{"message": "no", "extensions": {"code": code}}]}]).encode()
    empty = {"reason": None, "message": None, "recordedCount": 0, "recordedAt": None, "wanted": []}
    return json.dumps([{"data": {operation: {**empty, **data}}}]).encode()


def test_a_result_is_named_sent_when_wanted_and_sent_at_once_when_it_changed(
    served: FaultyGateway, start_agent: StartAgent
):
    agent = start_agent()
    agent.start("dags")
    attempts = [result("a.py", comment, sequence=number) for number, comment in enumerate(["", "", "new", "new"])]
    for attempt in attempts:
        agent.manager.send(attempt)
        settled = agent.manager.expect(protocol.ResultSettled)
        assert (settled.attempt_id, settled.status) == (attempt.attempt_id, "ACCEPTED")
        assert recorded() == {"a.py": attempt.attempt_id}
    assert requests(served) == [
        {"unchanged": ["a.py"]},  # nobody knows: perhaps another processor has stored it
        {"in full": ["a.py"]},
        {"unchanged": ["a.py"]},
        {"in full": ["a.py"]},  # what the agent knows to have changed it does not name first
        {"unchanged": ["a.py"]},
    ]


def test_a_processor_that_starts_anew_sends_nothing_again(served: FaultyGateway, start_agent: StartAgent):
    for sequence in (1, 2):
        agent = start_agent(gather_time=0.5)
        agent.start("dags")
        for file in ("a.py", "b.py"):
            agent.manager.send(result(file, sequence=sequence))
        agent.manager.send(parse_result("broken.py", sequence=sequence, import_errors={"broken.py": "Traceback"}))
        for _ in range(3):
            assert agent.manager.expect(protocol.ResultSettled).status == "ACCEPTED"
        agent.complete()
    files = ["a.py", "b.py", "broken.py"]
    assert requests(served) == [{"unchanged": files}, {"in full": files}, {"unchanged": files}]


def test_an_unchanged_result_answers_a_parse_request_at_once(served: FaultyGateway, start_agent: StartAgent):
    agent = start_agent(gather_time=0.0)
    agent.start("dags")
    agent.manager.send(result())
    agent.manager.expect(protocol.ResultSettled)
    agent.kill()
    leave_parse_requests("a.py")
    agent = start_agent(gather_time=ENDLESS)
    agent.start("dags")
    (lease,) = agent.manager.expect(protocol.ParseRequestsLeased).leases
    agent.manager.send(result(sequence=2, lease_ids=[lease.lease_id]))
    assert agent.manager.expect(protocol.ResultSettled).status == "ACCEPTED"
    assert requests(served)[-1] == {"unchanged": ["a.py"]}
    assert not stored_claims()


def test_a_refused_result_is_sent_in_full_at_once_the_next_time(served: FaultyGateway, start_agent: StartAgent):
    agent = start_agent()
    agent.start("dags")
    for sequence in (1, 2):
        agent.manager.send(parse_result("../escape.py", sequence=sequence))
        assert agent.manager.expect(protocol.ResultSettled).reason == "INVALID_PATH"
    escape = ["../escape.py"]
    assert requests(served) == [{"unchanged": escape}, {"in full": escape}, {"in full": escape}]


def test_a_result_that_the_gateway_would_not_know_again_is_sent_in_full_at_once(
    served: FaultyGateway, start_agent: StartAgent
):
    agent = start_agent()
    agent.start("dags")
    warnings = [{"dag_id": "elsewhere", "warning_type": "non-existent pool", "message": "No such pool."}]
    for sequence in (1, 2):
        agent.manager.send(result(sequence=sequence, warnings=warnings))
        assert agent.manager.expect(protocol.ResultSettled).status == "ACCEPTED"
    assert requests(served) == [{"unchanged": ["a.py"]}, {"in full": ["a.py"]}, {"in full": ["a.py"]}]


def test_an_answer_that_was_lost_loses_nothing(served: FaultyGateway, start_agent: StartAgent):
    agent = start_agent()
    agent.start("dags")
    agent.manager.send(result())
    agent.manager.expect(protocol.ResultSettled)
    served.faults.append(Fault("RecordUnchangedResults", runs=True, times=2))
    again = result(sequence=2)
    agent.manager.send(again)
    assert agent.manager.expect(protocol.ResultSettled).attempt_id == again.attempt_id
    assert requests(served)[2:] == [{"unchanged": ["a.py"]}] * 3
    assert recorded() == {"a.py": again.attempt_id}


@pytest.mark.parametrize(
    "failure",
    [
        answer("recordUnchangedResults", {"status": "FAILED", "message": "made to fail"}),
        answer("recordUnchangedResults", None),
        answer("recordUnchangedResults", {"status": "ACCEPTED", "wanted": None}),
    ],
    ids=["failed", "fault", "nonsense"],
)
def test_results_that_can_not_be_recorded_as_unchanged_are_sent_in_full(
    failure: bytes, served: FaultyGateway, start_agent: StartAgent
):
    agent = start_agent(gather_time=0.5)
    agent.start("dags")
    served.faults += [Fault("RecordUnchangedResults", status=200, answer=failure) for _ in range(2)]
    for file in ("a.py", "b.py"):
        agent.manager.send(result(file))
    for _ in range(2):
        assert agent.manager.expect(protocol.ResultSettled).status == "ACCEPTED"
    files = ["a.py", "b.py"]
    assert requests(served) == [{"unchanged": files}, {"unchanged": files}, {"in full": files}]
    assert set(recorded()) == set(files)


def test_nothing_overtakes_a_result_that_turns_out_to_be_wanted(served: FaultyGateway, start_agent: StartAgent):
    agent = start_agent(gather_time=ENDLESS)
    agent.start("dags")
    agent.manager.send(result("a.py"))
    agent.manager.send(protocol.FilesObserved(bundle_name="dags", files=["a.py"], observed_filelocs=["a.py"]))
    agent.manager.expect(protocol.ResultSettled)
    assert requests(served)[:2] == [{"unchanged": ["a.py"]}, {"in full": ["a.py"], "ReconcileBundle": []}]


def test_a_gateway_that_is_too_old_for_it_gets_everything_in_full(served: FaultyGateway, start_agent: StartAgent):
    agent = start_agent(gather_time=0.5)
    agent.start("dags")
    unknown = answer("recordUnchangedResults", None, "GRAPHQL_VALIDATION_FAILED")
    served.faults.append(Fault("RecordUnchangedResults", status=200, answer=unknown))
    for sequence in (1, 2):
        for file in ("a.py", "b.py"):
            agent.manager.send(result(file, sequence=sequence))
        for _ in range(2):
            assert agent.manager.expect(protocol.ResultSettled).status == "ACCEPTED"
    files = ["a.py", "b.py"]
    assert requests(served) == [{"unchanged": files}, {"in full": files}, {"in full": files}]
    sent = [
        item
        for request in served.asked("RecordParseResults")
        for item in request.variables("RecordParseResults")["results"]
    ]
    assert not any("fingerprint" in item for item in sent), "it would not know the field"
    assert len(agent.log_lines("WARNING.*unchanged results")) == 1


def test_results_are_gathered_until_something_else_has_to_go(served: FaultyGateway, start_agent: StartAgent):
    agent = start_agent(gather_time=ENDLESS)
    agent.start("dags")
    agent.manager.expect(protocol.BundleStates)
    for number, urgent in enumerate([protocol.Flush(), protocol.CallbackSettled(lease_id="none", outcome="RAN")]):
        agent.manager.send(result("a.py", sequence=number))
        time.sleep(0.3)
        agent.manager.send(protocol.BundleRefreshed(bundle_name="dags", last_refreshed=datetime.now(UTC), version=None))
        time.sleep(0.3)
        agent.manager.send(result("b.py", sequence=number))
        agent.manager.send(urgent)
        for _ in range(2):
            agent.manager.expect(protocol.ResultSettled)
    assert [next(iter(request.values())) for request in requests(served)] == [["a.py", "b.py"]] * 3
    assert len(served.asked("UpdateBundleStates")) == 2


def test_what_says_the_same_waits_longer_than_what_may_be_new(served: FaultyGateway, start_agent: StartAgent):
    agent = start_agent(gather_time=0.2, unchanged_gather_time=ENDLESS)
    agent.start("dags")
    agent.manager.send(result())
    agent.manager.expect(protocol.ResultSettled)
    agent.manager.send(result(sequence=2))
    time.sleep(0.5)
    agent.manager.send(result("b.py"))
    for _ in range(2):
        agent.manager.expect(protocol.ResultSettled)
    assert requests(served)[2:] == [{"unchanged": ["a.py", "b.py"]}, {"in full": ["b.py"]}]


def test_a_full_batch_waits_for_nothing(served: FaultyGateway, start_agent: StartAgent):
    agent = start_agent(gather_time=ENDLESS)
    agent.start("dags")
    files = [f"{number}.py" for number in range(LIMITS.others)]
    for file in files:
        agent.manager.send(parse_result(file, timed_out=True))
        if file == files[0]:
            time.sleep(0.3)  # now the agent waits for more
    for _ in files:
        agent.manager.expect(protocol.ResultSettled)
    assert requests(served) == [{"in full": files}]


def test_what_was_gathered_is_delivered_at_the_end(served: FaultyGateway, start_agent: StartAgent):
    agent = start_agent(gather_time=ENDLESS)
    agent.start("dags")
    agent.manager.send(result())
    assert agent.complete().undelivered == 0
    assert set(recorded()) == {"a.py"}


def test_the_gateway_takes_as_many_as_are_sent():
    from parsegate.gateway.settings import MAX_BATCH_OPERATIONS
    from parsegate.schema.parse_results import MAX_RESULTS

    assert LIMITS.unchanged <= MAX_RESULTS
    assert LIMITS.others < MAX_BATCH_OPERATIONS.default
