"""Noticing that a transaction was rolled back by the code that was only meant to write in it.

Airflow 3.3.2 (``dag_processing/collection.py:update_dag_parsing_results_in_db``) answers an OperationalError with
``session.rollback()`` and repeats its own writes in the same session. What was done before in that transaction (a lock,
a check made under it, a row of ours) is gone then, without a trace; and it catches failed flushes, which roll back
too. :func:`parsegate.resolvers.database.transaction` notices the first at the end of its block; here both are noticed
at once, before anything is written without our lock, and with their cause.

What Airflow does last, with import errors and warnings, it does not repeat: whatever is raised there is logged, and the
rest committed. An interruption by the database is noticed there too.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import TYPE_CHECKING, Any

from airflow.dag_processing import collection
from sqlalchemy import event
from sqlalchemy.exc import OperationalError

from .database import TransactionLost

if TYPE_CHECKING:
    from collections.abc import Generator

    from sqlalchemy.orm import Session, SessionTransaction


_interruptions: ContextVar[list[BaseException | None] | None] = ContextVar("parsegate_interruptions", default=None)


@contextmanager
def unbroken(session: Session) -> Generator[None]:
    """Fail with :class:`TransactionLost` if the session's transaction is rolled back within the block, or if Airflow
    caught an OperationalError.

    ``__cause__`` is the error that the rollback answered, if any. Rolling back to a savepoint is no loss. An explicit
    ``session.rollback()`` fails at once, so that nothing is repeated in a transaction that never had our locks.
    """
    causes: list[BaseException | None] = []
    token = _interruptions.set(causes)

    def notice(_: Session, previous: SessionTransaction) -> None:
        transaction: SessionTransaction | None = previous
        while transaction is not None and not transaction.nested:
            transaction = transaction.parent
        if transaction is not None:
            return
        causes.append(sys.exception())
        if previous.parent is None:
            raise TransactionLost("The transaction was rolled back by Airflow.") from sys.exception()

    event.listen(session, "after_soft_rollback", notice)
    try:
        yield
    except TransactionLost:
        raise
    except Exception as error:
        if causes:
            raise TransactionLost(f"The transaction was lost: {error}") from (causes[0] or error)
        raise
    finally:
        event.remove(session, "after_soft_rollback", notice)
        _interruptions.reset(token)
    if causes:
        raise TransactionLost("The transaction was lost in a write whose failure Airflow caught.") from causes[0]


def _noticing(write: Callable[..., None]) -> Callable[..., None]:
    @wraps(write)
    def noticing(*arguments: Any, **named: Any) -> None:
        try:
            write(*arguments, **named)
        except OperationalError as error:
            interruptions = _interruptions.get()
            if interruptions is not None:
                interruptions.append(error)
            raise

    return noticing


collection._update_import_errors = _noticing(  # pyright: ignore[reportPrivateUsage]
    collection._update_import_errors  # pyright: ignore[reportPrivateUsage]
)
collection._update_dag_warnings = _noticing(  # pyright: ignore[reportPrivateUsage]
    collection._update_dag_warnings  # pyright: ignore[reportPrivateUsage]
)
