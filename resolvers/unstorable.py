"""Telling a result that Airflow can't store from a fault that may pass."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from sqlalchemy.exc import DataError, DBAPIError, InterfaceError, ProgrammingError, SQLAlchemyError

from .database import TransactionLost
from .refusals import Refusal, RefusalReason

if TYPE_CHECKING:
    from .parse_result import ParseResult

log = logging.getLogger(__name__)


def lies_in_the_document(error: BaseException | None) -> bool:
    """Whether sending the same result again would meet the same error.

    Airflow's code takes a document apart and raises what it meets: KeyError, TypeError, an unregistered timetable. Of
    the database's errors only those about a value say so.
    """
    if error is None or isinstance(error, TransactionLost):
        return False
    if isinstance(error, DataError):
        return True
    if isinstance(error, (InterfaceError, ProgrammingError)) and not error.connection_invalidated:
        # The driver could not bind a value; what the server itself objects to (a table that is not there) has a code.
        return getattr(error.orig, "pgcode", None) is None
    if isinstance(error, SQLAlchemyError) and not isinstance(error, DBAPIError):
        # SQLAlchemy wraps what preparing a parameter raised, such as a UnicodeEncodeError.
        return isinstance(error.__cause__, (ValueError, TypeError))
    return not isinstance(error, (SQLAlchemyError, OSError, MemoryError))


def unstorable(result: ParseResult, error: BaseException) -> Refusal:
    """The refusal of a result, logged with the error that Airflow's code met."""
    log.warning("Airflow could not store %s of bundle %s", result.relative_fileloc, result.bundle_name, exc_info=error)
    what = str(error).partition("\n")[0][:500]
    return Refusal(
        RefusalReason.INVALID_DOCUMENT, f"Airflow could not store this result: {type(error).__name__}: {what}"
    )
