"""Callbacks of the scheduler: taken over from Airflow's ``callback`` table, and leased.

Only rows of type ``dag_processor`` are touched; the triggerer's and the executors' share the table. A row that is not a
valid callback is parked with the reason, where an operator sees it: handed out it would fail every claim.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import uuid6
from airflow.callbacks.callback_requests import CallbackRequest
from airflow.models.callback import Callback, CallbackType
from airflow.serialization.serialized_objects import BaseSerialization
from airflow.utils.sqlalchemy import with_row_locks
from pydantic import TypeAdapter, ValidationError
from sqlalchemy import Text, cast, delete, insert, select

from . import claims
from .claims import Claimant, ClaimKind, ClaimState, Lease, SettledLease
from .tables import Claim

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement
    from sqlalchemy.orm import Session

    from .pages import Rows
    from .principal import Principal

log = logging.getLogger(__name__)

_callback_request: TypeAdapter[CallbackRequest] = TypeAdapter(CallbackRequest)


class UnreadableCallback(ValueError):
    """A stored row that is not a callback; the message says why."""


def wait(principal: Principal) -> ColumnElement[bool]:
    """The condition that callbacks wait for the caller."""
    return claims.waits(principal, ClaimKind.CALLBACK, _left)


def any_waiting(session: Session, principal: Principal, *, claim_id: str, limit: int) -> bool:
    """Whether :func:`claim` has anything to do; a query, which takes no lock.

    :raises Refusal: INVALID_ARGUMENT, JOB_CLOSED
    """
    return claims.any_waiting(session, principal, ClaimKind.CALLBACK, claim_id=claim_id, limit=limit, left=_left)


def claim(session: Session, principal: Principal, *, claim_id: str, limit: int) -> list[Lease]:
    """Lease the most urgent callbacks; the same claim again gives what is left of its first leases.

    :raises Refusal: INVALID_ARGUMENT, JOB_CLOSED
    """
    claimant = claims.claimant(session, principal, claim_id=claim_id, limit=limit)
    leases = claims.replayed(session, claimant, ClaimKind.CALLBACK, claim_id)
    if leases:
        return leases
    _take_over(session, claimant, limit)
    return claims.lease(session, claimant, ClaimKind.CALLBACK, claim_id, limit)


def acknowledge(session: Session, principal: Principal, outcomes: Sequence[tuple[str, str]]) -> list[SettledLease]:
    """Callbacks that ran or raised: ``(lease id, outcome)`` each."""
    return claims.acknowledge(session, principal, ClaimKind.CALLBACK, [lease_id for lease_id, _ in outcomes])


def release(session: Session, principal: Principal, outcomes: Sequence[tuple[str, str]]) -> list[SettledLease]:
    """Callbacks that did not run: ``(lease id, outcome)`` each."""
    return claims.release(session, principal, ClaimKind.CALLBACK, outcomes)


def read_again(claim: Claim) -> None:
    """Make of a callback that was parked unread what it would have been; nothing when it was read.

    :raises UnreadableCallback: it can't be read now either
    """
    if "filepath" not in claim.payload and isinstance(data := claim.payload.get("data"), str):
        claim.payload = _read(data, claim.bundle_name)


def _left(claimant: Claimant) -> Rows:
    """The rows of Airflow's table, as :meth:`DagFileProcessorManager._fetch_callbacks_from_db` selects them."""
    # As text: Airflow's column type decodes a row while it is fetched, and one malformed row would fail them all.
    return select(
        Callback.id,
        Callback.bundle_name,
        Callback.priority_weight,
        Callback.created_at,
        cast(Callback.data, Text).label("data"),
    ).where(Callback.type == CallbackType.DAG_PROCESSOR.value, claimant.may_claim(Callback.bundle_name))


def _take_over(session: Session, claimant: Claimant, limit: int) -> None:
    """Move the most urgent rows of Airflow's table to ours."""
    rows = session.execute(
        with_row_locks(
            _left(claimant).order_by(Callback.priority_weight.desc(), Callback.created_at, Callback.id).limit(limit),
            session,
            of=Callback,
            skip_locked=True,
        )
    ).all()
    if not rows:
        return
    taken_over: list[dict[str, Any]] = []
    for row in rows:
        state, message = ClaimState.WAITING, None
        try:
            payload = _read(row.data, row.bundle_name)
        except UnreadableCallback as error:
            log.warning("Parked callback %s of bundle %s: %s", row.id, row.bundle_name, error)
            state, message, payload = ClaimState.PARKED, str(error), {"data": row.data}
        taken_over.append(
            {
                "id": str(uuid6.uuid7()),
                "kind": ClaimKind.CALLBACK.value,
                "state": state.value,
                "bundle_name": row.bundle_name,
                "priority_weight": row.priority_weight,
                "payload": payload,
                "message": message,
                "created_at": row.created_at,
                "attempts": 0,
            }
        )
    session.execute(insert(Claim), taken_over)
    session.execute(
        delete(Callback).where(Callback.id.in_([row.id for row in rows])).execution_options(synchronize_session=False)
    )


def _read(data: str, bundle_name: str) -> dict[str, Any]:
    """The callback in Airflow's stored form (``airflow/models/callback.py:DagProcessorCallback``) as JSON.

    :raises UnreadableCallback: it is none, or one of another bundle than its row says
    """
    try:
        stored = BaseSerialization.deserialize(json.loads(data))
        request = _callback_request.validate_json(stored["req_data"])
    except Exception as error:  # Airflow's deserializer raises anything; whatever it is, the row is no callback
        raise UnreadableCallback(f"Not a callback request: {_without_input(error)}") from error
    if request.bundle_name != bundle_name:
        raise UnreadableCallback(f"The request is of bundle {request.bundle_name!r}, its row of {bundle_name!r}.")
    return request.model_dump(mode="json")


def _without_input(error: Exception) -> str:
    """The error without the value that caused it, which may be a user's; operators read this."""
    if isinstance(error, ValidationError):
        faults = error.errors(include_url=False, include_context=False, include_input=False)
        return "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in faults)
    if isinstance(error, KeyError):
        return f"it has no {error}"
    return type(error).__name__
