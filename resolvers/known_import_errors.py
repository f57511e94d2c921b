"""Which import errors Airflow looks at when it stores those of some files: theirs, not everybody's.

Airflow 3.3.2 (``dag_processing/collection.py:_update_import_errors``) reads bundle and path of every import error there
is, in every call, to tell new errors from known ones. It only ever asks about the files of that call, so the statement
is given that restriction.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from airflow.models.errors import ParseImportError
from sqlalchemy import event, inspect, tuple_
from sqlalchemy.orm import with_loader_criteria

if TYPE_CHECKING:
    from collections.abc import Collection, Generator, Mapping

    from sqlalchemy.orm import ORMExecuteState, Session


@contextmanager
def narrowed(
    session: Session, files_parsed: Collection[tuple[str, str]], import_errors: Mapping[tuple[str, str], str]
) -> Generator[None]:
    """Within the block ``session`` reads import errors of these files alone, by bundle and path.

    :param import_errors: looked at when a statement runs, since Airflow adds DAGs that cannot be serialized to it
    """
    mapper = inspect(ParseImportError)

    def narrow(state: ORMExecuteState) -> None:
        if state.is_select and state.bind_mapper is mapper:
            files = sorted({*files_parsed, *import_errors})
            known = tuple_(ParseImportError.bundle_name, ParseImportError.filename).in_(files)
            state.statement = state.statement.options(with_loader_criteria(ParseImportError, known))

    event.listen(session, "do_orm_execute", narrow)
    try:
        yield
    finally:
        event.remove(session, "do_orm_execute", narrow)
