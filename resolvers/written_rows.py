"""The rows of Airflow's tables that a parse result determines, read for many DAGs at once.

What is read is what ``update_dag_parsing_results_in_db`` (``airflow/dag_processing/collection.py``) reads and writes:
if none of it has changed since, neither would anything when the same result is written again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow.models.asset import (
    AssetActive,
    AssetAliasModel,
    AssetModel,
    AssetWatcherModel,
    DagScheduleAssetAliasReference,
    DagScheduleAssetNameReference,
    DagScheduleAssetReference,
    DagScheduleAssetUriReference,
    TaskInletAssetReference,
    TaskOutletAssetReference,
)
from airflow.models.dag import DagModel, DagOwnerAttributes, DagTag
from airflow.models.dag_version import DagVersion
from airflow.models.dagcode import DagCode
from airflow.models.dagwarning import DagWarning, DagWarningType
from airflow.models.errors import ParseImportError
from airflow.models.serialized_dag import SerializedDagModel
from airflow.models.trigger import Trigger
from airflow.utils.sqlalchemy import with_row_locks
from sqlalchemy import (
    JSON,
    Table,
    Text,
    and_,
    bindparam,
    cast,
    exists,
    false,
    func,
    literal_column,
    null,
    select,
    tuple_,
    union_all,
)
from sqlalchemy.orm import aliased

from .schedules import NextRun

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import ColumnElement, Row
    from sqlalchemy.orm import Session

    from .ledger import FileKey

RECOMPUTED = frozenset({"last_parsed_time", "last_parse_duration", *NextRun._fields})
"""Columns of ``dag`` that depend on more than the result and the rows read here: on runs, and on the clock."""

_NEVER_WRITTEN = frozenset({"is_paused", "last_expired"})
"""Columns of ``dag`` that storing a result leaves as they are once the row exists."""

WARNING_TYPES = frozenset({DagWarningType.NONEXISTENT_POOL.value, DagWarningType.RUNTIME_VARYING_VALUE.value})
"""Warnings that the processor owns; those of other types are left alone."""

_CLOCKS = frozenset({"created_at", "updated_at", "timestamp"})

_OF_DAG = (
    DagTag,
    DagOwnerAttributes,
    DagWarning,
    DagScheduleAssetReference,
    DagScheduleAssetAliasReference,
    DagScheduleAssetNameReference,
    DagScheduleAssetUriReference,
    TaskInletAssetReference,
    TaskOutletAssetReference,
)
_OF_ASSET = {
    model.__tablename__ for model in (DagScheduleAssetReference, TaskInletAssetReference, TaskOutletAssetReference)
}

Fact = tuple[Any, ...]


class Version(NamedTuple):
    """The latest version of a DAG, with its document and source code.

    :param dag_hash: of the document; None when it has none
    :param source_hash: of the source code; None when it has none, or when Airflow would take an older version's
    """

    id: Any
    bundle_name: str | None
    bundle_version: str | None
    version_data: Any
    dag_hash: str | None
    source_hash: str | None


@dataclass(frozen=True)
class DagRows:
    """What belongs to one DAG.

    :param dag: its row without what is recomputed
    :param next_run: what its row says of it
    :param others: rows of other tables that refer to it
    :param document_updated_at: when the document of its latest version was written; None when there is none
    :param assets: the rows of its assets, with their watchers
    :param assets_are_active: whether all of them are; else Airflow tries to activate them at each parse
    """

    dag: Fact
    bundle_version: str | None
    max_active_runs: int
    next_run: NextRun
    version: Version
    document_updated_at: datetime | None
    others: list[Fact]
    asset_ids: set[int]
    assets: list[Fact]
    assets_are_active: bool


@dataclass(frozen=True)
class WrittenRows:
    """By DAG id, by alias name, and by file; what does not exist is missing."""

    dags: dict[str, DagRows]
    aliases: dict[str, Fact]
    import_errors: dict[FileKey, list[str]]


def read(
    session: Session, dag_ids: Collection[str], aliases: Collection[str], files: Collection[FileKey]
) -> WrittenRows:
    """Read the rows of these DAGs, which are locked until the transaction ends, asset aliases and files."""
    if not files:
        return WrittenRows({}, {}, {})
    these = {"dag_ids": sorted(dag_ids)}
    dags = session.execute(with_row_locks(_dags(), session, of=_DAG), these).all() if dag_ids else []
    others: dict[str, list[Fact]] = defaultdict(list)
    asset_ids: dict[str, set[int]] = defaultdict(set)
    found_aliases: dict[str, Fact] = {}
    errors: dict[FileKey, list[str]] = defaultdict(list)
    everything = {**these, "aliases": sorted(aliases), "files": sorted(files)}
    for table, key, *values in map(tuple, session.execute(_others(), everything)):
        if table == ParseImportError.__tablename__:
            errors[key, values[0]].append(values[1])
        elif table == AssetAliasModel.__tablename__:
            found_aliases[key] = (key, *values)
        else:
            others[key].append((table, *values))
            if table in _OF_ASSET:
                asset_ids[key].add(int(values[0]))
    assets, active = _assets(session, set().union(*asset_ids.values()))
    return WrittenRows(
        {
            row.dag_id: DagRows(
                dag=tuple(row[: len(_STABLE)]),
                bundle_version=row.bundle_version,
                max_active_runs=row.max_active_runs,
                next_run=NextRun(*row[len(_STABLE) : len(_STABLE) + len(NextRun._fields)]),
                version=_version(row),
                document_updated_at=row.document_updated_at,
                others=sorted(others[row.dag_id], key=repr),
                asset_ids=asset_ids[row.dag_id],
                assets=[fact for asset_id in sorted(asset_ids[row.dag_id]) for fact in assets[asset_id]],
                assets_are_active=active >= asset_ids[row.dag_id],
            )
            for row in dags
            if row.version_id is not None
        },
        found_aliases,
        dict(errors),
    )


def orphaned_watchers() -> ColumnElement[bool]:
    """Whether an asset that no DAG waits for has watchers: storing any DAG removes those of all such assets."""
    return exists().where(~AssetModel.scheduled_dags.any(), AssetModel.triggers.any()).select_from(AssetModel)


def _text(column: ColumnElement[Any]) -> ColumnElement[Any]:
    """JSON as it is stored: it is compared, and never looked into."""
    return cast(column, Text).label(column.key) if isinstance(column.type, JSON) else column


_DAG: Table = DagModel.__table__  # pyright: ignore[reportAssignmentType]
_STABLE = [_text(column) for column in _DAG.columns if column.name not in RECOMPUTED | _NEVER_WRITTEN]


# Statements are put together once, which takes longer than running them; each of them is about the DAGs ``dag_ids``.
_DAG_IDS = bindparam("dag_ids", expanding=True)


@cache
def _dags() -> Any:
    """Rows of DAGs, each with its latest version: through the index on (dag_id, version_number), and to documents and
    code by their version, as neither has one on ``dag_id`` (``SerializedDagModel._prefetch_dag_write_metadata`` and
    ``DagCode.get_latest_dagcode`` read by it).
    """
    recomputed = [_DAG.c[name] for name in NextRun._fields]
    of_same_dag = aliased(DagVersion)
    newest = (
        select(func.max(of_same_dag.version_number))
        .where(of_same_dag.dag_id == _DAG.c.dag_id)
        .correlate(_DAG)
        .scalar_subquery()
    )
    other, other_code = aliased(DagVersion), aliased(DagCode)
    has_later_code = exists().where(
        other.dag_id == DagVersion.dag_id,
        other_code.dag_version_id == other.id,
        other.id != DagVersion.id,
        other_code.last_updated >= DagCode.last_updated,
    )
    return (
        select(
            *_STABLE,
            *recomputed,
            DagVersion.id.label("version_id"),
            DagVersion.bundle_name.label("version_bundle_name"),
            DagVersion.bundle_version.label("version_bundle_version"),
            DagVersion.version_data,
            SerializedDagModel.dag_hash,
            SerializedDagModel.last_updated.label("document_updated_at"),
            DagCode.source_code_hash,
            has_later_code.label("has_later_code"),
        )
        .select_from(_DAG)
        .outerjoin(DagVersion, and_(DagVersion.dag_id == _DAG.c.dag_id, DagVersion.version_number == newest))
        .outerjoin(SerializedDagModel, SerializedDagModel.dag_version_id == DagVersion.id)
        .outerjoin(DagCode, DagCode.dag_version_id == DagVersion.id)
        .where(_DAG.c.dag_id.in_(_DAG_IDS))
        .order_by(_DAG.c.dag_id)
    )


def _version(row: Row[Any]) -> Version:
    return Version(
        id=row.version_id,
        bundle_name=row.version_bundle_name,
        bundle_version=row.version_bundle_version,
        version_data=row.version_data,
        dag_hash=row.dag_hash,
        source_hash=None if row.has_later_code else row.source_code_hash,
    )


@cache
def _others() -> Any:
    """Rows of DAGs in other tables, asset aliases and import errors in one statement: the table, what the row belongs
    to, then columns as text, filled up to one number of them.
    """
    tables: list[Table] = [model.__table__ for model in _OF_DAG]  # pyright: ignore[reportAssignmentType]
    values = {
        table: sorted(
            (column for column in table.columns if column.name not in _CLOCKS | {"dag_id"}),
            key=lambda column: column.name != "asset_id",
        )
        for table in tables
    }
    width = max(map(len, values.values()))

    def branch(table: Table, key: ColumnElement[Any], columns: Sequence[ColumnElement[Any]]) -> Any:
        return select(
            literal_column(f"'{table.name}'", Text),
            key,
            *(cast(column, Text) for column in columns),
            *(cast(null(), Text) for _ in range(width - len(columns))),
        )

    alias: Table = AssetAliasModel.__table__  # pyright: ignore[reportAssignmentType]
    error: Table = ParseImportError.__table__  # pyright: ignore[reportAssignmentType]
    return union_all(
        *(
            branch(table, table.c.dag_id, columns).where(table.c.dag_id.in_(_DAG_IDS), *_owned(table))
            for table, columns in values.items()
        ),
        branch(alias, alias.c.name, [alias.c.id, alias.c.group]).where(
            alias.c.name.in_(bindparam("aliases", expanding=True))
        ),
        branch(error, error.c.bundle_name, [error.c.filename, error.c.stacktrace]).where(
            tuple_(error.c.bundle_name, error.c.filename).in_(bindparam("files", expanding=True))
        ),
    )


def _owned(table: Table) -> Sequence[ColumnElement[bool]]:
    return [table.c.warning_type.in_(sorted(WARNING_TYPES))] if table.name == DagWarning.__tablename__ else []


def _assets(session: Session, asset_ids: Collection[int]) -> tuple[dict[int, list[Fact]], set[int]]:
    """Rows by asset, and the assets that are active."""
    if not asset_ids:
        return {}, set()
    these = {"asset_ids": sorted(asset_ids)}
    facts: dict[int, list[Fact]] = defaultdict(list)
    active: set[int] = set()
    for asset_id, is_active, *values in map(tuple, session.execute(_select_assets(), these)):
        facts[asset_id].append((asset_id, *values))
        if is_active:
            active.add(asset_id)
    return facts, active


_ASSET_IDS = bindparam("asset_ids", expanding=True)


@cache
def _select_assets() -> Any:
    """A row for each asset, or for each of its watchers."""
    is_active = exists().where(AssetActive.name == AssetModel.name, AssetActive.uri == AssetModel.uri)
    # Watchers are kept while a DAG that waits for the asset may run: ``_find_active_assets``.
    is_awaited = exists().where(
        DagScheduleAssetReference.asset_id == AssetModel.id,
        DagScheduleAssetReference.dag_id == DagModel.dag_id,
        DagModel.is_stale == false(),
        DagModel.is_paused == false(),
    )
    columns = (AssetModel.name, AssetModel.uri, AssetModel.group, cast(AssetModel.extra, Text))
    watcher = (AssetWatcherModel.name, Trigger.id, Trigger.classpath, Trigger.encrypted_kwargs)
    return (
        select(AssetModel.id, is_active, is_awaited, *columns, *watcher)
        .outerjoin(AssetWatcherModel, AssetWatcherModel.asset_id == AssetModel.id)
        .outerjoin(Trigger, Trigger.id == AssetWatcherModel.trigger_id)
        .where(AssetModel.id.in_(_ASSET_IDS))
        .order_by(AssetWatcherModel.name, Trigger.id)
    )
