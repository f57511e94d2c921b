"""A file of a bundle as operators see it: the file ledger's row."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import strawberry

from ..resolvers.batches import MOST_SOURCES
from ..resolvers.pages import Row, check_page_size
from ..resolvers.refusals import RefusalReason as _RefusalReason
from .context import Info, OperationContext
from .dag import Dag
from .import_error import FileImportError
from .node import KeyedNode
from .outcomes import RefusalReason
from .pages import After, Connection, connect, page_errors
from .parse import FileStatus, Parse
from .processor import Processor

MOST_DAGS = 100


@strawberry.type(
    description="A file of a bundle and what its last parse left behind. Only files that were parsed through the "
    "gateway are known."
)
class ParsedFile(KeyedNode):
    bundle_name: str = strawberry.field(description="The bundle that the file is in.")
    relative_fileloc: str = strawberry.field(
        description="The file's path, relative to its bundle; a zip archive is one file."
    )
    status: FileStatus = strawberry.field(description="What became of the last attempt to parse the file.")
    reason: RefusalReason | None = strawberry.field(  # pyright: ignore[reportInvalidTypeForm]
        description="Why the last result was refused; null unless `status` is `REFUSED`."
    )
    message: str | None = strawberry.field(
        description="What went wrong in the last attempt, for a person; null when it was stored."
    )
    last_parsed_at: datetime = strawberry.field(
        description="When the last attempt reached the gateway (UTC), whatever became of it."
    )
    last_stored_at: datetime | None = strawberry.field(
        description="When a result was last stored (UTC), in the same transaction as `lastParsedTime` of the file's "
        "DAGs; null when none ever was."
    )
    parse_duration: float | None = strawberry.field(
        description="Seconds that the last attempt took in the processor; null when it was not told."
    )
    bundle_version: str | None = strawberry.field(
        description="Version of the bundle in the last stored result; null for a bundle without versions."
    )
    dag_count: int = strawberry.field(description="Number of DAGs in the last stored result.")
    import_error_count: int = strawberry.field(description="Number of import errors in the last stored result.")
    warning_count: int = strawberry.field(description="Number of DAG warnings in the last stored result.")
    recent_parses: list[Parse] = strawberry.field(
        description="The last attempts to parse the file, the newest first: at most 10, fewer for a file that was "
        "parsed less often, and none of those that a gateway without this field recorded."
    )
    job_id: strawberry.Private[int]

    def key(self) -> tuple[Any, ...]:
        return (self.bundle_name, self.relative_fileloc)

    @staticmethod
    def of(row: Row) -> ParsedFile:
        reason = row["reason"]
        fields: dict[str, Any] = {
            **row,
            "status": FileStatus(row["status"]),
            "recent_parses": [Parse.of(noted) for noted in row["recent_parses"] or ()],
            "reason": _RefusalReason(reason) if reason in _RefusalReason.__members__ else None,
        }
        return ParsedFile(**fields)

    @strawberry.field(description="The processor that made the last attempt; null when its registration is gone.")
    async def processor(self, info: Info) -> Processor | None:
        row = await info.context.loaders.processors.load(self.job_id)
        return None if row is None else Processor.of(row)

    @strawberry.field(
        description="The file's source code as Airflow stored it with the newest of the file's DAGs, hence not yet "
        f"that of a file that fails to import since; null for a file without DAGs, and for an archive. At most "
        f"{MOST_SOURCES} files of an operation can be asked for it."
    )
    async def source(self, info: Info) -> str | None:
        with page_errors():
            return await info.context.loaders.file_sources.load((self.bundle_name, self.relative_fileloc))

    @strawberry.field(
        description="The import errors that Airflow shows for the file now, by path; an archive has one for each "
        "broken file in it, "
        "of which the first 100 are here."
    )
    async def import_errors(self, info: Info) -> list[FileImportError]:
        rows = await info.context.loaders.file_import_errors.load((self.bundle_name, self.relative_fileloc))
        return [FileImportError.of(row) for row in rows]

    @strawberry.field(
        description="The DAGs that Airflow has from the file, stale ones too, by DAG id. `dags` of the root lists them "
        "in other orders and by filters."
    )
    async def dags(
        self,
        info: Info,
        first: Annotated[
            int, strawberry.argument(description=f"How many DAGs to return at most for each file, 1 to {MOST_DAGS}.")
        ] = 20,
        after: After = None,
    ) -> Connection[Dag]:
        key = (self.bundle_name, self.relative_fileloc)
        with page_errors():
            check_page_size(first, MOST_DAGS)
            page = await info.context.loaders.file_dag_pages(first, after).load(key)

        async def total(context: OperationContext) -> int:
            return await context.loaders.file_dag_totals.load(key)

        return connect(page, Dag.of, total)
