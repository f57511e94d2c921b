"""A DAG processor as operators see it: its registration beside its Airflow Job."""

from __future__ import annotations

from datetime import datetime
from enum import Enum
from typing import Any

import strawberry

from ..resolvers.activity import Activity
from ..resolvers.pages import Row
from .node import KeyedNode


@strawberry.enum(description="State of a processor's Airflow Job.")
class JobState(Enum):
    RUNNING = strawberry.enum_value(
        "running", description="Started and not ended; whether it lives is told by its heartbeat."
    )
    SUCCESS = strawberry.enum_value("success", description="Ended by itself or because it was asked to.")
    RESTARTING = strawberry.enum_value("restarting", description="Asked to end by Airflow.")
    FAILED = strawberry.enum_value("failed", description="Ended because of an error, or declared dead by Airflow.")


@strawberry.type(description="A file that a processor is parsing.")
class ParsingFile:
    bundle_name: str = strawberry.field(description="The file's bundle.")
    relative_fileloc: str = strawberry.field(description="Path of the file in its bundle.")


@strawberry.type(description="What a processor does now, as it says itself with its heartbeats.")
class ProcessorActivity:
    parsing: list[ParsingFile] = strawberry.field(
        description="Files of bundles that your token grants which it is parsing, by bundle and path; at most 32."
    )
    queued_files: int = strawberry.field(description="Number of files that wait for their turn.")
    undelivered_results: int = strawberry.field(
        description="Number of parse results that the gateway has not taken yet; it grows while the gateway is away."
    )
    at: datetime = strawberry.field(
        description="When it said so, on the gateway's clock (UTC). It says nothing while nothing changes: as long as "
        "the processor is alive, this is what it does."
    )


@strawberry.type(description="One start of a DAG processor that registered with the gateway; a restart is another.")
class Processor(KeyedNode):
    job_id: int = strawberry.field(description="Id of its Job in Airflow.")
    subject: str = strawberry.field(description="Whom its token names, such as `dag-processor:host-1`.")
    hostname: str = strawberry.field(description="The host that it runs on, as it says itself.")
    pid: int = strawberry.field(description="Its process id on that host.")
    bundle_names: list[str] = strawberry.field(
        description="The bundles that it parses, of those that your token grants; `*` stands for all."
    )
    parsegate_version: str = strawberry.field(description="Version of parsegate that it runs.")
    airflow_version: str = strawberry.field(description="Version of Airflow that it runs.")
    registered_at: datetime = strawberry.field(description="When it registered (UTC).")
    state: JobState | None = strawberry.field(
        description="State of its Job; null when Airflow has deleted the Job's row."
    )
    alive: bool = strawberry.field(
        description="Whether its Job runs and its last heartbeat is younger than `[dag_processor] "
        "health_check_threshold` "
        "seconds, which is how Airflow tells."
    )
    latest_heartbeat: datetime | None = strawberry.field(
        description="Its last heartbeat on the gateway's clock (UTC); null when the Job's row is gone."
    )
    start_date: datetime | None = strawberry.field(
        description="When its Job started (UTC); null when the Job's row is gone."
    )
    end_date: datetime | None = strawberry.field(
        description="When its Job ended (UTC); null while it runs, when it died without saying so, or when the "
        "Job's row is gone."
    )

    activity: ProcessorActivity | None = strawberry.field(
        description="What it does now; null when it is not alive, or has not said yet."
    )

    def key(self) -> tuple[Any, ...]:
        return (self.job_id,)

    @staticmethod
    def of(row: Row) -> Processor:
        fields: dict[str, Any] = {
            **row,
            "state": None if row["state"] is None else JobState(row["state"]),
            "activity": _activity(row["activity"], row["activity_at"]),
        }
        del fields["activity_at"]
        return Processor(**fields)


def _activity(activity: Activity | None, at: datetime) -> ProcessorActivity | None:
    return activity and ProcessorActivity(
        parsing=[ParsingFile(bundle_name=bundle, relative_fileloc=path) for bundle, path in activity.parsing],
        queued_files=activity.queued_files,
        undelivered_results=activity.undelivered_results,
        at=at,
    )
