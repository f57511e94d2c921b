"""The rows of Airflow's tables that a parse result determines, read for many DAGs at once.

What is read is what ``update_dag_parsing_results_in_db`` (``airflow/dag_processing/collection.py``) reads and writes:
if none of it has changed since, neither would anything when the same result is written again.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow.models.asset import AssetModel
from airflow.models.dag import DagModel
from airflow.models.dag_version import DagVersion
from airflow.models.dagcode import DagCode
from airflow.models.serialized_dag import SerializedDagModel
from airflow.utils.sqlalchemy import with_row_locks
from sqlalchemy import JSON, Table, Text, and_, bindparam, cast, exists, func, select
from sqlalchemy.orm import aliased

from . import related_rows
from .related_rows import Fact
from .schedules import NextRun

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import ColumnElement, Row
    from sqlalchemy.orm import Session

    from .latest_runs import Runs
    from .ledger import FileKey

RECOMPUTED = frozenset({"last_parsed_time", "last_parse_duration", *NextRun._fields})
"""Columns of ``dag`` that depend on more than the result and the rows read here: on runs, and on the clock."""

_NEVER_WRITTEN = frozenset({"is_paused", "last_expired"})
"""Columns of ``dag`` that storing a result leaves as they are once the row exists."""


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
    :param runs: by whether its timetable is partitioned; only what was asked for
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
    runs: dict[bool, Runs]


@dataclass(frozen=True)
class WrittenRows:
    """By DAG id, by alias name, and by file; what does not exist is missing."""

    dags: dict[str, DagRows]
    aliases: dict[str, Fact]
    import_errors: dict[FileKey, list[str]]


def read(
    session: Session,
    dag_ids: Collection[str],
    aliases: Collection[str],
    files: Collection[FileKey],
    scheduled: Collection[tuple[str, bool]] = (),
    stored_at: Mapping[str, datetime] | None = None,
) -> WrittenRows:
    """Read the rows of these DAGs, which are locked until the transaction ends, asset aliases and files.

    :param scheduled: DAGs whose runs are read as well, each with whether its timetable is partitioned
    :param stored_at: by DAG id, when the caller stored it last; None if it has done so in this transaction
    """
    if not files:
        return WrittenRows({}, {}, {})
    these = {"dag_ids": sorted(dag_ids)}
    # A statement that waits for locks gives the locked rows as they are then, and those of other tables as they were
    # when it began to wait.
    dags = _locked(session, these) if dag_ids else []
    if any(_was_stored_since(row, stored_at) for row in dags):
        # By somebody else, and perhaps while we waited: then the version and the document are those before.
        dags = _locked(session, these)
    # Not before the DAGs are locked. Whoever makes runs locks their DAG, too.
    related = related_rows.read(session, these["dag_ids"], sorted(aliases), sorted(files), scheduled)
    return WrittenRows(
        {
            row.dag_id: DagRows(
                dag=tuple(row[: len(_STABLE)]),
                bundle_version=row.bundle_version,
                max_active_runs=row.max_active_runs,
                next_run=NextRun(*row[len(_STABLE) : len(_STABLE) + len(NextRun._fields)]),
                version=_version(row),
                document_updated_at=row.document_updated_at,
                others=sorted(related.of_dags[row.dag_id], key=repr),
                asset_ids=related.asset_ids[row.dag_id],
                assets=[fact for id_ in sorted(related.asset_ids[row.dag_id]) for fact in related.assets[id_]],
                assets_are_active=related.active_asset_ids >= related.asset_ids[row.dag_id],
                runs=related.runs[row.dag_id],
            )
            for row in dags
            if row.version_id is not None
        },
        related.aliases,
        related.import_errors,
    )


def _locked(session: Session, these: Mapping[str, Any]) -> Sequence[Row[Any]]:
    return session.execute(with_row_locks(_dags(), session, of=_DAG), these).all()


def _was_stored_since(row: Row[Any], stored_at: Mapping[str, datetime] | None) -> bool:
    if stored_at is None or row.last_parsed_time is None or row.dag_id not in stored_at:
        return False
    return row.last_parsed_time > stored_at[row.dag_id]


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
            _DAG.c.last_parsed_time,
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
