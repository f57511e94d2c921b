"""Fixtures that every test may use."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

# Before anything that imports Airflow: it gives this process an AIRFLOW_HOME of its own.
from airflow_database import AirflowDatabase, AirflowDatabases, configured_kind
from gateway_app import gateway as gateway


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The slowest modules first, so that no worker is left with one of them when the others are done.

    On PostgreSQL only what may end differently there: tests that have a database, unless they say that any will do.
    """
    items.sort(key=lambda item: "/e2e/" not in item.nodeid)
    if configured_kind() == "sqlite":
        return
    config.hook.pytest_deselected(items=[item for item in items if not _may_differ(item)])
    items[:] = [item for item in items if _may_differ(item)]


def _may_differ(item: pytest.Item) -> bool:
    has_database = isinstance(item, pytest.Function) and "airflow_databases" in item.fixturenames
    return has_database and item.get_closest_marker("any_database") is None


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
