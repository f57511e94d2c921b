"""Maintenance of DAGs beyond what the result of a single file says."""

from __future__ import annotations

from typing import Annotated

import strawberry

from ..resolvers import dags
from ..resolvers.principal import TokenKind
from .context import Info
from .outcomes import Outcome, OutcomeStatus, settled


@strawberry.input(description="When a DAG counts as gone from its file.")
class DeactivateStaleDagsInput:
    stale_dag_threshold: float = strawberry.field(
        description="Seconds, not negative. A DAG becomes stale when its file was parsed more than this long "
        "after the DAG was "
        "last found in it: `[dag_processor] stale_dag_threshold` of the processor."
    )


@strawberry.type(description="What the scan for stale DAGs changed.")
class DeactivateStaleDagsPayload(Outcome):
    deactivated_dag_ids: list[str] | None = strawberry.field(
        default=None, description="DAGs that became stale, sorted; null unless `status` is `ACCEPTED`."
    )


@strawberry.type
class DagMutation:
    @strawberry.mutation(
        description="Mark DAGs of the granted bundles as stale that their files no longer yield; with a token "
        "for all bundles (`*`), "
        "also those of inactive bundles and of none. Needs a job token."
    )
    def deactivate_stale_dags(
        self,
        info: Info,
        input: Annotated[DeactivateStaleDagsInput, strawberry.argument(description="When a DAG counts as stale.")],
    ) -> DeactivateStaleDagsPayload:
        principal = info.context.require(TokenKind.JOB)

        def deactivate() -> DeactivateStaleDagsPayload:
            with info.context.reading() as session:
                if not dags.find_stale(session, principal, stale_dag_threshold=input.stale_dag_threshold):
                    return DeactivateStaleDagsPayload(status=OutcomeStatus.ACCEPTED, deactivated_dag_ids=[])
            with info.context.transaction() as session:
                deactivated = dags.deactivate_stale(session, principal, stale_dag_threshold=input.stale_dag_threshold)
            return DeactivateStaleDagsPayload(status=OutcomeStatus.ACCEPTED, deactivated_dag_ids=deactivated)

        return settled(DeactivateStaleDagsPayload, deactivate)
