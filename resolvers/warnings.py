"""Warnings of DAGs that nobody parses any more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from airflow.models.dag import DagModel
from airflow.models.dagwarning import DagWarning
from sqlalchemy import CursorResult, delete, select

from . import jobs

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from .principal import Principal


def purge_inactive(session: Session, principal: Principal) -> int:
    """Delete the warnings of stale DAGs in the granted bundles; how many.

    As ``DagWarning.purge_inactive_dag_warnings`` (``models/dagwarning.py``), which commits and knows no bundles.

    :raises Refusal: JOB_CLOSED
    """
    jobs.require_running(session, principal)
    stale = select(DagModel.dag_id).where(DagModel.is_stale)
    if not principal.grants_all_bundles:
        stale = stale.where(DagModel.bundle_name.in_(principal.bundles))
    purged = session.execute(
        delete(DagWarning).where(DagWarning.dag_id.in_(stale)).execution_options(synchronize_session=False)
    )
    return cast("CursorResult[Any]", purged).rowcount
