"""One-time login codes that were used: none is taken twice, whichever replica of the gateway it comes to."""

from __future__ import annotations

from datetime import timedelta

from airflow._shared.timezones.timezone import utcnow
from sqlalchemy import delete, insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from .tables import Login

KEPT_FOR = timedelta(days=1)
"""Far longer than any code is valid, so that no clock's error brings one back."""


class CodeUsed(Exception):
    """The code has opened a session before."""


def record_login(session: Session, code_id: str) -> None:
    """Record that the code with this ``jti`` is used now, and forget those of old.

    :raises CodeUsed: it was used before; the transaction must be rolled back
    """
    now = utcnow()
    session.execute(delete(Login).where(Login.redeemed_at < now - KEPT_FOR))
    try:
        session.execute(insert(Login).values(id=code_id, redeemed_at=now))
    except IntegrityError as error:
        raise CodeUsed from error
