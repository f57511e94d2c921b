"""The same numbers in Airflow's own stats: a real statsd client, and a real socket that hears it."""

from __future__ import annotations

import socket
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from airflow._shared.observability.metrics import stats
from airflow._shared.observability.metrics.base_stats_logger import NoStatsLogger
from airflow_database import AirflowDatabase
from dag_content import DagContent, FileContent
from gateway_app import Gateway
from registered_processor import RegisteredProcessor

from parsegate.gateway.level_reports import LevelReports
from parsegate.resolvers import metrics

pytestmark = pytest.mark.any_database


class Statsd:
    """A socket that statsd clients send to."""

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.settimeout(10)

    @property
    def port(self) -> int:
        return self.socket.getsockname()[1]

    def heard_until(self, name: str) -> list[str]:
        """What was sent, up to the first metric of this name."""
        heard: list[str] = []
        while not heard or not heard[-1].startswith(f"{name}:"):
            heard.append(self.socket.recv(65536).decode())
        return heard


@pytest.fixture
def statsd(monkeypatch: pytest.MonkeyPatch) -> Iterator[Statsd]:
    statsd = Statsd()
    settings = {"STATSD_ON": "True", "STATSD_HOST": "127.0.0.1", "STATSD_PORT": str(statsd.port)}
    for name, value in settings.items():
        monkeypatch.setenv(f"AIRFLOW__METRICS__{name}", value)
    yield statsd
    statsd.socket.close()
    stats._get_backend().statsd.close()
    monkeypatch.undo()
    metrics.tell_airflow()
    stats.initialize(factory=NoStatsLogger, export_legacy_names=True)


def store_one(database: AirflowDatabase) -> Gateway:
    gateway = Gateway(database)
    processor = RegisteredProcessor(gateway)
    processor.sync("dags.of/team")
    file = FileContent("one.py", (DagContent("one", "daily"),)).parsed(Path("/bundles"), datetime.now(UTC))
    result = file.as_input(bundleName="dags.of/team", attemptId=str(uuid.uuid4()))
    assert processor.record(result)[0]["status"] == "ACCEPTED"
    return gateway


def test_counts_and_durations_are_sent_as_they_happen(airflow_database: AirflowDatabase, statsd: Statsd) -> None:
    gateway = store_one(airflow_database)
    heard = statsd.heard_until("airflow.parsegate.operation_duration.recordParseResults.ok")
    assert "airflow.parsegate.parse_results:1|c" in heard
    # Plain statsd has no tags: their values are parts of the name, as in Airflow's own legacy names.
    assert "airflow.parsegate.parse_results.stored.dags__of_team:1|c" in heard
    assert heard[-1].endswith("|ms")
    gateway.close()


def test_tags_take_the_place_of_long_names_where_the_backend_has_them(
    airflow_database: AirflowDatabase, statsd: Statsd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__METRICS__STATSD_INFLUXDB_ENABLED", "True")
    monkeypatch.setenv("AIRFLOW__METRICS__LEGACY_NAMES_ON", "False")
    gateway = store_one(airflow_database)
    heard = statsd.heard_until("airflow.parsegate.operation_duration,operation=recordParseResults,result=ok")
    assert "airflow.parsegate.parse_results,outcome=stored,bundle=dags.of/team:1|c" in heard
    assert not any(line.startswith("airflow.parsegate.parse_results.") for line in heard)
    gateway.close()


def test_levels_are_sent_by_the_clock(airflow_database: AirflowDatabase, statsd: Statsd) -> None:
    gateway = store_one(airflow_database)
    reports = LevelReports(interval=0.01)
    reports.start()
    heard = statsd.heard_until("airflow.parsegate.database_up")
    assert "airflow.parsegate.processors.alive:1|g" in heard
    assert "airflow.parsegate.files.dags__of_team.STORED:1|g" in heard
    reports.stop()
    gateway.close()


def test_airflow_is_told_nothing_unless_it_listens(airflow_database: AirflowDatabase) -> None:
    store_one(airflow_database).close()
    assert not metrics.airflow_is_told()
