"""How mutations answer the processor: accepted, refused with a reason, or failed and worth another try."""

from __future__ import annotations

from enum import Enum

import strawberry

from ..resolvers.refusals import RefusalReason as _RefusalReason

RefusalReason = strawberry.enum(
    _RefusalReason,
    description="Why a request was refused. New reasons are added over time: treat one you don't know as final.",
)


@strawberry.enum(description="What became of a request, or of one item of it.")
class OutcomeStatus(Enum):
    ACCEPTED = strawberry.enum_value("ACCEPTED", description="Done and committed, now or by an earlier send of the same request.")
    REFUSED = strawberry.enum_value(
        "REFUSED", description="Not done, and not to be sent again unchanged; `reason` and `message` say why."
    )
    FAILED = strawberry.enum_value(
        "FAILED", description="Not done because of a fault on the gateway's side; nothing was stored. Send it again later."
    )


@strawberry.interface(description="The answer to one request, or to one item of a list.")
class Outcome:
    status: OutcomeStatus = strawberry.field(description="What became of it.")
    reason: RefusalReason | None = strawberry.field(  # pyright: ignore[reportInvalidTypeForm]
        default=None, description="Why it was refused; null unless `status` is `REFUSED`."
    )
    message: str | None = strawberry.field(
        default=None, description="What happened and what to do about it, for a person; null when accepted."
    )
