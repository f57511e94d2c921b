"""Steps that disturb a processor: its database is reset or locked, or what writes to it is another version."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from parse_steps import Step
from processor_sides import Side

if TYPE_CHECKING:
    import time_machine


@dataclass(frozen=True)
class ResetDatabase:
    """``airflow db reset``."""

    def take(self, side: Side, clock: time_machine.Traveller) -> None:
        from airflow import settings
        from airflow.utils.db import resetdb

        resetdb()
        # As if started anew: connections remember the tables that are gone.
        settings.get_engine().dispose()


@dataclass(frozen=True)
class Upgrade:
    """Another version of what writes, which writes something that the one before did not.

    :param name: the constant of ``resolvers/writer_epoch.py`` that holds the version
    """

    name: str

    def take(self, side: Side, clock: time_machine.Traveller) -> None:
        from airflow.dag_processing.collection import DagModelOperation

        from parsegate.resolvers import writer_epoch

        original = DagModelOperation.update_dags

        def update_dags(self: DagModelOperation, orm_dags: dict[str, Any], *arguments: Any, **options: Any) -> None:
            original(self, orm_dags, *arguments, **options)
            for dag in orm_dags.values():
                dag.description = "as the new version writes it"

        side.at_the_end.callback(writer_epoch._versions.cache_clear)
        side.at_the_end.enter_context(patch.object(writer_epoch, self.name, "99"))
        side.at_the_end.enter_context(patch.object(DagModelOperation, "update_dags", update_dags))
        writer_epoch._versions.cache_clear()


@dataclass(frozen=True)
class Locked:
    """A step is taken while another connection has a lock: on SQLite of all tables, on PostgreSQL of one DAG's row.

    :param failures: the lock is given back when so many statements have failed for it; None: when the step is over
    """

    step: Step
    dag_id: str
    failures: int | None = None

    def take(self, side: Side, clock: time_machine.Traveller) -> object:
        from sqlalchemy import event

        failed = 0
        with _impatient_engine() as engine, _lock(engine, self.dag_id) as release:

            def count(context: Any) -> None:
                nonlocal failed
                failed += "lock" in str(context.original_exception)
                if failed == self.failures:
                    release()

            event.listen(engine, "handle_error", count)
            try:
                told = self.step.take(side, clock)
            finally:
                event.remove(engine, "handle_error", count)
        assert failed, "Nothing waited for the lock."
        return told


@dataclass(frozen=True)
class InterruptedAt:
    """On the gateway's side the database interrupts a step once, at the statement of this number, if it comes that far.

    To the other side nothing happens: Airflow does not repeat all of its writes.
    """

    step: Step
    number: int

    def take(self, side: Side, clock: time_machine.Traveller) -> object:
        from airflow import settings
        from sqlalchemy import event
        from sqlalchemy.exc import OperationalError

        if side.is_stock:
            return self.step.take(side, clock)
        numbers = count(1)

        def interrupt(connection: Any, cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
            if next(numbers) == self.number:
                raise OperationalError(statement, None, Exception("database is locked"))

        event.listen(settings.get_engine(), "before_cursor_execute", interrupt)
        try:
            return self.step.take(side, clock)
        finally:
            event.remove(settings.get_engine(), "before_cursor_execute", interrupt)


@contextmanager
def _impatient_engine() -> Generator[Any]:
    """Airflow's engine, which gives up on a lock soon."""
    from airflow import settings
    from sqlalchemy import event

    from parsegate.resolvers import database

    engine = settings.get_engine()

    def connected(connection: Any, _: Any) -> None:
        if engine.dialect.name == "sqlite":
            connection.execute("PRAGMA busy_timeout = 20")
        else:
            connection.cursor().execute("SET lock_timeout = '20ms'")
            connection.commit()

    engine.dispose()
    event.listen(engine, "connect", connected)
    try:
        with patch.object(database, "SQLITE_BUSY_TIMEOUT", 0.02):
            yield engine
    finally:
        event.remove(engine, "connect", connected)
        engine.dispose()


@contextmanager
def _lock(engine: Any, dag_id: str) -> Generator[Callable[[], None]]:
    """Has the lock until the function is called or the block ends."""
    if engine.dialect.name == "sqlite":
        connection: Any = sqlite3.connect(engine.url.database, isolation_level=None, check_same_thread=False)
        connection.execute("BEGIN IMMEDIATE")
    else:
        import psycopg2

        connection = psycopg2.connect(engine.url.set(drivername="postgresql").render_as_string(hide_password=False))
        cursor = connection.cursor()
        cursor.execute("SELECT 1 FROM dag WHERE dag_id = %s FOR UPDATE", [dag_id])
        assert cursor.fetchone()
    try:
        yield connection.rollback
    finally:
        connection.close()
