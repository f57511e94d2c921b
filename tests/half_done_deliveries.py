"""Deliveries that store results and then undo a part of it: what a careless short cut would leave out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from deliveries import Delivery, in_full
from parsed_files import ParsedFile
from registered_processor import RegisteredProcessor


def leaving_out(table: str, *columns: str, deliver: Delivery = in_full) -> Delivery:
    """Whatever storing writes to these columns is undone; without columns, to all rows of the table."""

    def half(processor: RegisteredProcessor, files: Sequence[ParsedFile], sequence: int) -> list[dict[str, Any]]:
        from airflow import settings
        from airflow.models.base import Base
        from sqlalchemy import delete, insert, select, update

        rows = Base.metadata.tables[table]
        key = list(rows.primary_key.columns)
        with settings.get_engine().connect() as connection:
            before = [dict(row) for row in connection.execute(select(rows)).mappings()]
        outcomes = deliver(processor, files, sequence)
        with settings.get_engine().begin() as connection:
            if not columns:
                connection.execute(delete(rows))
                if before:
                    connection.execute(insert(rows), before)
            for row in before if columns else ():
                same = [column == row[column.name] for column in key]
                connection.execute(update(rows).where(*same).values({column: row[column] for column in columns}))
        return outcomes

    return half


def without_telling_listeners(
    processor: RegisteredProcessor, files: Sequence[ParsedFile], sequence: int
) -> list[dict[str, Any]]:
    with _deaf_listeners():
        return in_full(processor, files, sequence)


def saying_nothing_was_stored(
    processor: RegisteredProcessor, files: Sequence[ParsedFile], sequence: int
) -> list[dict[str, Any]]:
    return [{**outcome, "status": "FAILED"} for outcome in in_full(processor, files, sequence)]


@contextmanager
def _deaf_listeners() -> Iterator[None]:
    from airflow.listeners.listener import get_listener_manager

    plugins = get_listener_manager().pm
    listeners = [plugin for plugin in plugins.get_plugins() if hasattr(plugin, "on_new_dag_import_error")]
    for listener in listeners:
        plugins.unregister(listener)
    try:
        yield
    finally:
        for listener in listeners:
            plugins.register(listener)
