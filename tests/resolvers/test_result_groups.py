"""Which results are stored together: those that have nothing to do with each other, or agree on what they share."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from dag_content import AssetContent, DagContent, FileContent

from parsegate.resolvers.attempts import made_ready
from parsegate.resolvers.parse_result import DagDocument, ParseResult, ReportedWarning
from parsegate.resolvers.principal import Principal, TokenKind
from parsegate.resolvers.result_groups import MOST_DAGS, MOST_FILES, grouped

ORDERS = AssetContent("orders", extra="table")
PLAIN = FileContent("plain.py", (DagContent("plain"),))
WRITER = FileContent("writer.py", (DagContent("writer", writes=(ORDERS,)),))
READER = FileContent("reader.py", (DagContent("reader", "assets", reads=(ORDERS,)),))
ALIAS = FileContent("alias.py", (DagContent("alias", "alias", alias="found"),))
BROKEN = FileContent("broken.py", error="NameError")


def reading(asset: AssetContent) -> FileContent:
    return replace(READER, dags=(replace(READER.dags[0], reads=(asset,)),))


def result(file: FileContent, **fields: Any) -> ParseResult:
    parsed = file.parsed(Path("/bundles"), datetime.now(UTC))
    values: dict[str, Any] = {
        "attempt_id": str(uuid.uuid4()),
        "sequence": 1,
        "bundle_name": parsed.bundle_name,
        "bundle_path": parsed.bundle_path,
        "relative_fileloc": parsed.relative_fileloc,
        "bundle_version": parsed.bundle_version,
        "version_data": parsed.version_data,
        "parse_duration": parsed.parse_duration,
        "timed_out": False,
        "documents": [DagDocument(dag["data"], None) for dag in parsed.result["serialized_dags"]],
        "import_errors": list(parsed.result["import_errors"].items()),
        "warnings": [ReportedWarning(**warning) for warning in parsed.result["warnings"]],
        "sources": parsed.sources,
        "lease_ids": [],
    }
    return ParseResult(**{**values, **fields})


def groups(*results: ParseResult, bundles: Sequence[str] = ("*",)) -> list[list[str]]:
    """The files of each group."""
    principal = Principal(TokenKind.JOB, "dag-processor:test", frozenset(bundles), 1)
    return [
        [attempt.result.relative_fileloc for attempt in group]
        for group in grouped(made_ready(principal, result) for result in results)
    ]


@pytest.fixture
def _custom_timetable(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow import plugins_manager
    from every_sunset import EverySunset

    monkeypatch.setattr(plugins_manager, "get_timetables_plugins", lambda: {"every_sunset.EverySunset": EverySunset})


@pytest.mark.usefixtures("_custom_timetable")
def test_files_that_agree_are_stored_together() -> None:
    empty = FileContent("empty.py")
    longer = replace(PLAIN, path="longer.py", dags=(DagContent("longer"),), parse_duration=9.5)
    warned = FileContent("warned.py", (DagContent("warned", "custom"),), warned=(("warned", "varies"),))
    files = [PLAIN, WRITER, READER, ALIAS, replace(ALIAS, path="b.py", dags=(DagContent("b", alias="found"),))]
    assert len(groups(*map(result, [*files, empty, longer, warned]))) == 1


def test_what_writes_no_rows_of_airflows_goes_with_any_file_of_its_bundle() -> None:
    timed_out = result(replace(BROKEN, version="v2"), timed_out=True, import_errors=[])
    refused = result(replace(WRITER, path="refused.py", version="v3"), sources={})
    assert len(groups(result(PLAIN), timed_out, refused, result(WRITER))) == 1
    assert groups(result(PLAIN), result(replace(WRITER, bundle="more"), timed_out=True)) == [
        ["plain.py"],
        ["writer.py"],
    ]


APART: dict[str, tuple[FileContent, FileContent]] = {
    "one DAG in two files": (PLAIN, replace(PLAIN, path="again.py")),
    "one file twice": (PLAIN, replace(PLAIN, dags=(DagContent("other"),))),
    "two bundles": (PLAIN, replace(WRITER, bundle="more")),
    "two versions": (replace(PLAIN, version="v1"), replace(WRITER, version="v2")),
    "two kinds of version data": (replace(PLAIN, version_data="1"), replace(WRITER, version_data="2")),
    "an asset with another extra": (WRITER, reading(replace(ORDERS, extra="view"))),
    "an asset in another group": (WRITER, reading(replace(ORDERS, group="shop"))),
    "an asset for other teams": (WRITER, reading(replace(ORDERS, teams=("a",)))),
    "two assets of one name": (WRITER, reading(replace(ORDERS, uri="x-test://elsewhere/"))),
    "two assets of one URI": (WRITER, reading(replace(ORDERS, name="items", uri="x-test://orders/"))),
    "an import error": (BROKEN, PLAIN),
    "an import error afterwards": (PLAIN, BROKEN),
    "an asset with a watcher": (PLAIN, reading(replace(ORDERS, watched="inbox"))),
    "a warning about another file's DAG": (PLAIN, replace(WRITER, warned=(("plain", "varies"),))),
    "two assets of one name in a file": (
        PLAIN,
        replace(WRITER, dags=(DagContent("w", writes=(ORDERS, replace(ORDERS, uri="x-test://elsewhere/"))),)),
    ),
    "a timetable that is not there": (
        PLAIN,
        replace(WRITER, edits=(("dag.timetable", {"__type": "no.Such", "__var": {}}),)),
    ),
    "a task that can't be decoded": (PLAIN, replace(WRITER, edits=(("dag.tasks", [{"__type": "operator"}]),))),
    "a document of an earlier version": (PLAIN, replace(WRITER, edits=(("__version", 2),))),
}


@pytest.mark.parametrize("files", APART.values(), ids=APART.keys())
def test_files_that_are_stored_apart(files: tuple[FileContent, FileContent]) -> None:
    assert groups(*map(result, files)) == [[file.path] for file in files]


def test_one_source_path_with_two_texts_is_apart() -> None:
    """DAGs of two files can come from one module that both import, and that was edited between their parses."""
    fileloc = WRITER.parsed(Path("/bundles"), datetime.now(UTC)).result["fileloc"]
    plain, writer = result(PLAIN), result(WRITER)
    same, edited = ({**plain.sources, fileloc: text} for text in (writer.sources[fileloc], "# edited"))
    assert len(groups(replace(plain, sources=same), writer)) == 1
    assert len(groups(replace(plain, sources=edited), writer)) == 2


def test_values_that_are_equal_and_not_the_same_are_apart() -> None:
    plain, writer = result(PLAIN, version_data={"ref": 1}), result(WRITER, version_data={"ref": True})
    assert len(groups(plain, writer)) == 2


def test_groups_keep_the_order_of_results_and_have_bounds() -> None:
    many = [replace(PLAIN, path=f"{n}.py", dags=(DagContent(f"dag_{n}"),)) for n in range(MOST_FILES + 1)]
    assert [len(group) for group in groups(*map(result, [*many, BROKEN, WRITER]))] == [MOST_FILES, 1, 1, 1]
    large = [
        FileContent(f"{n}.py", tuple(DagContent(f"dag_{n}_{d}", "none") for d in range(MOST_DAGS // 2)))
        for n in range(3)
    ]
    assert [len(group) for group in groups(*map(result, large))] == [2, 1]


def test_a_file_that_is_not_the_callers_is_judged_by_itself() -> None:
    assert len(groups(result(PLAIN), result(replace(WRITER, path="../x.py")), result(READER))) == 3
    assert len(groups(result(PLAIN), result(WRITER), bundles=["more"])) == 2


def test_a_deadline_that_airflow_replaces_stays_in_the_result() -> None:
    """Airflow 3.3.0 replaces it in place; a second try starts anew."""
    principal = Principal(TokenKind.JOB, "dag-processor:test", frozenset({"*"}), 1)
    received = result(replace(PLAIN, dags=(DagContent("d", deadline="late"),)))
    (dag,) = made_ready(principal, received).dags
    dag.data["dag"]["deadline"] = ["replaced"]
    assert received.documents[0].document["dag"]["deadline"] != ["replaced"]


def test_a_document_that_is_nested_too_deeply_keeps_nobody_else_from_being_stored() -> None:
    deep: Any = []
    for _ in range(900):
        deep = [deep]
    files = [PLAIN, replace(WRITER, edits=(("dag.tasks", [{"__type": "operator", "__var": {"inlets": [deep]}}]),))]
    assert groups(*map(result, files)) == [["plain.py"], ["writer.py"]]
