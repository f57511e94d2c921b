"""What there is at this moment, read from the database for the metrics that are levels: a few aggregates."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow._shared.timezones.timezone import utcnow
from airflow.models.callback import DagProcessorCallback
from airflow.models.dagbag import DagPriorityParsingRequest
from airflow.models.errors import ParseImportError
from sqlalchemy import func, select

from . import metrics, processors
from .claims import ClaimKind
from .metrics import Level
from .pending_callbacks import PendingState
from .tables import Claim, ParsedFile

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

MOST_BUNDLES = 500
"""The most bundles that are told apart; a metric with labels without end helps nobody."""

MOST_PROCESSORS = 200
"""The most processors of which each is shown, the newest first."""

Samples = dict[tuple[str, ...], float]
"""Values by those of the labels."""


def levels(session: Session) -> Mapping[Level, Samples]:
    """Every level, with a number of statements that nothing changes."""
    now = utcnow()
    return {
        **_claims(session, now),
        **_processors(session),
        **_files(session, now),
        metrics.IMPORT_ERRORS: {
            (bundle_name or "",): count
            for bundle_name, count in session.execute(
                select(ParseImportError.bundle_name, func.count())
                .group_by(ParseImportError.bundle_name)
                .order_by(ParseImportError.bundle_name)
                .limit(MOST_BUNDLES)
            )
        },
    }


def _claims(session: Session, now: datetime) -> dict[Level, Samples]:
    counts: Samples = {}
    ages: Samples = {}

    def add(kind: str, state: str, count: int, oldest: datetime | None) -> None:
        counts[kind, state] = count
        if oldest is not None:
            ages[kind, state] = _age(oldest, now)

    unclaimed = PendingState.UNCLAIMED.value
    for kind, model, since in (
        (ClaimKind.CALLBACK, DagProcessorCallback, DagProcessorCallback.created_at),
        (ClaimKind.PARSE_REQUEST, DagPriorityParsingRequest, None),
    ):
        columns: list[Any] = [func.count(), *([] if since is None else [func.min(since)])]
        row = session.execute(select(*columns).select_from(model)).one()
        add(kind.value, unclaimed, row[0], None if since is None else row[1])
    for kind in ClaimKind:
        for state in PendingState:
            if state is not PendingState.UNCLAIMED:
                counts[kind.value, state.value] = 0
    for row in session.execute(
        select(Claim.kind, Claim.state, func.count(), func.min(Claim.created_at)).group_by(Claim.kind, Claim.state)
    ):
        add(*row)
    return {metrics.CLAIMS: counts, metrics.OLDEST_CLAIM: ages}


def _processors(session: Session) -> dict[Level, Samples]:
    states: Samples = {("alive",): 0, ("silent",): 0}
    undelivered: Samples = {}
    queued: Samples = {}
    parsing: Samples = {}
    for row in processors.running(session):
        states["alive" if row.alive else "silent",] += 1
        if not row.alive or row.activity is None or len(undelivered) >= MOST_PROCESSORS:
            continue
        labels = str(row.job_id), row.hostname
        undelivered[labels] = _number(row.activity, "undeliveredResults")
        queued[labels] = _number(row.activity, "queuedFiles")
        parsing[labels] = len(row.activity.get("parsing") or ())
    return {
        metrics.PROCESSORS: states,
        metrics.UNDELIVERED: undelivered,
        metrics.QUEUED_FILES: queued,
        metrics.PARSING_FILES: parsing,
    }


def _files(session: Session, now: datetime) -> dict[Level, Samples]:
    counts: Samples = {}
    oldest: Samples = {}
    slowest: Samples = {}
    rows = session.execute(
        select(
            ParsedFile.bundle_name,
            ParsedFile.status,
            func.count(),
            func.min(ParsedFile.last_parsed_at),
            func.max(ParsedFile.parse_duration),
        )
        .group_by(ParsedFile.bundle_name, ParsedFile.status)
        .order_by(ParsedFile.bundle_name)
        .limit(MOST_BUNDLES * 3)
    )
    for bundle_name, status, count, parsed_at, duration in rows:
        counts[bundle_name, status] = count
        oldest[bundle_name,] = max(oldest.get((bundle_name,), 0.0), _age(parsed_at, now))
        slowest[bundle_name,] = max(slowest.get((bundle_name,), 0.0), duration or 0.0)
    return {metrics.FILES: counts, metrics.OLDEST_PARSE: oldest, metrics.SLOWEST_FILE: slowest}


def _age(since: datetime, now: datetime) -> float:
    return max((now - since).total_seconds(), 0.0)


def _number(activity: Mapping[str, Any], key: str) -> float:
    value = activity.get(key)
    return float(value) if isinstance(value, int) else 0.0
