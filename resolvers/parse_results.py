"""Storing parse results: the rows that Airflow's own processor would write, written by Airflow's own code.

Each result is a transaction of its own, from the check of who may write to the row in the file ledger. The rows in
Airflow's tables are those of ``DagFileProcessorManager.persist_parsing_result``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from airflow._shared.timezones.timezone import utcnow
from airflow.dag_processing.collection import update_dag_parsing_results_in_db
from airflow.models.dag import DagModel
from airflow.models.dagbundle import DagBundleModel
from airflow.models.dagwarning import DagWarning
from airflow.serialization.serialized_objects import LazyDeserializedDAG
from airflow.utils.sqlalchemy import with_row_locks
from sqlalchemy import select
from sqlalchemy.exc import (
    DataError,
    DBAPIError,
    IntegrityError,
    InterfaceError,
    OperationalError,
    ProgrammingError,
    SQLAlchemyError,
)

from . import bundles, claims, documents, imprints, jobs, known_import_errors, ledger, source_code
from .claims import ClaimKind
from .database import TransactionLost
from .ledger import FileStatus
from .lost_transaction import unbroken
from .parse_result import DagDocument, ParseResult, ReportedWarning
from .refusals import Refusal, RefusalReason
from .settings import ALLOW_BUNDLE_TAKEOVER

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.orm import Session

    from .principal import Principal
    from .tables import ParsedFile

__all__ = ["DagDocument", "ParseResult", "Receipt", "ReceiptStatus", "ReportedWarning", "record"]

log = logging.getLogger(__name__)

_TRIES = 3
_LEAVE_NO_ENTRY = {
    # The file is not the caller's to speak of, or cannot be named.
    RefusalReason.BUNDLE_NOT_GRANTED,
    RefusalReason.UNKNOWN_BUNDLE,
    # A newer attempt is in the ledger, and stays there.
    RefusalReason.SUPERSEDED,
}


class ReceiptStatus(Enum):
    """What became of a result."""

    ACCEPTED = "ACCEPTED"
    REFUSED = "REFUSED"
    FAILED = "FAILED"


@dataclass(frozen=True)
class Receipt:
    """What became of one result; the counts are of what was stored, ``recorded_at`` is the ledger's time."""

    status: ReceiptStatus
    reason: RefusalReason | None = None
    message: str | None = None
    dag_count: int | None = None
    import_error_count: int | None = None
    recorded_at: datetime | None = None


Transaction = Callable[[], AbstractContextManager["Session"]]


def record(transaction: Transaction, principal: Principal, result: ParseResult, *, request_id: str) -> Receipt:
    """Store one result, or say why not; never raises for what is wrong with this one result.

    :param transaction: opens a writing session that commits at the end of its block
    :param request_id: names the request in the log of a fault
    """
    try:
        for _ in range(_TRIES - 1):
            try:
                return _record_once(transaction, principal, result)
            except (TransactionLost, OperationalError, IntegrityError) as error:
                # A lock timeout, a deadlock or two inserts of one row may pass. Airflow would repeat its own writes
                # alone: we repeat everything.
                log.warning(
                    "Storing %s of bundle %s is tried again: %s", result.relative_fileloc, result.bundle_name, error
                )
        try:
            return _record_once(transaction, principal, result)
        except (TransactionLost, IntegrityError) as error:
            # No race lasts that long: the document has a null or a duplicate where a table can't.
            violated = error if isinstance(error, IntegrityError) else error.__cause__
            if not isinstance(violated, IntegrityError):
                raise
            return _record_refusal(transaction, principal, result, _unstorable(result, violated))
    except Exception:  # one item's fault must not take the other items of the list with it
        return _failed(result, request_id)


def _failed(result: ParseResult, request_id: str) -> Receipt:
    """The receipt of a fault, logged with the exception being handled."""
    log.exception(
        "Request %s: attempt %s at %s of bundle %s could not be stored",
        request_id,
        result.attempt_id,
        result.relative_fileloc,
        result.bundle_name,
    )
    return Receipt(
        ReceiptStatus.FAILED,
        message=f"The gateway could not store this result; its log has the reason under request {request_id}. "
        "Send it again later.",
    )


def _record_once(transaction: Transaction, principal: Principal, result: ParseResult) -> Receipt:
    try:
        if not principal.grants_bundle(result.bundle_name):
            raise Refusal(RefusalReason.BUNDLE_NOT_GRANTED, f"The token does not grant bundle {result.bundle_name}.")
        documents.check_identity(result)
    except Refusal as refusal:
        _drop_leases_of_refused(transaction, principal, result)
        return _refused(refusal)
    # Judged before the transaction, which on SQLite shuts out every other writer; a replay is answered all the same.
    objection = _objection(result)
    try:
        with transaction() as session:
            return _store(session, principal, result, objection)
    except Refusal as refusal:
        return _record_refusal(transaction, principal, result, refusal)


