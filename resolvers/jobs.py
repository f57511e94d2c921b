"""The processor's row in Airflow's ``job`` table: made at registration, kept alive by heartbeats, ended by the same.

Airflow's own ``Job`` records the host and user of the process that creates it, which here is the gateway; both are
overwritten by what the processor says of itself, so that ``airflow jobs check --hostname`` asks about the processor.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from airflow._shared.timezones.timezone import utcnow
from airflow.jobs.job import Job, JobState
from airflow.listeners.listener import get_listener_manager
from sqlalchemy import CursorResult, exists, select, update
from sqlalchemy.exc import IntegrityError

from .refusals import Refusal, RefusalReason
from .settings import LEASE_DURATION
from .tables import Processor
from .versions import AIRFLOW_VERSION, PARSEGATE_VERSION, require_compatible

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import ColumnElement, Row, Update
    from sqlalchemy.orm import DeclarativeBase, InstrumentedAttribute, Session

    from .principal import Principal

log = logging.getLogger(__name__)

JOB_TYPE = "DagProcessorJob"
_LONGEST = {
    "registration_id": 36,
    "hostname": 500,
    "unixname": 1000,
    "parsegate_version": 50,
    "airflow_version": 50,
    "contract_version": 50,
}


@dataclass(frozen=True)
class Registration:
    """A starting processor as it describes itself; ``bundle_names`` None asks for all that its token grants."""

    registration_id: str
    hostname: str
    unixname: str
    pid: int
    parsegate_version: str
    airflow_version: str
    contract_version: str
    bundle_names: list[str] | None


@dataclass(frozen=True)
class RegisteredJob:
    """A running Job; ``lease_duration`` in seconds."""

    job_id: int
    granted_bundles: list[str]
    lease_duration: float
    gateway_version: str
    airflow_version: str


def register(session: Session, principal: Principal, registration: Registration) -> RegisteredJob:
    """The Job of this registration id: a new one, or the one that an earlier send made.

    :raises Refusal: VERSION_MISMATCH, BUNDLE_NOT_GRANTED, NOT_PERMITTED, JOB_CLOSED, INVALID_ARGUMENT
    """
    for field, longest in _LONGEST.items():
        value = getattr(registration, field)
        if not value or len(value) > longest or "\0" in value:
            raise Refusal(
                RefusalReason.INVALID_ARGUMENT, f"{field} must have 1 to {longest} characters, none of them NUL."
            )
    require_compatible(airflow_version=registration.airflow_version, contract_version=registration.contract_version)
    granted = _granted_bundles(principal, registration.bundle_names)
    processor = _find(session, registration)
    if processor is None:
        try:
            with session.begin_nested():
                processor = _create(session, principal, registration, granted)
        except IntegrityError:
            # The same registration, sent twice, reached two gateways at once: the other one made the Job.
            processor = _find(session, registration)
            if processor is None:
                raise
    if processor.subject != principal.subject:
        raise Refusal(
            RefusalReason.NOT_PERMITTED,
            f"Registration {registration.registration_id} was made by another processor. "
            "Choose a new id at each start.",
        )
    _require_running(session, processor.job_id)
    # What the first send was granted may not be granted any more by the token of today.
    still_granted = [name for name in processor.bundle_names if principal.grants_bundle(name)]
    return RegisteredJob(
        job_id=processor.job_id,
        granted_bundles=still_granted,
        lease_duration=LEASE_DURATION.read(),
        gateway_version=PARSEGATE_VERSION,
        airflow_version=AIRFLOW_VERSION,
    )


def heartbeat(session: Session, principal: Principal) -> datetime:
    """Record that the processor lives, and when.

    :raises Refusal: JOB_CLOSED
    """
    now = utcnow()
    beaten = session.execute(beat(principal, now).execution_options(synchronize_session=False))
    check(principal, bool(cast("CursorResult[Any]", beaten).rowcount))
    return now


def beat(principal: Principal, at: datetime) -> Update:
    """The statement of a heartbeat; it changes no row when the Job does not run."""
    return (
        update(Job)
        .where(Job.id == principal.job_id, Job.job_type == JOB_TYPE, Job.state == JobState.RUNNING)
        .values(latest_heartbeat=at)
    )


def complete(session: Session, principal: Principal, *, succeeded: bool) -> None:
    """End the Job, as ``airflow.jobs.job:Job.complete_execution`` does; ending it in the same state again is no error.

    One that was asked to end (``RESTARTING``) can be ended, too.

    :raises Refusal: JOB_CLOSED
    """
    state = JobState.SUCCESS if succeeded else JobState.FAILED
    job = session.scalar(select(Job).where(Job.id == principal.job_id, Job.job_type == JOB_TYPE).with_for_update())
    if job is None or job.state not in (JobState.RUNNING, JobState.RESTARTING, state):
        raise _closed(principal.job_id)
    if job.state == state:
        return
    try:
        get_listener_manager().hook.before_stopping(component=job)
    except Exception:  # a listener is a plugin of the deployment and may raise anything
        log.exception("A listener failed when Job %s ended", job.id)
    job.state = state
    job.end_date = utcnow()
    session.flush()


def require_running(session: Session, principal: Principal) -> int:
    """Id of the caller's Job.

    :raises Refusal: JOB_CLOSED, when it has ended or its row is gone
    """
    return _require_running(session, principal.job_id)


def is_running(principal: Principal) -> ColumnElement[bool]:
    """Whether the caller's Job runs, to be asked in a statement that asks more; :func:`check` knows what to answer."""
    return exists().where(Job.id == principal.job_id, Job.job_type == JOB_TYPE, Job.state == JobState.RUNNING)


