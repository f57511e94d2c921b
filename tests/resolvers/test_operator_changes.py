"""Operators retry and drop parked callbacks and ask processors to end: permitted, told by the audit log, sent twice."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
from gateway_app import Gateway
from parse_state_rows import add_bundle, add_callbacks, add_claims, add_processor, dag_callback, insert, read
from registered_processor import RegisteredProcessor
from stored_rows import audit_log, claims

from parsegate.client.generated import operations

ALL = ("request-parse", "manage-callbacks", "stop-processors")


def change(
    gateway: Gateway, name: str, bundles: tuple[str, ...] = ("*",), allow: tuple[str, ...] = ALL, **variables: Any
) -> tuple[str, str | None]:
    """The answer's status, and the reason of a refusal; it never refuses without a message."""
    document = {
        "retryCallback": operations.RETRY_CALLBACK_GQL,
        "dropCallback": operations.DROP_CALLBACK_GQL,
        "stopProcessor": operations.STOP_PROCESSOR_GQL,
    }[name]
    token = gateway.operator_token(bundles, "operator:jane", allow=allow)
    payload = gateway.data(document, variables, token=token)[name]
    assert (payload["message"] is None) == (payload["status"] == "ACCEPTED")
    return payload["status"], payload["reason"]


def ids(gateway: Gateway) -> dict[str, str]:
    return {node["dagId"]: node["id"] for node in read(gateway, "pendingCallbacks", "first: 50", "id dagId")}


def told() -> list[tuple[str, str | None, str | None, Any]]:
    return [(entry.event, entry.owner, entry.dag_id, json.loads(entry.extra)) for entry in audit_log()]


ACCEPTED = ("ACCEPTED", None)


@pytest.fixture
def parked(gateway: Gateway) -> dict[str, str]:
    """Global ids by DAG: ``orders`` and ``other`` are parked, ``leased`` and ``waiting`` and ``unclaimed`` are not."""
    add_bundle("dags")
    columns = {"state": "PARKED", "attempts": 3, "last_outcome": "LOST", "message": "Handed out 3 times."}
    add_claims(dag_callback("orders"), **columns)
    add_claims(dag_callback("other", bundle="theirs"), **columns)
    add_claims(dag_callback("leased"), state="LEASED")
    add_claims(dag_callback("waiting"))
    add_callbacks(dag_callback("unclaimed"))
    return ids(gateway)


def test_a_parked_callback_is_tried_again_as_if_for_the_first_time(gateway: Gateway, parked: dict[str, str]) -> None:
    assert change(gateway, "retryCallback", id=parked["orders"]) == ACCEPTED
    assert change(gateway, "retryCallback", id=parked["orders"]) == ACCEPTED

    ((event, owner, dag_id, extra),) = told()
    assert (event, owner, dag_id) == ("parsegate.retry_callback", "operator:jane", "orders")
    assert (extra["bundle"], extra["run_id"], extra["message"]) == (
        "dags",
        "scheduled__2024-01-01",
        "Handed out 3 times.",
    )
    processor = RegisteredProcessor(gateway)
    leases = processor.send("ClaimCallbacks", input={"claimId": "one", "limit": 9})["leases"]
    assert {lease["callback"]["dag_id"]: lease["attempt"] for lease in leases}["orders"] == 1
    # Sent once more, late: the first send was done, and the callback is on its way.
    assert change(gateway, "retryCallback", id=parked["orders"]) == ACCEPTED
    assert len(told()) == 1


def test_a_dropped_callback_is_gone(gateway: Gateway, parked: dict[str, str]) -> None:
    assert change(gateway, "dropCallback", id=parked["orders"]) == ACCEPTED
    assert change(gateway, "dropCallback", id=parked["orders"]) == ACCEPTED

    assert "orders" not in ids(gateway)
    assert [(event, dag_id) for event, _, dag_id, _ in told()] == [("parsegate.drop_callback", "orders")]
    assert change(gateway, "retryCallback", id=parked["orders"]) == ("REFUSED", "NOT_FOUND")
    assert change(gateway, "dropCallback", ("theirs",), id=parked["orders"]) == ("REFUSED", "NOT_FOUND")


