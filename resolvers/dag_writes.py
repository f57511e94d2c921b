"""Writing parse results to Airflow's tables, with Airflow's own code.

The rows are those of ``DagFileProcessorManager.persist_parsing_result`` (``airflow/dag_processing/manager.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, NamedTuple

from airflow.dag_processing.collection import update_dag_parsing_results_in_db
from airflow.models.dag import DagModel
from airflow.models.dagwarning import DagWarning
from sqlalchemy import select

from . import known_import_errors, shared_writes, source_code, version_lookups
from .lost_transaction import unbroken

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from .attempts import Attempt
    from .parse_result import ParseResult


class Counts(NamedTuple):
    """How much of a result was stored."""

    dags: int = 0
    import_errors: int = 0
    warnings: int = 0


def write(session: Session, attempts: Sequence[Attempt]) -> list[Counts]:
    """Write these attempts, which may be stored together (:mod:`.result_groups`).

    :raises TransactionLost: Airflow's code rolled the transaction back
    :raises NotTogether: of several attempts, one has a DAG that can't be serialized
    :raises Exception: what Airflow's code raises when it meets what it can't store
    """
    # All transactions insert new DAGs in the same order, so that no two wait for each other.
    ordered = sorted(attempts, key=lambda attempt: [dag.dag_id for dag in attempt.dags])
    first = attempts[0].result
    warnings = [_storable_warnings(session, attempt) for attempt in attempts]
    import_errors = (
        shared_writes.NoImportErrors()
        if len(attempts) > 1
        else {(first.bundle_name, path): storable(trace) for path, trace in first.import_errors}
    )
    files_parsed = {*(attempt.file for attempt in attempts), *import_errors}
    with (
        source_code.supplied({k: v for each in attempts for k, v in each.result.sources.items()}, first.bundle_path),
        known_import_errors.narrowed(session, files_parsed, import_errors),
        version_lookups.of(session, [dag.dag_id for attempt in ordered for dag in attempt.dags]),
        shared_writes.shared(attempts) if len(attempts) > 1 else nullcontext(),
        unbroken(session),
    ):
        update_dag_parsing_results_in_db(
            bundle_name=first.bundle_name,
            bundle_version=first.bundle_version,
            version_data=first.version_data,
            dags=[dag for attempt in ordered for dag in attempt.dags],
            import_errors=import_errors,
            parse_duration=first.parse_duration,
            warnings={warning for some in warnings for warning in some},
            session=session,
            files_parsed=files_parsed,
        )
    return [
        Counts(len(attempt.dags), len(import_errors), len(some))
        for attempt, some in zip(attempts, warnings, strict=True)
    ]


def _storable_warnings(session: Session, attempt: Attempt) -> set[DagWarning]:
    """The warnings about DAGs of this bundle; one about a DAG that could not be serialized has no row to hang on."""
    result: ParseResult = attempt.result
    known = {dag.dag_id for dag in attempt.dags}
    others = {warning.dag_id for warning in result.warnings} - known
    if others:
        known.update(
            session.scalars(
                select(DagModel.dag_id).where(DagModel.dag_id.in_(others), DagModel.bundle_name == result.bundle_name)
            )
        )
    return {
        DagWarning(warning.dag_id, warning.warning_type, storable(warning.message))
        for warning in result.warnings
        if warning.dag_id in known
    }


def storable(text: str) -> str:
    """``text`` without what PostgreSQL or UTF-8 can't hold: an exception's message may hold anything."""
    return text.replace("\0", "\ufffd").encode(errors="replace").decode()
