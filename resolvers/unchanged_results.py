"""Parse results that say what is stored already, recorded many at a time without writing it again.

What Airflow changes when it stores the same result again is brought up to date for all of them together: parse times,
next runs, and the time of an import error that is still there, of which listeners are told once more. Whatever is not
provably so is wanted in full, and takes the way of :mod:`.parse_results`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from airflow._shared.timezones.timezone import utcnow
from airflow.configuration import conf
from airflow.listeners.listener import get_listener_manager
from airflow.models.dag import DagModel
from airflow.models.dag_version import DagVersion
from airflow.models.dagbundle import DagBundleModel
from airflow.models.errors import ParseImportError
from sqlalchemy import or_, select, tuple_, update
from sqlalchemy.exc import IntegrityError, OperationalError

from . import claims, documents, imprints, jobs, ledger, schedules, source_code, written_rows
from .bulk_update import bulk_update
from .claims import ClaimKind
from .counted_results import count_unchanged
from .database import TransactionLost
from .imprints import Imprint, Written
from .latest_runs import Runs
from .ledger import FileStatus
from .refusals import Refusal
from .schedules import NextRun, Schedule
from .tables import ParsedFile

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.orm import Session

    from .ledger import FileKey
    from .parse_result import UnchangedResult
    from .principal import Principal

log = logging.getLogger(__name__)

_TRIES = 3

Transaction = Callable[[], AbstractContextManager["Session"]]


@dataclass(frozen=True)
class Recorded:
    """How many results were recorded and when, and the attempts that are needed in full."""

    count: int
    at: datetime | None
    wanted: list[str]


class _Unchanged(NamedTuple):
    """A result that is provably what is stored, and the schedules of the file's DAGs."""

    result: UnchangedResult
    written: Written
    imprint: Imprint
    schedules: dict[str, Schedule]


def record(
    transaction: Transaction, principal: Principal, results: Sequence[UnchangedResult], *, request_id: str
) -> Recorded:
    """Record the results that are provably what is stored, all of them in one transaction.

    :param transaction: opens a writing session that commits at the end of its block
    :param request_id: names the request in the log of a fault
    :raises Refusal: JOB_CLOSED
    """
    possible = [result for result in results if _is_possible(principal, result)]
    recorded: set[str] = set()
    at = utcnow()
    for _ in range(_TRIES):
        try:
            with transaction() as session:
                recorded, at = _record(session, principal, possible)
            break
        except (TransactionLost, OperationalError, IntegrityError) as error:
            # A lock timeout or a deadlock may pass. If not, the results come again in full, and one by one.
            log.warning("Request %s: recording unchanged results is tried again: %s", request_id, error)
        except Refusal:
            raise
        except Exception:  # whatever it is, storing them in full does not depend on it
            log.exception("Request %s: unchanged results could not be recorded", request_id)
            break
    count_unchanged(results, recorded)
    wanted = [result.attempt_id for result in results if result.attempt_id not in recorded]
    return Recorded(len(recorded), at if recorded else None, wanted)


def _is_possible(principal: Principal, result: UnchangedResult) -> bool:
    """Whether a look at the database is worth while; storing the result in full says what is wrong with it."""
    try:
        documents.check_attempt_id(result.attempt_id)
        documents.check_duration(result.parse_duration)
    except Refusal:
        return False
    return principal.grants_bundle(result.bundle_name)


