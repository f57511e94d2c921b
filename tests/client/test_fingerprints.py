from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from agent_process import parse_result

from parsegate.client import protocol
from parsegate.client.fingerprints import fingerprint

DOCUMENT = {"__version": 3, "dag": {"dag_id": "d", "tasks": ["a", "b"], "retries": 1}}
OTHER_DOCUMENT = {"__version": 3, "dag": {"dag_id": "e"}}


def dags(*documents: dict[str, Any], at: datetime | None = None) -> list[protocol.SerializedDagDocument]:
    return [protocol.SerializedDagDocument(document=document, last_loaded=at) for document in documents]


CONTENT: dict[str, Any] = {
    "dags": dags(DOCUMENT, OTHER_DOCUMENT),
    "sources": {"/a.py": "text", "/b.py": "more"},
    "import_errors": {"a.py": "Traceback"},
    "warnings": [{"dag_id": "d", "message": "w"}],
}


def fingerprint_of(**fields: Any) -> str | None:
    packed = protocol.encode(parse_result(**{**CONTENT, **fields}))[4:]
    return fingerprint(msgspec.msgpack.decode(packed, type=protocol.PackedResult))


def test_is_short_enough_for_the_ledger_and_means_nothing_to_a_url_or_json():
    digest = fingerprint_of()
    assert digest is not None
    assert len(digest) == 22
    assert set(digest) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


@pytest.mark.parametrize(
    "fields",
    [
        {"attempt_id": "another"},
        {"sequence": 7},
        {"parse_duration": 9.5},
        {"bundle_version": "v2", "version_data": {"ref": "v2"}},
        {"lease_ids": ["lease"]},
        {"dags": dags(DOCUMENT, OTHER_DOCUMENT, at=datetime(2026, 1, 1, tzinfo=UTC))},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_does_not_depend_on_what_differs_between_attempts_at_an_unchanged_file(fields: dict[str, Any]):
    assert fingerprint_of(**fields) == fingerprint_of()


def changed(**dag: Any) -> list[protocol.SerializedDagDocument]:
    return dags({"__version": 3, "dag": {**DOCUMENT["dag"], **dag}}, OTHER_DOCUMENT)


@pytest.mark.parametrize(
    "fields",
    [
        {"bundle_path": "/elsewhere"},
        {"dags": dags(OTHER_DOCUMENT, DOCUMENT)},
        {"dags": dags(DOCUMENT)},
        {"dags": changed(tasks=["b", "a"])},
        {"dags": changed(retries=1.0)},
        {"dags": changed(retries=True)},
        {"dags": changed(retries=None)},
        {"dags": changed(retries=float("nan"))},
        {"dags": changed(tasks="ab")},
        {"dags": dags({"dag": DOCUMENT["dag"], "__version": 3}, OTHER_DOCUMENT)},
        {"sources": {"/a.py": "text ", "/b.py": "more"}},
        {"sources": {"/b.py": "more", "/a.py": "text"}},
        {"sources": {"/a.py": "text"}},
        {"import_errors": {}},
        {"import_errors": {"a.py": "Traceback", "b.py": "Traceback"}},
        {"sources": CONTENT["import_errors"], "import_errors": CONTENT["sources"]},
        {"warnings": []},
        {"warnings": [{"message": "w", "dag_id": "d"}]},
    ],
    ids=str,
)
def test_changes_with_whatever_the_file_yields_and_its_order(fields: dict[str, Any]):
    assert fingerprint_of(**fields) != fingerprint_of()


def test_another_release_makes_others(monkeypatch: pytest.MonkeyPatch):
    before = fingerprint_of()
    monkeypatch.setattr("parsegate.client.fingerprints.__version__", "99")
    assert fingerprint_of() != before


def test_an_attempt_that_yielded_nothing_has_none():
    assert fingerprint_of(timed_out=True) is None
