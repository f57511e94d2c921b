"""What operators read: which bundles, files, DAGs, import errors and warnings there are, and how the last parse went.

Each function gives a list as a query that is not run yet (see :mod:`.pages`); its rows have the names of the fields of
the type that shows them. Rows of bundles that the caller's token does not grant are in none of them. What a row's
nested fields need is read for all rows of a page at once, by :mod:`.batches`.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any

from airflow.models.dag import DagModel, DagTag
from airflow.models.dagbundle import DagBundleModel
from airflow.models.dagwarning import DagWarning
from airflow.models.errors import ParseImportError
from airflow.models.team import dag_bundle_team_association_table as bundle_team
from sqlalchemy import func, select, true, tuple_

from .ledger import FileStatus
from .pages import Keyset, SelectListing, Sort
from .tables import ParsedFile

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import CTE, ColumnElement
    from sqlalchemy.orm import InstrumentedAttribute

    from .pages import Rows
    from .principal import Principal

    _Column = InstrumentedAttribute[Any] | ColumnElement[Any]

BUNDLES = Keyset("bundles", DagBundleModel.name)
FILES = Keyset("files", ParsedFile.bundle_name, ParsedFile.relative_fileloc)
SLOWEST_FILES = Keyset(
    "files by duration", Sort(ParsedFile.parse_duration, descending=True, nullable=True), *FILES.columns
)
DAGS = Keyset("dags", DagModel.dag_id)
IMPORT_ERRORS = Keyset("importErrors", ParseImportError.id, descending=True)
DAG_WARNINGS = Keyset("dagWarnings", DagWarning.dag_id, DagWarning.warning_type)


class FileOrder(Enum):
    """In which order files are listed; those that are equal, by bundle and path."""

    PATH = "PATH"
    SLOWEST = "SLOWEST"
    LAST_PARSED = "LAST_PARSED"
    OLDEST_PARSE = "OLDEST_PARSE"


class DagOrder(Enum):
    """In which order DAGs are listed; those that are equal, by id."""

    DAG_ID = "DAG_ID"
    PATH = "PATH"
    SLOWEST = "SLOWEST"
    LAST_PARSED = "LAST_PARSED"
    OLDEST_PARSE = "OLDEST_PARSE"
    NEXT_RUN = "NEXT_RUN"


_FILE_ORDERS = {
    FileOrder.PATH: FILES,
    FileOrder.SLOWEST: SLOWEST_FILES,
    FileOrder.LAST_PARSED: Keyset(
        "files by last parse", Sort(ParsedFile.last_parsed_at, descending=True), *FILES.columns
    ),
    FileOrder.OLDEST_PARSE: Keyset("files by oldest parse", ParsedFile.last_parsed_at, *FILES.columns),
}
_DAG_ORDERS = {
    DagOrder.DAG_ID: DAGS,
    DagOrder.PATH: Keyset(
        "dags by path", DagModel.bundle_name, Sort(DagModel.relative_fileloc, nullable=True), DagModel.dag_id
    ),
    DagOrder.SLOWEST: Keyset(
        "dags by duration", Sort(DagModel.last_parse_duration, descending=True, nullable=True), DagModel.dag_id
    ),
    DagOrder.LAST_PARSED: Keyset(
        "dags by last parse", Sort(DagModel.last_parsed_time, descending=True, nullable=True), DagModel.dag_id
    ),
    DagOrder.OLDEST_PARSE: Keyset(
        "dags by oldest parse", Sort(DagModel.last_parsed_time, nullable=True), DagModel.dag_id
    ),
    DagOrder.NEXT_RUN: Keyset(
        "dags by next run", Sort(DagModel.next_dagrun_create_after, nullable=True), DagModel.dag_id
    ),
}


def bundle_rows() -> Rows:
    """All bundles, with the team that owns them."""
    return select(
        DagBundleModel.name,
        func.coalesce(DagBundleModel.active, true()).label("active"),
        DagBundleModel.version,
        DagBundleModel.last_refreshed,
        bundle_team.c.team_name,
    ).outerjoin(bundle_team, bundle_team.c.dag_bundle_name == DagBundleModel.name)


def file_rows() -> Rows:
    """All files of the ledger."""
    return select(
        ParsedFile.bundle_name,
        ParsedFile.relative_fileloc,
        ParsedFile.status,
        ParsedFile.reason,
        ParsedFile.message,
        ParsedFile.last_parsed_at,
        ParsedFile.last_stored_at,
        ParsedFile.parse_duration,
        ParsedFile.bundle_version,
        ParsedFile.dag_count,
        ParsedFile.import_error_count,
        ParsedFile.warning_count,
        ParsedFile.job_id,
        ParsedFile.recent_parses,
    )


def dag_rows() -> Rows:
    """All DAGs, whoever wrote them, stale ones too."""
    return select(
        DagModel.dag_id,
        DagModel._dag_display_property_value.label("display_name"),  # pyright: ignore[reportPrivateUsage]  # has no public column
        DagModel.description,
        DagModel.bundle_name,
        DagModel.bundle_version,
        DagModel.relative_fileloc,
        DagModel.fileloc,
        DagModel.is_stale,
        DagModel.is_paused,
        _flag(DagModel.has_import_errors).label("has_import_errors"),
        DagModel.last_parsed_time,
        DagModel.last_parse_duration,
        DagModel.owners,
        DagModel.timetable_summary,
        DagModel.timetable_description,
        DagModel.next_dagrun,
        DagModel.next_dagrun_data_interval_start,
        DagModel.next_dagrun_data_interval_end,
        DagModel.next_dagrun_create_after,
        DagModel.max_active_runs,
        DagModel.max_active_tasks,
    )


def import_error_rows() -> Rows:
    """All import errors."""
    return select(
        ParseImportError.id.label("import_error_id"),
        ParseImportError.bundle_name,
        ParseImportError.filename.label("relative_fileloc"),
        ParseImportError.timestamp,
        ParseImportError.stacktrace,
    )


def dag_warning_rows() -> Rows:
    """All DAG warnings, with the place of their DAG."""
    return select(
        DagWarning.dag_id,
        DagWarning.warning_type,
        DagWarning.message,
        DagWarning.timestamp,
        DagModel.bundle_name,
        DagModel.relative_fileloc,
    ).join(DagModel, DagModel.dag_id == DagWarning.dag_id)


def bundles(principal: Principal, *, active: bool | None = None) -> SelectListing:
    """Bundles by name; only active ones, or only inactive ones, when ``active`` is given."""
    statement = bundle_rows().where(*granted(principal, DagBundleModel.name))
    if active is not None:
        statement = statement.where(func.coalesce(DagBundleModel.active, true()).is_(active))
    return SelectListing(statement, BUNDLES)


def files(
    principal: Principal,
    *,
    order: FileOrder = FileOrder.PATH,
    bundle: str | None = None,
    path_prefix: str | None = None,
    status: FileStatus | None = None,
    has_import_errors: bool | None = None,
    failing: bool | None = None,
    parsed_since: datetime | None = None,
    slower_than: float | None = None,
    job_id: int | None = None,
    owner: str | None = None,
    tag: str | None = None,
    dag_id: str | None = None,
) -> SelectListing:
    """Files of the ledger.

    :param slower_than: seconds
    :param job_id: only those whose last attempt this Job's processor made
    :param owner, tag, dag_id: only those with a DAG that has this owner, tag and id, stale ones too
    """
    statement = file_rows().where(
        *granted(principal, ParsedFile.bundle_name),
        *_placed(ParsedFile.bundle_name, bundle, ParsedFile.relative_fileloc, path_prefix),
    )
    if status is not None:
        statement = statement.where(ParsedFile.status == status.value)
    if has_import_errors is not None:
        statement = statement.where((ParsedFile.import_error_count > 0).is_(has_import_errors))
    if failing is not None:
        statement = statement.where(is_failing().is_(failing))
    if parsed_since is not None:
        statement = statement.where(ParsedFile.last_parsed_at >= parsed_since)
    if slower_than is not None:
        statement = statement.where(ParsedFile.parse_duration > slower_than)
    if job_id is not None:
        statement = statement.where(ParsedFile.job_id == job_id)
    if not (owner is None and tag is None and dag_id is None):
        statement = statement.where(_has_dag(_dag_conditions(owner, tag, dag_id)))
    return SelectListing(statement, _FILE_ORDERS[order])


def dags(
    principal: Principal,
    *,
    order: DagOrder = DagOrder.DAG_ID,
    bundle: str | None = None,
    path_prefix: str | None = None,
    dag_id: str | None = None,
    is_stale: bool | None = None,
    is_paused: bool | None = None,
    has_import_errors: bool | None = None,
    parsed_since: datetime | None = None,
    slower_than: float | None = None,
    job_id: int | None = None,
    owner: str | None = None,
    tag: str | None = None,
) -> SelectListing:
    """DAGs.

    :param slower_than: seconds
    :param job_id: only those in files whose last attempt this Job's processor made
    """
    statement = dag_rows().where(
        *granted(principal, DagModel.bundle_name),
        *_placed(DagModel.bundle_name, bundle, DagModel.relative_fileloc, path_prefix),
        *_dag_conditions(owner, tag, dag_id),
    )
    if is_stale is not None:
        statement = statement.where(DagModel.is_stale.is_(is_stale))
    if is_paused is not None:
        statement = statement.where(DagModel.is_paused.is_(is_paused))
    if has_import_errors is not None:
        statement = statement.where(_flag(DagModel.has_import_errors).is_(has_import_errors))
    if parsed_since is not None:
        statement = statement.where(DagModel.last_parsed_time >= parsed_since)
    if slower_than is not None:
        statement = statement.where(DagModel.last_parse_duration > slower_than)
    if job_id is not None:
        statement = statement.where(_is_in_file(ParsedFile.job_id == job_id))
    return SelectListing(statement, _DAG_ORDERS[order])


def import_errors(principal: Principal, *, bundle: str | None = None, path_prefix: str | None = None) -> SelectListing:
    """Import errors, the one that was first seen last in front."""
    statement = import_error_rows().where(
        *granted(principal, ParseImportError.bundle_name),
        *_placed(ParseImportError.bundle_name, bundle, ParseImportError.filename, path_prefix),
    )
    return SelectListing(statement, IMPORT_ERRORS)


def dag_warnings(
    principal: Principal,
    *,
    bundle: str | None = None,
    path_prefix: str | None = None,
    dag_id: str | None = None,
    warning_type: str | None = None,
) -> SelectListing:
    """DAG warnings by DAG and type."""
    statement = dag_warning_rows().where(
        *granted(principal, DagModel.bundle_name),
        *_placed(DagModel.bundle_name, bundle, DagModel.relative_fileloc, path_prefix),
    )
    if dag_id is not None:
        statement = statement.where(DagWarning.dag_id == dag_id)
    if warning_type is not None:
        statement = statement.where(DagWarning.warning_type == warning_type)
    return SelectListing(statement, DAG_WARNINGS)


def granted(
    principal: Principal, bundle_name: InstrumentedAttribute[str] | InstrumentedAttribute[str | None]
) -> list[ColumnElement[bool]]:
    """The condition that a row's bundle is one that the caller may see; rows without a bundle need ``*``."""
    return [] if principal.grants_all_bundles else [bundle_name.in_(sorted(principal.bundles))]


