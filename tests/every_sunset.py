"""A timetable of a deployment's own, as a plugin would register it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.timetables.base import DagRunInfo, DataInterval, TimeRestriction, Timetable
from pendulum import DateTime, instance


class EverySunset(Timetable):
    """A run each day at ``hour``; it follows the clock when it does not catch up."""

    description = "Every sunset"

    def __init__(self, hour: int) -> None:
        self.hour = hour

    @property
    def summary(self) -> str:
        return f"sunset at {self.hour}"

    def serialize(self) -> dict[str, Any]:
        return {"hour": self.hour}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> EverySunset:
        return cls(data["hour"])

    def infer_manual_data_interval(self, *, run_after: DateTime) -> DataInterval:
        return DataInterval(start=run_after.subtract(days=1), end=run_after)

    def next_dagrun_info(
        self, *, last_automated_data_interval: DataInterval | None, restriction: TimeRestriction
    ) -> DagRunInfo | None:
        after = last_automated_data_interval.end if last_automated_data_interval else restriction.earliest
        if after is None:
            return None
        if not restriction.catchup:
            after = max(after, instance(datetime.now(UTC)))
        end = after.replace(hour=self.hour, minute=0, second=0, microsecond=0)
        if end <= after:
            end += timedelta(days=1)
        return DagRunInfo.interval(start=end - timedelta(days=1), end=end)
