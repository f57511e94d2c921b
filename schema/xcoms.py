"""XComs that callbacks pull, as they are stored (not deserialized)."""

from __future__ import annotations

from typing import Annotated

import strawberry
from strawberry.scalars import JSON

from ..resolvers import reads, xcoms
from ..resolvers.principal import TokenKind
from ..resolvers.refusals import Refusal
from .context import Info
from .reads import FileReferenceInput, Read, found, unanswered
from .scalars import BigInt

DagIdArgument = Annotated[str, strawberry.argument(description="Id of the DAG that pushed the XCom.")]
RunIdArgument = Annotated[str, strawberry.argument(description="Id of the run that pushed it.")]
TaskIdArgument = Annotated[str, strawberry.argument(description="Id of the task that pushed it.")]
KeyArgument = Annotated[str, strawberry.argument(description="The XCom's key, such as `return_value`.")]
FileArgument = Annotated[FileReferenceInput, strawberry.argument(description="The file that asks.")]
PriorDatesArgument = Annotated[
    bool, strawberry.argument(description="Also XComs of runs with an earlier logical date, the latest first.")
]


@strawberry.type(description="One XCom, as the Task SDK's `XComResponse`.")
class XComRead(Read):
    key: str | None = strawberry.field(default=None, description="The XCom's key.")
    value: JSON | None = strawberry.field(
        default=None, description="The stored value, any JSON; a found XCom's value can be null too."
    )


@strawberry.type(description="How many XComs a mapped task pushed.")
class XComCountRead(Read):
    len: int | None = strawberry.field(default=None, description="The number of XComs, one for each map index.")


@strawberry.type(description="One XCom of a mapped task, by its position.")
class XComSequenceItemRead(Read):
    value: JSON | None = strawberry.field(
        default=None,
        description="The stored value, any JSON (`root` of the Task SDK's model); a found one can be null too.",
    )


@strawberry.type(description="XComs of a mapped task, as a Python slice of them.")
class XComSequenceSliceRead(Read):
    values: list[JSON | None] | None = strawberry.field(
        default=None,
        description="The stored values, any JSON each, in order of the slice (`root` of the Task SDK's model).",
    )


@strawberry.type
class XComQuery:
    @strawberry.field(
        description=(
            "The value of one XCom from the metadata database (no custom XCom backend is asked). Needs a job token."
        )
    )
    def xcom(
        self,
        info: Info,
        dag_id: DagIdArgument,
        run_id: RunIdArgument,
        task_id: TaskIdArgument,
        key: KeyArgument,
        file: FileArgument,
        map_index: Annotated[
            int | None, strawberry.argument(description="Map index; null or negative: not mapped.")
        ] = None,
        include_prior_dates: PriorDatesArgument = False,
    ) -> XComRead:
        principal = info.context.require(TokenKind.JOB)
        try:
            pushed = xcoms.Pushed(dag_id=dag_id, run_id=run_id, task_id=task_id, key=key)
            with info.context.reading() as session:
                reads.authorize_dag(session, principal, file.reference(), dag_id)
                xcom = xcoms.get(session, pushed, map_index=map_index, include_prior_dates=include_prior_dates)
        except (reads.AnsweredNotFound, Refusal) as error:
            return unanswered(XComRead, error)
        return found(XComRead, key=xcom.key, value=xcom.value)

    @strawberry.field(
        description="How many XComs a task pushed under a key, over all map indexes; 0 when none. Needs a job token."
    )
    def xcom_count(
        self,
        info: Info,
        dag_id: DagIdArgument,
        run_id: RunIdArgument,
        task_id: TaskIdArgument,
        key: KeyArgument,
        file: FileArgument,
    ) -> XComCountRead:
        principal = info.context.require(TokenKind.JOB)
        try:
            pushed = xcoms.Pushed(dag_id=dag_id, run_id=run_id, task_id=task_id, key=key)
            with info.context.reading() as session:
                reads.authorize_dag(session, principal, file.reference(), dag_id)
                count = xcoms.count(session, pushed)
        except (reads.AnsweredNotFound, Refusal) as error:
            return unanswered(XComCountRead, error)
        return found(XComCountRead, len=count)

    @strawberry.field(description="The XCom at one position, in order of map index. Needs a job token.")
    def xcom_sequence_item(
        self,
        info: Info,
        dag_id: DagIdArgument,
        run_id: RunIdArgument,
        task_id: TaskIdArgument,
        key: KeyArgument,
        offset: Annotated[
            BigInt, strawberry.argument(description="Position from 0; negative from the end, -1 the last.")
        ],
        file: FileArgument,
    ) -> XComSequenceItemRead:
        principal = info.context.require(TokenKind.JOB)
        try:
            pushed = xcoms.Pushed(dag_id=dag_id, run_id=run_id, task_id=task_id, key=key)
            with info.context.reading() as session:
                reads.authorize_dag(session, principal, file.reference(), dag_id)
                value = xcoms.sequence_item(session, pushed, offset=offset)
        except (reads.AnsweredNotFound, Refusal) as error:
            return unanswered(XComSequenceItemRead, error)
        return found(XComSequenceItemRead, value=value)

    @strawberry.field(
        description=(
            "XComs in order of map index, sliced as Python slices a list; empty when there are none. Needs a job token."
        )
    )
    def xcom_sequence_slice(
        self,
        info: Info,
        dag_id: DagIdArgument,
        run_id: RunIdArgument,
        task_id: TaskIdArgument,
        key: KeyArgument,
        file: FileArgument,
        start: Annotated[BigInt | None, strawberry.argument(description="The slice's start; null for none.")] = None,
        stop: Annotated[BigInt | None, strawberry.argument(description="The slice's stop; null for none.")] = None,
        step: Annotated[BigInt | None, strawberry.argument(description="The slice's step; null for 1.")] = None,
        include_prior_dates: PriorDatesArgument = False,
    ) -> XComSequenceSliceRead:
        principal = info.context.require(TokenKind.JOB)
        try:
            pushed = xcoms.Pushed(dag_id=dag_id, run_id=run_id, task_id=task_id, key=key)
            with info.context.reading() as session:
                reads.authorize_dag(session, principal, file.reference(), dag_id)
                values = xcoms.sequence_slice(
                    session, pushed, start=start, stop=stop, step=step, include_prior_dates=include_prior_dates
                )
        except (reads.AnsweredNotFound, Refusal) as error:
            return unanswered(XComSequenceSliceRead, error)
        return found(XComSequenceSliceRead, values=values)
