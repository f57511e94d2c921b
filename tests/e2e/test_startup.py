"""A processor that starts before its gateway, without one, or where it must not."""

from __future__ import annotations

import time
from pathlib import Path

import dag_files
import pytest
from airflow_database import AirflowDatabase
from running_gateway import RunningGateway
from running_processor import local_bundle, processor_of
from stored_rows import active_dags

pytestmark = pytest.mark.any_database


@pytest.fixture
def gateway(database: AirflowDatabase, tmp_path: Path) -> RunningGateway:
    """Not started."""
    return RunningGateway(database, tmp_path)


def test_it_waits_for_the_gateway(gateway: RunningGateway, home: Path) -> None:
    dag_files.write(home / "dags", daily=dag_files.DAILY.format(dag_id="daily"))
    with processor_of(gateway, home, [local_bundle("dags", home / "dags")]) as processor:
        processor.start("--num-runs", "1")
        processor.until(lambda: gateway.url in processor.log, "it says what it is waiting for")
        gateway.start()
        try:
            assert processor.wait() == 0
        finally:
            gateway.stop()
        assert active_dags() == {"daily": "dags"}


def test_it_gives_up_after_a_while_and_says_why(gateway: RunningGateway, home: Path) -> None:
    settings = {"parsegate": {"startup_timeout": "2"}}
    with processor_of(gateway, home, [local_bundle("dags", home / "dags")], settings=settings) as processor:
        processor.log_path.unlink(missing_ok=True)
        started = time.monotonic()
        processor.start("--num-runs", "1")

        assert processor.wait(60) not in (0, -15, -9)

        assert time.monotonic() - started >= 2
        assert gateway.url in processor.log
        assert "Traceback" not in processor.log


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("AIRFLOW__CORE__FERNET_KEY", "qxkTC8dNSqQ9zSnLkT9fGnLXkMmlnIZZFy4c9m3nUr0="),
        ("AIRFLOW__API_AUTH__JWT_SECRET", "a secret"),
        ("AIRFLOW__API_AUTH__JWT_PRIVATE_KEY_PATH", "/some/key.pem"),
        ("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "postgresql://airflow@db/airflow"),
    ],
)
def test_it_refuses_to_start_where_it_sees_a_secret_of_the_gateway(
    gateway: RunningGateway, home: Path, variable: str, value: str
) -> None:
    with processor_of(gateway, home, [local_bundle("dags", home / "dags")], environment={variable: value}) as processor:
        processor.log_path.unlink(missing_ok=True)
        processor.start("--num-runs", "1")

        assert processor.wait(60) not in (0, -15, -9)

        assert variable in processor.log
        assert value not in processor.log
        assert "Traceback" not in processor.log
