"""Leases on claimed work: what callbacks and priority parse requests have in common in the contract."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

import strawberry
from graphql import GraphQLError

from ..resolvers import claims
from ..resolvers.principal import TokenKind
from .context import Info
from .outcomes import Outcome, OutcomeStatus


@strawberry.input(description="A claim of waiting work for the processor that the token is bound to.")
class ClaimInput:
    claim_id: strawberry.ID = strawberry.field(
        description=(
            "Names this claim, at most 36 characters, chosen by the caller. Sending the same claim again gives the "
            "leases of it that are still held, with a new expiry."
        )
    )
    limit: int = strawberry.field(description="How many leases to take at most, 1 to 1000.")


@strawberry.type(description="What became of one lease.")
class LeaseOutcome(Outcome):
    lease_id: strawberry.ID = strawberry.field(description="The lease that this is about.")
    expires_at: datetime | None = strawberry.field(
        default=None, description="When the renewed lease expires (UTC); null unless a renewal was accepted."
    )


def at_most(items: Sequence[object]) -> None:
    """Raise a ``BAD_REQUEST`` error for a list that is longer than one request may have."""
    if len(items) > claims.MAX_LEASES:
        raise GraphQLError(
            f"A list has {len(items)} leases; at most {claims.MAX_LEASES} may be sent at once.",
            extensions={"code": "BAD_REQUEST"},
        )


def lease_outcome(settled: claims.SettledLease) -> LeaseOutcome:
    """One item's answer, as data of the contract."""
    if settled.refusal is not None:
        return LeaseOutcome(
            status=OutcomeStatus.REFUSED,
            reason=settled.refusal.reason,
            message=settled.refusal.message,
            lease_id=strawberry.ID(settled.lease_id),
        )
    return LeaseOutcome(
        status=OutcomeStatus.ACCEPTED, lease_id=strawberry.ID(settled.lease_id), expires_at=settled.expires_at
    )


@strawberry.type
class ClaimMutation:
    @strawberry.mutation(
        description=(
            "Extend leases on callbacks and priority parse requests that are queued or running, by the lease duration "
            "from now. One outcome per lease, in order; `LEASE_LOST`: another processor may have it, don't run what "
            "still waits. Needs a job token."
        )
    )
    def renew_claims(
        self,
        info: Info,
        lease_ids: Annotated[list[strawberry.ID], strawberry.argument(description="The leases, at most 1000.")],
    ) -> list[LeaseOutcome]:
        principal = info.context.require(TokenKind.JOB)
        at_most(lease_ids)
        with info.context.transaction() as session:
            return [lease_outcome(settled) for settled in claims.renew(session, principal, lease_ids)]
