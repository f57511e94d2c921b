"""What operators change is told by Airflow's audit log (the ``log`` table), in the same transaction.

Events are named ``parsegate.…``; the owner is the subject of the operator's token; ``extra`` is a JSON object.
"""

from __future__ import annotations

import json
from enum import Enum
from typing import TYPE_CHECKING, Any

from airflow.models.log import Log

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from .principal import Principal

_LONGEST_OWNER = 500


class AuditEvent(Enum):
    """What an operator did; the value is stored."""

    REQUEST_PARSE = "parsegate.request_parse"


def record(session: Session, principal: Principal, event: AuditEvent, **extra: Any) -> None:
    """Add an entry about what the caller does in this transaction.

    :param extra: what it was done to; of JSON's types
    """
    owner = principal.subject[:_LONGEST_OWNER]
    session.add(Log(event=event.value, owner=owner, owner_display_name=owner, extra=json.dumps(extra)))
    session.flush()
