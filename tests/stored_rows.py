"""What Airflow's tables hold, read with Airflow's own models by the test process."""

from __future__ import annotations

from airflow.models.dag import DagModel
from airflow.models.db_callback_request import DbCallbackRequest
from airflow.models.errors import ParseImportError
from airflow.models.log import Log
from airflow.models.serialized_dag import SerializedDagModel
from airflow.utils.session import create_session
from sqlalchemy import func, select

from parsegate.resolvers.tables import Claim, ParsedFile


def active_dags() -> dict[str, str | None]:
    """``dag_id`` and bundle of each DAG that is not stale."""
    with create_session() as session:
        rows = session.execute(select(DagModel.dag_id, DagModel.bundle_name).where(~DagModel.is_stale))
        return {row.dag_id: row.bundle_name for row in rows}


def stale_dags() -> set[str]:
    with create_session() as session:
        return set(session.scalars(select(DagModel.dag_id).where(DagModel.is_stale)))


def import_errors() -> dict[str, str]:
    """Stack trace by file."""
    with create_session() as session:
        rows = session.execute(select(ParseImportError.filename, ParseImportError.stacktrace))
        return {filename or "": stacktrace or "" for filename, stacktrace in rows}


def serialized(dag_id: str) -> dict:
    """The newest document of a DAG."""
    with create_session() as session:
        model = SerializedDagModel.get(dag_id, session=session)
        assert model is not None
        return model.data["dag"]


def ledger() -> dict[str, ParsedFile]:
    """The file ledger by ``bundle/file``."""
    with create_session() as session:
        rows = list(session.scalars(select(ParsedFile)))
        session.expunge_all()
    return {f"{row.bundle_name}/{row.relative_fileloc}": row for row in rows}


def claims() -> list[Claim]:
    with create_session() as session:
        rows = list(session.scalars(select(Claim).order_by(Claim.created_at)))
        session.expunge_all()
    return rows


def waiting_callbacks() -> int:
    """Callbacks that no processor has claimed yet."""
    with create_session() as session:
        return session.scalar(select(func.count()).select_from(DbCallbackRequest)) or 0


def audit_log() -> list[Log]:
    """What Airflow's audit log tells of parsegate, oldest first."""
    with create_session() as session:
        rows = list(session.scalars(select(Log).where(Log.event.startswith("parsegate.")).order_by(Log.id)))
        session.expunge_all()
    return rows
