"""Faults of the database while a result is stored: everything of it is done again, or nothing of it is there."""

from __future__ import annotations

import logging
import threading
from typing import Any

import pytest
from gateway_app import Gateway
from parsed_files import ParsedFile
from registered_processor import RegisteredProcessor
from sqlalchemy.exc import IntegrityError, OperationalError


def _count(model: Any) -> int:
    from airflow.utils.session import create_session
    from sqlalchemy import func, select

    with create_session() as session:
        return session.scalar(select(func.count()).select_from(model)) or 0


def _failing_writes(monkeypatch: pytest.MonkeyPatch, failures: int, error: Exception) -> list[int]:
    """Let the first ``failures`` of Airflow's bulk writes fail after they have written; what they were asked counts."""
    from airflow.serialization.definitions.dag import SerializedDAG

    calls: list[int] = []
    write = SerializedDAG.bulk_write_to_db.__func__  # type: ignore[attr-defined]

    def fail(cls: type, *arguments: Any, **named: Any) -> None:
        calls.append(len(calls))
        write(cls, *arguments, **named)
        if len(calls) <= failures:
            raise error

    monkeypatch.setattr(SerializedDAG, "bulk_write_to_db", classmethod(fail))
    return calls


def _operational() -> OperationalError:
    return OperationalError("UPDATE dag", {}, Exception("deadlock detected"))


