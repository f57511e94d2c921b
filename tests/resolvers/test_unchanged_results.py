"""Results that are named by their fingerprints: which are recorded, which are wanted in full, and what it costs."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import bundle_folders
import pytest
from dag_content import AssetContent, DagContent, FileContent
from deliveries import fingerprint, fingerprint_first
from executed_statements import executed_statements
from gateway_app import Gateway
from other_writers import Writer, create_next_run, reserialize
from parsed_files import ParsedFile
from registered_processor import RegisteredProcessor, operation_documents

PLAIN = FileContent("a.py", (DagContent("plain", "daily"),))


@pytest.fixture(autouse=True)
def _no_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__MIN_SERIALIZED_DAG_UPDATE_INTERVAL", "0")


def _parsed(file: FileContent, **fields: Any) -> ParsedFile:
    return replace(file.parsed(Path("/bundles"), datetime.now(UTC)), **fields)


def _store(processor: RegisteredProcessor, *files: ParsedFile, sequence: int = 1) -> None:
    outcomes = processor.record(*(file.as_input(sequence=sequence, fingerprint=fingerprint(file)) for file in files))
    assert all(outcome["status"] == "ACCEPTED" and outcome["recognizable"] for outcome in outcomes), outcomes


def _named(file: ParsedFile, **fields: Any) -> dict[str, Any]:
    """An ``UnchangedResultInput``."""
    return {
        "attemptId": str(uuid.uuid4()),
        "sequence": 2,
        "relativeFileloc": file.relative_fileloc,
        "fingerprint": fingerprint(file),
        "parseDuration": 0.5,
        **fields,
    }


def _name(processor: RegisteredProcessor, *items: dict[str, Any], **batch: Any) -> dict[str, Any]:
    return processor.send(
        "RecordUnchangedResults",
        batches=[{"bundleName": "dags", "bundlePath": "/bundles/dags", "results": list(items), **batch}],
    )


def _ledger_row(path: str) -> Any:
    from airflow.utils.session import create_session

    from parsegate.resolvers.tables import ParsedFile

    with create_session() as session:
        row = session.get(ParsedFile, ("dags", path))
        session.expunge_all()
    return row


def _dag_row(dag_id: str) -> Any:
    from airflow.models.dag import DagModel
    from airflow.utils.session import create_session

    with create_session() as session:
        row = session.get(DagModel, dag_id)
        session.expunge_all()
    return row


def test_a_result_that_is_stored_already_is_recorded_by_its_fingerprint(processor: RegisteredProcessor) -> None:
    file = _parsed(PLAIN)
    _store(processor, file)
    before = _dag_row("plain")
    item = _named(file, sequence=7)

    outcome = _name(processor, item)

    assert (outcome["status"], outcome["recordedCount"], outcome["wanted"]) == ("ACCEPTED", 1, [])
    row, dag = _ledger_row("a.py"), _dag_row("plain")
    assert (row.attempt_id, row.sequence, row.parse_duration) == (item["attemptId"], 7, 0.5)
    assert dag.last_parsed_time > before.last_parsed_time
    assert dag.last_parse_duration == 0.5
    assert row.last_parsed_at == row.last_stored_at == dag.last_parsed_time


def test_a_file_remembers_its_last_ten_parses_however_they_were_told(processor: RegisteredProcessor) -> None:
    """In full, refused and by its fingerprint; a repetition is not another."""
    file = _parsed(PLAIN)
    _store(processor, file)
    (first,) = _ledger_row("a.py").recent_parses
    refused = file.as_input(sequence=2, parseDuration=0.25)
    refused["sources"] = []
    assert [outcome["status"] for outcome in processor.record(refused)] == ["REFUSED"]
    for sequence in range(3, 12):
        item = _named(file, sequence=sequence, parseDuration=float(sequence))
        assert [_name(processor, item)["wanted"] for _ in "ab"] == [[], []]

    row = _ledger_row("a.py")

    assert row.recent_parses[0] == [row.last_parsed_at.isoformat(), 11.0, "STORED", None, processor.job_id]
    assert [seconds for _, seconds, *_ in row.recent_parses] == [11.0, 10.0, 9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 0.25]
    assert [status for _, _, status, *_ in row.recent_parses] == ["STORED"] * 9 + ["REFUSED"]
    assert first[2:] == ["STORED", None, processor.job_id]
    data = processor.gateway.data(
        "{ files(first: 1) { nodes { recentParses { duration processor { jobId } } } } }",
        token=processor.gateway.operator_token(),
    )
    (shown,) = data["files"]["nodes"]
    assert shown["recentParses"][0] == {"duration": 11.0, "processor": {"jobId": processor.job_id}}


def test_a_result_can_be_named_twice(processor: RegisteredProcessor) -> None:
    file = _parsed(PLAIN)
    _store(processor, file)
    item = _named(file)
    first = _name(processor, item)
    parsed_at = _dag_row("plain").last_parsed_time
    again = _name(processor, item)

    assert (first["recordedCount"], again["recordedCount"], again["wanted"]) == (1, 1, [])
    assert _dag_row("plain").last_parsed_time == parsed_at


def test_what_is_wanted_in_full(processor: RegisteredProcessor) -> None:
    """Whatever is not plainly what is stored; what is wrong with it is said when it comes in full."""
    file = _parsed(PLAIN)
    _store(processor, file, sequence=5)
    unknown = _parsed(FileContent("unknown.py", (DagContent("unknown"),)))
    for item in (
        _named(file, sequence=6, fingerprint="something else"),
        _named(file, sequence=4),
        _named(file, sequence=6, parseDuration=-1.0),
        _named(file, sequence=6, attemptId="x" * 100),
        _named(file, sequence=6, attemptId=""),
        _named(unknown),
    ):
        outcome = _name(processor, item)
        assert (outcome["status"], outcome["recordedCount"], outcome["wanted"]) == ("ACCEPTED", 0, [item["attemptId"]])
        assert outcome["recordedAt"] is None
    for bundle in ("never_synchronised", "more"):
        item = _named(file, sequence=6)
        assert _name(processor, item, bundleName=bundle)["wanted"] == [item["attemptId"]]
    assert _ledger_row("a.py").sequence == 5


UNRECOGNIZABLE = {
    "a deadline": replace(PLAIN, dags=(DagContent("plain", "daily", deadline="soon"),)),
    "a warning about another file's DAG": replace(PLAIN, warned=(("other", "It varies."),)),
    "an import error beside DAGs": replace(PLAIN, path="a.zip"),
    "an asset whose URI another has": replace(
        PLAIN,
        dags=(
            DagContent("plain", writes=(AssetContent("one", "x-test://same/"), AssetContent("two", "x-test://same/"))),
        ),
    ),
}


@pytest.mark.parametrize("content", UNRECOGNIZABLE.values(), ids=UNRECOGNIZABLE.keys())
def test_a_result_that_rows_alone_can_not_tell_unchanged_is_wanted_each_time(
    processor: RegisteredProcessor, content: FileContent
) -> None:
    _store(processor, _parsed(FileContent("other.py", (DagContent("other"),))))
    file = _parsed(content)
    broken = [{"relativeFileloc": "a.zip", "stacktrace": "Traceback"}] if content.path == "a.zip" else []
    (outcome,) = processor.record(file.as_input(fingerprint=fingerprint(file), importErrors=broken))

    assert (outcome["status"], outcome["recognizable"]) == ("ACCEPTED", False)
    item = _named(file)
    assert _name(processor, item)["wanted"] == [item["attemptId"]]


def test_a_result_that_came_without_a_fingerprint_is_wanted(processor: RegisteredProcessor) -> None:
    file = _parsed(PLAIN)
    _store(processor, file)
    (outcome,) = processor.record(file.as_input(sequence=2))
    assert (outcome["status"], outcome["recognizable"]) == ("ACCEPTED", False)

    item = _named(file, sequence=3)
    assert _name(processor, item)["wanted"] == [item["attemptId"]]


def test_one_changed_file_does_not_keep_the_others_from_being_recorded(processor: RegisteredProcessor) -> None:
    files = [_parsed(FileContent(f"{name}.py", (DagContent(name),))) for name in ("one", "two", "three")]
    _store(processor, *files)
    items = [_named(file) for file in files]
    items[1]["fingerprint"] = "changed"

    outcome = _name(processor, *items)
    assert (outcome["recordedCount"], outcome["wanted"]) == (2, [items[1]["attemptId"]])


def test_files_behind_one_that_shares_an_asset_with_them_are_wanted_with_it(processor: RegisteredProcessor) -> None:
    """They are stored in their order, so that the same one has the last word as without fingerprints."""
    first, other, last = (
        _parsed(FileContent("one.py", (DagContent("one", writes=(AssetContent("orders", extra="1"),)),))),
        _parsed(FileContent("other.py", (DagContent("other"),))),
        _parsed(FileContent("two.py", (DagContent("two", writes=(AssetContent("orders", extra="2"),)),))),
    )
    _store(processor, first, other, last)
    items = [_named(file) for file in (first, other, last)]
    outcome = _name(processor, *items)
    assert outcome["wanted"] == [items[0]["attemptId"], items[2]["attemptId"]]


def test_a_closed_job_records_nothing(processor: RegisteredProcessor) -> None:
    file = _parsed(PLAIN)
    _store(processor, file)
    processor.send("CompleteJob", input={"state": "SUCCESS"})
    outcome = _name(processor, _named(file))
    assert (outcome["status"], outcome["reason"], outcome["recordedCount"]) == ("REFUSED", "JOB_CLOSED", 0)


def test_too_many_results_in_one_request_are_an_error(gateway: Gateway, processor: RegisteredProcessor) -> None:
    file = _parsed(PLAIN)
    answer = gateway.execute(
        operation_documents()["RecordUnchangedResults"],
        {"batches": [{"bundleName": "dags", "bundlePath": "/b", "results": [_named(file) for _ in range(501)]}]},
        token=processor.token,
    )
    assert answer["errors"][0]["extensions"]["code"] == "BAD_REQUEST"


def test_a_fault_while_recognising_wants_everything_in_full(
    processor: RegisteredProcessor, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from parsegate.resolvers import imprints

    def fail(*_: object) -> None:
        raise ZeroDivisionError

    file = _parsed(PLAIN)
    _store(processor, file)
    monkeypatch.setattr(imprints, "current", fail)
    item = _named(file)
    outcome = _name(processor, item)

    assert (outcome["status"], outcome["wanted"]) == ("ACCEPTED", [item["attemptId"]])
    assert "ZeroDivisionError" in caplog.text
    assert _ledger_row("a.py").sequence == 1


@pytest.mark.parametrize("option", ["core__max_active_tasks_per_dag", "operators__default_owner"])
def test_results_written_under_another_configuration_are_wanted(
    processor: RegisteredProcessor, monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    file = _parsed(PLAIN)
    _store(processor, file)
    monkeypatch.setenv(f"AIRFLOW__{option.upper()}", "7")
    item = _named(file)
    assert _name(processor, item)["wanted"] == [item["attemptId"]]


def test_a_moved_version_of_a_bundle_is_recorded_without_the_documents(processor: RegisteredProcessor) -> None:
    from airflow.models.dag_version import DagVersion
    from airflow.utils.session import create_session
    from sqlalchemy import select

    file = _parsed(PLAIN, bundle_version="v1", version_data={"commit": 1})
    _store(processor, file)
    for sequence, version in enumerate(("v2", "v2", "v3"), 2):
        item = _named(file, sequence=sequence)
        moved = _name(processor, item, bundleVersion=version, versionData={"commit": version})
        assert moved["recordedCount"] == 1, version
        with create_session() as session:
            (row,) = session.scalars(select(DagVersion))
            assert (row.bundle_version, row.version_data) == (version, {"commit": version})
        assert _dag_row("plain").bundle_version == _ledger_row("a.py").bundle_version == version


def test_unchanged_results_cost_as_many_statements_for_many_files_as_for_one(processor: RegisteredProcessor) -> None:
    """Files of all kinds in both requests, so that each statement is there in both."""

    def kinds(count: int) -> Sequence[ParsedFile]:
        orders = AssetContent("orders")
        contents = [
            FileContent(f"{count}/cron.py", (DagContent(f"cron_{count}", "daily"),)),
            FileContent(f"{count}/partitioned.py", (DagContent(f"partitioned_{count}", "partitioned"),)),
            FileContent(f"{count}/reader.py", (DagContent(f"reader_{count}", "assets", reads=(orders,)),)),
            FileContent(f"{count}/writer.py", (DagContent(f"writer_{count}", "none", writes=(orders,)),)),
            FileContent(f"{count}/broken.py", error="NameError"),
            *(FileContent(f"{count}/{n}.py", (DagContent(f"dag_{count}_{n}", "daily"),)) for n in range(count)),
        ]
        return [_parsed(content) for content in contents]

    counts: list[int] = []
    for count in (1, 60):
        files = kinds(count)
        fingerprint_first(processor, files, 1)
        with executed_statements() as seen:
            outcomes = fingerprint_first(processor, files, 2)
        assert not any(outcome["wanted"] for outcome in outcomes)
        counts.append(len(seen))
    assert counts[0] == counts[1]
    assert counts[1] <= 13, seen


def test_results_of_plain_files_are_recorded_with_five_statements(processor: RegisteredProcessor) -> None:
    """The ledger with what must hold beside it, the DAGs, what belongs to them; then DAGs and ledger are updated."""
    files = [_parsed(FileContent(f"{n}.py", (DagContent(f"dag_{n}", "daily"),))) for n in range(3)]
    _store(processor, *files)
    with executed_statements() as seen:
        assert _name(processor, *map(_named, files))["recordedCount"] == 3
    kinds = [statement.text.split("(")[0].split()[0] for statement in seen if statement.text != "BEGIN IMMEDIATE"]
    assert kinds == ["SELECT", "SELECT", "WITH", "WITH", "WITH"], seen


def test_a_run_that_is_made_while_its_dag_is_locked_counts(processor: RegisteredProcessor) -> None:
    """A statement that waits for a lock has of other tables what was there when it began to wait."""
    file = _parsed(PLAIN)
    _store(processor, file)
    first = _dag_row("plain").next_dagrun
    outcome = _name_while_locked(processor, file, create_next_run("plain", updating_the_next=False))
    assert outcome["recordedCount"] == 1
    assert _dag_row("plain").next_dagrun > first


def test_a_document_that_is_stored_while_its_dag_is_locked_is_noticed(
    processor: RegisteredProcessor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(bundle_folders.VARIABLE, "[]")
    file = PLAIN.parsed(bundle_folders.FOLDER, datetime.now(UTC))
    _store(processor, file)
    edited = replace(PLAIN, dags=(replace(PLAIN.dags[0], tasks=2),))
    outcome = _name_while_locked(processor, file, reserialize(edited))
    assert (outcome["recordedCount"], len(outcome["wanted"])) == (0, 1)


def _name_while_locked(processor: RegisteredProcessor, file: ParsedFile, write: Writer) -> dict[str, Any]:
    """The outcome of naming a result that has to wait for another writer, who has locked the DAGs."""
    if processor.gateway.database.kind == "sqlite":
        pytest.skip("SQLite has one writer at a time")
    from airflow import settings
    from airflow.models.dag import DagModel
    from sqlalchemy import select, text
    from sqlalchemy.orm import Session

    with ThreadPoolExecutor(1) as thread, Session(settings.get_engine()) as other:
        other.execute(select(DagModel.dag_id).with_for_update())
        write(other)
        other.flush()
        outcome = thread.submit(_name, processor, _named(file))
        waiting = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
        with settings.get_engine().connect().execution_options(isolation_level="AUTOCOMMIT") as observer:
            while not observer.scalar(waiting):
                time.sleep(0.01)
        other.commit()
        return outcome.result()
