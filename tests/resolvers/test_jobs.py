"""A processor's Job: registration, heartbeats, completion, and what `airflow jobs check` makes of it."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import threading
import uuid
from datetime import timedelta
from typing import Any

import pytest
from gateway_app import Gateway
from registered_processor import RegisteredProcessor, operation_documents, registration


def _job(job_id: int) -> Any:
    from airflow.jobs.job import Job
    from airflow.utils.session import create_session

    with create_session() as session:
        job = session.get(Job, job_id)
        session.expunge_all()
    return job


def _register(
    gateway: Gateway, bundles: list[str] | None = None, subject: str = "dag-processor:test", **fields: Any
) -> dict:
    token = gateway.processor_token(bundles or ["*"], subject=subject)
    return gateway.data(operation_documents()["RegisterProcessor"], {"input": registration(**fields)}, token=token)[
        "registerProcessor"
    ]


def _check(hostname: str) -> None:
    """``airflow jobs check --job-type DagProcessorJob --hostname H``, in this process."""
    from airflow.cli.commands import jobs_command

    jobs_command.check(
        argparse.Namespace(job_type="DagProcessorJob", hostname=hostname, local=False, limit=1, allow_multiple=False)
    )


def test_the_job_is_the_processors_not_the_gateways(gateway: Gateway) -> None:
    processor = RegisteredProcessor(gateway, hostname="processor-7", unixname="someone", pid=31)

    job = _job(processor.job_id)
    assert (job.job_type, job.state, job.hostname, job.unixname) == (
        "DagProcessorJob",
        "running",
        "processor-7",
        "someone",
    )
    assert job.end_date is None
    assert processor.job["grantedBundles"] == ["*"]
    assert processor.job["leaseDuration"] == 60.0


def test_jobs_check_passes_for_the_host_that_registered_alone(gateway: Gateway, capsys: pytest.CaptureFixture) -> None:
    RegisteredProcessor(gateway, hostname="processor-7")

    _check("processor-7")
    assert "Found one alive job." in capsys.readouterr().out
    with pytest.raises(SystemExit, match=r"No alive jobs found\."):
        _check("processor-8")


def test_the_command_line_of_jobs_check_finds_the_processor(gateway: Gateway) -> None:
    processor = RegisteredProcessor(gateway, hostname="processor-7")
    command = [
        sys.executable,
        "-m",
        "airflow",
        "jobs",
        "check",
        "--job-type",
        "DagProcessorJob",
        "--hostname",
        "processor-7",
    ]
    environment = {**os.environ, **gateway.database.environment}

    alive = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert (alive.returncode, "Found one alive job." in alive.stdout) == (0, True), alive.stderr[-2000:]

    processor.send("CompleteJob", input={"state": "SUCCESS"})
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert ended.returncode != 0
    assert "No alive jobs found." in ended.stderr


def test_jobs_check_fails_when_the_heartbeat_is_old_and_passes_after_the_next(gateway: Gateway) -> None:
    from airflow.jobs.job import Job
    from airflow.utils.session import create_session
    from sqlalchemy import update

    processor = RegisteredProcessor(gateway, hostname="processor-7")
    old = _job(processor.job_id).latest_heartbeat - timedelta(hours=1)
    with create_session() as session:
        session.execute(update(Job).where(Job.id == processor.job_id).values(latest_heartbeat=old))
    with pytest.raises(SystemExit, match=r"No alive jobs found\."):
        _check("processor-7")

    assert processor.send("Heartbeat")["status"] == "ACCEPTED"
    _check("processor-7")


@pytest.mark.parametrize(("state", "expected"), [("SUCCESS", "success"), ("FAILED", "failed")])
def test_completion_ends_the_job_and_can_be_sent_twice(gateway: Gateway, state: str, expected: str) -> None:
    processor = RegisteredProcessor(gateway)

    assert processor.send("CompleteJob", input={"state": state})["status"] == "ACCEPTED"
    first = _job(processor.job_id)
    assert processor.send("CompleteJob", input={"state": state})["status"] == "ACCEPTED"

    assert first.state == expected
    assert first.end_date is not None
    assert _job(processor.job_id).end_date == first.end_date


def test_a_completed_job_accepts_nothing_more(gateway: Gateway) -> None:
    processor = RegisteredProcessor(gateway)
    processor.sync("dags")
    processor.send("CompleteJob", input={"state": "SUCCESS"})

    refused = [
        processor.send("Heartbeat"),
        processor.send("CompleteJob", input={"state": "FAILED"}),
        processor.sync("dags"),
        *processor.send("UpdateBundleStates", states=[{"name": "dags", "lastRefreshed": "2026-01-01T00:00:00Z"}]),
        processor.send("ReconcileBundle", input={"bundleName": "dags", "files": [], "observedFilelocs": []}),
        processor.send("DeactivateStaleDags", input={"staleDagThreshold": 50.0}),
        processor.send("PurgeInactiveDagWarnings"),
    ]
    assert [(payload["status"], payload["reason"]) for payload in refused] == [("REFUSED", "JOB_CLOSED")] * len(refused)


def test_a_heartbeat_for_a_job_whose_row_is_gone_is_refused(gateway: Gateway) -> None:
    from airflow.jobs.job import Job
    from airflow.utils.session import create_session
    from sqlalchemy import delete

    processor = RegisteredProcessor(gateway)
    with create_session() as session:
        session.execute(delete(Job))
    assert processor.send("Heartbeat")["reason"] == "JOB_CLOSED"


def test_registering_again_gives_the_same_job_and_a_token_that_works(gateway: Gateway) -> None:
    registration_id = str(uuid.uuid4())
    first = _register(gateway, registrationId=registration_id)["job"]
    second = _register(gateway, registrationId=registration_id)["job"]

    assert second["jobId"] == first["jobId"]
    for job in (first, second):
        assert gateway.data(operation_documents()["Heartbeat"], token=job["token"])["heartbeat"]["status"] == "ACCEPTED"


def test_registrations_sent_twice_at_once_make_one_job(gateway: Gateway) -> None:
    registration_id = str(uuid.uuid4())
    jobs: list[int] = []
    together = threading.Barrier(4)

    def register() -> None:
        together.wait()
        jobs.append(_register(gateway, registrationId=registration_id)["job"]["jobId"])

    threads = [threading.Thread(target=register) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(jobs) == 4
    assert len(set(jobs)) == 1


def test_a_registration_id_is_its_subjects_own(gateway: Gateway) -> None:
    registration_id = str(uuid.uuid4())
    _register(gateway, registrationId=registration_id, subject="dag-processor:one")
    payload = _register(gateway, registrationId=registration_id, subject="dag-processor:other")
    assert (payload["reason"], payload["job"]) == ("NOT_PERMITTED", None)


def test_a_registration_whose_job_has_ended_is_refused(gateway: Gateway) -> None:
    registration_id = str(uuid.uuid4())
    processor = RegisteredProcessor(gateway, registrationId=registration_id)
    processor.send("CompleteJob", input={"state": "SUCCESS"})
    assert _register(gateway, registrationId=registration_id)["reason"] == "JOB_CLOSED"


@pytest.mark.parametrize(
    "versions",
    [
        {"airflowVersion": "3.2.0"},
        {"airflowVersion": "4.3.2"},
        {"airflowVersion": "nonsense"},
        {"contractVersion": "2.0"},
        {"contractVersion": ""},
    ],
)
def test_versions_that_do_not_fit_are_refused(gateway: Gateway, versions: dict[str, str]) -> None:
    payload = _register(gateway, **versions)
    assert payload["status"] == "REFUSED"
    assert payload["reason"] in ("VERSION_MISMATCH", "INVALID_ARGUMENT")
    assert payload["job"] is None


@pytest.mark.parametrize(
    "versions", [{"airflowVersion": "3.3.99"}, {"airflowVersion": "3.3.2rc1"}, {"contractVersion": "1.99"}]
)
def test_versions_that_differ_in_what_does_not_matter_are_accepted(gateway: Gateway, versions: dict[str, str]) -> None:
    assert _register(gateway, **versions)["status"] == "ACCEPTED"


def test_a_job_is_limited_to_the_bundles_asked_for(gateway: Gateway) -> None:
    job = _register(gateway, ["*"], bundleNames=["b", "a", "a"])["job"]
    assert job["grantedBundles"] == ["a", "b"]


def test_a_job_cannot_have_bundles_that_its_processor_token_lacks(gateway: Gateway) -> None:
    payload = _register(gateway, ["a"], bundleNames=["a", "b"])
    assert payload["reason"] == "BUNDLE_NOT_GRANTED"
    assert "b" in payload["message"]


@pytest.mark.parametrize(
    "fields", [{"hostname": "h" * 501}, {"registrationId": "r" * 37}, {"unixname": "a\0b"}, {"hostname": ""}]
)
def test_a_registration_that_no_row_can_hold_is_refused(gateway: Gateway, fields: dict[str, str]) -> None:
    assert _register(gateway, **fields)["reason"] == "INVALID_ARGUMENT"


def test_only_a_processor_token_registers_and_only_a_job_token_does_the_rest(gateway: Gateway) -> None:
    documents = operation_documents()
    for token in (gateway.job_token(1), gateway.operator_token()):
        response = gateway.execute(documents["RegisterProcessor"], {"input": registration()}, token=token)
        assert response["errors"][0]["extensions"]["code"] == "FORBIDDEN"
    for token in (gateway.processor_token(), gateway.operator_token()):
        response = gateway.execute(documents["Heartbeat"], token=token)
        assert response["errors"][0]["extensions"]["code"] == "FORBIDDEN"
