"""Which SQL statements Airflow's engine executes within a block."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ExecutedStatement:
    """:param text: on one line
    :param parameters: as the driver got them
    """

    text: str
    parameters: Any

    @property
    def values(self) -> list[Any]:
        """The parameters' values, whatever the driver calls them."""
        return list(self.parameters.values() if isinstance(self.parameters, dict) else self.parameters)

    def count_rows(self) -> int:
        """How many rows this query gives now."""
        from airflow import settings

        with settings.get_engine().connect() as connection:
            return len(connection.exec_driver_sql(self.text, self.parameters).fetchall())


@contextmanager
def executed_statements() -> Generator[list[ExecutedStatement]]:
    """The statements so far, in order. Beginnings and ends of transactions are none, unless they are spelt out, nor is
    what sets up a connection, once."""
    from airflow import settings
    from sqlalchemy import event

    executed: list[ExecutedStatement] = []

    def note(connection: Any, cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if not statement.startswith("PRAGMA"):
            executed.append(ExecutedStatement(" ".join(statement.split()), parameters))

    engine = settings.get_engine()
    event.listen(engine, "before_cursor_execute", note)
    try:
        yield executed
    finally:
        event.remove(engine, "before_cursor_execute", note)