def _objection(result: ParseResult) -> Refusal | None:
    try:
        documents.check_contents(result)
    except Refusal as refusal:
        return refusal
    return None


def _store(session: Session, principal: Principal, result: ParseResult, objection: Refusal | None) -> Receipt:
    job_id = jobs.require_running(session, principal)
    bundles.require_writable(session, principal, result.bundle_name)
    entry = ledger.entry(session, result.bundle_name, result.relative_fileloc)
    if entry is not None:
        if entry.attempt_id == result.attempt_id:
            return _first_answer(entry)
        _require_newest(entry, job_id, result)
    if objection is not None:
        raise objection
    recorded_at = utcnow()
    if result.timed_out:
        counts = (0, 0, 0)
        ledger.record(
            session,
            entry,
            result,
            job_id=job_id,
            status=FileStatus.TIMED_OUT,
            at=recorded_at,
            message=f"Parsing was ended after {result.parse_duration:.1f} s.",
        )
    else:
        _require_ownership(session, result)
        dags = [LazyDeserializedDAG(data=dag.document, last_loaded=dag.last_loaded) for dag in result.documents]
        counts = _write(session, result, dags)
        entry = ledger.record(
            session,
            entry,
            result,
            job_id=job_id,
            status=FileStatus.STORED,
            at=recorded_at,
            counts=counts,
        )
        imprints.remember(session, [(entry, result, dags)])
    _drop_leases(session, principal, result)
    session.flush()
    return Receipt(ReceiptStatus.ACCEPTED, dag_count=counts[0], import_error_count=counts[1], recorded_at=recorded_at)


def _write(session: Session, result: ParseResult, dags: list[LazyDeserializedDAG]) -> tuple[int, int, int]:
    """Write Airflow's rows; the numbers of DAGs, of import errors and of warnings stored."""
    import_errors = {(result.bundle_name, path): _storable(trace) for path, trace in result.import_errors}
    files_parsed = {(result.bundle_name, result.relative_fileloc), *import_errors}
    warnings = _storable_warnings(session, result)
    try:
        with (
            source_code.supplied(result.sources, result.bundle_path),
            known_import_errors.narrowed(session, files_parsed, import_errors),
            unbroken(session),
        ):
            update_dag_parsing_results_in_db(
                bundle_name=result.bundle_name,
                bundle_version=result.bundle_version,
                version_data=result.version_data,
                dags=dags,
                import_errors=import_errors,
                parse_duration=result.parse_duration,
                warnings=warnings,
                session=session,
                files_parsed=files_parsed,
            )
    except TransactionLost as lost:
        if _lies_in_the_document(lost.__cause__):
            raise _unstorable(result, lost.__cause__ or lost) from lost
        raise
    except Exception as error:
        if _lies_in_the_document(error):
            raise _unstorable(result, error) from error
        raise
    return len(dags), len(import_errors), len(warnings)


def _lies_in_the_document(error: BaseException | None) -> bool:
    """Whether sending the same result again would meet the same error.

    Airflow's code takes a document apart and raises what it meets: KeyError, TypeError, an unregistered timetable. Of
    the database's errors only those about a value say so.
    """
    if error is None or isinstance(error, TransactionLost):
        return False
    if isinstance(error, DataError):
        return True
    if isinstance(error, (InterfaceError, ProgrammingError)) and not error.connection_invalidated:
        # The driver could not bind a value; what the server itself objects to (a table that is not there) has a code.
        return getattr(error.orig, "pgcode", None) is None
    if isinstance(error, SQLAlchemyError) and not isinstance(error, DBAPIError):
        # SQLAlchemy wraps what preparing a parameter raised, such as a UnicodeEncodeError.
        return isinstance(error.__cause__, (ValueError, TypeError))
    return not isinstance(error, (SQLAlchemyError, OSError, MemoryError))


def _unstorable(result: ParseResult, error: BaseException) -> Refusal:
    log.warning("Airflow could not store %s of bundle %s", result.relative_fileloc, result.bundle_name, exc_info=error)
    what = str(error).partition("\n")[0][:500]
    return Refusal(
        RefusalReason.INVALID_DOCUMENT, f"Airflow could not store this result: {type(error).__name__}: {what}"
    )


def _require_newest(entry: ParsedFile, job_id: int, result: ParseResult) -> None:
    if entry.job_id == job_id and result.sequence < entry.sequence:
        raise Refusal(
            RefusalReason.SUPERSEDED,
            f"Attempt {entry.sequence} at {result.relative_fileloc} is recorded already; this is {result.sequence}.",
        )


