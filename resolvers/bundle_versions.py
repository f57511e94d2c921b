"""Versions of bundles: which files each has, and whether all of them have been parsed and stored.

A processor that finds a version tells its files (:mod:`.reconciliation`); the file ledger tells of each file what the
last stored result was parsed from. A bundle without versions has one, with an empty name, that begins anew whenever its
set of files changes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow._shared.timezones.timezone import utcnow
from airflow.models.dagbundle import DagBundleModel
from sqlalchemy import delete, func, select, tuple_, update
from sqlalchemy.orm import defer

from .bundles import MAX_VERSION
from .chunks import chunks
from .ledger import FileStatus
from .pages import is_storable
from .refusals import Refusal, RefusalReason
from .tables import BundleVersion, ParsedFile

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from sqlalchemy.orm import Session

    from .pages import Row

Transaction = Callable[[], AbstractContextManager["Session"]]

VersionKey = tuple[str, str]
"""A bundle and one of its versions; the version of a bundle without versions is empty."""

MOST_VERSIONS = 20
"""Versions of a bundle that are kept."""

SEEN_INTERVAL = timedelta(seconds=60)
"""How exactly it is known when a version was seen last, so that looking at the same files again only reads."""

_NEWEST_FIRST = (BundleVersion.last_seen_at.desc(), BundleVersion.first_seen_at.desc())


@dataclass(frozen=True)
class Progress:
    """How far the files of a version have come; paths are sorted.

    :param completed_at: when all files were stored; None when they have not been
    :param is_current: whether it is the version of the bundle that was seen last
    :param stored: number of files whose last result is stored and of this version
    :param failed: files whose last attempt at this version was refused or timed out
    :param waiting: files that this version has not been tried with yet
    :param broken: stored files that have import errors
    :param import_error_count: import errors of the stored files
    """

    completed_at: datetime | None
    is_current: bool
    stored: int
    failed: Sequence[str]
    waiting: Sequence[str]
    broken: Sequence[str]
    import_error_count: int


class _Entry(NamedTuple):
    """What the file ledger says of a file, as far as it matters here."""

    relative_fileloc: str
    status: str
    bundle_version: str | None
    last_parsed_at: datetime
    last_stored_at: datetime | None
    import_error_count: int


@dataclass(frozen=True)
class _Found:
    """The files of a version, by what the ledger says of them."""

    stored: list[_Entry]
    failed: list[str]
    waiting: list[str]

    @property
    def is_whole(self) -> bool:
        return not self.failed and not self.waiting

    @property
    def import_error_count(self) -> int:
        return sum(entry.import_error_count for entry in self.stored)


# What processors find -------------------------------------------------------------------------------------------------


def check_version(version: str | None) -> str:
    """The name that a version is kept under.

    :raises Refusal: INVALID_ARGUMENT
    """
    if version is None:
        return ""
    if len(version) > MAX_VERSION or not is_storable(version):
        raise Refusal(
            RefusalReason.INVALID_ARGUMENT,
            f"A bundle's version has at most {MAX_VERSION} characters, none of them NUL.",
        )
    return version


def is_known(session: Session, bundle_name: str, version: str, files: AbstractSet[str]) -> bool:
    """Whether :func:`note` would have nothing to tell."""
    newest = session.scalar(
        select(BundleVersion).where(BundleVersion.bundle_name == bundle_name).order_by(*_NEWEST_FIRST).limit(1)
    )
    return (
        newest is not None
        and newest.version == version
        and utcnow() - newest.last_seen_at < SEEN_INTERVAL
        and frozenset(newest.files) == files
    )


def note(session: Session, bundle_name: str, version: str, files: AbstractSet[str]) -> None:
    """Note that the bundle has this version now, with these files.

    A version that comes back after another begins anew, as does one whose set of files is another than before: whether
    it is complete is for the ledger to say.
    """
    # One at a time, whoever else looks at the bundle's row; not FOR UPDATE, which would keep DAGs from being stored.
    session.execute(
        select(DagBundleModel.name).where(DagBundleModel.name == bundle_name).with_for_update(key_share=True)
    )
    versions = session.scalars(
        select(BundleVersion)
        .where(BundleVersion.bundle_name == bundle_name)
        .order_by(*_NEWEST_FIRST)
        .options(defer(BundleVersion.files))
    ).all()
    at = utcnow()
    if versions:
        # Other gateways have other clocks, and this is the newest whatever they say.
        at = max(at, versions[0].last_seen_at + timedelta(microseconds=1))
        if versions[0].version != version:
            _complete(session, versions[0])
    known = next((row for row in versions if row.version == version), None)
    if known is None:
        _forget(session, bundle_name, [row.version for row in versions[MOST_VERSIONS - 1 :]])
        known = BundleVersion(bundle_name=bundle_name, version=version, files=[])
        session.add(known)
    elif known is versions[0] and frozenset(known.files) == files:
        known.last_seen_at = at
        return
    known.files = sorted(files)
    known.file_count = len(files)
    known.first_seen_at = known.last_seen_at = at
    known.completed_at = known.import_error_count = None


def _forget(session: Session, bundle_name: str, versions: Sequence[str]) -> None:
    if versions:
        session.execute(
            delete(BundleVersion)
            .where(BundleVersion.bundle_name == bundle_name, BundleVersion.version.in_(versions))
            .execution_options(synchronize_session=False)
        )


def _complete(session: Session, overtaken: BundleVersion) -> None:
    """The last chance to see that a version was complete, before it is overtaken."""
    if overtaken.completed_at is not None:
        return
    key = (overtaken.bundle_name, overtaken.version)
    entries = _entries(session, [overtaken.bundle_name])[overtaken.bundle_name]
    found = _found(session, key, overtaken.files, overtaken.first_seen_at, entries)
    if found.is_whole:
        overtaken.completed_at = _completion(found, overtaken.first_seen_at)
        overtaken.import_error_count = found.import_error_count


# What operators read --------------------------------------------------------------------------------------------------


def versions(session: Session, keys: Collection[VersionKey]) -> dict[VersionKey, Row]:
    """Those of the versions that were seen and are kept."""
    ranked = _ranked({bundle for bundle, _ in keys})
    wanted = tuple_(ranked.c.bundle_name, ranked.c.version).in_(sorted(keys))
    return {(row["bundle_name"], row["version"]): row for row in _rows(session, select(ranked).where(wanted))}


def kept(session: Session, bundle_name: str) -> list[Row]:
    """All versions of a bundle that are kept, the one that was seen last in front."""
    ranked = _ranked([bundle_name])
    return list(_rows(session, select(ranked).order_by(ranked.c.place)))


def current_versions(session: Session, bundle_names: Collection[str]) -> dict[str, Row]:
    """The version of each bundle that was seen last."""
    ranked = _ranked(bundle_names)
    return {row["bundle_name"]: row for row in _rows(session, select(ranked).where(ranked.c.place == 1))}


def progress(session: Session, transaction: Transaction, keys: Collection[VersionKey]) -> dict[VersionKey, Progress]:
    """How far versions have come, those that were seen and are kept.

    :param transaction: opens a writing session, in which it is noted of a version that it was seen to be complete
    """
    found = versions(session, keys)
    files = _files(session, [key for key, row in found.items() if row["is_current"] or row["completed_at"] is None])
    entries = _entries(session, {bundle for bundle, _ in files})
    all_progress = {key: _progress(session, row, files.get(key), entries) for key, row in found.items()}
    completed = {
        key: progress
        for key, progress in all_progress.items()
        if progress.completed_at is not None and found[key]["completed_at"] is None
    }
    if completed:
        # Nothing is read in it any more, and what it holds could keep the other from writing.
        session.rollback()
        with transaction() as writing:
            noted = _note_completions(writing, completed)
        all_progress |= {key: replace(progress, completed_at=noted.get(key)) for key, progress in completed.items()}
    return all_progress


def _note_completions(session: Session, seen: Mapping[VersionKey, Progress]) -> dict[VersionKey, datetime]:
    """When each of the versions was complete, whoever saw it first; nothing of one that has begun anew meanwhile."""
    for (bundle, version), progress in seen.items():  # a statement for each, of which there is hardly ever one
        session.execute(
            update(BundleVersion)
            .where(
                BundleVersion.bundle_name == bundle,
                BundleVersion.version == version,
                BundleVersion.completed_at.is_(None),
                BundleVersion.first_seen_at <= progress.completed_at,
            )
            .values(completed_at=progress.completed_at, import_error_count=progress.import_error_count)
            .execution_options(synchronize_session=False)
        )
    noted = session.execute(
        select(BundleVersion.bundle_name, BundleVersion.version, BundleVersion.completed_at).where(
            tuple_(BundleVersion.bundle_name, BundleVersion.version).in_(sorted(seen))
        )
    )
    return {(row.bundle_name, row.version): row.completed_at for row in noted if row.completed_at is not None}


def _ranked(bundle_names: Collection[str]) -> Any:
    """Versions of these bundles without their files, with their place among those of their bundle."""
    place = func.row_number().over(partition_by=BundleVersion.bundle_name, order_by=_NEWEST_FIRST)
    return (
        select(
            BundleVersion.bundle_name,
            BundleVersion.version,
            BundleVersion.file_count,
            BundleVersion.first_seen_at,
            BundleVersion.last_seen_at,
            BundleVersion.completed_at,
            BundleVersion.import_error_count,
            place.label("place"),
        )
        .where(BundleVersion.bundle_name.in_(sorted(bundle_names)))
        .subquery()
    )


def _rows(session: Session, statement: Any) -> list[dict[str, Any]]:
    rows = [dict(row) for row in session.execute(statement).mappings()]
    return [{**row, "is_current": row.pop("place") == 1} for row in rows]


def _files(session: Session, keys: Collection[VersionKey]) -> dict[VersionKey, list[str]]:
    if not keys:
        return {}
    rows = session.execute(
        select(BundleVersion.bundle_name, BundleVersion.version, BundleVersion.files).where(
            tuple_(BundleVersion.bundle_name, BundleVersion.version).in_(sorted(keys))
        )
    )
    return {(row.bundle_name, row.version): row.files for row in rows}


def _entries(session: Session, bundle_names: Collection[str]) -> dict[str, dict[str, _Entry]]:
    """The ledger's rows of these bundles, by path."""
    entries: dict[str, dict[str, _Entry]] = defaultdict(dict)
    if bundle_names:
        rows = session.execute(
            select(
                ParsedFile.bundle_name,
                ParsedFile.relative_fileloc,
                ParsedFile.status,
                ParsedFile.bundle_version,
                ParsedFile.last_parsed_at,
                ParsedFile.last_stored_at,
                ParsedFile.import_error_count,
            ).where(ParsedFile.bundle_name.in_(sorted(bundle_names)))
        )
        for bundle_name, *values in rows:
            entry = _Entry._make(values)
            entries[bundle_name][entry.relative_fileloc] = entry
    return entries


