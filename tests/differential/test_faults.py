"""What a database or a document that fails leaves behind."""

from __future__ import annotations

from dataclasses import replace

import pytest
from dag_content import DagContent, FileContent
from parse_steps import Interrupted, OnOneSide, Parse
from two_sides import TwoSides

FIRST, SECOND, THIRD = (
    FileContent(f"{name}.py", (DagContent(name, "hourly", tags=("t",)),)) for name in ("first", "second", "third")
)


def edited(file: FileContent) -> FileContent:
    return replace(file, dags=(replace(file.dags[0], tasks=2, tags=("u",)),), comment="edited")


@pytest.mark.parametrize("statement", ["FROM dag ", "UPDATE dag ", "INSERT INTO dag_tag", "UPDATE serialized_dag"])
def test_a_lock_in_the_middle_of_a_batch(two_sides: TwoSides, statement: str) -> None:
    """The interrupted file is stored at the second try, the others are as if nothing had happened."""
    files = (FIRST, SECOND, THIRD)
    two_sides.run(
        Parse(*files),
        Interrupted(Parse(*(edited(file) for file in files)), statement),
        Parse(*(edited(file) for file in files)),
        Interrupted(Parse(*files), "second"),
    )


def test_a_file_that_can_never_be_stored(two_sides: TwoSides) -> None:
    """Nothing of it is stored; the files before and after it in the batch are."""
    two_sides.run(
        Parse(FIRST, SECOND, THIRD),
        Interrupted(Parse(edited(FIRST), edited(SECOND), edited(THIRD)), "second.py", times=-1),
        Parse(edited(SECOND)),
    )


def test_a_new_file_that_can_never_be_stored(two_sides: TwoSides) -> None:
    two_sides.run(Interrupted(Parse(FIRST, SECOND, THIRD), "second.py", times=-1), Parse(SECOND))


@pytest.mark.parametrize("statement", ["UPDATE dag_code", "INSERT INTO dag_warning"])
def test_a_lock_where_stock_gives_up(two_sides: TwoSides, statement: str) -> None:
    """Airflow repeats most of its writes but not all; here the file is stored all the same, as if uninterrupted."""
    file = replace(edited(FIRST), warned=(("first", "varies"),))
    two_sides.run(
        Parse(FIRST, SECOND),
        OnOneSide(stock=Parse(file, edited(SECOND)), gateway=Interrupted(Parse(file, edited(SECOND)), statement)),
        Parse(FIRST, SECOND),
    )


@pytest.mark.parametrize(
    "edit",
    [
        pytest.param(("dag.x", float("nan")), id="NaN"),
        pytest.param(("dag.x", 2**63), id="more-than-64-bits"),
        pytest.param(("dag.timetable", {"__type": "no.Such", "__var": {}}), id="unregistered-timetable"),
    ],
)
def test_a_refused_document_changes_nothing(two_sides: TwoSides, edit: tuple) -> None:
    """Stock stores numbers that not every database and JSON reader can hold; here they are refused, and documented.

    To the other side the file does not come at all, so the tables must be as if it had not come.
    """
    two_sides.run(
        Parse(FIRST, SECOND, THIRD),
        OnOneSide(gateway=Parse(replace(edited(SECOND), edits=(edit,))), answer=["not stored"]),
        Parse(FIRST, edited(SECOND)),
    )
