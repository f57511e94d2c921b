"""A DAG as operators see it: Airflow's row, as the last stored parse of its file left it."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import strawberry

from ..resolvers.pages import Row
from .context import Info
from .dag_warning import DagWarning
from .node import KeyedNode

if TYPE_CHECKING:
    from .parsed_file import ParsedFile


@strawberry.type(description="A DAG that Airflow knows, whoever stored it.")
class Dag(KeyedNode):
    dag_id: str = strawberry.field(description="The DAG's id, unique in the deployment.")
    display_name: str = strawberry.field(description="The name that Airflow shows; the id when the DAG sets none.")
    description: str | None = strawberry.field(description="The DAG's own description; null when it has none.")
    bundle_name: str = strawberry.field(description="The bundle that the DAG's file is in.")
    bundle_version: str | None = strawberry.field(
        description="Version of the bundle that the DAG was last parsed from; null for a bundle without versions."
    )
    relative_fileloc: str | None = strawberry.field(
        description="Path of the DAG's file, relative to its bundle, in an archive too (`archive.zip/dag.py`); null "
        "for a DAG "
        "that was last parsed by Airflow 2."
    )
    fileloc: str | None = strawberry.field(
        description="Absolute path of the DAG's file on the host that parsed it; null when unknown."
    )
    is_stale: bool = strawberry.field(
        description="Whether the DAG is not in its file any more. A stale DAG is neither shown nor run."
    )
    is_paused: bool = strawberry.field(description="Whether the DAG is paused: the scheduler creates no runs of it.")
    has_import_errors: bool = strawberry.field(
        description="Whether its file failed to import since the DAG was last stored; the DAG is as it was before."
    )
    last_parsed_time: datetime | None = strawberry.field(
        description="When the DAG was last stored (UTC); null when unknown."
    )
    last_parse_duration: float | None = strawberry.field(
        description="Seconds that the parse of its file took when the DAG was last stored; null when unknown."
    )
    owners: list[str] = strawberry.field(description="Owners of the DAG's tasks.")
    timetable_summary: str | None = strawberry.field(
        description="The schedule in short, such as `0 0 * * *`, `@daily` or `Asset`; null or `None` for a DAG "
        "without one."
    )
    timetable_description: str | None = strawberry.field(
        description="The schedule in words, such as `At 00:00`; null when there are none."
    )
    next_dagrun: datetime | None = strawberry.field(
        description="Logical date of the next scheduled run (UTC); null when none is due."
    )
    next_dagrun_data_interval_start: datetime | None = strawberry.field(
        description="Start of the next scheduled run's data interval (UTC); null when no run is due or it has none."
    )
    next_dagrun_data_interval_end: datetime | None = strawberry.field(
        description="End of the next scheduled run's data interval (UTC); null when no run is due or it has none."
    )
    next_dagrun_create_after: datetime | None = strawberry.field(
        description="Earliest time at which the scheduler creates the next run (UTC); null when none is due."
    )
    max_active_runs: int | None = strawberry.field(
        description="How many runs may be active at a time; null when not set."
    )
    max_active_tasks: int = strawberry.field(description="How many task instances of the DAG may be active at a time.")

    def key(self) -> tuple[Any, ...]:
        return (self.dag_id,)

    @staticmethod
    def of(row: Row) -> Dag:
        owners = [owner.strip() for owner in (row["owners"] or "").split(",")]
        fields: dict[str, Any] = {
            **row,
            "display_name": row["display_name"] or row["dag_id"],
            "has_import_errors": bool(row["has_import_errors"]),
            "owners": [owner for owner in owners if owner],
        }
        return Dag(**fields)

    @strawberry.field(description="The DAG's tags, in alphabetical order.")
    async def tags(self, info: Info) -> list[str]:
        return await info.context.loaders.dag_tags.load(self.dag_id)

    @strawberry.field(
        description="Number of the DAG's newest version, from 1; null when no serialized DAG was ever stored. A "
        "version is added "
        "when the DAG changed and the version before has run."
    )
    async def latest_version(self, info: Info) -> int | None:
        return await info.context.loaders.latest_versions.load(self.dag_id)

    @strawberry.field(description="Warnings about the DAG, by type; at most one of each type.")
    async def warnings(self, info: Info) -> list[DagWarning]:
        return [DagWarning.of(row) for row in await info.context.loaders.dag_warnings.load(self.dag_id)]

    @strawberry.field(
        description="The file that the DAG is in; null when the file was not parsed through the gateway, or is gone."
    )
    async def file(self, info: Info) -> Annotated[ParsedFile, strawberry.lazy(".parsed_file")] | None:
        return await file_at(info, self.bundle_name, self.relative_fileloc)


async def file_at(info: Info, bundle_name: str | None, relative_fileloc: str | None) -> ParsedFile | None:
    """The file of the ledger that has, or as an archive contains, what is at a path."""
    from .parsed_file import ParsedFile  # which shows DAGs in turn

    if bundle_name is None or relative_fileloc is None:
        return None
    row = await info.context.loaders.files.load((bundle_name, relative_fileloc))
    return None if row is None else ParsedFile.of(row)
