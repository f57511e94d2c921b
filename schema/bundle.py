"""A bundle as operators see it."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import strawberry

from ..resolvers.pages import Row
from .context import Info
from .node import KeyedNode

if TYPE_CHECKING:
    from .bundle_version import BundleVersion
    from .parsed_file import ParsedFile


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
        description="The version that a processor found last, with its files and how far they have come; null when "
        "none has told of one yet. It is there before `version` says so."
    )
    async def current_version(self, info: Info) -> Annotated[BundleVersion, strawberry.lazy(".bundle_version")] | None:
        from .bundle_version import BundleVersion

        row = await info.context.loaders.current_versions.load(self.name)
        return None if row is None else BundleVersion.of(row)

    @strawberry.field(
        description="Number of files in the file ledger: those that were parsed at least once and still exist."
    )
    async def file_count(self, info: Info) -> int:
        return await info.context.loaders.bundle_file_counts.load(self.name)

    @strawberry.field(
        description="Number of files that fail: the last attempt was not stored, or the last stored result has import "
        "errors. They are what `files(failing: true)` lists."
    )
    async def error_file_count(self, info: Info) -> int:
        return await info.context.loaders.bundle_failing_file_counts.load(self.name)

    @strawberry.field(
        description="The file of which the last attempt took longest; null when no duration is known. "
        "`files(orderBy: SLOWEST)` lists them all."
    )
    async def slowest_file(self, info: Info) -> Annotated[ParsedFile, strawberry.lazy(".parsed_file")] | None:
        from .parsed_file import ParsedFile

        row = await info.context.loaders.bundle_slowest_files.load(self.name)
        return None if row is None else ParsedFile.of(row)

    @strawberry.field(
        description="When the file was last parsed that was not parsed for longest (UTC); null when no file was "
        "parsed yet. `files(orderBy: OLDEST_PARSE)` starts with it."
    )
    async def oldest_parse(self, info: Info) -> datetime | None:
        return await info.context.loaders.bundle_oldest_parses.load(self.name)

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
