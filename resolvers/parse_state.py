"""What operators read: which bundles, files, DAGs, import errors and warnings there are, and how the last parse went.

Each function gives a list as a query that is not run yet (see :mod:`.pages`); its rows have the names of the fields of
the type that shows them. Rows of bundles that the caller's token does not grant are in none of them. What a row's
nested fields need is read for all rows of a page at once, by :mod:`.batches`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.models.dag import DagModel
from airflow.models.dagbundle import DagBundleModel
from airflow.models.dagwarning import DagWarning
from airflow.models.errors import ParseImportError
from airflow.models.team import dag_bundle_team_association_table as bundle_team
from sqlalchemy import func, select, true

from .pages import Keyset, SelectListing
from .tables import ParsedFile

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement
    from sqlalchemy.orm import InstrumentedAttribute

    from .ledger import FileStatus
    from .pages import Rows
    from .principal import Principal

BUNDLES = Keyset("bundles", DagBundleModel.name)
FILES = Keyset("files", ParsedFile.bundle_name, ParsedFile.relative_fileloc)
DAGS = Keyset("dags", DagModel.dag_id)
IMPORT_ERRORS = Keyset("importErrors", ParseImportError.id, descending=True)
DAG_WARNINGS = Keyset("dagWarnings", DagWarning.dag_id, DagWarning.warning_type)


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
    bundle: str | None = None,
    path_prefix: str | None = None,
    status: FileStatus | None = None,
    has_import_errors: bool | None = None,
) -> SelectListing:
    """Files by bundle and path."""
    statement = file_rows().where(
        *granted(principal, ParsedFile.bundle_name),
        *_placed(ParsedFile.bundle_name, bundle, ParsedFile.relative_fileloc, path_prefix),
    )
    if status is not None:
        statement = statement.where(ParsedFile.status == status.value)
    if has_import_errors is not None:
        statement = statement.where((ParsedFile.import_error_count > 0).is_(has_import_errors))
    return SelectListing(statement, FILES)


def dags(
    principal: Principal,
    *,
    bundle: str | None = None,
    path_prefix: str | None = None,
    dag_id: str | None = None,
    is_stale: bool | None = None,
    is_paused: bool | None = None,
    has_import_errors: bool | None = None,
) -> SelectListing:
    """DAGs by id."""
    statement = dag_rows().where(
        *granted(principal, DagModel.bundle_name),
        *_placed(DagModel.bundle_name, bundle, DagModel.relative_fileloc, path_prefix),
    )
    if dag_id is not None:
        statement = statement.where(DagModel.dag_id == dag_id)
    if is_stale is not None:
        statement = statement.where(DagModel.is_stale.is_(is_stale))
    if is_paused is not None:
        statement = statement.where(DagModel.is_paused.is_(is_paused))
    if has_import_errors is not None:
        statement = statement.where(_flag(DagModel.has_import_errors).is_(has_import_errors))
    return SelectListing(statement, DAGS)


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
