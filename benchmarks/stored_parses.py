"""Watches ``dag.last_parsed_time`` from outside while a pass goes on: which DAGs are stored, and since when."""

from __future__ import annotations

import sqlite3
import time
from datetime import UTC, datetime
from typing import Any

import psycopg2
from airflow_database import AirflowDatabase
from process_tree import own_and_reaped_cpu
from sqlalchemy.engine import make_url


class StoredParses:
    """A connection of its own to one database.

    On PostgreSQL :attr:`cpu` is what the server's process for this connection has used, which is not the contestants'.
    """

    def __init__(self, database: AirflowDatabase) -> None:
        self._on_postgresql = database.server is not None
        self._connection: Any
        self._pid: int | None = None
        if database.path is not None:
            self._connection = sqlite3.connect(database.path, timeout=30, isolation_level=None)
        else:
            url = make_url(database.url)
            self._connection = psycopg2.connect(dbname=url.database, user=url.username, host=url.query["host"])
            self._connection.autocommit = True
            self._pid = self._connection.info.backend_pid

    def close(self) -> None:
        self._connection.close()

    @property
    def cpu(self) -> float:
        return own_and_reaped_cpu(self._pid)[0] if self._pid is not None else 0.0

    def since(self, moment: datetime) -> set[str]:
        """The DAGs of which the last parse was after ``moment``."""
        return {row[0] for row in self._query("SELECT dag_id FROM dag WHERE last_parsed_time > ?", [_bound(moment)])}

    def last_parsed_time(self) -> float:
        """The latest of all DAGs, in seconds since the epoch."""
        return _time(self._query("SELECT max(last_parsed_time) FROM dag")[0][0]).timestamp()

    def count(self, condition: str, *parameters: Any) -> int:
        """How many DAGs there are with a row in ``serialized_dag`` and what the condition says."""
        text = f"SELECT count(*) FROM dag JOIN serialized_dag ON serialized_dag.dag_id = dag.dag_id WHERE {condition}"
        return self._query(text, list(parameters))[0][0]

    def has_bundles(self) -> bool:
        return self._query("SELECT count(*) FROM dag_bundle")[0][0] > 0

    def all_stored(self, dag_ids: list[str]) -> bool:
        return {row[0] for row in self._query("SELECT dag_id FROM dag")} >= set(dag_ids)

    def request_parse(self, bundle: str, file: str) -> None:
        """As somebody does in Airflow's UI. The processor looks for new files in the bundle then."""
        self._query(
            "INSERT INTO dag_priority_parsing_request (id, bundle_name, relative_fileloc) VALUES (?, ?, ?)",
            [f"{time.time_ns():x}"[-32:] + bundle[-2:], bundle, file],
            returns=False,
        )

    def _query(self, text: str, parameters: list[Any] | None = None, *, returns: bool = True) -> list[Any]:
        cursor = self._connection.cursor()
        try:
            cursor.execute(text.replace("?", "%s") if self._on_postgresql else text, parameters or [])
            return cursor.fetchall() if returns else []
        finally:
            cursor.close()


def _bound(moment: datetime) -> str:
    # SQLite has texts that compare like times; PostgreSQL reads this one as what it is.
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")


def _time(value: Any) -> datetime:
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
