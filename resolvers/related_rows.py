"""What belongs to DAGs and files in tables other than ``dag``, read in one statement."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

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
from airflow.models.dagrun import DagRun
from airflow.models.dagwarning import DagWarning, DagWarningType
from airflow.models.errors import ParseImportError
from airflow.models.trigger import Trigger
from sqlalchemy import (
    Table,
    Text,
    and_,
    bindparam,
    cast,
    exists,
    false,
    literal_column,
    null,
    select,
    tuple_,
    union,
    union_all,
)
from sqlalchemy.orm import aliased, load_only

from . import latest_runs
from .latest_runs import Runs

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement
    from sqlalchemy.orm import Session

    from .ledger import FileKey

WARNING_TYPES = frozenset({DagWarningType.NONEXISTENT_POOL.value, DagWarningType.RUNTIME_VARYING_VALUE.value})
"""Warnings that the processor owns; those of other types are left alone."""

_CLOCKS = frozenset({"created_at", "updated_at", "timestamp"})

_REFERENCES = (DagScheduleAssetReference, TaskInletAssetReference, TaskOutletAssetReference)
_OF_DAG = (
    DagTag,
    DagOwnerAttributes,
    DagWarning,
    DagScheduleAssetAliasReference,
    DagScheduleAssetNameReference,
    DagScheduleAssetUriReference,
    *_REFERENCES,
)
_OF_ASSET = {model.__tablename__ for model in _REFERENCES}
_RUNS = {"runs": False, "runs by partition": True}
"""By what their rows are called, whether timetables are partitioned."""

Fact = tuple[Any, ...]


def _lists() -> dict[Any, list[Any]]:
    return defaultdict(list)


@dataclass(frozen=True)
class RelatedRows:
    """
    :param of_dags: by DAG id, rows that refer to it
    :param asset_ids: by DAG id, the assets that it refers to
    :param assets: by their ids, a row for each watcher, and at least one
    :param aliases: by name
    :param import_errors: by file
    :param runs: by DAG id, and by whether its timetable is partitioned
    """

    of_dags: dict[str, list[Fact]] = field(default_factory=_lists)
    asset_ids: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    assets: dict[int, list[Fact]] = field(default_factory=_lists)
    active_asset_ids: set[int] = field(default_factory=set)
    aliases: dict[str, Fact] = field(default_factory=dict)
    import_errors: dict[FileKey, list[str]] = field(default_factory=dict)
    runs: dict[str, dict[bool, Runs]] = field(default_factory=lambda: defaultdict(dict))


def read(
    session: Session,
    dag_ids: Sequence[str],
    aliases: Sequence[str],
    files: Sequence[FileKey],
    scheduled: Collection[tuple[str, bool]],
) -> RelatedRows:
    """Read what belongs to these DAGs, asset aliases and files.

    :param scheduled: DAGs whose runs are read as well, each with whether its timetable is partitioned
    """
    found = RelatedRows()
    everything = {
        "dag_ids": dag_ids,
        "aliases": aliases,
        "files": files,
        "scheduled": [dag_id for dag_id, is_partitioned in scheduled if not is_partitioned],
        "partitioned": [dag_id for dag_id, is_partitioned in scheduled if is_partitioned],
    }
    for table, key, number, *values, run in map(tuple, session.execute(_statement(), everything)):
        if table in _RUNS:
            found.runs[key][_RUNS[table]] = Runs(run, number)
        elif table == AssetModel.__tablename__:
            is_active, *fact = values
            found.assets[number].append((number, *fact))
            if is_active:
                found.active_asset_ids.add(number)
        elif table == ParseImportError.__tablename__:
            found.import_errors.setdefault((key, values[0]), []).append(values[1])
        elif table == AssetAliasModel.__tablename__:
            found.aliases[key] = (key, *values)
        else:
            found.of_dags[key].append((table, number, *values))
            if table in _OF_ASSET:
                found.asset_ids[key].add(number)
    for facts in found.assets.values():
        facts.sort(key=repr)
    return found


@cache
def _statement() -> Any:
    """Put together once, which takes longer than running it. Its rows: the table, what the row belongs to, a number,
    other columns as text, filled up to one number of them, and a run of a DAG, if it is about runs.
    """
    tables: list[Table] = [model.__table__ for model in _OF_DAG]  # pyright: ignore[reportAssignmentType]
    dag: Table = DagModel.__table__  # pyright: ignore[reportAssignmentType]
    alias: Table = AssetAliasModel.__table__  # pyright: ignore[reportAssignmentType]
    error: Table = ParseImportError.__table__  # pyright: ignore[reportAssignmentType]
    watched = _columns_of_watched_assets()
    values = {
        table: [column for column in table.columns if column.name not in _CLOCKS | {"dag_id", "asset_id"}]
        for table in tables
    }
    width = max(len(watched), *map(len, values.values()))
    # Named once, however many tables are asked for them: databases limit the parameters of a statement.
    asked = select(dag.c.dag_id).where(dag.c.dag_id.in_(bindparam("dag_ids", expanding=True))).cte("asked")
    these = select(asked.c.dag_id)

    def branch(table: Table, key: ColumnElement[Any], columns: Sequence[ColumnElement[Any]], number: Any = None) -> Any:
        return select(
            literal_column(f"'{table.name}'", Text),
            key,
            null() if number is None else number,
            *(cast(column, Text) for column in columns),
            *(null() for _ in range(width - len(columns) + len(latest_runs.COLUMNS))),
        )

    def runs(name: str, dag_ids: str) -> Any:
        rows = latest_runs.rows(bindparam(dag_ids, expanding=True), partitioned=_RUNS[name])
        dag_id, active, *columns = rows.selected_columns
        # The first of the union, and says what its columns are called and of which types.
        return rows.with_only_columns(
            literal_column(f"'{name}'", Text).label("about"),
            dag_id.label("key"),
            active.label("number"),
            *(cast(null(), Text).label(f"value_{n}") for n in range(width)),
            *columns,
            maintain_column_froms=True,
        )

    referenced = union(*(select(model.asset_id).where(model.dag_id.in_(these)) for model in _REFERENCES))
    everything = union_all(
        runs("runs", "scheduled"),
        runs("runs by partition", "partitioned"),
        *(
            branch(table, table.c.dag_id, columns, table.c.get("asset_id")).where(
                table.c.dag_id.in_(these), *_owned(table)
            )
            for table, columns in values.items()
        ),
        branch(AssetModel.__table__, null(), watched, AssetModel.id)  # pyright: ignore[reportArgumentType]
        .select_from(AssetModel)
        .outerjoin(AssetActive, and_(AssetActive.name == AssetModel.name, AssetActive.uri == AssetModel.uri))
        .outerjoin(AssetWatcherModel, AssetWatcherModel.asset_id == AssetModel.id)
        .outerjoin(Trigger, Trigger.id == AssetWatcherModel.trigger_id)
        .where(AssetModel.id.in_(referenced)),
        branch(alias, alias.c.name, [alias.c.id, alias.c.group]).where(
            alias.c.name.in_(bindparam("aliases", expanding=True))
        ),
        branch(error, error.c.bundle_name, [error.c.filename, error.c.stacktrace]).where(
            tuple_(error.c.bundle_name, error.c.filename).in_(bindparam("files", expanding=True))
        ),
    ).subquery("everything")
    run = aliased(DagRun, everything)
    facts = [column for column in everything.c if column.key not in {it.key for it in latest_runs.COLUMNS}]
    return select(*facts, run).options(load_only(*(getattr(run, it.key) for it in latest_runs.COLUMNS)))


def _owned(table: Table) -> Sequence[ColumnElement[bool]]:
    return [table.c.warning_type.in_(sorted(WARNING_TYPES))] if table.name == DagWarning.__tablename__ else []


def _columns_of_watched_assets() -> Sequence[Any]:
    """Whether the asset is active, then what a parse may write of it and of one of its watchers."""
    # Watchers are kept while a DAG that waits for the asset may run: ``_find_active_assets``.
    is_awaited = exists().where(
        DagScheduleAssetReference.asset_id == AssetModel.id,
        DagScheduleAssetReference.dag_id == DagModel.dag_id,
        DagModel.is_stale == false(),
        DagModel.is_paused == false(),
    )
    return (
        AssetActive.name,
        is_awaited,
        *(AssetModel.name, AssetModel.uri, AssetModel.group, AssetModel.extra),
        *(AssetWatcherModel.name, Trigger.id, Trigger.classpath, Trigger.encrypted_kwargs),
    )
