"""Fixtures of the gateway's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from airflow_database import AirflowDatabase, AirflowDatabases
from gateway_app import Gateway
from running_gateway import RunningGateway
from running_gateway import running_gateway as serving
from tls_files import TlsFiles, make_tls_files


@pytest.fixture
def small_gateway(airflow_database: AirflowDatabase) -> Iterator[Gateway]:
    """The gateway with a small schema of its own, on a fresh database."""
    from small_schema import small_schema

    gateway = Gateway(airflow_database, small_schema())
    yield gateway
    gateway.close()


@pytest.fixture(scope="session")
def running_gateway(
    airflow_databases: AirflowDatabases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningGateway]:
    """A real ``parsegate serve`` with the whole contract, on a database to which nobody writes."""
    database = airflow_databases.create()
    with serving(database, tmp_path_factory.mktemp("gateway")) as gateway:
        yield gateway
    airflow_databases.drop(database)


@pytest.fixture(scope="session")
def tls_files(tmp_path_factory: pytest.TempPathFactory) -> TlsFiles:
    """A private authority and the certificates that it signed."""
    return make_tls_files(tmp_path_factory.mktemp("tls"))
