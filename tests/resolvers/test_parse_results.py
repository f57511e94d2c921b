"""Storing parse results: who may, what is refused, what is left behind, and that everything can be sent twice."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gateway_app import Gateway
from parsed_files import ParsedFile
from registered_processor import RegisteredProcessor, operation_documents


def _rows(model: Any) -> list[Any]:
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        rows = list(session.scalars(select(model)).unique())
        session.expunge_all()
    return rows


def _dags() -> dict[str, Any]:
    from airflow.models.dag import DagModel

    return {dag.dag_id: dag for dag in _rows(DagModel)}


def _ledger() -> dict[tuple[str, str], Any]:
    from parsegate.resolvers.tables import ParsedFile

    return {(row.bundle_name, row.relative_fileloc): row for row in _rows(ParsedFile)}


def _import_errors() -> dict[str, str]:
    from airflow.models.errors import ParseImportError

    return {error.filename: error.stacktrace for error in _rows(ParseImportError)}


def _nothing_stored() -> bool:
    from airflow.models.dag_version import DagVersion
    from airflow.models.dagcode import DagCode
    from airflow.models.serialized_dag import SerializedDagModel

    return not (_dags() or _import_errors() or any(_rows(model) for model in (DagVersion, DagCode, SerializedDagModel)))


def _changed(file: ParsedFile, change: Callable[[dict[str, Any]], None], **fields: Any) -> dict[str, Any]:
    """The file's result with ``change`` made to the ``dag`` of its first document."""
    item = file.as_input(**fields)
    change(item["dags"][0]["document"]["dag"])
    return item


def test_a_result_is_stored_with_its_source_and_a_row_in_the_ledger(
    processor: RegisteredProcessor, daily: ParsedFile
) -> None:
    from airflow.models.dagcode import DagCode

    item = daily.as_input(sequence=5, bundleVersion="v1")
    (outcome,) = processor.record(item)

    assert (outcome["status"], outcome["reason"], outcome["message"]) == ("ACCEPTED", None, None)
    assert (outcome["attemptId"], outcome["bundleName"], outcome["relativeFileloc"]) == (
        item["attemptId"],
        "dags",
        "daily.py",
    )
    assert (outcome["dagCount"], outcome["importErrorCount"]) == (1, 0)
    (code,) = _rows(DagCode)
    assert code.source_code == (Path(daily.bundle_path) / "daily.py").read_text()
    row = _ledger()["dags", "daily.py"]
    assert (row.status, row.dag_count, row.import_error_count, row.warning_count) == ("STORED", 1, 0, 0)
    assert (row.job_id, row.attempt_id, row.sequence) == (processor.job_id, item["attemptId"], 5)
    assert (row.bundle_version, row.parse_duration) == ("v1", 0.25)
    assert row.last_parsed_at == row.last_stored_at
    assert row.last_parsed_at >= _dags()["daily"].last_parsed_time


def test_source_code_is_never_read_from_the_gateways_disk(processor: RegisteredProcessor, daily: ParsedFile) -> None:
    from airflow.models.dagcode import DagCode

    opened: list[str] = []
    watching = True

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if watching and event == "open" and isinstance(arguments[0], str):
            opened.append(arguments[0])

    sys.addaudithook(watch)
    own_path = f"{daily.bundle_path}/daily.py"
    for sequence, fileloc in enumerate(("/etc/passwd", own_path)):
        item = _changed(daily, lambda dag, fileloc=fileloc: dag.update(fileloc=fileloc), sequence=sequence)
        item["sources"] = [{"fileloc": fileloc, "text": f"# sent for {fileloc}"}]
        (outcome,) = processor.record(item)
        assert outcome["status"] == "ACCEPTED", outcome
        (code,) = _rows(DagCode)
        assert code.source_code == f"# sent for {fileloc}"
    Path("/etc/hostname").read_text()
    watching = False

    assert "/etc/hostname" in opened, "the audit hook sees what is opened"
    assert not {"/etc/passwd", own_path} & set(opened)


@pytest.mark.parametrize("sources", [[], [{"fileloc": "/other.py", "text": "x"}], "empty"])
def test_a_dag_without_its_source_is_refused(processor: RegisteredProcessor, daily: ParsedFile, sources: Any) -> None:
    item = daily.as_input()
    item["sources"] = [{**item["sources"][0], "text": ""}] if sources == "empty" else sources
    (outcome,) = processor.record(item)
    assert (outcome["status"], outcome["reason"]) == ("REFUSED", "SOURCE_MISSING")
    assert _nothing_stored()


