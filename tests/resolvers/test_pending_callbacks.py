"""Callbacks that have not run yet: the scheduler's and the claimed ones as one list, without their context."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from gateway_app import Gateway
from parse_state_rows import (
    LONG_AGO,
    READ_ALL,
    add_bundle,
    add_callbacks,
    add_claims,
    add_processor,
    dag_callback,
    read,
    read_everything,
)
from registered_processor import RegisteredProcessor
from scheduler_work import expire


def task_callback(**fields: Any) -> Any:
    from airflow.callbacks.callback_requests import TaskCallbackRequest

    return TaskCallbackRequest(
        filepath="tasks.py",
        bundle_name="dags",
        bundle_version="abc",
        msg="told by the scheduler",
        ti={
            "id": str(uuid4()),
            "task_id": "load",
            "dag_id": "orders",
            "run_id": "manual",
            "try_number": 2,
            "map_index": 5,
            "dag_version_id": str(uuid4()),
        },
        **fields,
    )


def dag_ids(nodes: list[Any]) -> list[str]:
    return [node["dagId"] for node in nodes]


def test_a_callback_that_the_scheduler_left_is_unclaimed(gateway: Gateway) -> None:
    add_callbacks(dag_callback(), task_callback())

    of_dag, of_task = read_everything(gateway, "pendingCallbacks", 10)

    age = of_dag.pop("age")
    assert abs(age - (datetime.now(UTC) - LONG_AGO).total_seconds()) < 600
    assert of_dag == {
        "id": of_dag["id"],
        "state": "UNCLAIMED",
        "type": "DagCallbackRequest",
        "bundleName": "dags",
        "bundleVersion": None,
        "relativeFileloc": "orders.py",
        "dagId": "orders",
        "runId": "scheduled__2024-01-01",
        "taskId": None,
        "mapIndex": None,
        "tryNumber": None,
        "priorityWeight": 1,
        "createdAt": "2024-01-01T00:00:00+00:00",
        "attempts": 0,
        "lastOutcome": None,
        "message": None,
        "leaseExpiresAt": None,
        "owner": None,
    }
    described = [of_task[key] for key in ("type", "dagId", "runId", "taskId", "mapIndex", "tryNumber", "bundleVersion")]
    assert described == ["TaskCallbackRequest", "orders", "manual", "load", 5, 2, "abc"]


def test_a_claimed_callback_shows_its_lease_and_its_owner(gateway: Gateway) -> None:
    add_processor(4)
    expiry = datetime(2024, 5, 1, 12, tzinfo=UTC)
    add_claims(task_callback(), state="LEASED", job_id=4, attempts=2, expires_at=expiry, last_outcome="NOT_STARTED")

    (callback,) = read_everything(gateway, "pendingCallbacks", 10)

    assert callback["state"] == "LEASED"
    assert callback["owner"] == {"jobId": 4, "hostname": "host-4"}
    assert callback["leaseExpiresAt"] == expiry.isoformat()
    assert (callback["attempts"], callback["lastOutcome"]) == (2, "NOT_STARTED")
    assert (callback["type"], callback["taskId"]) == ("TaskCallbackRequest", "load")


def test_a_released_callback_has_no_owner_any_more(gateway: Gateway) -> None:
    add_processor(4)
    add_claims(dag_callback(), state="WAITING", job_id=4)
    add_claims(dag_callback(), state="PARKED", job_id=4, message="Handed out 3 times.")

    waiting, parked = read_everything(gateway, "pendingCallbacks", 10)

    assert (waiting["state"], waiting["owner"], waiting["leaseExpiresAt"]) == ("WAITING", None, None)
    assert (parked["state"], parked["owner"], parked["message"]) == ("PARKED", None, "Handed out 3 times.")


def test_what_users_put_into_runs_is_not_in_the_answer(gateway: Gateway) -> None:
    from airflow.callbacks.callback_requests import DagRunContext

    run = {
        "dag_id": "orders",
        "run_id": "r",
        "run_after": LONG_AGO,
        "run_type": "manual",
        "state": "failed",
        "clear_number": 0,
        "conf": {"password": "a-secret-of-the-run"},
        "consumed_asset_events": [],
        "logical_date": None,
        "data_interval_start": None,
        "data_interval_end": None,
        "start_date": LONG_AGO,
        "end_date": None,
        "partition_key": None,
    }
    request = dag_callback(context_from_server=DagRunContext(dag_run=run), msg="a-message-of-the-run")
    assert "a-secret-of-the-run" in request.to_json()
    add_callbacks(request)
    add_claims(request)

    response = gateway.post(
        {"query": READ_ALL["pendingCallbacks"], "variables": {"first": 10}}, gateway.operator_token()
    )

    assert len(response.json()["data"]["pendingCallbacks"]["nodes"]) == 2
    assert "of-the-run" not in response.text


@pytest.mark.parametrize("size", [1, 2, 3, 4, 7, 500])
def test_both_tables_are_one_list_by_age(gateway: Gateway, size: int) -> None:
    same = LONG_AGO + timedelta(seconds=2)
    add_callbacks(*(dag_callback(f"unclaimed_{n}") for n in range(4)))
    add_callbacks(*(dag_callback(f"at_once_{n}") for n in range(3)), created_at=same)
    add_claims(*(dag_callback(f"claimed_at_once_{n}") for n in range(3)), created_at=same)
    add_claims(dag_callback("claimed_oldest"), created_at=LONG_AGO - timedelta(seconds=1))
    add_claims(dag_callback("claimed_newest"), created_at=LONG_AGO + timedelta(seconds=9))

    nodes = read_everything(gateway, "pendingCallbacks", size)

    times = [node["createdAt"] for node in nodes]
    assert times == sorted(times)
    assert len({node["id"] for node in nodes}) == len(nodes) == 12
    assert dag_ids(nodes)[0] == "claimed_oldest"
    assert dag_ids(nodes)[-1] == "claimed_newest"


def test_the_total_is_of_both_tables(gateway: Gateway) -> None:
    add_callbacks(dag_callback(), dag_callback())
    add_claims(dag_callback(), dag_callback(), dag_callback())

    page = gateway.data(READ_ALL["pendingCallbacks"], {"first": 1}, token=gateway.operator_token())["pendingCallbacks"]

    assert page["totalCount"] == 5


def test_pending_callbacks_are_filtered_by_state_and_bundle(gateway: Gateway) -> None:
    add_callbacks(dag_callback("unclaimed"), dag_callback("unclaimed_more", "more"))
    add_claims(dag_callback("waiting"))
    add_claims(dag_callback("leased", "more"), state="LEASED")
    add_claims(dag_callback("parked"), state="PARKED")

    def found(filters: str, bundles: tuple[str, ...] = ("*",)) -> list[str]:
        return sorted(dag_ids(read(gateway, "pendingCallbacks", f"first: 9, {filters}", "dagId", bundles)))

    assert found("state: UNCLAIMED") == ["unclaimed", "unclaimed_more"]
    assert found("state: WAITING") == ["waiting"]
    assert found("state: LEASED") == ["leased"]
    assert found("state: PARKED") == ["parked"]
    assert found('bundle: "more"') == ["leased", "unclaimed_more"]
    assert found('bundle: "more", state: LEASED') == ["leased"]
    assert found("", ("more",)) == ["leased", "unclaimed_more"]
    assert found("", ()) == []


def test_parse_requests_and_other_peoples_callbacks_are_not_in_the_list(gateway: Gateway) -> None:
    from airflow.models.callback import Callback
    from parse_state_rows import insert

    add_claims(dag_callback(), kind="PARSE_REQUEST")
    insert(
        Callback,
        {"type": "triggerer", "fetch_method": "import_path", "data": {}, "priority_weight": 1, "bundle_name": "dags"},
    )

    assert read_everything(gateway, "pendingCallbacks", 10) == []


def test_callbacks_that_cannot_be_read_are_listed_beside_those_that_can(gateway: Gateway) -> None:
    from sqlalchemy import text

    from parsegate.resolvers.database import transaction

    documents: list[object] = [
        {"__type": "dict", "__var": {"req_class": "DagCallbackRequest", "req_data": "{"}},
        {"__type": "dict", "__var": {"req_data": json.dumps({"dag_id": 5, "ti": "none", "filepath": ["x"]})}},
        {"__type": "nonsense", "__var": 1},
        [],
        None,
    ]
    add_callbacks(*(dag_callback(f"dag_{n}") for n in range(len(documents) + 1)))
    with transaction() as session:
        for n, document in enumerate(documents):
            session.execute(
                text("UPDATE callback SET data = :data WHERE CAST(data AS TEXT) LIKE :like"),
                {"data": json.dumps(document), "like": f"%dag_{n}%"},
            )
    add_claims(dag_callback("parked"), state="PARKED", payload={"data": "{"}, message="Not a callback request.")

    nodes = read_everything(gateway, "pendingCallbacks", 10)

    assert len(nodes) == len(documents) + 2
    assert sorted(dag_id for dag_id in dag_ids(nodes) if dag_id) == [f"dag_{len(documents)}"]
    assert {node["bundleName"] for node in nodes} == {"dags"}


def test_a_callback_is_listed_once_before_and_after_it_is_claimed(gateway: Gateway) -> None:
    processor = RegisteredProcessor(gateway)
    add_bundle("dags")
    add_callbacks(dag_callback())
    (before,) = read_everything(gateway, "pendingCallbacks", 10)

    claim = {"claimId": "claim-1", "limit": 10}
    (lease,) = processor.send("ClaimCallbacks", input=claim)["leases"]
    (leased,) = read_everything(gateway, "pendingCallbacks", 10)
    items = [{"leaseId": lease["leaseId"], "outcome": "NOT_STARTED"}]
    processor.send("ReleaseCallbacks", items=items)
    (released,) = read_everything(gateway, "pendingCallbacks", 10)
    expire(lease["leaseId"])
    (lease,) = processor.send("ClaimCallbacks", input={"claimId": "claim-2", "limit": 10})["leases"]
    processor.send("AcknowledgeCallbacks", items=[{"leaseId": lease["leaseId"], "outcome": "RAN"}])

    assert [node["state"] for node in (before, leased, released)] == ["UNCLAIMED", "LEASED", "WAITING"]
    assert {node["createdAt"] for node in (before, leased, released)} == {before["createdAt"]}
    assert leased["owner"]["jobId"] == processor.job_id
    assert leased["leaseExpiresAt"] == lease["expiresAt"] or leased["leaseExpiresAt"] < lease["expiresAt"]
    assert (released["attempts"], released["lastOutcome"], released["owner"]) == (1, "NOT_STARTED", None)
    assert released["leaseExpiresAt"] is None
    assert read_everything(gateway, "pendingCallbacks", 10) == []
