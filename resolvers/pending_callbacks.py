"""What operators read about callbacks that have not run yet: what the scheduler left, and what processors have claimed.

A callback is a row of Airflow's ``callback`` table until a processor claims it, then a row of ``parsegate_claim``. Here
the two are one list, oldest first. Of a callback's request only what names its DAG, run and task is shown: the context
in it carries what users put into runs.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from heapq import merge
from itertools import islice
from typing import TYPE_CHECKING, Any
from uuid import UUID

from airflow._shared.timezones.timezone import utcnow
from airflow.models.callback import DagProcessorCallback
from airflow.serialization.enums import Encoding
from airflow.utils.sqlalchemy import UtcDateTime
from sqlalchemy import Integer, String, Text, Uuid, cast, func, literal, select, tuple_

from .claims import ClaimKind, ClaimState
from .pages import InvalidPage, Page, PageRequest, Row, decode_cursor, encode_cursor
from .parse_state import granted
from .principal import Principal
from .tables import Claim

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from sqlalchemy import ColumnElement
    from sqlalchemy.orm import InstrumentedAttribute, Session

    from .pages import Rows

ORDER = "pendingCallbacks"
_KEY = (UtcDateTime(), Integer(), String())


class PendingState(Enum):
    """Where a callback is on its way to a processor."""

    UNCLAIMED = "UNCLAIMED"
    WAITING = ClaimState.WAITING.value
    LEASED = ClaimState.LEASED.value
    PARKED = ClaimState.PARKED.value


@dataclass(frozen=True)
class _Source:
    """One of the two tables; ``rank`` decides between rows of the same moment, then the table's own id."""

    rank: int
    statement: Rows
    key: tuple[InstrumentedAttribute[datetime], InstrumentedAttribute[Any]]


@dataclass(frozen=True)
class PendingCallbacks:
    """Callbacks by age, read from one query for each table."""

    sources: tuple[_Source, ...]

    def page(self, session: Session, request: PageRequest) -> Page[Row]:
        position = None if request.after is None else _position(request.after)
        found = [_ordered(session, source, position, request.first + 1) for source in self.sources]
        merged = list(islice(merge(*found, key=lambda item: item[0][:2]), request.first + 1))
        taken = merged[: request.first]
        return Page(
            rows=[_described(row) for _, row in taken],
            cursors=[encode_cursor(ORDER, key) for key, _ in taken],
            has_next_page=len(merged) > request.first,
            has_previous_page=position is not None,
        )

    def by_id(self, session: Session, ids: Collection[str]) -> dict[str, Row]:
        """Those of ``ids`` that are in the list."""
        known = [UUID(identifier) for identifier in ids if _is_uuid(identifier)]
        rows: list[Row] = []
        for source in self.sources:  # at most two
            own_id = source.key[1]
            bounds = known if isinstance(own_id.type, Uuid) else [str(identifier) for identifier in known]
            found = session.execute(source.statement.where(own_id.in_(bounds))).mappings()
            rows += [_described(dict(row)) for row in found]
        return {row["callback_id"]: row for row in rows}

    def count(self, session: Session) -> int:
        counts = (
            source.statement.with_only_columns(func.count(), maintain_column_froms=True) for source in self.sources
        )
        return sum(session.scalars(count).one() for count in counts)  # at most two


def pending_callbacks(
    principal: Principal, *, bundle: str | None = None, state: PendingState | None = None
) -> PendingCallbacks:
    """Callbacks for DAG processors that have not been acknowledged."""
    sources: list[_Source] = []
    if state in (None, PendingState.UNCLAIMED):
        unclaimed = select(
            DagProcessorCallback.id,
            DagProcessorCallback.bundle_name,
            DagProcessorCallback.priority_weight,
            DagProcessorCallback.created_at,
            # As text: Airflow's column type decodes rows while they are fetched; one malformed row would fail the page.
            cast(DagProcessorCallback.data, Text).label("data"),
        ).where(*granted(principal, DagProcessorCallback.bundle_name))
        if bundle is not None:
            unclaimed = unclaimed.where(DagProcessorCallback.bundle_name == bundle)
        sources.append(_Source(0, unclaimed, (DagProcessorCallback.created_at, DagProcessorCallback.id)))
    if state is not PendingState.UNCLAIMED:
        claimed = select(
            Claim.id,
            Claim.bundle_name,
            Claim.priority_weight,
            Claim.created_at,
            Claim.payload,
            Claim.state,
            Claim.attempts,
            Claim.last_outcome,
            Claim.message,
            Claim.job_id,
            Claim.expires_at,
        ).where(Claim.kind == ClaimKind.CALLBACK.value, *granted(principal, Claim.bundle_name))
        if bundle is not None:
            claimed = claimed.where(Claim.bundle_name == bundle)
        if state is not None:
            claimed = claimed.where(Claim.state == state.value)
        sources.append(_Source(1, claimed, (Claim.created_at, Claim.id)))
    return PendingCallbacks(tuple(sources))


