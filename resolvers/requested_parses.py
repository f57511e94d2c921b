"""Parses that operators request: rows of Airflow's ``dag_priority_parsing_request`` table, as its own API leaves them.

Airflow's row is named by a digest of bundle and path (``airflow/models/dagbag.py:generate_md5_hash``), so a file that
waits already is not requested twice. Processors take such rows by :mod:`.parse_requests`, or Airflow's own do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow._shared.timezones.timezone import utcnow
from airflow.models.dagbag import DagPriorityParsingRequest
from airflow.models.dagbundle import DagBundleModel
from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite

from . import audit
from .audit import AuditEvent
from .permissions import require_bundle, require_permission
from .principal import Permission
from .refusals import Refusal, RefusalReason
from .tables import ParsedFile

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.orm import Session

    from .principal import Principal

MAX_PATHS = 1000
"""The most files that one request names."""

MAX_FILES = 20_000
"""The most files of a bundle that is requested as a whole."""

_TOLD = 5
"""So many unknown files are named in a refusal."""


@dataclass(frozen=True)
class RequestedParse:
    """What was requested.

    :param file_count: files that wait to be parsed now, those included that waited before
    :param new_count: files of these that did not wait before
    :param requested_at: on the gateway's clock; a parse that answers the request is recorded after it
    """

    file_count: int
    new_count: int
    requested_at: datetime


def request(
    session: Session, principal: Principal, bundle_name: str, relative_filelocs: Sequence[str] | None
) -> RequestedParse:
    """Have files parsed before all others.

    :param relative_filelocs: their paths in the bundle; None for all files of the bundle that are in the ledger
    :raises Refusal: NOT_PERMITTED, BUNDLE_NOT_GRANTED, NOT_FOUND, BUNDLE_INACTIVE, INVALID_ARGUMENT
    """
    require_permission(principal, Permission.REQUEST_PARSE)
    require_bundle(principal, bundle_name)
    active = session.execute(
        select(DagBundleModel.active).where(DagBundleModel.name == bundle_name)
    ).scalar_one_or_none()
    if active is None:
        raise Refusal(RefusalReason.NOT_FOUND, f"There is no bundle {bundle_name}.")
    if not active:
        raise Refusal(
            RefusalReason.BUNDLE_INACTIVE, f"Bundle {bundle_name} is not in the configuration: nobody parses its files."
        )
    if relative_filelocs is None:
        paths = _all_paths(session, bundle_name)
    else:
        paths = _known_paths(session, bundle_name, relative_filelocs)
    requested_at = utcnow()
    new_count = _leave_requests(session, bundle_name, paths)
    if new_count:
        audit.record(
            session,
            principal,
            AuditEvent.REQUEST_PARSE,
            bundle=bundle_name,
            relative_filelocs=None if relative_filelocs is None else paths,
            file_count=len(paths),
            new_count=new_count,
        )
    return RequestedParse(len(paths), new_count, requested_at)


def _all_paths(session: Session, bundle_name: str) -> list[str]:
    paths = session.scalars(
        select(ParsedFile.relative_fileloc)
        .where(ParsedFile.bundle_name == bundle_name)
        .order_by(ParsedFile.relative_fileloc)
        .limit(MAX_FILES + 1)
    ).all()
    if len(paths) > MAX_FILES:
        raise Refusal(
            RefusalReason.INVALID_ARGUMENT,
            f"Bundle {bundle_name} has more than {MAX_FILES} files, too many to be requested at once. Name files.",
        )
    return list(paths)


def _known_paths(session: Session, bundle_name: str, named: Sequence[str]) -> list[str]:
    if not 1 <= len(named) <= MAX_PATHS:
        raise Refusal(
            RefusalReason.INVALID_ARGUMENT,
            f"{len(named)} files are named; 1 to {MAX_PATHS} may be. Name none (null) for the whole bundle.",
        )
    wanted = sorted(set(named))
    known = set(
        session.scalars(
            select(ParsedFile.relative_fileloc).where(
                ParsedFile.bundle_name == bundle_name, ParsedFile.relative_fileloc.in_(wanted)
            )
        )
    )
    if unknown := [path for path in wanted if path not in known]:
        told = ", ".join(unknown[:_TOLD]) + (f" and {len(unknown) - _TOLD} more" if len(unknown) > _TOLD else "")
        raise Refusal(
            RefusalReason.NOT_FOUND,
            f"No processor has parsed {told} of bundle {bundle_name}, so nothing was requested. Paths are relative to "
            "the bundle; a file that is new is parsed without a request.",
        )
    return wanted


def _leave_requests(session: Session, bundle_name: str, paths: Sequence[str]) -> int:
    """How many of them did not wait before."""
    if not paths:
        return 0
    insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    added = session.execute(
        insert(DagPriorityParsingRequest).on_conflict_do_nothing().returning(DagPriorityParsingRequest.id),
        [{"bundle_name": bundle_name, "relative_fileloc": path} for path in paths],
    )
    return len(added.all())
