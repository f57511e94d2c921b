"""Rows stored through the gateway are those that Airflow's own processor leaves for the same results."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import dag_files
import pytest
from airflow_database import AirflowDatabase, AirflowDatabases
from gateway_app import Gateway
from parsed_files import ParsedFile, parse
from registered_processor import RegisteredProcessor
from table_comparison import differences

NOT_STOCKS = {"job": ["*"]}
"""Only a registered processor has a Job; here nothing registers for stock."""


@dataclass
class TwoDatabases:
    """The same results go into both: through Airflow's own processor, and through the gateway."""

    stock: AirflowDatabase
    ours: AirflowDatabase
    gateway: Gateway
    processor: RegisteredProcessor
    sequence: int = 0

    def store(self, *files: ParsedFile) -> list[dict]:
        with self.stock.in_use():
            for file in files:
                _store_as_stock(file)
        self.sequence += 1
        with self.ours.in_use():
            return self.processor.record_files(*files, sequence=self.sequence)

    def differences(self) -> list[str]:
        return differences(self.stock.url, self.ours.url, ignoring=NOT_STOCKS)


def _store_as_stock(file: ParsedFile) -> None:
    from airflow.dag_processing.manager import DagFileProcessorManager
    from airflow.dag_processing.processor import DagFileParsingResult
    from airflow.utils.session import create_session

    with create_session() as session:
        DagFileProcessorManager.persist_parsing_result(
            None,  # type: ignore[arg-type]  # it uses nothing of the manager
            bundle_name=file.bundle_name,
            bundle_version=file.bundle_version,
            version_data=file.version_data,
            parsing_result=DagFileParsingResult.model_validate(file.result),
            run_duration=file.parse_duration,
            relative_fileloc=file.relative_fileloc,
            session=session,
        )


def _sync_as_stock(*names: str) -> None:
    from airflow.models.dagbundle import DagBundleModel
    from airflow.utils.session import create_session

    with create_session() as session:
        for name in names:
            bundle = DagBundleModel(name=name)
            bundle.template_params = {}
            session.add(bundle)


@pytest.fixture
def two_databases(airflow_databases: AirflowDatabases, monkeypatch: pytest.MonkeyPatch) -> Iterator[TwoDatabases]:
    # Airflow ignores changes within 30 s of the last; here a change follows at once.
    monkeypatch.setenv("AIRFLOW__CORE__MIN_SERIALIZED_DAG_UPDATE_INTERVAL", "0")
    _stop_the_timetables_clock(monkeypatch)
    stock, ours = airflow_databases.create(), airflow_databases.create()
    with stock.in_use():
        _sync_as_stock("examples", "dags")
    with ours.in_use():
        gateway = Gateway(ours)
        processor = RegisteredProcessor(gateway)
        assert processor.sync("examples", "dags")["status"] == "ACCEPTED"
    yield TwoDatabases(stock, ours, gateway, processor)
    gateway.close()
    for database in (stock, ours):
        airflow_databases.drop(database)


def _stop_the_timetables_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both databases get next runs that were computed at the same moment."""
    import airflow.timetables.interval
    import airflow.timetables.simple
    import airflow.timetables.trigger  # noqa: F401  # all that read the clock must be loaded
    import pendulum

    moment = pendulum.instance(datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC))
    stopped = 0
    for name, module in list(sys.modules.items()):
        if name.startswith("airflow.timetables") and hasattr(module, "utcnow"):
            monkeypatch.setattr(module, "utcnow", lambda: moment)
            stopped += 1
    assert stopped, "Airflow's timetables take the time from elsewhere now"


@pytest.fixture(scope="module")
def examples() -> list[ParsedFile]:
    """Airflow's bundled example DAGs, parsed."""
    import airflow.example_dags

    return parse("examples", Path(airflow.example_dags.__path__[0]))


def test_example_dags(two_databases: TwoDatabases, examples: list[ParsedFile]) -> None:
    outcomes = two_databases.store(*examples)

    assert {outcome["status"] for outcome in outcomes} == {"ACCEPTED"}, outcomes
    assert sum(outcome["dagCount"] for outcome in outcomes) > 50
    assert two_databases.differences() == []

    two_databases.store(*examples)
    assert two_databases.differences() == [], "after an unchanged second pass"