@pytest.mark.parametrize("name", ["retryCallback", "dropCallback"])
def test_only_what_is_parked_and_granted_is_changed(gateway: Gateway, parked: dict[str, str], name: str) -> None:
    before = [(row.id, row.state) for row in claims()]

    assert change(gateway, name, allow=("request-parse", "stop-processors"), id=parked["orders"]) == (
        "REFUSED",
        "NOT_PERMITTED",
    )
    assert change(gateway, name, ("dags",), id=parked["other"]) == ("REFUSED", "NOT_FOUND")
    assert change(gateway, name, id=parked["unclaimed"]) == ("REFUSED", "NOT_FOUND")
    for dag_id in ("leased", "waiting"):
        assert change(gateway, name, id=parked[dag_id]) == ("REFUSED", "NOT_PARKED")
    document = f'mutation {{ {name}(id: "{uuid.uuid4()}") {{ status }} }}'
    response = gateway.execute(document, token=gateway.operator_token(allow=ALL))
    assert response["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT"
    assert [(row.id, row.state) for row in claims()] == before
    assert told() == []


def test_a_callback_that_cannot_be_read_is_tried_again_once_it_can(gateway: Gateway) -> None:
    from airflow.models.callback import Callback
    from sqlalchemy import select, text

    from parsegate.resolvers.database import reading, transaction

    processor = RegisteredProcessor(gateway)
    add_bundle("dags")
    add_callbacks(dag_callback("good"))
    with reading() as session:
        good = session.execute(select(text("data")).select_from(Callback.__table__)).scalar_one()
    good = good if isinstance(good, str) else json.dumps(good)
    add_claims(dag_callback("bad"), state="PARKED", payload={"data": "{"}, message="Not a callback request.")
    (bad,) = [node["id"] for node in read(gateway, "pendingCallbacks", "first: 9, state: PARKED", "id")]

    assert change(gateway, "retryCallback", id=bad) == ("REFUSED", "INVALID_DOCUMENT")
    with transaction() as session:
        for row in session.scalars(select(type(claims()[0]))):
            row.payload = {"data": good}
    assert change(gateway, "retryCallback", id=bad) == ACCEPTED

    leases = processor.send("ClaimCallbacks", input={"claimId": "one", "limit": 9})["leases"]
    assert [lease["callback"]["dag_id"] for lease in leases] == ["good", "good"]


def test_a_processor_that_is_asked_to_end_is_told_by_its_heartbeat_and_ends_its_job(gateway: Gateway) -> None:
    processor = RegisteredProcessor(gateway)
    assert processor.send("Heartbeat")["status"] == "ACCEPTED"

    assert change(gateway, "stopProcessor", jobId=processor.job_id) == ACCEPTED
    assert change(gateway, "stopProcessor", jobId=processor.job_id) == ACCEPTED

    assert told() == [
        (
            "parsegate.stop_processor",
            "operator:jane",
            None,
            {"job_id": processor.job_id, "hostname": "processor-1.example.com", "bundles": ["*"]},
        )
    ]
    assert read(gateway, "processors", "first: 1", "state alive endDate") == [
        {"state": "RESTARTING", "alive": False, "endDate": None}
    ]
    assert processor.send("Heartbeat")["reason"] == "JOB_CLOSED"
    assert processor.send("CompleteJob", input={"state": "SUCCESS"})["status"] == "ACCEPTED"
    (ended,) = read(gateway, "processors", "first: 1", "state endDate")
    assert ended["state"] == "SUCCESS"
    assert ended["endDate"] is not None
    assert change(gateway, "stopProcessor", jobId=processor.job_id) == ACCEPTED
    assert len(told()) == 1


def test_nobody_ends_a_processor_that_parses_for_others_too(gateway: Gateway) -> None:
    from airflow.jobs.job import Job

    add_processor(1, ["dags", "theirs"])
    add_processor(2, ["*"])
    add_processor(3, ["dags"])
    insert(Job, {"id": 9, "job_type": "SchedulerJob", "state": "running"})

    assert change(gateway, "stopProcessor", allow=("manage-callbacks",), jobId=3) == ("REFUSED", "NOT_PERMITTED")
    assert change(gateway, "stopProcessor", ("dags",), jobId=1) == ("REFUSED", "BUNDLE_NOT_GRANTED")
    assert change(gateway, "stopProcessor", ("dags", "theirs"), jobId=2) == ("REFUSED", "BUNDLE_NOT_GRANTED")
    assert change(gateway, "stopProcessor", jobId=9) == ("REFUSED", "NOT_FOUND")
    assert told() == []
    assert change(gateway, "stopProcessor", ("dags",), jobId=3) == ACCEPTED
