"""Which processors operators see, and which of them count as alive."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from gateway_app import Gateway
from parse_state_rows import add_processor, read, read_everything


@pytest.fixture
def threshold_of_100_seconds(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    from airflow.jobs.job import health_check_threshold

    monkeypatch.setenv("AIRFLOW__DAG_PROCESSOR__HEALTH_CHECK_THRESHOLD", "100")
    health_check_threshold.cache_clear()
    yield
    health_check_threshold.cache_clear()


def test_a_processor_shows_its_registration_and_its_job(gateway: Gateway) -> None:
    heartbeat = datetime.now(UTC).replace(microsecond=0)
    add_processor(3, ["a", "b"], latest_heartbeat=heartbeat)

    (processor,) = read_everything(gateway, "processors", 10)

    assert processor == {
        "id": processor["id"],
        "jobId": 3,
        "subject": "dag-processor:host-3",
        "hostname": "host-3",
        "pid": 103,
        "bundleNames": ["a", "b"],
        "parsegateVersion": "0.1.0",
        "airflowVersion": "3.3.2",
        "registeredAt": "2024-01-01T00:00:00+00:00",
        "state": "RUNNING",
        "alive": True,
        "latestHeartbeat": heartbeat.isoformat(),
        "startDate": "2024-01-01T00:00:00+00:00",
        "endDate": None,
        "activity": None,
    }


def test_a_processor_is_alive_exactly_when_airflow_says_so(gateway: Gateway, threshold_of_100_seconds: None) -> None:
    from airflow.jobs.job import Job
    from sqlalchemy import select

    from parsegate.resolvers.database import reading

    now = datetime.now(UTC)
    add_processor(1, latest_heartbeat=now)
    add_processor(2, latest_heartbeat=now - timedelta(seconds=40))
    add_processor(3, latest_heartbeat=now - timedelta(seconds=160))
    add_processor(4, state="success", latest_heartbeat=now, end_date=now)
    add_processor(5, state="failed", latest_heartbeat=now, end_date=now)
    add_processor(6, latest_heartbeat=None)

    shown = {node["jobId"]: node["alive"] for node in read_everything(gateway, "processors", 10)}

    assert shown == {1: True, 2: True, 3: False, 4: False, 5: False, 6: False}
    with reading() as session:
        assert {job.id: job.is_alive() for job in session.scalars(select(Job))} == shown
    alive = read(gateway, "processors", "first: 9, alive: true", "jobId")
    dead = read(gateway, "processors", "first: 9, alive: false", "jobId")
    assert [node["jobId"] for node in alive] == [2, 1]
    assert [node["jobId"] for node in dead] == [6, 5, 4, 3]


def test_a_processor_stays_when_airflow_has_deleted_its_job(gateway: Gateway) -> None:
    add_processor(1, state=None)

    (processor,) = read_everything(gateway, "processors", 10)
    dead = read(gateway, "processors", "first: 9, alive: false", "jobId")

    assert processor["alive"] is False
    assert [processor[key] for key in ("state", "latestHeartbeat", "startDate", "endDate")] == [None] * 4
    assert processor["hostname"] == "host-1"
    assert dead == [{"jobId": 1}]


def test_an_operator_sees_processors_of_its_bundles_and_no_others_names(gateway: Gateway) -> None:
    add_processor(1, ["a"])
    add_processor(2, ["a", "secret"])
    add_processor(3, ["secret"])
    add_processor(4, ["*"])

    seen = read(gateway, "processors", "first: 9", "jobId bundleNames", ("a", "b"))

    assert seen == [
        {"jobId": 4, "bundleNames": ["*"]},
        {"jobId": 2, "bundleNames": ["a"]},
        {"jobId": 1, "bundleNames": ["a"]},
    ]
    assert read(gateway, "processors", "first: 9", "jobId", ()) == [{"jobId": 4}]
    assert len(read(gateway, "processors", "first: 9", "jobId")) == 4


def test_processors_are_filtered_by_bundle(gateway: Gateway) -> None:
    add_processor(1, ["a"])
    add_processor(2, ["aa", "b%"])
    add_processor(3, ["*"])

    def parsing(bundle: str) -> list[int]:
        return [node["jobId"] for node in read(gateway, "processors", f'first: 9, bundle: "{bundle}"', "jobId")]

    assert parsing("a") == [3, 1]
    assert parsing("aa") == [3, 2]
    assert parsing("b") == [3]
