"""How many SQL statements the gateway adds to those of Airflow's own write path."""

from __future__ import annotations

from typing import Any

import pytest
from executed_statements import executed_statements
from parsed_files import ParsedFile
from registered_processor import RegisteredProcessor


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
        with executed_statements() as seen:
            (outcome,) = processor.record(daily.as_input(sequence=sequence))
        assert outcome["status"] == "ACCEPTED"
        own = len(seen) - airflows[-1]
        assert own <= (7 if processor.gateway.database.kind == "sqlite" else 5), seen
