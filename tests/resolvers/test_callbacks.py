"""Callbacks move from Airflow's table into leases: who gets which, how often, and what comes back."""

from __future__ import annotations

import json
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from gateway_app import Gateway
from registered_processor import RegisteredProcessor, operation_documents
from scheduler_work import (
    dag_callback,
    expire,
    leave_callbacks,
    left_callbacks,
    run_ids,
    stored_claims,
    task_callback,
)

LONG_AGO = datetime(2024, 1, 1, tzinfo=UTC)


def claim(processor: RegisteredProcessor, claim_id: str | None = None, limit: int = 10) -> list[dict[str, Any]]:
    payload = processor.send("ClaimCallbacks", input={"claimId": claim_id or str(uuid.uuid4()), "limit": limit})
    assert payload["status"] == "ACCEPTED", payload
    return payload["leases"]


def settle(processor: RegisteredProcessor, operation: str, outcome: str, *lease_ids: str) -> list[tuple[str, Any]]:
    outcomes = processor.send(operation, items=[{"leaseId": id, "outcome": outcome} for id in lease_ids])
    assert [item["leaseId"] for item in outcomes] == list(lease_ids)
    return [(item["status"], item["reason"]) for item in outcomes]


def acknowledge(processor: RegisteredProcessor, *lease_ids: str, outcome: str = "RAN") -> list[tuple[str, Any]]:
    return settle(processor, "AcknowledgeCallbacks", outcome, *lease_ids)


def release(processor: RegisteredProcessor, *lease_ids: str, outcome: str = "NOT_STARTED") -> list[tuple[str, Any]]:
    return settle(processor, "ReleaseCallbacks", outcome, *lease_ids)


def renew(processor: RegisteredProcessor, *lease_ids: str) -> list[tuple[str, Any]]:
    outcomes = processor.send("RenewClaims", leaseIds=list(lease_ids))
    assert [item["leaseId"] for item in outcomes] == list(lease_ids)
    return [(item["status"], item["reason"]) for item in outcomes]


ACCEPTED = ("ACCEPTED", None)
LEASE_LOST = ("REFUSED", "LEASE_LOST")
JOB_CLOSED = ("REFUSED", "JOB_CLOSED")


@pytest.fixture
def processor(gateway: Gateway) -> RegisteredProcessor:
    processor = RegisteredProcessor(gateway)
    processor.sync("dags", "other")
    return processor


@pytest.fixture
def second_processor(gateway: Gateway, processor: RegisteredProcessor) -> RegisteredProcessor:
    return RegisteredProcessor(gateway)


@pytest.mark.parametrize("request_of", [dag_callback, task_callback])
def test_a_claimed_callback_is_the_scheduler_s_and_leaves_airflow_s_table(processor, request_of):
    request = request_of()
    leave_callbacks(request)

    (lease,) = claim(processor)

    assert lease["callback"] == json.loads(request.to_json())
    assert (lease["bundleName"], lease["attempt"]) == ("dags", 1)
    assert left_callbacks() == []
    assert [row.job_id for row in stored_claims().values()] == [processor.job_id]
    assert claim(processor) == []


def test_the_processor_reads_the_leased_callback_with_airflow_s_own_model(processor):
    from airflow.callbacks.callback_requests import CallbackRequest
    from pydantic import TypeAdapter

    request = task_callback()
    leave_callbacks(request)

    (lease,) = claim(processor)

    assert TypeAdapter(CallbackRequest).validate_python(lease["callback"]) == request


def test_the_most_urgent_come_first_by_weight_then_by_age_and_no_more_than_the_limit(processor):
    leave_callbacks(dag_callback("light, young"), priority_weight=1, created_at=LONG_AGO + timedelta(hours=2))
    leave_callbacks(dag_callback("heavy, young"), priority_weight=5, created_at=LONG_AGO + timedelta(hours=1))
    leave_callbacks(dag_callback("light, old"), priority_weight=1, created_at=LONG_AGO)
    leave_callbacks(dag_callback("heavy, old"), priority_weight=5, created_at=LONG_AGO)

    assert run_ids(claim(processor, limit=3)) == ["heavy, old", "heavy, young", "light, old"]
    assert run_ids(claim(processor, limit=3)) == ["light, young"]


