"""Compares what two databases hold in Airflow's tables, row by row and column by column.

Surrogate ids are replaced by what they stand for, wherever they appear. What tells when a row was written is left out,
unless the clock was the same for both; the columns are listed here, and there are no others.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from contextlib import closing
from typing import TYPE_CHECKING, Any
from uuid import UUID

if TYPE_CHECKING:
    from sqlalchemy import Connection

CLOCK_COLUMNS = {
    "asset": {"created_at", "updated_at"},
    "dag": {"last_parsed_time"},
    "dag_bundle": {"last_refreshed"},
    "dag_code": {"created_at", "last_updated"},
    "dag_schedule_asset_alias_reference": {"created_at", "updated_at"},
    "dag_schedule_asset_name_reference": {"created_at"},
    "dag_schedule_asset_reference": {"created_at", "updated_at"},
    "dag_schedule_asset_uri_reference": {"created_at"},
    "dag_version": {"created_at", "last_updated"},
    "dag_warning": {"timestamp"},
    "deadline_alert": {"created_at"},
    "import_error": {"timestamp"},
    "job": {"start_date", "end_date", "latest_heartbeat"},
    "log_template": {"created_at"},
    "serialized_dag": {"created_at", "last_updated"},
    "task_inlet_asset_reference": {"created_at", "updated_at"},
    "task_outlet_asset_reference": {"created_at", "updated_at"},
    "trigger": {"created_date"},
}
"""By table, the columns that hold the time of writing."""

NATURAL_KEYS: dict[str, tuple[str, ...]] = {
    # In an order in which a key refers to earlier tables alone.
    "asset": ("name", "uri"),
    "asset_alias": ("name",),
    "dag_version": ("dag_id", "version_number"),
    "dag_code": ("dag_version_id",),
    "serialized_dag": ("dag_version_id",),
    "dag_run": ("dag_id", "run_id"),
    "task_instance": ("dag_id", "run_id", "task_id", "map_index"),
    "deadline_alert": ("serialized_dag_id", "name", "interval"),
    "import_error": ("bundle_name", "filename"),
    "job": ("job_type", "hostname", "unixname"),
    "trigger": ("classpath", "kwargs"),
}
"""By table with a surrogate key ``id``, the columns that name a row in its place."""

Rows = list[dict[str, Any]]


def differences(
    expected_url: str, actual_url: str, *, ignoring: Mapping[str, Collection[str]] | None = None
) -> list[str]:
    """What differs between the two databases, a line for each difference; empty when nothing does.

    :param ignoring: columns to leave out by table, beyond CLOCK_COLUMNS; ``*`` leaves out the whole table
    """
    expected, actual = (comparable_tables(url, ignoring=ignoring) for url in (expected_url, actual_url))
    return [line for table in expected for line in table_differences(table, expected[table], actual[table])]


def comparable_tables(url: str, *, ignoring: Mapping[str, Collection[str]] | None = None) -> dict[str, Rows]:
    """Rows of every table of Airflow's, without clocks, with ids replaced, in an order that is always the same."""
    from sqlalchemy import create_engine

    engine = create_engine(url)
    with closing(engine.connect()) as connection:
        tables = read_tables(connection)
    engine.dispose()
    without = {name: CLOCK_COLUMNS.get(name, set()) | set((ignoring or {}).get(name, ())) for name in tables}
    return comparable(tables, ignoring=without)


def comparable(tables: dict[str, Rows], *, ignoring: Mapping[str, Collection[str]] | None = None) -> dict[str, Rows]:
    """``tables`` with ids replaced, in an order that is always the same, without the columns ``ignoring`` by table.

    The rows of ``tables`` are changed.
    """
    labels = _replace_ids(tables)
    comparable: dict[str, Rows] = {}
    for name, rows in tables.items():
        left_out = set((ignoring or {}).get(name, ()))
        if "*" in left_out:
            continue
        comparable[name] = sorted(
            (
                {column: _labelled(value, labels) for column, value in row.items() if column not in left_out}
                for row in rows
            ),
            key=lambda row: (str(row.get("id")), json.dumps(row, default=str, sort_keys=True)),
        )
    return comparable


