"""Sessions on Airflow's own engine: one transaction for one unit of work, committed by whoever opened it.

The sessions are unscoped, so two operations never share one, whatever thread they run in. On SQLite a writing
transaction begins with ``BEGIN IMMEDIATE``: the lock is taken before anything is read, and a later RELEASE SAVEPOINT
does not commit half of it (Airflow's SQLite engine would otherwise begin lazily).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from airflow import settings
from sqlalchemy import text
from sqlalchemy.orm import Session

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine


def airflow_engine() -> Engine:
    """The engine that Airflow configured from ``[database] sql_alchemy_conn``."""
    if settings.engine is None:
        settings.configure_orm()
    return settings.get_engine()


@contextmanager
def transaction() -> Iterator[Session]:
    """A writing session; commits when the block ends, rolls back when it raises."""
    with Session(airflow_engine(), autoflush=False, expire_on_commit=False) as session:
        if session.get_bind().dialect.name == "sqlite":
            session.execute(text("BEGIN IMMEDIATE"))
        yield session
        session.commit()


@contextmanager
def reading() -> Iterator[Session]:
    """A session for queries only; nothing it does is committed."""
    with Session(airflow_engine(), autoflush=False, expire_on_commit=False) as session:
        yield session
