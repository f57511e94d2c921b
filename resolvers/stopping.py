"""Asking a processor to end, as Airflow asks any Job: its state becomes ``RESTARTING``.

The processor's next heartbeat is refused then (:func:`.jobs.heartbeat`), and it ends by itself. What it had claimed is
free for others at once. Its supervisor, if it has one, starts another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.jobs.job import Job, JobState
from sqlalchemy import select

from . import audit
from .audit import AuditEvent
from .jobs import JOB_TYPE
from .permissions import require_bundle, require_permission
from .principal import ALL_BUNDLES, Permission
from .refusals import Refusal, RefusalReason
from .tables import Processor

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from .principal import Principal


def stop(session: Session, principal: Principal, job_id: int) -> None:
    """Ask a processor to end; nothing when it has ended or was asked before.

    :raises Refusal: NOT_PERMITTED, NOT_FOUND, BUNDLE_NOT_GRANTED (it parses another bundle, too)
    """
    require_permission(principal, Permission.STOP_PROCESSORS)
    found = session.execute(
        select(Processor.bundle_names, Processor.hostname, Job)
        .join(Job, Job.id == Processor.job_id)
        .where(Processor.job_id == job_id, Job.job_type == JOB_TYPE)
        .with_for_update(of=Job)
    ).one_or_none()
    if found is None:
        raise Refusal(RefusalReason.NOT_FOUND, f"No processor is registered as Job {job_id}.")
    bundle_names, hostname, job = found
    if ALL_BUNDLES in bundle_names and not principal.grants_all_bundles:
        raise Refusal(
            RefusalReason.BUNDLE_NOT_GRANTED,
            f"Job {job_id} parses all bundles; stopping it needs a token that grants all of them.",
        )
    for name in bundle_names:
        require_bundle(principal, name)
    if job.state != JobState.RUNNING:
        return
    job.state = JobState.RESTARTING
    audit.record(session, principal, AuditEvent.STOP_PROCESSOR, job_id=job_id, hostname=hostname, bundles=bundle_names)