_Position = tuple[datetime, int, str]


def _position(cursor: str) -> _Position:
    created_at, rank, identifier = decode_cursor(ORDER, cursor, _KEY)
    try:
        return created_at, rank, str(UUID(identifier))
    except ValueError:
        raise InvalidPage("after", "`after` is not a cursor of this list.") from None


def _is_uuid(text: str) -> bool:
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False


def _ordered(
    session: Session, source: _Source, position: _Position | None, limit: int
) -> Iterator[tuple[_Position, Row]]:
    statement = source.statement.order_by(*source.key).limit(limit)
    if position is not None:
        statement = statement.where(_behind(source, position))
    for row in session.execute(statement).mappings():
        yield (row["created_at"], source.rank, str(row["id"])), dict(row)


def _behind(source: _Source, position: _Position) -> ColumnElement[bool]:
    moment, rank, identifier = position
    created_at, own_id = source.key
    if source.rank != rank:
        return created_at > moment if source.rank < rank else created_at >= moment
    bound = UUID(identifier) if isinstance(own_id.type, Uuid) else identifier
    return tuple_(created_at, own_id) > tuple_(literal(moment, created_at.type), literal(bound, own_id.type))


def _described(row: Row) -> Row:
    claimed = "payload" in row
    leased = claimed and row["state"] == PendingState.LEASED.value
    request = _object(row["payload"]) if claimed else _request(row["data"])
    task_instance = _object(request.get("ti"))
    age = (utcnow() - row["created_at"]).total_seconds()
    return {
        "callback_id": str(row["id"]),
        "bundle_name": row["bundle_name"],
        "bundle_version": _text(request, "bundle_version"),
        "relative_fileloc": _text(request, "filepath"),
        "type": _text(request, "type"),
        "dag_id": _text(request, "dag_id") or _text(task_instance, "dag_id"),
        "run_id": _text(request, "run_id") or _text(task_instance, "run_id"),
        "task_id": _text(task_instance, "task_id"),
        "map_index": _number(task_instance, "map_index"),
        "try_number": _number(task_instance, "try_number"),
        "priority_weight": row["priority_weight"],
        "created_at": row["created_at"],
        "age": max(age, 0.0),
        "state": row["state"] if claimed else PendingState.UNCLAIMED.value,
        "attempts": row["attempts"] if claimed else 0,
        "last_outcome": row["last_outcome"] if claimed else None,
        "message": row["message"] if claimed else None,
        "job_id": row["job_id"] if leased else None,
        "lease_expires_at": row["expires_at"] if leased else None,
    }


def _request(data: str) -> dict[str, Any]:
    """The callback request in Airflow's stored form (``airflow/models/callback.py:DagProcessorCallback``), unchecked.

    Empty when it cannot be read; whoever claims it finds out why.
    """
    try:
        stored = _object(json.loads(data))
        return _object(json.loads(_object(stored.get(Encoding.VAR))["req_data"]))
    except (KeyError, TypeError, ValueError, RecursionError):
        return {}


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}  # pyright: ignore[reportUnknownVariableType]  # of JSON


def _text(document: dict[str, Any], key: str) -> str | None:
    value = document.get(key)
    return value if isinstance(value, str) else None


def _number(document: dict[str, Any], key: str) -> int | None:
    value = document.get(key)
    return value if isinstance(value, int) and abs(value) < 2**31 else None
