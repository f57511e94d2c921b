"""Files that are stored together leave what Airflow leaves when it stores them one by one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from dag_content import AssetContent, DagContent, FileContent
from deliveries import Delivery, in_full
from other_writers import create_next_run, delete_rows, finish_runs, insert_row, set_columns, set_paused
from parse_steps import Interrupted, OnOneSide, Others, Parse
from two_sides import BEGINNING, TwoSides

ORDERS, ITEMS = AssetContent("orders", extra="table"), AssetContent("items", group="shop")
PLAIN = DagContent("plain", "hourly")
WRITER = DagContent("writer", "none", writes=(ORDERS,))
READER = DagContent("reader", "assets", reads=(ORDERS,))
FIRST, SECOND, THIRD = (
    FileContent(f"{name}.py", (DagContent(name, "hourly", tags=("t",)),)) for name in ("first", "second", "third")
)


@pytest.fixture
def deliveries() -> Sequence[Delivery]:
    return (in_full,)


def file(dag: DagContent, **fields: object) -> FileContent:
    return replace(FileContent(f"{dag.dag_id}.py", (dag,)), **fields)


def test_files_with_durations_and_versions_of_their_own(two_sides: TwoSides) -> None:
    files = (replace(FIRST, parse_duration=0.5), replace(SECOND, parse_duration=7.5), replace(THIRD, version="v1"))
    two_sides.run(
        Parse(*files),
        Parse(*files, file(PLAIN, version="v1", version_data="main"), file(WRITER, version="v1")),
        Parse(*(replace(each, version="v2", version_data="main", parse_duration=1.5) for each in files)),
    )


def test_references_to_assets_that_a_file_does_not_mention_any_more(two_sides: TwoSides) -> None:
    """Airflow forgets to remove them when no DAG of the file mentions an asset, or an alias."""
    alias = DagContent("alias", "alias", alias="found")
    other = DagContent("other", "assets", reads=(ITEMS,), writes=(ITEMS,), alias="lost")
    scheduled = DagContent("scheduled", "assets", reads=(ORDERS,))
    two_sides.run(
        Parse(file(WRITER), file(READER), file(alias), file(scheduled), file(other)),
        Parse(
            file(replace(WRITER, writes=())),
            file(replace(READER, schedule="references")),
            file(replace(alias, schedule="references", reads=(ITEMS,), alias=None)),
            file(replace(scheduled, schedule="alias", reads=(), alias="found")),
            file(replace(other, tasks=2)),
        ),
        Parse(file(WRITER), file(READER), file(alias), file(scheduled), file(other)),
    )


def test_an_asset_that_files_describe_alike_and_then_do_not(two_sides: TwoSides) -> None:
    described = replace(READER, reads=(replace(ORDERS, group="other"), ITEMS))
    renamed = replace(READER, reads=(replace(ORDERS, uri="x-test://elsewhere/"),))
    two_sides.run(
        Parse(file(WRITER), file(READER)),
        Parse(file(described), file(WRITER)),
        Parse(file(WRITER), file(described)),
        Parse(file(WRITER), file(renamed), file(PLAIN)),
        # The first to have a name is activated.
        Others(delete_rows, "asset_active"),
        Parse(file(renamed), file(WRITER)),
        Others(delete_rows, "asset_active"),
        Parse(file(WRITER), file(renamed)),
    )


def test_watchers_that_one_file_takes_and_another_gives(two_sides: TwoSides) -> None:
    """Triggers that are taken away and given again are other triggers."""
    watched = replace(ORDERS, watched="inbox")
    one, two = (DagContent(name, "assets", reads=(watched,)) for name in ("one", "two"))
    outlet = DagContent("outlet", "none", writes=(watched,))
    ended = replace(one, reads=(ITEMS,))
    two_sides.run(
        Parse(file(one), file(two), file(outlet), file(PLAIN)),
        Others(set_paused, "one", False),
        Parse(file(one), file(PLAIN)),
        Parse(file(outlet), file(ended), file(PLAIN)),
        Parse(file(ended), file(one), file(PLAIN)),
        # Nobody mentions the watcher any more, but the asset has it still.
        Parse(file(replace(one, reads=(ORDERS,))), file(ended), file(PLAIN)),
        Parse(file(one)),
        Parse(file(replace(PLAIN, schedule="assets", reads=(ORDERS,))), file(replace(one, schedule="daily"))),
        Others(set_columns, "dag", {"dag_id": "one"}, is_stale=True),
        Parse(file(replace(outlet, writes=(ORDERS,))), file(one)),
    )


def test_a_warning_about_a_dag_of_another_file(two_sides: TwoSides) -> None:
    warned = replace(FIRST, warned=(("first", "varies"), ("second", "of another")))
    two_sides.run(
        Parse(FIRST, SECOND),
        Parse(warned, SECOND),
        Parse(SECOND, warned),
        Parse(warned, replace(SECOND, warned=(("second", "varies"),)), THIRD),
        Others(
            insert_row,
            "dag_warning",
            dag_id="third",
            warning_type="non-existent pool",
            message="?",
            timestamp=BEGINNING,
        ),
        Parse(FIRST, THIRD),
    )


UNSERIALIZABLE = ("dag.x", [{"__var": ["task_id"]}])
"""Airflow decodes it, and fails when it sorts it to compute its hash."""


def test_a_dag_that_cannot_be_serialized(two_sides: TwoSides) -> None:
    """It becomes an import error, of which listeners hear once, and marks the DAGs of its path."""
    shared_path = ("dag.relative_fileloc", "factory.py")
    factory = [replace(each, edits=(shared_path,)) for each in (FIRST, SECOND)]
    bad = replace(factory[0], edits=(shared_path, UNSERIALIZABLE))
    two_sides.run(
        Parse(FIRST, SECOND, THIRD),
        Parse(FIRST, replace(SECOND, edits=(UNSERIALIZABLE,)), THIRD),
        Parse(FIRST, SECOND, THIRD),
        Parse(bad, factory[1], THIRD),
        Parse(factory[1], bad),
        Parse(*factory),
    )


def test_import_errors_between_files_without(two_sides: TwoSides) -> None:
    """Whoever is stored later decides whether the DAGs of one path are stale."""
    of_second = replace(FIRST, edits=(("dag.relative_fileloc", "second.py"),))
    broken = replace(SECOND, error="NameError")
    two_sides.run(
        Parse(FIRST, SECOND, THIRD),
        Parse(of_second, broken, THIRD),
        Parse(broken, of_second, THIRD, broken),
        Parse(THIRD, SECOND, FIRST),
    )


def test_a_file_that_is_refused_in_the_middle(two_sides: TwoSides) -> None:
    edited = [replace(each, dags=(replace(each.dags[0], tasks=2),)) for each in (FIRST, SECOND, THIRD)]
    unknown = replace(edited[1], edits=(("dag.timetable", {"__type": "no.Such", "__var": {}}),))
    unfit = replace(edited[1], edits=(("dag.tags", 5),))
    two_sides.run(
        Parse(FIRST, SECOND, THIRD),
        OnOneSide(stock=Parse(edited[0], edited[2]), gateway=Parse(edited[0], unknown, edited[2])),
        OnOneSide(stock=Parse(FIRST, THIRD), gateway=Parse(FIRST, unfit, THIRD)),
        Parse(*edited),
    )


def test_runs_of_dags_that_are_stored_together(two_sides: TwoSides) -> None:
    """Their latest and active runs are read for all of them at once, also when a DAG's own row is gone."""
    dags = [
        DagContent(name, schedule, catchup=True, settings=(("max_active_runs", 1),))
        for name, schedule in (("a", "hourly"), ("b", "partitioned"), ("c", "hourly"), ("d", "none"), ("e", "custom"))
    ]
    files = [file(dag) for dag in dags]
    two_sides.run(
        Parse(*files),
        *(Others(create_next_run, name) for name in ("a", "a", "b", "b", "e")),
        Parse(*files),
        Others(finish_runs, "a"),
        Others(create_next_run, "c"),
        Others(delete_rows, "task_instance", dag_id="c"),
        Others(delete_rows, "dag", dag_id="c"),
        Parse(*files),
    )


@pytest.mark.parametrize("statement", ["DELETE FROM import_error", "FROM dag_warning", "INSERT INTO parsegate_file"])
def test_an_interruption_at_the_end_of_a_group(two_sides: TwoSides, statement: str) -> None:
    """Airflow would catch it, log it, and commit the rest."""
    group = Parse(FIRST, SECOND, THIRD)
    two_sides.run(
        Parse(replace(SECOND, error="NameError"), replace(THIRD, warned=(("third", "varies"),))),
        OnOneSide(stock=group, gateway=Interrupted(group, statement)),
        Parse(SECOND),
    )