BAD_DAGS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "no dag_id": lambda dag: dag.pop("dag_id"),
    "dag_id is a number": lambda dag: dag.update(dag_id=7),
    "dag_id is empty": lambda dag: dag.update(dag_id=""),
    "dag_id with a slash": lambda dag: dag.update(dag_id="a/b"),
    "dag_id with dots": lambda dag: dag.update(dag_id="a..b"),
    "dag_id too long": lambda dag: dag.update(dag_id="d" * 251),
    "no fileloc": lambda dag: dag.pop("fileloc"),
    "fileloc is a list": lambda dag: dag.update(fileloc=["x"]),
    "fileloc with NUL": lambda dag: dag.update(fileloc="/a\0b.py"),
    "no relative_fileloc": lambda dag: dag.pop("relative_fileloc"),
    "no tasks": lambda dag: dag.pop("tasks"),
    "tasks is an object": lambda dag: dag.update(tasks={"a": 1}),
    "task without its envelope": lambda dag: dag.update(tasks=["no object"]),
    "no timetable": lambda dag: dag.pop("timetable"),
    "timetable that is not installed": lambda dag: dag.update(timetable={"__type": "no.such.Timetable", "__var": {}}),
    "integer over 64 bits": lambda dag: dag.update(max_active_runs=2**63),
    "integer over 64 bits, deep inside": lambda dag: dag["tasks"][0]["__var"].update(params=[{"n": [-(2**63) - 1]}]),
    "tags are a number": lambda dag: dag.update(tags=5),
    "tag is null": lambda dag: dag.update(tags=[None]),
    "max_active_tasks is an object": lambda dag: dag.update(max_active_tasks={"a": "b"}),
}


@pytest.mark.parametrize("change", BAD_DAGS.values(), ids=BAD_DAGS.keys())
def test_a_document_that_airflow_cannot_store_is_refused_and_harms_no_other(
    processor: RegisteredProcessor, daily: ParsedFile, broken: ParsedFile, change: Callable[[dict[str, Any]], Any]
) -> None:
    bad = _changed(daily, change)
    outcomes = processor.record(bad, broken.as_input())

    assert [outcome["status"] for outcome in outcomes] == ["REFUSED", "ACCEPTED"], outcomes
    assert outcomes[0]["reason"] == "INVALID_DOCUMENT"
    assert "Traceback" not in outcomes[0]["message"]
    assert not _dags()
    assert set(_import_errors()) == {"broken.py"}
    ledger = _ledger()
    assert (ledger["dags", "daily.py"].status, ledger["dags", "daily.py"].reason) == ("REFUSED", "INVALID_DOCUMENT")
    assert ledger["dags", "daily.py"].message == outcomes[0]["message"]
    assert ledger["dags", "daily.py"].last_stored_at is None
    assert ledger["dags", "broken.py"].status == "STORED"


@pytest.mark.parametrize(
    "document", [None, [], "text", 5, {}, {"dag": {}}, {"__version": True, "dag": {}}, {"__version": 99, "dag": {}}]
)
def test_what_is_no_serialized_dag_is_refused(processor: RegisteredProcessor, daily: ParsedFile, document: Any) -> None:
    item = daily.as_input()
    item["dags"] = [{"document": document}]
    response = processor.gateway.execute(
        operation_documents()["RecordParseResults"], {"results": [item]}, token=processor.token
    )
    if document is None:
        assert response["errors"][0]["extensions"]["code"] == "GRAPHQL_VALIDATION_FAILED" or response["errors"]
    else:
        (outcome,) = response["data"]["recordParseResults"]
        assert (outcome["status"], outcome["reason"]) == ("REFUSED", "INVALID_DOCUMENT")
    assert _nothing_stored()


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_numbers_that_json_does_not_have_are_not_stored(
    processor: RegisteredProcessor, daily: ParsedFile, number: str
) -> None:
    """They may be told by the HTTP layer or refused per item; never stored, and never a traceback."""
    item = _changed(daily, lambda dag: dag.update(description=math.nan))
    body = json.dumps({"query": operation_documents()["RecordParseResults"], "variables": {"results": [item]}})
    response = processor.gateway.http.post(
        "/graphql",
        content=body.replace("NaN", number),
        headers={"Authorization": f"Bearer {processor.token}", "Content-Type": "application/json"},
    )
    assert response.status_code < 500
    assert "Traceback" not in response.text
    answer = response.json()
    if "errors" in answer:
        assert answer["errors"][0]["extensions"]["code"]
    else:
        assert answer["data"]["recordParseResults"][0]["reason"] == "INVALID_DOCUMENT"
    assert _nothing_stored()


