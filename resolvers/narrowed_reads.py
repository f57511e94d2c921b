"""Airflow's code reads a whole table: let it see only the rows that the call at hand is about."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy import event, inspect
from sqlalchemy.orm import with_loader_criteria

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from sqlalchemy import ColumnElement
    from sqlalchemy.orm import ORMExecuteState, Session


@contextmanager
def narrowed(session: Session, model: type[Any], criteria: Callable[[], ColumnElement[bool]]) -> Generator[None]:
    """Within the block ``session`` reads only the rows of ``model`` that meet ``criteria``.

    :param criteria: asked for when a statement runs
    """
    mapper = inspect(model)

    def narrow(state: ORMExecuteState) -> None:
        if state.is_select and state.bind_mapper is mapper:
            state.statement = state.statement.options(with_loader_criteria(model, criteria()))

    event.listen(session, "do_orm_execute", narrow)
    try:
        yield
    finally:
        event.remove(session, "do_orm_execute", narrow)
