"""However many DAGs, files and runs there are: storing results looks for rows in indexes, and reads no whole table."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from dag_content import AssetContent, DagContent, FileContent
from deliveries import fingerprint
from executed_statements import ExecutedStatement, executed_statements
from gateway_app import Gateway
from registered_processor import RegisteredProcessor

NEW = [
    FileContent(f"{n}.py", (DagContent(f"own_{n}", tags=("t",), reads=(AssetContent("a"),), owner_link="x://a"),))
    for n in range(6)
]
EDITED = [replace(file, dags=(replace(file.dags[0], tasks=2),), comment="edited") for file in NEW]

GROWING = {
    *("dag", "dag_code", "dag_run", "dag_version", "dag_warning", "parsegate_file", "serialized_dag", "task_instance"),
    *("dag_owner_attributes", "dag_schedule_asset_reference", "dag_tag", "task_inlet_asset_reference"),
}
"""Tables with rows for every DAG, file, run or task. Of ``import_error``, which has rows for failing files alone, there
is no index but that of its id; and of ``asset`` SQLite before 3.46 uses none when it is asked for pairs."""

SCANNED = re.compile(r"SCAN (\w+?)(?:_\d+)?\b")
"""A step of SQLite's plans; an alias has a number."""


@pytest.fixture(autouse=True)
def _on_sqlite(gateway: Gateway) -> None:
    if gateway.database.kind != "sqlite":
        pytest.skip("PostgreSQL chooses by how many rows there are, and reads all of a small table.")


def test_storing_results_reads_no_whole_table(processor: RegisteredProcessor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__MIN_SERIALIZED_DAG_UPDATE_INTERVAL", "0")
    whole_reads = {}
    for sequence, (case, files) in enumerate({"new": NEW, "changed": EDITED, "unchanged, in full": EDITED}.items()):
        parsed = [file.parsed(Path("/bundles"), datetime.now(UTC)) for file in files]
        with executed_statements() as seen:
            outcomes = processor.record(*(it.as_input(sequence=sequence, fingerprint=fingerprint(it)) for it in parsed))
        assert {outcome["status"] for outcome in outcomes} == {"ACCEPTED"}
        whole_reads[case] = set(_whole_reads(seen))
    named = [
        {
            "attemptId": str(uuid.uuid4()),
            "sequence": 9,
            "relativeFileloc": file.relative_fileloc,
            "fingerprint": fingerprint(file),
            "parseDuration": 0.5,
        }
        for file in parsed
    ]
    batch = {"bundleName": "dags", "bundlePath": "/bundles/dags", "results": named}
    with executed_statements() as seen:
        outcome = processor.send("RecordUnchangedResults", batches=[batch])
    assert outcome["recordedCount"] == len(parsed)
    whole_reads["unchanged"] = set(_whole_reads(seen))

    assert {case: found for case, found in whole_reads.items() if found} == {}


def test_a_whole_read_would_be_noticed(processor: RegisteredProcessor) -> None:
    from airflow.models.dagcode import DagCode
    from airflow.utils.session import create_session

    with create_session() as session, executed_statements() as seen:
        DagCode.get_latest_dagcode("daily", session=session)
    assert [table for table, _ in _whole_reads(seen)] == ["dag_code"]


def _whole_reads(executed: Iterable[ExecutedStatement]) -> Iterator[tuple[str, str]]:
    """Each table that a statement reads whole, and the statement."""
    from airflow import settings

    with settings.get_engine().connect() as connection:
        for statement in executed:
            # Of many rows at once, the parameters are a list: those are inserts and updates by the primary key.
            if (
                statement.text.startswith(("SELECT", "WITH", "UPDATE", "DELETE"))
                and type(statement.parameters) is tuple
            ):
                plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement.text}", statement.parameters)
                tables = {found[1] for step in plan if (found := SCANNED.match(step.detail))}
                yield from ((table, statement.text) for table in sorted(tables & GROWING))
