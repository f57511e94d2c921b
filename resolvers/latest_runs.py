"""The runs that Airflow looks at when it stores a DAG, read for many DAGs at once.

Airflow 3.3.2 (``dag_processing/collection.py:_RunInfo``) asks for the latest automated run of each DAG in a statement
of its own. Here the same subqueries are put to a list of DAG ids; the DAGs need not have rows yet.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from airflow.models.dagrun import DagRun
from airflow.utils.types import DagRunType
from sqlalchemy import column, func, select, values
from sqlalchemy.orm import aliased, load_only

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement
    from sqlalchemy.orm import Session

_AUTOMATED = (DagRunType.BACKFILL_JOB, DagRunType.SCHEDULED)
_COLUMNS = load_only(
    DagRun.dag_id,
    DagRun.logical_date,
    DagRun.run_after,
    DagRun.data_interval_start,
    DagRun.data_interval_end,
    DagRun.partition_key,
    DagRun.partition_date,
)


def read(session: Session, partitioned: Mapping[str, bool]) -> dict[str, DagRun]:
    """The latest automated run of each DAG that has one.

    :param partitioned: by DAG id, whether its timetable is
    """
    runs: dict[str, DagRun] = {}
    for kind in (False, True):
        dag_ids = [dag_id for dag_id, is_partitioned in partitioned.items() if is_partitioned is kind]
        if dag_ids:
            # SQLite names the columns of such a list in a CTE alone.
            asked = values(column("dag_id", DagRun.dag_id.type)).data([(name,) for name in dag_ids]).cte("asked")
            is_latest = _is_latest_partition if kind else _is_latest
            found = session.scalars(
                select(DagRun)
                .join(asked, DagRun.dag_id == asked.c.dag_id)
                .where(is_latest(asked.c.dag_id))
                .options(_COLUMNS)
            )
            runs.update({run.dag_id: run for run in found})
    return runs


def count_active(session: Session, dag_ids: Collection[str]) -> dict[str, int]:
    """How many runs of each DAG are active, backfills apart; DAGs without one are left out."""
    if not dag_ids:
        return {}
    return DagRun.active_runs_of_dags(dag_ids=dag_ids, exclude_backfill=True, session=session)


def _is_latest(dag_id: ColumnElement[Any]) -> ColumnElement[bool]:
    """As ``_get_latest_runs_stmt``."""
    run = aliased(DagRun)
    latest = select(func.max(run.logical_date)).where(run.dag_id == dag_id, run.run_type.in_(_AUTOMATED))
    return DagRun.logical_date == latest.correlate(dag_id.table).scalar_subquery()


def _is_latest_partition(dag_id: ColumnElement[Any]) -> ColumnElement[bool]:
    """As ``_get_latest_runs_stmt_partitioned``."""
    run = aliased(DagRun)
    latest = (
        select(run.id)
        .where(run.dag_id == dag_id, run.run_type.in_(_AUTOMATED), run.partition_key.is_not(None))
        .order_by(run.partition_date.is_(None), run.partition_date.desc(), run.run_after.desc())
        .limit(1)
    )
    return DagRun.id == latest.correlate(dag_id.table).scalar_subquery()
