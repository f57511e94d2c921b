"""What others write between two parses: the scheduler, people, and maintenance commands, all of it Airflow's own code.

Each function makes a writer, which is called with a session and leaves what it can't find alone. Run ids and the like
are chosen here, so that two databases given the same writers stay comparable.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dag_content import FileContent
    from sqlalchemy.orm import Session

Writer = Callable[["Session"], None]


def set_paused(dag_id: str, is_paused: bool) -> Writer:
    def write(session: Session) -> None:
        from airflow.models.dag import DagModel
        from sqlalchemy import update

        session.execute(update(DagModel).where(DagModel.dag_id == dag_id).values(is_paused=is_paused))

    return write


def create_next_run(dag_id: str, *, updating_the_next: bool = True) -> Writer:
    """The run that is next, as ``SchedulerJobRunner._create_dag_runs`` makes it.

    :param updating_the_next: whether the scheduler also got to computing the run after it
    """

    def write(session: Session) -> None:
        from airflow.models.dag import DagModel
        from airflow.models.dagrun import DagRun
        from airflow.utils.state import DagRunState
        from airflow.utils.types import DagRunTriggeredByType, DagRunType
        from sqlalchemy import select

        model, dag = session.get(DagModel, dag_id), _newest(dag_id, session)
        if model is None or dag is None or model.next_dagrun_create_after is None or model.is_stale:
            return
        following = dag.timetable.next_run_info_from_dag_model(dag_model=model)
        # Airflow's own ids of partitioned runs end in random letters.
        run_id = f"scheduled__{following.run_after.isoformat()}"
        taken = select(DagRun.id).where(
            DagRun.dag_id == dag_id, (DagRun.run_id == run_id) | (DagRun.logical_date == following.logical_date)
        )
        if session.scalar(taken.limit(1)) is not None:
            return
        run = dag.create_dagrun(
            run_id=run_id,
            logical_date=following.logical_date,
            data_interval=following.data_interval,
            run_after=following.run_after,
            run_type=DagRunType.SCHEDULED,
            triggered_by=DagRunTriggeredByType.TIMETABLE,
            state=DagRunState.RUNNING,
            partition_key=following.partition_key,
            partition_date=following.partition_date,
            session=session,
        )
        session.flush()
        if updating_the_next:
            model.calculate_dagrun_date_fields(dag=dag, reference_run=run)

    return write


def trigger_run(dag_id: str, run_id: str) -> Writer:
    """A run that a person asks for."""

    def write(session: Session) -> None:
        from airflow._shared.timezones.timezone import utcnow
        from airflow.models.dagrun import DagRun
        from airflow.utils.state import DagRunState
        from airflow.utils.types import DagRunTriggeredByType, DagRunType
        from sqlalchemy import select

        dag = _newest(dag_id, session)
        taken = select(DagRun.id).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id)
        if dag is None or session.scalar(taken) is not None:
            return
        dag.create_dagrun(
            run_id=run_id,
            run_after=utcnow(),
            run_type=DagRunType.MANUAL,
            triggered_by=DagRunTriggeredByType.UI,
            state=DagRunState.RUNNING,
            session=session,
        )

    return write


def create_backfill_run(dag_id: str, days_ago: int) -> Writer:
    """A run of a backfill, of a day as many days before this one."""

    def write(session: Session) -> None:
        from airflow._shared.timezones.timezone import utcnow
        from airflow.models.dagrun import DagRun
        from airflow.utils.state import DagRunState
        from airflow.utils.types import DagRunTriggeredByType, DagRunType
        from sqlalchemy import select

        dag = _newest(dag_id, session)
        day = utcnow().replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=days_ago)
        run_id = f"backfill__{day.isoformat()}"
        taken = select(DagRun.id).where(
            DagRun.dag_id == dag_id, (DagRun.run_id == run_id) | (DagRun.logical_date == day)
        )
        if dag is None or session.scalar(taken.limit(1)) is not None:
            return
        dag.create_dagrun(
            run_id=run_id,
            logical_date=day,
            data_interval=(day, day + timedelta(days=1)),
            run_after=day + timedelta(days=1),
            run_type=DagRunType.BACKFILL_JOB,
            triggered_by=DagRunTriggeredByType.BACKFILL,
            state=DagRunState.RUNNING,
            session=session,
        )

    return write


def finish_runs(dag_id: str) -> Writer:
    def write(session: Session) -> None:
        from airflow._shared.timezones.timezone import utcnow
        from airflow.models.dagrun import DagRun
        from airflow.models.taskinstance import TaskInstance
        from sqlalchemy import update

        for model in (DagRun, TaskInstance):
            session.execute(update(model).where(model.dag_id == dag_id).values(state="success", end_date=utcnow()))

    return write


def delete_last_run(dag_id: str) -> Writer:
    def write(session: Session) -> None:
        from airflow.models.dagrun import DagRun
        from airflow.models.taskinstance import TaskInstance
        from sqlalchemy import delete, select

        last = session.scalar(
            select(DagRun.run_id)
            .where(DagRun.dag_id == dag_id)
            .order_by(DagRun.run_after.desc(), DagRun.run_id)
            .limit(1)
        )
        # By statements: to delete an object SQLAlchemy loads its relations, and warns that the DAG of this run has
        # documents of several versions.
        for model in (TaskInstance, DagRun):
            session.execute(delete(model).where(model.dag_id == dag_id, model.run_id == last))

    return write


def delete_dag(dag_id: str) -> Writer:
    """``airflow dags delete``."""

    def write(session: Session) -> None:
        from airflow.api.common import delete_dag
        from airflow.exceptions import AirflowException, DagNotFound

        try:
            delete_dag.delete_dag(dag_id, session=session)
        except (DagNotFound, AirflowException):
            session.rollback()

    return write


def clean(table: str, older_than: float) -> Writer:
    """``airflow db clean --tables TABLE --clean-before-timestamp`` so many seconds ago, skipping what it can't."""

    def write(session: Session) -> None:
        from airflow._shared.timezones.timezone import utcnow
        from airflow.utils.db_cleanup import run_cleanup

        run_cleanup(
            clean_before_timestamp=utcnow() - timedelta(seconds=older_than),
            table_names=[table],
            confirm=False,
            skip_archive=True,
            session=session,
        )

    return write