def test_what_was_released_competes_with_what_is_new(processor, second_processor):
    leave_callbacks(dag_callback("released"), priority_weight=2)
    (lease,) = claim(processor)
    release(processor, lease["leaseId"])
    expire(lease["leaseId"])
    leave_callbacks(dag_callback("light"), priority_weight=1)
    leave_callbacks(dag_callback("heavy"), priority_weight=3)

    assert run_ids(claim(second_processor, limit=2)) == ["heavy", "released"]


def test_the_same_claim_sent_again_gives_the_same_leases_and_no_more(processor):
    leave_callbacks(*(dag_callback(str(number)) for number in range(4)), created_at=LONG_AGO)

    first = claim(processor, "one claim", limit=2)
    again = claim(processor, "one claim", limit=2)

    assert [lease["leaseId"] for lease in again] == [lease["leaseId"] for lease in first]
    assert [lease["attempt"] for lease in again] == [1, 1]
    assert len(left_callbacks()) == 2


def test_the_same_claim_sent_again_leaves_out_what_was_acknowledged(processor):
    leave_callbacks(dag_callback("a"), dag_callback("b"))
    first, second = claim(processor, "one claim")
    acknowledge(processor, first["leaseId"])

    assert [lease["leaseId"] for lease in claim(processor, "one claim")] == [second["leaseId"]]


def test_another_processor_s_claim_of_the_same_id_is_another_claim(processor, second_processor):
    leave_callbacks(dag_callback("a"))
    claim(processor, "one claim")

    assert claim(second_processor, "one claim") == []


@pytest.mark.parametrize(
    ("granted", "registered"),
    [(["dags"], None), (["*"], ["dags"]), (["dags", "other"], ["dags"])],
    ids=["token grants it", "registered for it", "both"],
)
def test_nobody_gets_another_bundle_s_callbacks(gateway, processor, granted, registered):
    leave_callbacks(dag_callback("ours"), dag_callback("theirs", bundle="other"))
    limited = RegisteredProcessor(gateway, granted, bundleNames=registered)

    assert run_ids(claim(limited)) == ["ours"]
    assert len(left_callbacks()) == 1
    assert run_ids(claim(processor)) == ["theirs"]


def test_a_released_callback_of_another_bundle_is_not_handed_out_either(gateway, processor):
    leave_callbacks(dag_callback("theirs", bundle="other"))
    (lease,) = claim(processor)
    release(processor, lease["leaseId"])
    expire(lease["leaseId"])

    assert claim(RegisteredProcessor(gateway, ["dags"])) == []
    assert run_ids(claim(processor)) == ["theirs"]


def test_callbacks_of_inactive_bundles_and_of_none_wait_in_airflow_s_table(processor):
    from airflow.models.callback import Callback
    from airflow.models.dagbundle import DagBundleModel
    from sqlalchemy import update

    from parsegate.resolvers.database import transaction

    leave_callbacks(dag_callback("inactive", bundle="other"), dag_callback("unknown", bundle="elsewhere"))
    (of_none,) = leave_callbacks(dag_callback("of none"))
    with transaction() as session:
        session.execute(update(DagBundleModel).where(DagBundleModel.name == "other").values(active=False))
        session.execute(update(Callback).where(Callback.id == of_none).values(bundle_name=None))

    assert claim(processor) == []
    assert len(left_callbacks()) == 3


def test_callbacks_for_the_triggerer_share_the_table_and_stay(processor):
    from airflow.models.callback import CallbackFetchMethod, TriggererCallback
    from airflow.sdk.definitions.callback import AsyncCallback

    from parsegate.resolvers.database import transaction

    with transaction() as session:
        callback = TriggererCallback(AsyncCallback("asyncio.sleep", kwargs={"delay": 0}))
        callback.bundle_name = "dags"
        assert callback.fetch_method == CallbackFetchMethod.IMPORT_PATH
        session.add(callback)

    assert claim(processor) == []
    assert len(left_callbacks()) == 1