@pytest.mark.parametrize(
    "path", ["", ".", "..", "../up.py", "a/../../b.py", "/etc/passwd", "a//b.py", "./a.py", "a/", "a\0.py", "p" * 2001]
)
def test_a_path_that_names_no_file_in_the_bundle_is_refused(
    processor: RegisteredProcessor, daily: ParsedFile, path: str
) -> None:
    outcomes = processor.record(
        daily.as_input(relativeFileloc=path),
        daily.as_input(importErrors=[{"relativeFileloc": path, "stacktrace": "x"}]),
        _changed(daily, lambda dag: dag.update(relative_fileloc=path)),
    )
    assert {outcome["status"] for outcome in outcomes} == {"REFUSED"}, outcomes
    assert {outcome["reason"] for outcome in outcomes} <= {"INVALID_PATH", "INVALID_DOCUMENT"}
    assert outcomes[0]["reason"] == outcomes[1]["reason"] == "INVALID_PATH"
    assert outcomes[0]["recordedAt"] is None, "what cannot be named has no row in the ledger"
    assert _nothing_stored()
    assert set(_ledger()) == {("dags", "daily.py")}


def test_absolute_import_error_paths_are_taken_for_files_of_the_zip_alone(
    processor: RegisteredProcessor, broken: ParsedFile
) -> None:
    def reporting(path: str) -> dict[str, Any]:
        errors = [{"relativeFileloc": path, "stacktrace": "x"}]
        return broken.as_input(relativeFileloc="a.zip", bundlePath="/bundle", importErrors=errors)

    outcomes = processor.record(
        reporting("/bundle/a.zip/../../x.py"), reporting("/bundle/b.zip/x.py"), reporting("/bundle/a.zip/x.py")
    )
    assert [outcome["reason"] for outcome in outcomes] == ["INVALID_PATH", "INVALID_PATH", None]
    assert set(_import_errors()) == {"/bundle/a.zip/x.py"}


INVALID_FIELDS: dict[str, dict[str, Any]] = {
    "warning type": {"warnings": [{"dagId": "daily", "warningType": "no such type", "message": "m"}]},
    "negative duration": {"parseDuration": -1.0},
    "long bundle version": {"bundleVersion": "v" * 201},
    "version data is a list": {"versionData": [1]},
    "version data beyond 64 bits": {"versionData": {"n": 2**64}},
    "long attempt id": {"attemptId": "a" * 37},
    "empty attempt id": {"attemptId": ""},
}


@pytest.mark.parametrize("fields", INVALID_FIELDS.values(), ids=INVALID_FIELDS.keys())
def test_a_field_with_a_value_that_cannot_be_is_refused(
    processor: RegisteredProcessor, daily: ParsedFile, fields: dict[str, Any]
) -> None:
    (outcome,) = processor.record(daily.as_input(**fields))
    assert (outcome["status"], outcome["reason"]) == ("REFUSED", "INVALID_DOCUMENT")
    assert _nothing_stored()


@pytest.mark.parametrize(
    "fields", [{"sequence": 2**63}, {"sequence": "1"}, {"sequence": 1.5}, {"parseDuration": "x"}, {"dags": 5}]
)
def test_wrong_types_are_told_before_anything_is_stored(
    processor: RegisteredProcessor, daily: ParsedFile, fields: dict[str, Any]
) -> None:
    response = processor.gateway.execute(
        operation_documents()["RecordParseResults"],
        {"results": [daily.as_input(), {**daily.as_input(), **fields}]},
        token=processor.token,
    )
    assert response["errors"][0]["extensions"]["code"]
    assert "Traceback" not in json.dumps(response)
    assert _nothing_stored()


def test_the_same_dag_twice_in_one_result_is_refused(processor: RegisteredProcessor, daily: ParsedFile) -> None:
    item = daily.as_input()
    item["dags"] *= 2
    (outcome,) = processor.record(item)
    assert outcome["reason"] == "INVALID_DOCUMENT"


