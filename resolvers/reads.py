"""What all reads of DAG code share: who may ask for what, and how "not found" is told.

The queries are those of Airflow's Execution API (``airflow/api_fastapi/execution_api/routes``), called with our
session; what is left to say here is which bundle and team may see what. With ``[core] multi_team``, a file sees what
belongs to its bundle's team and to no team, as ``has_xcom_access`` there decides for XComs.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, cast
from uuid import UUID

from airflow.configuration import conf
from airflow.models import DagModel
from airflow.models.dagbundle import DagBundleModel
from airflow.models.taskinstance import TaskInstance
from airflow.models.team import Team
from fastapi import HTTPException
from sqlalchemy import select

from . import jobs
from .refusals import Refusal, RefusalReason

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement
    from sqlalchemy.orm import Session

    from .principal import Principal


@dataclass(frozen=True)
class FileReference:
    """The file whose code asks; ``relative_fileloc`` is None when its bundle asks, to initialise or refresh."""

    bundle_name: str
    relative_fileloc: str | None


class AnsweredNotFound(Exception):
    """What was asked for does not exist, or not for this caller; the message names it."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


def authorize(session: Session, principal: Principal, file: FileReference) -> str | None:
    """The team whose things the file may see; None when it has none, or without multi-team.

    The bundle need not be known yet: a bundle reads its connection before it is first synced.

    :raises Refusal: JOB_CLOSED, BUNDLE_NOT_GRANTED, INVALID_ARGUMENT
    """
    require_text(bundle_name=file.bundle_name, relative_fileloc=file.relative_fileloc)
    jobs.require_running(session, principal)
    if not principal.grants_bundle(file.bundle_name):
        raise Refusal(
            RefusalReason.BUNDLE_NOT_GRANTED,
            f"The token does not grant bundle {file.bundle_name!r}. Mint one that does.",
        )
    if not multi_team():
        return None
    return DagBundleModel.get_team_name(file.bundle_name, session=session)


def authorize_dag(session: Session, principal: Principal, file: FileReference, dag_id: str) -> None:
    """Let the file read runs and XComs of a DAG; one that is unknown has no team.

    :raises Refusal: as :func:`authorize`, and NOT_PERMITTED for a DAG of another team
    """
    require_text(dag_id=dag_id)
    _require_own_team(session, principal, file, DagModel.dag_id == dag_id)


def authorize_task_instance(
    session: Session, principal: Principal, file: FileReference, task_instance_id: UUID
) -> None:
    """Let the file read about a task instance; one that is unknown has no team.

    :raises Refusal: as :func:`authorize_dag`
    """
    dag_ids = select(TaskInstance.dag_id).where(TaskInstance.id == task_instance_id)
    _require_own_team(session, principal, file, DagModel.dag_id.in_(dag_ids))


def multi_team() -> bool:
    return conf.getboolean("core", "multi_team", fallback=False)


def require_text(**arguments: str | list[str] | None) -> None:
    """Refuse text that the database cannot take: NUL, and characters that are no Unicode.

    :raises Refusal: INVALID_ARGUMENT, naming the argument
    """
    for name, value in arguments.items():
        for text in [value] if isinstance(value, str) else value or []:
            if not storable(text):
                raise Refusal(RefusalReason.INVALID_ARGUMENT, f"{name} holds a character that no database stores.")


def storable(text: str) -> bool:
    """Whether a database takes the text: PostgreSQL has no NUL, and JSON can spell halves of surrogate pairs."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text


@contextmanager
def route() -> Generator[None]:
    """Around a function of an Execution API route: its HTTP errors as ours.

    :raises AnsweredNotFound: it answered 404
    :raises Refusal: it answered another error: NOT_PERMITTED for 401 and 403, INVALID_ARGUMENT otherwise
    """
    try:
        yield
    except HTTPException as error:
        detail = cast("object", error.detail)
        message = str(detail["message"] if isinstance(detail, dict) and "message" in detail else detail)
        if error.status_code == HTTPStatus.NOT_FOUND:
            raise AnsweredNotFound(message) from error
        denied = error.status_code in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
        raise Refusal(RefusalReason.NOT_PERMITTED if denied else RefusalReason.INVALID_ARGUMENT, message) from error


def _require_own_team(session: Session, principal: Principal, file: FileReference, dag: ColumnElement[bool]) -> None:
    team = authorize(session, principal, file)
    if not multi_team():
        return
    owner = session.scalar(
        select(Team.name)
        .select_from(DagModel)
        .join(DagBundleModel, DagBundleModel.name == DagModel.bundle_name)
        .join(DagBundleModel.teams)
        .where(dag)
    )
    if owner is not None and owner != team:
        raise Refusal(RefusalReason.NOT_PERMITTED, "The DAG belongs to another team.")