MALFORMED = {
    "no request": {"req_class": "DagCallbackRequest"},
    "not JSON": {"req_class": "DagCallbackRequest", "req_data": "{"},
    "unknown type": {"req_class": "X", "req_data": json.dumps({"type": "X", "bundle_name": "dags"})},
    "field missing": {"req_class": "DagCallbackRequest", "req_data": json.dumps({"type": "DagCallbackRequest"})},
    "not an object": [1],
    "a user's data": {
        "req_class": "DagCallbackRequest",
        "req_data": json.dumps({"type": "DagCallbackRequest", "bundle_name": "dags", "run_id": {"conf": "hunter2"}}),
    },
}


def store(callback_id: uuid.UUID, document: Any) -> None:
    """Put ``document`` into a callback's row, past Airflow's own serialization."""
    from airflow.models.callback import Callback
    from sqlalchemy import JSON, Text, cast, type_coerce, update
    from sqlalchemy.dialects.postgresql import JSONB

    from parsegate.resolvers.database import transaction

    with transaction() as session:
        on_sqlite = session.get_bind().dialect.name == "sqlite"
        stored = type_coerce(document, JSON) if on_sqlite else cast(json.dumps(document), JSONB)
        if on_sqlite and isinstance(document, str):
            stored = type_coerce(document, Text)
        session.execute(update(Callback.__table__).where(Callback.id == callback_id).values(data=stored))


@pytest.mark.parametrize("kind", [*MALFORMED, "another bundle's", "undecodable", "no JSON at all"])
def test_a_malformed_callback_is_parked_with_its_reason_and_blocks_nothing(processor, kind):
    from airflow.serialization.serialized_objects import BaseSerialization

    (malformed,) = leave_callbacks(dag_callback("malformed"), priority_weight=9)
    leave_callbacks(dag_callback("well-formed"))
    if kind == "another bundle's":
        data = {"req_class": "DagCallbackRequest", "req_data": dag_callback(bundle="other").to_json()}
        store(malformed, BaseSerialization.serialize(data))
    elif kind == "undecodable":
        store(malformed, {"__type": "no such type", "__var": 1})
    elif kind == "no JSON at all":
        store(malformed, "{")
    else:
        store(malformed, BaseSerialization.serialize(MALFORMED[kind]))

    assert run_ids(claim(processor)) == ["well-formed"]
    (parked,) = (row for row in stored_claims().values() if row.state == "PARKED")
    assert parked.message
    assert "hunter2" not in parked.message
    assert (parked.priority_weight, parked.attempts) == (9, 0)
    assert left_callbacks() == []
    assert claim(processor) == []


@pytest.mark.parametrize("outcome", ["RAN", "RAISED"])
def test_an_acknowledged_callback_is_gone_and_may_be_acknowledged_twice(processor, second_processor, outcome):
    leave_callbacks(dag_callback())
    (lease,) = claim(processor)

    assert acknowledge(processor, lease["leaseId"], outcome=outcome) == [ACCEPTED]

    assert stored_claims() == {}
    assert claim(second_processor) == []
    assert acknowledge(processor, lease["leaseId"], outcome=outcome) == [ACCEPTED]


def test_a_released_callback_goes_to_the_next_claimer_with_its_attempt_counted(processor, second_processor):
    leave_callbacks(dag_callback())
    (lease,) = claim(processor)

    assert release(processor, lease["leaseId"], outcome="NOT_FOUND") == [ACCEPTED]

    (waiting,) = stored_claims().values()
    assert (waiting.state, waiting.last_outcome) == ("WAITING", "NOT_FOUND")
    expire(lease["leaseId"])
    (again,) = claim(second_processor)
    assert (again["leaseId"], again["attempt"]) == (lease["leaseId"], 2)


def test_a_release_may_be_sent_twice_but_not_after_the_claim_went_on(processor, second_processor):
    leave_callbacks(dag_callback())
    (lease,) = claim(processor)
    release(processor, lease["leaseId"])

    assert release(processor, lease["leaseId"]) == [ACCEPTED]
    expire(lease["leaseId"])
    claim(second_processor)
    assert release(processor, lease["leaseId"]) == [LEASE_LOST]


