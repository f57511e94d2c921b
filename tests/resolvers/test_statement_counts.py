"""How many SQL statements the gateway adds to those of Airflow's own write path."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from dag_content import DagContent, FileContent
from executed_statements import executed_statements
from parsed_files import ParsedFile
from registered_processor import RegisteredProcessor


def test_a_stored_result_costs_five_statements_beyond_airflows_own(
    processor: RegisteredProcessor, daily: ParsedFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The Job's state, the bundle's, the ledger's row twice, the DAGs' owners; on SQLite the lock and its limit."""
    from parsegate.resolvers import dag_writes

    airflows: list[int] = []
    store = dag_writes.update_dag_parsing_results_in_db

    def counted(*arguments: Any, **named: Any) -> None:
        before = len(seen)
        store(*arguments, **named)
        airflows.append(len(seen) - before)

    monkeypatch.setattr(dag_writes, "update_dag_parsing_results_in_db", counted)
    for sequence in (1, 2):
        with executed_statements() as seen:
            (outcome,) = processor.record(daily.as_input(sequence=sequence))
        assert outcome["status"] == "ACCEPTED"
        own = len(seen) - airflows[-1]
        assert own <= (7 if processor.gateway.database.kind == "sqlite" else 5), seen


def test_results_that_are_stored_together_share_a_transaction_and_its_statements(
    processor: RegisteredProcessor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only what Airflow asks about the version of each DAG is asked for each."""
    monkeypatch.setenv("AIRFLOW__CORE__MIN_SERIALIZED_DAG_UPDATE_INTERVAL", "0")
    counts: dict[int, list[int]] = {}
    for count in (4, 12):
        files = [FileContent(f"{count}_{n}.py", (DagContent(f"dag_{count}_{n}", tags=("t",)),)) for n in range(count)]
        edited = [replace(file, dags=(replace(file.dags[0], tasks=2),), comment="edited") for file in files]
        for sequence, some in enumerate((files, edited)):
            parsed = [file.parsed(Path("/bundles"), datetime.now(UTC)) for file in some]
            with executed_statements() as seen, _commits() as committed:
                outcomes = processor.record_files(*parsed, sequence=sequence)
            assert {outcome["status"] for outcome in outcomes} == {"ACCEPTED"}
            assert len(committed) == 1
            counts.setdefault(count, []).append(len(seen))
    (few_new, few_edited), (many_new, many_edited) = counts[4], counts[12]
    # For the number of its version.
    assert many_new - few_new <= 8 * 1, counts
    # Whether it has run, and its document.
    assert many_edited - few_edited <= 8 * 2, counts


@contextmanager
def _commits() -> Iterator[list[Any]]:
    from airflow import settings
    from sqlalchemy import event

    committed: list[Any] = []

    def note(connection: Any) -> None:
        committed.append(connection)

    engine = settings.get_engine()
    event.listen(engine, "commit", note)
    try:
        yield committed
    finally:
        event.remove(engine, "commit", note)
