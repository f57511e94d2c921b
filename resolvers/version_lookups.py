"""Documents and source code of DAGs, found through the DAGs' versions.

Airflow 3.3.2 looks for both by ``dag_id`` (``SerializedDagModel._prefetch_dag_write_metadata``,
``DagCode.get_latest_dagcode``), of which neither table has an index: each call looks at every document, and for each of
its DAGs at every source code. Versions have that index, and both tables one on their version. Both methods are replaced
here; outside :func:`of` they do what they always did.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

from airflow.models.dag import DagModel
from airflow.models.dag_version import DagVersion
from airflow.models.dagcode import DagCode
from airflow.models.serialized_dag import SerializedDagModel
from sqlalchemy import bindparam, select
from sqlalchemy.orm import aliased, load_only

from .narrowed_reads import narrowed

if TYPE_CHECKING:
    from collections.abc import Collection, Generator, Iterable

    from airflow.models.serialized_dag import DagWriteMetadata
    from sqlalchemy.orm import Session


@dataclass
class _Lookup:
    session: Session
    dag_ids: Collection[str]

    @cached_property
    def latest_codes(self) -> dict[str, DagCode]:
        """By DAG id, read when the first is asked for; a call asks for that of each DAG once, before it writes it."""
        found = self.session.scalars(_latest_codes(), {"dag_ids": list(self.dag_ids)})
        return {code.dag_id: code for code in found}


@cache
def _latest_codes() -> Any:
    """Put together once, which takes longer than running it."""
    these = DagModel.dag_id.in_(bindparam("dag_ids", expanding=True))
    code = aliased(DagCode)
    latest = (
        select(code.id)
        .join(DagVersion, code.dag_version_id == DagVersion.id)
        .where(DagVersion.dag_id == DagModel.dag_id, code.dag_id == DagModel.dag_id)
        .order_by(code.last_updated.desc())
        .limit(1)
        .correlate(DagModel)
        .scalar_subquery()
    )
    # All that is looked at is the hash.
    columns = load_only(DagCode.dag_id, DagCode.source_code_hash)
    return select(DagCode).where(DagCode.id.in_(select(latest).where(these))).options(columns)


_lookup: ContextVar[_Lookup | None] = ContextVar("parsegate_version_lookup", default=None)
_prefetch = SerializedDagModel._prefetch_dag_write_metadata  # pyright: ignore[reportPrivateUsage]
_get_latest_dagcode = DagCode.get_latest_dagcode


@contextmanager
def of(session: Session, dag_ids: Collection[str]) -> Generator[None]:
    """Within the block Airflow finds the documents and the source code of these DAGs by version.

    It is for one call of ``update_dag_parsing_results_in_db``.
    """
    token = _lookup.set(_Lookup(session, dag_ids))
    try:
        yield
    finally:
        _lookup.reset(token)


def _prefetch_by_version(dag_ids: Iterable[str], *, session: Session) -> dict[str, DagWriteMetadata]:
    if _lookup.get() is None:
        return _prefetch(dag_ids, session=session)
    versions = select(DagVersion.id).where(DagVersion.dag_id.in_(dag_ids))
    with narrowed(session, SerializedDagModel, lambda: SerializedDagModel.dag_version_id.in_(versions)):
        return _prefetch(dag_ids, session=session)


def _latest_code_by_version(dag_id: str, **session: Any) -> DagCode | None:
    current = _lookup.get()
    if current is None or dag_id not in current.dag_ids:
        # Airflow opens a session where none is given.
        return _get_latest_dagcode(dag_id, **session)
    return current.latest_codes.get(dag_id)


SerializedDagModel._prefetch_dag_write_metadata = staticmethod(_prefetch_by_version)  # pyright: ignore[reportPrivateUsage]
DagCode.get_latest_dagcode = staticmethod(_latest_code_by_version)