def _progress(
    session: Session, row: Row, files: Sequence[str] | None, entries: Mapping[str, Mapping[str, _Entry]]
) -> Progress:
    if files is None:
        # It was complete, and the ledger speaks of another version now.
        return Progress(row["completed_at"], False, row["file_count"], [], [], [], row["import_error_count"] or 0)
    bundle = row["bundle_name"]
    found = _found(session, (bundle, row["version"]), files, row["first_seen_at"], entries.get(bundle, {}))
    completed_at = row["completed_at"]
    if completed_at is None and row["is_current"] and found.is_whole:
        completed_at = _completion(found, row["first_seen_at"])
    return Progress(
        completed_at=completed_at,
        is_current=row["is_current"],
        stored=len(found.stored),
        failed=found.failed,
        waiting=found.waiting,
        broken=[entry.relative_fileloc for entry in found.stored if entry.import_error_count],
        import_error_count=found.import_error_count,
    )


def _found(
    session: Session, key: VersionKey, files: Iterable[str], first_seen_at: datetime, entries: Mapping[str, _Entry]
) -> _Found:
    bundle, version = key
    stored: list[_Entry] = []
    tried: list[str] = []
    waiting: list[str] = []
    for path in files:
        entry = entries.get(path)
        if entry is None:
            waiting.append(path)
        elif entry.status != FileStatus.STORED.value:
            (tried if entry.last_parsed_at >= first_seen_at else waiting).append(path)
        elif entry.bundle_version == version if version else _is_since(entry.last_stored_at, first_seen_at):
            stored.append(entry)
        else:
            waiting.append(path)
    failed = _tried_with(session, bundle, version, tried)
    waiting.extend(path for path in tried if path not in failed)
    return _Found(stored, [path for path in tried if path in failed], sorted(waiting))


def _is_since(moment: datetime | None, start: datetime) -> bool:
    return moment is not None and moment >= start


def _tried_with(session: Session, bundle_name: str, version: str, paths: Sequence[str]) -> set[str]:
    """Those of the files whose last attempt was at this version; another processor's may be of an older one."""
    tried: set[str] = set()
    for some in chunks(paths):
        rows = session.execute(
            select(ParsedFile.relative_fileloc, ParsedFile.recent_parses).where(
                ParsedFile.bundle_name == bundle_name, ParsedFile.relative_fileloc.in_(some)
            )
        )
        tried.update(row.relative_fileloc for row in rows if _version_of_last(row.recent_parses) in (None, version))
    return tried


def _version_of_last(recent_parses: list[list[Any]] | None) -> str | None:
    """None when it is not known."""
    return (recent_parses[0][3] or "") if recent_parses else None


def _completion(found: _Found, first_seen_at: datetime) -> datetime:
    return max([first_seen_at, *(entry.last_stored_at for entry in found.stored if entry.last_stored_at)])
