"""DAGs that are gone from their files, and their warnings."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import dag_files
import pytest
from gateway_app import Gateway
from parsed_files import ParsedFile, parse
from registered_processor import RegisteredProcessor


def _deactivate(processor: RegisteredProcessor, threshold: float = 50.0) -> list[str]:
    payload = processor.send("DeactivateStaleDags", input={"staleDagThreshold": threshold})
    assert payload["status"] == "ACCEPTED", payload
    return payload["deactivatedDagIds"]


def _last_found(seconds_ago: float, *dag_ids: str) -> None:
    """Move ``last_parsed_time`` of these DAGs to as long before their file was last parsed."""
    from airflow.models.dag import DagModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        for dag in session.scalars(select(DagModel).where(DagModel.dag_id.in_(dag_ids))).unique():
            assert dag.last_parsed_time is not None
            dag.last_parsed_time -= timedelta(seconds=seconds_ago)


def _stale() -> set[str]:
    from airflow.models.dag import DagModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        return set(session.scalars(select(DagModel.dag_id).where(DagModel.is_stale)))


def _without_dags(file: ParsedFile, **fields: Any) -> dict[str, Any]:
    return file.as_input(dags=[], sources=[], **fields)


def test_a_dag_that_its_file_no_longer_yields_becomes_stale_after_the_threshold(
    processor: RegisteredProcessor, daily: ParsedFile
) -> None:
    processor.record(daily.as_input(sequence=1))
    assert _deactivate(processor) == []
    processor.record(_without_dags(daily, sequence=2))
    assert _deactivate(processor) == [], "within the threshold"
    _last_found(60, "daily")
    assert _deactivate(processor, 70.0) == []
    assert _deactivate(processor) == ["daily"]
    assert _stale() == {"daily"}
    assert _deactivate(processor) == []

    processor.record(daily.as_input(sequence=3))
    assert _stale() == set(), "it is back"


def test_a_file_that_keeps_timing_out_makes_its_dags_stale_as_in_airflow(
    processor: RegisteredProcessor, daily: ParsedFile
) -> None:
    processor.record(daily.as_input(sequence=1))
    _last_found(60, "daily")
    processor.record(_without_dags(daily, sequence=2, timedOut=True))
    assert _deactivate(processor) == ["daily"]


def test_a_file_that_was_not_parsed_again_makes_nothing_stale_however_old_it_is(
    processor: RegisteredProcessor, daily: ParsedFile
) -> None:
    """An outage delays results; what is not recorded is no reason to think that a DAG is gone."""
    from airflow.utils.session import create_session
    from sqlalchemy import select

    from parsegate.resolvers.tables import ParsedFile as LedgerRow

    processor.record(daily.as_input())
    _last_found(100_000, "daily")
    with create_session() as session:
        row = session.scalars(select(LedgerRow)).one()
        row.last_parsed_at -= timedelta(seconds=100_000)
    assert _deactivate(processor) == []


def test_a_dag_in_a_zip_is_judged_by_the_zip(processor: RegisteredProcessor, tmp_path: Path) -> None:
    dag_files.write_zip(tmp_path / "packed.zip", inner=dag_files.DAILY.format(dag_id="packed"))
    (file,) = parse("dags", tmp_path)
    processor.record(file.as_input(sequence=1))
    _last_found(60, "packed")
    processor.record(_without_dags(file, sequence=2))
    assert _deactivate(processor) == ["packed"]


def test_inactive_bundles_and_none_are_for_processors_of_all_bundles(gateway: Gateway, daily: ParsedFile) -> None:
    everything = RegisteredProcessor(gateway)
    everything.sync("dags", "others")
    everything.record(daily.as_input())
    everything.sync("others", deactivateMissing=True)
    limited = RegisteredProcessor(gateway, ["dags", "others"])
    assert _deactivate(limited) == []
    assert _deactivate(everything) == ["daily"]


def test_dags_of_bundles_that_are_not_granted_are_left_alone(gateway: Gateway, daily: ParsedFile) -> None:
    everything = RegisteredProcessor(gateway)
    everything.sync("dags", "others")
    everything.record(daily.as_input(sequence=1), _without_dags(daily, sequence=2))
    _last_found(60, "daily")
    assert _deactivate(RegisteredProcessor(gateway, ["others"])) == []
    assert _deactivate(RegisteredProcessor(gateway, ["dags"])) == ["daily"]


@pytest.mark.parametrize("threshold", [-1.0, -1e300])
def test_a_threshold_that_makes_no_sense_is_refused(processor: RegisteredProcessor, threshold: float) -> None:
    payload = processor.send("DeactivateStaleDags", input={"staleDagThreshold": threshold})
    assert payload["reason"] == "INVALID_ARGUMENT"


def test_an_enormous_threshold_makes_nothing_stale(processor: RegisteredProcessor, daily: ParsedFile) -> None:
    processor.record(daily.as_input())
    assert _deactivate(processor, 1e300) == []


def test_the_same_dags_become_stale_as_with_stock(
    gateway: Gateway, processor: RegisteredProcessor, tmp_path: Path
) -> None:
    """Stock's own scan of the same rows, with the ledger's times as the files' last finish, finds the same."""
    from airflow.dag_processing.manager import DagFileInfo, DagFileProcessorManager
    from airflow.utils.session import create_session
    from sqlalchemy import select

    from parsegate.resolvers.tables import ParsedFile as LedgerRow

    processor.sync("dags", "gone")
    dag_files.write(tmp_path, **{name: dag_files.DAILY.format(dag_id=name) for name in ("kept", "dropped", "recent")})
    dag_files.write_zip(tmp_path / "packed.zip", inner=dag_files.DAILY.format(dag_id="packed"))
    files = {file.relative_fileloc: file for file in parse("dags", tmp_path)}
    processor.record_files(*files.values())
    (orphan, *_) = files.values()
    renamed = orphan.as_input(bundleName="gone")
    renamed["dags"][0]["document"]["dag"]["dag_id"] = "orphan"
    processor.record(renamed)
    processor.sync("dags", deactivateMissing=True)
    _last_found(60, "dropped", "packed", "orphan")

    with create_session() as session:
        last_parsed = {
            DagFileInfo(rel_path=Path(row.relative_fileloc), bundle_name=row.bundle_name): row.last_parsed_at
            for row in session.scalars(select(LedgerRow))
        }

    class Manager:
        stale_dag_threshold = 50

        class log:
            info = warning = exception = staticmethod(lambda *_, **__: None)

    with create_session() as session:
        DagFileProcessorManager.deactivate_stale_dags.__wrapped__(Manager, last_parsed, session=session)  # type: ignore[attr-defined]
        session.flush()
        from airflow.models.dag import DagModel

        by_stock = set(session.scalars(select(DagModel.dag_id).where(DagModel.is_stale)))
        session.rollback()

    assert by_stock == {"dropped", "packed", "orphan"}
    assert set(_deactivate(processor)) == by_stock


