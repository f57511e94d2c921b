"""XComs that callbacks pull, as the database stores them, by the functions behind Airflow's Execution API."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow.api_fastapi.execution_api.routes.xcoms import (
    GetXcomFilterParams,
    GetXComSliceFilterParams,
    get_mapped_xcom_by_index,
    get_mapped_xcom_by_slice,
    get_xcom,
)
from airflow.models.xcom import XComModel
from airflow.utils.db import get_query_count

from .reads import require_text, route

if TYPE_CHECKING:
    from airflow.api_fastapi.execution_api.datamodels.xcom import XComResponse
    from pydantic import JsonValue
    from sqlalchemy.orm import Session

_BEYOND_ANY_MAP_INDEX = 2**32


@dataclass(frozen=True)
class Pushed:
    """Which task pushed the XCom, and under which key."""

    dag_id: str
    run_id: str
    task_id: str
    key: str

    def __post_init__(self) -> None:
        require_text(dag_id=self.dag_id, run_id=self.run_id, task_id=self.task_id, key=self.key)


def get(session: Session, pushed: Pushed, *, map_index: int | None, include_prior_dates: bool) -> XComResponse:
    """One XCom.

    :raises AnsweredNotFound: there is none
    """
    # The Task SDK's client leaves out an index that is missing or negative.
    index = map_index if map_index is not None and map_index >= 0 else -1
    with route():
        return get_xcom(
            pushed.dag_id,
            pushed.run_id,
            pushed.task_id,
            pushed.key,
            session,
            GetXcomFilterParams(map_index=index, include_prior_dates=include_prior_dates),
        )


def count(session: Session, pushed: Pushed, *, include_prior_dates: bool = False) -> int:
    """How many map indexes have an XCom, as the route ``head_xcom`` counts them into a header."""
    pulled = XComModel.get_many(
        run_id=pushed.run_id,
        key=pushed.key,
        task_ids=pushed.task_id,
        dag_ids=pushed.dag_id,
        include_prior_dates=include_prior_dates,
    )
    return get_query_count(pulled, session=session)


def sequence_item(session: Session, pushed: Pushed, *, offset: int) -> JsonValue:
    """The XCom at ``offset``, in order of map index, from the end when negative.

    :raises AnsweredNotFound: there is none
    """
    with route():
        return get_mapped_xcom_by_index(
            pushed.dag_id, pushed.run_id, pushed.task_id, pushed.key, _within(offset), session
        ).root


def sequence_slice(
    session: Session,
    pushed: Pushed,
    *,
    start: int | None,
    stop: int | None,
    step: int | None,
    include_prior_dates: bool,
) -> list[JsonValue]:
    """XComs in order of map index, sliced as Python slices a list.

    Airflow's route is given a slice that lies within the sequence, forwards: what others become there, a LIMIT or
    OFFSET below zero, is an error on PostgreSQL and too much on SQLite (3.3.2).
    """
    positions = range(count(session, pushed, include_prior_dates=include_prior_dates))[slice(start, stop, step or 1)]
    if not positions:
        return []
    forwards = positions if positions.step > 0 else positions[::-1]
    params = GetXComSliceFilterParams(
        start=forwards[0], stop=forwards[-1] + 1, step=forwards.step, include_prior_dates=include_prior_dates
    )
    with route():
        values = get_mapped_xcom_by_slice(
            pushed.dag_id, pushed.run_id, pushed.task_id, pushed.key, params, session
        ).root
    return values if positions.step > 0 else values[::-1]


def _within(position: int) -> int:
    """``position``, or one that means the same and leaves the database room to add to it."""
    return max(-_BEYOND_ANY_MAP_INDEX, min(_BEYOND_ANY_MAP_INDEX, position))
