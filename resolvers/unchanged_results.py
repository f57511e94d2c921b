"""Parse results that say what is stored already."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from . import jobs

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.orm import Session

    from .principal import Principal

Transaction = Callable[[], AbstractContextManager["Session"]]


@dataclass(frozen=True)
class UnchangedResult:
    """One attempt at one file, by the fingerprint of what it gave; see :class:`.parse_result.ParseResult`."""

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


@dataclass(frozen=True)
class Recorded:
    """How many results were recorded and when, and the attempts that are needed in full."""

    count: int
    at: datetime | None
    wanted: list[str]


def record(
    transaction: Transaction, principal: Principal, results: Sequence[UnchangedResult], *, request_id: str
) -> Recorded:
    """Record the results that are provably what is stored.

    :raises Refusal: JOB_CLOSED
    """
    with transaction() as session:
        jobs.require_running(session, principal)
    return Recorded(0, None, [result.attempt_id for result in results])
