"""What can be watched: parses of a bundle's files, and how far a version of a bundle has come."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import datetime
from typing import Annotated

import strawberry

from ..resolvers.principal import TokenKind
from .bundle_version import BundleVersion, BundleVersionState, state_of
from .context import Info
from .feeds import MOST_CAUGHT_UP
from .pages import comparable, utc
from .parsed_file import ParsedFile

BundleName = Annotated[str, strawberry.argument(description="Name of the bundle; the token must grant it.")]


@strawberry.type(description="A file of a bundle was parsed.")
class ParseEvent:
    file: ParsedFile = strawberry.field(description="The file as that parse left it, or one that has followed since.")


@strawberry.type(
    description="What can be watched, through whichever gateway results are stored. A subscriber who is slow is spared "
    "what is out of date, never the newest state."
)
class Subscription:
    @strawberry.subscription(
        description="The files of a bundle as they are parsed, within about a second: one event for each file that was "
        "parsed since the last look, whatever became of it. It has no end. A bundle that the token does not grant is "
        "an error, `FORBIDDEN`. Needs an operator token."
    )
    async def parse_events(
        self,
        info: Info,
        bundle: BundleName,
        since: Annotated[
            datetime | None,
            strawberry.argument(
                description="Begin with files that were parsed at this moment or later, such as when what you show was "
                f"read: the last {MOST_CAUGHT_UP:,} of them. Null to begin with the next parse."
            ),
        ] = None,
    ) -> AsyncGenerator[ParseEvent, None]:
        info.context.require(TokenKind.OPERATOR)
        info.context.require_bundle(bundle)
        comparable(bundle=bundle)
        async with aclosing(info.context.require_feeds().parsed_files(bundle, utc("since", since))) as rows:
            async for row in rows:
                yield ParseEvent(file=ParsedFile.of(row))

    @strawberry.subscription(
        description="How far a version of a bundle has come: at once if a processor has told of it, and within about a "
        "second of each change. Ends after the version is `COMPLETE` or `OVERTAKEN`. A bundle that the token does not "
        "grant is an error, `FORBIDDEN`. Needs an operator token."
    )
    async def bundle_version_progress(
        self,
        info: Info,
        bundle: BundleName,
        version: Annotated[
            str | None,
            strawberry.argument(
                description="The version, such as a Git commit, in full, whether or not it is known yet; empty for a "
                "bundle without versions. Null for the one that is current now, or is the first."
            ),
        ] = None,
    ) -> AsyncGenerator[BundleVersion, None]:
        info.context.require(TokenKind.OPERATOR)
        info.context.require_bundle(bundle)
        comparable(bundle=bundle, version=version)
        async with aclosing(info.context.require_feeds().version_progress(bundle, version)) as states:
            async for row, progress in states:
                yield BundleVersion.of(row, progress)
                if state_of(progress) is not BundleVersionState.IN_PROGRESS:
                    return
