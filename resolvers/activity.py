"""What a processor does now, as its heartbeat says; kept beside its registration until it says something else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow._shared.timezones.timezone import utcnow
from airflow.jobs.job import Job
from sqlalchemy import select, update

from . import jobs
from .documents import MAX_PATH, check_path
from .pages import is_storable
from .refusals import Refusal, RefusalReason
from .tables import Processor

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Update
    from sqlalchemy.orm import Session

    from .ledger import FileKey
    from .principal import Principal

MAX_PARSING = 32


@dataclass(frozen=True)
class Activity:
    """
    :param parsing: bundle and path of files that are being parsed
    :param queued_files: files that wait for their turn
    :param undelivered_results: parse results that the gateway has not taken yet
    """

    parsing: Sequence[FileKey]
    queued_files: int
    undelivered_results: int


def check(principal: Principal, activity: Activity) -> None:
    """Nothing, when it can be kept.

    :raises Refusal: INVALID_ARGUMENT, BUNDLE_NOT_GRANTED, INVALID_PATH
    """
    if len(activity.parsing) > MAX_PARSING or activity.queued_files < 0 or activity.undelivered_results < 0:
        raise Refusal(
            RefusalReason.INVALID_ARGUMENT,
            f"An activity names at most {MAX_PARSING} files, and its counts are not negative.",
        )
    for bundle_name, path in activity.parsing:
        if not principal.grants_bundle(bundle_name) or not is_storable(bundle_name):
            raise Refusal(RefusalReason.BUNDLE_NOT_GRANTED, f"The token does not grant bundle {bundle_name!r}.")
        check_path(path, MAX_PATH)
        if not is_storable(path):
            raise Refusal(RefusalReason.INVALID_PATH, f"{path!r} has half of a surrogate pair.")


def tell(session: Session, principal: Principal, activity: Activity) -> datetime:
    """A heartbeat that says what the caller's processor does, which must have been checked; its time.

    :raises Refusal: JOB_CLOSED
    """
    if session.get_bind().dialect.name != "postgresql":
        at = jobs.heartbeat(session, principal)
        session.execute(_update(principal, activity, at).execution_options(synchronize_session=False))
        return at
    at = utcnow()
    beaten = jobs.beat(principal, at).returning(Job.id).cte("beaten")
    told = _update(principal, activity, at).where(Processor.job_id == beaten.c.id).cte("told")
    jobs.check(principal, session.scalar(select(beaten.c.id).add_cte(told)) is not None)
    return at


def _update(principal: Principal, activity: Activity, at: datetime) -> Update:
    return (
        update(Processor)
        .where(Processor.job_id == principal.job_id)
        .values(
            activity={
                "parsing": [list(file) for file in activity.parsing],
                "queuedFiles": activity.queued_files,
                "undeliveredResults": activity.undelivered_results,
            },
            activity_at=at,
        )
    )


def visible(principal: Principal, stored: Mapping[str, Any]) -> Activity:
    """What was kept, with the files alone that the caller may know of."""
    return Activity(
        parsing=[(bundle, path) for bundle, path in stored["parsing"] if principal.grants_bundle(bundle)],
        queued_files=stored["queuedFiles"],
        undelivered_results=stored["undeliveredResults"],
    )