def _record(session: Session, principal: Principal, results: Sequence[UnchangedResult]) -> tuple[set[str], datetime]:
    """Ids of the attempts that are recorded, and when."""
    by_file = {result.file: result for result in results}
    is_active = ParsedFile.bundle_name.in_(select(DagBundleModel.name).where(DagBundleModel.active.is_(True)))
    rows = ledger.entries_beside(
        session,
        by_file,
        jobs.is_running(principal).label("job_runs"),
        is_active.label("bundle_is_active"),
        # The next DAG to be stored, whichever it is, removes these watchers, and no row of its own tells.
        written_rows.orphaned_watchers().label("watchers_are_left"),
    )
    job_id = jobs.check(principal, rows[0].job_runs) if rows else jobs.require_running(session, principal)
    at = utcnow()
    watchers_are_left = bool(rows and rows[0].watchers_are_left)
    found = (row.ParsedFile for row in rows if row.bundle_is_active)
    entries = {(entry.bundle_name, entry.relative_fileloc): entry for entry in found}
    recorded = {
        entry.attempt_id
        for file, entry in entries.items()
        if entry.attempt_id == by_file[file].attempt_id and entry.status == FileStatus.STORED.value
    }
    newer = {
        file: (by_file[file], entry)
        for file, entry in entries.items()
        if entry.attempt_id != by_file[file].attempt_id
        and (entry.job_id != job_id or by_file[file].sequence >= entry.sequence)
    }
    unchanged = _unchanged(session, [newer[file] for file in by_file if file in newer], watchers_are_left)
    _update_dags(session, unchanged, at)
    _update_import_errors(session, unchanged, at)
    imprints_now = _move_versions(session, unchanged, at)
    _enter(session, unchanged, entries, imprints_now, job_id, at)
    recorded.update(item.result.attempt_id for item in unchanged)
    lease_ids = [lease_id for result in results if result.attempt_id in recorded for lease_id in result.lease_ids]
    if lease_ids:
        claims.acknowledge(session, principal, ClaimKind.PARSE_REQUEST, lease_ids)
    return recorded, at


def _unchanged(
    session: Session, candidates: Sequence[tuple[UnchangedResult, ParsedFile]], watchers_are_left: bool
) -> list[_Unchanged]:
    """Those that leave everything as it is; the rows of their DAGs are locked."""
    written = {
        result.file: msgspec.convert(entry.written, Written)
        for result, entry in candidates
        if entry.written is not None
    }
    same = {
        result.file: written[result.file]
        for result, entry in candidates
        if result.file in written and entry.fingerprint == result.fingerprint
    }
    read = {
        file: {dag_id: schedules.read(noted) for dag_id, noted in names.dags.items()} for file, names in same.items()
    }
    current = imprints.current(
        session,
        same,
        {
            (dag_id, schedule.timetable.partitioned)
            for of_file in read.values()
            for dag_id, schedule in of_file.items()
            if schedule is not None and schedule.timetable.can_be_scheduled
        },
        {
            dag_id: entry.last_stored_at
            for result, entry in candidates
            if result.file in same and entry.last_stored_at is not None
            for dag_id in same[result.file].dags
        },
    )
    unchanged: list[_Unchanged] = []
    to_be_written: set[tuple[str, Any]] = set()
    for result, entry in candidates:
        file, imprint = written.get(result.file), current.get(result.file)
        if file is None:
            continue
        names = _names(file, imprint)
        if imprint is not None and imprint.digest == entry.imprint and names.isdisjoint(to_be_written):
            known = {dag_id: schedule for dag_id, schedule in read[result.file].items() if schedule is not None}
            if len(known) == len(file.dags) and not (known and watchers_are_left):
                unchanged.append(_Unchanged(result, file, imprint, known))
                continue
        # It will be written after those behind it; what these have in common with it must be written once more then.
        to_be_written |= names
    return unchanged


def _names(written: Written, imprint: Imprint | None) -> set[tuple[str, Any]]:
    """What a file's result writes that another file's may write too."""
    return {
        *(("dag", dag_id) for dag_id in written.dags),
        *(("alias", name) for name in written.asset_aliases),
        *(("asset", asset_id) for dag in (imprint.dags.values() if imprint else ()) for asset_id in dag.asset_ids),
    }


def _update_dags(session: Session, unchanged: Sequence[_Unchanged], at: datetime) -> None:
    """What ``DagModelOperation.update_dags`` computes anew."""
    changed: list[tuple[Any, ...]] = []
    for item in unchanged:
        for dag_id, row in item.imprint.dags.items():
            schedule = item.schedules[dag_id]
            runs = row.runs.get(schedule.timetable.partitioned, Runs())
            next_run = schedules.next_run(dag_id, schedule, runs, row.max_active_runs)
            if next_run != row.next_run:
                changed.append((dag_id, *next_run))
    bulk_update(
        session,
        DagModel,
        ["dag_id"],
        ["last_parse_duration"],
        [(dag_id, item.result.parse_duration) for item in unchanged for dag_id in item.imprint.dags],
        last_parsed_time=at,
    )
    bulk_update(session, DagModel, ["dag_id"], NextRun._fields, changed)


