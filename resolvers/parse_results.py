"""Storing parse results: the rows that Airflow's own processor would write, and what became of each in the file ledger.

What may be stored together is (:mod:`.result_groups`): in one transaction, from the check of who may write to the rows
in the ledger. Whenever that does not go as it should, each result becomes a transaction of its own.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import TYPE_CHECKING

from airflow._shared.timezones.timezone import utcnow
from sqlalchemy.exc import IntegrityError, OperationalError

from . import claims, dag_writes, imprints, jobs, ledger
from .attempts import Attempt, made_ready
from .claims import ClaimKind
from .counted_results import count_results
from .dag_writes import Counts
from .database import TransactionLost
from .judgements import Judgement, judge
from .ledger import FileStatus
from .receipts import Receipt, ReceiptStatus, first_answer, refused
from .refusals import Refusal, RefusalReason
from .result_groups import grouped
from .unstorable import lies_in_the_document, unstorable

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.orm import Session

    from .parse_result import ParseResult
    from .principal import Principal

log = logging.getLogger(__name__)

_TRIES = 3
_LEAVE_NO_ENTRY = {
    # The file is not the caller's to speak of.
    RefusalReason.UNKNOWN_BUNDLE,
    # A newer attempt is in the ledger, and stays there.
    RefusalReason.SUPERSEDED,
}

Transaction = Callable[[], AbstractContextManager["Session"]]


def record_all(
    transaction: Transaction, principal: Principal, results: Iterable[ParseResult], *, request_id: str
) -> list[Receipt]:
    """Store results in order, as :func:`record` would store each, with less work.

    :param transaction: opens a writing session that commits at the end of its block
    :param request_id: names the request in the log of a fault
    """
    results = list(results)
    receipts = [
        receipt
        for group in grouped(made_ready(principal, result) for result in results)
        for receipt in _record_group(transaction, principal, group, request_id)
    ]
    count_results(results, receipts)
    return receipts


def _record_group(
    transaction: Transaction, principal: Principal, group: Sequence[Attempt], request_id: str
) -> list[Receipt]:
    if len(group) > 1:
        try:
            return _record_once(transaction, principal, group)
        except Exception as error:  # whatever it is, it may be the fault of one; stored by itself, it is told
            log.warning(
                "Request %s: %d results of bundle %s are stored one by one, because together they failed: %s: %s",
                request_id,
                len(group),
                group[0].result.bundle_name,
                type(error).__name__,
                str(error.__cause__ or error).partition("\n")[0][:500],
            )
    return [record(transaction, principal, attempt.result, request_id=request_id) for attempt in group]


def record(transaction: Transaction, principal: Principal, result: ParseResult, *, request_id: str) -> Receipt:
    """Store one result, or say why not; never raises for what is wrong with this one result.

    :param transaction: opens a writing session that commits at the end of its block
    :param request_id: names the request in the log of a fault
    """
    try:
        for _ in range(_TRIES - 1):
            try:
                return _record_one(transaction, principal, result)
            except (TransactionLost, OperationalError, IntegrityError) as error:
                # A lock timeout, a deadlock or two inserts of one row may pass. Airflow would repeat its own writes
                # alone: we repeat everything.
                log.warning(
                    "Storing %s of bundle %s is tried again: %s", result.relative_fileloc, result.bundle_name, error
                )
        try:
            return _record_one(transaction, principal, result)
        except (TransactionLost, IntegrityError) as error:
            # No race lasts that long: the document has a null or a duplicate where a table can't.
            violated = error if isinstance(error, IntegrityError) else error.__cause__
            if not isinstance(violated, IntegrityError):
                raise
            return _record_refusal(transaction, principal, result, unstorable(result, violated))
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


def _record_one(transaction: Transaction, principal: Principal, result: ParseResult) -> Receipt:
    attempt = made_ready(principal, result)
    if attempt.dismissal is not None:
        if result.lease_ids:
            with transaction() as session:
                _end_leases(session, principal, [attempt])
        return refused(attempt.dismissal)
    try:
        (receipt,) = _record_once(transaction, principal, [attempt])
    except Refusal as refusal:
        return _record_refusal(transaction, principal, result, refusal)
    return receipt


def _record_refusal(transaction: Transaction, principal: Principal, result: ParseResult, refusal: Refusal) -> Receipt:
    """Leave in the ledger, where operators see it, that Airflow could not store the result."""
    (receipt,) = _record_once(transaction, principal, [Attempt(result, objection=refusal)])
    return receipt


def _record_once(transaction: Transaction, principal: Principal, attempts: Sequence[Attempt]) -> list[Receipt]:
    """Record attempts at different files of one bundle in one transaction.

    :raises Refusal: Airflow could not store the only one of them that was to be stored
    :raises Exception: of several, whatever keeps them from being stored together
    """
    with transaction() as session:
        try:
            job_id = jobs.require_running(session, principal)
        except Refusal as closed:
            return [refused(closed) for _ in attempts]
        judgement = judge(session, principal, job_id, attempts)
        counts = dict(zip(judgement.storable, _write(session, judgement.storable), strict=True))
        # Not before Airflow has noted when it parsed the DAGs: whoever stores them later is known by it.
        recorded_at = utcnow()
        receipts: dict[Attempt, Receipt] = {}
        # All transactions insert new rows in the same order, so that no two wait for each other.
        for attempt in sorted(attempts, key=lambda attempt: attempt.file):
            if attempt in judgement.replayed:
                receipts[attempt] = first_answer(judgement.entries[attempt.file])
            elif attempt in judgement.refused:
                receipts[attempt] = _enter_refusal(session, job_id, recorded_at, attempt, judgement)
            else:
                receipts[attempt] = _enter(session, job_id, recorded_at, attempt, judgement, counts.get(attempt))
        for attempt in _remember(session, judgement):
            receipts[attempt] = replace(receipts[attempt], recognizable=True)
        _end_leases(session, principal, [attempt for attempt in attempts if attempt not in judgement.replayed])
        session.flush()
    return [receipts[attempt] for attempt in attempts]


def _write(session: Session, attempts: Sequence[Attempt]) -> list[Counts]:
    if not attempts:
        return []
    try:
        return dag_writes.write(session, attempts)
    except Exception as error:
        cause = error.__cause__ if isinstance(error, TransactionLost) else error
        if len(attempts) == 1 and cause is not None and lies_in_the_document(cause):
            raise unstorable(attempts[0].result, cause) from error
        raise


def _enter(
    session: Session,
    job_id: int,
    recorded_at: datetime,
    attempt: Attempt,
    judgement: Judgement,
    counts: Counts | None,
) -> Receipt:
    """:param counts: of what was stored; None when parsing took too long"""
    result = attempt.result
    judgement.entries[attempt.file] = ledger.record(
        session,
        judgement.entries.get(attempt.file),
        result,
        job_id=job_id,
        status=FileStatus.TIMED_OUT if counts is None else FileStatus.STORED,
        at=recorded_at,
        message=f"Parsing was ended after {result.parse_duration:.1f} s." if counts is None else None,
        counts=counts,
    )
    dag_count, import_error_count, _ = counts or Counts()
    return Receipt(
        ReceiptStatus.ACCEPTED,
        dag_count=dag_count,
        import_error_count=import_error_count,
        recorded_at=recorded_at,
    )


def _enter_refusal(
    session: Session, job_id: int, recorded_at: datetime, attempt: Attempt, judgement: Judgement
) -> Receipt:
    refusal = judgement.refused[attempt]
    if refusal.reason in _LEAVE_NO_ENTRY:
        return refused(refusal)
    ledger.record(
        session,
        judgement.entries.get(attempt.file),
        attempt.result,
        job_id=job_id,
        status=FileStatus.REFUSED,
        at=recorded_at,
        reason=refusal.reason,
        message=refusal.message,
    )
    return refused(refusal, recorded_at)


def _remember(session: Session, judgement: Judgement) -> list[Attempt]:
    """Let what was written be recognised when it comes again; the attempts with which that is possible."""
    stored = {attempt: judgement.entries[attempt.file] for attempt in judgement.storable}
    if stored:
        imprints.remember(session, stored)
    return [attempt for attempt, entry in stored.items() if entry.imprint is not None]


def _end_leases(session: Session, principal: Principal, attempts: Sequence[Attempt]) -> None:
    """End the parse requests that these attempts answer; one that was lost meanwhile is somebody else's to end."""
    lease_ids = [lease_id for attempt in attempts for lease_id in attempt.result.lease_ids]
    if lease_ids:
        claims.acknowledge(session, principal, ClaimKind.PARSE_REQUEST, lease_ids)