def delete_rows(table: str, **where: Any) -> Writer:
    """Rows lost to something that knows no better."""

    def write(session: Session) -> None:
        from airflow.models.base import Base
        from sqlalchemy import delete

        rows = Base.metadata.tables[table]
        session.execute(delete(rows).where(*(rows.c[column] == value for column, value in where.items())))

    return write


def set_columns(table: str, key: dict[str, Any], **values: Any) -> Writer:
    """A row that something else wrote to."""

    def write(session: Session) -> None:
        from airflow.models.base import Base
        from sqlalchemy import update

        rows = Base.metadata.tables[table]
        session.execute(
            update(rows).where(*(rows.c[column] == value for column, value in key.items())).values(**values)
        )

    return write


def insert_row(table: str, **values: Any) -> Writer:
    def write(session: Session) -> None:
        from airflow.models.base import Base
        from sqlalchemy import insert

        session.execute(insert(Base.metadata.tables[table]).values(**values))

    return write


def review_assets() -> Writer:
    """The scheduler's pass over all assets: deactivates those that nobody refers to, activates the others."""

    def write(session: Session) -> None:
        from airflow.jobs.scheduler_job_runner import SchedulerJobRunner

        SchedulerJobRunner._update_asset_orphanage(_Reviewer(), session=session)  # type: ignore[arg-type]

    return write


class _Reviewer:
    """What ``_update_asset_orphanage`` uses of a scheduler."""

    def __getattr__(self, name: str) -> Any:
        from airflow.jobs.scheduler_job_runner import SchedulerJobRunner

        return getattr(SchedulerJobRunner, name)


def reserialize(*files: FileContent) -> Writer:
    """``airflow dags reserialize``, or another stock writer: one call for all files of a bundle, without a duration."""

    def write(session: Session) -> None:
        from airflow._shared.timezones.timezone import utcnow
        from airflow.dag_processing.collection import update_dag_parsing_results_in_db
        from airflow.serialization.serialized_objects import LazyDeserializedDAG
        from bundle_folders import FOLDER, configured_bundles, write_sources

        parsed = [file.parsed(FOLDER, utcnow()) for file in files]
        write_sources(parsed)
        with configured_bundles(("dags", "more")):
            update_dag_parsing_results_in_db(
                files[0].bundle,
                files[0].version,
                [LazyDeserializedDAG(**dag) for file in parsed for dag in file.result["serialized_dags"]],
                {
                    (file.bundle_name, path): trace
                    for file in parsed
                    for path, trace in file.result["import_errors"].items()
                },
                None,
                set(),
                version_data=parsed[0].version_data,
                session=session,
                files_parsed={(file.bundle_name, file.relative_fileloc) for file in parsed},
            )

    return write


def _newest(dag_id: str, session: Session) -> Any:
    from airflow.models.dagbag import DBDagBag
    from airflow.models.serialized_dag import SerializedDagModel

    if SerializedDagModel.get(dag_id, session=session) is None:
        return None
    return DBDagBag().get_latest_version_of_dag(dag_id, session=session)