@pytest.mark.parametrize("outcome", ["NOT_FOUND", "NOT_STARTED"])
def test_a_released_callback_rests_the_longer_the_more_attempts_it_has_had(processor, second_processor, outcome):
    leave_callbacks(dag_callback("resting"))
    rests: list[float] = []
    for _ in (1, 2):
        (lease,) = claim(processor)
        before = datetime.now(UTC)
        release(processor, lease["leaseId"], outcome=outcome)
        rests.append((stored_claims()[lease["leaseId"]].expires_at - before).total_seconds())
        leave_callbacks(dag_callback("next"))

        assert run_ids(claim(second_processor)) == ["next"]
        expire(lease["leaseId"])

    assert rests == pytest.approx([10, 20], abs=5)
    assert run_ids(claim(second_processor)) == ["resting"]


def test_a_callback_is_parked_after_as_many_attempts_as_configured(processor):
    leave_callbacks(dag_callback())
    for attempt in (1, 2, 3):
        (lease,) = claim(processor)
        assert lease["attempt"] == attempt
        assert release(processor, lease["leaseId"]) == [ACCEPTED]
        expire(lease["leaseId"])

    assert claim(processor) == []
    (parked,) = stored_claims().values()
    assert (parked.state, parked.attempts) == ("PARKED", 3)
    assert "max_attempts" in parked.message


def test_the_number_of_attempts_is_a_setting(processor, monkeypatch):
    monkeypatch.setenv("AIRFLOW__PARSEGATE__MAX_ATTEMPTS", "1")
    leave_callbacks(dag_callback())
    (lease,) = claim(processor)
    release(processor, lease["leaseId"])

    assert [row.state for row in stored_claims().values()] == ["PARKED"]
    assert claim(processor) == []


def test_an_expired_lease_goes_to_another_processor_and_is_lost_to_the_first(processor, second_processor):
    leave_callbacks(dag_callback())
    (lease,) = claim(processor)
    assert claim(second_processor) == []

    expire(lease["leaseId"])

    (again,) = claim(second_processor)
    assert (again["leaseId"], again["attempt"]) == (lease["leaseId"], 2)
    assert renew(processor, lease["leaseId"]) == [LEASE_LOST]
    assert acknowledge(processor, lease["leaseId"]) == [LEASE_LOST]
    assert release(processor, lease["leaseId"]) == [LEASE_LOST]
    assert acknowledge(second_processor, again["leaseId"]) == [ACCEPTED]


def test_a_renewed_lease_stays(processor, second_processor):
    leave_callbacks(dag_callback())
    (lease,) = claim(processor)
    expire(lease["leaseId"])

    (outcome,) = processor.send("RenewClaims", leaseIds=[lease["leaseId"]])

    assert outcome["status"] == "ACCEPTED"
    assert datetime.fromisoformat(outcome["expiresAt"]) > datetime.now(UTC)
    assert claim(second_processor) == []


def test_the_lease_duration_is_a_setting(processor, monkeypatch):
    monkeypatch.setenv("AIRFLOW__PARSEGATE__LEASE_DURATION", "86400")
    leave_callbacks(dag_callback())

    (lease,) = claim(processor)

    assert datetime.fromisoformat(lease["expiresAt"]) > datetime.now(UTC) + timedelta(hours=23)


@pytest.mark.parametrize("end", ["completes", "is found dead", "is deleted"])
def test_callbacks_of_a_processor_whose_job_ended_are_handed_out_at_once(processor, second_processor, end):
    from airflow.jobs.job import Job, JobState
    from sqlalchemy import delete, update

    from parsegate.resolvers.database import transaction

    leave_callbacks(dag_callback())
    (lease,) = claim(processor)

    if end == "completes":
        processor.send("CompleteJob", input={"state": "SUCCESS"})
    else:
        with transaction() as session:
            mine = Job.id == processor.job_id
            session.execute(
                delete(Job).where(mine)
                if end == "is deleted"
                else update(Job).where(mine).values(state=JobState.FAILED)
            )

    (again,) = claim(second_processor)
    assert (again["leaseId"], again["attempt"]) == (lease["leaseId"], 2)
    (row,) = stored_claims().values()
    assert (row.job_id, row.last_outcome) == (second_processor.job_id, "LOST")


