"""Assets, aliases and watchers."""

from __future__ import annotations

from dataclasses import replace

from dag_content import AssetContent, DagContent, FileContent
from other_writers import delete_rows, review_assets, set_columns, set_paused
from parse_steps import Others, Parse, PurgeWarnings, Reconcile, parsed_twice
from two_sides import TwoSides

ORDERS = AssetContent("orders", extra="table")
ITEMS = AssetContent("items", group="shop")
READER = DagContent("reader", "assets", reads=(ORDERS, ITEMS))
WRITER = DagContent("writer", "none", writes=(ORDERS,))


def test_assets_that_are_added_changed_and_removed(two_sides: TwoSides) -> None:
    two_sides.run(
        Parse(FileContent("reads.py", (READER,)), FileContent("writes.py", (WRITER,))),
        Parse(FileContent("reads.py", (replace(READER, reads=(ORDERS,)),))),
        Parse(FileContent("reads.py", (replace(READER, schedule="any-asset"),))),
        Parse(FileContent("writes.py", (replace(WRITER, writes=(replace(ORDERS, extra="view", group="other"),)),))),
        Parse(FileContent("writes.py", (replace(WRITER, writes=(ITEMS, ORDERS), tasks=2),))),
        Parse(FileContent("writes.py", (replace(WRITER, writes=()),))),
        Parse(FileContent("reads.py", (replace(READER, schedule="daily", reads=()),))),
        Others(review_assets),
        Parse(FileContent("reads.py", (READER,))),
    )


def test_access_to_assets(two_sides: TwoSides) -> None:
    teams = replace(ORDERS, teams=("a", "b"))
    two_sides.run(
        Parse(FileContent("reads.py", (replace(READER, reads=(teams,)),))),
        Parse(FileContent("reads.py", (replace(READER, reads=(ORDERS,)),))),
        Parse(FileContent("reads.py", (replace(READER, reads=(replace(teams, teams=("b",)),)),))),
        Parse(FileContent("reads.py", (replace(READER, reads=(replace(teams, teams=("b",)),)),))),
    )


def test_one_asset_that_two_files_describe_differently(two_sides: TwoSides) -> None:
    """Whoever was stored last is right, also when neither file changed."""
    one = FileContent("one.py", (WRITER,))
    two = FileContent("two.py", (replace(READER, reads=(replace(ORDERS, extra="view", group="other"),)),))
    two_sides.run(Parse(one, two), Parse(one, two), Parse(two, one), Parse(one), Parse(two), Parse(one))


def test_two_assets_that_contend_for_a_name(two_sides: TwoSides) -> None:
    one = FileContent("one.py", (WRITER,))
    two = FileContent("two.py", (replace(READER, reads=(replace(ORDERS, uri="x-test://elsewhere/"),)),))
    two_sides.run(
        Parse(one),
        Parse(two),
        Others(review_assets),
        Parse(one, two),
        Parse(FileContent("one.py")),
        Reconcile("dags", ("two.py",)),
        Reconcile("dags", ("two.py",)),
        Others(review_assets),
        PurgeWarnings(),
        Parse(two),
        *parsed_twice(two),
    )


def test_an_asset_that_is_deactivated(two_sides: TwoSides) -> None:
    file = FileContent("a.py", (READER, WRITER))
    two_sides.run(
        *parsed_twice(file),
        Others(delete_rows, "asset_active", name="orders"),
        *parsed_twice(file),
        Others(set_columns, "asset", {"name": "orders"}, group="changed"),
        *parsed_twice(file),
        Others(delete_rows, "dag_schedule_asset_reference", dag_id="reader"),
        *parsed_twice(file),
        Others(delete_rows, "task_outlet_asset_reference", dag_id="writer"),
        *parsed_twice(file),
    )


def test_aliases_and_references(two_sides: TwoSides) -> None:
    alias = DagContent("alias", "alias", alias="found")
    refers = DagContent("refers", "references", reads=(ORDERS,))
    file = FileContent("a.py", (alias, refers))
    two_sides.run(
        *parsed_twice(file),
        *parsed_twice(file),
        Parse(FileContent("a.py", (replace(alias, alias="other"), replace(refers, reads=(ITEMS,))))),
        Parse(FileContent("a.py", (replace(alias, schedule="daily"), replace(refers, schedule="daily")))),
        *parsed_twice(file),
    )


def test_watchers_follow_their_dag(two_sides: TwoSides) -> None:
    """Watchers belong to assets of DAGs that are neither paused nor stale; a parse brings that up to date."""
    watching = FileContent("a.py", (replace(READER, reads=(replace(ORDERS, watched="inbox"), ITEMS)),))
    two_sides.run(
        *parsed_twice(watching),
        Others(set_paused, "reader", False),
        *parsed_twice(watching),
        *parsed_twice(watching),
        Others(set_paused, "reader", True),
        *parsed_twice(watching),
        Others(set_paused, "reader", False),
        *parsed_twice(watching),
        Parse(FileContent("a.py", (replace(READER, reads=(replace(ORDERS, watched="outbox"),)),))),
        Parse(FileContent("a.py", (READER,))),
    )


def test_watchers_of_assets_that_nobody_is_scheduled_by(two_sides: TwoSides) -> None:
    """Any parse of an asset takes the watchers of orphaned assets away."""
    reader = DagContent("reader", "assets", reads=(replace(ORDERS, watched="inbox"),))
    watching = FileContent("a.py", (reader,))
    other = FileContent("b.py", (DagContent("other", "assets", reads=(ITEMS,)),))
    two_sides.run(
        Parse(watching, other),
        Others(set_paused, "reader", False),
        Parse(watching, other),
        Others(delete_rows, "dag_schedule_asset_reference", dag_id="reader"),
        *parsed_twice(other),
        *parsed_twice(watching),
        Parse(FileContent("a.py")),
        Reconcile("dags", ("b.py",)),
        Reconcile("dags", ("b.py",)),
        *parsed_twice(other),
    )
