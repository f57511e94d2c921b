"""Whether parse results may be stored, as far as what is stored already decides it.

Everything that is judged by is locked until the transaction ends: the files' rows in the ledger, and the DAGs' rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from airflow.models.dag import DagModel
from airflow.models.dagbundle import DagBundleModel
from airflow.utils.sqlalchemy import with_row_locks
from sqlalchemy import select

from . import bundles, ledger
from .refusals import Refusal, RefusalReason
from .settings import ALLOW_BUNDLE_TAKEOVER

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from .attempts import Attempt
    from .ledger import FileKey
    from .principal import Principal
    from .tables import ParsedFile


@dataclass
class Judgement:
    """
    :param entries: rows of the ledger by file; a new file has none
    :param replayed: attempts that are recorded already
    :param refused: attempts that are refused, and why
    :param storable: attempts that Airflow's tables are to get, in order
    """

    entries: dict[FileKey, ParsedFile]
    replayed: set[Attempt] = field(default_factory=set)
    refused: dict[Attempt, Refusal] = field(default_factory=dict)
    storable: list[Attempt] = field(default_factory=list)


def judge(session: Session, principal: Principal, job_id: int, attempts: Sequence[Attempt]) -> Judgement:
    """Judge attempts at different files of one bundle.

    :param job_id: the caller's Job
    """
    closed = _bundle_refusal(session, principal, attempts[0].result.bundle_name)
    judgement = Judgement(ledger.entries(session, [attempt.file for attempt in attempts]))
    for attempt in attempts:
        entry = judgement.entries.get(attempt.file)
        if entry is not None and entry.attempt_id == attempt.result.attempt_id and closed is None:
            judgement.replayed.add(attempt)
        elif refusal := _superseded(attempt, entry, job_id) or closed or attempt.objection:
            judgement.refused[attempt] = refusal
        elif attempt.is_storable:
            judgement.storable.append(attempt)
    judgement.refused.update(_owned_by_others(session, judgement.storable))
    judgement.storable = [attempt for attempt in judgement.storable if attempt not in judgement.refused]
    return judgement


def _bundle_refusal(session: Session, principal: Principal, bundle_name: str) -> Refusal | None:
    try:
        bundles.require_writable(session, principal, bundle_name)
    except Refusal as refusal:
        return refusal
    return None


def _superseded(attempt: Attempt, entry: ParsedFile | None, job_id: int) -> Refusal | None:
    result = attempt.result
    if entry is None or entry.job_id != job_id or result.sequence >= entry.sequence:
        return None
    return Refusal(
        RefusalReason.SUPERSEDED,
        f"Attempt {entry.sequence} at {result.relative_fileloc} is recorded already; this is {result.sequence}.",
    )


def _owned_by_others(session: Session, attempts: Sequence[Attempt]) -> dict[Attempt, Refusal]:
    """Lock the rows of the attempts' DAGs; the refusals of attempts whose DAGs another bundle has now.

    Airflow would hand a DAG to whichever bundle was stored last.
    """
    dag_ids = {dag.dag_id for attempt in attempts for dag in attempt.dags}
    if not dag_ids:
        return {}
    bundle_name = attempts[0].result.bundle_name
    rows = session.execute(
        with_row_locks(
            select(DagModel.dag_id, DagModel.bundle_name, DagModel.is_stale, DagBundleModel.active)
            .outerjoin(DagBundleModel, DagBundleModel.name == DagModel.bundle_name)
            .where(DagModel.dag_id.in_(dag_ids))
            .order_by(DagModel.dag_id),
            session=session,
            of=DagModel,
        )
    ).all()
    owners = {
        row.dag_id: row.bundle_name
        for row in rows
        if row.bundle_name != bundle_name and row.active and not row.is_stale
    }
    if not owners or ALLOW_BUNDLE_TAKEOVER.read():
        return {}
    refusals: dict[Attempt, Refusal] = {}
    for attempt in attempts:
        taken = sorted(dag.dag_id for dag in attempt.dags if dag.dag_id in owners)
        if taken:
            named = ", ".join(f"{dag_id} (bundle {owners[dag_id]})" for dag_id in taken)
            refusals[attempt] = Refusal(
                RefusalReason.DAG_OWNED_BY_ANOTHER_BUNDLE,
                f"Nothing of {attempt.result.relative_fileloc} was stored: other bundles have these DAGs: {named}. "
                "Rename them, or remove them there first.",
            )
    return refusals
