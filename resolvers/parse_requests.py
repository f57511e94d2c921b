"""Priority parse requests: taken over from Airflow's ``dag_priority_parsing_request`` table, and leased.

A request ends when the result of the parse that it asked for is recorded with its lease
(:mod:`parsegate.resolvers.parse_results`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import uuid6
from airflow._shared.timezones.timezone import utcnow
from airflow.models.dagbag import DagPriorityParsingRequest
from airflow.utils.sqlalchemy import with_row_locks
from sqlalchemy import delete, insert, select

from . import claims
from .claims import Claimant, ClaimKind, ClaimState, Lease, SettledLease
from .tables import Claim

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement
    from sqlalchemy.orm import Session

    from .pages import Rows
    from .principal import Principal

RELEASED = "RELEASED"
"""``last_outcome`` of a request that a processor gave back."""


def wait(principal: Principal) -> ColumnElement[bool]:
    """The condition that requests wait for the caller."""
    return claims.waits(principal, ClaimKind.PARSE_REQUEST, _left)


def any_waiting(session: Session, principal: Principal, *, claim_id: str, limit: int) -> bool:
    """Whether :func:`claim` has anything to do; a query, which takes no lock.

    :raises Refusal: INVALID_ARGUMENT, JOB_CLOSED
    """
    return claims.any_waiting(session, principal, ClaimKind.PARSE_REQUEST, claim_id=claim_id, limit=limit, left=_left)


def claim(session: Session, principal: Principal, *, claim_id: str, limit: int) -> list[Lease]:
    """Lease the oldest requests; the same claim again gives what is left of its first leases.

    The payload of each is ``{"relative_fileloc": …}``.

    :raises Refusal: INVALID_ARGUMENT, JOB_CLOSED
    """
    claimant = claims.claimant(session, principal, claim_id=claim_id, limit=limit)
    leases = claims.replayed(session, claimant, ClaimKind.PARSE_REQUEST, claim_id)
    if leases:
        return leases
    _take_over(session, claimant, limit)
    return claims.lease(session, claimant, ClaimKind.PARSE_REQUEST, claim_id, limit)


def release(session: Session, principal: Principal, lease_ids: Sequence[str]) -> list[SettledLease]:
    """Requests that no parse will answer."""
    return claims.release(session, principal, ClaimKind.PARSE_REQUEST, [(lease_id, RELEASED) for lease_id in lease_ids])


def _left(claimant: Claimant) -> Rows:
    return select(
        DagPriorityParsingRequest.id,
        DagPriorityParsingRequest.bundle_name,
        DagPriorityParsingRequest.relative_fileloc,
    ).where(claimant.may_claim(DagPriorityParsingRequest.bundle_name))


def _take_over(session: Session, claimant: Claimant, limit: int) -> None:
    requests = session.execute(
        with_row_locks(
            _left(claimant).order_by(DagPriorityParsingRequest.id).limit(limit),
            session,
            of=DagPriorityParsingRequest,
            skip_locked=True,
        )
    ).all()
    if not requests:
        return
    # Airflow does not store when a request was made: its age counts from here.
    now = utcnow()
    session.execute(
        insert(Claim),
        [
            {
                "id": str(uuid6.uuid7()),
                "kind": ClaimKind.PARSE_REQUEST.value,
                "state": ClaimState.WAITING.value,
                "bundle_name": request.bundle_name,
                "priority_weight": 0,
                "payload": {"relative_fileloc": request.relative_fileloc},
                "created_at": now,
                "attempts": 0,
            }
            for request in requests
        ],
    )
    session.execute(
        delete(DagPriorityParsingRequest)
        .where(DagPriorityParsingRequest.id.in_([request.id for request in requests]))
        .execution_options(synchronize_session=False)
    )
