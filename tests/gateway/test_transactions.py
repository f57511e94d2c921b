"""One unit of work, one transaction: whoever opened it commits it, whole or not at all."""

from __future__ import annotations

import sqlite3

import pytest
from airflow.models import Variable
from airflow_database import AirflowDatabase
from sqlalchemy import func, select

from parsegate.resolvers.database import TransactionLost, reading, transaction

pytestmark = pytest.mark.usefixtures("airflow_database")


def stored_keys() -> list[str]:
    with reading() as session:
        return list(session.scalars(select(Variable.key).order_by(Variable.key)))


def variable(key: str) -> Variable:
    return Variable(key=key, val="value")


def test_the_end_of_the_block_commits() -> None:
    with transaction() as session:
        session.add(variable("a"))
        assert stored_keys() == []
    assert stored_keys() == ["a"]


def test_an_exception_rolls_everything_back() -> None:
    def fail() -> None:
        with transaction() as session:
            session.add(variable("a"))
            session.flush()
            raise LookupError

    with pytest.raises(LookupError):
        fail()
    assert stored_keys() == []


def test_a_released_savepoint_commits_nothing() -> None:
    """On SQLite a savepoint that begins before anything is written would be a transaction of its own."""

    def fail_after_a_savepoint() -> None:
        with transaction() as session:
            with session.begin_nested():
                session.add(variable("a"))
            raise LookupError

    with pytest.raises(LookupError):
        fail_after_a_savepoint()
    assert stored_keys() == []


def test_a_savepoint_that_is_rolled_back_takes_only_its_own_with_it() -> None:
    with transaction() as session:
        session.add(variable("a"))
        session.flush()
        savepoint = session.begin_nested()
        session.add(variable("b"))
        session.flush()
        savepoint.rollback()
        session.add(variable("c"))
    assert stored_keys() == ["a", "c"]


def test_code_inside_cannot_commit() -> None:
    def commit_inside() -> None:
        with transaction() as session:
            session.add(variable("a"))
            session.commit()

    with pytest.raises(RuntimeError):
        commit_inside()
    assert stored_keys() == []


def test_what_follows_a_rollback_inside_is_not_committed_as_if_it_were_the_whole() -> None:
    def roll_back_inside() -> None:
        with transaction() as session:
            session.add(variable("a"))
            session.flush()
            session.rollback()
            session.add(variable("b"))

    with pytest.raises(TransactionLost):
        roll_back_inside()
    assert stored_keys() == []


def test_what_a_reading_session_writes_is_gone() -> None:
    with reading() as session:
        session.add(variable("a"))
        session.flush()
    assert stored_keys() == []


def test_on_sqlite_nobody_else_writes_between_a_writer_s_first_read_and_its_commit(
    airflow_database: AirflowDatabase,
) -> None:
    if airflow_database.path is None:
        pytest.skip("PostgreSQL takes row locks where the resolvers ask for them.")
    other = sqlite3.connect(airflow_database.path, timeout=0, isolation_level=None)
    with transaction() as session:
        assert session.scalar(select(func.count()).select_from(Variable)) == 0
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")
    other.execute("BEGIN IMMEDIATE")
    other.close()