def read_tables(connection: Connection) -> dict[str, Rows]:
    """All rows of all tables of Airflow's, as they are."""
    from airflow.models import import_all_models
    from airflow.models.base import Base
    from sqlalchemy import select

    import_all_models()
    return {
        table.name: [dict(row) for row in connection.execute(select(table)).mappings()]
        for table in Base.metadata.sorted_tables
    }


def _replace_ids(tables: dict[str, Rows]) -> dict[str, str]:
    """Replace surrogate ids and references to them in place; labels of those that are UUIDs, by their text."""
    from airflow.models.base import Base

    for row in tables["trigger"]:
        row["kwargs"] = _decrypted(row["kwargs"])
    by_table: dict[str, dict[Any, str]] = {}
    uuids: dict[str, str] = {}
    for name in [*NATURAL_KEYS, *(name for name in tables if name not in NATURAL_KEYS)]:
        references = {
            key.parent.name: key.column.table.name
            for key in Base.metadata.tables[name].foreign_keys
            if key.column.name == "id" and key.column.table.name in NATURAL_KEYS
        }
        for row in tables[name]:
            for column, referred in references.items():
                if row[column] is not None:
                    row[column] = by_table[referred].get(row[column], f"dangling {referred}")
            if name in NATURAL_KEYS:
                label = f"{name} {[str(row[column]) for column in NATURAL_KEYS[name]]}"
                by_table.setdefault(name, {})[row["id"]] = label
                if isinstance(row["id"], UUID):
                    uuids[str(row["id"])] = label
                row["id"] = label
    for row in tables["serialized_dag"]:
        if (row["data"] or {}).get("dag", {}).get("deadline"):
            row["dag_hash"] = "a digest that depends on the random ids of deadline alerts"
    asset_labels = by_table.get("asset", {})
    for row in tables["dag"]:
        row["asset_expression"] = _with_asset_labels(row["asset_expression"], asset_labels)
    return uuids


def _with_asset_labels(expression: Any, labels: Mapping[Any, str]) -> Any:
    """``asset_expression`` holds asset ids inside its JSON."""
    if isinstance(expression, dict):
        return {
            key: labels.get(value, value) if key == "id" else _with_asset_labels(value, labels)
            for key, value in expression.items()
        }
    if isinstance(expression, list):
        return [_with_asset_labels(item, labels) for item in expression]
    return expression


def _labelled(value: Any, labels: Mapping[str, str]) -> Any:
    if isinstance(value, UUID):
        return labels.get(str(value), str(value))
    if isinstance(value, str):
        return labels.get(value, value)
    if isinstance(value, dict):
        return {key: _labelled(item, labels) for key, item in value.items()}
    if isinstance(value, list):
        return [_labelled(item, labels) for item in value]
    return value


def _decrypted(kwargs: str) -> str:
    """A trigger's arguments: encrypting them twice gives two different texts."""
    from airflow.models.crypto import get_fernet

    return get_fernet().decrypt(kwargs.encode()).decode() if kwargs else kwargs


def table_differences(table: str, expected: Rows, actual: Rows) -> list[str]:
    if len(expected) != len(actual):
        only_expected = [row for row in expected if row not in actual]
        only_actual = [row for row in actual if row not in expected]
        return [
            f"{table}: {len(expected)} rows expected, {len(actual)} found; "
            f"missing {only_expected[:3]!r}; unexpected {only_actual[:3]!r}"
        ]
    return [
        f"{table}: column {column} is {actual_row[column]!r} instead of {expected_row[column]!r} in {expected_row!r}"
        for expected_row, actual_row in zip(expected, actual, strict=True)
        for column in expected_row
        if expected_row[column] != actual_row[column]
    ]
