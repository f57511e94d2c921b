"""Variables for DAG code: reads at parse time, and the reads and writes of callbacks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.api_fastapi.execution_api.datamodels.variable import VariableKeysResponse, VariableResponse
from airflow.api_fastapi.execution_api.routes.variables import get_variable, get_variable_keys
from airflow.models.variable import Variable
from airflow.sdk.exceptions import AirflowSecretsBackendAccessDenied
from airflow.secrets.metastore import MetastoreBackend
from sqlalchemy import func, or_, select

from .reads import AnsweredNotFound, multi_team, require_text, route
from .refusals import Refusal, RefusalReason

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

MAX_KEY_LENGTH = 250
MAX_KEYS = 10_000


def from_secrets_backends(key: str, team: str | None) -> VariableResponse | None:
    """The variable as Airflow's secrets backends give it, the metadata database the last of them.

    To be called with no session open: the backends open one of their own. None is not an answer yet, because Airflow
    takes a backend that fails for one that has nothing: ask :func:`from_database` then.

    :raises Refusal: INVALID_ARGUMENT; NOT_PERMITTED, when a secrets backend denies access
    """
    require_text(key=key)
    try:
        with route():
            return get_variable(key, team)
    except AnsweredNotFound:
        return None
    except AirflowSecretsBackendAccessDenied as error:
        raise Refusal(RefusalReason.NOT_PERMITTED, f"A secrets backend denies access to variable {key!r}.") from error


def from_database(session: Session, key: str, team: str | None) -> VariableResponse:
    """The variable from the metadata database alone; a database that fails raises here.

    :raises AnsweredNotFound: there is none of this team or of no team
    """
    value = MetastoreBackend().get_variable(key, team, session=session)
    if value is None:
        raise AnsweredNotFound(f"Variable with key '{key}' not found")
    return VariableResponse(key=key, value=value)


def keys(session: Session, team: str | None, *, prefix: str | None, limit: int, offset: int) -> VariableKeysResponse:
    """One page of the keys in the metadata database.

    :raises Refusal: INVALID_ARGUMENT
    """
    require_text(prefix=prefix)
    if not 1 <= limit <= MAX_KEYS or offset < 0:
        raise Refusal(RefusalReason.INVALID_ARGUMENT, f"limit must be 1 to {MAX_KEYS}, and offset at least 0.")
    if not multi_team():
        return get_variable_keys(session, prefix=prefix, limit=limit, offset=offset)
    # Airflow's own route lists a team's keys without those of no team, and every team's to a caller without one.
    visible = select(Variable.key).where(or_(Variable.team_name == team, Variable.team_name.is_(None)))
    if prefix is not None:
        visible = visible.where(Variable.key.startswith(prefix, autoescape=True))
    total = session.scalar(select(func.count()).select_from(visible.subquery())) or 0
    page = session.scalars(visible.order_by(Variable.key).offset(offset).limit(limit)).all()
    return VariableKeysResponse(keys=list(page), total_entries=total)


def set_value(session: Session, team: str | None, *, key: str, value: str | None, description: str | None) -> None:
    """Write a variable, as ``airflow/models/variable.py:Variable.set`` does.

    :raises Refusal: INVALID_ARGUMENT; NOT_PERMITTED, when the key is another team's
    """
    require_text(key=key, value=value, description=description)
    if not 0 < len(key) <= MAX_KEY_LENGTH:
        raise Refusal(RefusalReason.INVALID_ARGUMENT, f"key must have 1 to {MAX_KEY_LENGTH} characters.")
    Variable.set(key=key, value=value, description=description, team_name=team, session=session)
    # Keys are unique over all teams and Airflow's upsert overwrites whoever's row it meets. Its row is locked now, so
    # whose it is can't change any more; a refusal rolls the write back.
    if multi_team() and session.scalar(select(Variable.team_name).where(Variable.key == key)) not in (team, None):
        raise Refusal(RefusalReason.NOT_PERMITTED, f"Variable {key!r} belongs to another team.")


def delete(session: Session, team: str | None, *, key: str) -> None:
    """Delete a variable of this team or of no team, if there is one.

    :raises Refusal: INVALID_ARGUMENT
    """
    require_text(key=key)
    Variable.delete(key=key, team_name=team, session=session)
