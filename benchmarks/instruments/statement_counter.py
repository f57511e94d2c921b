"""Counts SQL statements and commits of this process, in a file that others can read at any time.

What is counted is what the database gets. A cursor's ``execute`` is one statement. So is each batch of rows that
SQLAlchemy puts into one INSERT. An ``executemany`` is as many as it has sets of parameters: sqlite3 runs the statement
that often, and psycopg2 sends it that often. BEGIN is none, whoever sends it: the drivers of databases send theirs
unseen. A commit counts when there is a transaction to commit: sqlite3 begins none for a SELECT, psycopg2 does.

The file is mapped into memory and shared, so that forked children count along.
"""

from __future__ import annotations

import mmap
import os
import threading
from collections import Counter
from typing import Any

COUNTS = ("statements", "commits")
_PSYCOPG2_STATUS_READY = 1


def install(folder: str, texts: Counter[str] | None = None) -> None:
    """Count from now on, in a file of this process's own in ``folder``.

    :param texts: to count each text in, too
    """
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    counts = _shared_counts(os.path.join(folder, f"counts-{os.getpid()}"))
    # Threads of a gateway would otherwise lose increments of each other.
    lock = threading.Lock()
    os.register_at_fork(after_in_child=lock._at_fork_reinit)

    def statement(connection: Any, cursor: Any, text: str, parameters: Any, context: Any, executemany: bool) -> None:
        number = executions(text, parameters, executemany=executemany)
        with lock:
            counts[0] += number
        if texts is not None:
            texts[" ".join(text.split())[:300]] += number

    def commit(connection: Any) -> None:
        if _in_transaction(connection.connection.dbapi_connection):
            with lock:
                counts[1] += 1

    event.listen(Engine, "before_cursor_execute", statement)
    event.listen(Engine, "commit", commit)


def executions(text: str, parameters: Any, *, executemany: bool) -> int:
    """How many statements one call of a cursor is; SQLAlchemy's own batches of rows carry no list of parameters."""
    if text.startswith("BEGIN"):
        return 0
    return len(parameters) if executemany and isinstance(parameters, list) else 1


def _in_transaction(connection: Any) -> bool:
    in_transaction = getattr(connection, "in_transaction", None)
    return connection.status != _PSYCOPG2_STATUS_READY if in_transaction is None else bool(in_transaction)


def _shared_counts(path: str) -> memoryview:
    size = 8 * len(COUNTS)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
    try:
        os.ftruncate(descriptor, size)
        return memoryview(mmap.mmap(descriptor, size)).cast("Q")
    finally:
        os.close(descriptor)