def test_a_processor_whose_job_ended_acknowledges_what_it_ran_but_gets_nothing_new(processor):
    leave_callbacks(dag_callback("a"), dag_callback("b"))
    ran, waits = claim(processor)
    processor.send("CompleteJob", input={"state": "SUCCESS"})
    leave_callbacks(dag_callback("c"))

    payload = processor.send("ClaimCallbacks", input={"claimId": "late", "limit": 1})

    assert (payload["status"], payload["reason"], payload["leases"]) == (*JOB_CLOSED, [])
    assert renew(processor, waits["leaseId"]) == [JOB_CLOSED]
    assert acknowledge(processor, ran["leaseId"]) == [ACCEPTED]


def test_a_callback_that_silences_its_processors_is_parked_in_the_end(gateway, processor):
    leave_callbacks(dag_callback("kills"), priority_weight=9)
    for attempt in (1, 2, 3):
        (lease,) = claim(RegisteredProcessor(gateway))
        assert lease["attempt"] == attempt
        expire(lease["leaseId"])
    leave_callbacks(dag_callback("harmless"))

    assert run_ids(claim(processor)) == ["harmless"]
    states = {row.payload["run_id"]: (row.state, row.last_outcome) for row in stored_claims().values()}
    assert states == {"kills": ("PARKED", "LOST"), "harmless": ("LEASED", None)}


def test_one_list_of_leases_gives_each_its_own_outcome(processor, second_processor):
    leave_callbacks(dag_callback("a"), dag_callback("b"))
    mine, theirs = claim(processor, limit=1)[0], claim(second_processor, limit=1)[0]
    unknown = str(uuid.uuid4())

    assert renew(processor, mine["leaseId"], theirs["leaseId"], unknown, "\0", "ü") == [
        ACCEPTED,
        *[LEASE_LOST] * 4,
    ]
    assert release(processor, theirs["leaseId"], mine["leaseId"], unknown) == [LEASE_LOST, ACCEPTED, LEASE_LOST]
    assert acknowledge(processor, theirs["leaseId"], mine["leaseId"]) == [LEASE_LOST, LEASE_LOST]


def test_a_callback_is_not_settled_as_a_parse_request(processor):
    leave_callbacks(dag_callback())
    (lease,) = claim(processor)

    (outcome,) = processor.send("ReleaseParseRequests", leaseIds=[lease["leaseId"]])

    assert outcome["reason"] == "LEASE_LOST"
    assert [row.state for row in stored_claims().values()] == ["LEASED"]


@pytest.mark.parametrize(("claim_id", "limit"), [("", 1), ("x" * 37, 1), ("a\0b", 1), ("x", 0), ("x", 1001)])
def test_a_claim_that_makes_no_sense_is_refused(processor, claim_id, limit):
    leave_callbacks(dag_callback())

    payload = processor.send("ClaimCallbacks", input={"claimId": claim_id, "limit": limit})

    assert (payload["status"], payload["reason"]) == ("REFUSED", "INVALID_ARGUMENT")
    assert len(left_callbacks()) == 1


def test_a_job_that_was_not_registered_through_the_gateway_is_told_so_though_nothing_waits(processor):
    from airflow.utils.session import create_session
    from sqlalchemy import delete

    from parsegate.resolvers.tables import Processor

    with create_session() as session:
        session.execute(delete(Processor))

    payload = processor.send("ClaimCallbacks", input={"claimId": "x", "limit": 1})

    assert (payload["status"], payload["reason"]) == JOB_CLOSED


def test_a_list_of_leases_is_bounded(gateway, processor):
    answer = gateway.execute(
        operation_documents()["RenewClaims"], {"leaseIds": [str(n) for n in range(1001)]}, token=processor.token
    )

    assert [error["extensions"]["code"] for error in answer["errors"]] == ["BAD_REQUEST"]


