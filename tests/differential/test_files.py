"""Files that vanish, return, move, or share a DAG id; bundles that come and go."""

from __future__ import annotations

from dataclasses import replace

from dag_content import AssetContent, DagContent, FileContent
from other_writers import create_next_run
from parse_steps import (
    Again,
    DeactivateStale,
    Others,
    Parse,
    PurgeWarnings,
    Reconcile,
    Refresh,
    SyncBundles,
    TimeOut,
    Wait,
    parsed_twice,
)
from two_sides import TwoSides

DAG = DagContent("shared", "hourly", tags=("x",))
FILE = FileContent("a.py", (DAG,))
OTHER = FileContent("b.py", (DagContent("other", "assets", reads=(AssetContent("orders"),)),))
BROKEN = FileContent("broken.py", error="NameError")


def test_a_file_removed_and_restored_identically(two_sides: TwoSides) -> None:
    two_sides.run(
        Parse(FILE, OTHER, BROKEN),
        Others(create_next_run, "shared"),
        Reconcile("dags", ("a.py",)),
        Again(FILE),
        Reconcile("dags", ("a.py",)),
        Wait(3600),
        Reconcile("dags", ("a.py", "b.py", "broken.py")),
        *parsed_twice(FILE, OTHER, BROKEN),
        Reconcile("dags", ()),
        *parsed_twice(OTHER),
    )


def test_dags_that_become_stale(two_sides: TwoSides) -> None:
    both = FileContent("a.py", (DAG, DagContent("second")), warned=(("second", "varies"),))
    two_sides.run(
        Parse(both, OTHER),
        Wait(40),
        Parse(FILE),
        DeactivateStale(),
        PurgeWarnings(),
        Wait(40),
        Parse(FILE),
        DeactivateStale(),
        PurgeWarnings(),
        *parsed_twice(both),
        DeactivateStale(),
        Again(both),
    )


def test_a_file_that_keeps_timing_out(two_sides: TwoSides) -> None:
    two_sides.run(
        Parse(FILE, OTHER),
        Wait(40),
        TimeOut(FILE),
        DeactivateStale(),
        Again(OTHER),
        Wait(40),
        TimeOut(FILE),
        DeactivateStale(),
        *parsed_twice(FILE, OTHER),
    )


def test_a_dag_id_in_two_files(two_sides: TwoSides) -> None:
    again = replace(FILE, path="sub/b.py")
    two_sides.run(Parse(FILE, again), Parse(FILE, again), Parse(again, FILE), Wait(60), Parse(FILE), DeactivateStale())


def test_a_dag_that_moves_to_another_file(two_sides: TwoSides) -> None:
    moved = replace(FILE, path="moved.py")
    two_sides.run(
        Parse(FILE),
        Others(create_next_run, "shared"),
        Parse(FileContent("a.py"), moved),
        Reconcile("dags", ("moved.py",)),
        *parsed_twice(moved),
        Wait(60),
        DeactivateStale(),
        Again(moved),
        Parse(moved, FileContent("a.py", error="NameError")),
    )


def test_a_dag_id_in_two_bundles(two_sides: TwoSides) -> None:
    elsewhere = replace(FILE, bundle="more", version="v1")
    two_sides.run(
        Parse(FILE, elsewhere),
        Parse(FILE, elsewhere),
        Others(create_next_run, "shared"),
        Parse(FILE),
        Parse(elsewhere),
        Parse(replace(FILE, error="NameError")),
        Reconcile("more", ()),
        *parsed_twice(FILE),
    )


def test_a_dag_that_moves_to_another_bundle(two_sides: TwoSides) -> None:
    two_sides.run(
        Parse(FILE, OTHER),
        Reconcile("dags", ("b.py",)),
        Parse(replace(FILE, bundle="more")),
        Reconcile("more", ("a.py",)),
        *parsed_twice(replace(FILE, bundle="more"), OTHER),
    )


def test_a_bundle_that_leaves_the_configuration_and_returns(two_sides: TwoSides) -> None:
    more = replace(FILE, bundle="more")
    two_sides.run(
        Parse(OTHER, more),
        Refresh("dags"),
        Refresh("more", "v1"),
        Refresh("more", "v2"),
        SyncBundles(("dags",)),
        DeactivateStale(),
        Parse(OTHER),
        SyncBundles(("dags", "more")),
        *parsed_twice(more, OTHER),
        DeactivateStale(),
        Again(more, OTHER),
    )