def test_a_passing_fault_repeats_the_whole_result(
    processor: RegisteredProcessor, daily: ParsedFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.models.dag import DagModel

    from parsegate.resolvers import judgements, ledger

    checks: list[str] = []
    owners, entries = judgements._owned_by_others, ledger.entries
    monkeypatch.setattr(judgements, "_owned_by_others", lambda *a: (checks.append("owners"), owners(*a))[1])
    monkeypatch.setattr(ledger, "entries", lambda *a: (checks.append("ledger"), entries(*a))[1])
    calls = _failing_writes(monkeypatch, 1, _operational())

    (outcome,) = processor.record(daily.as_input())

    assert outcome["status"] == "ACCEPTED"
    assert len(calls) == 2, "Airflow's own retry was stopped, ours succeeded"
    assert checks == ["ledger", "owners"] * 2
    from parsegate.resolvers.tables import ParsedFile as LedgerRow

    assert (_count(DagModel), _count(LedgerRow)) == (1, 1)


def test_a_lasting_fault_fails_the_item_alone_and_leaves_nothing(
    processor: RegisteredProcessor,
    daily: ParsedFile,
    broken: ParsedFile,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    from airflow.models.dag import DagModel
    from airflow.models.errors import ParseImportError

    from parsegate.resolvers.tables import ParsedFile as LedgerRow

    error = _operational()
    with monkeypatch.context() as patched:
        from airflow.serialization.definitions.dag import SerializedDAG

        write = SerializedDAG.bulk_write_to_db.__func__  # type: ignore[attr-defined]

        def fail(cls: type, bundle: str, version: Any, dags: Any, *arguments: Any, **named: Any) -> None:
            write(cls, bundle, version, dags, *arguments, **named)
            if dags:
                raise error

        patched.setattr(SerializedDAG, "bulk_write_to_db", classmethod(fail))
        item = daily.as_input()
        with caplog.at_level(logging.ERROR, logger="parsegate.resolvers.parse_results"):
            outcomes = processor.record(item, broken.as_input())

    assert [outcome["status"] for outcome in outcomes] == ["FAILED", "ACCEPTED"]
    assert outcomes[0]["reason"] is None
    assert "deadlock" not in outcomes[0]["message"]
    (logged,) = [record for record in caplog.records if record.name == "parsegate.resolvers.parse_results"]
    request_id = outcomes[0]["message"].split("request ")[1].split(".")[0]
    assert request_id in logged.getMessage()
    assert (_count(DagModel), _count(LedgerRow), _count(ParseImportError)) == (0, 1, 1)

    (again,) = processor.record(item)
    assert again["status"] == "ACCEPTED", "the same attempt may be sent again"


def test_a_constraint_that_keeps_being_violated_is_the_documents_fault(
    processor: RegisteredProcessor, daily: ParsedFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = _failing_writes(monkeypatch, 99, IntegrityError("INSERT INTO dag", {}, Exception("not null")))
    (outcome,) = processor.record(daily.as_input())
    assert (outcome["status"], outcome["reason"]) == ("REFUSED", "INVALID_DOCUMENT")
    assert len(calls) >= 3


def test_a_flush_whose_failure_airflow_catches_is_noticed(
    processor: RegisteredProcessor, daily: ParsedFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Airflow takes a failed write of one document for an import error; a failed flush has lost the transaction."""
    from airflow.models.dag import DagModel, DagTag
    from airflow.models.serialized_dag import SerializedDagModel

    from parsegate.resolvers.tables import ParsedFile as LedgerRow

    def write_dag(*_: Any, session: Any, **__: Any) -> None:
        session.add(DagTag(name=None, dag_id="daily"))
        session.flush()

    monkeypatch.setattr(SerializedDagModel, "write_dag", write_dag)
    (outcome,) = processor.record(daily.as_input())
    assert (outcome["status"], outcome["reason"]) == ("REFUSED", "INVALID_DOCUMENT")
    assert (_count(DagModel), _count(LedgerRow)) == (0, 1)


@pytest.mark.parametrize("caught", ["_update_import_errors", "_update_dag_warnings"])
def test_an_interruption_that_airflow_catches_and_forgets_is_noticed(
    processor: RegisteredProcessor, daily: ParsedFile, monkeypatch: pytest.MonkeyPatch, caught: str
) -> None:
    """Airflow logs what goes wrong with import errors and warnings, and commits the rest."""
    from airflow.dag_processing import collection

    noticing = getattr(collection, caught)
    write = noticing.__wrapped__
    calls: list[int] = []

    def fail_once(*arguments: Any, **named: Any) -> None:
        calls.append(len(calls))
        if len(calls) == 1:
            raise _operational()
        write(*arguments, **named)

    from parsegate.resolvers import lost_transaction

    monkeypatch.setattr(collection, caught, lost_transaction._noticing(fail_once))
    (outcome,) = processor.record(daily.as_input())
    assert (outcome["status"], len(calls)) == ("ACCEPTED", 2)


def test_an_error_in_writing_one_document_becomes_an_import_error_as_in_airflow(
    processor: RegisteredProcessor, daily: ParsedFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.models.errors import ParseImportError
    from airflow.models.serialized_dag import SerializedDagModel

    def write_dag(*_: Any, **__: Any) -> None:
        raise ValueError("this DAG can't be written")

    monkeypatch.setattr(SerializedDagModel, "write_dag", write_dag)
    (outcome,) = processor.record(daily.as_input())
    assert (outcome["status"], outcome["dagCount"], outcome["importErrorCount"]) == ("ACCEPTED", 1, 1)
    assert _count(ParseImportError) == 1


def test_airflow_still_rolls_back_and_retries_on_an_operational_error() -> None:
    """What this module defends against; when it is gone, so may the module be."""
    import inspect

    from airflow.dag_processing import collection

    source = inspect.getsource(collection.update_dag_parsing_results_in_db)
    assert "run_with_db_retries" in source
    assert "session.rollback()" in source


def test_the_same_dag_from_two_bundles_at_once_goes_to_one_of_them(gateway: Gateway, daily: ParsedFile) -> None:
    from airflow.models.dag import DagModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    names = ["a", "b", "c", "d"]
    RegisteredProcessor(gateway).sync(*names)
    processors = {name: RegisteredProcessor(gateway, [name]) for name in names}
    outcomes: dict[str, dict[str, Any]] = {}
    together = threading.Barrier(len(names))

    def record(name: str) -> None:
        together.wait()
        (outcomes[name],) = processors[name].record(daily.as_input(bundleName=name))

    threads = [threading.Thread(target=record, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    winners = [name for name, outcome in outcomes.items() if outcome["status"] == "ACCEPTED"]
    assert len(winners) == 1, outcomes
    assert {outcomes[name]["reason"] for name in names if name not in winners} == {"DAG_OWNED_BY_ANOTHER_BUNDLE"}
    with create_session() as session:
        assert session.scalar(select(DagModel.bundle_name)) == winners[0]


def test_attempts_at_one_file_at_once_end_with_the_newest(processor: RegisteredProcessor, daily: ParsedFile) -> None:
    from airflow.utils.session import create_session
    from sqlalchemy import select

    from parsegate.resolvers.tables import ParsedFile as LedgerRow

    sequences = [3, 1, 4, 2, 5]
    together = threading.Barrier(len(sequences))
    outcomes: list[dict[str, Any]] = []

    def record(sequence: int) -> None:
        together.wait()
        outcomes.extend(processor.record(daily.as_input(sequence=sequence)))

    threads = [threading.Thread(target=record, args=(sequence,)) for sequence in sequences]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {outcome["reason"] for outcome in outcomes} <= {None, "SUPERSEDED"}
    assert all(outcome["status"] != "FAILED" for outcome in outcomes)
    with create_session() as session:
        assert session.scalar(select(LedgerRow.sequence)) == 5
