"""One call of Airflow's write path for several files, leaving what a call for each of them would have left.

Airflow 3.3.2 (``dag_processing/collection.py``) writes the DAGs of a call as if they were of one file, and that shows:
all get one ``last_parse_duration``; a DAG whose file mentions no asset keeps what refers to the assets of its earlier
self, unless another DAG of the call mentions one; a DAG that cannot be serialized marks all DAGs that have its path.
Besides it asks for the runs of each DAG in statements of their own, and computes the hash of each document twice. None
of it takes a parameter, so it is replaced here; outside :func:`shared` it does what it always did.

Which files may share a call at all is for :mod:`.result_groups` to say.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow.dag_processing import collection
from airflow.dag_processing.collection import AssetModelOperation, DagModelOperation
from airflow.models.serialized_dag import SerializedDagModel

from . import latest_runs
from .decoded_dag import DecodedDag, has_deadline

if TYPE_CHECKING:
    from collections.abc import Generator

    from airflow.models.dag import DagModel
    from airflow.serialization.serialized_objects import LazyDeserializedDAG
    from sqlalchemy.orm import Session

    from .attempts import Attempt

_RunInfo = collection._RunInfo  # pyright: ignore[reportPrivateUsage]

_ImportErrors = Iterable[tuple[tuple[str, str], str]]


class NotTogether(Exception):
    """These results can't share a call after all."""


@dataclass
class _Shared:
    """
    :param durations: of parsing, by DAG id
    :param by_document: the DAGs whose documents stay as they are, by the ``id`` of the document
    :param run_infos: by DAG id, read when Airflow has locked the rows
    """

    durations: Mapping[str, float]
    assets: AssetModelOperation
    by_document: Mapping[int, DecodedDag]
    run_infos: Mapping[str, Any] = field(default_factory=dict)


_shared: ContextVar[_Shared | None] = ContextVar("parsegate_shared_write", default=None)
_update_dags = DagModelOperation.update_dags
_collect = AssetModelOperation.collect
_calculate = _RunInfo.calculate
_hash = SerializedDagModel.hash


@contextmanager
def shared(attempts: Sequence[Attempt]) -> Generator[None]:
    """Within the block one call of ``update_dag_parsing_results_in_db`` may write all of ``attempts``."""
    token = _shared.set(
        _Shared(
            {dag.dag_id: attempt.result.parse_duration for attempt in attempts for dag in attempt.dags},
            _merged([attempt.assets for attempt in attempts]),
            {id(dag.data): dag for attempt in attempts for dag in attempt.dags if not has_deadline(dag.data)},
        )
    )
    try:
        yield
    finally:
        _shared.reset(token)


class NoImportErrors(dict[tuple[str, str], str]):
    """What a shared call gets for the import errors of its files, which have none.

    Airflow adds those of DAGs that cannot be serialized just before it stores them.

    :raises NotTogether: when it does
    """

    def update(self, errors: _ImportErrors) -> None:  # type: ignore[override]
        for (_, relative_fileloc), _ in errors:
            raise NotTogether(f"Airflow could not serialize a DAG of {relative_fileloc}.")


def _merged(operations: Sequence[AssetModelOperation]) -> AssetModelOperation:
    """What ``collect`` gives for all DAGs, without those whose own call would have left these references alone."""
    with_assets = [operation for operation in operations if operation.assets]
    with_aliases = [operation for operation in operations if operation.asset_aliases]
    return AssetModelOperation(
        schedule_asset_references=_joined(each.schedule_asset_references for each in with_assets),
        schedule_asset_alias_references=_joined(each.schedule_asset_alias_references for each in with_aliases),
        schedule_asset_name_references={key for each in operations for key in each.schedule_asset_name_references},
        schedule_asset_uri_references={key for each in operations for key in each.schedule_asset_uri_references},
        inlet_references=_joined(each.inlet_references for each in with_assets),
        outlet_references=_joined(each.outlet_references for each in with_assets),
        assets=_joined(each.assets for each in operations),
        asset_aliases=_joined(each.asset_aliases for each in operations),
    )


def _joined(parts: Iterable[dict[Any, Any]]) -> dict[Any, Any]:
    return {key: value for part in parts for key, value in part.items()}


def _shared_update_dags(
    self: DagModelOperation, orm_dags: dict[str, DagModel], parse_duration: float | None, *, session: Session
) -> None:
    current = _shared.get()
    if current is None:
        return _update_dags(self, orm_dags, parse_duration, session=session)
    # Only now: the rows are locked, and whoever makes runs locks them too.
    current.run_infos = _run_infos(self.dags, session)
    _update_dags(self, orm_dags, parse_duration, session=session)
    for dag_id, row in orm_dags.items():
        row.last_parse_duration = current.durations[dag_id]


def _run_infos(dags: Mapping[str, LazyDeserializedDAG], session: Session) -> dict[str, Any]:
    schedulable = {dag_id: dag.timetable for dag_id, dag in dags.items() if dag.timetable.can_be_scheduled}
    partitioned = {dag_id: timetable.partitioned for dag_id, timetable in schedulable.items()}
    runs, active = latest_runs.read(session, partitioned)
    return {dag_id: _RunInfo(runs.get(dag_id), active.get(dag_id, 0)) for dag_id in dags}


def _shared_collect(dags: dict[str, LazyDeserializedDAG]) -> AssetModelOperation:
    current = _shared.get()
    return _collect(dags) if current is None else current.assets


def _shared_calculate(dag: LazyDeserializedDAG, *, session: Session) -> Any:
    current = _shared.get()
    return _calculate(dag, session=session) if current is None else current.run_infos[dag.dag_id]


def _shared_hash(dag_data: Any) -> str:
    current = _shared.get()
    known = current.by_document.get(id(dag_data)) if current else None
    return known.hash if known else _hash(dag_data)


DagModelOperation.update_dags = _shared_update_dags
AssetModelOperation.collect = staticmethod(_shared_collect)
_RunInfo.calculate = staticmethod(_shared_calculate)
SerializedDagModel.hash = staticmethod(_shared_hash)
