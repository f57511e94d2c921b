"""Zips: several DAGs with sources of their own behind one path."""

from __future__ import annotations

from dataclasses import replace

from dag_content import AssetContent, DagContent
from other_writers import create_next_run
from parse_steps import Again, DeactivateStale, Others, Parse, Reconcile, Wait
from two_sides import TwoSides
from zip_content import BROKEN, ZipContent, member

HOURLY = DagContent("hourly", "hourly", tags=("x",))
READER = DagContent("reader", "assets", reads=(AssetContent("orders", extra="table"),), tasks=2)
WRITER = DagContent("writer", "none", writes=(AssetContent("orders", extra="table"),))
SCHEDULED, OF_ASSETS = ("scheduled", member(HOURLY)), ("of_assets", member(READER, WRITER))
PACKED = ZipContent("sub/packed.zip", (SCHEDULED, OF_ASSETS))


def test_a_zip_that_stays_while_its_dags_run(two_sides: TwoSides) -> None:
    two_sides.run(
        Parse(PACKED),
        Again(PACKED),
        Others(create_next_run, "hourly"),
        Again(PACKED),
        Wait(7200),
        Again(PACKED),
        Reconcile("dags", ("sub/packed.zip",)),
        DeactivateStale(),
        Again(PACKED),
    )


def test_files_inside_a_zip_that_come_change_and_go(two_sides: TwoSides) -> None:
    changed = replace(PACKED, members=(SCHEDULED, ("of_assets", member(replace(READER, tasks=1), WRITER))))
    edited = replace(PACKED, members=(("scheduled", member(HOURLY, comment="edited")), OF_ASSETS))
    alone = replace(PACKED, members=(SCHEDULED,))
    two_sides.run(
        Parse(PACKED),
        Parse(changed),
        Again(changed),
        Parse(edited),
        Again(edited),
        Parse(alone),
        Reconcile("dags", ("sub/packed.zip",)),
        Again(alone),
        Wait(60),
        Parse(alone),
        DeactivateStale(),
        Parse(PACKED),
        Again(PACKED),
        Reconcile("dags", ()),
        Parse(PACKED),
        Again(PACKED),
    )


def test_a_zip_with_a_broken_file_inside(two_sides: TwoSides) -> None:
    """The DAGs beside it stay; Airflow names its error by the absolute path."""
    breaks_first = replace(PACKED, members=(("broken", BROKEN), SCHEDULED, OF_ASSETS))
    breaks_last = replace(PACKED, members=(SCHEDULED, OF_ASSETS, ("broken", BROKEN)))
    two_sides.run(
        Parse(PACKED),
        Parse(breaks_first),
        Parse(breaks_first),
        Wait(40),
        Parse(breaks_first),
        Parse(breaks_last),
        Parse(breaks_last),
        Reconcile("dags", ("sub/packed.zip",)),
        Parse(PACKED),
        Again(PACKED),
    )
