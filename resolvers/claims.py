"""Leases on work that the scheduler and operators leave for DAG processors: callbacks and priority parse requests.

Stock Airflow deletes such a row when it hands it out, so a processor that dies takes it along. Here the row moves to
``parsegate_claim`` in the claiming transaction and stays there until it is acknowledged: it is leased to one Job, comes
back when the lease expires or that Job ends, and is parked after too many attempts. Who claims is read from the token;
a claim is limited to bundles that the token grants and the processor registered for.

Rows are locked with SKIP LOCKED where the database can, so that claimers never wait for each other and never get the
same row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence, Set
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import TYPE_CHECKING, Any

from airflow._shared.timezones.timezone import utcnow
from airflow.jobs.job import Job, JobState
from airflow.models.dagbundle import DagBundleModel
from airflow.utils.sqlalchemy import with_row_locks
from sqlalchemy import and_, delete, exists, or_, select, update

from . import jobs
from .principal import ALL_BUNDLES
from .refusals import Refusal, RefusalReason
from .settings import LEASE_DURATION, MAX_ATTEMPTS
from .tables import Claim, Processor

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Select
    from sqlalchemy.orm import InstrumentedAttribute, Session

    from .pages import Rows
    from .principal import Principal

MAX_LEASES = 1000
"""The most leases of one request; each id is a parameter of a statement."""

PAUSE_PER_ATTEMPT = timedelta(seconds=10)
"""What was released rests so long for each attempt it has had: its DAG may be about to arrive, and a processor that
gives it back at once would use up its attempts within seconds."""


class ClaimKind(Enum):
    """What is claimed; the value is stored."""

    CALLBACK = "CALLBACK"
    PARSE_REQUEST = "PARSE_REQUEST"


class ClaimState(Enum):
    """Where a claim stands; the value is stored."""

    WAITING = "WAITING"
    LEASED = "LEASED"
    PARKED = "PARKED"


LOST = "LOST"
"""``last_outcome`` of a claim whose owner fell silent: its lease expired, or its Job ended."""


@dataclass(frozen=True)
class Lease:
    """Work that was handed out. ``attempt`` counts from 1."""

    lease_id: str
    attempt: int
    expires_at: datetime
    bundle_name: str
    payload: dict[str, Any]


@dataclass(frozen=True)
class SettledLease:
    """What became of one lease of a list; ``refusal`` is None when it was accepted."""

    lease_id: str
    expires_at: datetime | None = None
    refusal: Refusal | None = None


@dataclass(frozen=True)
class Claimant:
    """The processor that claims; ``bundle_names`` None stands for all of them."""

    job_id: int | None
    bundle_names: frozenset[str] | None

    def may_claim(
        self, bundle_name: InstrumentedAttribute[str] | InstrumentedAttribute[str | None]
    ) -> ColumnElement[bool]:
        """The condition on a row's bundle. What belongs to an inactive bundle waits: nobody has its files."""
        active = bundle_name.in_(select(DagBundleModel.name).where(DagBundleModel.active.is_(True)))
        return active if self.bundle_names is None else and_(active, bundle_name.in_(sorted(self.bundle_names)))


def waits(principal: Principal, kind: ClaimKind, left: Callable[[Claimant], Rows]) -> ColumnElement[bool]:
    """The condition that a new claim of the caller would find something, or be refused for want of a registration.

    :param left: selects what the scheduler and operators left for a claimant
    """
    # A Job's token grants no bundle that it did not register for; the claim itself looks at both.
    asking = Claimant(principal.job_id, None if principal.grants_all_bundles else principal.bundles)
    return or_(
        ~exists().where(Processor.job_id == principal.job_id),
        left(asking).exists(),
        exists().where(Claim.kind == kind.value, asking.may_claim(Claim.bundle_name), _available(utcnow())),
    )


def any_waiting(
    session: Session,
    principal: Principal,
    kind: ClaimKind,
    *,
    claim_id: str,
    limit: int,
    left: Callable[[Claimant], Rows],
) -> bool:
    """Whether a claim would find anything, or be refused otherwise than for a closed Job: one query, and no lock.

    :param left: selects what the scheduler and operators left for a claimant
    :raises Refusal: INVALID_ARGUMENT, JOB_CLOSED
    """
    _check(claim_id, limit)
    taken = exists().where(
        Claim.kind == kind.value,
        Claim.state == ClaimState.LEASED.value,
        Claim.job_id == principal.job_id,
        Claim.claim_id == claim_id,
    )
    return jobs.ask_while_running(session, principal, or_(waits(principal, kind, left), taken))