def starts_with(
    text: ColumnElement[str] | InstrumentedAttribute[Any], prefix: str | ColumnElement[str]
) -> ColumnElement[bool]:
    """The condition that ``text`` begins with exactly ``prefix``; unlike LIKE on SQLite, it tells ``A`` from ``a``."""
    return func.substr(text, 1, func.length(prefix)) == prefix


def is_failing() -> ColumnElement[bool]:
    """The condition that a file needs somebody: its last attempt was not stored, or what was has import errors."""
    return (ParsedFile.status != FileStatus.STORED.value) | (ParsedFile.import_error_count > 0)


def _dag_conditions(owner: str | None, tag: str | None, dag_id: str | None) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if dag_id is not None:
        conditions.append(DagModel.dag_id == dag_id)
    if tag is not None:
        conditions.append(DagModel.dag_id.in_(select(DagTag.dag_id).where(DagTag.name == tag)))
    if owner is not None:
        # Airflow keeps them as one text, `a, b`. LIKE would take A for a on SQLite.
        owners = "," + func.replace(DagModel.owners, ", ", ",") + ","
        conditions.append(func.replace(owners, f",{owner},", "") != owners)
    return conditions


def _has_dag(conditions: list[ColumnElement[bool]]) -> ColumnElement[bool]:
    """The condition that a file, or what lies in it, has a DAG of which ``conditions`` are true."""
    dags = _found_first("dags_that_match", DagModel.bundle_name, DagModel.relative_fileloc, conditions)
    file = (ParsedFile.bundle_name, ParsedFile.relative_fileloc)
    inside = select(dags.c.path).where(_lies_in(file, (dags.c.bundle, dags.c.path))).correlate(ParsedFile)
    return tuple_(*file).in_(select(dags.c.bundle, dags.c.path)) | (_may_be_archive(file[1]) & inside.exists())


