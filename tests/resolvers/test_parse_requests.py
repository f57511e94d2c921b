"""Priority parse requests move from Airflow's table into leases, and end with the result of the parse."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from gateway_app import Gateway
from registered_processor import RegisteredProcessor
from scheduler_work import (
    dag_callback,
    expire,
    leave_callbacks,
    leave_parse_requests,
    left_callbacks,
    left_parse_requests,
    stored_claims,
)


def claim(processor: RegisteredProcessor, claim_id: str | None = None, limit: int = 10) -> list[dict[str, Any]]:
    payload = processor.send("ClaimParseRequests", input={"claimId": claim_id or str(uuid.uuid4()), "limit": limit})
    assert payload["status"] == "ACCEPTED", payload
    return payload["leases"]


def release(processor: RegisteredProcessor, *lease_ids: str) -> list[tuple[str, Any]]:
    outcomes = processor.send("ReleaseParseRequests", leaseIds=list(lease_ids))
    return [(item["status"], item["reason"]) for item in outcomes]


def paths(leases: list[dict[str, Any]]) -> list[str]:
    return sorted(lease["relativeFileloc"] for lease in leases)


def broken_file(path: str, lease_ids: list[str]) -> dict[str, Any]:
    """A ``ParseResultInput`` of a file that cannot be imported."""
    return {
        "attemptId": str(uuid.uuid4()),
        "sequence": 1,
        "bundleName": "dags",
        "bundlePath": "/bundles/dags",
        "relativeFileloc": path,
        "parseDuration": 0.1,
        "dags": [],
        "importErrors": [{"relativeFileloc": path, "stacktrace": "SyntaxError"}],
        "warnings": [],
        "sources": [],
        "leaseIds": lease_ids,
    }


@pytest.fixture
def processor(gateway: Gateway) -> RegisteredProcessor:
    processor = RegisteredProcessor(gateway)
    processor.sync("dags", "other")
    return processor


def test_a_claimed_request_leaves_airflow_s_table(processor):
    leave_parse_requests("a.py", "sub/b.zip")

    leases = claim(processor)

    assert paths(leases) == ["a.py", "sub/b.zip"]
    assert {(lease["bundleName"], lease["attempt"]) for lease in leases} == {("dags", 1)}
    assert left_parse_requests() == []
    assert claim(processor) == []


def test_no_more_than_the_limit_leave_it(processor):
    leave_parse_requests("a.py", "b.py", "c.py")

    first = claim(processor, limit=2)

    assert len(left_parse_requests()) == 1
    assert paths(first + claim(processor, limit=2)) == ["a.py", "b.py", "c.py"]


def test_a_request_ends_with_the_result_of_its_parse(processor):
    leave_parse_requests("a.py", "b.py")
    leases = claim(processor)
    of_a = next(lease["leaseId"] for lease in leases if lease["relativeFileloc"] == "a.py")

    processor.record(broken_file("a.py", [of_a]))

    assert [row.payload for row in stored_claims().values()] == [{"relative_fileloc": "b.py"}]


def test_another_processor_s_request_does_not_end_with_it(gateway, processor):
    leave_parse_requests("a.py")
    (lease,) = claim(processor)

    RegisteredProcessor(gateway).record(broken_file("a.py", [lease["leaseId"]]))

    assert len(stored_claims()) == 1


def test_a_request_made_again_while_the_first_is_leased_is_a_second_one(processor):
    leave_parse_requests("a.py")
    first = claim(processor)
    leave_parse_requests("a.py")

    second = claim(processor)

    assert paths(second) == ["a.py"]
    assert first[0]["leaseId"] != second[0]["leaseId"]


def test_a_released_request_goes_to_the_next_claimer_and_is_parked_in_the_end(gateway, processor):
    leave_parse_requests("gone.py")
    for attempt in (1, 2, 3):
        (lease,) = claim(RegisteredProcessor(gateway))
        assert lease["attempt"] == attempt
        other = release(processor, lease["leaseId"])
        assert other == [("REFUSED", "LEASE_LOST")]
        expire(lease["leaseId"])

    assert claim(processor) == []
    assert [row.state for row in stored_claims().values()] == ["PARKED"]


def test_a_release_counts_and_may_be_sent_twice(processor):
    leave_parse_requests("a.py")
    (lease,) = claim(processor)

    assert release(processor, lease["leaseId"]) == [("ACCEPTED", None)]
    assert release(processor, lease["leaseId"]) == [("ACCEPTED", None)]
    assert claim(processor) == []
    expire(lease["leaseId"])
    assert [again["attempt"] for again in claim(processor)] == [2]


def test_the_same_claim_sent_again_gives_the_same_leases(processor):
    leave_parse_requests("a.py", "b.py")

    first = claim(processor, "one claim", limit=1)

    assert paths(claim(processor, "one claim", limit=1)) == paths(first)


def test_nobody_gets_another_bundle_s_requests(gateway, processor):
    leave_parse_requests("ours.py")
    leave_parse_requests("theirs.py", bundle="other")

    assert paths(claim(RegisteredProcessor(gateway, ["dags"]))) == ["ours.py"]
    assert left_parse_requests() == ["theirs.py"]


def test_requests_and_callbacks_are_claimed_apart_and_renewed_together(processor):
    leave_parse_requests("a.py")
    leave_callbacks(dag_callback())

    (request,) = claim(processor)
    assert len(left_callbacks()) == 1
    (callback,) = processor.send("ClaimCallbacks", input={"claimId": "x", "limit": 5})["leases"]

    outcomes = processor.send("RenewClaims", leaseIds=[request["leaseId"], callback["leaseId"]])
    assert [outcome["status"] for outcome in outcomes] == ["ACCEPTED", "ACCEPTED"]
