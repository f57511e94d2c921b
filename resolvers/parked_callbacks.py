"""What operators do about callbacks that are parked: have them tried again, or drop them.

Each can be sent twice: that it was done before is told by the audit log, which says so in the same transaction.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from . import audit, callbacks
from .audit import AuditEvent
from .callbacks import UnreadableCallback
from .claims import ClaimKind, ClaimState
from .permissions import require_permission
from .principal import Permission
from .refusals import Refusal, RefusalReason
from .tables import Claim

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from .principal import Principal

_LONGEST_DAG_ID = 250


def retry(session: Session, principal: Principal, callback_id: str) -> None:
    """Let processors try a parked callback again, as if it had never been handed out.

    :raises Refusal: NOT_PERMITTED, NOT_FOUND, NOT_PARKED, INVALID_DOCUMENT
    """
    claim = _parked(session, principal, callback_id, AuditEvent.RETRY_CALLBACK)
    if claim is None:
        return
    try:
        callbacks.read_again(claim)
    except UnreadableCallback as error:
        raise Refusal(
            RefusalReason.INVALID_DOCUMENT,
            f"Callback {callback_id} still cannot be read, so no processor could run it: {error}",
        ) from error
    _record(session, principal, AuditEvent.RETRY_CALLBACK, claim)
    claim.state = ClaimState.WAITING.value
    claim.attempts = 0
    claim.message = claim.claim_id = claim.expires_at = None
    session.flush()


def drop(session: Session, principal: Principal, callback_id: str) -> None:
    """Forget a parked callback: it never runs.

    :raises Refusal: NOT_PERMITTED, NOT_FOUND, NOT_PARKED
    """
    claim = _parked(session, principal, callback_id, AuditEvent.DROP_CALLBACK)
    if claim is None:
        return
    _record(session, principal, AuditEvent.DROP_CALLBACK, claim)
    session.delete(claim)
    session.flush()


def _parked(session: Session, principal: Principal, callback_id: str, event: AuditEvent) -> Claim | None:
    """The callback's row, locked; None when the same was done to it before and nothing is left to do."""
    require_permission(principal, Permission.MANAGE_CALLBACKS)
    claim = session.scalar(
        select(Claim).where(Claim.id == callback_id, Claim.kind == ClaimKind.CALLBACK.value).with_for_update()
    )
    if claim is not None and not principal.grants_bundle(claim.bundle_name):
        claim = None
    if claim is not None and claim.state == ClaimState.PARKED.value:
        return claim
    if any(principal.grants_bundle(entry["bundle"]) for entry in audit.recorded(session, event, callback_id)):
        return None
    if claim is not None:
        raise Refusal(
            RefusalReason.NOT_PARKED,
            f"Callback {callback_id} is {claim.state}, not PARKED: processors still try it.",
        )
    raise Refusal(
        RefusalReason.NOT_FOUND,
        f"No processor has claimed a callback {callback_id} that is still there and whose bundle the token grants.",
    )


def _record(session: Session, principal: Principal, event: AuditEvent, claim: Claim) -> None:
    dag_id, run_id = _named(claim.payload, "dag_id"), _named(claim.payload, "run_id")
    audit.record(
        session,
        principal,
        event,
        dag_id=dag_id if dag_id is None or len(dag_id) <= _LONGEST_DAG_ID else None,
        callback=claim.id,
        bundle=claim.bundle_name,
        run_id=run_id,
        message=claim.message,
    )


def _named(payload: dict[str, Any], name: str) -> str | None:
    """What the request of a DAG's callback says itself, and that of a task's in its task instance."""
    value: object = payload.get(name)
    if value is None and isinstance(payload.get("ti"), dict):
        value = payload["ti"].get(name)
    return value if isinstance(value, str) else None
