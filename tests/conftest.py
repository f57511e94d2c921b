"""Fixtures that every test may use."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

# Before anything that imports Airflow: it gives this process an AIRFLOW_HOME of its own.
from airflow_database import AirflowDatabase, AirflowDatabases, configured_kind
from gateway_app import gateway as gateway


@pytest.fixture(scope="session")
def airflow_databases() -> Iterator[AirflowDatabases]:
    """Makes fresh databases of the kind under test, for tests that need more than one."""
    databases = AirflowDatabases(configured_kind())
    yield databases
    databases.close()


@pytest.fixture
def airflow_database(airflow_databases: AirflowDatabases) -> Iterator[AirflowDatabase]:
    """A fresh database, migrated by Airflow and parsegate, that Airflow's engine in this process uses."""
    database = airflow_databases.create()
    with database.in_use():
        yield database
    airflow_databases.drop(database)