def test_bundles_that_are_not_granted_known_or_active_are_refused(gateway: Gateway, daily: ParsedFile) -> None:
    everything = RegisteredProcessor(gateway)
    everything.sync("dags", "retired", "others")
    everything.sync("dags", "others", deactivateMissing=True)
    limited = RegisteredProcessor(gateway, ["dags", "retired", "unheard-of"])

    outcomes = limited.record(
        daily.as_input(bundleName="others"),
        daily.as_input(bundleName="unheard-of"),
        daily.as_input(bundleName="retired"),
        daily.as_input(bundleName="dags"),
    )

    assert [outcome["reason"] for outcome in outcomes] == [
        "BUNDLE_NOT_GRANTED",
        "UNKNOWN_BUNDLE",
        "BUNDLE_INACTIVE",
        None,
    ]
    assert {dag.bundle_name for dag in _dags().values()} == {"dags"}
    statuses = {bundle: row.status for (bundle, _), row in _ledger().items()}
    assert statuses == {"retired": "REFUSED", "dags": "STORED"}


def test_a_dag_of_another_active_bundle_is_left_alone(gateway: Gateway, daily: ParsedFile, broken: ParsedFile) -> None:
    first = RegisteredProcessor(gateway)
    first.sync("dags", "others")
    first.record(daily.as_input())
    thief = RegisteredProcessor(gateway, ["others"])

    outcomes = thief.record(daily.as_input(bundleName="others"), broken.as_input(bundleName="others"))

    assert [outcome["reason"] for outcome in outcomes] == ["DAG_OWNED_BY_ANOTHER_BUNDLE", None]
    assert "daily (bundle dags)" in outcomes[0]["message"]
    dag = _dags()["daily"]
    assert (dag.bundle_name, dag.is_stale) == ("dags", False)
    row = _ledger()["others", "daily.py"]
    assert (row.status, row.reason, row.dag_count) == ("REFUSED", "DAG_OWNED_BY_ANOTHER_BUNDLE", 0)


def test_a_dag_moves_to_another_bundle_once_it_is_stale_or_its_bundle_inactive(
    gateway: Gateway, daily: ParsedFile
) -> None:
    processor = RegisteredProcessor(gateway)
    processor.sync("dags", "others")
    processor.record(daily.as_input())
    processor.send("ReconcileBundle", input={"bundleName": "dags", "files": [], "observedFilelocs": []})
    (moved,) = processor.record(daily.as_input(bundleName="others"))
    assert (moved["status"], _dags()["daily"].bundle_name) == ("ACCEPTED", "others")

    processor.sync("dags", deactivateMissing=True)
    (back,) = processor.record(daily.as_input(sequence=2))
    assert (back["status"], _dags()["daily"].bundle_name) == ("ACCEPTED", "dags")


def test_takeover_is_a_setting(gateway: Gateway, daily: ParsedFile, monkeypatch: pytest.MonkeyPatch) -> None:
    processor = RegisteredProcessor(gateway)
    processor.sync("dags", "others")
    processor.record(daily.as_input())
    monkeypatch.setenv("AIRFLOW__PARSEGATE__ALLOW_BUNDLE_TAKEOVER", "true")
    (outcome,) = processor.record(daily.as_input(bundleName="others"))
    assert (outcome["status"], _dags()["daily"].bundle_name) == ("ACCEPTED", "others")


def test_a_result_sent_twice_gets_the_first_answer_and_is_stored_once(
    processor: RegisteredProcessor, daily: ParsedFile
) -> None:
    item = daily.as_input()
    first = processor.record(item)
    parsed_at = _dags()["daily"].last_parsed_time
    second = processor.record({**item, "dags": [], "sources": []})
    assert second == first
    assert _dags()["daily"].last_parsed_time == parsed_at


def test_a_refused_result_sent_twice_gets_the_first_answer(processor: RegisteredProcessor, daily: ParsedFile) -> None:
    item = daily.as_input(sources=[])
    first = processor.record(item)
    assert first[0]["reason"] == "SOURCE_MISSING"
    assert processor.record(item) == first


def test_an_older_result_never_overwrites_a_newer_one(processor: RegisteredProcessor, daily: ParsedFile) -> None:
    newer = _changed(daily, lambda dag: dag.update(description="newer"), sequence=2)
    older = _changed(daily, lambda dag: dag.update(description="older"), sequence=1)
    outcomes = processor.record(newer, older)
    assert [outcome["reason"] for outcome in outcomes] == [None, "SUPERSEDED"]
    assert _dags()["daily"].description == "newer"
    assert _ledger()["dags", "daily.py"].sequence == 2


