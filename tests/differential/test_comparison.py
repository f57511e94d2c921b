"""The comparison notices when the gateway leaves out a part of what a parse writes, or believes too much."""

from __future__ import annotations

from dataclasses import replace

import pytest
from credulous_gateways import OVERLOOKED
from dag_content import AssetContent, DagContent, FileContent
from deliveries import Delivery, fingerprint_first
from half_done_deliveries import leaving_out, saying_nothing_was_stored, without_telling_listeners
from other_writers import create_next_run, delete_rows, reserialize, set_columns, set_paused
from parse_steps import Again, Configure, Others, Parse, Step, Wait
from two_sides import Different, Snapshot, TwoSides

pytestmark = pytest.mark.any_database

ORDERS = AssetContent("orders", watched="inbox")
DAG = DagContent("dag", "hourly", tags=("x", "y"), owner="ada", owner_link="https://example.com/ada")
FILES = (
    FileContent("a.py", (replace(DAG, settings=(("max_active_runs", 1),)),), version="v1"),
    FileContent("b.py", (DagContent("reader", "assets", reads=(ORDERS,), writes=(ORDERS,), deadline="late"),)),
    FileContent("c.py", error="NameError"),
)
WRITER = DagContent("writer", "none", writes=(AssetContent("orders"),), alias="found")
PLAIN = (FILES[0], FileContent("writes.py", (WRITER,)), FILES[2])
WATCHING = FileContent(
    "watching.py", (DagContent("watching", "assets", reads=(AssetContent("mail", watched="inbox"),)),)
)
OTHERWISE = FileContent("otherwise.py", (replace(WRITER, dag_id="other", writes=(AssetContent("orders", extra="x"),)),))
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

LEFT_OUT_OF_A_DISTURBED_PARSE = [
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
QUIET: tuple[Step, ...] = (
    Parse(*FILES),
    Others(create_next_run, "dag"),
    Wait(7200),
    Again(replace(FILES[0], version="v2", parse_duration=1.5), FILES[2]),
)
"""Nothing of it is needed in full, and yet it leaves something."""

LEFT_OUT_OF_AN_UNCHANGED_PARSE = [
    ("dag", "last_parsed_time"),
    ("dag", "last_parse_duration"),
    ("dag", "next_dagrun"),
    ("dag", "next_dagrun_create_after"),
    ("dag", "next_dagrun_data_interval_end"),
    ("dag", "exceeds_max_non_backfill"),
    ("dag", "bundle_version"),
    ("dag_version", "bundle_version"),
    ("import_error", "timestamp"),
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
    two_sides.run(*QUIET)


@pytest.mark.parametrize("left_out", LEFT_OUT_OF_A_DISTURBED_PARSE, ids=".".join)
def test_left_out_of_a_disturbed_parse(two_sides: TwoSides, left_out: tuple[str, ...]) -> None:
    noticed(two_sides, leaving_out(*left_out), left_out, *DISTURBED, Parse(*FILES))


@pytest.mark.parametrize("left_out", LEFT_OUT_OF_AN_UNCHANGED_PARSE, ids=".".join)
def test_left_out_of_an_unchanged_parse(two_sides: TwoSides, left_out: tuple[str, ...]) -> None:
    noticed(two_sides, leaving_out(*left_out, deliver=fingerprint_first), left_out, *QUIET)


@pytest.mark.parametrize("left_out", LEFT_OUT_OF_A_CHANGED_PARSE, ids=".".join)
def test_left_out_of_a_changed_parse(two_sides: TwoSides, left_out: tuple[str, ...]) -> None:
    noticed(two_sides, leaving_out(*left_out), left_out, Parse(*FILES), Parse(*EDITED))


def test_listeners_not_told(two_sides: TwoSides) -> None:
    noticed(two_sides, without_telling_listeners, ("what listeners heard",), Parse(FILES[2]))


IT_MATTERS: dict[str, tuple[Step, ...]] = {
    "row": (Others(set_columns, "dag", {"dag_id": "dag"}, owners="mallory"), Parse(*PLAIN)),
    "document": (Others(set_columns, "serialized_dag", {"dag_id": "dag"}, dag_hash="0" * 32), Parse(*PLAIN)),
    "source": (Others(reserialize, replace(PLAIN[0], comment="edited")), Parse(*PLAIN)),
    "references": (Others(delete_rows, "dag_tag"), Parse(*PLAIN)),
    "assets": (Others(set_columns, "asset", {"name": "orders"}, group="changed"), Parse(*PLAIN)),
    "inactive": (Others(delete_rows, "asset_active"), Parse(*PLAIN)),
    "aliases": (Others(delete_rows, "asset_alias"), Parse(*PLAIN)),
    "errors": (Others(set_columns, "import_error", {}, stacktrace="Traceback of another"), Parse(*PLAIN)),
    "epoch": (Configure(operators__default_owner="everybody"), Parse(*PLAIN)),
    "watchers": (
        Others(set_paused, "watching", False),
        Parse(WATCHING),
        Others(delete_rows, "dag_schedule_asset_reference", dag_id="watching"),
        Parse(*PLAIN),
    ),
    "order": (Parse(OTHERWISE), Parse(*PLAIN, OTHERWISE)),
    "interval": (
        Configure(core__min_serialized_dag_update_interval="30"),
        Parse(*EDITED),
        Wait(60),
        Parse(*EDITED),
    ),
}
"""By what a gateway overlooks, what happens so that it matters."""


@pytest.mark.parametrize("what", OVERLOOKED)
def test_a_gateway_that_overlooks_something(two_sides: TwoSides, what: str) -> None:
    two_sides.deliveries = (fingerprint_first,)
    steps = (Parse(*PLAIN, WATCHING), Again(*PLAIN, WATCHING), *IT_MATTERS[what])
    two_sides.run(*steps)
    with OVERLOOKED[what](), pytest.raises(Different):
        two_sides.run(*steps)


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
