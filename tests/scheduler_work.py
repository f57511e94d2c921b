"""What the scheduler and operators leave for DAG processors, written by Airflow's own code; and what became of it."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.callbacks.callback_requests import DagCallbackRequest, TaskCallbackRequest

    from parsegate.resolvers.tables import Claim


def dag_callback(run_id: str = "run", *, bundle: str = "dags", filepath: str = "a.py") -> DagCallbackRequest:
    from airflow.callbacks.callback_requests import DagCallbackRequest

    return DagCallbackRequest(
        filepath=filepath,
        bundle_name=bundle,
        bundle_version=None,
        msg="the run failed",
        dag_id="orders",
        run_id=run_id,
        is_failure_callback=True,
    )


def task_callback(run_id: str = "run", *, bundle: str = "dags") -> TaskCallbackRequest:
    """With the whole context that the scheduler adds."""
    from airflow._shared.timezones.timezone import utcnow
    from airflow.api_fastapi.execution_api.datamodels.taskinstance import DagRun, TaskInstance, TIRunContext
    from airflow.callbacks.callback_requests import TaskCallbackRequest
    from airflow.utils.state import DagRunState, TaskInstanceState
    from airflow.utils.types import DagRunType

    return TaskCallbackRequest(
        filepath="a.py",
        bundle_name=bundle,
        bundle_version="9f2c",
        ti=TaskInstance(
            id=uuid.uuid4(),
            task_id="load",
            dag_id="orders",
            run_id=run_id,
            try_number=2,
            dag_version_id=uuid.uuid4(),
            map_index=3,
            context_carrier={"traceparent": "00-1"},
        ),
        task_callback_type=TaskInstanceState.UP_FOR_RETRY,
        context_from_server=TIRunContext(
            dag_run=DagRun(
                dag_id="orders",
                run_id=run_id,
                logical_date=utcnow(),
                data_interval_start=utcnow(),
                data_interval_end=utcnow(),
                run_after=utcnow(),
                start_date=utcnow(),
                end_date=None,
                run_type=DagRunType.SCHEDULED,
                state=DagRunState.RUNNING,
                conf={"nested": {"ümlaut": [1, None, 2.5]}},
                consumed_asset_events=[],
                partition_key=None,
            ),
            max_tries=3,
        ),
    )


def leave_callbacks(*requests: Any, priority_weight: int = 1, created_at: datetime | None = None) -> list[uuid.UUID]:
    """Callbacks as :class:`airflow.callbacks.database_callback_sink.DatabaseCallbackSink` leaves them; their ids."""
    from airflow.models.db_callback_request import DbCallbackRequest

    from parsegate.resolvers.database import transaction

    with transaction() as session:
        rows = [DbCallbackRequest(callback=request, priority_weight=priority_weight) for request in requests]
        for row in rows:
            if created_at is not None:
                row.created_at = created_at
            session.add(row)
        session.flush()
        return [row.id for row in rows]


def leave_parse_requests(*filelocs: str, bundle: str = "dags") -> None:
    from airflow.models.dagbag import DagPriorityParsingRequest

    from parsegate.resolvers.database import transaction

    with transaction() as session:
        session.add_all(DagPriorityParsingRequest(bundle_name=bundle, relative_fileloc=path) for path in filelocs)


def left_callbacks() -> list[uuid.UUID]:
    """Ids in Airflow's ``callback`` table, whatever their type."""
    from airflow.models.callback import Callback
    from sqlalchemy import select

    from parsegate.resolvers.database import reading

    with reading() as session:
        return list(session.scalars(select(Callback.id).order_by(Callback.id)))


def left_parse_requests() -> list[str]:
    from airflow.models.dagbag import DagPriorityParsingRequest
    from sqlalchemy import select

    from parsegate.resolvers.database import reading

    with reading() as session:
        return sorted(session.scalars(select(DagPriorityParsingRequest.relative_fileloc)))


def stored_claims() -> dict[str, Claim]:
    """Our rows, by id."""
    from sqlalchemy import select

    from parsegate.resolvers.database import reading
    from parsegate.resolvers.tables import Claim

    with reading() as session:
        return {row.id: row for row in session.scalars(select(Claim))}


def expire(*lease_ids: str) -> None:
    """As if the leases had been taken, or last renewed, so long ago that they have just expired, and what was released
    had rested by now."""
    from airflow._shared.timezones.timezone import utcnow
    from sqlalchemy import update

    from parsegate.resolvers.database import transaction
    from parsegate.resolvers.tables import Claim

    with transaction() as session:
        session.execute(update(Claim).where(Claim.id.in_(lease_ids)).values(expires_at=utcnow() - timedelta(seconds=1)))


def run_ids(leases: Sequence[dict[str, Any]]) -> list[str]:
    """Of leased DAG callbacks, in order."""
    return [lease["callback"]["run_id"] for lease in leases]
