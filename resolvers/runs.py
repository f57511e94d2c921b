"""What callbacks ask about DAG runs and task instances, answered by the functions behind Airflow's Execution API."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, TypeVar, cast
from uuid import UUID

from airflow._shared.timezones.timezone import convert_to_utc
from airflow.api_fastapi.execution_api.routes import dag_runs, task_instances
from airflow.models.dagbag import DBDagBag
from airflow.utils.state import DagRunState, TaskInstanceState

from .reads import require_text, route
from .refusals import Refusal, RefusalReason

if TYPE_CHECKING:
    from airflow.api_fastapi.execution_api.datamodels.taskinstance import (
        DagRun,
        PreviousTIResponse,
        PrevSuccessfulDagRunResponse,
        TaskStatesResponse,
    )
    from sqlalchemy.orm import Session

State = TypeVar("State", DagRunState, TaskInstanceState)


@dataclass(frozen=True)
class TaskInstanceCriteria:
    """Which task instances of a DAG; None and an empty list leave a criterion out."""

    dag_id: str
    map_index: int | None = None
    task_ids: list[str] | None = None
    task_group_id: str | None = None
    logical_dates: list[datetime] | None = None
    run_ids: list[str] | None = None

    def __post_init__(self) -> None:
        require_text(task_ids=self.task_ids, task_group_id=self.task_group_id, run_ids=self.run_ids)

    @property
    def known_map_index(self) -> int | None:
        # As the Task SDK's client, which leaves a negative one out.
        return self.map_index if self.map_index is not None and self.map_index >= 0 else None

    @property
    def logical_dates_utc(self) -> list[datetime] | None:
        return None if self.logical_dates is None else [_utc(date) for date in self.logical_dates]


def previous_dag_run(session: Session, *, dag_id: str, logical_date: datetime, state: str | None) -> DagRun | None:
    """The latest run before ``logical_date``.

    :raises Refusal: INVALID_ARGUMENT, for a state that Airflow does not know
    """
    return dag_runs.get_previous_dagrun(dag_id, _utc(logical_date), session, _state(DagRunState, state))


def previous_successful_dag_run(session: Session, *, task_instance_id: UUID) -> PrevSuccessfulDagRunResponse:
    """The last successful run before a task instance's; all None for an id that is unknown."""
    return task_instances.get_previous_successful_dagrun(task_instance_id, session)


def task_instance_count(session: Session, criteria: TaskInstanceCriteria, *, states: list[str] | None) -> int:
    """How many task instances match.

    :raises AnsweredNotFound: the DAG of the task group, or the group, is unknown
    """
    require_text(states=states)
    with route():
        return task_instances.get_task_instance_count(
            criteria.dag_id,
            session,
            _dag_bag(),
            map_index=criteria.known_map_index,
            task_ids=criteria.task_ids,
            task_group_id=criteria.task_group_id,
            logical_dates=criteria.logical_dates_utc,
            run_ids=criteria.run_ids,
            states=states,
        )


def task_states(session: Session, criteria: TaskInstanceCriteria) -> TaskStatesResponse:
    """States of the task instances that match.

    :raises AnsweredNotFound: the DAG of the task group, or the group, is unknown
    """
    with route():
        return task_instances.get_task_instance_states(
            criteria.dag_id,
            session,
            _dag_bag(),
            map_index=criteria.known_map_index,
            task_ids=criteria.task_ids,
            task_group_id=criteria.task_group_id,
            logical_dates=criteria.logical_dates_utc,
            run_ids=criteria.run_ids,
        )


def previous_task_instance(
    session: Session, *, dag_id: str, task_id: str, logical_date: datetime | None, map_index: int, state: str | None
) -> PreviousTIResponse | None:
    """The task's instance in the latest run, before ``logical_date`` when given.

    :raises Refusal: INVALID_ARGUMENT, for a state that Airflow does not know
    """
    require_text(task_id=task_id)
    return task_instances.get_previous_task_instance(
        dag_id,
        task_id,
        session,
        logical_date=_utc(logical_date) if logical_date else None,
        map_index=map_index,
        state=_state(TaskInstanceState, state),
    )


def _dag_bag() -> DBDagBag:
    # A bag of our own each time: it is asked for one DAG at most, and its cache would never be evicted.
    return DBDagBag(load_op_links=False)


def _utc(date: datetime) -> datetime:
    return cast("datetime", convert_to_utc(date))


def _state(states: type[State], state: str | None) -> State | None:
    if not state:
        return None
    try:
        return states(state)
    except ValueError as error:
        known = ", ".join(member.value for member in states)
        raise Refusal(RefusalReason.INVALID_ARGUMENT, f"There is no state {state!r}; there are {known}.") from error
