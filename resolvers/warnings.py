"""Warnings of DAGs that nobody parses any more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from airflow.models.dag import DagModel
from airflow.models.dagwarning import DagWarning
from sqlalchemy import CursorResult, and_, delete, exists

from . import jobs

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement
    from sqlalchemy.orm import Session

    from .principal import Principal


def any_inactive(session: Session, principal: Principal) -> bool:
    """Whether :func:`purge_inactive` would delete anything; one query, and no lock.

    :raises Refusal: JOB_CLOSED
    """
    inactive = exists().where(DagWarning.dag_id == DagModel.dag_id, _inactive(principal))
    return jobs.ask_while_running(session, principal, inactive)


def purge_inactive(session: Session, principal: Principal) -> int:
    """Delete the warnings of stale DAGs in the granted bundles; how many.

    As ``DagWarning.purge_inactive_dag_warnings`` (``models/dagwarning.py``), which commits and knows no bundles.

    :raises Refusal: JOB_CLOSED
    """
    jobs.require_running(session, principal)
    inactive = exists().where(DagModel.dag_id == DagWarning.dag_id, _inactive(principal))
    purged = session.execute(delete(DagWarning).where(inactive).execution_options(synchronize_session=False))
    return cast("CursorResult[Any]", purged).rowcount


def _inactive(principal: Principal) -> ColumnElement[bool]:
    if principal.grants_all_bundles:
        return DagModel.is_stale.is_(True)
    return and_(DagModel.is_stale.is_(True), DagModel.bundle_name.in_(principal.bundles))
