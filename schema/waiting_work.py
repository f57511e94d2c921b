"""What a processor asks for again and again while nothing happens, in one field that costs one query."""

from __future__ import annotations

from typing import Annotated

import strawberry

from ..resolvers import waiting_work
from ..resolvers.principal import TokenKind
from .bundles import BundleState
from .context import Info
from .outcomes import Outcome, OutcomeStatus, settled


@strawberry.type(description="What waits for a processor, and the states of its bundles.")
class WaitingWork(Outcome):
    callbacks: bool = strawberry.field(
        default=False, description="Whether `claimCallbacks` would find any; false when refused."
    )
    parse_requests: bool = strawberry.field(
        default=False, description="Whether `claimParseRequests` would find any; false when refused."
    )
    bundle_states: list[BundleState] = strawberry.field(
        default_factory=list,
        description="State of the bundles that were asked about, by name; unknown and ungranted ones are left out.",
    )


@strawberry.type
class WaitingWorkQuery:
    @strawberry.field(
        description="Whether there is anything to claim, and what is kept about bundles between two refreshes. To be "
        "asked every few seconds. Refused with `JOB_CLOSED`: the processor must stop. Needs a job token."
    )
    def waiting_work(
        self,
        info: Info,
        bundle_names: Annotated[
            list[str], strawberry.argument(description="Names of the bundles whose states are wanted.")
        ],
    ) -> WaitingWork:
        principal = info.context.require(TokenKind.JOB)

        def look() -> WaitingWork:
            with info.context.reading() as session:
                work = waiting_work.look(session, principal, bundle_names)
            return WaitingWork(
                status=OutcomeStatus.ACCEPTED,
                callbacks=work.callbacks,
                parse_requests=work.parse_requests,
                bundle_states=[
                    BundleState(name=state.name, last_refreshed=state.last_refreshed, version=state.version)
                    for state in work.bundle_states
                ],
            )

        return settled(WaitingWork, look)
