"""One UPDATE that gives each of many rows values of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import Table, cast, column, update, values

if TYPE_CHECKING:
    from sqlalchemy.orm import DeclarativeBase, Session

_PARAMETERS = 10_000
"""How many values go into one statement: databases limit its parameters."""


def bulk_update(
    session: Session,
    model: type[DeclarativeBase],
    key: Sequence[str],
    columns: Sequence[str],
    rows: Sequence[tuple[Any, ...]],
    **same: Any,
) -> None:
    """Update the rows that ``rows`` name, a statement for several thousand of them.

    :param key: columns that name a row
    :param columns: columns to set
    :param rows: for each row the values of ``key``, then those of ``columns``
    :param same: columns that get one value in all of these rows
    """
    table = model.__table__
    assert isinstance(table, Table)
    names = [*key, *columns]
    on_postgresql = session.get_bind().dialect.name == "postgresql"
    step = _PARAMETERS // len(names)
    for start in range(0, len(rows), step):
        new = (
            values(*(column(name, table.c[name].type) for name in names), name="new")
            .data(rows[start : start + step])
            .cte("new")
        )
        session.execute(
            update(table)
            .where(*(table.c[name] == new.c[name] for name in key))
            .values(
                {
                    # A column of nothing but nulls is text to PostgreSQL. SQLite would make numbers of times.
                    name: cast(new.c[name], table.c[name].type) if on_postgresql else new.c[name]
                    for name in columns
                }
                | same
            )
            .execution_options(synchronize_session=False)
        )