def test_another_processors_sequence_does_not_count(gateway: Gateway, daily: ParsedFile) -> None:
    first, second = RegisteredProcessor(gateway), RegisteredProcessor(gateway)
    first.sync("dags")
    first.record(daily.as_input(sequence=900))
    (outcome,) = second.record(daily.as_input(sequence=1))
    assert outcome["status"] == "ACCEPTED"
    assert _ledger()["dags", "daily.py"].job_id == second.job_id


def test_a_processor_whose_job_has_ended_stores_nothing(processor: RegisteredProcessor, daily: ParsedFile) -> None:
    processor.send("CompleteJob", input={"state": "FAILED"})
    outcomes = processor.record(daily.as_input(), daily.as_input(sources=[], sequence=2))
    assert [outcome["reason"] for outcome in outcomes] == ["JOB_CLOSED", "JOB_CLOSED"]
    assert _nothing_stored()
    assert not _ledger()


def test_a_timeout_changes_the_ledger_alone(processor: RegisteredProcessor, daily: ParsedFile) -> None:
    processor.record(daily.as_input(sequence=1))
    stored = _ledger()["dags", "daily.py"]
    before = _dags()["daily"]
    (outcome,) = processor.record(daily.as_input(sequence=2, timedOut=True, dags=[], sources=[], parseDuration=50.0))
    assert (outcome["status"], outcome["dagCount"]) == ("ACCEPTED", 0)
    row = _ledger()["dags", "daily.py"]
    assert (row.status, row.parse_duration, row.dag_count) == ("TIMED_OUT", 50.0, 1)
    assert row.last_parsed_at > stored.last_parsed_at
    assert row.last_stored_at == stored.last_stored_at
    after = _dags()["daily"]
    assert (after.last_parsed_time, after.is_stale) == (before.last_parsed_time, False)


def test_a_repaired_file_loses_its_import_error_and_a_broken_one_gets_it(
    processor: RegisteredProcessor, daily: ParsedFile
) -> None:
    def breaking(trace: str, sequence: int) -> dict[str, Any]:
        errors = [{"relativeFileloc": "daily.py", "stacktrace": trace}]
        return daily.as_input(dags=[], sources=[], importErrors=errors, sequence=sequence)

    processor.record(daily.as_input(sequence=1))
    processor.record(breaking("one", 2))
    assert (_import_errors(), _dags()["daily"].is_stale) == ({"daily.py": "one"}, True)
    processor.record(breaking("other\0", 3))
    assert _import_errors() == {"daily.py": "other\ufffd"}
    processor.record(daily.as_input(sequence=4))
    assert (_import_errors(), _dags()["daily"].is_stale) == ({}, False)


def test_text_that_is_not_unicode_is_stored_as_far_as_it_is(processor: RegisteredProcessor, broken: ParsedFile) -> None:
    """JSON can hold half of a surrogate pair, and so can the message of an exception."""
    for sequence in (1, 2):
        item = broken.as_input(sequence=sequence, importErrors=[{"relativeFileloc": "broken.py", "stacktrace": "<?>"}])
        body = json.dumps({"query": operation_documents()["RecordParseResults"], "variables": {"results": [item]}})
        response = processor.gateway.http.post(
            "/graphql",
            content=body.replace("<?>", "<\\ud800>"),
            headers={"Authorization": f"Bearer {processor.token}", "Content-Type": "application/json"},
        )
        assert response.json()["data"]["recordParseResults"][0]["status"] == "ACCEPTED"
        assert _import_errors() == {"broken.py": "<?>"}


def test_listeners_of_import_errors_are_told_the_processors_path(
    processor: RegisteredProcessor, broken: ParsedFile, caplog: pytest.LogCaptureFixture
) -> None:
    from airflow.listeners import hookimpl
    from airflow.listeners.listener import get_listener_manager

    told: list[tuple[str, str]] = []

    class Listener:
        @hookimpl
        def on_new_dag_import_error(self, filename: str, stacktrace: str) -> None:
            told.append(("new", filename))

        @hookimpl
        def on_existing_dag_import_error(self, filename: str, stacktrace: str) -> None:
            told.append(("existing", filename))

    listener = Listener()
    get_listener_manager().pm.register(listener)
    try:
        processor.record(broken.as_input(sequence=1))
        processor.record(broken.as_input(sequence=2))
    finally:
        get_listener_manager().pm.unregister(listener)
    path = f"{broken.bundle_path}/broken.py"
    assert told == [("new", path), ("existing", path)]
    assert "Traceback" not in caplog.text


