"""The runs that Airflow looks at when it stores a DAG, read for many DAGs at once.

Airflow 3.3.2 (``dag_processing/collection.py:_RunInfo``) asks for the latest automated run of each DAG in a statement
of its own. Here the same subqueries are put to a list of DAG ids, whose DAGs need not have rows yet (:func:`read`), or
are part of a statement that asks more (:func:`rows`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow.models.dag import DagModel
from airflow.models.dagrun import DagRun
from airflow.utils.state import DagRunState
from airflow.utils.types import DagRunType
from sqlalchemy import and_, column, func, select, values
from sqlalchemy.orm import aliased, load_only

from .chunks import chunks

if TYPE_CHECKING:
    from sqlalchemy import CTE, BindParameter, ColumnElement, ScalarSelect, Select
    from sqlalchemy.orm import InstrumentedAttribute, Session

_AUTOMATED = (DagRunType.BACKFILL_JOB, DagRunType.SCHEDULED)
COLUMNS: tuple[InstrumentedAttribute[Any], ...] = (
    DagRun.id,
    DagRun.dag_id,
    DagRun.logical_date,
    DagRun.run_after,
    DagRun.data_interval_start,
    DagRun.data_interval_end,
    DagRun.partition_key,
    DagRun.partition_date,
)
"""What timetables look at."""


class Runs(NamedTuple):
    """The latest automated run of a DAG, and how many of its runs are active, backfills apart."""

    latest: DagRun | None = None
    active: int = 0


def read(session: Session, partitioned: Mapping[str, bool]) -> tuple[dict[str, DagRun], dict[str, int]]:
    """The latest automated run of each DAG that has one, and how many runs of each are active, backfills apart.

    :param partitioned: by DAG id, whether its timetable is
    """
    runs: dict[str, DagRun] = {}
    counts: dict[str, int] = {}
    for some in chunks([dag_id for dag_id, is_partitioned in partitioned.items() if not is_partitioned]):
        asked = _asked(some)
        rows: Any = session.execute(
            select(asked.c.dag_id, _active(asked.c.dag_id), DagRun)
            .outerjoin_from(asked, DagRun, _is_latest(asked.c.dag_id))
            .options(load_only(*COLUMNS))
        )
        for dag_id, count, run in rows:
            counts[dag_id] = count
            if run is not None:
                runs[dag_id] = run
    for some in chunks([dag_id for dag_id, is_partitioned in partitioned.items() if is_partitioned]):
        # In one statement PostgreSQL would read the whole table, to join it with what takes long to compute.
        asked = _asked(some)
        found = session.execute(select(asked.c.dag_id, _active(asked.c.dag_id), _latest_partition(asked.c.dag_id)))
        ids: list[int] = []
        for dag_id, count, run_id in found:
            counts[dag_id] = count
            ids.append(run_id)
        latest = session.scalars(select(DagRun).where(DagRun.id.in_(ids)).options(load_only(*COLUMNS)))
        runs.update((run.dag_id, run) for run in latest)
    return runs, counts


def rows(dag_ids: BindParameter[Any], *, partitioned: bool) -> Select[Any]:
    """A row for each of these DAGs that has one itself: its id, how many of its runs are active, and ``COLUMNS`` of its
    latest, or nulls.

    :param partitioned: whether their timetables are
    """
    dag_id: ColumnElement[Any] = DagModel.__table__.c.dag_id
    if not partitioned:
        return (
            select(dag_id, _active(dag_id), *COLUMNS)
            .outerjoin_from(DagModel, DagRun, _is_latest(dag_id))
            .where(dag_id.in_(dag_ids))
        )
    # Apart, because PostgreSQL would read all runs there are, to join them with what takes long to compute.
    ids = (
        select(dag_id, _active(dag_id).label("active"), _latest_partition(dag_id).label("run_id"))
        .where(dag_id.in_(dag_ids))
        .cte("latest_partition")
        .prefix_with("MATERIALIZED", dialect="postgresql")
    )
    return select(ids.c.dag_id, ids.c.active, *COLUMNS).outerjoin_from(ids, DagRun, DagRun.id == ids.c.run_id)


def _asked(dag_ids: Collection[str]) -> CTE:
    # A CTE, because SQLite names the columns of such a list nowhere else.
    return values(column("dag_id", DagRun.dag_id.type)).data([(dag_id,) for dag_id in dag_ids]).cte("asked")


def _active(dag_id: ColumnElement[Any]) -> ScalarSelect[int]:
    """As ``DagRun.active_runs_of_dags``, without backfills."""
    run = aliased(DagRun)
    return (
        select(func.count())
        .select_from(run)
        .where(
            run.dag_id == dag_id,
            run.state.in_((DagRunState.RUNNING, DagRunState.QUEUED)),
            run.run_type != DagRunType.BACKFILL_JOB,
        )
        .correlate(dag_id.table)
        .scalar_subquery()
    )


def _is_latest(dag_id: ColumnElement[Any]) -> ColumnElement[bool]:
    """As ``_get_latest_runs_stmt``."""
    run = aliased(DagRun)
    latest = select(func.max(run.logical_date)).where(run.dag_id == dag_id, run.run_type.in_(_AUTOMATED))
    return and_(DagRun.dag_id == dag_id, DagRun.logical_date == latest.correlate(dag_id.table).scalar_subquery())


def _latest_partition(dag_id: ColumnElement[Any]) -> ScalarSelect[Any]:
    """As ``_get_latest_runs_stmt_partitioned``: the run's id."""
    run = aliased(DagRun)
    latest = (
        select(run.id)
        .where(run.dag_id == dag_id, run.run_type.in_(_AUTOMATED), run.partition_key.is_not(None))
        .order_by(run.partition_date.is_(None), run.partition_date.desc(), run.run_after.desc())
        .limit(1)
    )
    return latest.correlate(dag_id.table).scalar_subquery()
