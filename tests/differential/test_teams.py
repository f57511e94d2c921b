"""Bundles of several teams in one deployment: ``[core] multi_team``."""

from __future__ import annotations

from dag_content import AssetContent, DagContent, FileContent
from other_writers import create_next_run, insert_row, set_paused
from parse_steps import Again, Configure, DeactivateStale, InFull, Others, Parse, PurgeWarnings, Reconcile, SyncBundles
from two_sides import TwoSides

RED = AssetContent("red", extra="table", watched="inbox", teams=("red",))
SHARED = AssetContent("shared", teams=("red", "blue"))
OF_RED = FileContent(
    "a.py",
    (
        DagContent("red_writes", "hourly", writes=(RED, SHARED), tags=("x",)),
        DagContent("red_reads", "assets", reads=(RED, SHARED)),
    ),
)
OF_BLUE = FileContent("a.py", (DagContent("blue_reads", "any-asset", reads=(SHARED,)),), bundle="more", version="v1")
BROKEN = FileContent("broken.py", error="NameError", bundle="more", version="v1")


def test_bundles_that_belong_to_teams(two_sides: TwoSides) -> None:
    files = (OF_RED, OF_BLUE, BROKEN)
    both = ("dags", "more")
    two_sides.run(
        Configure(core__multi_team="True"),
        Others(insert_row, "team", name="red"),
        Others(insert_row, "team", name="blue"),
        SyncBundles(both, teams=(("dags", "red"), ("more", "blue"))),
        Parse(*files),
        Again(*files),
        Others(set_paused, "red_reads", False),
        Others(create_next_run, "red_writes"),
        Parse(*files),
        Again(*files),
        # The bundles change hands; what they hold is described as before.
        SyncBundles(both, teams=(("dags", "blue"),)),
        Again(*files),
        Reconcile("dags", ("a.py",)),
        DeactivateStale(),
        PurgeWarnings(),
        Again(*files),
        SyncBundles(both),
        Configure(core__multi_team="False"),
        InFull(*files),
        Again(*files),
    )