def test_warnings_go_to_dags_of_this_bundle_alone(gateway: Gateway, daily: ParsedFile) -> None:
    from airflow.models.dagwarning import DagWarning

    processor = RegisteredProcessor(gateway)
    processor.sync("dags", "others")
    processor.record(_changed(daily, lambda dag: dag.update(dag_id="foreign"), bundleName="others"))

    def warned(*dag_ids: str, sequence: int) -> dict[str, Any]:
        return daily.as_input(
            sequence=sequence,
            warnings=[{"dagId": i, "warningType": "runtime varying value", "message": "m\0"} for i in dag_ids],
        )

    (outcome,) = processor.record(warned("daily", "foreign", "never-serialized", sequence=1))
    assert outcome["status"] == "ACCEPTED"
    assert [(warning.dag_id, warning.message) for warning in _rows(DagWarning)] == [("daily", "m\ufffd")]
    assert _ledger()["dags", "daily.py"].warning_count == 1
    processor.record(warned(sequence=2))
    assert not _rows(DagWarning)


def _lease(gateway: Gateway, job_id: int, lease_id: str, kind: str = "PARSE_REQUEST") -> None:
    from airflow._shared.timezones.timezone import utcnow
    from airflow.utils.session import create_session

    from parsegate.resolvers.tables import Claim

    with create_session() as session:
        session.add(
            Claim(
                id=lease_id,
                kind=kind,
                state="LEASED",
                bundle_name="dags",
                payload={},
                created_at=utcnow(),
                job_id=job_id,
                expires_at=utcnow(),
            )
        )


def test_leases_end_with_the_result_also_when_it_is_refused(
    gateway: Gateway, processor: RegisteredProcessor, daily: ParsedFile
) -> None:
    from parsegate.resolvers.tables import Claim

    for lease_id in ("stored", "refused", "not-granted", "superseded", "of-no-result"):
        _lease(gateway, processor.job_id, lease_id)
    _lease(gateway, processor.job_id + 1, "another's")
    _lease(gateway, processor.job_id, "callback", kind="CALLBACK")

    processor.record(
        daily.as_input(sequence=3, leaseIds=["stored", "another's", "callback"]),
        daily.as_input(sequence=4, leaseIds=["refused"], sources=[]),
        daily.as_input(relativeFileloc="/etc/passwd", leaseIds=["not-granted"]),
        daily.as_input(sequence=1, leaseIds=["superseded"]),
    )
    assert {claim.id for claim in _rows(Claim)} == {"of-no-result", "another's", "callback"}


def test_no_session_but_the_operations_own_is_used(
    processor: RegisteredProcessor, daily: ParsedFile, broken: ParsedFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A nested ``create_session()`` would wait for our own lock on SQLite, and commit what it must not."""
    from airflow import settings

    def forbidden(*_: Any, **__: Any) -> None:
        raise AssertionError("Airflow opened a session of its own")

    with monkeypatch.context() as patched:
        patched.setattr(settings, "Session", forbidden)
        outcomes = [
            *processor.record_files(daily, broken, sequence=1),
            *processor.record_files(daily, broken, sequence=2),
            processor.send("ReconcileBundle", input={"bundleName": "dags", "files": [], "observedFilelocs": []}),
            processor.send("DeactivateStaleDags", input={"staleDagThreshold": 0.0}),
            processor.send("PurgeInactiveDagWarnings"),
        ]
    assert {outcome["status"] for outcome in outcomes} == {"ACCEPTED"}, outcomes


def test_too_many_results_in_one_operation_are_refused_as_a_whole(
    processor: RegisteredProcessor, broken: ParsedFile
) -> None:
    response = processor.gateway.execute(
        operation_documents()["RecordParseResults"],
        {"results": [broken.as_input(sequence=i) for i in range(501)]},
        token=processor.token,
    )
    assert response["errors"][0]["extensions"]["code"] == "BAD_REQUEST"
    assert _nothing_stored()
