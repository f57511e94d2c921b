"""What the lists of bundles, files, DAGs, import errors and warnings show, to whom, and how they are filtered."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import dag_files
import pytest
from gateway_app import Gateway
from parse_state_rows import (
    LONG_AGO,
    add_bundle,
    add_dags,
    add_files,
    add_import_errors,
    add_processor,
    add_warnings,
    dag_row,
    file_row,
    insert,
    read,
    read_everything,
)
from parsed_files import parse
from registered_processor import RegisteredProcessor

SOURCES = "relativeFileloc source"
EVERY_FILE = ["Team/a.py", "team/a.py", "team/b.py", "team_x/c.py", "100%.py", "pack.zip"]


def ids(nodes: list[Any], field: str) -> list[str]:
    return [node[field] for node in nodes]


@pytest.fixture
def two_bundles(gateway: Gateway) -> Gateway:
    """Bundle ``ours`` and ``theirs`` with a file, a DAG, an import error and a warning each."""
    for bundle in ("ours", "theirs"):
        add_bundle(bundle)
        add_files(file_row(f"{bundle}.py", bundle))
        add_dags(dag_row(f"dag_of_{bundle}", f"{bundle}.py", bundle))
        add_import_errors(f"{bundle}_broken.py", bundle=bundle)
        add_warnings(f"dag_of_{bundle}")
    return gateway


@pytest.mark.parametrize("field", ["bundles", "files", "dags", "importErrors", "dagWarnings"])
def test_an_operator_sees_only_the_bundles_that_its_token_grants(two_bundles: Gateway, field: str) -> None:
    def seen(*bundles: str) -> list[str]:
        return [
            "ours" if "ours" in str(node) else "theirs" for node in read_everything(two_bundles, field, 10, bundles)
        ]

    assert sorted(seen("*")) == ["ours", "theirs"]
    assert seen("ours") == ["ours"]
    assert sorted(seen("ours", "theirs")) == ["ours", "theirs"]
    assert seen("another") == []
    assert seen() == []


@pytest.mark.parametrize("field", ["bundles", "files", "dags", "importErrors", "dagWarnings"])
def test_the_total_counts_only_what_the_operator_may_see(two_bundles: Gateway, field: str) -> None:
    document = f"{{ {field}(first: 1) {{ totalCount }} }}"

    for bundles, total in ((["*"], 2), (["ours"], 1), ([], 0)):
        data = two_bundles.data(document, token=two_bundles.operator_token(bundles))
        assert data[field]["totalCount"] == total


def test_a_filter_opens_no_bundle_that_the_token_does_not_grant(two_bundles: Gateway) -> None:
    assert read(two_bundles, "files", 'first: 9, bundle: "theirs"', "relativeFileloc", ("ours",)) == []


def test_rows_without_a_bundle_are_for_operators_of_all_bundles(gateway: Gateway) -> None:
    add_import_errors("old.py", bundle=None)

    assert len(read_everything(gateway, "importErrors", 10)) == 1
    assert read_everything(gateway, "importErrors", 10, ("dags",)) == []


def test_a_bundle_counts_what_is_in_it(gateway: Gateway) -> None:
    from airflow.models.team import Team, dag_bundle_team_association_table

    add_bundle("full", version="abc", last_refreshed=LONG_AGO)
    add_bundle("empty", active=False)
    insert(Team, {"name": "payments"})
    insert(dag_bundle_team_association_table, {"dag_bundle_name": "full", "team_name": "payments"})
    add_files(
        file_row("0.py", "full", import_error_count=1, parse_duration=None),
        file_row("1.py", "full", parse_duration=2.0, last_parsed_at=LONG_AGO + timedelta(seconds=1)),
        file_row("2.py", "full", parse_duration=2.0),
        file_row("3.py", "full", status="TIMED_OUT", import_error_count=1),
        file_row("other.py", "other", parse_duration=9.0),
    )
    add_dags(*(dag_row(f"dag_{n}", f"{n}.py", "full", is_stale=n == 0) for n in range(3)))
    add_import_errors("0.py", "3.py", bundle="full")
    add_warnings("dag_1", "dag_2")
    add_warnings("dag_1", warning_type="asset conflict")

    empty, full = read_everything(gateway, "bundles", 10)

    assert full == {
        "id": full["id"],
        "name": "full",
        "active": True,
        "version": "abc",
        "lastRefreshed": "2024-01-01T00:00:00+00:00",
        "teamName": "payments",
        "fileCount": 4,
        "dagCount": 2,
        "staleDagCount": 1,
        "importErrorCount": 2,
        "warningCount": 3,
        "errorFileCount": 2,
        "oldestParse": "2024-01-01T00:00:00+00:00",
        "slowestFile": {"relativeFileloc": "1.py", "parseDuration": 2.0},
    }
    assert empty["oldestParse"] is empty["slowestFile"] is None
    assert empty["active"] is False
    assert empty["teamName"] is None
    assert [empty[key] for key in empty if key.endswith("Count")] == [0] * 6


def test_bundles_are_filtered_by_being_configured(gateway: Gateway) -> None:
    add_bundle("in_use")
    add_bundle("gone", active=False)

    assert ids(read(gateway, "bundles", "first: 9, active: true", "name"), "name") == ["in_use"]
    assert ids(read(gateway, "bundles", "first: 9, active: false", "name"), "name") == ["gone"]
    assert ids(read(gateway, "bundles", "first: 9", "name"), "name") == ["gone", "in_use"]


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ("", EVERY_FILE),
        ('pathPrefix: "team/"', ["team/a.py", "team/b.py"]),
        ('pathPrefix: "team"', ["team/a.py", "team/b.py", "team_x/c.py"]),
        ('pathPrefix: "%"', []),
        ('pathPrefix: "100%"', ["100%.py"]),
        ('pathPrefix: "t_am"', []),
        ('pathPrefix: ""', EVERY_FILE),
        ('bundle: "dags"', ["Team/a.py", "team/a.py", "team/b.py", "team_x/c.py", "pack.zip"]),
        ('bundle: "more", pathPrefix: "team/"', []),
        ("status: REFUSED", ["team/b.py"]),
        ("status: TIMED_OUT", ["team_x/c.py"]),
        ("status: STORED", ["Team/a.py", "team/a.py", "100%.py", "pack.zip"]),
        ("hasImportErrors: true", ["team/a.py"]),
        ("hasImportErrors: false", ["Team/a.py", "team/b.py", "team_x/c.py", "100%.py", "pack.zip"]),
        ("failing: true", ["team/a.py", "team/b.py", "team_x/c.py"]),
        ("failing: false", ["Team/a.py", "100%.py", "pack.zip"]),
        ('parsedSince: "2024-01-01T01:00:05+01:00"', ["team/a.py", "team/b.py"]),
        ('parsedSince: "2024-01-01T00:00:07Z"', []),
        ("slowerThan: 0.5", ["team/b.py"]),
        ("slowerThan: -1", ["Team/a.py", "team/a.py", "team/b.py", "100%.py", "pack.zip"]),
        ("processor: 7", ["100%.py"]),
        ('owner: "ann"', ["team/a.py", "pack.zip"]),
        ('owner: "Ann"', []),
        ('owner: "an"', []),
        ('owner: "bob, ann"', []),
        ('owner: "bob"', ["team/a.py", "100%.py"]),
        ('owner: "bob", bundle: "dags"', ["team/a.py"]),
        ('tag: "daily"', ["team/b.py", "pack.zip"]),
        ('owner: "ann", tag: "daily"', ["pack.zip"]),
        ('owner: "bob", tag: "daily"', []),
        ('dagId: "packed"', ["pack.zip"]),
        ('dagId: "pack"', []),
        ("bundle: null, status: null", EVERY_FILE),
    ],
)
def test_files_are_filtered(gateway: Gateway, filters: str, found: list[str]) -> None:
    from airflow.models.dag import DagTag

    add_bundle("dags")
    add_bundle("more")
    later = LONG_AGO + timedelta(seconds=5)
    add_files(
        file_row("Team/a.py"),
        file_row("team/a.py", import_error_count=1, last_parsed_at=later),
        file_row("team/b.py", status="REFUSED", reason="SOURCE_MISSING", last_parsed_at=later, parse_duration=0.6),
        file_row("team_x/c.py", status="TIMED_OUT", parse_duration=None),
        file_row("100%.py", "more", job_id=7),
        file_row("pack.zip"),
    )
    add_dags(
        dag_row("ours", "team/a.py", owners="ann, bob"),
        dag_row("daily", "team/b.py", owners="anna"),
        dag_row("packed", "pack.zip/in.py", owners="ann", is_stale=True),
        dag_row("theirs", "100%.py", "more", owners="bob"),
        # In files of the same name in other bundles, where the ledger has none.
        dag_row("lost", "pack.zip/lost.py", "more", owners="bob"),
    )
    insert(DagTag, {"dag_id": "daily", "name": "daily"}, {"dag_id": "packed", "name": "daily"})

    nodes = read(gateway, "files", f"first: 9, {filters}", "relativeFileloc")

    # Which of the capital and the small letter comes first is the database's collation's to say.
    assert sorted(ids(nodes, "relativeFileloc")) == sorted(found)


def test_a_file_says_how_its_last_parse_went_and_who_made_it(gateway: Gateway) -> None:
    add_processor(7)
    add_files(
        file_row(
            "orders.py",
            status="REFUSED",
            reason="SOURCE_MISSING",
            message="No source.",
            last_parsed_at=LONG_AGO + timedelta(seconds=1.5),
            bundle_version="abc",
            parse_duration=2.25,
            dag_count=3,
            warning_count=2,
            job_id=7,
            recent_parses=[
                ["2024-01-01T00:00:01.500000+00:00", 2.25, "REFUSED", "abc", 7],
                ["2023-12-31T00:00:00+00:00", 1.0, "STORED", None, 8],
            ],
        ),
        file_row("unknown.py", job_id=8, status="REFUSED", reason="OF_A_LATER_VERSION", parse_duration=None),
    )

    orders, unknown = read_everything(gateway, "files", 10)

    assert orders == {
        "id": orders["id"],
        "bundleName": "dags",
        "relativeFileloc": "orders.py",
        "status": "REFUSED",
        "reason": "SOURCE_MISSING",
        "message": "No source.",
        "lastParsedAt": "2024-01-01T00:00:01.500000+00:00",
        "lastStoredAt": "2024-01-01T00:00:00+00:00",
        "parseDuration": 2.25,
        "bundleVersion": "abc",
        "dagCount": 3,
        "importErrorCount": 0,
        "warningCount": 2,
        "processor": {"jobId": 7, "alive": True},
        "importErrors": [],
        "recentParses": [
            {
                "parsedAt": "2024-01-01T00:00:01.500000+00:00",
                "duration": 2.25,
                "status": "REFUSED",
                "bundleVersion": "abc",
                "processor": {"jobId": 7},
            },
            {
                "parsedAt": "2023-12-31T00:00:00+00:00",
                "duration": 1.0,
                "status": "STORED",
                "bundleVersion": None,
                "processor": None,
            },
        ],
        "dags": {"totalCount": 0, "pageInfo": {"hasNextPage": False, "endCursor": None}, "nodes": []},
    }
    assert unknown["processor"] is None
    assert unknown["recentParses"] == []
    assert unknown["reason"] is None
    assert unknown["parseDuration"] is None


def test_a_files_dags_are_a_page_that_it_and_the_root_list_continue(gateway: Gateway) -> None:
    add_bundle("dags")
    add_files(file_row("many.py"), file_row("other.py"))
    add_dags(*(dag_row(f"dag_{n}", "many.py", is_stale=n == 1) for n in range(4)), dag_row("dag_x", "other.py"))
    selection = "dags(first: 3) { nodes { dagId isStale } totalCount pageInfo { hasNextPage endCursor } }"

    (file, _) = read(gateway, "files", "first: 9", selection)
    cursor = file["dags"]["pageInfo"]["endCursor"]
    rest = read(gateway, "dags", f'first: 9, bundle: "dags", pathPrefix: "many.py", after: "{cursor}"', "dagId")
    (other, _) = read(
        gateway,
        "files",
        "first: 9",
        f'dags(first: 3, after: "{cursor}")'
        "{ nodes { dagId } totalCount pageInfo { hasPreviousPage hasNextPage } }",
    )

    assert ids(file["dags"]["nodes"], "dagId") == ["dag_0", "dag_1", "dag_2"]
    assert file["dags"]["nodes"][1]["isStale"] is True
    assert file["dags"]["totalCount"] == 4
    assert file["dags"]["pageInfo"]["hasNextPage"] is True
    assert ids(rest, "dagId") == ids(other["dags"]["nodes"], "dagId") == ["dag_3"]
    assert other["dags"]["totalCount"] == 4
    assert other["dags"]["pageInfo"] == {"hasPreviousPage": True, "hasNextPage": False}


def test_two_sizes_of_page_in_one_operation_do_not_mix(gateway: Gateway) -> None:
    add_bundle("dags")
    add_files(file_row("many.py"))
    add_dags(*(dag_row(f"dag_{n}", "many.py") for n in range(4)))

    (file,) = read(gateway, "files", "first: 9", "a: dags(first: 1) { nodes { dagId } } b: dags { nodes { dagId } }")

    assert len(file["a"]["nodes"]) == 1
    assert len(file["b"]["nodes"]) == 4


@pytest.mark.parametrize("arguments", ["first: 0", "first: 101", 'after: "nonsense"'])
def test_a_files_dags_are_bounded(gateway: Gateway, arguments: str) -> None:
    add_files(file_row("many.py"))

    response = gateway.execute(
        f"{{ files(first: 1) {{ nodes {{ dags({arguments}) {{ totalCount }} }} }} }}", token=gateway.operator_token()
    )

    (error,) = response["errors"]
    assert error["extensions"]["code"] == "BAD_USER_INPUT"
    assert error["path"] == ["files", "nodes", 0, "dags"]


def test_what_lies_in_an_archive_belongs_to_the_archive(gateway: Gateway) -> None:
    add_bundle("dags")
    add_bundle("copy")
    add_files(file_row("pack.zip"), file_row("pack.zip", "copy"), file_row("pack.zip.py"), file_row("folder.zip/x.py"))
    add_dags(
        dag_row("inside", "pack.zip/deep/in.py"),
        dag_row("inside_too", "pack.zip/other.py"),
        dag_row("beside", "pack.zip.py"),
        dag_row("in_a_folder", "folder.zip/x.py"),
        dag_row("of_the_copy", "pack.zip/other.py", "copy"),
        dag_row("nowhere", "lost.py"),
    )
    add_import_errors("pack.zip/broken.py", "pack.zip/also.py", "pack.zip.py")

    files = {(node["bundleName"], node["relativeFileloc"]): node for node in read_everything(gateway, "files", 10)}
    dags = {
        node["dagId"]: node for node in read(gateway, "dags", "first: 9", "dagId file { bundleName relativeFileloc }")
    }

    assert ids(files["dags", "pack.zip"]["dags"]["nodes"], "dagId") == ["inside", "inside_too"]
    assert files["dags", "pack.zip"]["dags"]["totalCount"] == 2
    assert ids(files["copy", "pack.zip"]["dags"]["nodes"], "dagId") == ["of_the_copy"]
    assert ids(files["dags", "pack.zip.py"]["dags"]["nodes"], "dagId") == ["beside"]
    assert ids(files["dags", "folder.zip/x.py"]["dags"]["nodes"], "dagId") == ["in_a_folder"]
    traces = ids(files["dags", "pack.zip"]["importErrors"], "stacktrace")
    assert traces == ["broken pack.zip/also.py", "broken pack.zip/broken.py"]
    assert dags["inside"]["file"] == {"bundleName": "dags", "relativeFileloc": "pack.zip"}
    assert dags["in_a_folder"]["file"] == {"bundleName": "dags", "relativeFileloc": "folder.zip/x.py"}
    assert dags["nowhere"]["file"] is None


def test_an_archive_full_of_broken_files_shows_a_hundred_errors(gateway: Gateway) -> None:
    add_files(file_row("pack.zip"))
    add_import_errors(*(f"pack.zip/{n:03}.py" for n in range(105)))

    (file,) = read(gateway, "files", "first: 1", "importErrors { relativeFileloc }")

    assert ids(file["importErrors"], "relativeFileloc") == [f"pack.zip/{n:03}.py" for n in range(100)]


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ("", ["broken", "fine", "packed", "paused", "stale"]),
        ("isStale: true", ["stale"]),
        ("isStale: false", ["broken", "fine", "packed", "paused"]),
        ("isPaused: true", ["paused"]),
        ("isPaused: false, isStale: false", ["broken", "fine", "packed"]),
        ("hasImportErrors: true", ["broken"]),
        ("hasImportErrors: false", ["fine", "packed", "paused", "stale"]),
        ('dagId: "fine"', ["fine"]),
        ('dagId: "fin"', []),
        ('bundle: "more"', ["paused"]),
        ('pathPrefix: "b"', ["broken"]),
        ('parsedSince: "2024-01-01T00:00:00Z"', ["broken", "fine"]),
        ('parsedSince: "2024-01-01T00:00:01Z"', ["fine"]),
        ("slowerThan: 1", ["fine"]),
        ("processor: 7", ["fine", "packed"]),
        ("processor: 8", ["broken"]),
        ('owner: "ann"', ["fine", "stale"]),
        ('owner: "ann", isStale: true', ["stale"]),
        ('owner: "bo"', []),
        ('tag: "daily"', ["broken", "paused"]),
        ('tag: "Daily"', []),
    ],
)
def test_dags_are_filtered(gateway: Gateway, filters: str, found: list[str]) -> None:
    from airflow.models.dag import DagTag

    add_bundle("dags")
    add_bundle("more")
    add_dags(
        dag_row("broken", "b.py", has_import_errors=True, last_parsed_time=LONG_AGO, last_parse_duration=1.0),
        dag_row(
            "fine",
            "f.py",
            has_import_errors=None,
            last_parsed_time=LONG_AGO + timedelta(seconds=1),
            last_parse_duration=1.5,
            owners="bob, ann",
        ),
        dag_row("packed", "pack.zip/in.py"),
        dag_row("paused", "p.py", "more", is_paused=True),
        dag_row("stale", "s.py", is_stale=True, owners="ann"),
    )
    insert(DagTag, {"dag_id": "broken", "name": "daily"}, {"dag_id": "paused", "name": "daily"})
    add_files(
        file_row("b.py", job_id=8),
        file_row("f.py", job_id=7),
        file_row("pack.zip", job_id=7),
        file_row("p.py", job_id=7),
    )

    assert ids(read(gateway, "dags", f"first: 9, {filters}", "dagId"), "dagId") == found


def test_import_errors_and_warnings_are_filtered(two_bundles: Gateway) -> None:
    add_warnings("dag_of_ours", warning_type="asset conflict")

    errors = read(two_bundles, "importErrors", 'first: 9, pathPrefix: "ours"', "relativeFileloc bundleName stacktrace")
    warnings = read(two_bundles, "dagWarnings", 'first: 9, bundle: "ours"', "dagId warningType message relativeFileloc")
    of_type = read(two_bundles, "dagWarnings", 'first: 9, warningType: "asset conflict"', "dagId")
    of_dag = read(two_bundles, "dagWarnings", 'first: 9, dagId: "dag_of_theirs"', "dagId")

    assert errors == [
        {"relativeFileloc": "ours_broken.py", "bundleName": "ours", "stacktrace": "broken ours_broken.py"}
    ]
    about = {"dagId": "dag_of_ours", "message": "about dag_of_ours", "relativeFileloc": "ours.py"}
    assert warnings == [{**about, "warningType": "asset conflict"}, {**about, "warningType": "non-existent pool"}]
    assert ids(of_type, "dagId") == ["dag_of_ours"]
    assert ids(of_dag, "dagId") == ["dag_of_theirs"]


@pytest.mark.slow
def test_what_a_processor_stored_is_what_the_operator_reads(gateway: Gateway, tmp_path: Path) -> None:
    (tmp_path / "daily.py").write_text(dag_files.DAILY.format(dag_id="daily"))
    (tmp_path / "broken.py").write_text("import airflow\nraise RuntimeError('this file with a dag is broken')")
    processor = RegisteredProcessor(gateway, hostname="processor-9")
    processor.sync("dags")
    daily, broken = sorted(parse("dags", tmp_path), key=lambda file: file.relative_fileloc, reverse=True)
    assert {outcome["status"] for outcome in processor.record_files(daily, broken)} == {"ACCEPTED"}

    (bundle,) = read_everything(gateway, "bundles", 10)
    (of_broken, of_daily) = read_everything(gateway, "files", 10)
    (dag,) = read_everything(gateway, "dags", 10)
    (error,) = read_everything(gateway, "importErrors", 10)

    assert [bundle[key] for key in ("fileCount", "dagCount", "importErrorCount", "active")] == [2, 1, 1, True]
    assert (of_broken["status"], of_broken["importErrorCount"], of_broken["dagCount"]) == ("STORED", 1, 0)
    assert "this file with a dag is broken" in of_broken["importErrors"][0]["stacktrace"]
    assert error["relativeFileloc"] == "broken.py"
    assert (of_daily["status"], of_daily["dagCount"]) == ("STORED", 1)
    assert of_daily["processor"] == {"jobId": processor.job_id, "alive": True}
    assert of_daily["lastStoredAt"] == of_daily["lastParsedAt"] >= dag["lastParsedTime"]
    (nested,) = of_daily["dags"]["nodes"]
    assert nested["tags"] == dag["tags"] == ["daily", "e2e"]
    assert dag["dagId"] == dag["displayName"] == "daily"
    assert dag["description"] == "Every day"
    assert dag["owners"] == ["e2e"]
    assert dag["latestVersion"] == 1
    assert dag["maxActiveRuns"] == 3
    assert dag["timetableSummary"] == "0 0 * * *"
    next_run = {dag[key] for key in dag if key.startswith("nextDagrun")}
    assert next_run == {"2024-01-01T00:00:00+00:00"}
    assert dag["file"]["processor"] == {"hostname": "processor-9"}
    sources = {file["relativeFileloc"]: file["source"] for file in read(gateway, "files", "first: 9", SOURCES)}
    assert sources == {"broken.py": None, "daily.py": (tmp_path / "daily.py").read_text()}
    assert read(gateway, "bundles", "first: 1", "errorFileCount slowestFile { source }")[0]["errorFileCount"] == 1


def test_the_source_of_too_many_files_is_a_typed_error(gateway: Gateway) -> None:
    add_files(*(file_row(f"{number}.py") for number in range(101)))

    response = gateway.execute(f"{{ files(first: 101) {{ nodes {{ {SOURCES} }} }} }}", token=gateway.operator_token())

    assert {error["extensions"]["code"] for error in response["errors"]} == {"BAD_USER_INPUT"}
    assert len(read(gateway, "files", "first: 100", SOURCES)) == 100


def test_a_file_shows_the_source_that_was_stored_last(gateway: Gateway) -> None:
    from airflow.models.dag_version import DagVersion
    from airflow.models.dagcode import DagCode
    from uuid6 import uuid7

    add_bundle("dags")
    add_files(file_row("a.py"), file_row("b.py"))
    add_dags(dag_row("a1", "a.py"), dag_row("a2", "a.py"), dag_row("b", "b.py"))
    for seconds, (dag_id, version) in enumerate([("a1", 1), ("b", 1), ("a2", 1), ("a1", 2)]):
        version_id, at = uuid7(), LONG_AGO + timedelta(seconds=seconds)
        insert(DagVersion, {"id": version_id, "dag_id": dag_id, "version_number": version, "bundle_name": "dags"})
        code = {"source_code": f"{dag_id} {version}", "source_code_hash": "", "created_at": at, "last_updated": at}
        insert(DagCode, {"dag_id": dag_id, "fileloc": "x", "dag_version_id": version_id, **code})

    assert ids(read(gateway, "files", "first: 9", SOURCES), "source") == ["a1 2", "b 1"]
