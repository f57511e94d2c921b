"""What the end-to-end tests of one module share: a database, a gateway that serves it, a processor's home."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from airflow_database import AirflowDatabase, AirflowDatabases
from running_gateway import RunningGateway, running_gateway
from running_processor import processor_home


@pytest.fixture(scope="module")
def database(airflow_databases: AirflowDatabases) -> Iterator[AirflowDatabase]:
    """The module's database; Airflow in the test process uses it too."""
    database = airflow_databases.create()
    with database.in_use():
        yield database
    airflow_databases.drop(database)


@pytest.fixture(scope="module")
def gateway_settings() -> dict[str, str]:
    """Environment variables of the module's gateway; a module that wants some overrides this."""
    return {}


@pytest.fixture(scope="module")
def gateway(
    database: AirflowDatabase, gateway_settings: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningGateway]:
    with running_gateway(database, tmp_path_factory.mktemp("gateway"), **gateway_settings) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    with processor_home() as home:
        yield home
