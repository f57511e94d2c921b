"""A bundle as operators see it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import strawberry

from ..resolvers.pages import Row
from .context import Info
from .node import KeyedNode


@strawberry.type(description="A DAG bundle: a folder or repository of DAG files that processors parse.")
class Bundle(KeyedNode):
    name: str = strawberry.field(description="The bundle's name, unique in the deployment.")
    active: bool = strawberry.field(
        description="Whether the bundle is in the configuration now; a processor parses no other."
    )
    version: str | None = strawberry.field(
        description="The version that the last refresh found, such as a Git commit; null for a bundle without versions."
    )
    last_refreshed: datetime | None = strawberry.field(
        description="When a processor last refreshed the bundle (UTC); null when none has yet."
    )
    team_name: str | None = strawberry.field(description="Name of the team that owns the bundle; null for none.")

    def key(self) -> tuple[Any, ...]:
        return (self.name,)

    @staticmethod
    def of(row: Row) -> Bundle:
        fields: dict[str, Any] = {**row, "active": bool(row["active"])}
        return Bundle(**fields)

    @strawberry.field(
        description="Number of files in the file ledger: those that were parsed at least once and still exist."
    )
    async def file_count(self, info: Info) -> int:
        return await info.context.loaders.bundle_file_counts.load(self.name)

    @strawberry.field(description="Number of DAGs that are not stale.")
    async def dag_count(self, info: Info) -> int:
        return await info.context.loaders.bundle_dag_counts.load(self.name)

    @strawberry.field(description="Number of stale DAGs: those that are not in a file any more.")
    async def stale_dag_count(self, info: Info) -> int:
        return await info.context.loaders.bundle_stale_dag_counts.load(self.name)

    @strawberry.field(description="Number of import errors.")
    async def import_error_count(self, info: Info) -> int:
        return await info.context.loaders.bundle_import_error_counts.load(self.name)

    @strawberry.field(description="Number of warnings about the bundle's DAGs.")
    async def warning_count(self, info: Info) -> int:
        return await info.context.loaders.bundle_warning_counts.load(self.name)
