"""Sessions on Airflow's own engine: one transaction for one unit of work, committed by whoever opened it.

The sessions are unscoped, so two operations never share one, whatever thread they run in. On SQLite a writing
transaction begins with ``BEGIN IMMEDIATE``: the lock is taken before anything is read, and a later RELEASE SAVEPOINT
does not commit half of it (Airflow's SQLite engine would otherwise begin lazily).
"""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from airflow import settings
from sqlalchemy import event
from sqlalchemy.orm import Session

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine
    from sqlalchemy.orm import SessionTransaction

SQLITE_BUSY_TIMEOUT = 30.0
"""Seconds that a transaction on SQLite waits for another process's (the scheduler's) to end."""

# SQLite's own waiting polls, and serves whoever wakes first; threads of this process take turns instead.
_sqlite_turn = threading.RLock()


class TransactionLost(RuntimeError):
    """The transaction was rolled back by code that it called, so what ran before that is gone; nothing was committed.

    Airflow does so on an OperationalError before it tries its own statements again
    (``airflow/dag_processing/collection.py:update_dag_parsing_results_in_db``). Running the whole unit of work again is
    safe.
    """


def airflow_engine() -> Engine:
    """The engine that Airflow configured from ``[database] sql_alchemy_conn``."""
    if settings.engine is None:
        settings.configure_orm()
    return settings.get_engine()


@contextmanager
def transaction() -> Generator[Session]:
    """A writing session; commits when the block ends, rolls back when it raises.

    Only the end of the block commits: a commit inside it raises RuntimeError, a savepoint is fine.

    :raises TransactionLost: the session was rolled back inside the block, and the block went on
    """
    engine = airflow_engine()
    on_sqlite = engine.dialect.name == "sqlite"
    with (
        _sqlite_turn if on_sqlite else nullcontext(),
        Session(engine, autoflush=False, expire_on_commit=False) as session,
    ):
        if on_sqlite:
            connection = session.connection()
            # It lasts as long as the connection, which the pool hands out again and again.
            if connection.info.get("parsegate_busy_timeout") != SQLITE_BUSY_TIMEOUT:
                connection.exec_driver_sql(f"PRAGMA busy_timeout = {SQLITE_BUSY_TIMEOUT * 1000:.0f}")
                connection.info["parsegate_busy_timeout"] = SQLITE_BUSY_TIMEOUT
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        with _whole(session):
            yield session
        session.commit()


@contextmanager
def _whole(session: Session) -> Generator[None]:
    lost = False

    def refuse_commit(session: Session) -> None:
        if not session.in_nested_transaction():
            raise RuntimeError("Only the end of the transaction commits; code inside it tried to.")

    def notice_rollback(session: Session, ended: SessionTransaction) -> None:
        nonlocal lost
        lost = lost or ended.parent is None

    listeners: list[tuple[str, Any]] = [("before_commit", refuse_commit), ("after_soft_rollback", notice_rollback)]
    for name, listener in listeners:
        event.listen(session, name, listener)
    try:
        yield
    finally:
        for name, listener in listeners:
            event.remove(session, name, listener)
    if lost:
        raise TransactionLost("The transaction was rolled back before its end; nothing of it was committed.")


@contextmanager
def reading() -> Generator[Session]:
    """A session for queries only; nothing it does is committed."""
    with Session(airflow_engine(), autoflush=False, expire_on_commit=False) as session:
        yield session
