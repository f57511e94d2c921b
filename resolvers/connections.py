"""Connections for DAG code, decrypted here: the processor has no Fernet key."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.api_fastapi.execution_api.datamodels.connection import ConnectionResponse
from airflow.api_fastapi.execution_api.routes.connections import get_connection
from airflow.sdk.exceptions import AirflowSecretsBackendAccessDenied
from airflow.secrets.metastore import MetastoreBackend

from .reads import AnsweredNotFound, require_text, route
from .refusals import Refusal, RefusalReason

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


def from_secrets_backends(conn_id: str, team: str | None) -> ConnectionResponse | None:
    """The connection as Airflow's secrets backends give it, the metadata database the last of them.

    To be called with no session open: the backends open one of their own. None is not an answer yet, because Airflow
    takes a backend that fails for one that has nothing: ask :func:`from_database` then.

    :raises Refusal: INVALID_ARGUMENT; NOT_PERMITTED, when a secrets backend denies access
    """
    require_text(conn_id=conn_id)
    try:
        with route():
            return get_connection(conn_id, team)
    except AnsweredNotFound:
        return None
    except AirflowSecretsBackendAccessDenied as error:
        raise Refusal(
            RefusalReason.NOT_PERMITTED, f"A secrets backend denies access to connection {conn_id!r}."
        ) from error


def from_database(session: Session, conn_id: str, team: str | None) -> ConnectionResponse:
    """The connection from the metadata database alone; a database that fails raises here.

    :raises AnsweredNotFound: there is none of this team or of no team
    """
    connection = MetastoreBackend().get_connection(conn_id, team, session=session)
    if connection is None:
        raise AnsweredNotFound(f"Connection with ID {conn_id} not found")
    return ConnectionResponse.model_validate(connection)
