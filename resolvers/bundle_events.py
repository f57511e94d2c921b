"""What has happened in a bundle since one looked last: which files were parsed, how far its versions have come.

Looking again costs a query or two while nothing happens, whoever stored it: any gateway on the database.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import func, select
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnection

from . import bundle_versions
from .chunks import chunks
from .parse_state import file_rows
from .tables import ParsedFile

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from sqlalchemy.orm import Session

    from .bundle_versions import Progress, Transaction, VersionKey
    from .pages import Row

OVERLAP = timedelta(seconds=60)
"""How far back each look reads again: a result's time is that of its transaction's beginning, on its gateway's clock,
and it can be seen only when the transaction ends."""

PASSING_FAULTS = (OperationalError, InterfaceError, NoConnection)
"""What looking raises while the database is away or busy."""


@dataclass(frozen=True)
class Sight:
    """What was seen of a bundle.

    :param latest: when a file was last parsed; looking again begins ``OVERLAP`` before
    :param attempts: the last attempt at each file that was parsed since then, by path
    :param parsed: paths of files that were parsed since the look before, in that order
    :param files: rows of those, as :func:`.parse_state.file_rows` has them, in this order; empty unless asked for
    :param current_version: the version of the bundle that was seen last; None when none was
    :param versions: of those asked for that are known: the version's row, and its progress
    """

    latest: datetime = datetime(1970, 1, 1, tzinfo=UTC)
    attempts: Mapping[str, str] = field(default_factory=dict[str, str])
    parsed: Sequence[str] = ()
    files: Sequence[Row] = ()
    current_version: str | None = None
    versions: Mapping[str, tuple[Row, Progress]] = field(default_factory=dict[str, "tuple[Row, Progress]"])


def look(
    session: Session,
    transaction: Transaction,
    bundle_name: str,
    before: Sight | None,
    *,
    with_files: bool,
    versions: Collection[str | None],
) -> Sight:
    """What is to be seen of a bundle now.

    :param transaction: opens a writing session, to note that a version is complete
    :param before: what was seen last; None to begin, when no file counts as just parsed
    :param with_files: whether to read the rows of files that were parsed
    :param versions: whose progress is wanted; None stands for the current one
    """
    latest, attempts, parsed = _parsed(session, bundle_name, before)
    files = _file_rows(session, bundle_name, parsed) if with_files else []
    current, progress = _versions(session, transaction, bundle_name, before, versions, moved=bool(parsed))
    return Sight(latest, attempts, parsed, files, current, progress)


def files_parsed_since(session: Session, bundle_name: str, since: datetime, most: int) -> list[Row]:
    """The files that were parsed at that moment or later, in that order: the last ``most`` of them."""
    rows = session.execute(
        file_rows()
        .where(ParsedFile.bundle_name == bundle_name, ParsedFile.last_parsed_at >= since)
        .order_by(ParsedFile.last_parsed_at.desc(), ParsedFile.relative_fileloc.desc())
        .limit(most)
    ).mappings()
    newest_first: list[Row] = [dict(row) for row in rows]
    return newest_first[::-1]


def _parsed(session: Session, bundle_name: str, before: Sight | None) -> tuple[datetime, dict[str, str], list[str]]:
    if before is None:
        latest = session.scalar(
            select(func.max(ParsedFile.last_parsed_at)).where(ParsedFile.bundle_name == bundle_name)
        )
        begin = Sight() if latest is None else Sight(latest=latest)
    else:
        begin = before
    rows = session.execute(
        select(ParsedFile.relative_fileloc, ParsedFile.attempt_id, ParsedFile.last_parsed_at)
        .where(ParsedFile.bundle_name == bundle_name, ParsedFile.last_parsed_at > begin.latest - OVERLAP)
        .order_by(ParsedFile.last_parsed_at, ParsedFile.relative_fileloc)
    ).all()
    attempts = {row.relative_fileloc: row.attempt_id for row in rows}
    parsed = [path for path, attempt in attempts.items() if begin.attempts.get(path) != attempt]
    latest = max(begin.latest, rows[-1].last_parsed_at) if rows else begin.latest
    return latest, attempts, [] if before is None else parsed


def _file_rows(session: Session, bundle_name: str, paths: Sequence[str]) -> list[Row]:
    found: dict[str, Row] = {}
    for some in chunks(paths):
        rows = session.execute(
            file_rows().where(ParsedFile.bundle_name == bundle_name, ParsedFile.relative_fileloc.in_(some))
        ).mappings()
        found.update({row["relative_fileloc"]: dict(row) for row in rows})
    # One that is gone by now left the bundle.
    return [found[path] for path in paths if path in found]


def _versions(
    session: Session,
    transaction: Transaction,
    bundle_name: str,
    before: Sight | None,
    wanted: Collection[str | None],
    *,
    moved: bool,
) -> tuple[str | None, dict[str, tuple[Row, Progress]]]:
    if not wanted:
        return None, {}
    rows: dict[str, Row] = {row["version"]: row for row in bundle_versions.kept(session, bundle_name)}
    current = next(iter(rows), None)
    names = {current if name is None else name for name in wanted}
    known = before.versions if before is not None else {}
    found: dict[str, tuple[Row, Progress]] = {}
    changed: list[VersionKey] = []
    for name, row in rows.items():
        if name in names and name in known and known[name][0] == row and not moved:
            found[name] = known[name]
        elif name in names:
            changed.append((bundle_name, name))
    if changed:
        progress = bundle_versions.progress(session, transaction, changed)
        found.update({name: (rows[name], seen) for (_, name), seen in progress.items()})
    return current, found