def _is_in_file(condition: ColumnElement[bool]) -> ColumnElement[bool]:
    """The condition that a DAG is in a file, or lies in one, of which ``condition`` is true."""
    place = (ParsedFile.bundle_name, ParsedFile.relative_fileloc)
    archives = _found_first("archives_that_match", *place, [condition, _may_be_archive(place[1])])
    dag = (DagModel.bundle_name, DagModel.relative_fileloc)
    inside = select(archives.c.path).where(_lies_in((archives.c.bundle, archives.c.path), dag)).correlate(DagModel)
    return tuple_(*dag).in_(select(*place).where(condition)) | inside.exists()


def _found_first(name: str, bundle_name: _Column, path: _Column, conditions: Sequence[ColumnElement[bool]]) -> CTE:
    """Places that are found once for the whole statement, and not for each of its rows."""
    places = select(bundle_name.label("bundle"), path.label("path")).where(*conditions)
    return places.cte(name).prefix_with("MATERIALIZED")


def _may_be_archive(path: _Column) -> ColumnElement[bool]:
    return func.substr(path, func.length(path) - 2) != ".py"


def _lies_in(archive: tuple[_Column, _Column], place: tuple[_Column, _Column]) -> ColumnElement[bool]:
    return (place[0] == archive[0]) & starts_with(place[1], archive[1] + "/")


def _placed(
    bundle_name: InstrumentedAttribute[Any],
    bundle: str | None,
    relative_fileloc: InstrumentedAttribute[Any],
    path_prefix: str | None,
) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if bundle is not None:
        conditions.append(bundle_name == bundle)
    if path_prefix:
        conditions.append(starts_with(relative_fileloc, path_prefix))
    return conditions


def _flag(column: InstrumentedAttribute[bool | None]) -> ColumnElement[bool]:
    return func.coalesce(column, False)
