"""Bringing a bundle's rows in line with the files that it has.

What is gone is found with queries of a few light columns, and nearly always nothing is: only then is there a
transaction, which looks again before it writes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow.models.asset import (
    DagScheduleAssetAliasReference,
    DagScheduleAssetNameReference,
    DagScheduleAssetReference,
    DagScheduleAssetUriReference,
    TaskOutletAssetReference,
)
from airflow.models.dag import DagModel
from airflow.models.errors import ParseImportError
from airflow.utils.sqlalchemy import with_db_lock_timeout
from sqlalchemy import delete, exists, or_, select, update

from . import bundle_versions, jobs
from .bundles import require_writable
from .chunks import chunks
from .dags import LOCK_TIMEOUT
from .tables import ParsedFile

if TYPE_CHECKING:
    from collections.abc import Set

    from sqlalchemy.orm import Session

    from .principal import Principal

REFERENCES = (
    DagScheduleAssetReference,
    DagScheduleAssetNameReference,
    DagScheduleAssetUriReference,
    DagScheduleAssetAliasReference,
    TaskOutletAssetReference,
)
"""What ``airflow/models/asset.py:remove_references_to_deleted_dags`` (3.3.2) deletes of stale DAGs."""


@dataclass(frozen=True)
class Gone:
    """What reconciling would change.

    :param dag_ids: DAGs that become stale, sorted
    :param unreferenced: DAGs of any bundle that were stale before and lose their references to assets
    :param import_errors: ids of import errors that are deleted
    :param files: files that the ledger forgets
    :param version_is_known: whether it is noted that the bundle has this version now, with these files
    """

    dag_ids: list[str]
    unreferenced: list[str]
    import_errors: list[int]
    files: list[str]
    version_is_known: bool

    def __bool__(self) -> bool:
        return bool(self.dag_ids or self.unreferenced or self.import_errors or self.files or not self.version_is_known)


def find_gone(
    session: Session,
    principal: Principal,
    bundle_name: str,
    *,
    version: str | None,
    files: Set[str],
    observed_filelocs: Set[str],
) -> Gone:
    """What :func:`reconcile` would change; queries, and no lock.

    :raises Refusal: JOB_CLOSED, BUNDLE_NOT_GRANTED, UNKNOWN_BUNDLE, BUNDLE_INACTIVE, INVALID_ARGUMENT
    """
    version_name = bundle_versions.check_version(version)
    jobs.require_running(session, principal)
    require_writable(session, principal, bundle_name)
    active = session.execute(
        select(DagModel.dag_id, DagModel.relative_fileloc).where(
            DagModel.bundle_name == bundle_name, ~DagModel.is_stale
        )
    )
    dag_ids = sorted(dag_id for dag_id, path in active if path not in observed_filelocs)
    referenced = session.scalars(
        select(DagModel.dag_id).where(
            DagModel.is_stale, or_(*(exists().where(model.dag_id == DagModel.dag_id) for model in REFERENCES))
        )
    ).all()
    # Stock removes the references of all stale DAGs whenever a file is gone that this bundle ever had DAGs in.
    remove = referenced and (dag_ids or _any_stale_gone(session, bundle_name, observed_filelocs))
    errors = session.execute(
        select(ParseImportError.id, ParseImportError.filename).where(ParseImportError.bundle_name == bundle_name)
    )
    known = session.scalars(select(ParsedFile.relative_fileloc).where(ParsedFile.bundle_name == bundle_name))
    return Gone(
        dag_ids=dag_ids,
        unreferenced=list(referenced) if remove else [],
        import_errors=[error_id for error_id, path in errors if path not in observed_filelocs],
        files=[path for path in known if path not in files],
        version_is_known=bundle_versions.is_known(session, bundle_name, version_name, files),
    )


def reconcile(
    session: Session,
    principal: Principal,
    bundle_name: str,
    *,
    version: str | None,
    files: Set[str],
    observed_filelocs: Set[str],
) -> Gone:
    """Bring a bundle's rows in line with the files that it has; what was changed.

    What ``DagFileProcessorManager.deactivate_deleted_dags`` and ``clear_orphaned_import_errors`` do with
    ``DagModel.deactivate_deleted_dags`` and ``remove_references_to_deleted_dags``, which load every DAG of the bundle
    and name every stale DAG in each of five statements; the file ledger forgets the files that are gone; and it is
    noted which version of the bundle has these files.

    :param version: the version that the files were found in; None for a bundle without versions
    :raises Refusal: JOB_CLOSED, BUNDLE_NOT_GRANTED, UNKNOWN_BUNDLE, BUNDLE_INACTIVE, INVALID_ARGUMENT
    """
    gone = find_gone(session, principal, bundle_name, version=version, files=files, observed_filelocs=observed_filelocs)
    if not gone.version_is_known:
        # Before the ledger forgets what the version before it is judged by.
        bundle_versions.note(session, bundle_name, bundle_versions.check_version(version), files)
    with with_db_lock_timeout(session=session, lock_timeout=LOCK_TIMEOUT):
        # As in stock, the references of what only now becomes stale go next time.
        for dag_ids in chunks(gone.unreferenced):
            for model in REFERENCES:
                session.execute(
                    delete(model).where(model.dag_id.in_(dag_ids)).execution_options(synchronize_session=False)
                )
        for dag_ids in chunks(gone.dag_ids):
            session.execute(
                update(DagModel)
                .where(DagModel.dag_id.in_(dag_ids))
                .values(is_stale=True)
                .execution_options(synchronize_session=False)
            )
    for error_ids in chunks(gone.import_errors):
        session.execute(
            delete(ParseImportError)
            .where(ParseImportError.id.in_(error_ids))
            .execution_options(synchronize_session=False)
        )
    for paths in chunks(gone.files):
        session.execute(
            delete(ParsedFile)
            .where(ParsedFile.bundle_name == bundle_name, ParsedFile.relative_fileloc.in_(paths))
            .execution_options(synchronize_session=False)
        )
    return gone


def _any_stale_gone(session: Session, bundle_name: str, observed_filelocs: Set[str]) -> bool:
    paths = session.scalars(
        select(DagModel.relative_fileloc).where(DagModel.bundle_name == bundle_name, DagModel.is_stale).distinct()
    )
    return any(path not in observed_filelocs for path in paths)