def _move_versions(session: Session, unchanged: Sequence[_Unchanged], at: datetime) -> dict[FileKey, Imprint]:
    """Point DAGs whose bundle has a new version to it, as ``SerializedDagModel.write_dag`` does; new imprints by file.

    ``write_dag`` leaves the version of a document alone that was written less than an interval ago.
    """
    interval = timedelta(seconds=conf.getint("core", "min_serialized_dag_update_interval", fallback=30))
    dags: list[tuple[Any, ...]] = []
    versions: list[tuple[Any, ...]] = []
    moved: dict[FileKey, Written] = {}
    for item in unchanged:
        new = item.result.bundle_version, item.result.version_data
        for dag_id, row in item.imprint.dags.items():
            if row.bundle_version != new[0]:
                dags.append((dag_id, new[0]))
                moved[item.result.file] = item.written
            is_settled = row.document_updated_at is None or row.document_updated_at <= at - interval
            if is_settled and (row.version.bundle_version, row.version.version_data) != new:
                versions.append((row.version.id, *new))
                moved[item.result.file] = item.written
    bulk_update(session, DagModel, ["dag_id"], ["bundle_version"], dags)
    bulk_update(session, DagVersion, ["id"], ["bundle_version", "version_data"], versions, last_updated=at)
    return imprints.current(session, moved)


def _update_import_errors(session: Session, unchanged: Sequence[_Unchanged], at: datetime) -> None:
    """What ``_update_import_errors`` (``airflow/dag_processing/collection.py``) does about errors that are still there:
    a new time, listeners are told, and DAGs of the file are marked.
    """
    failing = {item.result.file: item for item in unchanged if item.written.import_error}
    if not failing:
        return
    is_failing = tuple_(ParseImportError.bundle_name, ParseImportError.filename).in_(failing)
    session.execute(
        update(ParseImportError).where(is_failing).values(timestamp=at).execution_options(synchronize_session=False)
    )
    errors = {
        (str(row.bundle_name), str(row.filename)): row
        for row in session.scalars(select(ParseImportError).where(is_failing))
    }
    for file, item in failing.items():
        error = errors[file]
        with source_code.supplied({}, item.result.bundle_path):
            try:
                get_listener_manager().hook.on_existing_dag_import_error(
                    filename=error.full_file_path(), stacktrace=str(error.stacktrace)
                )
            except Exception:  # a listener is a plugin of the deployment and may raise anything
                log.exception("A listener failed to hear of an import error in %s", error.filename)
    session.execute(
        update(DagModel)
        .where(tuple_(DagModel.bundle_name, DagModel.relative_fileloc).in_(failing))
        .where(or_(~DagModel.is_stale, DagModel.has_import_errors.is_not(True)))
        .values(has_import_errors=True, is_stale=True)
        .execution_options(synchronize_session=False)
    )


def _enter(
    session: Session,
    unchanged: Sequence[_Unchanged],
    entries: Mapping[FileKey, ParsedFile],
    new_imprints: Mapping[FileKey, Imprint],
    job_id: int,
    at: datetime,
) -> None:
    """Write the file ledger."""
    bulk_update(
        session,
        ParsedFile,
        ["bundle_name", "relative_fileloc"],
        ["attempt_id", "sequence", "parse_duration", "bundle_version", "imprint", "recent_parses"],
        [
            (
                *item.result.file,
                item.result.attempt_id,
                item.result.sequence,
                item.result.parse_duration,
                item.result.bundle_version,
                new_imprints.get(item.result.file, item.imprint).digest,
                ledger.with_parse(
                    entries[item.result.file],
                    at,
                    item.result.parse_duration,
                    FileStatus.STORED,
                    item.result.bundle_version,
                    job_id,
                ),
            )
            for item in unchanged
        ],
        status=FileStatus.STORED.value,
        reason=None,
        message=None,
        job_id=job_id,
        last_parsed_at=at,
        last_stored_at=at,
    )
