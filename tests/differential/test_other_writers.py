"""What the scheduler, people and maintenance commands do between two unchanged parses."""

from __future__ import annotations

from dataclasses import replace

import pytest
from dag_content import AssetContent, DagContent, FileContent
from other_writers import (
    clean,
    create_next_run,
    delete_dag,
    delete_last_run,
    delete_rows,
    finish_runs,
    insert_row,
    reserialize,
    set_columns,
    set_paused,
    trigger_run,
)
from parse_steps import Others, Parse, Wait, parsed_twice
from two_sides import BEGINNING, TwoSides

DAG = DagContent("dag", "hourly", tags=("x", "y"), owner="ada", owner_link="https://example.com/ada")
STRAY_WARNING = {"dag_id": "dag", "warning_type": "non-existent pool", "message": "?", "timestamp": BEGINNING}
FILE = FileContent("a.py", (DAG, DagContent("reader", "assets", reads=(AssetContent("orders"),))))


@pytest.mark.parametrize("catchup", [True, False])
def test_runs_created_and_deleted(two_sides: TwoSides, catchup: bool) -> None:
    """One DAG for each kind of schedule that makes runs by itself."""
    schedules = ("hourly", "minutely", "trigger", "partitioned", "custom", "continuous", "once", "assets-or-time")
    orders = (AssetContent("orders"),)
    dags = [replace(DAG, dag_id=name, schedule=name, catchup=catchup, reads=orders) for name in schedules]
    files = [FileContent(f"{dag.dag_id}.py", (dag,)) for dag in dags]
    two_sides.run(
        *parsed_twice(*files),
        *(Others(create_next_run, name) for name in schedules),
        *parsed_twice(*files),
        Wait(7200),
        *(Others(create_next_run, name, updating_the_next=False) for name in schedules),
        *parsed_twice(*files),
        *(Others(delete_last_run, name) for name in schedules),
        *parsed_twice(*files),
    )


def test_active_runs_that_cross_the_maximum(two_sides: TwoSides) -> None:
    file = FileContent("a.py", (replace(DAG, catchup=True, settings=(("max_active_runs", 2),)),))
    two_sides.run(
        *parsed_twice(file),
        Others(create_next_run, "dag"),
        *parsed_twice(file),
        Others(create_next_run, "dag"),
        *parsed_twice(file),
        Others(trigger_run, "dag", "by_hand"),
        *parsed_twice(file),
        Others(finish_runs, "dag"),
        *parsed_twice(file),
        Parse(FileContent("a.py", (replace(DAG, catchup=True, settings=(("max_active_runs", 1),)),))),
    )


def test_pausing(two_sides: TwoSides) -> None:
    two_sides.run(
        *parsed_twice(FILE),
        Others(set_paused, "dag", False),
        *parsed_twice(FILE),
        Wait(7200),
        Others(set_paused, "dag", True),
        *parsed_twice(FILE),
    )


def test_airflow_dags_delete(two_sides: TwoSides) -> None:
    two_sides.run(
        *parsed_twice(FILE),
        Others(create_next_run, "dag"),
        Others(delete_dag, "dag"),
        *parsed_twice(FILE),
        Others(delete_dag, "dag"),
        Others(delete_dag, "reader"),
        *parsed_twice(FILE),
    )


@pytest.mark.parametrize("table", ["dag", "dag_version", "dag_run", "task_instance"])
def test_airflow_db_clean(two_sides: TwoSides, table: str) -> None:
    edited = replace(FILE, dags=(replace(DAG, tasks=2), FILE.dags[1]))
    # A DAG whose task instances name a version of it can't be cleaned away.
    run = [Others(create_next_run, "dag")] if table != "dag" else []
    two_sides.run(
        *parsed_twice(FILE),
        *run,
        *parsed_twice(edited),
        Wait(7200),
        *parsed_twice(edited),
        Others(clean, table, 3600),
        *parsed_twice(edited),
        Others(clean, table, 0),
        *parsed_twice(edited),
    )


@pytest.mark.parametrize(
    ("table", "has_run"),
    # Task instances keep the version that they ran.
    [
        ("serialized_dag", True),
        ("serialized_dag", False),
        ("dag_code", True),
        ("dag_code", False),
        ("dag_version", False),
    ],
)
def test_rows_of_a_version_missing(two_sides: TwoSides, table: str, has_run: bool) -> None:
    run = [Others(create_next_run, "dag")] if has_run else []
    two_sides.run(
        *parsed_twice(FILE),
        *run,
        Others(delete_rows, table, dag_id="dag"),
        # Airflow may leave it missing, and then tries again at each parse.
        Parse(FILE),
        Parse(FILE),
        Parse(FILE),
        Parse(replace(FILE, dags=(replace(DAG, tasks=3),), comment="edited")),
        Parse(FILE),
        Parse(FILE),
    )


def test_rows_beside_a_dag_missing_or_too_many(two_sides: TwoSides) -> None:
    two_sides.run(
        *parsed_twice(FILE),
        Others(delete_rows, "dag_tag", dag_id="dag"),
        *parsed_twice(FILE),
        Others(insert_row, "dag_tag", dag_id="dag", name="stray"),
        *parsed_twice(FILE),
        Others(delete_rows, "dag_owner_attributes", dag_id="dag"),
        *parsed_twice(FILE),
        Others(set_columns, "dag_owner_attributes", {"dag_id": "dag"}, link="https://example.com/changed"),
        *parsed_twice(FILE),
        Others(
            insert_row, "dag_warning", dag_id="dag", warning_type="non-existent pool", message="?", timestamp=BEGINNING
        ),
        *parsed_twice(FILE),
        Others(set_columns, "serialized_dag", {"dag_id": "dag"}, dag_hash="0" * 32),
        *parsed_twice(FILE),
        Others(set_columns, "dag_code", {"dag_id": "dag"}, source_code="changed", source_code_hash="0" * 32),
        *parsed_twice(FILE),
        Others(delete_rows, "import_error", bundle_name="dags"),
        *parsed_twice(FILE),
    )


def test_another_stock_writer(two_sides: TwoSides) -> None:
    """``airflow dags reserialize``, or a processor without parsegate that sees another version of the file."""
    edited = replace(FILE, dags=(replace(DAG, tasks=2, tags=("z",)),), comment="edited")
    two_sides.run(
        *parsed_twice(FILE),
        Others(reserialize, FILE),
        *parsed_twice(FILE),
        Others(reserialize, edited),
        *parsed_twice(FILE),
        Others(create_next_run, "dag"),
        Others(reserialize, edited),
        *parsed_twice(FILE),
        Others(reserialize, replace(edited, version="v9", version_data="x")),
        *parsed_twice(FILE),
        Others(reserialize, FileContent("a.py", error="NameError")),
        *parsed_twice(FILE),
    )
