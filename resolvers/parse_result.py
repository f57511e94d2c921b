"""One attempt at one file, as the processor reports it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datetime import datetime

    from .ledger import FileKey


@dataclass(frozen=True)
class DagDocument:
    """A DAG as Airflow serialized it, unchecked."""

    document: Any
    last_loaded: datetime | None


@dataclass(frozen=True)
class ReportedWarning:
    dag_id: str
    warning_type: str
    message: str


@dataclass(frozen=True)
class ParseResult:
    """What one attempt gave; ``parse_duration`` in seconds.

    :param bundle_path: where the processor has the bundle; never opened here
    :param import_errors: pairs of path and traceback
    :param sources: source text by ``fileloc``
    :param lease_ids: claimed parse requests that this attempt answers
    :param fingerprint: the processor's digest of what this result holds; None if it is not to be recognised again
    """

    attempt_id: str
    sequence: int
    bundle_name: str
    bundle_path: str
    relative_fileloc: str
    bundle_version: str | None
    version_data: Any
    parse_duration: float
    timed_out: bool
    documents: list[DagDocument]
    import_errors: list[tuple[str, str]]
    warnings: list[ReportedWarning]
    sources: dict[str, str]
    lease_ids: list[str]
    fingerprint: str | None = None


@dataclass(frozen=True)
class UnchangedResult:
    """One attempt at one file, by the fingerprint of what it gave; see :class:`ParseResult`."""

    attempt_id: str
    sequence: int
    bundle_name: str
    bundle_path: str
    relative_fileloc: str
    bundle_version: str | None
    version_data: Any
    fingerprint: str
    parse_duration: float
    lease_ids: list[str]

    @property
    def file(self) -> FileKey:
        return self.bundle_name, self.relative_fileloc
