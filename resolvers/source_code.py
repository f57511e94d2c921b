"""Source code and paths come from the processor: the gateway never opens a file that a result names.

Airflow 3.3.2 writes source code with ``DagCode.get_code_from_file`` (``models/dagcode.py``), which opens ``fileloc`` on
this host; a hostile ``fileloc`` such as ``/etc/passwd`` would be stored as a DAG's source. And it tells listeners of
an import error the path from ``ParseImportError.full_file_path`` (``models/errors.py``), which instantiates the bundle
from this host's configuration and fails where the bundle is configured on the processor alone. Neither takes a
parameter for it, so both are replaced here; while nothing is supplied they do what they always did.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow.models.dagcode import DagCode
from airflow.models.errors import ParseImportError

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping


@dataclass(frozen=True)
class _Supplied:
    texts: Mapping[str, str]
    bundle_path: str


class SourceNotSuppliedError(LookupError):
    """Airflow asked for the source of a file that the result does not carry."""


_supplied: ContextVar[_Supplied | None] = ContextVar("parsegate_supplied_sources", default=None)
_get_code_from_file = DagCode.get_code_from_file
_full_file_path = ParseImportError.full_file_path


@contextmanager
def supplied(texts: Mapping[str, str], bundle_path: str) -> Generator[None]:
    """Within the block Airflow takes source code from ``texts``, by ``fileloc``, and puts files in ``bundle_path``."""
    token = _supplied.set(_Supplied(texts, bundle_path))
    try:
        yield
    finally:
        _supplied.reset(token)


def _supplied_code(fileloc: str) -> str:
    current = _supplied.get()
    if current is None:
        return _get_code_from_file(fileloc)
    try:
        return current.texts[fileloc]
    except KeyError:
        raise SourceNotSuppliedError(f"The result carries no source of {fileloc}.") from None


def _supplied_path(self: ParseImportError) -> str:
    current = _supplied.get()
    if current is None:
        return _full_file_path(self)
    return f"{current.bundle_path}/{self.filename}"


DagCode.get_code_from_file = staticmethod(_supplied_code)
ParseImportError.full_file_path = _supplied_path
