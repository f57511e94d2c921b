"""What a processor asks for over and over again costs the same however many DAGs and files there are."""

from __future__ import annotations

import uuid
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from executed_statements import ExecutedStatement, executed_statements
from many_rows import (
    insert_claims,
    insert_dags,
    insert_files,
    insert_import_errors,
    insert_triggerer_callbacks,
    insert_warnings,
)
from registered_processor import RegisteredProcessor, operation_documents

FEW, MANY = range(10), range(10, 1010)
Operation = tuple[str, dict[str, Any]]


POLL: Operation = ("WaitingWork", {"bundleNames": ["dags"]})
"""What the agent asks every two seconds."""


def _claims() -> list[Operation]:
    return [
        (name, {"input": {"claimId": str(uuid.uuid4()), "limit": 100}})
        for name in ("ClaimCallbacks", "ClaimParseRequests")
    ]


def _reconcile(files: list[str]) -> Operation:
    return "ReconcileBundle", {"input": {"bundleName": "dags", "files": files, "observedFilelocs": files}}


SCAN: Operation = ("DeactivateStaleDags", {"input": {"staleDagThreshold": 50.0}})
PURGE: Operation = ("PurgeInactiveDagWarnings", {})


def _execute(processor: RegisteredProcessor, *operations: Operation) -> list[Any]:
    """The value of each operation's only field; they are sent as one array, as the agent does."""
    documents = operation_documents()
    answers = processor.gateway.execute_batch(
        *((documents[name], variables) for name, variables in operations), token=processor.token
    )
    assert not [answer for answer in answers if "errors" in answer], answers
    return [value for answer in answers for value in answer["data"].values()]


def _costs(processor: RegisteredProcessor, operations: Mapping[str, list[Operation]]) -> dict[str, list[str]]:
    """The statements of each."""
    costs: dict[str, list[str]] = {}
    for name, batch in operations.items():
        with executed_statements() as executed:
            _execute(processor, *batch)
        _bounded(executed)
        costs[name] = [statement.text for statement in executed]
    return costs


def _bounded(executed: list[ExecutedStatement]) -> None:
    for statement in executed:
        assert len(statement.values) <= 1010, statement.text[:200]


def _everything(numbers: range) -> None:
    """Rows of every kind that the loop looks at, none of which is to be changed or handed out."""
    from airflow._shared.timezones.timezone import utcnow

    insert_dags(numbers)
    insert_files(numbers)
    insert_warnings(numbers)
    insert_import_errors(numbers, file="{number}.py")
    insert_triggerer_callbacks(numbers)
    for kind in ("CALLBACK", "PARSE_REQUEST"):
        insert_claims(numbers, kind=kind, state="PARKED")
        insert_claims(numbers, kind=kind, state="WAITING", expires_at=utcnow() + timedelta(hours=1))


def test_asking_in_vain_costs_as_little_with_a_thousand_rows_of_each_kind_as_with_ten(
    processor: RegisteredProcessor,
) -> None:
    costs: list[dict[str, list[str]]] = []
    rows: list[int] = []
    for numbers in (FEW, MANY):
        _everything(numbers)
        files = [f"{number}.py" for number in range(numbers.stop)]
        _execute(processor, _reconcile(files))
        costs.append(
            _costs(
                processor,
                {
                    "poll": [POLL],
                    "claims": _claims(),
                    "heartbeat": [("Heartbeat", {})],
                    "renewal": [("RenewClaims", {"leaseIds": [str(uuid.uuid4())]})],
                    "scan": [SCAN],
                    "purge": [PURGE],
                    "reconciliation": [_reconcile(files)],
                },
            )
        )
        with executed_statements() as executed:
            _execute(processor, POLL, *_claims(), SCAN, PURGE)
        rows.append(sum(statement.count_rows() for statement in executed))
    assert costs[0] == costs[1]
    assert rows[0] == rows[1] == 5, "the bundle's state, and of the others whether the Job runs"

    numbers_of_statements = {name: len(statements) for name, statements in costs[1].items()}
    lock = 1 if processor.gateway.database.kind == "sqlite" else 0
    assert numbers_of_statements == {
        "poll": 1,
        "claims": 2,
        "heartbeat": 1 + lock,
        "renewal": 2 + lock,
        "scan": 2,
        "purge": 1,
        "reconciliation": 7,
    }


def test_what_changes_is_written_with_as_many_statements_for_a_thousand_rows_as_for_ten(
    processor: RegisteredProcessor,
) -> None:
    from airflow._shared.timezones.timezone import utcnow

    counts: list[dict[str, int]] = []
    _execute(processor, _reconcile([]))
    for numbers in (FEW, MANY):
        insert_dags(numbers, last_parsed=utcnow() - timedelta(minutes=2))
        insert_files(numbers)
        insert_warnings(numbers)
        insert_import_errors(numbers)
        executed: dict[str, int] = {}
        for name, operation, answer in (
            ("scan", SCAN, {"deactivatedDagIds": sorted(f"dag_{number}" for number in numbers)}),
            ("purge", PURGE, {"purgedCount": len(numbers)}),
            (
                "reconciliation",
                _reconcile([]),
                {"removedImportErrorCount": len(numbers), "forgottenFileCount": len(numbers)},
            ),
        ):
            with executed_statements() as statements:
                (payload,) = _execute(processor, operation)
            _bounded(statements)
            assert answer.items() <= payload.items()
            executed[name] = len(statements)
        counts.append(executed)
    assert counts[0] == counts[1]


def test_many_rows_are_changed_in_statements_of_a_bounded_size(processor: RegisteredProcessor) -> None:
    from airflow._shared.timezones.timezone import utcnow

    numbers = range(2100)
    insert_dags(numbers, last_parsed=utcnow() - timedelta(minutes=2))
    insert_dags(range(2100, 2200))
    insert_files(numbers)
    insert_import_errors(numbers)
    with executed_statements() as executed:
        scan, reconciliation = _execute(processor, SCAN, _reconcile([]))
    _bounded(executed)
    assert len(scan["deactivatedDagIds"]) == 2100
    assert len(reconciliation["deactivatedDagIds"]) == 100
    assert (reconciliation["removedImportErrorCount"], reconciliation["forgottenFileCount"]) == (2100, 2100)
    updates = [statement for statement in executed if statement.text.startswith("UPDATE dag ")]
    assert len(updates) == 3 + 1


@contextmanager
def _somebody_writes(processor: RegisteredProcessor) -> Generator[None]:
    """On SQLite, where one writes at a time, somebody does; elsewhere they have locked the processor's rows."""
    from airflow import settings
    from airflow.jobs.job import Job
    from sqlalchemy import select

    from parsegate.resolvers.tables import Processor

    with settings.get_engine().connect() as connection:
        if processor.gateway.database.kind == "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        else:
            for table in (Job.__table__, Processor.__table__):
                connection.execute(select(table).with_for_update())
        yield
        connection.rollback()


@pytest.mark.timeout(25)
def test_asking_in_vain_waits_for_nobody_who_writes(processor: RegisteredProcessor) -> None:
    _everything(FEW)
    reconcile = _reconcile([f"{number}.py" for number in FEW])
    _execute(processor, reconcile)
    with _somebody_writes(processor):
        _execute(processor, POLL, *_claims(), SCAN, PURGE, reconcile)
