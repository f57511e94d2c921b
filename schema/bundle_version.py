"""A version of a bundle as operators and their pipelines see it: whether it has landed."""

from __future__ import annotations

from datetime import datetime
from enum import Enum
from typing import Annotated, Any

import strawberry

from ..resolvers.bundle_versions import Progress
from ..resolvers.pages import Row, check_page_size
from ..resolvers.principal import TokenKind
from .context import Info
from .node import KeyedNode
from .pages import comparable, page_errors
from .parsed_file import ParsedFile

MOST_FILES = 500

FirstFiles = Annotated[int, strawberry.argument(description=f"How many files to return at most, 1 to {MOST_FILES}.")]


@strawberry.enum(description="How far a version of a bundle has come.")
class BundleVersionState(Enum):
    IN_PROGRESS = strawberry.enum_value(
        "IN_PROGRESS",
        description="It is the bundle's version now, and not all of its files are stored yet; `waitingFiles` and "
        "`failing` say which.",
    )
    COMPLETE = strawberry.enum_value(
        "COMPLETE",
        description="All of its files were parsed and stored, import errors included; it stays so when another version "
        "follows.",
    )
    OVERTAKEN = strawberry.enum_value(
        "OVERTAKEN",
        description="Another version was found before all of its files were stored; it will not be completed unless "
        "it comes back.",
    )


@strawberry.type(
    description="A version of a bundle that a processor found, such as a Git commit, and how far its files have come. "
    "A version that comes back after another begins anew, and so does one whose set of files changes. The last 20 of "
    "each bundle are kept."
)
class BundleVersion(KeyedNode):
    bundle_name: str = strawberry.field(description="The bundle's name.")
    version: str = strawberry.field(
        description="The version's name. Empty for a bundle without versions, which counts as a new version whenever "
        "files are added or removed; its files are then stored when they were parsed since."
    )
    first_seen_at: datetime = strawberry.field(
        description="When a processor found the version with these files (UTC), the last time it came."
    )
    last_seen_at: datetime = strawberry.field(
        description="When a processor last found it (UTC), to the minute: after a refresh that found a change, or when "
        "it started; a bundle without versions is looked at after each refresh."
    )
    is_current: bool = strawberry.field(description="Whether it is the version of the bundle that was seen last.")
    file_count: int = strawberry.field(description="Number of files that it has; an archive is one.")
    seen: strawberry.Private[Progress | None] = None

    def key(self) -> tuple[Any, ...]:
        return (self.bundle_name, self.version)

    @staticmethod
    def of(row: Row, progress: Progress | None = None) -> BundleVersion:
        """:param progress: what is known of its files; None to look it up when it is asked for"""
        return BundleVersion(
            bundle_name=row["bundle_name"],
            version=row["version"],
            first_seen_at=row["first_seen_at"],
            last_seen_at=row["last_seen_at"],
            is_current=row["is_current"],
            file_count=row["file_count"],
            seen=progress,
        )

    @strawberry.field(description="How far it has come.")
    async def state(self, info: Info) -> BundleVersionState:
        return state_of(await self._progress(info))

    @strawberry.field(
        description="When all files were stored at this version (UTC): the time of the last of them, as it was when "
        "that was first seen; null until then."
    )
    async def completed_at(self, info: Info) -> datetime | None:
        return (await self._progress(info)).completed_at

    @strawberry.field(
        description="Number of files whose last result is stored and of this version; all of them for a version that "
        "was complete when another followed."
    )
    async def stored_count(self, info: Info) -> int:
        return (await self._progress(info)).stored

    @strawberry.field(
        description="Number of files whose last attempt at this version was refused or timed out. They are tried again."
    )
    async def failed_count(self, info: Info) -> int:
        return len((await self._progress(info)).failed)

    @strawberry.field(
        description="Number of import errors in the stored files; for a version that was complete when another "
        "followed, as many as there were when it was seen to be complete."
    )
    async def import_error_count(self, info: Info) -> int:
        return (await self._progress(info)).import_error_count

    @strawberry.field(
        description="Paths of files of which no attempt at this version has reached the gateway, in alphabetical "
        "order. How many there are: `fileCount` less `storedCount` and `failedCount`."
    )
    async def waiting_files(self, info: Info, first: FirstFiles = 20) -> list[str]:
        with page_errors():
            check_page_size(first, MOST_FILES)
        return list((await self._progress(info)).waiting[:first])

    @strawberry.field(
        description="Files that fail at this version: first those whose last attempt was refused or timed out, then "
        "stored ones with import errors, each by path."
    )
    async def failing(self, info: Info, first: FirstFiles = 20) -> list[ParsedFile]:
        with page_errors():
            check_page_size(first, MOST_FILES)
        progress = await self._progress(info)
        paths = [*progress.failed, *progress.broken][:first]
        rows = await info.context.loaders.files.load_many([(self.bundle_name, path) for path in paths])
        return [ParsedFile.of(row) for row in rows if row is not None]

    async def _progress(self, info: Info) -> Progress:
        if self.seen is None:
            self.seen = await info.context.loaders.version_progress.load((self.bundle_name, self.version))
        # Between the query that found it and this one, it may have become one of those that are not kept.
        return self.seen or Progress(None, False, 0, [], [], [], 0)


def state_of(progress: Progress) -> BundleVersionState:
    if progress.completed_at is not None:
        return BundleVersionState.COMPLETE
    return BundleVersionState.IN_PROGRESS if progress.is_current else BundleVersionState.OVERTAKEN


@strawberry.type
class BundleVersionQuery:
    @strawberry.field(
        description="A version of a bundle, and whether it has landed: whether all of its files have been parsed and "
        "stored. Null when no processor has told of it yet, or when it is older than the last 20. A bundle that "
        "the token does not grant is an error, `FORBIDDEN`. Needs an operator token."
    )
    async def bundle_version(
        self,
        info: Info,
        bundle: Annotated[str, strawberry.argument(description="Name of the bundle.")],
        version: Annotated[
            str | None,
            strawberry.argument(
                description="The version, such as a Git commit, in full; empty for a bundle without versions, null for "
                "the version that was seen last."
            ),
        ] = None,
    ) -> BundleVersion | None:
        info.context.require(TokenKind.OPERATOR)
        info.context.require_bundle(bundle)
        comparable(bundle=bundle, version=version)
        loaders = info.context.loaders
        if version is None:
            row = await loaders.current_versions.load(bundle)
        else:
            row = await loaders.versions.load((bundle, version))
        return None if row is None else BundleVersion.of(row)
