"""The comparison notices when the gateway leaves out a part of what a parse writes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from dag_content import AssetContent, DagContent, FileContent
from deliveries import Delivery
from half_done_deliveries import leaving_out, saying_nothing_was_stored, without_telling_listeners
from other_writers import create_next_run, delete_rows, set_columns, set_paused
from parse_steps import Others, Parse, Step, Wait
from two_sides import Different, Snapshot, TwoSides

ORDERS = AssetContent("orders", watched="inbox")
DAG = DagContent("dag", "hourly", tags=("x", "y"), owner="ada", owner_link="https://example.com/ada")
FILES = (
    FileContent("a.py", (replace(DAG, settings=(("max_active_runs", 1),)),), version="v1"),
    FileContent("b.py", (DagContent("reader", "assets", reads=(ORDERS,), writes=(ORDERS,), deadline="late"),)),
    FileContent("c.py", error="NameError"),
)
DISTURBED: tuple[Step, ...] = (
    Parse(*FILES),
    Others(create_next_run, "dag"),
    Others(set_paused, "reader", False),
    Others(set_columns, "dag", {"dag_id": "dag"}, is_stale=True, has_import_errors=True, bundle_version="v0"),
    Others(set_columns, "asset", {"name": "orders"}, group="changed"),
    *(
        Others(delete_rows, table)
        for table in ("dag_tag", "dag_owner_attributes", "asset_active", "task_outlet_asset_reference")
    ),
    Wait(7200),
)
"""Two files that do not change, one that stays broken, and a world that does not stay the same."""
EDITED = (
    replace(
        FILES[0],
        dags=(replace(DAG, tasks=2), DagContent("new")),
        version="v2",
        comment="edited",
        warned=(("new", "varies"),),
    ),
)

LEFT_OUT_OF_AN_UNCHANGED_PARSE = [
    ("dag", "last_parsed_time"),
    ("dag", "is_stale"),
    ("dag", "has_import_errors"),
    ("dag", "next_dagrun"),
    ("dag", "next_dagrun_create_after"),
    ("dag", "next_dagrun_data_interval_start"),
    ("dag", "exceeds_max_non_backfill"),
    ("dag", "bundle_version"),
    ("asset", "group"),
    ("import_error", "timestamp"),
    ("dag_tag",),
    ("dag_owner_attributes",),
    ("asset_active",),
    ("task_outlet_asset_reference",),
    ("asset_watcher",),
]
LEFT_OUT_OF_A_CHANGED_PARSE = [
    ("dag_version",),
    ("serialized_dag", "dag_hash"),
    ("serialized_dag", "last_updated"),
    ("dag_code", "source_code"),
    ("dag_code", "last_updated"),
    ("dag_warning",),
]


def test_nothing_left_out(two_sides: TwoSides) -> None:
    two_sides.run(*DISTURBED, Parse(*FILES), Parse(*EDITED))


@pytest.mark.parametrize("left_out", LEFT_OUT_OF_AN_UNCHANGED_PARSE, ids=".".join)
def test_left_out_of_an_unchanged_parse(two_sides: TwoSides, left_out: tuple[str, ...]) -> None:
    noticed(two_sides, leaving_out(*left_out), left_out, *DISTURBED, Parse(*FILES))


@pytest.mark.parametrize("left_out", LEFT_OUT_OF_A_CHANGED_PARSE, ids=".".join)
def test_left_out_of_a_changed_parse(two_sides: TwoSides, left_out: tuple[str, ...]) -> None:
    noticed(two_sides, leaving_out(*left_out), left_out, Parse(*FILES), Parse(*EDITED))


def test_listeners_not_told(two_sides: TwoSides) -> None:
    noticed(two_sides, without_telling_listeners, ("what listeners heard",), Parse(FILES[2]))


def test_a_wrong_answer(two_sides: TwoSides) -> None:
    noticed(two_sides, saying_nothing_was_stored, ("what the processor was told",), Parse(FILES[2]))


@pytest.fixture(scope="module")
def known() -> dict[str, list[Snapshot]]:
    """Every test here takes the same two sequences on the stock side."""
    return {}


@pytest.fixture(autouse=True)
def _stock_once(two_sides: TwoSides, known: dict[str, list[Snapshot]]) -> None:
    two_sides.known = known


def noticed(two_sides: TwoSides, deliver: Delivery, left_out: tuple[str, ...], *steps: Step) -> None:
    table, *columns = left_out
    two_sides.deliveries = (deliver,)
    with pytest.raises(Different, match=": column ".join([f"(?m)^{table}", *columns])):
        two_sides.run(*steps)
