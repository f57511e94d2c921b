"""The database, or the software that writes to it, is not what it was when a file was stored last."""

from __future__ import annotations

from dataclasses import replace

import pytest
from dag_content import AssetContent, DagContent, FileContent
from disruptions import Locked, ResetDatabase, Upgrade
from other_writers import create_next_run
from parse_steps import Again, InFull, Others, Parse, Restart, SyncBundles, Wait
from two_sides import TwoSides

FIRST, SECOND, THIRD = (
    FileContent(f"{name}.py", (DagContent(name, "hourly", tags=("t",)),)) for name in ("first", "second", "third")
)
READER = FileContent("reader.py", (DagContent("reader", "assets", reads=(AssetContent("orders"),)),))
BROKEN = FileContent("broken.py", error="NameError")


def edited(file: FileContent) -> FileContent:
    return replace(file, dags=(replace(file.dags[0], tasks=2, tags=("u",)),), comment="edited")


def test_airflow_db_reset(two_sides: TwoSides) -> None:
    """Nothing is left of what was known, so everything comes in full."""
    files = (FIRST, READER, BROKEN)
    two_sides.run(
        Parse(*files),
        Others(create_next_run, "first"),
        Again(*files),
        ResetDatabase(),
        Restart(),
        SyncBundles(("dags", "more")),
        InFull(*files),
        Again(*files),
        Others(create_next_run, "first"),
        Again(*files),
    )


def test_a_processor_that_starts_anew(two_sides: TwoSides) -> None:
    files = (FIRST, READER, BROKEN)
    two_sides.run(
        Parse(*files),
        Restart(),
        SyncBundles(("dags", "more")),
        Again(*files),
        Wait(3600),
        Restart(),
        SyncBundles(("dags", "more")),
        Again(*files),
        Parse(edited(FIRST), READER),
        Again(edited(FIRST), READER, BROKEN),
    )


@pytest.mark.parametrize("version", ["AIRFLOW_VERSION", "PARSEGATE_VERSION"])
def test_an_upgrade_between_two_parses(two_sides: TwoSides, version: str) -> None:
    """What the new version would write is not known until it has written it."""
    two_sides.run(
        Parse(FIRST, READER), Again(FIRST, READER), Upgrade(version), InFull(FIRST, READER), Again(FIRST, READER)
    )


@pytest.mark.parametrize("failures", [1, 2])
def test_a_lock_that_is_given_back(two_sides: TwoSides, failures: int) -> None:
    """Changed files and unchanged ones are stored at the second or third try."""
    files = (edited(FIRST), edited(SECOND), edited(THIRD))
    two_sides.run(
        Parse(FIRST, SECOND, THIRD),
        Locked(Parse(*files), "second", failures),
        Again(*files),
        Locked(Again(*files), "second", failures),
        Again(*files),
    )


def test_a_lock_that_stays(two_sides: TwoSides) -> None:
    """What it keeps from being stored is as it was, and is stored when the lock is gone."""
    files = (edited(FIRST), edited(SECOND), edited(THIRD))
    two_sides.run(
        Parse(FIRST, SECOND, THIRD),
        Locked(Parse(*files), "second"),
        Parse(*files),
        Again(*files),
        Locked(Parse(*files), "second"),
        Again(*files),
    )
