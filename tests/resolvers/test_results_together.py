"""Results in one request that are stored together: each gets its own answer, and what goes wrong stays with one."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from dag_content import DagContent, FileContent
from executed_statements import executed_statements
from gateway_app import Gateway
from registered_processor import RegisteredProcessor
from stored_rows import active_dags, ledger

A, B, C, D, E = (FileContent(f"{name}.py", (DagContent(name),)) for name in "abcde")
LOGGER = "parsegate.resolvers.parse_results"


def as_input(file: FileContent, **fields: Any) -> dict[str, Any]:
    return file.parsed(Path("/bundles"), datetime.now(UTC)).as_input(**fields)


@contextmanager
def calls_of_airflows_write_path(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[list[str]]]:
    """The DAGs that each call was given."""
    from parsegate.resolvers import dag_writes

    calls: list[list[str]] = []
    write = dag_writes.update_dag_parsing_results_in_db

    def noted(**named: Any) -> None:
        calls.append([dag.dag_id for dag in named["dags"]])
        write(**named)

    with monkeypatch.context() as patched:
        patched.setattr(dag_writes, "update_dag_parsing_results_in_db", noted)
        yield calls


def test_each_result_gets_its_own_answer(
    gateway: Gateway, processor: RegisteredProcessor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refused, superseded, repeated and timed out ones do not keep the others from being stored in one call."""
    processor.sync("dags", "others")
    processor.record(as_input(replace(B, bundle="others")))
    replayed, newer = as_input(C, sequence=1), as_input(D, sequence=7)
    (first_answer, _) = processor.record(replayed, newer)
    two_dags = replace(A, path="two.py", dags=(DagContent("first"), DagContent("second")))

    with calls_of_airflows_write_path(monkeypatch) as calls:
        outcomes = processor.record(
            as_input(A, sequence=8),
            as_input(B),
            {**replayed, "dags": [], "sources": []},
            as_input(D, sequence=6),
            as_input(E, sources=[]),
            as_input(replace(E, path="late.py"), timedOut=True, dags=[], sources=[], parseDuration=50.0),
            as_input(two_dags, parseDuration=3.5),
        )

    assert calls == [["a", "first", "second"]]
    assert [(outcome["status"], outcome["reason"]) for outcome in outcomes] == [
        ("ACCEPTED", None),
        ("REFUSED", "DAG_OWNED_BY_ANOTHER_BUNDLE"),
        ("ACCEPTED", None),
        ("REFUSED", "SUPERSEDED"),
        ("REFUSED", "SOURCE_MISSING"),
        ("ACCEPTED", None),
        ("ACCEPTED", None),
    ]
    assert outcomes[2] == first_answer
    assert [outcome["dagCount"] for outcome in outcomes] == [1, None, 1, None, None, 0, 2]
    assert outcomes[3]["recordedAt"] is None
    rows = {key: (row.status, row.reason, row.sequence, row.dag_count) for key, row in ledger().items()}
    assert rows == {
        "dags/a.py": ("STORED", None, 8, 1),
        "dags/b.py": ("REFUSED", "DAG_OWNED_BY_ANOTHER_BUNDLE", 1, 0),
        "dags/c.py": ("STORED", None, 1, 1),
        "dags/d.py": ("STORED", None, 7, 1),
        "dags/e.py": ("REFUSED", "SOURCE_MISSING", 1, 0),
        "dags/late.py": ("TIMED_OUT", None, 1, 0),
        "dags/two.py": ("STORED", None, 1, 2),
        "others/b.py": ("STORED", None, 1, 1),
    }
    assert ledger()["dags/late.py"].message == "Parsing was ended after 50.0 s."
    assert active_dags() == {"a": "dags", "b": "others", "c": "dags", "d": "dags", "first": "dags", "second": "dags"}


def test_a_bundle_that_nobody_writes_is_told_for_each(processor: RegisteredProcessor) -> None:
    processor.sync("dags", "retired")
    processor.record(as_input(replace(C, bundle="retired"), sequence=5))
    processor.sync("dags", deactivateMissing=True)
    retired = [replace(file, bundle="retired") for file in (A, B)]
    outcomes = processor.record(*map(as_input, retired), as_input(replace(C, bundle="retired"), sequence=4))
    assert [outcome["reason"] for outcome in outcomes] == ["BUNDLE_INACTIVE", "BUNDLE_INACTIVE", "SUPERSEDED"]
    assert {key: row.status for key, row in ledger().items()} == {
        "retired/a.py": "REFUSED",
        "retired/b.py": "REFUSED",
        "retired/c.py": "STORED",
    }
    outcomes = processor.record(*(as_input(replace(file, bundle="unheard-of")) for file in (A, B)))
    assert [(outcome["reason"], outcome["recordedAt"]) for outcome in outcomes] == [("UNKNOWN_BUNDLE", None)] * 2


