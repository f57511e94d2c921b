"""What the nested fields of a page of rows need, read for all of its rows at once.

Each function takes the keys of many parents and answers with a mapping; a parent with nothing to show is not in it. The
parents were visible to the caller, and what is found here is of the same bundle, so nothing is authorized again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from airflow.models.dag import DagModel, DagTag
from airflow.models.dag_version import DagVersion
from airflow.models.dagcode import DagCode
from airflow.models.dagwarning import DagWarning
from airflow.models.errors import ParseImportError
from sqlalchemy import func, select, tuple_, union_all

from .ledger import are_of
from .pages import InvalidPage, Page, Row
from .parse_state import DAGS, dag_rows, dag_warning_rows, file_rows, import_error_rows, is_failing, starts_with
from .tables import ParsedFile

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Subquery
    from sqlalchemy.orm import InstrumentedAttribute, Session

    from .ledger import FileKey
    from .pages import Rows

MOST_SOURCES = 100
"""Files that one operation shows the source code of; each can have megabytes."""

MOST_IMPORT_ERRORS = 100
"""Import errors that one file shows; only an archive can have more than one."""


def file_counts(session: Session, bundle_names: Collection[str]) -> dict[str, int]:
    """How many files the ledger has of each bundle."""
    return _by_bundle(session, select(ParsedFile.bundle_name, func.count()), ParsedFile.bundle_name, bundle_names)


def failing_file_counts(session: Session, bundle_names: Collection[str]) -> dict[str, int]:
    """How many files of each bundle fail."""
    statement = select(ParsedFile.bundle_name, func.count()).where(is_failing())
    return _by_bundle(session, statement, ParsedFile.bundle_name, bundle_names)


def oldest_parses(session: Session, bundle_names: Collection[str]) -> dict[str, datetime]:
    """When the file of each bundle was parsed that was not parsed for longest."""
    statement = select(ParsedFile.bundle_name, func.min(ParsedFile.last_parsed_at))
    return _by_bundle(session, statement, ParsedFile.bundle_name, bundle_names)


def slowest_files(session: Session, bundle_names: Collection[str]) -> dict[str, Row]:
    """The file of each bundle of which the last attempt took longest."""
    place = func.row_number().over(
        partition_by=ParsedFile.bundle_name,
        order_by=(ParsedFile.parse_duration.desc(), ParsedFile.relative_fileloc),
    )
    ranked = (
        select(ParsedFile.bundle_name, ParsedFile.relative_fileloc, place.label("place"))
        .where(ParsedFile.bundle_name.in_(sorted(bundle_names)), ParsedFile.parse_duration.is_not(None))
        .subquery()
    )
    statement = file_rows().join(
        ranked,
        (ranked.c.place == 1)
        & (ranked.c.bundle_name == ParsedFile.bundle_name)
        & (ranked.c.relative_fileloc == ParsedFile.relative_fileloc),
    )
    return {row["bundle_name"]: dict(row) for row in session.execute(statement).mappings()}


def dag_counts(session: Session, bundle_names: Collection[str]) -> dict[str, int]:
    """How many DAGs of each bundle are not stale."""
    statement = select(DagModel.bundle_name, func.count()).where(DagModel.is_stale.is_(False))
    return _by_bundle(session, statement, DagModel.bundle_name, bundle_names)


def stale_dag_counts(session: Session, bundle_names: Collection[str]) -> dict[str, int]:
    """How many DAGs of each bundle are stale."""
    statement = select(DagModel.bundle_name, func.count()).where(DagModel.is_stale.is_(True))
    return _by_bundle(session, statement, DagModel.bundle_name, bundle_names)


def import_error_counts(session: Session, bundle_names: Collection[str]) -> dict[str, int]:
    """How many import errors each bundle has."""
    statement = select(ParseImportError.bundle_name, func.count())
    return _by_bundle(session, statement, ParseImportError.bundle_name, bundle_names)


def warning_counts(session: Session, bundle_names: Collection[str]) -> dict[str, int]:
    """How many warnings the DAGs of each bundle have."""
    statement = select(DagModel.bundle_name, func.count()).join(DagWarning, DagWarning.dag_id == DagModel.dag_id)
    return _by_bundle(session, statement, DagModel.bundle_name, bundle_names)


def files(session: Session, keys: Collection[FileKey]) -> dict[FileKey, Row]:
    """The ledger's row for each path; for a path inside an archive, the archive's."""
    candidates = {(bundle, ancestor) for bundle, path in keys for ancestor in _ancestors(path)}
    found = {
        (row["bundle_name"], row["relative_fileloc"]): dict(row)
        for row in session.execute(file_rows().where(are_of(sorted(candidates)))).mappings()
    }
    containers = {(bundle, path): _containing(found, bundle, path) for bundle, path in keys}
    return {key: row for key, row in containers.items() if row is not None}


def sources(session: Session, keys: Collection[FileKey]) -> dict[FileKey, str]:
    """The source code of each file as it was stored last, from Airflow's copy that belongs to one of its DAGs.

    :raises InvalidPage: when they are more than :data:`MOST_SOURCES`
    """
    if len(keys) > MOST_SOURCES:
        raise InvalidPage(
            "first", f"`source` was asked of {len(keys)} files; an operation shows at most {MOST_SOURCES} of them."
        )
    place = func.row_number().over(
        partition_by=(DagModel.bundle_name, DagModel.relative_fileloc),
        order_by=(DagCode.last_updated.desc(), DagCode.id),
    )
    ranked = (
        select(DagModel.bundle_name, DagModel.relative_fileloc, DagCode.id, place.label("place"))
        # Airflow has an index for the way by the version alone.
        .join(DagVersion, DagVersion.dag_id == DagModel.dag_id)
        .join(DagCode, DagCode.dag_version_id == DagVersion.id)
        .where(tuple_(DagModel.bundle_name, DagModel.relative_fileloc).in_(sorted(keys)))
        .subquery()
    )
    statement = select(ranked.c.bundle_name, ranked.c.relative_fileloc, DagCode.source_code).join(
        ranked, (ranked.c.id == DagCode.id) & (ranked.c.place == 1)
    )
    return {(bundle, path): text for bundle, path, text in session.execute(statement)}


def import_errors(session: Session, keys: Collection[FileKey]) -> dict[FileKey, list[Row]]:
    """The import errors of each file and of what lies in it, by path."""
    found = _in_files(import_error_rows(), ParseImportError.bundle_name, ParseImportError.filename, keys)
    return _grouped(session, found, ("relative_fileloc", "import_error_id"), MOST_IMPORT_ERRORS)


def dag_pages(
    session: Session, keys: Collection[FileKey], first: int, after: str | None = None
) -> dict[FileKey, Page[Row]]:
    """The first DAGs of each file and of what lies in it behind a cursor, by DAG id, stale ones too.

    :raises InvalidPage: when ``after`` is no cursor of a list of DAGs by id
    """
    found = _in_files(dag_rows().where(*DAGS.behind(after)), DagModel.bundle_name, DagModel.relative_fileloc, keys)
    return {
        key: Page(
            rows[:first],
            [DAGS.cursor([row["dag_id"]]) for row in rows[:first]],
            has_next_page=len(rows) > first,
            has_previous_page=after is not None,
        )
        for key, rows in _grouped(session, found, ("dag_id",), first + 1).items()
    }


def dag_totals(session: Session, keys: Collection[FileKey]) -> dict[FileKey, int]:
    """How many DAGs each file and what lies in it have, stale ones too."""
    found = _in_files(select(DagModel.dag_id), DagModel.bundle_name, DagModel.relative_fileloc, keys)
    statement = select(found.c.file_bundle, found.c.file_path, func.count()).group_by(
        found.c.file_bundle, found.c.file_path
    )
    return {(bundle, path): total for bundle, path, total in session.execute(statement)}


def dag_tags(session: Session, dag_ids: Collection[str]) -> dict[str, list[str]]:
    """The tags of each DAG, in alphabetical order."""
    tags: dict[str, list[str]] = defaultdict(list)
    statement = select(DagTag.dag_id, DagTag.name).where(DagTag.dag_id.in_(sorted(dag_ids)))
    for dag_id, name in session.execute(statement):
        tags[dag_id].append(name)
    return {dag_id: sorted(names) for dag_id, names in tags.items()}


def latest_versions(session: Session, dag_ids: Collection[str]) -> dict[str, int]:
    """The number of each DAG's newest version."""
    statement = (
        select(DagVersion.dag_id, func.max(DagVersion.version_number).label("number"))
        .where(DagVersion.dag_id.in_(sorted(dag_ids)))
        .group_by(DagVersion.dag_id)
    )
    return {row.dag_id: row.number for row in session.execute(statement)}


