"""What operators change: each needs a permission of its own and is told by Airflow's audit log."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import strawberry

from ..resolvers import requested_parses
from ..resolvers.principal import TokenKind
from .context import Info
from .outcomes import Outcome, OutcomeStatus, settled
from .pages import comparable


@strawberry.type(description="The answer to a request to parse files.")
class RequestParsePayload(Outcome):
    file_count: int = strawberry.field(
        default=0,
        description="Number of files that wait to be parsed now, those included that waited already; 0 when refused.",
    )
    new_count: int = strawberry.field(
        default=0, description="Number of files of these that did not wait already; 0 when the request is repeated."
    )
    requested_at: datetime | None = strawberry.field(
        default=None,
        description="The request's time on the gateway's clock (UTC): a file whose `lastParsedAt` is later was parsed "
        "since. Null unless `status` is `ACCEPTED`.",
    )


@strawberry.type
class OperatorMutation:
    @strawberry.mutation(
        description="Have files parsed before all others, by whatever processor has their bundle. A file that waits "
        "already is no error. "
        "Refused with `NOT_PERMITTED`, `BUNDLE_NOT_GRANTED`, `NOT_FOUND` (the bundle, or one of the files: then none "
        "is requested), `BUNDLE_INACTIVE` or `INVALID_ARGUMENT` (too many files). Needs an operator token with the "
        "permission `request-parse`."
    )
    def request_parse(
        self,
        info: Info,
        bundle: Annotated[str, strawberry.argument(description="Name of the bundle.")],
        relative_filelocs: Annotated[
            list[str] | None,
            strawberry.argument(
                description="Paths in the bundle as `files` shows them, 1 to 1000; null for all files that are known "
                "of the bundle, at most 20000."
            ),
        ] = None,
    ) -> RequestParsePayload:
        principal = info.context.require(TokenKind.OPERATOR)
        comparable(bundle=bundle)
        for path in relative_filelocs or ():
            comparable(relativeFilelocs=path)

        def request() -> RequestParsePayload:
            with info.context.transaction() as session:
                requested = requested_parses.request(session, principal, bundle, relative_filelocs)
            return RequestParsePayload(
                status=OutcomeStatus.ACCEPTED,
                file_count=requested.file_count,
                new_count=requested.new_count,
                requested_at=requested.requested_at,
            )

        return settled(RequestParsePayload, request)
