"""Files change while a processor runs: afterwards the database says what the files say."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dag_files
import pytest
from running_gateway import RunningGateway
from running_processor import QUICK, RunningProcessor, local_bundle, processor_of
from stored_rows import active_dags, import_errors, ledger, stale_dags

TWO_DAGS = dag_files.DAILY.format(dag_id="stays") + dag_files.DAILY.format(dag_id="leaves")


@pytest.fixture(scope="module")
def processor(gateway: RunningGateway, home: Path) -> Iterator[RunningProcessor]:
    dag_files.write(
        home / "first",
        removed=dag_files.DAILY.format(dag_id="removed"),
        two=TWO_DAGS,
        broken=dag_files.BROKEN,
        owner=dag_files.DAILY.format(dag_id="contested"),
    )
    dag_files.write(home / "second", another=dag_files.DAILY.format(dag_id="another"))
    bundles = [local_bundle("first", home / "first"), local_bundle("second", home / "second")]
    with processor_of(gateway, home, bundles, settings=QUICK) as processor:
        processor.start()
        processor.until(
            lambda: len(active_dags()) == 5 and "broken.py" in import_errors(), "all files are stored", timeout=60
        )
        yield processor


def test_the_dags_of_a_deleted_file_become_stale(processor: RunningProcessor, home: Path) -> None:
    (home / "first" / "removed.py").unlink()

    processor.until(lambda: "removed" in stale_dags(), "the DAG is stale")

    processor.until(lambda: "first/removed.py" not in ledger(), "the ledger has forgotten the file")


def test_a_dag_that_left_its_file_becomes_stale(processor: RunningProcessor, home: Path) -> None:
    dag_files.write(home / "first", two=dag_files.DAILY.format(dag_id="stays"))

    processor.until(lambda: "leaves" in stale_dags(), "the DAG is stale")

    assert "stays" in active_dags()


def test_a_dag_that_returns_to_its_file_is_active_again(processor: RunningProcessor, home: Path) -> None:
    dag_files.write(home / "first", two=TWO_DAGS)

    processor.until(lambda: "leaves" in active_dags(), "the DAG is active")


def test_repairing_a_file_clears_its_import_error(processor: RunningProcessor, home: Path) -> None:
    dag_files.write(home / "first", broken=dag_files.DAILY.format(dag_id="repaired"))

    processor.until(lambda: "repaired" in active_dags(), "the DAG is stored")

    assert "broken.py" not in import_errors()


def test_the_import_error_of_a_deleted_file_goes_away(processor: RunningProcessor, home: Path) -> None:
    dag_files.write(home / "first", short_lived=dag_files.BROKEN)
    processor.until(lambda: "short_lived.py" in import_errors(), "the import error is stored")

    (home / "first" / "short_lived.py").unlink()

    processor.until(lambda: "short_lived.py" not in import_errors(), "the import error is gone")


def test_a_dag_id_stays_with_the_bundle_that_has_it(processor: RunningProcessor, home: Path) -> None:
    dag_files.write(home / "second", claimant=dag_files.DAILY.format(dag_id="contested"))

    row = processor.until(lambda: ledger().get("second/claimant.py"), "the second bundle's file is judged")

    assert (row.status, row.reason) == ("REFUSED", "DAG_OWNED_BY_ANOTHER_BUNDLE")
    assert "contested" in row.message
    assert "first" in row.message
    assert active_dags()["contested"] == "first"


def test_a_dag_id_moves_when_its_first_bundle_has_let_go(processor: RunningProcessor, home: Path) -> None:
    dag_files.write(home / "second", claimant=dag_files.DAILY.format(dag_id="contested"))
    (home / "first" / "owner.py").unlink(missing_ok=True)

    processor.until(lambda: active_dags().get("contested") == "second", "the DAG belongs to the second bundle")
