"""An import error as operators see it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import strawberry

from ..resolvers.pages import Row
from .node import KeyedNode


@strawberry.type(
    name="ImportError", description="A file that could not be imported; gone when a later parse of it succeeds."
)
class FileImportError(KeyedNode):
    bundle_name: str | None = strawberry.field(description="The bundle that the file is in; null when unknown.")
    relative_fileloc: str | None = strawberry.field(
        description="The file's path, relative to its bundle, in an archive too (`archive.zip/dag.py`); null when "
        "unknown."
    )
    timestamp: datetime | None = strawberry.field(description="When the error was last seen (UTC); null when unknown.")
    stacktrace: str | None = strawberry.field(
        description="The error as Python printed it, with its last frames; null when unknown."
    )
    import_error_id: strawberry.Private[int]

    def key(self) -> tuple[Any, ...]:
        return (self.import_error_id,)

    @staticmethod
    def of(row: Row) -> FileImportError:
        return FileImportError(**row)
