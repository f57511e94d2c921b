"""The databases that the other tests stand on."""

from __future__ import annotations

import subprocess
import sys

import pytest
from airflow_database import AirflowDatabase, AirflowDatabases
from sqlalchemy import text
from sqlalchemy.exc import OperationalError


def add_pool(name: str) -> None:
    from airflow import settings

    with settings.get_engine().begin() as connection:
        connection.execute(
            text("INSERT INTO slot_pool (pool, slots, include_deferred) VALUES (:name, 1, :deferred)"),
            {"name": name, "deferred": False},
        )


def pools() -> set[str]:
    from airflow import settings

    with settings.get_engine().connect() as connection:
        return set(connection.execute(text("SELECT pool FROM slot_pool")).scalars())


@pytest.mark.parametrize("attempt", [1, 2])
def test_each_test_has_a_database_of_its_own(airflow_database: AirflowDatabase, attempt: int) -> None:
    assert pools() == {"default_pool"}

    add_pool("another")

    assert pools() == {"default_pool", "another"}


def test_airflow_and_parsegate_have_migrated_it(airflow_database: AirflowDatabase) -> None:
    from airflow import settings
    from sqlalchemy import inspect

    tables = set(inspect(settings.get_engine()).get_table_names())

    assert {"dag", "serialized_dag", "alembic_version"} <= tables
    assert {"parsegate_file", "parsegate_claim", "parsegate_processor", "parsegate_alembic_version"} <= tables


def test_another_process_uses_it_too(airflow_database: AirflowDatabase) -> None:
    add_pool("seen_elsewhere")

    output = subprocess.run(
        [sys.executable, "-m", "airflow", "pools", "list", "--output", "plain"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout

    assert "seen_elsewhere" in output


def test_a_second_database_can_be_used_for_a_while(
    airflow_database: AirflowDatabase, airflow_databases: AirflowDatabases
) -> None:
    second = airflow_databases.create()
    with second.in_use():
        add_pool("in_the_second")

    assert pools() == {"default_pool"}
    airflow_databases.drop(second)


def test_without_the_fixture_there_is_no_database() -> None:
    with pytest.raises(OperationalError):
        pools()
