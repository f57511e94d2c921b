"""The file ledger: one row for each file of each bundle, saying what its last parse left behind.

It gives replays their first answer, keeps an older result from overwriting a newer one, and is the clock that stale
DAGs are found by.
"""

from __future__ import annotations

from collections import defaultdict
from enum import Enum
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, false, or_, select

from .chunks import chunks
from .tables import ParsedFile

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from sqlalchemy import ColumnElement, Row
    from sqlalchemy.orm import Session

    from .parse_result import ParseResult
    from .refusals import RefusalReason


FileKey = tuple[str, str]
"""Bundle and path of a file in it."""


MOST_RECENT_PARSES = 10
"""Attempts that a file's row remembers."""

_LONGEST_VERSION = 200


class FileStatus(Enum):
    """What became of the last attempt at a file."""

    STORED = "STORED"
    REFUSED = "REFUSED"
    TIMED_OUT = "TIMED_OUT"


def entry(session: Session, bundle_name: str, relative_fileloc: str) -> ParsedFile | None:
    """The file's row, locked until the transaction ends; None when the file is new."""
    return session.scalar(
        select(ParsedFile)
        .where(ParsedFile.bundle_name == bundle_name, ParsedFile.relative_fileloc == relative_fileloc)
        .with_for_update()
    )


def entries(session: Session, files: Collection[FileKey]) -> dict[FileKey, ParsedFile]:
    """The rows of those of ``files`` that are known, locked until the transaction ends."""
    found = (row[0] for row in entries_beside(session, files))
    return {(entry.bundle_name, entry.relative_fileloc): entry for entry in found}


def entries_beside(session: Session, files: Collection[FileKey], *columns: ColumnElement[Any]) -> list[Row[Any]]:
    """As :func:`entries`, a row for each file: its entry, and ``columns``.

    They are locked in the order of their names, which keeps two that lock the same rows from waiting for each other.
    Whoever waited has the entries as they are then, and ``columns`` perhaps as they were before.
    """
    found: list[Row[Any]] = []
    for some in chunks(sorted(files)):
        found += session.execute(
            select(ParsedFile, *columns)
            .where(are_of(some))
            .order_by(ParsedFile.bundle_name, ParsedFile.relative_fileloc)
            .with_for_update(of=ParsedFile)
        )
    return found


def are_of(files: Collection[FileKey]) -> ColumnElement[bool]:
    """Whether an entry is that of one of ``files``, said bundle by bundle: SQLite uses no index for a list of pairs."""
    paths: dict[str, list[str]] = defaultdict(list)
    for bundle_name, path in files:
        paths[bundle_name].append(path)
    return or_(
        false(),
        *(
            and_(ParsedFile.bundle_name == bundle_name, ParsedFile.relative_fileloc.in_(some))
            for bundle_name, some in paths.items()
        ),
    )


def record(
    session: Session,
    entry: ParsedFile | None,
    result: ParseResult,
    *,
    job_id: int,
    status: FileStatus,
    at: datetime,
    reason: RefusalReason | None = None,
    message: str | None = None,
    counts: tuple[int, int, int] | None = None,
) -> ParsedFile:
    """Write what became of an attempt; the file's row.

    :param entry: the file's locked row; None makes one
    :param counts: DAGs, import errors and warnings stored; None when nothing was, and the earlier counts still hold
    """
    if entry is None:
        entry = ParsedFile(
            bundle_name=result.bundle_name,
            relative_fileloc=result.relative_fileloc,
            dag_count=0,
            import_error_count=0,
            warning_count=0,
        )
        session.add(entry)
    entry.status = status.value
    entry.reason = reason.value if reason else None
    entry.message = message
    entry.last_parsed_at = at
    entry.parse_duration = result.parse_duration
    entry.job_id = job_id
    entry.attempt_id = result.attempt_id
    entry.sequence = result.sequence
    entry.recent_parses = with_parse(entry, at, result.parse_duration, status, result.bundle_version, job_id)
    if counts is not None:
        entry.last_stored_at = at
        entry.bundle_version = result.bundle_version
        entry.dag_count, entry.import_error_count, entry.warning_count = counts
        # Whether this result can be recognised, imprints.remember says.
        entry.fingerprint = entry.imprint = entry.written = None
    return entry


def with_parse(
    entry: ParsedFile, at: datetime, seconds: float, status: FileStatus, bundle_version: str | None, job_id: int
) -> list[list[Any]]:
    """The file's last attempts, the newest first, with this one in front."""
    # A refused result may have come with a version that nobody can store.
    version = bundle_version and bundle_version[:_LONGEST_VERSION]
    newest = [at.isoformat(), seconds, status.value, version, job_id]
    return [newest, *(entry.recent_parses or [])][:MOST_RECENT_PARSES]
