"""Clearing of DAG warnings that nobody needs any more."""

from __future__ import annotations

import strawberry

from ..resolvers import warnings
from ..resolvers.principal import TokenKind
from .context import Info
from .outcomes import Outcome, OutcomeStatus, settled


@strawberry.type(description="What the clearing of warnings changed.")
class PurgeInactiveDagWarningsPayload(Outcome):
    purged_count: int | None = strawberry.field(
        default=None, description="Number of warnings deleted; null unless `status` is `ACCEPTED`."
    )


@strawberry.type
class WarningMutation:
    @strawberry.mutation(description="Delete the warnings of stale DAGs in the granted bundles. Needs a job token.")
    def purge_inactive_dag_warnings(self, info: Info) -> PurgeInactiveDagWarningsPayload:
        principal = info.context.require(TokenKind.JOB)

        def purge() -> PurgeInactiveDagWarningsPayload:
            with info.context.reading() as session:
                if not warnings.any_inactive(session, principal):
                    return PurgeInactiveDagWarningsPayload(status=OutcomeStatus.ACCEPTED, purged_count=0)
            with info.context.transaction() as session:
                purged = warnings.purge_inactive(session, principal)
            return PurgeInactiveDagWarningsPayload(status=OutcomeStatus.ACCEPTED, purged_count=purged)

        return settled(PurgeInactiveDagWarningsPayload, purge)