def test_example_dags_reparsed_within_the_update_interval(
    two_databases: TwoDatabases, examples: list[ParsedFile], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__MIN_SERIALIZED_DAG_UPDATE_INTERVAL", "30")
    some = examples[:8]
    two_databases.store(*some)
    two_databases.store(*some)
    assert two_databases.differences() == []


def test_broken_file_zip_warnings_and_several_dags(two_databases: TwoDatabases, tmp_path: Path) -> None:
    dag_files.write(
        tmp_path,
        broken=dag_files.BROKEN,
        daily=dag_files.DAILY.format(dag_id="daily"),
        assets=dag_files.ASSETS,
        varies=RUNTIME_VARYING,
        deadline=DEADLINE,
    )
    # Airflow forgets DAGs of a zip that no name refers to as soon as a later file in it fails.
    packed = dag_files.DAILY.format(dag_id="packed").replace("\n):", "\n) as dag:")
    dag_files.write_zip(tmp_path / "packed.zip", inner=packed, inner_broken=dag_files.BROKEN)
    files = parse("dags", tmp_path)
    assert len(files) == 6
    assert any(file.result["warnings"] for file in files), "the file that varies is warned about"
    zipped = next(file for file in files if file.relative_fileloc == "packed.zip")
    assert list(zipped.result["import_errors"]) == [f"{tmp_path}/packed.zip/inner_broken.py"], "absolute in Airflow"

    outcomes = two_databases.store(*files)

    assert {outcome["status"] for outcome in outcomes} == {"ACCEPTED"}, outcomes
    counts = {outcome["relativeFileloc"]: (outcome["dagCount"], outcome["importErrorCount"]) for outcome in outcomes}
    assert counts["broken.py"] == (0, 1)
    assert counts["assets.py"] == (2, 0)
    assert counts["packed.zip"] == (1, 1)
    assert two_databases.differences() == []


def test_files_that_change(two_databases: TwoDatabases, tmp_path: Path) -> None:
    dag_files.write(
        tmp_path,
        repaired=dag_files.BROKEN,
        breaks=dag_files.DAILY.format(dag_id="breaks"),
        edited=dag_files.DAILY.format(dag_id="edited"),
        assets=dag_files.ASSETS,
    )
    two_databases.store(*parse("dags", tmp_path))
    dag_files.write(
        tmp_path,
        repaired=dag_files.DAILY.format(dag_id="repaired"),
        breaks=dag_files.BROKEN,
        edited=dag_files.DAILY.format(dag_id="edited").replace('"@daily"', '"@hourly"').replace('"e2e", ', ""),
        assets=dag_files.ASSETS.replace("schedule=[orders]", "schedule=None").replace("shop", "store"),
    )
    outcomes = two_databases.store(*parse("dags", tmp_path))

    assert {outcome["status"] for outcome in outcomes} == {"ACCEPTED"}, outcomes
    assert two_databases.differences() == []


def test_new_version_of_a_bundle(two_databases: TwoDatabases, tmp_path: Path) -> None:
    dag_files.write(tmp_path, daily=dag_files.DAILY.format(dag_id="daily"), assets=dag_files.ASSETS)
    files = parse("dags", tmp_path)
    two_databases.store(*(replace(file, bundle_version="a1", version_data={"ref": "main"}) for file in files))
    assert two_databases.differences() == []
    two_databases.store(*(replace(file, bundle_version="b2", version_data={"ref": "other"}) for file in files))
    assert two_databases.differences() == []


def test_the_comparison_sees_a_difference(two_databases: TwoDatabases, tmp_path: Path) -> None:
    dag_files.write(tmp_path, daily=dag_files.DAILY.format(dag_id="daily"))
    (file,) = parse("dags", tmp_path)
    two_databases.store(file)
    with two_databases.ours.in_use():
        two_databases.processor.record(replace(file, parse_duration=7.0).as_input(sequence=9))
    (difference,) = two_databases.differences()
    assert difference.startswith("dag: column last_parse_duration is 7.0 instead of 0.25")


RUNTIME_VARYING = """
from datetime import datetime

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG

with DAG("varies", schedule=None, start_date=datetime.now(), max_active_tasks=7, owner_links={"me": "https://example.com"}):
    EmptyOperator(task_id="only", owner="me", max_active_tis_per_dag=2)
"""

DEADLINE = """
from datetime import datetime, timedelta

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, AsyncCallback, DeadlineAlert, DeadlineReference


async def late():
    pass


with DAG(
    "has_a_deadline",
    schedule=None,
    start_date=datetime(2024, 1, 1),
    deadline=DeadlineAlert(
        reference=DeadlineReference.DAGRUN_QUEUED_AT,
        interval=timedelta(hours=1),
        callback=AsyncCallback("asyncio.sleep"),
        name="late",
    ),
):
    EmptyOperator(task_id="only")
"""