def check(principal: Principal, runs: bool) -> int:
    """Id of the caller's Job, which was found to run or not to.

    :raises Refusal: JOB_CLOSED, as :func:`require_running`
    """
    if principal.job_id is None or not runs:
        raise _closed(principal.job_id)
    return principal.job_id


def ask_while_running(session: Session, principal: Principal, question: ColumnElement[bool]) -> bool:
    """Whether ``question`` holds in the database, asked together with whether the caller's Job runs.

    :raises Refusal: JOB_CLOSED, as :func:`require_running`
    """
    return bool(read_while_running(session, principal, question.label("holds"))[0].holds)


def read_while_running(
    session: Session,
    principal: Principal,
    *columns: ColumnElement[Any] | InstrumentedAttribute[Any],
    beside: tuple[type[DeclarativeBase], ColumnElement[bool]] | None = None,
) -> Sequence[Row[Any]]:
    """What the database answers, asked together with whether the caller's Job runs; at least one row.

    :param beside: a table to read from, and which of its rows; its columns are null when there is none
    :raises Refusal: JOB_CLOSED, as :func:`require_running`
    """
    statement = select(Job.state.label("job_state"), *columns).where(
        Job.id == principal.job_id, Job.job_type == JOB_TYPE
    )
    if beside is not None:
        statement = statement.outerjoin_from(Job, *beside)
    rows = session.execute(statement).all()
    if not rows or rows[0].job_state != JobState.RUNNING:
        raise _closed(principal.job_id)
    return rows


def _require_running(session: Session, job_id: int | None) -> int:
    state = session.scalar(select(Job.state).where(Job.id == job_id, Job.job_type == JOB_TYPE))
    if job_id is None or state != JobState.RUNNING:
        raise _closed(job_id)
    return job_id


def _closed(job_id: int | None) -> Refusal:
    return Refusal(
        RefusalReason.JOB_CLOSED,
        f"Job {job_id} is not running any more. Stop this processor; a new start registers anew.",
    )


def _granted_bundles(principal: Principal, asked: list[str] | None) -> list[str]:
    if asked is None:
        return sorted(principal.bundles)
    missing = sorted({name for name in asked if not principal.grants_bundle(name)})
    if missing:
        raise Refusal(
            RefusalReason.BUNDLE_NOT_GRANTED,
            f"The token does not grant {', '.join(missing)}. Mint one that does, or parse fewer bundles.",
        )
    return sorted(set(asked))


def _find(session: Session, registration: Registration) -> Processor | None:
    return session.scalar(select(Processor).where(Processor.registration_id == registration.registration_id))


def _create(session: Session, principal: Principal, registration: Registration, granted: list[str]) -> Processor:
    job = Job(job_type=JOB_TYPE, state=JobState.RUNNING)
    job.hostname = registration.hostname
    job.unixname = registration.unixname
    session.add(job)
    session.flush()
    processor = Processor(
        job_id=job.id,
        registration_id=registration.registration_id,
        subject=principal.subject,
        hostname=registration.hostname,
        pid=registration.pid,
        bundle_names=granted,
        parsegate_version=registration.parsegate_version,
        airflow_version=registration.airflow_version,
        registered_at=utcnow(),
    )
    session.add(processor)
    session.flush()
    return processor
