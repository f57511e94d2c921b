"""When a DAG runs next, computed without its document.

Airflow computes it at every parse (``DagModel.calculate_dagrun_date_fields``) from the DAG's timetable, the dates that
bound it, its latest run and the clock. The first two are noted when a result is written, so that the next identical
one need not decode the document.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import lru_cache
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow._shared.timezones.timezone import coerce_datetime, utcnow
from airflow.serialization.decoders import decode_timetable
from airflow.serialization.enums import Encoding
from airflow.serialization.helpers import is_core_timetable_import_path
from airflow.timetables._cron import CronMixin
from airflow.timetables.base import DagRunInfo, TimeRestriction
from airflow.timetables.interval import CronDataIntervalTimetable
from airflow.timetables.trigger import CronTriggerTimetable
from cachetools import LRUCache

if TYPE_CHECKING:
    from airflow.serialization.serialized_objects import LazyDeserializedDAG
    from airflow.timetables.base import Timetable

    from .latest_runs import Runs

log = logging.getLogger(__name__)


class Schedule(NamedTuple):
    """What bounds a DAG's runs.

    :param encoded: the timetable as text; None for a deployment's own, which may keep state
    """

    encoded: str | None
    timetable: Timetable
    restriction: TimeRestriction


class NextRun(NamedTuple):
    """The columns of ``DagModel`` that say when a DAG runs next; the names are those of the columns."""

    next_dagrun: datetime | None = None
    next_dagrun_data_interval_start: datetime | None = None
    next_dagrun_data_interval_end: datetime | None = None
    next_dagrun_partition_key: str | None = None
    next_dagrun_partition_date: datetime | None = None
    next_dagrun_create_after: datetime | None = None
    exceeds_max_non_backfill: bool = False


def note(dag: LazyDeserializedDAG) -> dict[str, Any]:
    """What :func:`read` needs to know of a DAG, as JSON."""
    encoded = dag.data["dag"]["timetable"]
    restriction: TimeRestriction = dag._real_dag._time_restriction  # pyright: ignore[reportPrivateUsage]
    return {
        "timetable": encoded,
        "described": None if _is_core(encoded) else _described(dag.timetable),
        "earliest": restriction.earliest.isoformat() if restriction.earliest else None,
        "latest": restriction.latest.isoformat() if restriction.latest else None,
        "catchup": restriction.catchup,
    }


def read(noted: Mapping[str, Any]) -> Schedule | None:
    """The schedule that was noted; None if the deployment's own timetable is not any more what it was then."""
    encoded = noted["timetable"]
    text = json.dumps(encoded) if _is_core(encoded) else None
    if text is not None:
        timetable = _core_timetable(text)
    else:
        # Each parse gets a new one; and its code may have changed since.
        try:
            timetable = decode_timetable(encoded)
            if _described(timetable) != noted["described"]:
                return None
        except Exception:  # whatever it raises, storing the DAG in full says so
            log.warning("The timetable %s can't be read any more", encoded[Encoding.TYPE], exc_info=True)
            return None
    restriction = TimeRestriction(_moment(noted["earliest"]), _moment(noted["latest"]), noted["catchup"])
    return Schedule(text, timetable, restriction)


def _is_core(encoded: dict[str, Any]) -> bool:
    return is_core_timetable_import_path(encoded[Encoding.TYPE])


def _described(timetable: Timetable) -> list[Any]:
    """What ``DagModelOperation.update_dags`` writes of a timetable beside its runs."""
    return [
        timetable.type_name,
        timetable.summary,
        timetable.description,
        timetable.partitioned,
        timetable.periodic,
    ]


@lru_cache(maxsize=4096)
def _core_timetable(encoded: str) -> Timetable:
    return decode_timetable(json.loads(encoded))


@lru_cache(maxsize=4096)
def _moment(text: str | None) -> Any:
    return coerce_datetime(datetime.fromisoformat(text)) if text else None


def next_run(dag_id: str, schedule: Schedule, runs: Runs, max_active_runs: int) -> NextRun:
    """When a DAG runs next, as ``DagModelOperation.update_dags`` computes it.

    :param runs: those that the DAG has; none for a timetable that can't be scheduled
    :param max_active_runs: from the DAG's row
    """
    exceeds = runs.active >= max_active_runs
    last = schedule.timetable.run_info_from_dag_run(dag_run=runs.latest) if runs.latest is not None else None
    try:
        info = _next_info(schedule, last)
    except Exception:  # a timetable may be the deployment's own and raise anything; Airflow then plans no run
        log.exception("DAG %s has no next run: its timetable failed", dag_id)
        info = None
    if info is None:
        return NextRun(exceeds_max_non_backfill=exceeds)
    interval = info.data_interval
    return NextRun(
        info.logical_date,
        interval.start if interval else None,
        interval.end if interval else None,
        info.partition_key,
        info.partition_date,
        info.run_after,
        exceeds,
    )


class _Answer(NamedTuple):
    """A next run, and the times between which it is the answer."""

    info: DagRunInfo | None
    since: datetime
    until: datetime


_CRON = (CronTriggerTimetable, CronDataIntervalTimetable)
_answers: LRUCache[Any, _Answer] = LRUCache(maxsize=20_000)
_answers_lock = Lock()


def _next_info(schedule: Schedule, last: DagRunInfo | None) -> DagRunInfo | None:
    """``SerializedDAG.next_dagrun_info``, which logs besides; most of it is croniter's work, done once for a while."""
    timetable, restriction = schedule.timetable, schedule.restriction
    cron = timetable if isinstance(timetable, CronTriggerTimetable | CronDataIntervalTimetable) else None
    # Subclasses look at the clock in their own ways, and without bounds a trigger asks how long ago its last tick was.
    if (
        cron is None
        or type(cron) not in _CRON
        or schedule.encoded is None
        or (last is None and restriction.earliest is None)
    ):
        return timetable.next_dagrun_info_v2(last_dagrun_info=last, restriction=restriction)
    now = utcnow()
    key = (schedule.encoded, restriction, last)
    with _answers_lock:
        known = _answers.get(key)
    if known is not None and known.since <= now < known.until:
        return known.info
    info = timetable.next_dagrun_info_v2(last_dagrun_info=last, restriction=restriction)
    with _answers_lock:
        _answers[key] = _Answer(info, now, _next_turn(cron, now))
    return info


def _next_turn(timetable: CronMixin, now: datetime) -> datetime:
    """Until when a cron timetable, which looks at the clock only for its ticks around it, gives the same answer: its
    next tick, or the next quarter of an hour, as time zones change their offset at no other time.
    """
    quarter = now.replace(minute=now.minute // 15 * 15, second=0, microsecond=0) + timedelta(minutes=15)
    return min(quarter, timetable._get_next(coerce_datetime(now)))  # pyright: ignore[reportPrivateUsage]
