"""Noticing that a transaction was rolled back by the code that was only meant to write in it.

Airflow 3.3.2 (``dag_processing/collection.py:update_dag_parsing_results_in_db``) answers an OperationalError with
``session.rollback()`` and repeats its own writes in the same session. What was done before in that transaction (a lock,
a check made under it, a row of ours) is gone then, without a trace; and it catches failed flushes, which roll back
too. :func:`parsegate.resolvers.database.transaction` notices the first at the end of its block; here both are noticed
at once, before anything is written without our lock, and with their cause.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sqlalchemy import event

from .database import TransactionLost

if TYPE_CHECKING:
    from collections.abc import Generator

    from sqlalchemy.orm import Session, SessionTransaction


@contextmanager
def unbroken(session: Session) -> Generator[None]:
    """Fail with :class:`TransactionLost` if the session's transaction is rolled back within the block.

    ``__cause__`` is the error that the rollback answered, if any. Rolling back to a savepoint is no loss. An explicit
    ``session.rollback()`` fails at once, so that nothing is repeated in a transaction that never had our locks.
    """
    causes: list[BaseException | None] = []

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
    if causes:
        raise TransactionLost("The transaction was lost in a write whose failure Airflow caught.") from causes[0]
