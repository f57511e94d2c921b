"""How many SQL statements the gateway adds to those of Airflow's own write path."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from parsed_files import ParsedFile
from registered_processor import RegisteredProcessor


@contextmanager
def _statements() -> Iterator[list[str]]:
    from airflow import settings
    from sqlalchemy import event

    seen: list[str] = []

    def see(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        seen.append(statement)

    engine = settings.get_engine()
    event.listen(engine, "before_cursor_execute", see)
    try:
        yield seen
    finally:
        event.remove(engine, "before_cursor_execute", see)


def test_a_stored_result_costs_five_statements_beyond_airflows_own(
    processor: RegisteredProcessor, daily: ParsedFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The Job's state, the bundle's, the ledger's row twice, the DAGs' owners; on SQLite the lock and its limit."""
    from parsegate.resolvers import parse_results

    airflows: list[int] = []
    store = parse_results.update_dag_parsing_results_in_db

    def counted(*arguments: Any, **named: Any) -> None:
        before = len(seen)
        store(*arguments, **named)
        airflows.append(len(seen) - before)

    monkeypatch.setattr(parse_results, "update_dag_parsing_results_in_db", counted)
    for sequence in (1, 2):
        with _statements() as seen:
            (outcome,) = processor.record(daily.as_input(sequence=sequence))
        assert outcome["status"] == "ACCEPTED"
        own = len(seen) - airflows[-1]
        assert own <= (7 if processor.gateway.database.kind == "sqlite" else 5), seen


def test_maintenance_takes_as_many_statements_for_many_dags_as_for_few(
    processor: RegisteredProcessor, daily: ParsedFile
) -> None:
    def named(number: int) -> dict[str, Any]:
        item = daily.as_input(relativeFileloc=f"{number}.py")
        item["dags"][0]["document"]["dag"].update(dag_id=f"dag_{number}", relative_fileloc=f"{number}.py")
        return item

    counts: list[tuple[int, int, int]] = []
    for numbers in (range(2), range(2, 30)):
        processor.record(*(named(number) for number in numbers))
        with _statements() as stale:
            processor.send("DeactivateStaleDags", input={"staleDagThreshold": 0.0})
        with _statements() as purge:
            processor.send("PurgeInactiveDagWarnings")
        with _statements() as reconcile:
            files = [f"{number}.py" for number in numbers]
            processor.send("ReconcileBundle", input={"bundleName": "dags", "files": files, "observedFilelocs": files})
        counts.append((len(stale), len(purge), len(reconcile)))
    # The second reconciliation finds files that are gone: it writes more, however many they are.
    assert counts[0][:2] == counts[1][:2]
    assert counts[1][2] <= counts[0][2] + 12, counts
