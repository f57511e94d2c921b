"""Callbacks that the scheduler asks for run in a parse child of a processor without a database."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dag_files
import pytest
from airflow_database import AirflowDatabase
from running_gateway import PARSEGATE, RunningGateway
from running_processor import RunningProcessor, local_bundle, processor_of
from stored_rows import active_dags, claims, waiting_callbacks

MAX_ATTEMPTS = 2
DAGS = {"reporting", "raising", "dying"}


@pytest.fixture(scope="module")
def gateway_settings() -> dict[str, str]:
    return {"AIRFLOW__PARSEGATE__MAX_ATTEMPTS": str(MAX_ATTEMPTS)}


@pytest.fixture(scope="module")
def reports(home: Path) -> Path:
    """Where the callbacks leave what they saw; any user may write there."""
    reports = home / "reports"
    reports.mkdir()
    return reports


@pytest.fixture(scope="module")
def processor(gateway: RunningGateway, home: Path, reports: Path) -> Iterator[RunningProcessor]:
    """A processor that has stored the DAGs and has nothing more to do."""
    dag_files.write(home / "dags", callbacks=dag_files.CALLBACKS.format(reports=str(reports)))
    settings = {"dag_processor": {"min_file_process_interval": "600"}}
    bundle = local_bundle("dags", home / "dags", refresh_interval=600)
    with processor_of(gateway, home, [bundle], settings=settings) as processor:
        processor.start()
        processor.until(lambda: active_dags().keys() == DAGS, "the DAGs are stored", timeout=60)
        yield processor


@pytest.fixture(scope="module")
def runs(processor: RunningProcessor, database: AirflowDatabase) -> dict[str, Any]:
    """A run of each DAG, made from what was stored, with the context that the scheduler would send."""
    from airflow.models.dagbag import DBDagBag
    from airflow.utils import timezone
    from airflow.utils.session import create_session
    from airflow.utils.types import DagRunTriggeredByType, DagRunType

    ids = {}
    with create_session() as session:
        for dag_id in DAGS:
            dag = DBDagBag().get_latest_version_of_dag(dag_id, session=session)
            assert dag is not None
            run = dag.create_dagrun(
                run_id=f"run_of_{dag_id}",
                run_type=DagRunType.MANUAL,
                run_after=timezone.utcnow(),
                triggered_by=DagRunTriggeredByType.TEST,
                state="running",
                conf={"from": "the test"},
                session=session,
            )
            ids[dag_id] = run.id
    return ids


def send(request: Any) -> None:
    from airflow.callbacks.database_callback_sink import DatabaseCallbackSink

    DatabaseCallbackSink().send(request)


def task_callback(dag_id: str, kind: str | None) -> Any:
    """As ``SchedulerJobRunner.process_executor_events`` makes it for a task that was killed."""
    from airflow.api_fastapi.execution_api.datamodels.taskinstance import DagRun as DRDataModel
    from airflow.api_fastapi.execution_api.datamodels.taskinstance import TIRunContext
    from airflow.callbacks.callback_requests import TaskCallbackRequest
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session
    from airflow.utils.state import TaskInstanceState
    from sqlalchemy import select

    with create_session() as session:
        ti = session.scalars(select(TaskInstance).where(TaskInstance.dag_id == dag_id)).one()
        ti.refresh_from_db(session=session)
        ti.try_number = 1
        return TaskCallbackRequest(
            filepath=ti.dag_model.relative_fileloc or "",
            bundle_name="dags",
            bundle_version=None,
            ti=ti,
            msg="killed from outside",
            task_callback_type=TaskInstanceState(kind) if kind else None,
            context_from_server=TIRunContext(
                dag_run=DRDataModel.model_validate(ti.dag_run, from_attributes=True),
                max_tries=ti.max_tries,
                variables=[],
                connections=[],
                xcom_keys_to_clear=[],
            ),
        )


def dag_callback(dag_id: str, *, failed: bool = True, filepath: str = "callbacks.py") -> Any:
    """As ``DagRun.produce_dag_callback`` makes it."""
    from airflow.callbacks.callback_requests import DagCallbackRequest, DagRunContext
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        run = session.scalar(select(DagRun).where(DagRun.dag_id == dag_id))
        context = (
            None if run is None else DagRunContext(dag_run=run, last_ti=run.get_task_instances(session=session)[0])
        )
        return DagCallbackRequest(
            filepath=filepath,
            bundle_name="dags",
            bundle_version=None,
            dag_id=dag_id,
            run_id=f"run_of_{dag_id}",
            is_failure_callback=failed,
            msg="task_failure",
            context_from_server=context,
        )


def report_of(processor: RunningProcessor, reports: Path, name: str) -> dict[str, Any]:
    path = reports / f"{name}.json"
    text = processor.until(lambda: path.exists() and path.read_text(), f"the callback has left {path.name}")
    return json.loads(text)


def acknowledged(processor: RunningProcessor) -> None:
    """Wait until no callback is waiting or leased."""
    processor.until(
        lambda: waiting_callbacks() == 0 and not [claim for claim in claims() if claim.state != "PARKED"],
        "the callback is acknowledged",
    )


@pytest.mark.parametrize(("kind", "name"), [("failed", "failure"), ("up_for_retry", "retry")], ids=["failure", "retry"])
def test_a_task_callback_runs_in_a_child_with_its_context(
    processor: RunningProcessor, runs: dict[str, Any], reports: Path, kind: str, name: str
) -> None:
    send(task_callback("reporting", kind))

    seen = report_of(processor, reports, name)

    assert seen["task_id"] == "work"
    assert seen["dag_id"] == "reporting"
    assert seen["run_id"] == "run_of_reporting"
    assert seen["conf"] == {"from": "the test"}
    assert seen["try_number"] == 1
    assert seen["pid"] != processor.pid
    acknowledged(processor)


@pytest.mark.parametrize(("failed", "name"), [(True, "dag"), (False, "dag_success")], ids=["failure", "success"])
def test_a_dag_callback_runs_in_a_child_with_its_context(
    processor: RunningProcessor, runs: dict[str, Any], reports: Path, failed: bool, name: str
) -> None:
    send(dag_callback("reporting", failed=failed))

    seen = report_of(processor, reports, name)

    assert seen["reason"] == "task_failure"
    assert seen["run_id"] == "run_of_reporting"
    assert seen["run_type"] == "manual"
    assert seen["task_id"] == "work"
    acknowledged(processor)


def test_a_callback_that_raises_is_acknowledged(
    processor: RunningProcessor, runs: dict[str, Any], reports: Path
) -> None:
    send(dag_callback("raising"))

    report_of(processor, reports, "raises")

    acknowledged(processor)
    assert not [claim for claim in claims() if claim.payload.get("dag_id") == "raising"]


def test_a_callback_whose_dag_is_gone_is_released_until_it_is_parked(
    processor: RunningProcessor, runs: dict[str, Any]
) -> None:
    send(dag_callback("gone"))

    parked = processor.until(
        lambda: [claim for claim in claims() if claim.payload.get("dag_id") == "gone" and claim.state == "PARKED"],
        "the callback is parked",
    )

    assert [(claim.attempts, claim.last_outcome) for claim in parked] == [(MAX_ATTEMPTS, "NOT_FOUND")]


def test_a_callback_whose_child_is_killed_is_tried_again_until_it_is_parked(
    processor: RunningProcessor, runs: dict[str, Any], reports: Path
) -> None:
    send(dag_callback("dying"))

    parked = processor.until(
        lambda: [claim for claim in claims() if claim.payload.get("dag_id") == "dying" and claim.state == "PARKED"],
        "the callback is parked",
        timeout=60,
    )

    assert [claim.attempts for claim in parked] == [MAX_ATTEMPTS]
    assert (reports / "dies").read_text() == "x" * MAX_ATTEMPTS


def test_a_parse_request_of_an_operator_is_answered_by_a_parse(
    processor: RunningProcessor, gateway: RunningGateway
) -> None:
    from airflow.models.dagbag import DagPriorityParsingRequest
    from airflow.utils.session import create_session
    from stored_rows import ledger

    before = ledger()["dags/callbacks.py"].last_parsed_at
    with create_session() as session:
        session.add(DagPriorityParsingRequest(bundle_name="dags", relative_fileloc="callbacks.py"))

    processor.until(lambda: ledger()["dags/callbacks.py"].last_parsed_at > before, "the file is parsed again")

    processor.until(
        lambda: not [claim for claim in claims() if claim.state != "PARKED"], "the parse request is acknowledged"
    )


def test_an_idle_processor_asks_at_most_every_two_seconds(processor: RunningProcessor, gateway: RunningGateway) -> None:
    acknowledged(processor)
    time.sleep(2)
    seconds = 10
    before = gateway.request_count

    time.sleep(seconds)

    sent = gateway.request_count - before
    assert 1 <= sent <= seconds / 2 + 1


def test_a_callback_is_picked_up_soon_by_an_idle_processor(
    processor: RunningProcessor, runs: dict[str, Any], reports: Path
) -> None:
    acknowledged(processor)
    (reports / "dag.json").unlink(missing_ok=True)
    sent = time.monotonic()
    send(dag_callback("reporting"))

    processor.until(lambda: waiting_callbacks() == 0, "the callback is claimed")

    # Three seconds are promised; the rest is for a machine that is busy with other tests.
    assert time.monotonic() - sent < 6


def test_airflow_tells_the_running_processor_by_its_job(processor: RunningProcessor, database: AirflowDatabase) -> None:
    assert job_check(database, processor.hostname) == 0
    assert job_check(database, "another.host") == 1


def test_the_local_probe_tells_that_the_processor_is_well(processor: RunningProcessor) -> None:
    processor.until(lambda: local_probe(processor).returncode == 0, "the probe says that it is well")


def local_probe(processor: RunningProcessor) -> subprocess.CompletedProcess[str]:
    """``parsegate status --local``, as a container's probe would run it."""
    return subprocess.run(
        [*PARSEGATE, "status", "--local"], env=processor.process_environment, capture_output=True, text=True
    )


def job_check(database: AirflowDatabase, hostname: str) -> int:
    """Exit code of Airflow's own probe."""
    return subprocess.run(
        [sys.executable, "-m", "airflow", "jobs", "check", "--job-type", "DagProcessorJob", "--hostname", hostname],
        env={**os.environ, **database.environment},
        capture_output=True,
    ).returncode


def test_a_stopped_processor_completes_its_job(processor: RunningProcessor, database: AirflowDatabase) -> None:
    from airflow.jobs.job import Job
    from airflow.utils.session import create_session
    from sqlalchemy import select

    assert processor.stop() == 0

    with create_session() as session:
        assert session.scalars(select(Job.state)).all() == ["success"]
    assert job_check(database, processor.hostname) == 1
    assert local_probe(processor).returncode == 1
