"""What callbacks ask about DAG runs and task instances; the answers have the fields of the Task SDK's models."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import strawberry
from strawberry.scalars import JSON

from ..resolvers import reads, runs
from ..resolvers.principal import TokenKind
from ..resolvers.refusals import Refusal
from .context import Info
from .reads import FileReferenceInput, Read, found, unanswered

DagIdArgument = Annotated[str, strawberry.argument(description="Id of the DAG whose runs are meant.")]
FileArgument = Annotated[FileReferenceInput, strawberry.argument(description="The file that asks.")]
MapIndexArgument = Annotated[
    int | None, strawberry.argument(description="Only this index of mapped tasks (-1: not mapped); null for all.")
]
TaskIdsArgument = Annotated[
    list[str] | None, strawberry.argument(description="Only these tasks; null or empty for all.")
]
TaskGroupIdArgument = Annotated[
    str | None, strawberry.argument(description="Only tasks of this task group; null for all.")
]
LogicalDatesArgument = Annotated[
    list[datetime] | None, strawberry.argument(description="Only runs of these logical dates; null or empty for all.")
]
RunIdsArgument = Annotated[list[str] | None, strawberry.argument(description="Only these runs; null or empty for all.")]


@strawberry.type(description="The asset of an event that a run consumed.")
class ConsumedAsset:
    name: str = strawberry.field(description="The asset's name.")
    uri: str = strawberry.field(description="The asset's URI.")
    extra: JSON = strawberry.field(description="What the DAG's author attached to the asset: an object.")


@strawberry.type(description="An asset alias through which an event came about.")
class ConsumedAssetAlias:
    name: str = strawberry.field(description="The alias's name.")


@strawberry.type(description="An asset event that a run consumed.")
class ConsumedAssetEvent:
    asset: ConsumedAsset = strawberry.field(description="The asset that changed.")
    extra: JSON = strawberry.field(description="What was attached to the event: an object.")
    source_task_id: str | None = strawberry.field(description="Task that emitted the event; null when no task did.")
    source_dag_id: str | None = strawberry.field(description="DAG of that task; null when no task did.")
    source_run_id: str | None = strawberry.field(description="Run of that task; null when no task did.")
    source_map_index: int | None = strawberry.field(description="Map index of that task; -1 when not mapped.")
    source_aliases: list[ConsumedAssetAlias] = strawberry.field(description="The aliases through which it came about.")
    timestamp: datetime = strawberry.field(description="When the event happened (UTC).")
    partition_key: str | None = strawberry.field(description="Partition of the asset; null when it has none.")


@strawberry.type(description="A DAG run, with the fields of the Task SDK's `DagRun`. Times are UTC.")
class DagRun:
    dag_id: str = strawberry.field(description="Id of the DAG that it is a run of.")
    run_id: str = strawberry.field(description="Id of the run, unique within the DAG.")
    logical_date: datetime | None = strawberry.field(description="The run's logical date; null when it has none.")
    data_interval_start: datetime | None = strawberry.field(description="Start of its data interval; null for none.")
    data_interval_end: datetime | None = strawberry.field(description="End of its data interval; null for none.")
    run_after: datetime = strawberry.field(description="Time before which the run does not start.")
    start_date: datetime | None = strawberry.field(description="When the run started; null when it has not.")
    end_date: datetime | None = strawberry.field(description="When the run ended; null when it has not.")
    clear_number: int = strawberry.field(description="How often the run was cleared.")
    run_type: str = strawberry.field(
        description=(
            "What made the run: `backfill`, `scheduled`, `manual`, `operator_triggered`, `asset_triggered` or "
            "`asset_materialization` (Airflow's `DagRunType`)."
        )
    )
    state: str = strawberry.field(
        description="State of the run: `queued`, `running`, `success` or `failed` (Airflow's `DagRunState`)."
    )
    conf: JSON | None = strawberry.field(description="The run's configuration: an object of any shape; null for none.")
    triggering_user_name: str | None = strawberry.field(description="Who triggered the run; null when nobody did.")
    consumed_asset_events: list[ConsumedAssetEvent] = strawberry.field(
        description="Asset events that made the run; empty where Airflow's own read does not load them."
    )
    partition_key: str | None = strawberry.field(description="Partition that the run is for; null for none.")
    partition_date: datetime | None = strawberry.field(description="Date of that partition; null for none.")
    note: str | None = strawberry.field(description="The note on the run; null for none.")
    team_name: str | None = strawberry.field(description="Team of the DAG; null for none, or when not loaded.")


@strawberry.type(description="The DAG run before a logical date.")
class PreviousDagRunRead(Read):
    dag_run: DagRun | None = strawberry.field(default=None, description="The run; null when there is none.")


@strawberry.type(
    description=(
        "The last successful DAG run before a task instance's, as the Task SDK's `PrevSuccessfulDagRunResponse`. All "
        "null when there is none, or no such task instance."
    )
)
class PreviousSuccessfulDagRunRead(Read):
    data_interval_start: datetime | None = strawberry.field(default=None, description="Its interval's start (UTC).")
    data_interval_end: datetime | None = strawberry.field(default=None, description="Its interval's end (UTC).")
    start_date: datetime | None = strawberry.field(default=None, description="When it started (UTC).")
    end_date: datetime | None = strawberry.field(default=None, description="When it ended (UTC).")


@strawberry.type(description="How many task instances match.")
class TaskInstanceCountRead(Read):
    count: int | None = strawberry.field(default=None, description="The number of task instances.")


@strawberry.type(description="States of task instances by run, as the Task SDK's `TaskStatesResponse`.")
class TaskStatesRead(Read):
    task_states: JSON | None = strawberry.field(
        default=None,
        description=(
            "An object of run ids, each with an object of task ids and states (`success`, …; null: none yet). A mapped "
            "task's id has `_` and its map index behind it."
        ),
    )


@strawberry.type(description="A task instance, with the fields of the Task SDK's `PreviousTIResponse`. Times are UTC.")
class PreviousTaskInstance:
    task_id: str = strawberry.field(description="Id of the task, unique in its DAG.")
    dag_id: str = strawberry.field(description="Id of the DAG that the task belongs to.")
    run_id: str = strawberry.field(description="Id of the run, unique within the DAG.")
    logical_date: datetime | None = strawberry.field(description="The run's logical date; null when it has none.")
    start_date: datetime | None = strawberry.field(description="When it started; null when it has not.")
    end_date: datetime | None = strawberry.field(description="When it ended; null when it has not.")
    state: str | None = strawberry.field(description="Its state (Airflow's `TaskInstanceState`); null for none yet.")
    try_number: int = strawberry.field(description="Number of its latest try.")
    map_index: int | None = strawberry.field(description="Its map index; -1 when not mapped.")
    duration: float | None = strawberry.field(description="Seconds that it ran; null when it has not ended.")


@strawberry.type(description="The task instance of the latest run before a logical date.")
class PreviousTaskInstanceRead(Read):
    task_instance: PreviousTaskInstance | None = strawberry.field(
        default=None, description="The task instance; null when there is none."
    )


def _dag_run(fields: dict[str, Any]) -> DagRun:
    typed: dict[str, Any] = {
        "run_type": fields["run_type"].value,
        "state": fields["state"].value,
        "consumed_asset_events": [_consumed_asset_event(event) for event in fields["consumed_asset_events"]],
    }
    return DagRun(**{**fields, **typed})


def _consumed_asset_event(fields: dict[str, Any]) -> ConsumedAssetEvent:
    typed: dict[str, Any] = {
        "asset": ConsumedAsset(**fields["asset"]),
        "source_aliases": [ConsumedAssetAlias(**alias) for alias in fields["source_aliases"]],
    }
    return ConsumedAssetEvent(**{**fields, **typed})


@strawberry.type
class RunQuery:
    @strawberry.field(
        description=(
            "The latest DAG run whose logical date is before the given one, in one state if that is given. Needs a job "
            "token."
        )
    )
    def previous_dag_run(
        self,
        info: Info,
        dag_id: DagIdArgument,
        logical_date: Annotated[datetime, strawberry.argument(description="Runs before this logical date.")],
        file: FileArgument,
        state: Annotated[
            str | None,
            strawberry.argument(description="`queued`, `running`, `success` or `failed`; null for any state."),
        ] = None,
    ) -> PreviousDagRunRead:
        principal = info.context.require(TokenKind.JOB)
        try:
            with info.context.reading() as session:
                reads.authorize_dag(session, principal, file.reference(), dag_id)
                run = runs.previous_dag_run(session, dag_id=dag_id, logical_date=logical_date, state=state)
        except (reads.AnsweredNotFound, Refusal) as error:
            return unanswered(PreviousDagRunRead, error)
        return found(PreviousDagRunRead, dag_run=_dag_run(run.model_dump()) if run else None)

    @strawberry.field(
        description=(
            "The last successful DAG run before the run of a task instance. An unknown id is answered with nulls, as "
            "Airflow does. Needs a job token."
        )
    )
    def previous_successful_dag_run(
        self,
        info: Info,
        task_instance_id: Annotated[
            UUID, strawberry.argument(description="Id of the task instance whose DAG is meant.")
        ],
        file: FileArgument,
    ) -> PreviousSuccessfulDagRunRead:
        principal = info.context.require(TokenKind.JOB)
        try:
            with info.context.reading() as session:
                reads.authorize_task_instance(session, principal, file.reference(), task_instance_id)
                run = runs.previous_successful_dag_run(session, task_instance_id=task_instance_id)
        except (reads.AnsweredNotFound, Refusal) as error:
            return unanswered(PreviousSuccessfulDagRunRead, error)
        return found(PreviousSuccessfulDagRunRead, **run.model_dump())

    @strawberry.field(
        description=(
            "How many task instances match all the given criteria. `NOT_FOUND` when the task group is unknown. Needs a "
            "job token."
        )
    )
    def task_instance_count(
        self,
        info: Info,
        dag_id: DagIdArgument,
        file: FileArgument,
        map_index: MapIndexArgument = None,
        task_ids: TaskIdsArgument = None,
        task_group_id: TaskGroupIdArgument = None,
        logical_dates: LogicalDatesArgument = None,
        run_ids: RunIdsArgument = None,
        states: Annotated[
            list[str] | None,
            strawberry.argument(
                description="Only these states, the text `null` for those without one; null or empty for all."
            ),
        ] = None,
    ) -> TaskInstanceCountRead:
        principal = info.context.require(TokenKind.JOB)
        try:
            criteria = runs.TaskInstanceCriteria(
                dag_id=dag_id,
                map_index=map_index,
                task_ids=task_ids,
                task_group_id=task_group_id,
                logical_dates=logical_dates,
                run_ids=run_ids,
            )
            with info.context.reading() as session:
                reads.authorize_dag(session, principal, file.reference(), dag_id)
                count = runs.task_instance_count(session, criteria, states=states)
        except (reads.AnsweredNotFound, Refusal) as error:
            return unanswered(TaskInstanceCountRead, error)
        return found(TaskInstanceCountRead, count=count)

    @strawberry.field(
        description=(
            "States of the task instances that match all the given criteria; tasks of the task group besides those "
            "named. `NOT_FOUND` when the task group is unknown. Needs a job token."
        )
    )
    def task_states(
        self,
        info: Info,
        dag_id: DagIdArgument,
        file: FileArgument,
        map_index: MapIndexArgument = None,
        task_ids: TaskIdsArgument = None,
        task_group_id: TaskGroupIdArgument = None,
        logical_dates: LogicalDatesArgument = None,
        run_ids: RunIdsArgument = None,
    ) -> TaskStatesRead:
        principal = info.context.require(TokenKind.JOB)
        try:
            criteria = runs.TaskInstanceCriteria(
                dag_id=dag_id,
                map_index=map_index,
                task_ids=task_ids,
                task_group_id=task_group_id,
                logical_dates=logical_dates,
                run_ids=run_ids,
            )
            with info.context.reading() as session:
                reads.authorize_dag(session, principal, file.reference(), dag_id)
                states = runs.task_states(session, criteria)
        except (reads.AnsweredNotFound, Refusal) as error:
            return unanswered(TaskStatesRead, error)
        return found(TaskStatesRead, task_states=states.model_dump(mode="json")["task_states"])

    @strawberry.field(
        description=(
            "The instance of a task in the latest run, before a logical date and in one state if these are given. "
            "Needs a job token."
        )
    )
    def previous_task_instance(
        self,
        info: Info,
        dag_id: DagIdArgument,
        task_id: Annotated[str, strawberry.argument(description="Id of the task, unique in its DAG.")],
        file: FileArgument,
        logical_date: Annotated[
            datetime | None, strawberry.argument(description="Only runs before this logical date; null for all.")
        ] = None,
        map_index: Annotated[int, strawberry.argument(description="Map index; -1: not mapped.")] = -1,
        state: Annotated[
            str | None,
            strawberry.argument(description="Only this state (Airflow's `TaskInstanceState`); null for any."),
        ] = None,
    ) -> PreviousTaskInstanceRead:
        principal = info.context.require(TokenKind.JOB)
        try:
            with info.context.reading() as session:
                reads.authorize_dag(session, principal, file.reference(), dag_id)
                instance = runs.previous_task_instance(
                    session,
                    dag_id=dag_id,
                    task_id=task_id,
                    logical_date=logical_date,
                    map_index=map_index,
                    state=state,
                )
        except (reads.AnsweredNotFound, Refusal) as error:
            return unanswered(PreviousTaskInstanceRead, error)
        return found(
            PreviousTaskInstanceRead,
            task_instance=PreviousTaskInstance(**instance.model_dump()) if instance else None,
        )