def test_a_job_that_has_ended_is_told_for_each(processor: RegisteredProcessor) -> None:
    processor.send("CompleteJob", input={"state": "FAILED"})
    outcomes = processor.record(*map(as_input, (A, B, C)))
    assert [outcome["reason"] for outcome in outcomes] == ["JOB_CLOSED"] * 3
    assert (active_dags(), ledger()) == ({}, {})


@pytest.mark.parametrize("fails_at", ["the call", "the commit"])
def test_nothing_is_accepted_that_is_not_committed(
    processor: RegisteredProcessor,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    fails_at: str,
) -> None:
    """One file can't be stored, whenever its turn comes; the group is rolled back, and the others are stored alone."""
    from airflow import settings
    from airflow.serialization.definitions.dag import SerializedDAG
    from sqlalchemy.exc import OperationalError

    write = SerializedDAG.bulk_write_to_db.__func__  # type: ignore[attr-defined]
    doomed = False

    def fail(cls: type, bundle: str, version: Any, dags: Any, *arguments: Any, **named: Any) -> None:
        nonlocal doomed
        write(cls, bundle, version, dags, *arguments, **named)
        doomed = "b" in {dag.dag_id for dag in dags}
        if doomed and fails_at == "the call":
            raise OperationalError("UPDATE dag", {}, Exception("deadlock detected"))

    dialect = settings.get_engine().dialect
    commit = dialect.do_commit

    def fail_to_commit(connection: Any) -> None:
        nonlocal doomed
        if doomed and fails_at == "the commit":
            doomed = False
            connection.rollback()
            raise dialect.dbapi.OperationalError("disk I/O error")
        commit(connection)

    monkeypatch.setattr(SerializedDAG, "bulk_write_to_db", classmethod(fail))
    monkeypatch.setattr(dialect, "do_commit", fail_to_commit)
    items = [as_input(file) for file in (A, B, C)]
    with caplog.at_level(logging.WARNING, logger=LOGGER):
        outcomes = processor.record(*items)

    assert [outcome["status"] for outcome in outcomes] == ["ACCEPTED", "FAILED", "ACCEPTED"]
    assert active_dags() == {"a": "dags", "c": "dags"}
    assert set(ledger()) == {"dags/a.py", "dags/c.py"}
    told = [record.getMessage() for record in caplog.records if "one by one" in record.getMessage()]
    assert len(told) == 1
    assert "3 results of bundle dags" in told[0]

    monkeypatch.undo()
    again = processor.record(*items)
    assert {outcome["status"] for outcome in again} == {"ACCEPTED"}
    assert [again[0], again[2]] == [outcomes[0], outcomes[2]], "they are not stored a second time"


def test_leases_end_with_the_results_that_answer_them(processor: RegisteredProcessor) -> None:
    from airflow._shared.timezones.timezone import utcnow
    from parse_state_rows import insert
    from stored_rows import claims

    from parsegate.resolvers.tables import Claim

    common = {"kind": "PARSE_REQUEST", "state": "LEASED", "bundle_name": "dags", "payload": {}, "created_at": utcnow()}
    leased = {**common, "job_id": processor.job_id, "expires_at": utcnow()}
    insert(Claim, *({**leased, "id": name} for name in ("of-a", "too", "of-b", "of-nobody")))
    processor.record(as_input(A, leaseIds=["of-a", "too"]), as_input(B, leaseIds=["of-b"], sources=[]), as_input(C))
    assert [claim.id for claim in claims()] == ["of-nobody"]


def test_rows_are_locked_and_inserted_in_one_order_whatever_order_the_files_come_in(
    processor: RegisteredProcessor,
) -> None:
    """Two processors that store the same files at the same time would otherwise deadlock."""
    files = [FileContent(f"{n}.py", (DagContent(f"dag_{9 - n}", tags=("t",)),)) for n in (3, 1, 2)]
    with executed_statements() as executed:
        outcomes = processor.record(*map(as_input, files))
    assert {outcome["status"] for outcome in outcomes} == {"ACCEPTED"}

    def order_of(statement: str, *values: str) -> list[str]:
        (text,) = [repr(each.parameters) for each in executed if each.text.startswith(statement)]
        return sorted(values, key=text.index)

    assert order_of("INSERT INTO dag ", "dag_6", "dag_7", "dag_8") == ["dag_6", "dag_7", "dag_8"]
    assert order_of("INSERT INTO parsegate_file ", "1.py", "2.py", "3.py") == ["1.py", "2.py", "3.py"]
    (ledger_read,) = [each.text for each in executed if " FROM parsegate_file " in each.text]
    assert "ORDER BY parsegate_file.bundle_name, parsegate_file.relative_fileloc" in ledger_read