def claimant(session: Session, principal: Principal, *, claim_id: str, limit: int) -> Claimant:
    """The processor that claims, its row locked: its own claims take turns, so one that is sent twice finds the first.

    :raises Refusal: INVALID_ARGUMENT, JOB_CLOSED
    """
    _check(claim_id, limit)
    job_id = jobs.require_running(session, principal)
    registered = session.scalar(
        with_row_locks(select(Processor.bundle_names).where(Processor.job_id == job_id), session)
    )
    if registered is None:
        raise Refusal(RefusalReason.JOB_CLOSED, f"Job {job_id} was not registered through the gateway. Register again.")
    if ALL_BUNDLES in registered:
        return Claimant(job_id, None if principal.grants_all_bundles else principal.bundles)
    return Claimant(job_id, frozenset(name for name in registered if principal.grants_bundle(name)))


def replayed(session: Session, claimant: Claimant, kind: ClaimKind, claim_id: str) -> list[Lease]:
    """The leases of this claim that its first send took and that are still held, renewed; empty for a new claim."""
    rows = _locked(
        session,
        _most_urgent(
            select(Claim).where(
                Claim.kind == kind.value, _taken_by(claimant, claim_id), claimant.may_claim(Claim.bundle_name)
            )
        ),
    )
    expires_at = _new_expiry()
    for row in rows:
        row.expires_at = expires_at
    session.flush()
    return [_lease(row, expires_at) for row in rows]


def lease(session: Session, claimant: Claimant, kind: ClaimKind, claim_id: str, limit: int) -> list[Lease]:
    """Hand out what waits and has rested, or has lost its owner: by priority weight, then by age."""
    available = _most_urgent(
        select(Claim).where(Claim.kind == kind.value, claimant.may_claim(Claim.bundle_name), _available(utcnow()))
    )
    max_attempts = MAX_ATTEMPTS.read()
    for row in _locked(session, available.where(Claim.attempts >= max_attempts).limit(MAX_LEASES)):
        if row.state == ClaimState.LEASED.value:
            row.last_outcome = LOST
        row.state = ClaimState.PARKED.value
        row.message = _worn_out(max_attempts)
        row.claim_id = None
        row.expires_at = None
    expires_at = _new_expiry()
    rows = _locked(session, available.where(Claim.attempts < max_attempts).limit(limit))
    for row in rows:
        if row.state == ClaimState.LEASED.value:
            row.last_outcome = LOST
        row.state = ClaimState.LEASED.value
        row.job_id = claimant.job_id
        row.claim_id = claim_id
        row.expires_at = expires_at
        row.attempts += 1
    session.flush()
    return [_lease(row, expires_at) for row in rows]


def renew(session: Session, principal: Principal, lease_ids: Sequence[str]) -> list[SettledLease]:
    """Extend leases from now on; one that expired is still good while nobody else was given it."""
    expires_at = _new_expiry()
    renewed = set(
        session.scalars(
            update(Claim)
            .where(_held_by(principal), Claim.id.in_(_possible(lease_ids)), Claim.job_id.in_(_running_jobs()))
            .values(expires_at=expires_at)
            .returning(Claim.id)
            .execution_options(synchronize_session=False)
        )
    )
    if not renewed:
        try:
            jobs.require_running(session, principal)
        except Refusal as closed:
            return [SettledLease(lease_id, refusal=closed) for lease_id in lease_ids]
    return [
        SettledLease(lease_id, expires_at=expires_at) if lease_id in renewed else _lost(lease_id)
        for lease_id in lease_ids
    ]


def acknowledge(
    session: Session, principal: Principal, kind: ClaimKind, lease_ids: Sequence[str]
) -> list[SettledLease]:
    """End claims whose work is done. A claim that is gone was acknowledged by an earlier send.

    The Job need not run any more: what it did is done, whoever has not been given the claim yet need not do it again.
    """
    possible = _possible(lease_ids)
    ended = set(
        session.scalars(
            delete(Claim)
            .where(_held_by(principal), Claim.kind == kind.value, Claim.id.in_(possible))
            .returning(Claim.id)
            .execution_options(synchronize_session=False)
        )
    )
    others = possible - ended
    left = set(session.scalars(select(Claim.id).where(Claim.id.in_(sorted(others))))) if others else set[str]()
    return [_lost(lease_id) if lease_id in left else SettledLease(lease_id) for lease_id in lease_ids]


