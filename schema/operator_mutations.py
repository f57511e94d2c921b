"""What operators change: each needs a permission of its own and is told by Airflow's audit log."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import strawberry
from strawberry import relay

from ..resolvers import parked_callbacks, requested_parses, stopping
from ..resolvers.principal import TokenKind
from .context import Info
from .outcomes import Outcome, OutcomeStatus, OutcomeT, settled
from .pages import bad_argument, comparable
from .pending_callback import PendingCallback

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


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


@strawberry.type(description="The answer to a request to try a parked callback again.")
class RetryCallbackPayload(Outcome):
    pass


@strawberry.type(description="The answer to a request to drop a parked callback.")
class DropCallbackPayload(Outcome):
    pass


@strawberry.type(description="The answer to a request to end a processor.")
class StopProcessorPayload(Outcome):
    pass


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

    @strawberry.mutation(
        description="Let processors try a parked callback again, as if it had never been handed out. Sent again, it is "
        "accepted again and changes nothing. Refused with `NOT_PERMITTED`, `NOT_FOUND` (it has run, was dropped, or "
        "its bundle is not granted), `NOT_PARKED` or `INVALID_DOCUMENT` (it was parked because it cannot be read, and "
        "still cannot). Needs an operator token with the permission `manage-callbacks`."
    )
    def retry_callback(
        self,
        info: Info,
        id: Annotated[
            strawberry.ID,
            strawberry.argument(description="Which callback: the `id` of one that `pendingCallbacks` shows."),
        ],
    ) -> RetryCallbackPayload:
        principal, callback_id = info.context.require(TokenKind.OPERATOR), _callback_id(id)
        return _changed(
            info, RetryCallbackPayload, lambda session: parked_callbacks.retry(session, principal, callback_id)
        )

    @strawberry.mutation(
        description="Delete a parked callback: it never runs. Sent again, it is accepted again. Refused with "
        "`NOT_PERMITTED`, `NOT_FOUND` (it has run, or its bundle is not granted) or `NOT_PARKED`. Needs an operator "
        "token with the permission `manage-callbacks`."
    )
    def drop_callback(
        self,
        info: Info,
        id: Annotated[
            strawberry.ID,
            strawberry.argument(description="Which callback: the `id` of one that `pendingCallbacks` shows."),
        ],
    ) -> DropCallbackPayload:
        principal, callback_id = info.context.require(TokenKind.OPERATOR), _callback_id(id)
        return _changed(
            info, DropCallbackPayload, lambda session: parked_callbacks.drop(session, principal, callback_id)
        )

    @strawberry.mutation(
        description="Ask a processor to end: its Job becomes `RESTARTING`, its next heartbeat is refused, and it ends "
        "by itself within seconds. What it had claimed goes to others, what it had not delivered is parsed again. Its "
        "supervisor, if it has one, starts another. A processor that has ended is no error. Refused with "
        "`NOT_PERMITTED`, `NOT_FOUND` or `BUNDLE_NOT_GRANTED` (it parses a bundle that the token does not grant). "
        "Needs an operator token with the permission `stop-processors`."
    )
    def stop_processor(
        self,
        info: Info,
        job_id: Annotated[
            int,
            strawberry.argument(description="Id of the Job in Airflow that stands for it, as `processors` shows it."),
        ],
    ) -> StopProcessorPayload:
        principal = info.context.require(TokenKind.OPERATOR)
        return _changed(info, StopProcessorPayload, lambda session: stopping.stop(session, principal, job_id))


def _changed(info: Info, payload: type[OutcomeT], change: Callable[[Session], None]) -> OutcomeT:
    """The answer to a change that has nothing to say but that it was made."""

    def resolve() -> OutcomeT:
        with info.context.transaction() as session:
            change(session)
        return payload(status=OutcomeStatus.ACCEPTED)

    return settled(payload, resolve)


def _callback_id(global_id: str) -> str:
    try:
        named = relay.GlobalID.from_id(global_id)
        if named.type_name == PendingCallback.__name__:
            return str(UUID(named.node_id))
    except ValueError:
        pass
    raise bad_argument("id", "`id` is not the id of a PendingCallback.")