def _require_ownership(session: Session, result: ParseResult) -> None:
    """Lock the rows of the result's DAGs and refuse those that another bundle has now.

    Airflow would hand a DAG to whichever bundle was stored last.
    """
    if not result.documents:
        return
    dag_ids = [dag.document["dag"]["dag_id"] for dag in result.documents]
    rows = session.execute(
        with_row_locks(
            select(DagModel.dag_id, DagModel.bundle_name, DagModel.is_stale, DagBundleModel.active)
            .outerjoin(DagBundleModel, DagBundleModel.name == DagModel.bundle_name)
            .where(DagModel.dag_id.in_(dag_ids))
            .order_by(DagModel.dag_id),
            session=session,
            of=DagModel,
        )
    ).all()
    taken = [row for row in rows if row.bundle_name != result.bundle_name and row.active and not row.is_stale]
    if taken and not ALLOW_BUNDLE_TAKEOVER.read():
        owners = ", ".join(f"{row.dag_id} (bundle {row.bundle_name})" for row in taken)
        raise Refusal(
            RefusalReason.DAG_OWNED_BY_ANOTHER_BUNDLE,
            f"Nothing of {result.relative_fileloc} was stored: other bundles have these DAGs: {owners}. "
            "Rename them, or remove them there first.",
        )


def _storable_warnings(session: Session, result: ParseResult) -> set[DagWarning]:
    """The warnings about DAGs of this bundle; one about a DAG that could not be serialized has no row to hang on."""
    known = {dag.document["dag"]["dag_id"] for dag in result.documents}
    others = {warning.dag_id for warning in result.warnings} - known
    if others:
        known.update(
            session.scalars(
                select(DagModel.dag_id).where(DagModel.dag_id.in_(others), DagModel.bundle_name == result.bundle_name)
            )
        )
    return {
        DagWarning(warning.dag_id, warning.warning_type, _storable(warning.message))
        for warning in result.warnings
        if warning.dag_id in known
    }


def _storable(text: str) -> str:
    """``text`` without what PostgreSQL or UTF-8 can't hold: an exception's message may hold anything."""
    return text.replace("\0", "\ufffd").encode(errors="replace").decode()


def _first_answer(entry: ParsedFile) -> Receipt:
    if entry.status == FileStatus.REFUSED.value:
        return Receipt(
            ReceiptStatus.REFUSED,
            reason=RefusalReason(entry.reason),
            message=entry.message,
            recorded_at=entry.last_parsed_at,
        )
    stored = entry.status == FileStatus.STORED.value
    return Receipt(
        ReceiptStatus.ACCEPTED,
        dag_count=entry.dag_count if stored else 0,
        import_error_count=entry.import_error_count if stored else 0,
        recorded_at=entry.last_parsed_at,
    )


def _record_refusal(transaction: Transaction, principal: Principal, result: ParseResult, refusal: Refusal) -> Receipt:
    """Leave a refusal in the ledger, where operators see it, unless the file is not the caller's to speak of."""
    if refusal.reason is RefusalReason.JOB_CLOSED:
        return _refused(refusal)
    if refusal.reason in _LEAVE_NO_ENTRY:
        _drop_leases_of_refused(transaction, principal, result)
        return _refused(refusal)
    recorded_at = utcnow()
    try:
        with transaction() as session:
            job_id = jobs.require_running(session, principal)
            entry = ledger.entry(session, result.bundle_name, result.relative_fileloc)
            if entry is not None:
                _require_newest(entry, job_id, result)
            ledger.record(
                session,
                entry,
                result,
                job_id=job_id,
                status=FileStatus.REFUSED,
                at=recorded_at,
                reason=refusal.reason,
                message=refusal.message,
            )
            _drop_leases(session, principal, result)
            session.flush()
    except Refusal as newer:  # the Job ended, or a newer attempt was recorded, since
        return _refused(newer)
    return _refused(refusal, recorded_at)


def _refused(refusal: Refusal, recorded_at: datetime | None = None) -> Receipt:
    return Receipt(ReceiptStatus.REFUSED, reason=refusal.reason, message=refusal.message, recorded_at=recorded_at)


def _drop_leases_of_refused(transaction: Transaction, principal: Principal, result: ParseResult) -> None:
    if result.lease_ids:
        with transaction() as session:
            _drop_leases(session, principal, result)


def _drop_leases(session: Session, principal: Principal, result: ParseResult) -> None:
    """End the parse requests that this attempt answers; a lease that was lost meanwhile is somebody else's to end."""
    if result.lease_ids:
        claims.acknowledge(session, principal, ClaimKind.PARSE_REQUEST, result.lease_ids)
