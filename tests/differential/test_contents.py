"""Files whose content stays, or changes from one parse to the next."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from dag_content import SCHEDULES, AssetContent, DagContent, FileContent
from other_writers import create_next_run, set_columns
from parse_steps import Again, Configure, InFull, Others, Parse, Wait, parsed_twice
from two_sides import TwoSides

ORDERS = AssetContent("orders")
PLAIN = DagContent("plain", "daily", tags=("a", "b"), owner="ada", owner_link="https://example.com/ada")


@pytest.mark.parametrize("catchup", [True, False])
def test_files_parsed_again_while_the_clock_passes_ticks(two_sides: TwoSides, catchup: bool) -> None:
    """One DAG for each kind of schedule."""
    files = [
        FileContent(
            f"{schedule}.py",
            (DagContent(schedule, schedule, catchup=catchup, reads=(ORDERS,), alias="found", tasks=2),),
        )
        for schedule in SCHEDULES
    ]
    two_sides.run(Parse(*files), Again(*files), Wait(3600), Again(*files), Wait(2 * 86400), Again(*files))


CHANGES: dict[str, dict[str, Any]] = {
    "schedule": {"schedule": "hourly"},
    "unscheduled": {"schedule": "none"},
    "assets": {"schedule": "assets", "reads": (ORDERS,)},
    "partitioned": {"schedule": "partitioned"},
    "continuous": {"schedule": "continuous"},
    "tags": {"tags": ("b", "c")},
    "no_tags": {"tags": ()},
    "owner": {"owner": "bob"},
    "owner_link": {"owner_link": "https://example.com/elsewhere"},
    "no_owner_link": {"owner_link": None},
    "catchup": {"catchup": True},
    "tasks": {"tasks": 3},
    "limits": {"settings": (("max_active_runs", 2), ("max_active_tasks", 3), ("fail_fast", True))},
    "description": {"settings": (("description", "Other"), ("dag_display_name", "Plain!"))},
    "paused": {"settings": (("is_paused_upon_creation", True),)},
    "deadline": {"deadline": "late"},
}


def test_dags_that_change_and_change_back(two_sides: TwoSides) -> None:
    """One DAG for each kind of change."""
    before = [FileContent(f"{name}.py", (replace(PLAIN, dag_id=name),)) for name in CHANGES]
    after = [FileContent(f"{name}.py", (replace(PLAIN, dag_id=name, **changes),)) for name, changes in CHANGES.items()]
    two_sides.run(Parse(*before), Parse(*after), Parse(*after), Parse(*before))


def test_a_dag_that_changes_when_its_version_has_run(two_sides: TwoSides) -> None:
    before, after = FileContent("a.py", (PLAIN,)), FileContent("a.py", (replace(PLAIN, tasks=3),))
    run = Others(create_next_run, "plain")
    two_sides.run(Parse(before), run, Again(before), *parsed_twice(after), run, *parsed_twice(before))


def test_dags_that_come_and_go_within_a_file(two_sides: TwoSides) -> None:
    one, two = DagContent("one", tags=("x",)), DagContent("two", "assets", reads=(ORDERS,))
    two_sides.run(
        Parse(FileContent("a.py", (one,))),
        Parse(FileContent("a.py", (two, one))),
        Parse(FileContent("a.py", (one, two))),
        Parse(FileContent("a.py", (two,))),
        Parse(FileContent("a.py")),
        Parse(FileContent("a.py", (one, two))),
    )


def test_source_code_that_changes_alone(two_sides: TwoSides) -> None:
    file = FileContent("a.py", (PLAIN,))
    edited = replace(file, comment="Says more now.")
    two_sides.run(Parse(file), *parsed_twice(edited), Others(create_next_run, "plain"), *parsed_twice(file))


def test_warnings_that_come_change_and_go(two_sides: TwoSides) -> None:
    file = FileContent("a.py", (PLAIN, DagContent("other")))
    warned = replace(file, warned=(("plain", "varies"),))
    two_sides.run(
        Parse(file),
        *parsed_twice(warned),
        Parse(replace(file, warned=(("plain", "varies otherwise"), ("other", "as well")))),
        Parse(warned),
        *parsed_twice(file),
    )


def test_an_import_error_that_stays_changes_and_goes(two_sides: TwoSides) -> None:
    """Each parse renews its time and tells the listeners, changed or not; its DAGs are stale meanwhile."""
    file = FileContent("a.py", (PLAIN,))
    broken = FileContent("a.py", error="NameError")
    two_sides.run(
        *parsed_twice(broken),
        *parsed_twice(file),
        Parse(broken),
        Wait(40),
        Again(broken),
        *parsed_twice(FileContent("a.py", error="another error")),
        *parsed_twice(file),
    )


def test_deadlines_that_come_stay_change_and_go(two_sides: TwoSides) -> None:
    late = FileContent("a.py", (replace(PLAIN, deadline="late"),))
    two_sides.run(
        Parse(late),
        Parse(late),
        Others(create_next_run, "plain"),
        Parse(late),
        Parse(FileContent("a.py", (replace(PLAIN, deadline="very late"),))),
        Parse(FileContent("a.py", (replace(PLAIN, deadline="very late", tasks=2),))),
        Parse(FileContent("a.py", (PLAIN,))),
        Parse(late),
    )


def test_versions_of_a_bundle(two_sides: TwoSides) -> None:
    file = FileContent("a.py", (PLAIN, DagContent("other", "none")), version="v1", version_data="main")
    two_sides.run(
        *parsed_twice(file),
        Again(replace(file, version="v1.1")),
        Again(replace(file, version="v1.1", version_data="release")),
        Others(create_next_run, "plain"),
        Parse(replace(file, version="v2")),
        Again(replace(file, version="v2")),
        *parsed_twice(replace(file, version="v2", version_data="other")),
        *parsed_twice(replace(file, version="v2", version_data="other", comment="new source, same DAGs")),
        *parsed_twice(replace(file, version="v3", comment="both new")),
        *parsed_twice(replace(file, version="v1")),
        *parsed_twice(replace(file, version=None, version_data=None)),
    )


def test_changes_within_the_update_interval(two_sides: TwoSides) -> None:
    """Content A, then B too early to be written, then B again when it may be."""
    a = FileContent("a.py", (PLAIN,))
    b = FileContent("a.py", (replace(PLAIN, tasks=4, tags=("b",)),), comment="B")
    two_sides.run(
        Configure(core__min_serialized_dag_update_interval="30"),
        Parse(a),
        Wait(5),
        Parse(b),
        Wait(5),
        Parse(b),
        Wait(30),
        Parse(b),
        Wait(5),
        Parse(a),
        Parse(b),
        Wait(60),
        *parsed_twice(b),
    )


def test_a_configuration_that_changes_between_two_parses(two_sides: TwoSides) -> None:
    file = FileContent("a.py", (replace(PLAIN, owner=None, owner_link=None),))
    two_sides.run(
        Parse(file),
        Configure(core__max_active_runs_per_dag="3"),
        InFull(file),
        Again(file),
        Configure(core__max_active_tasks_per_dag="5", core__max_consecutive_failed_dag_runs_per_dag="7"),
        InFull(file),
        Again(file),
        Configure(operators__default_owner="everybody"),
        InFull(file),
        Again(file),
        Configure(core__compress_serialized_dags="True"),
        InFull(file),
        Again(file),
        Parse(replace(file, comment="edited")),
        Parse(FileContent("a.py", (replace(PLAIN, owner=None, tasks=2),))),
    )


def test_columns_that_each_parse_sets_again(two_sides: TwoSides) -> None:
    """Whatever another writer left in a row that belongs to the DAG processor, an unchanged parse puts right."""
    file = FileContent("a.py", (PLAIN,), version="v1")
    key = {"dag_id": "plain"}
    others = [
        {"is_stale": True},
        {"has_import_errors": True},
        {"max_active_runs": 99, "max_active_tasks": 98},
        {"bundle_version": "v0"},
        {"owners": "mallory", "description": "changed"},
        {"fileloc": "/elsewhere.py"},
        {"timetable_summary": "changed", "timetable_description": "changed", "timetable_periodic": False},
        {"next_dagrun": None, "next_dagrun_create_after": None},
        {"exceeds_max_non_backfill": True},
        {"is_paused": True},
        {"fail_fast": True},
    ]
    steps = [step for values in others for step in (Others(set_columns, "dag", key, **values), *parsed_twice(file))]
    two_sides.run(Parse(file), *steps)
