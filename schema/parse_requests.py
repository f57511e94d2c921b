"""Priority parse requests: files that a person or a tool wants parsed now, claimed as leases."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import strawberry

from ..resolvers import parse_requests
from ..resolvers.principal import TokenKind
from .claims import ClaimInput, LeaseOutcome, at_most, lease_outcome
from .context import Info
from .outcomes import Outcome, OutcomeStatus, settled


@strawberry.type(description="A request to parse one file, which this processor has until its lease expires.")
class ParseRequestLease:
    lease_id: strawberry.ID = strawberry.field(
        description="Names the lease in renewals and releases, and in the parse result that answers the request."
    )
    attempt: int = strawberry.field(description="How often it has been handed out, this time included; from 1.")
    expires_at: datetime = strawberry.field(description="When the lease expires unless it is renewed (UTC).")
    bundle_name: str = strawberry.field(description="Bundle of the file.")
    relative_fileloc: str = strawberry.field(description="Path of the file inside its bundle.")


@strawberry.type(description="Priority parse requests handed out by one claim, oldest first.")
class ClaimParseRequestsPayload(Outcome):
    leases: list[ParseRequestLease] = strawberry.field(
        default_factory=list, description="The leases taken; empty when nothing waits or the claim was refused."
    )


@strawberry.type
class ParseRequestMutation:
    @strawberry.mutation(
        description=(
            "Take priority parse requests of the bundles that this processor registered for and its token grants. "
            "They leave Airflow's table in the same transaction, and end when the result of that parse is recorded "
            "with their lease ids. Needs a job token."
        )
    )
    def claim_parse_requests(
        self,
        info: Info,
        input: Annotated[
            ClaimInput, strawberry.argument(description="Which claim this is, and how many requests it may get.")
        ],
    ) -> ClaimParseRequestsPayload:
        principal = info.context.require(TokenKind.JOB)

        def resolve() -> ClaimParseRequestsPayload:
            with info.context.reading() as session:
                if not parse_requests.any_waiting(session, principal, claim_id=input.claim_id, limit=input.limit):
                    return ClaimParseRequestsPayload(status=OutcomeStatus.ACCEPTED)
            with info.context.transaction() as session:
                leases = parse_requests.claim(session, principal, claim_id=input.claim_id, limit=input.limit)
            return ClaimParseRequestsPayload(
                status=OutcomeStatus.ACCEPTED,
                leases=[
                    ParseRequestLease(
                        lease_id=strawberry.ID(lease.lease_id),
                        attempt=lease.attempt,
                        expires_at=lease.expires_at,
                        bundle_name=lease.bundle_name,
                        relative_fileloc=lease.payload["relative_fileloc"],
                    )
                    for lease in leases
                ],
            )

        return settled(ClaimParseRequestsPayload, resolve)

    @strawberry.mutation(
        description=(
            "Requests that no parse will answer (the file is gone, or the processor stops): they wait for any "
            "processor again, or are parked after `[parsegate] max_attempts` attempts. One outcome per lease, in "
            "order. Needs a job token."
        )
    )
    def release_parse_requests(
        self,
        info: Info,
        lease_ids: Annotated[list[strawberry.ID], strawberry.argument(description="The leases, at most 1000.")],
    ) -> list[LeaseOutcome]:
        principal = info.context.require(TokenKind.JOB)
        at_most(lease_ids)
        with info.context.transaction() as session:
            return [lease_outcome(settled) for settled in parse_requests.release(session, principal, lease_ids)]