def release(
    session: Session, principal: Principal, kind: ClaimKind, outcomes: Sequence[tuple[str, str]]
) -> list[SettledLease]:
    """Give claims back, undone: to the queue, where they rest, or to be parked when they were handed out often enough.

    :param outcomes: lease ids, and what to remember as their ``last_outcome``
    """
    max_attempts = MAX_ATTEMPTS.read()
    now = utcnow()
    given = dict(outcomes)
    held = select(Claim).where(_held_by(principal), Claim.kind == kind.value, Claim.id.in_(_possible(given)))
    for row in session.scalars(
        with_row_locks(held.order_by(Claim.id), session, of=Claim).execution_options(populate_existing=True)
    ):
        row.last_outcome = given[row.id]
        row.claim_id = None
        if row.attempts >= max_attempts:
            row.state = ClaimState.PARKED.value
            row.message = _worn_out(max_attempts)
            row.expires_at = None
        else:
            row.state = ClaimState.WAITING.value
            row.expires_at = now + row.attempts * PAUSE_PER_ATTEMPT
    session.flush()
    # An earlier send of the same release left them like this.
    rows = session.execute(
        select(Claim.id, Claim.last_outcome).where(
            Claim.job_id == principal.job_id,
            Claim.kind == kind.value,
            Claim.state.in_([ClaimState.WAITING.value, ClaimState.PARKED.value]),
            Claim.id.in_(_possible(given)),
        )
    )
    released = {(lease_id, outcome) for lease_id, outcome in rows}
    return [
        SettledLease(lease_id) if (lease_id, outcome) in released else _lost(lease_id) for lease_id, outcome in outcomes
    ]


def _check(claim_id: str, limit: int) -> None:
    if not 0 < len(claim_id) <= 36 or "\0" in claim_id or not 1 <= limit <= MAX_LEASES:
        raise Refusal(
            RefusalReason.INVALID_ARGUMENT,
            f"A claim needs a claimId of 1 to 36 characters and a limit of 1 to {MAX_LEASES}.",
        )


def _available(now: datetime) -> ColumnElement[bool]:
    """What waits and has rested, or has lost its owner."""
    waits = and_(
        Claim.state == ClaimState.WAITING.value,
        or_(Claim.expires_at.is_(None), Claim.expires_at <= now),
    )
    lost = and_(
        Claim.state == ClaimState.LEASED.value,
        or_(Claim.expires_at <= now, Claim.job_id.not_in(_running_jobs())),
    )
    return or_(waits, lost)


def _taken_by(claimant: Claimant, claim_id: str) -> ColumnElement[bool]:
    return and_(Claim.state == ClaimState.LEASED.value, Claim.job_id == claimant.job_id, Claim.claim_id == claim_id)


def _running_jobs() -> Select[int]:
    return select(Job.id).where(Job.state == JobState.RUNNING)


def _held_by(principal: Principal) -> ColumnElement[bool]:
    return and_(Claim.job_id == principal.job_id, Claim.state == ClaimState.LEASED.value)


def _most_urgent(claims: Select[Any]) -> Select[Any]:
    return claims.order_by(Claim.priority_weight.desc(), Claim.created_at, Claim.id)


def _locked(session: Session, claims: Select[Any]) -> Sequence[Claim]:
    return session.scalars(
        with_row_locks(claims, session, of=Claim, skip_locked=True).execution_options(populate_existing=True)
    ).all()


def _possible(lease_ids: Iterable[str]) -> Set[str]:
    """Those that can be ids of claims; PostgreSQL does not even compare with the others."""
    return {lease_id for lease_id in lease_ids if lease_id.isascii() and lease_id.isprintable()}


def _new_expiry() -> datetime:
    return utcnow() + timedelta(seconds=LEASE_DURATION.read())


def _lease(row: Claim, expires_at: datetime) -> Lease:
    return Lease(row.id, row.attempts, expires_at, row.bundle_name, row.payload)


def _lost(lease_id: str) -> SettledLease:
    return SettledLease(
        lease_id,
        refusal=Refusal(
            RefusalReason.LEASE_LOST,
            "The lease is not this processor's any more: it expired and went on, or was never its own.",
        ),
    )


def _worn_out(max_attempts: int) -> str:
    return f"Handed out {max_attempts} times without success ([parsegate] max_attempts)."
