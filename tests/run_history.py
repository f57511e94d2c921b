"""A DAG with a history: stored through the gateway, its runs, task instances and XComs made by Airflow's own code.

Four daily runs of ``history`` (succeeded, failed, succeeded, running), the second triggered by a person, and one
without a logical date. Beside them, the Execution API that a stock DAG processor asks, in this process.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from airflow_database import AirflowDatabases
from gateway_app import Gateway
from parsed_files import ParsedFile, parse
from registered_processor import RegisteredProcessor

if TYPE_CHECKING:
    from airflow.sdk.api.client import Client

HISTORY = """
import pendulum
from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, TaskGroup

with DAG("history", schedule="@daily", start_date=pendulum.datetime(2024, 1, 1, tz="UTC"), catchup=False):
    with TaskGroup("group"):
        EmptyOperator(task_id="one")
        EmptyOperator(task_id="two")
    EmptyOperator(task_id="single")
    BashOperator.partial(task_id="mapped").expand(bash_command=["a", "b", "c", "d", "e"])
"""
FIRST_DAY = datetime(2024, 1, 1, tzinfo=UTC)
STATES = ("success", "failed", "success", "running")
VALUES: list[Any] = [{"nested": [1, None, "ü"]}, None, 3.5, "text", [[], {}]]
"""What each map index of ``mapped`` pushed in each run."""


@cache
def _parsed() -> list[ParsedFile]:
    with tempfile.TemporaryDirectory() as directory:
        Path(directory, "history.py").write_text(HISTORY)
        return parse("dags", Path(directory))


def day(number: int) -> datetime:
    return FIRST_DAY + timedelta(days=number)


def run_id(number: int) -> str:
    return f"day_{number}"


def make_history(processor: RegisteredProcessor) -> None:
    """In bundle ``dags``, which must be synced."""
    from airflow.models.dagbag import DBDagBag
    from airflow.models.xcom import XComModel
    from airflow.utils.state import DagRunState, TaskInstanceState
    from airflow.utils.types import DagRunTriggeredByType, DagRunType

    from parsegate.resolvers.database import transaction

    (outcome,) = processor.record_files(*_parsed())
    assert outcome["status"] == "ACCEPTED", outcome
    with transaction() as session:
        dag = DBDagBag().get_latest_version_of_dag("history", session=session)
        assert dag is not None
        for number, state in enumerate(STATES):
            run = dag.create_dagrun(
                run_id=run_id(number),
                logical_date=day(number),
                data_interval=(day(number), day(number + 1)),
                run_after=day(number + 1),
                run_type=DagRunType.MANUAL if number == 1 else DagRunType.SCHEDULED,
                triggered_by=DagRunTriggeredByType.UI if number == 1 else DagRunTriggeredByType.TIMETABLE,
                triggering_user_name="ada" if number == 1 else None,
                conf={"depth": {"of": ["conf"]}} if number == 1 else None,
                state=DagRunState(state),
                start_date=day(number + 1),
                note="looked at" if number == 1 else None,
                session=session,
            )
            run.end_date = None if state == "running" else day(number + 1) + timedelta(minutes=5)
            for instance in run.get_task_instances(session=session):
                instance.state = None if state == "running" else TaskInstanceState(state)
                instance.start_date = day(number + 1) + timedelta(seconds=1)
                instance.end_date = day(number + 1) + timedelta(seconds=3)
                instance.duration = 2.0
            session.flush()
            for index, value in enumerate(VALUES):
                _push(XComModel, "mapped", number, index, value, session)
            _push(XComModel, "single", number, -1, {"day": number}, session)
        _push(XComModel, "single", 0, -1, "first", session, key="pushed on the first day")
        dag.create_dagrun(
            run_id="undated",
            run_after=day(9),
            run_type=DagRunType.MANUAL,
            triggered_by=DagRunTriggeredByType.UI,
            state=DagRunState.QUEUED,
            session=session,
        )


def _push(
    xcoms: Any, task_id: str, number: int, map_index: int, value: Any, session: Any, key: str = "return_value"
) -> None:
    xcoms.set(
        key,
        value,
        dag_id="history",
        task_id=task_id,
        run_id=run_id(number),
        map_index=map_index,
        serialize=False,
        session=session,
    )


def task_instance_id(number: int, task_id: str = "single") -> str:
    from airflow.models.taskinstance import TaskInstance
    from sqlalchemy import select

    from parsegate.resolvers.database import reading

    with reading() as session:
        found = select(TaskInstance.id).where(
            TaskInstance.dag_id == "history", TaskInstance.run_id == run_id(number), TaskInstance.task_id == task_id
        )
        return str(session.scalars(found).one())


@cache
def stock_client() -> Client:
    """The client of the Execution API that :class:`DagFileProcessorManager` has, on whatever database is in use.

    One for the whole process: Airflow leaves the event loop of each open.
    """
    from airflow.api_fastapi.execution_api.app import InProcessExecutionAPI
    from airflow.sdk.api.client import Client

    client = Client(base_url=None, token="", dry_run=True, transport=InProcessExecutionAPI().transport)
    client.base_url = "http://in-process.invalid./"
    return client


@dataclass(frozen=True)
class History:
    """The gateway and stock Airflow on one database with that history."""

    gateway: Gateway
    processor: RegisteredProcessor
    stock: Client


@pytest.fixture(scope="module")
def history(airflow_databases: AirflowDatabases) -> Iterator[History]:
    """For the reads of one module; a test that writes restores what it changed, or takes a database of its own."""
    database = airflow_databases.create()
    with database.in_use():
        gateway = Gateway(database)
        processor = RegisteredProcessor(gateway)
        processor.sync("dags")
        make_history(processor)
        yield History(gateway, processor, stock_client())
        gateway.close()
    airflow_databases.drop(database)
