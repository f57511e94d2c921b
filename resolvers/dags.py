"""DAGs that are gone from their files."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from airflow.models.dag import DagModel
from airflow.models.dagbundle import DagBundleModel
from airflow.utils.sqlalchemy import with_db_lock_timeout
from sqlalchemy import and_, extract, false, func, or_, select, update
from sqlalchemy.orm import aliased

from . import jobs
from .chunks import chunks
from .refusals import Refusal, RefusalReason
from .tables import ParsedFile

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from .principal import Principal

LOCK_TIMEOUT = 30
"""Seconds that maintenance waits for rows that a scheduler has locked, as Airflow's own processor does."""


def find_stale(session: Session, principal: Principal, *, stale_dag_threshold: float) -> list[str]:
    """Ids of the DAGs that :func:`deactivate_stale` would mark, sorted; two queries, and no lock.

    :raises Refusal: JOB_CLOSED, INVALID_ARGUMENT
    """
    jobs.require_running(session, principal)
    if not math.isfinite(stale_dag_threshold) or stale_dag_threshold < 0:
        raise Refusal(
            RefusalReason.INVALID_ARGUMENT, "staleDagThreshold must be a finite number of seconds, not negative."
        )
    file, archive = aliased(ParsedFile), aliased(ParsedFile)
    # A DAG from a zip names the file inside; the ledger, as the processor, knows the zip.
    path = DagModel.relative_fileloc
    folder = func.rtrim(func.rtrim(path, func.replace(path, "/", "")), "/")
    parsed_at = func.coalesce(file.last_parsed_at, archive.last_parsed_at)
    # Of a second's parts SQLite knows none: what is less than a second short of the threshold is found, too.
    overdue = extract("epoch", parsed_at) - extract("epoch", DagModel.last_parsed_time) > stale_dag_threshold - 1
    if principal.grants_all_bundles:
        abandoned = or_(DagModel.bundle_name.is_(None), DagBundleModel.active.is_(False))
    else:
        abandoned = false()
    query = (
        select(DagModel.dag_id, DagModel.last_parsed_time, parsed_at.label("parsed_at"), abandoned.label("abandoned"))
        .outerjoin(DagBundleModel, DagBundleModel.name == DagModel.bundle_name)
        .outerjoin(file, and_(file.bundle_name == DagModel.bundle_name, file.relative_fileloc == path))
        .outerjoin(
            archive,
            and_(
                file.relative_fileloc.is_(None),
                archive.bundle_name == DagModel.bundle_name,
                archive.relative_fileloc == folder,
            ),
        )
        .where(~DagModel.is_stale, or_(abandoned, overdue))
    )
    if not principal.grants_all_bundles:
        query = query.where(DagModel.bundle_name.in_(principal.bundles))
    return sorted(
        dag.dag_id
        for dag in session.execute(query)
        if dag.abandoned or (dag.parsed_at - dag.last_parsed_time).total_seconds() > stale_dag_threshold
    )


def deactivate_stale(session: Session, principal: Principal, *, stale_dag_threshold: float) -> list[str]:
    """Mark DAGs as stale that their files no longer yield; which ones, sorted.

    The rules of ``DagFileProcessorManager.deactivate_stale_dags`` (``dag_processing/manager.py``), but a file's last
    finish is the ledger's ``last_parsed_at``: stock compares the processor's clock with the database's rows, and here
    the two are on different hosts, with results still on their way.

    :param stale_dag_threshold: seconds
    :raises Refusal: JOB_CLOSED, INVALID_ARGUMENT
    """
    gone = find_stale(session, principal, stale_dag_threshold=stale_dag_threshold)
    if gone:
        with with_db_lock_timeout(session=session, lock_timeout=LOCK_TIMEOUT):
            for dag_ids in chunks(gone):
                session.execute(
                    update(DagModel)
                    .where(DagModel.dag_id.in_(dag_ids))
                    .values(is_stale=True)
                    .execution_options(synchronize_session=False)
                )
    return gone