@pytest.mark.parametrize("kind", ["processor_token", "operator_token"])
def test_only_a_job_token_claims(gateway, processor, kind):
    leave_callbacks(dag_callback())

    answer = gateway.execute(
        operation_documents()["ClaimCallbacks"],
        {"input": {"claimId": "x", "limit": 1}},
        token=getattr(gateway, kind)(),
    )

    assert [error["extensions"]["code"] for error in answer["errors"]] == ["FORBIDDEN"]
    assert len(left_callbacks()) == 1


def test_a_claim_that_fails_half_way_leaves_everything_where_it_was(processor):
    from parsegate.resolvers import callbacks
    from parsegate.resolvers.database import transaction

    leave_callbacks(dag_callback())

    def claim_and_fail() -> None:
        with transaction() as session:
            assert callbacks.claim(session, principal(processor), claim_id="x", limit=1)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        claim_and_fail()

    assert len(left_callbacks()) == 1
    assert stored_claims() == {}


def test_claimers_at_the_same_time_never_get_the_same_callback_and_miss_none(gateway, processor):
    from parsegate.resolvers import callbacks
    from parsegate.resolvers.database import transaction

    leave_callbacks(*(dag_callback(str(number)) for number in range(120)), created_at=LONG_AGO)
    claimers = [principal(RegisteredProcessor(gateway)) for _ in range(4)]

    def claim_all(claimer: Any) -> list[str]:
        got: list[str] = []
        while len(left_callbacks()) > 0 or any(row.state == "WAITING" for row in stored_claims().values()):
            with transaction() as session:
                leases = callbacks.claim(session, claimer, claim_id=str(uuid.uuid4()), limit=7)
            got += [lease.payload["run_id"] for lease in leases]
        return got

    with ThreadPoolExecutor(len(claimers)) as threads:
        got = list(threads.map(claim_all, claimers))

    assert sorted(run for runs in got for run in runs) == sorted(str(number) for number in range(120))
    assert [row.attempts for row in stored_claims().values()] == [1] * 120


@pytest.mark.parametrize("released", [False, True], ids=["new", "released"])
def test_a_claimer_does_not_wait_for_another_that_has_not_committed(gateway, processor, released):
    from sqlalchemy import text

    from parsegate.resolvers import callbacks
    from parsegate.resolvers.database import transaction

    if gateway.database.kind == "sqlite":
        pytest.skip("SQLite has one writer at a time")
    leave_callbacks(*(dag_callback(str(number)) for number in range(4)), created_at=LONG_AGO)
    if released:
        lease_ids = [lease["leaseId"] for lease in claim(processor)]
        release(processor, *lease_ids)
        expire(*lease_ids)
    second = principal(RegisteredProcessor(gateway))

    with transaction() as open_session:
        first_leases = callbacks.claim(open_session, principal(processor), claim_id="first", limit=2)
        with transaction() as session:
            session.execute(text("SET LOCAL lock_timeout = '10s'"))
            second_leases = callbacks.claim(session, second, claim_id="second", limit=2)

    assert sorted(lease.payload["run_id"] for lease in [*first_leases, *second_leases]) == ["0", "1", "2", "3"]


def test_one_claim_sent_twice_at_the_same_time_takes_its_leases_once(processor):
    from parsegate.resolvers import callbacks
    from parsegate.resolvers.database import transaction

    leave_callbacks(*(dag_callback(str(number)) for number in range(20)), created_at=LONG_AGO)

    def send(_: int) -> set[str]:
        with transaction() as session:
            leases = callbacks.claim(session, principal(processor), claim_id="one claim", limit=5)
        return {lease.lease_id for lease in leases}

    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(send, range(4)))

    assert len(answers[0]) == 5
    assert all(answer == answers[0] for answer in answers)
    assert len(left_callbacks()) == 15


def principal(processor: RegisteredProcessor) -> Any:
    from parsegate.resolvers.principal import Principal, TokenKind

    return Principal(TokenKind.JOB, "dag-processor:test", frozenset({"*"}), processor.job_id)
