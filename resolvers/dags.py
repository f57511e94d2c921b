"""DAGs that are gone from their files."""

from __future__ import annotations

import math
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from airflow.models.dag import DagModel
from airflow.models.dagbundle import DagBundleModel
from airflow.utils.sqlalchemy import with_db_lock_timeout
from sqlalchemy import select, update

from . import jobs, ledger
from .bundles import LOCK_TIMEOUT
from .refusals import Refusal, RefusalReason

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from .principal import Principal


def deactivate_stale(session: Session, principal: Principal, *, stale_dag_threshold: float) -> list[str]:
    """Mark DAGs as stale that their files no longer yield; which ones.

    The rules of ``DagFileProcessorManager.deactivate_stale_dags`` (``dag_processing/manager.py``), but a file's last
    finish is the ledger's ``last_parsed_at``: stock compares the processor's clock with the database's rows, and here
    the two are on different hosts, with results still on their way.

    :param stale_dag_threshold: seconds
    :raises Refusal: JOB_CLOSED, INVALID_ARGUMENT
    """
    jobs.require_running(session, principal)
    if not math.isfinite(stale_dag_threshold) or stale_dag_threshold < 0:
        raise Refusal(
            RefusalReason.INVALID_ARGUMENT, "staleDagThreshold must be a finite number of seconds, not negative."
        )
    granted = None if principal.grants_all_bundles else principal.bundles
    query = select(
        DagModel.dag_id,
        DagModel.bundle_name,
        DagModel.relative_fileloc,
        DagModel.last_parsed_time,
        DagBundleModel.active,
    ).outerjoin(DagBundleModel, DagBundleModel.name == DagModel.bundle_name)
    query = query.where(~DagModel.is_stale)
    if granted is not None:
        query = query.where(DagModel.bundle_name.in_(granted))
    last_parsed = ledger.last_parsed(session, granted)
    gone: list[str] = []
    for dag in session.execute(query):
        if granted is None and (dag.bundle_name is None or dag.active is False):
            gone.append(dag.dag_id)
        elif dag.relative_fileloc is not None:
            path = PurePosixPath(dag.relative_fileloc)
            # A DAG from a zip names the file inside; the ledger, as the processor, knows the zip.
            parsed_at = last_parsed.get((dag.bundle_name, str(path))) or last_parsed.get(
                (dag.bundle_name, str(path.parent))
            )
            if parsed_at is None or dag.last_parsed_time is None:
                continue
            if (parsed_at - dag.last_parsed_time).total_seconds() > stale_dag_threshold:
                gone.append(dag.dag_id)
    if gone:
        with with_db_lock_timeout(session=session, lock_timeout=LOCK_TIMEOUT):
            session.execute(
                update(DagModel)
                .where(DagModel.dag_id.in_(gone))
                .values(is_stale=True)
                .execution_options(synchronize_session=False)
            )
    return sorted(gone)
