"""What operators read about DAG processors: each registration, beside the state of its Airflow Job."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow._shared.timezones.timezone import utcnow
from airflow.jobs.job import Job, JobState, health_check_threshold
from sqlalchemy import func, or_, select

from . import activity
from .jobs import JOB_TYPE
from .pages import Keyset, Page, PageRequest, Row, SelectListing
from .principal import ALL_BUNDLES, Principal
from .tables import Processor

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement
    from sqlalchemy import Row as AlignedRow
    from sqlalchemy.orm import Session

    from .pages import Rows

PROCESSORS = Keyset("processors", Processor.job_id, descending=True)


@dataclass(frozen=True)
class ProcessorListing:
    """Registrations; of their bundles a row names only those that the caller may see."""

    principal: Principal
    listing: SelectListing

    def page(self, session: Session, request: PageRequest) -> Page[Row]:
        page = self.listing.page(session, request)
        rows = [_visible(self.principal, row) for row in page.rows]
        return Page(rows, page.cursors, page.has_next_page, page.has_previous_page)

    def count(self, session: Session) -> int:
        return self.listing.count(session)


def processors(
    session: Session, principal: Principal, *, bundle: str | None = None, alive: bool | None = None
) -> ProcessorListing:
    """Registrations, the newest first.

    :param bundle: only processors that parse this bundle
    :param alive: only those that are alive, or only those that are not
    """
    dialect = session.get_bind().dialect.name
    statement = _rows()
    if not principal.grants_all_bundles:
        statement = statement.where(_parses_any(dialect, sorted(principal.bundles)))
    if bundle is not None:
        statement = statement.where(_parses_any(dialect, [bundle]))
    if alive is not None:
        statement = statement.where(_alive().is_(alive))
    return ProcessorListing(principal, SelectListing(statement, PROCESSORS))


def by_job(session: Session, principal: Principal, job_ids: Collection[int]) -> dict[int, Row]:
    """The registration of each Job, for all of them at once; a Job that is not parsegate's is not in it."""
    statement = _rows().where(Processor.job_id.in_(sorted(job_ids)))
    return {row["job_id"]: _visible(principal, dict(row)) for row in session.execute(statement).mappings()}


def running(session: Session) -> Sequence[AlignedRow[int, str, dict[str, Any] | None, bool]]:
    """``job_id``, ``hostname``, ``activity`` and ``alive`` of each registration whose Job runs, the newest first."""
    return session.execute(
        select(Processor.job_id, Processor.hostname, Processor.activity, _alive().label("alive"))
        .join(Job, (Job.id == Processor.job_id) & (Job.job_type == JOB_TYPE))
        .where(Job.state == JobState.RUNNING.value)
        .order_by(Processor.job_id.desc())
    ).all()


def visible(principal: Principal, rows: Mapping[tuple[Any, ...], Row]) -> dict[tuple[Any, ...], Row]:
    """``rows``, each with those of its bundles alone that the caller may see."""
    return {key: _visible(principal, row) for key, row in rows.items()}


def _rows() -> Rows:
    return select(
        Processor.job_id,
        Processor.subject,
        func.coalesce(Job.hostname, Processor.hostname).label("hostname"),
        Processor.pid,
        Processor.bundle_names,
        Processor.parsegate_version,
        Processor.airflow_version,
        Processor.registered_at,
        Job.state,
        Job.latest_heartbeat,
        Job.start_date,
        Job.end_date,
        Processor.activity,
        Processor.activity_at,
        _alive().label("alive"),
    ).outerjoin(Job, (Job.id == Processor.job_id) & (Job.job_type == JOB_TYPE))


def _alive() -> ColumnElement[bool]:
    """Airflow's own rule (``airflow/jobs/job.py:Job._is_alive``), as a condition so that a list can be filtered by "
    "it."""
    # The second argument, the Job's heart rate, plays no part for a DAG processor.
    threshold = timedelta(seconds=health_check_threshold(JOB_TYPE, 0))
    running = Job.state == JobState.RUNNING.value
    return func.coalesce(running & (Job.latest_heartbeat > utcnow() - threshold), False)


def _parses_any(dialect: str, bundle_names: list[str]) -> ColumnElement[bool]:
    elements = func.json_each if dialect == "sqlite" else func.json_array_elements_text
    name = elements(Processor.bundle_names).table_valued("value").c.value
    return or_(*(select(name).where(name == wanted).exists() for wanted in [*bundle_names, ALL_BUNDLES]))


def _visible(principal: Principal, row: Row) -> Row:
    names: list[str] = row["bundle_names"]
    # What one that is not alive was at last, it does not do now.
    stored = row["activity"] if row["alive"] else None
    return {
        **row,
        "alive": bool(row["alive"]),
        "activity": None if stored is None else activity.visible(principal, stored),
        "bundle_names": [name for name in names if name == ALL_BUNDLES or principal.grants_bundle(name)],
    }