def test_warnings_of_stale_dags_are_purged_in_granted_bundles(gateway: Gateway, daily: ParsedFile) -> None:
    processor = RegisteredProcessor(gateway)
    processor.sync("dags", "others")
    warning = {"warningType": "non-existent pool", "message": "m"}

    def warned(bundle_name: str, dag_id: str) -> dict[str, Any]:
        item = daily.as_input(bundleName=bundle_name, warnings=[{"dagId": dag_id, **warning}])
        item["relativeFileloc"] = f"{dag_id}.py"
        item["dags"][0]["document"]["dag"].update(dag_id=dag_id, relative_fileloc=f"{dag_id}.py")
        return item

    processor.record(*(warned(*pair) for pair in (("dags", "a"), ("dags", "b"), ("others", "c"))))
    processor.send("ReconcileBundle", input={"bundleName": "dags", "files": ["b.py"], "observedFilelocs": ["b.py"]})
    processor.send("ReconcileBundle", input={"bundleName": "others", "files": [], "observedFilelocs": []})
    assert _stale() == {"a", "c"}

    assert RegisteredProcessor(gateway, ["dags"]).send("PurgeInactiveDagWarnings")["purgedCount"] == 1
    assert _warned() == {"b", "c"}
    assert processor.send("PurgeInactiveDagWarnings")["purgedCount"] == 1
    assert _warned() == {"b"}
    assert processor.send("PurgeInactiveDagWarnings")["purgedCount"] == 0


def _warned() -> set[str]:
    from airflow.models.dagwarning import DagWarning
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        return set(session.scalars(select(DagWarning.dag_id)))
