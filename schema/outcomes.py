"""How mutations answer the processor: accepted, refused with a reason, or failed and worth another try."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any, TypeVar

import strawberry

from ..resolvers.refusals import Refusal
from ..resolvers.refusals import RefusalReason as _RefusalReason

RefusalReason = strawberry.enum(
    _RefusalReason,
    description="Why a request was refused. New reasons are added over time: treat one you don't know as final.",
)
_MEANINGS = {
    _RefusalReason.DAG_OWNED_BY_ANOTHER_BUNDLE: "Another active bundle has a DAG of this id. Rename one of the two.",
    _RefusalReason.SUPERSEDED: "A newer attempt at the same file is recorded already.",
    _RefusalReason.JOB_CLOSED: "The processor's Job has ended, was deleted or was asked to end: it must stop.",
    _RefusalReason.UNKNOWN_BUNDLE: "The bundle was never synchronised.",
    _RefusalReason.BUNDLE_INACTIVE: "The bundle left the configuration and was deactivated.",
    _RefusalReason.BUNDLE_NOT_GRANTED: "The token does not grant the bundle.",
    _RefusalReason.SOURCE_MISSING: "The result carries a DAG without the source code of its file.",
    _RefusalReason.INVALID_DOCUMENT: "What was to be stored or run is not what Airflow can store or read.",
    _RefusalReason.INVALID_PATH: "A path that does not name a file in the bundle.",
    _RefusalReason.INVALID_ARGUMENT: "An argument with a value that makes no sense.",
    _RefusalReason.VERSION_MISMATCH: "The gateway cannot serve the processor's version of Airflow or of the contract.",
    _RefusalReason.LEASE_LOST: "The lease is not the caller's, or not any more.",
    _RefusalReason.NOT_FOUND: "What the request names does not exist.",
    _RefusalReason.NOT_PERMITTED: "The caller may not do this.",
    _RefusalReason.NOT_PARKED: "The callback waits or is leased: processors still try it.",
}
for _value in RefusalReason.__strawberry_definition__.values:  # pyright: ignore[reportAttributeAccessIssue]
    _value.description = _MEANINGS[_RefusalReason(_value.value)]


@strawberry.enum(description="What became of a request, or of one item of it.")
class OutcomeStatus(Enum):
    ACCEPTED = strawberry.enum_value(
        "ACCEPTED", description="Done and committed, now or by an earlier send of the same request."
    )
    REFUSED = strawberry.enum_value(
        "REFUSED", description="Not done, and not to be sent again unchanged; `reason` and `message` say why."
    )
    FAILED = strawberry.enum_value(
        "FAILED",
        description="Not done because of a fault on the gateway's side; nothing was stored. Send it again later.",
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


OutcomeT = TypeVar("OutcomeT", bound=Outcome)


def refused(outcome: type[OutcomeT], refusal: Refusal, **fields: Any) -> OutcomeT:
    """``refusal`` as data of the contract; ``fields`` are what ``outcome`` has beyond an Outcome's own."""
    return outcome(status=OutcomeStatus.REFUSED, reason=refusal.reason, message=refusal.message, **fields)


def settled(outcome: type[OutcomeT], resolve: Callable[[], OutcomeT], **fields: Any) -> OutcomeT:
    """What ``resolve`` answers, or the Refusal that it raised as data.

    ``resolve`` opens its own transaction, so that a Refusal passes through it and rolls it back.
    """
    try:
        return resolve()
    except Refusal as refusal:
        return refused(outcome, refusal, **fields)
