"""What operators change is told by Airflow's audit log (the ``log`` table), in the same transaction.

Events are named ``parsegate.…``; the owner is the subject of the operator's token; ``extra`` is a JSON object.
"""

from __future__ import annotations

import json
from enum import Enum
from typing import TYPE_CHECKING, Any

from airflow.models.log import Log
from sqlalchemy import select

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from .principal import Principal

_LONGEST_OWNER = 500


class AuditEvent(Enum):
    """What an operator did; the value is stored."""

    REQUEST_PARSE = "parsegate.request_parse"
    RETRY_CALLBACK = "parsegate.retry_callback"
    DROP_CALLBACK = "parsegate.drop_callback"
    STOP_PROCESSOR = "parsegate.stop_processor"


def record(
    session: Session, principal: Principal, event: AuditEvent, *, dag_id: str | None = None, **extra: Any
) -> None:
    """Add an entry about what the caller does in this transaction.

    :param dag_id: the DAG whose page in Airflow's UI shows the entry, too
    :param extra: what it was done to; of JSON's types
    """
    owner = principal.subject[:_LONGEST_OWNER]
    session.add(Log(event=event.value, owner=owner, owner_display_name=owner, dag_id=dag_id, extra=json.dumps(extra)))
    session.flush()


def recorded(session: Session, event: AuditEvent, unique_name: str) -> list[dict[str, Any]]:
    """What the entries of this event say whose ``extra`` has this text in it."""
    found = session.scalars(
        select(Log.extra).where(Log.event == event.value, Log.extra.contains(unique_name, autoescape=True))
    )
    return [json.loads(extra) for extra in found if extra is not None]
