"""Which import errors Airflow looks at when it stores those of some files: theirs, not everybody's.

Airflow 3.3.2 (``dag_processing/collection.py:_update_import_errors``) reads bundle and path of every import error there
is, in every call, to tell new errors from known ones. It only ever asks about the files of that call, so the statement
is given that restriction.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from airflow.models.errors import ParseImportError
from sqlalchemy import tuple_

from .narrowed_reads import narrowed as narrowed_reads

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from sqlalchemy import ColumnElement
    from sqlalchemy.orm import Session


def narrowed(
    session: Session, files_parsed: Collection[tuple[str, str]], import_errors: Mapping[tuple[str, str], str]
) -> AbstractContextManager[None]:
    """Within the block ``session`` reads import errors of these files alone, by bundle and path.

    :param import_errors: looked at when a statement runs, since Airflow adds DAGs that cannot be serialized to it
    """

    def of_these_files() -> ColumnElement[bool]:
        files = sorted({*files_parsed, *import_errors})
        return tuple_(ParseImportError.bundle_name, ParseImportError.filename).in_(files)

    return narrowed_reads(session, ParseImportError, of_these_files)