def dag_warnings(session: Session, dag_ids: Collection[str]) -> dict[str, list[Row]]:
    """The warnings of each DAG, by type; there is at most one of a type."""
    warnings: dict[str, list[Row]] = defaultdict(list)
    statement = dag_warning_rows().where(DagWarning.dag_id.in_(sorted(dag_ids))).order_by(DagWarning.warning_type)
    for row in session.execute(statement).mappings():
        warnings[row["dag_id"]].append(dict(row))
    return dict(warnings)


def _by_bundle(
    session: Session, statement: Rows, bundle_name: InstrumentedAttribute[Any], bundle_names: Collection[str]
) -> dict[str, Any]:
    counted = statement.where(bundle_name.in_(sorted(bundle_names))).group_by(bundle_name)
    return {row[0]: row[1] for row in session.execute(counted)}


def _containing(found: Mapping[FileKey, Row], bundle: str, path: str) -> Row | None:
    return next((found[bundle, ancestor] for ancestor in _ancestors(path) if (bundle, ancestor) in found), None)


def _ancestors(path: str) -> list[str]:
    """``path``, its folder, that one's folder, and so on."""
    parts = path.split("/")
    return ["/".join(parts[:length]) for length in range(len(parts), 0, -1)]


def _in_files(
    rows: Rows,
    bundle_name: InstrumentedAttribute[Any],
    path: InstrumentedAttribute[Any],
    keys: Collection[FileKey],
) -> Subquery:
    """``rows`` that are of one of the files, with ``file_bundle`` and ``file_path`` to say of which.

    Airflow gives what it finds in an archive the path ``archive.zip/dag.py``, while the file is ``archive.zip``.
    """
    exactly = rows.add_columns(bundle_name.label("file_bundle"), path.label("file_path")).where(
        tuple_(bundle_name, path).in_(sorted(keys))
    )
    archives = sorted(key for key in keys if not key[1].endswith(".py"))
    if not archives:
        return exactly.subquery()
    inside = (
        rows.add_columns(ParsedFile.bundle_name.label("file_bundle"), ParsedFile.relative_fileloc.label("file_path"))
        .join(
            ParsedFile, (ParsedFile.bundle_name == bundle_name) & starts_with(path, ParsedFile.relative_fileloc + "/")
        )
        .where(are_of(archives))
    )
    return union_all(exactly, inside).subquery()


def _grouped(session: Session, found: Subquery, order: tuple[str, ...], limit: int) -> dict[FileKey, list[Row]]:
    """At most ``limit`` rows of each file, in ``order``."""
    place = func.row_number().over(
        partition_by=(found.c.file_bundle, found.c.file_path), order_by=[found.c[name] for name in order]
    )
    ranked = select(found, place.label("place")).subquery()
    statement = select(ranked).where(ranked.c.place <= limit).order_by(ranked.c.place)
    grouped: dict[FileKey, list[Row]] = defaultdict(list)
    for found_row in session.execute(statement).mappings():
        row = dict(found_row)
        del row["place"]
        grouped[row.pop("file_bundle"), row.pop("file_path")].append(row)
    return dict(grouped)
